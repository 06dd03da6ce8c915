//! Who pushes much, or to what hangs, holds up nobody else: neither another account, nor another host, nor others at the
//! same host. The full numbers are in the bench `load`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::Client;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::world::{World, both, webhook};

both!(
    a_line_that_hangs_delays_no_other_account_and_no_other_host,
    accounts_that_hang_at_a_host_leave_room_there,
    a_line_to_many_hosts_delays_no_other_account,
);

/// Waiting deliveries of whoever is in the way.
const MANY: usize = 2000;
/// A push may take so long to arrive. The goal is 100 ms for a release build, which the bench measures; this leaves room
/// for a debug build beside other tests, and is still a fraction of what a hanging request takes.
const SOON: Duration = Duration::from_millis(250);

/// The same on a machine that is busy with other things: several times what it takes when nobody is in the way.
fn soon(undisturbed: Duration) -> Duration {
    SOON.max(undisturbed * 4)
}

/// The slowest arrivals of pushes one after the other, from request to receipt; the slowest two are the machine's.
async fn slowest(who: &Client, pusher: &str, sink: &HttpSink) -> Duration {
    let mut times = Vec::new();
    for n in 0..50 {
        let begun = Instant::now();
        who.pushed(pusher, json!({ "n": n })).await;
        times.push(sink.next().await.at.saturating_duration_since(begun));
    }
    times.sort_unstable();
    times[times.len() - 3]
}

async fn push_many(who: &Client, pusher: &str, count: usize) {
    for first in (0..count).step_by(50) {
        join_all((first..first + 50).map(|n| who.pushed(pusher, json!({ "n": n })))).await;
    }
}

async fn a_line_that_hangs_delays_no_other_account_and_no_other_host() {
    let world = World::start().await;
    let (hangs, works) = (HttpSink::start().await, HttpSink::start().await);
    hangs.script(vec![Play::Hang; MANY]);
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let hook = bob.preset("webhook", webhook(&works)).await;
    let soon = soon(slowest(&bob, &hook, &works).await);
    push_many(&ann, &ann.preset("webhook", webhook(&hangs)).await, MANY).await;
    let took = slowest(&bob, &hook, &works).await;
    assert!(took < soon, "another account: {took:?}");
    let hook = ann.preset("webhook", webhook(&works)).await;
    let took = slowest(&ann, &hook, &works).await;
    assert!(took < soon, "another host: {took:?}");
}

async fn accounts_that_hang_at_a_host_leave_room_there() {
    let world = World::builder().per_host(16).start().await;
    let shared = HttpSink::start().await;
    let (ann, bob, cid) = (world.user("ann").await, world.user("bob").await, world.user("cid").await);
    let hook = cid.preset("webhook", webhook(&shared)).await;
    let soon = soon(slowest(&cid, &hook, &shared).await);
    // Of 16 places the first account gets 12, the next 3.
    for (who, places) in [(&ann, 12), (&bob, 3)] {
        shared.script(vec![Play::Hang; places]);
        push_many(who, &who.preset("webhook", webhook(&shared)).await, 50).await;
        for _ in 0..places {
            shared.next().await;
        }
    }
    let took = slowest(&cid, &hook, &shared).await;
    assert!(took < soon, "{took:?}");
    assert_eq!(shared.requests().len(), 50 + 15 + 50, "nobody took more");
}

async fn a_line_to_many_hosts_delays_no_other_account() {
    let world = World::builder().allow(&["127.0.0.0/8"]).start().await;
    let (slow, works) = (HttpSink::start().await, HttpSink::start().await);
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let hook = bob.preset("webhook", webhook(&works)).await;
    let soon = soon(slowest(&bob, &hook, &works).await);
    let many: Vec<String> = (2..42).map(|n| format!("http://127.0.0.{n}:{}/", slow.port())).collect();
    for _ in 0..10 {
        join_all(many.iter().map(|endpoint| ann.pushed("webhook", json!({ "endpoint": endpoint })))).await;
    }
    let took = slowest(&bob, &hook, &works).await;
    assert!(took < soon, "{took:?}");
}
