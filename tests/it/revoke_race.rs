//! Tasks that become due at the very moment when they are revoked: who is told "revoked" never sees it delivered, and who
//! is told anything else does. `tests/crash.sh` runs it ten thousand times.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::caller::{arrivals, number};
use crate::support::client::text;
use crate::support::scene::Scene;
use crate::support::world::{World, both};

both!(of_a_revocation_and_a_delivery_one_wins);

const HOUR: i64 = 3_600_000;
/// Tasks that are due at one instant.
const AT_ONCE: usize = 25;

async fn of_a_revocation_and_a_delivery_one_wins() {
    let races = usize::try_from(number("FANFARE_RACES", 300)).unwrap();
    let (mut revoked, mut left) = (0, races);
    while left > 0 {
        let part = left.min(500);
        revoked += races_on_one_server(part).await;
        left -= part;
    }
    eprintln!("{races} races: {revoked} revoked, {} delivered", races - revoked);
    assert!(0 < revoked && revoked < races, "{revoked} of {races} were revoked: that was no race");
}

/// Answers how many were revoked.
async fn races_on_one_server(races: usize) -> usize {
    // Few at a time, so that revocations come between the claims of one batch.
    // The clock leaps, and what is under way then must not count as a dead node's.
    let many_leaps = Duration::from_hours(24);
    let scene = Scene::of(World::builder().per_host(4).lease(many_leaps)).await;
    let (mut told, mut wait) = (BTreeMap::new(), Duration::from_millis(2));
    while told.len() < races {
        let count = AT_ONCE.min(races - told.len());
        let tasks = join_all((0..count).map(|_| scene.task(json!({ "delay": 3600 })))).await;
        let revokers = tasks.iter().enumerate().map(|(n, task)| {
            let (scene, path) = (&scene, format!("/revoke/task/{task}/"));
            async move {
                // Some come a little later, as the claims do.
                tokio::time::sleep(Duration::from_micros(400 * (n as u64 % 8))).await;
                text(&scene.ann.get(&path).await.data()["state"])
            }
        });
        let due = async {
            tokio::time::sleep(wait).await;
            scene.world.forward(HOUR);
        };
        let (states, ()) = tokio::join!(join_all(revokers), due);
        let revoked = states.iter().filter(|state| *state == "revoked").count();
        // However fast the machine is: neither side may always come first.
        wait = if revoked * 2 < count { wait * 5 / 4 } else { wait * 4 / 5 };
        wait = wait.clamp(Duration::from_micros(100), Duration::from_millis(200));
        told.extend(tasks.into_iter().zip(states));
    }
    scene.world.settle().await;
    let arrived = arrivals(&scene.sink);
    for (task, state) in &told {
        let expected = usize::from(state != "revoked");
        assert_eq!(arrived.get(task).map_or(0, Vec::len), expected, "{task} was told {state}");
        assert!(["revoked", "running", "succeeded"].contains(&state.as_str()), "{task} was told {state}");
    }
    told.values().filter(|state| *state == "revoked").count()
}
