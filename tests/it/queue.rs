//! What is accepted is delivered, once, whatever happens to the server meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fanfare::domain::agenda::Ask;
use fanfare::domain::id::TaskId;
use fanfare::domain::task::TaskState;
use fanfare::domain::time::Clock;
use fanfare::store::{Claimed, Finish, FinishState};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::client::text;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::scene::Scene;
use crate::support::world::{World, both, webhook};

both!(
    many_pushes_arrive_once_each,
    what_waits_outlives_the_server,
    what_runs_when_the_server_stops_is_finished,
    what_has_not_started_when_the_server_stops_starts_with_the_next,
    requests_that_never_come_in_whole_hold_up_no_stop,
    what_outlasts_the_stop_is_handed_back,
    what_was_claimed_ahead_waits_again_when_its_host_hangs,
    what_a_killed_server_had_claimed_runs_again_at_the_next_start,
    an_attempt_that_died_with_its_server_takes_nothing_from_the_back_off,
    what_is_handed_back_counts_as_never_claimed,
    a_dead_workers_task_is_taken_over_when_its_lease_ends,
    a_clock_that_is_put_forward_ends_no_lease,
    a_worker_that_lost_its_lease_changes_nothing,
    a_task_that_another_worker_holds_cannot_be_claimed_or_revoked,
    one_account_leaves_room_for_others,
);

const HOUR: i64 = 3_600_000;

async fn many_pushes_arrive_once_each() {
    let scene = Scene::start().await;
    for first in (0..500).step_by(50) {
        join_all((first..first + 50).map(|n| scene.push(json!({ "n": n })))).await;
    }
    scene.world.settle().await;
    let requests = scene.sink.requests();
    let numbers: BTreeSet<u64> = requests.iter().map(|request| request.json()["n"].as_u64().unwrap()).collect();
    let keys: BTreeSet<&str> = requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert_eq!((requests.len(), numbers.len(), keys.len()), (500, 500, 500));
    let tasks = scene.world.tasks().await;
    assert!(tasks.iter().all(|task| task.state == TaskState::Succeeded && task.attempts.len() == 1));
    assert_eq!(tasks.len(), 500);
}

async fn what_waits_outlives_the_server() {
    let mut scene = Scene::start().await;
    for n in 0..30 {
        scene.push(json!({ "n": n, "delay": 3600 + n })).await;
    }
    scene.world.restart().await;
    scene.nothing_arrived().await;
    scene.world.forward(2 * HOUR);
    scene.world.settle().await;
    let arrived: Vec<u64> = scene.sink.requests().iter().map(|request| request.json()["n"].as_u64().unwrap()).collect();
    assert_eq!(arrived.iter().collect::<BTreeSet<_>>().len(), 30);
    assert_eq!(arrived.len(), 30);
}

async fn what_runs_when_the_server_stops_is_finished() {
    let mut scene = Scene::start().await;
    scene.sink.script(vec![Play::status(200).after(Duration::from_millis(300)); 3]);
    let pushed = [scene.task(json!({})).await, scene.task(json!({})).await, scene.task(json!({})).await];
    scene.sink.expect(3).await;
    scene.world.restart().await;
    for task in &pushed {
        assert_eq!(scene.state(task).await, "succeeded");
    }
    assert_eq!(scene.sink.requests().len(), 3, "none a second time");
}

async fn what_has_not_started_when_the_server_stops_starts_with_the_next() {
    let mut scene = Scene::of(World::builder().per_host(2)).await;
    scene.sink.script(vec![Play::status(200).after(Duration::from_millis(200)); 2]);
    for n in 0..8 {
        scene.push(json!({ "n": n })).await;
    }
    scene.sink.expect(2).await;
    scene.world.restart().await;
    scene.world.settle().await;
    let requests = scene.sink.requests();
    let numbers: BTreeSet<u64> = requests.iter().map(|request| request.json()["n"].as_u64().unwrap()).collect();
    assert_eq!((requests.len(), numbers.len()), (8, 8));
    for task in scene.ann.tasks().await {
        assert_eq!((&task["state"], &task["attempts"]), (&json!("succeeded"), &json!(1)));
    }
}

async fn requests_that_never_come_in_whole_hold_up_no_stop() {
    let mut scene = Scene::start().await;
    let mut halves = Vec::new();
    for half in ["POST /push/p/ HTTP/1.1\r\nho", "POST /push/p/ HTTP/1.1\r\nhost: f\r\ncontent-length: 9\r\n\r\n{"] {
        let mut connection = TcpStream::connect(scene.world.address()).await.unwrap();
        connection.write_all(half.as_bytes()).await.unwrap();
        halves.push(connection);
    }
    // Its connection comes after theirs: when it is answered, they have been accepted.
    scene.push(json!({})).await;
    let begun = Instant::now();
    scene.world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

async fn what_outlasts_the_stop_is_handed_back() {
    let mut scene = Scene::of(World::builder().stop_grace(Duration::from_millis(200))).await;
    scene.sink.script(vec![Play::Hang, Play::status(200).after(Duration::from_millis(50))]);
    let (hangs, ends) = (scene.task(json!({})).await, scene.task(json!({})).await);
    scene.sink.expect(2).await;
    let begun = Instant::now();
    scene.world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    scene.world.begin().await;
    for (task, expected) in [(&hangs, &["interrupted", "sent"][..]), (&ends, &["sent"])] {
        assert_eq!(scene.state(task).await, "succeeded");
        assert_eq!(outcomes(&scene.ann.task(task).await), expected);
    }
    let keys: Vec<String> =
        scene.sink.requests().iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.iter().filter(|key| **key == hangs).count() + keys.iter().filter(|key| **key == ends).count(), 3);
}

async fn what_was_claimed_ahead_waits_again_when_its_host_hangs() {
    let mut scene = Scene::of(World::builder().per_host(8).stop_grace(Duration::ZERO)).await;
    for n in 0..400 {
        scene.push(json!({ "n": n, "delay": 60 })).await;
    }
    // An account has six of the eight places of a host.
    scene.sink.script([vec![Play::status(200); 200], vec![Play::Hang; 6]].concat());
    scene.world.forward(60_000);
    scene.sink.expect(206).await;
    let counts = async || scene.world.engine().store.read().await.unwrap().count_tasks().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut ahead = 0;
    loop {
        let now = counts().await;
        ahead = ahead.max(now.running - 6);
        if (now.running, now.waiting) == (6, 194) {
            break;
        }
        assert!(Instant::now() < deadline, "{now:?}");
        scene.world.forward(100);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(ahead > 0, "nothing was claimed ahead");
    assert_eq!(scene.sink.requests().len(), 206);
    // Those six are broken off; all of the others are delivered once.
    scene.world.restart().await;
    scene.world.settle().await;
    assert_eq!(scene.sink.requests().len(), 406);
    let tasks = scene.world.tasks().await;
    assert!(tasks.iter().all(|task| task.state == TaskState::Succeeded));
    assert_eq!(tasks.iter().filter(|task| task.attempts.len() == 2).count(), 6);
    assert_eq!(tasks.iter().filter(|task| task.attempts.len() == 1).count(), 394);
}

/// A worker that claims and is never heard of again.
const DEAD: &str = "node-that-died";

/// A task of Ann's that waits, and that a worker claims as if it were due, under a lease that ends in `lease_ms`.
async fn claimed_by_the_dead(scene: &Scene, lease_ms: i64) -> Claimed {
    let id = scene.task(json!({ "delay": 3600, "content": "c" })).await;
    let engine = scene.world.engine();
    let lane = scene.world.tasks().await.remove(0).lane;
    let now = scene.world.clock.now();
    let mut claims =
        engine.store.claim(DEAD, &[Ask::any(&lane, 1)], now.plus_ms(HOUR), now.plus_ms(lease_ms)).await.unwrap();
    let claimed = claims.remove(0).tasks.remove(0);
    assert_eq!((claimed.id.as_str(), claimed.attempt), (&*id, 1));
    claimed
}

/// What is told of a task's attempts.
fn outcomes(task: &Value) -> Vec<String> {
    task["attempt_log"].as_array().expect("a log").iter().map(|attempt| text(&attempt["outcome"])).collect()
}

async fn what_a_killed_server_had_claimed_runs_again_at_the_next_start() {
    let mut scene = Scene::start().await;
    let claimed = claimed_by_the_dead(&scene, HOUR).await;
    assert_eq!(scene.ann.task(claimed.id.as_str()).await["state"], "running");
    scene.world.clock.advance(HOUR);
    scene.world.restart().await;
    assert_eq!(scene.state(claimed.id.as_str()).await, "succeeded");
    let request = scene.sink.only_request();
    assert_eq!(request.header("idempotency-key"), Some(claimed.id.as_str()), "so that a receiver can tell");
    assert_eq!(outcomes(&scene.ann.task(claimed.id.as_str()).await), ["interrupted", "sent"]);
}

async fn an_attempt_that_died_with_its_server_takes_nothing_from_the_back_off() {
    let mut scene = Scene::start().await;
    let claimed = claimed_by_the_dead(&scene, HOUR).await;
    scene.world.clock.advance(HOUR);
    scene.sink.script(vec![Play::status(503), Play::status(503)]);
    scene.world.restart().await;
    assert_eq!(scene.state(claimed.id.as_str()).await, "succeeded", "at the third attempt that came to an end");
    let told = outcomes(&scene.ann.task(claimed.id.as_str()).await);
    assert_eq!(told, ["interrupted", "later", "later", "sent"]);
}

async fn what_is_handed_back_counts_as_never_claimed() {
    let scene = Scene::start().await;
    let claimed = claimed_by_the_dead(&scene, HOUR).await;
    assert_eq!(scene.world.engine().store.hand_back(DEAD).await.unwrap().len(), 1);
    assert_eq!(scene.ann.task(claimed.id.as_str()).await["state"], "waiting");
    scene.world.forward(HOUR);
    assert_eq!(scene.state(claimed.id.as_str()).await, "succeeded");
    assert_eq!(outcomes(&scene.ann.task(claimed.id.as_str()).await), ["sent"]);
}

async fn a_dead_workers_task_is_taken_over_when_its_lease_ends() {
    let scene = Scene::start().await;
    let claimed = claimed_by_the_dead(&scene, 3_000).await;
    let store = &scene.world.engine().store;
    assert_eq!(store.take_over(scene.world.clock.now()).await.unwrap(), 0, "the lease holds");
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.world.tasks().await[0].state != TaskState::Waiting {
        assert!(Instant::now() < deadline, "nobody took it over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.world.forward(HOUR);
    assert_eq!(scene.state(claimed.id.as_str()).await, "succeeded");
    scene.sink.only_request();
    assert_eq!(outcomes(&scene.ann.task(claimed.id.as_str()).await), ["interrupted", "sent"]);
}

async fn a_clock_that_is_put_forward_ends_no_lease() {
    let scene = Scene::of(World::builder().attempt_timeout(Duration::from_secs(15))).await;
    // Longer than it takes until leases are looked at.
    scene.sink.script(vec![Play::status(200).after(Duration::from_millis(6500))]);
    let task = scene.task(json!({ "content": "c" })).await;
    scene.sink.next().await;
    scene.world.forward(HOUR);
    assert_eq!(scene.state(&task).await, "succeeded");
    scene.sink.only_request();
    assert_eq!(outcomes(&scene.ann.task(&task).await), ["sent"]);
}

/// How the dead worker would have its attempt recorded.
fn late_finish(claimed: &Claimed, scene: &Scene) -> Finish {
    Finish {
        id: claimed.id.clone(),
        attempt: claimed.attempt,
        fallback: claimed.fallback,
        lane: claimed.lane.clone(),
        state: FinishState::Failed { code: "webhook:late".to_owned(), message: "late".to_owned() },
        now: scene.world.clock.now(),
        attempt_log: "[]".to_owned(),
    }
}

async fn a_worker_that_lost_its_lease_changes_nothing() {
    let scene = Scene::start().await;
    let claimed = claimed_by_the_dead(&scene, -1).await;
    let store = &scene.world.engine().store;
    store.take_over(scene.world.clock.now()).await.unwrap();
    let before = scene.ann.task(claimed.id.as_str()).await;
    assert_eq!(before["state"], "waiting");
    store.finish(DEAD, &[late_finish(&claimed, &scene)]).await.unwrap();
    assert_eq!(scene.ann.task(claimed.id.as_str()).await, before, "while it waits");

    scene.sink.script(vec![Play::status(200).after(Duration::from_millis(200))]);
    scene.world.forward(HOUR);
    scene.sink.expect(1).await;
    store.finish(DEAD, &[late_finish(&claimed, &scene)]).await.unwrap();
    assert_eq!(store.hand_back(DEAD).await.unwrap(), []);
    assert_eq!(scene.ann.task(claimed.id.as_str()).await["state"], "running", "while another has it");

    assert_eq!(scene.state(claimed.id.as_str()).await, "succeeded");
    store.finish(DEAD, &[late_finish(&claimed, &scene)]).await.unwrap();
    assert_eq!(scene.state(claimed.id.as_str()).await, "succeeded");
    scene.sink.only_request();
}

async fn a_task_that_another_worker_holds_cannot_be_claimed_or_revoked() {
    let scene = Scene::start().await;
    let claimed = claimed_by_the_dead(&scene, HOUR).await;
    let store = &scene.world.engine().store;
    let now = scene.world.clock.now().plus_ms(HOUR);
    let claims = store.claim("another", &[Ask::any(&claimed.lane, 10)], now, now).await.unwrap();
    assert!(claims.iter().all(|claim| claim.tasks.is_empty()));
    let revoked = scene.ann.get(&format!("/revoke/task/{}/", claimed.id)).await;
    assert_eq!(revoked.data()["state"], "running");
    // An old attempt's number is as good as a stranger's name.
    let stale = Finish { attempt: 0, ..late_finish(&claimed, &scene) };
    store.finish(DEAD, &[stale, Finish { id: TaskId::new("unknown"), ..late_finish(&claimed, &scene) }]).await.unwrap();
    assert_eq!(scene.ann.task(claimed.id.as_str()).await["state"], "running");
    store.finish(DEAD, &[late_finish(&claimed, &scene)]).await.unwrap();
    assert_eq!(scene.state(claimed.id.as_str()).await, "failed", "the holder's own finish counts");
}

async fn one_account_leaves_room_for_others() {
    let scene = Scene::of(World::builder().concurrency(4).per_host(4)).await;
    let hangs = HttpSink::start().await;
    hangs.script(vec![Play::Hang; 20]);
    for _ in 0..10 {
        scene.push(webhook(&hangs)).await;
    }
    hangs.expect(3).await;
    let begun = Instant::now();
    let bob = scene.world.user("bob").await;
    for n in 0..5 {
        let params = crate::support::world::with(webhook(&scene.sink), json!({ "n": n }));
        bob.pushed("webhook", params).await;
    }
    scene.sink.expect(5).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(hangs.requests().len(), 3, "three quarters of all");
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder() {
    let world = World::start().await;
    let error = world.second_on_the_same_folder().await;
    assert!(error.contains("another fanfare runs on"), "{error}");
}
