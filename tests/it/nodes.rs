//! Several nodes on one PostgreSQL: they share the work, know of each other's changes, and agree on the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::domain::task::TaskState;
use fanfare::domain::time::Clock;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::client::text;
use crate::support::clock::TestClock;
use crate::support::database::on_postgres;
use crate::support::http_sink::Play;
use crate::support::scene::Scene;
use crate::support::world::{Builder, World, webhook, with};

/// Far below the time after which a node that was told nothing looks for itself.
const SOON: Duration = Duration::from_secs(2);

on_postgres!(
    a_node_takes_what_another_has_no_room_for,
    what_was_scheduled_at_a_node_that_stopped_is_delivered_in_time,
    two_nodes_deliver_each_push_once,
    a_change_is_known_everywhere_within_a_second,
    what_was_deleted_is_gone_everywhere_when_the_answer_comes,
    a_push_that_races_with_a_deletion_leaves_nothing_behind,
    a_node_that_was_cut_off_hears_again,
    clocks_are_put_right,
    one_key_is_one_push_at_whichever_node,
    a_quota_of_an_account_is_noticed_everywhere,
    who_is_shut_out_leaves_nothing_waiting_at_any_node,
);

/// A node with its receiver, and another.
async fn two(builder: Builder) -> (Scene, World) {
    let scene = Scene::of(builder).await;
    let other = scene.world.another_node(Arc::default()).await;
    (scene, other)
}

async fn a_node_takes_what_another_has_no_room_for() {
    let (scene, _other) = two(World::builder().concurrency(1).per_host(1).attempt_timeout(PATIENCE)).await;
    the_other_node_helps(&scene).await;
}

/// One node has no room any more; the other is told.
async fn the_other_node_helps(scene: &Scene) {
    scene.sink.script(vec![Play::Hang]);
    scene.push(json!({ "n": 1 })).await;
    scene.sink.expect(1).await;
    let began = Instant::now();
    scene.push(json!({ "n": 2 })).await;
    scene.sink.expect(2).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

async fn what_was_scheduled_at_a_node_that_stopped_is_delivered_in_time() {
    let (mut scene, _other) = two(World::builder()).await;
    let pushed = scene.push(json!({ "delay": 2 })).await;
    scene.world.stop().await;
    scene.sink.expect(1).await;
    let due = text(&pushed["tasks"][0]["run_at"]);
    let late = TestClock::default().now().rfc3339();
    assert!(late >= due, "early: {late} instead of {due}");
    // It must not have waited until the other node looked for itself.
    assert!(seconds(&late) - seconds(&due) <= 1, "{late} instead of {due}");
}

/// Whole seconds within the hour, of a time in RFC 3339.
fn seconds(time: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    part(11..13) * 3600 + part(14..16) * 60 + part(17..19)
}

async fn two_nodes_deliver_each_push_once() {
    let (scene, other) = two(World::builder()).await;
    let there = other.here(&scene.ann);
    for first in (0..400).step_by(40) {
        let pushes = (first..first + 40).map(|n| {
            let client = if n % 2 == 0 { &scene.ann } else { &there };
            client.pushed(&scene.hook, json!({ "n": n }))
        });
        join_all(pushes).await;
    }
    scene.world.settle().await;
    let requests = scene.sink.requests();
    let keys: BTreeSet<&str> = requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert_eq!((requests.len(), keys.len()), (400, 400));
}

async fn a_change_is_known_everywhere_within_a_second() {
    let (scene, other) = two(World::builder()).await;
    let there = other.here(&scene.ann);
    for round in 0..5 {
        // Now the other node has it in its cache.
        there.pushed(&scene.hook, json!({ "delay": 3600 })).await;
        let params = with(webhook(&scene.sink), json!({ "round": round }));
        scene.ann.patch(&format!("/preset/{}/", scene.hook), json!({ "params": params })).await.into_data();
        let changed = Instant::now();
        loop {
            let preview = there.post(&format!("/pusher/{}/preview/", scene.hook), json!({})).await.into_data();
            if preview["tasks"][0]["params"]["round"]["value"] == round {
                break;
            }
            assert!(changed.elapsed() < Duration::from_secs(1), "{preview}");
        }
    }
}

async fn what_was_deleted_is_gone_everywhere_when_the_answer_comes() {
    let (scene, other) = two(World::builder()).await;
    let there = other.here(&scene.ann);
    for _ in 0..5 {
        let preset = scene.ann.preset("webhook", webhook(&scene.sink)).await;
        there.pushed(&preset, json!({ "delay": 3600 })).await;
        scene.ann.delete(&format!("/preset/{preset}/")).await.into_data();
        let answer = there.post(&format!("/push/{preset}/"), json!({})).await;
        assert_eq!(answer.status, 404, "{}", answer.body);
    }
    scene.nothing_arrived().await;
}

async fn a_push_that_races_with_a_deletion_leaves_nothing_behind() {
    let (scene, other) = two(World::builder()).await;
    let there = other.here(&scene.ann);
    for _ in 0..3 {
        let preset = scene.ann.preset("webhook", webhook(&scene.sink)).await;
        let path = format!("/push/{preset}/");
        let pushes = async {
            let mut accepted = 0;
            while there.post(&path, json!({ "delay": 3600 })).await.status == 200 {
                accepted += 1;
            }
            accepted
        };
        let delete = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            scene.ann.delete(&format!("/preset/{preset}/")).await.into_data()
        };
        let (accepted, deleted) = tokio::join!(pushes, delete);
        assert!(accepted > 0);
        let states: BTreeSet<&str> = scene
            .world
            .tasks()
            .await
            .iter()
            .filter(|t| t.pusher_id.as_str() == preset)
            .map(|t| t.state.as_str())
            .collect();
        assert_eq!(states, BTreeSet::from(["revoked"]), "{accepted} were accepted, {deleted}");
    }
}

async fn a_node_that_was_cut_off_hears_again() {
    let (scene, other) = two(World::builder().concurrency(1).per_host(1).attempt_timeout(PATIENCE)).await;
    let there = other.here(&scene.ann);
    there.pushed(&scene.hook, json!({ "delay": 3600 })).await;
    scene.world.cut_off_listeners().await;
    // What is said now nobody hears.
    let params = with(webhook(&scene.sink), json!({ "cut": true }));
    scene.ann.patch(&format!("/preset/{}/", scene.hook), json!({ "params": params })).await.into_data();
    let changed = Instant::now();
    let preview = || async { there.post(&format!("/pusher/{}/preview/", scene.hook), json!({})).await.into_data() };
    while preview().await["tasks"][0]["params"]["cut"]["value"] != Value::Bool(true) {
        assert!(changed.elapsed() < Duration::from_secs(1));
    }
    // And both listen again: one has no room, the other is told.
    scene.world.wait_for_listeners(2).await;
    the_other_node_helps(&scene).await;
}

async fn clocks_are_put_right() {
    let scene = Scene::start().await;
    for wrong in [7_000, -7_000] {
        let clock = Arc::new(TestClock::wrong_by(wrong));
        let other = scene.world.another_node(clock.clone()).await;
        let off = clock.now().0 - scene.world.clock.now().0;
        assert!(off.abs() < 1000, "still {off} ms off");
        let there = other.here(&scene.ann);
        let pushed = there.pushed(&scene.hook, json!({ "delay": 1 })).await;
        scene.world.settle().await;
        let task = scene.ann.task(&text(&pushed["task_id"])).await;
        assert!(text(&task["started_at"]) >= text(&pushed["tasks"][0]["run_at"]), "early: {task}");
    }
    assert_eq!(scene.sink.requests().len(), 2);
}

async fn one_key_is_one_push_at_whichever_node() {
    let (scene, other) = two(World::builder()).await;
    let there = other.here(&scene.ann);
    let path = format!("/push/{}/", scene.hook);
    let headers = [("idempotency-key", "alarm-17")];
    let calls = (0..32).map(|n| {
        let client = if n % 2 == 0 { &scene.ann } else { &there };
        client.send_with("POST", &path, Some("application/json"), &headers, b"{\"n\":1}")
    });
    let ids: BTreeSet<String> =
        join_all(calls).await.into_iter().map(|answer| text(&answer.data()["push_id"])).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    scene.world.settle().await;
    assert_eq!(scene.sink.requests().len(), 1);
}

async fn a_quota_of_an_account_is_noticed_everywhere() {
    let (scene, other) = two(World::builder()).await;
    let admin = scene.world.admin().await;
    let there = other.here(&scene.ann);
    there.pushed(&scene.hook, json!({})).await;
    let path = "/account/user/account-of-ann/";
    admin.patch(path, json!({ "quota": 0 })).await.data();
    other.forward(5_000);
    assert_eq!(there.push(&scene.hook, json!({})).await.code(), "quota_exceeded");
    admin.patch(path, json!({ "quota": null })).await.data();
    // Twice as long: the clock may have been put right since.
    other.forward(10_000);
    there.pushed(&scene.hook, json!({})).await;
}

async fn who_is_shut_out_leaves_nothing_waiting_at_any_node() {
    let (scene, other) = two(World::builder()).await;
    let admin = scene.world.admin().await;
    for (name, is_deleted) in [("bob", false), ("cid", true)] {
        let user = other.here(&scene.world.user(name).await);
        let push = || user.push("webhook", with(webhook(&scene.sink), json!({ "delay": 3600 })));
        let path = format!("/account/user/account-of-{name}/");
        push().await.data();
        let pushed_on = async {
            let mut taken = 0;
            while push().await.status == 200 {
                taken += 1;
            }
            taken
        };
        let shut_out = async {
            match is_deleted {
                true => admin.delete(&path).await.into_data(),
                false => admin.patch(&path, json!({ "disabled": true })).await.into_data(),
            }
        };
        let (taken, _) = tokio::join!(pushed_on, shut_out);
        assert!(taken > 0, "the other node did not know at once");
        let waiting = scene.world.tasks().await.into_iter().filter(|task| task.state == TaskState::Waiting).count();
        assert_eq!(waiting, 0, "{name}");
    }
}
