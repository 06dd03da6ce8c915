//! Too much is refused in time: 429 with `Retry-After` for rates and quotas, for each caller by itself.

use fanfare::config::LimitsConfig;
use fanfare::error::Error;
use fanfare::store::NewTask;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::store::task;
use crate::support::client::{Answer, JSON};
use crate::support::plain;
use crate::support::scene::Scene;
use crate::support::world::{World, both, webhook, with};

both!(
    a_pusher_takes_so_many_a_minute,
    an_account_makes_so_many_requests_of_any_kind,
    pushes_by_strangers_count_for_the_owner,
    an_address_makes_so_many_requests_of_any_kind,
    only_a_trusted_proxy_says_where_a_request_comes_from,
    an_administrator_is_not_limited,
    this_machine_is_not_limited_unless_it_is_to_be,
    one_address_cannot_take_all_connections,
    a_day_has_a_quota_that_outlives_the_server,
    what_is_refused_costs_no_quota,
    large_tasks_arrive_as_well,
    a_large_task_without_room_is_put_off_and_arrives,
    what_queues_for_a_commit_is_bounded_by_its_bytes,
);

/// Status, code and header of a refusal, which must agree with the data.
fn limited(answer: &Answer) -> (u16, &str, i64) {
    let seconds: i64 = answer.header("retry-after").expect("a wait").parse().expect("seconds");
    assert_eq!(answer.body["data"]["retry_after"], seconds);
    (answer.status, answer.code(), seconds)
}

async fn a_pusher_takes_so_many_a_minute() {
    let scene = Scene::of(World::builder().limits(|limits| limits.per_pusher_per_minute = 6)).await;
    let other = scene.ann.preset("webhook", json!({ "endpoint": scene.sink.url() })).await;
    for _ in 0..6 {
        scene.push(json!({})).await;
    }
    let refused = scene.ann.push(&scene.hook, json!({})).await;
    let (status, code, seconds) = limited(&refused);
    assert_eq!((status, code), (429, "rate_limited"));
    assert!((1..=10).contains(&seconds), "{seconds}");
    let chinese = [("accept-language", "zh-CN")];
    let refused = scene.ann.send_with("GET", &format!("/push/{}/x/", scene.hook), None, &chinese, b"").await;
    assert!(refused.body["message"].as_str().unwrap().contains("请求过于频繁"), "{}", refused.body);
    assert_eq!(scene.ann.push(&other, json!({})).await.status, 200, "another Pusher");
    scene.world.forward(seconds * 1000);
    assert_eq!(scene.ann.push(&scene.hook, json!({})).await.status, 200, "as was told");
    scene.world.settle().await;
    assert_eq!(scene.sink.requests().len(), 8, "what was refused does not arrive");
}

async fn an_account_makes_so_many_requests_of_any_kind() {
    let scene = Scene::of(World::builder().limits(|limits| limits.per_account_per_minute = 5)).await;
    // Making the Preset was the first.
    for _ in 0..2 {
        scene.push(json!({})).await;
        scene.ann.get("/preset/").await.into_data();
    }
    for answer in [scene.ann.push(&scene.hook, json!({})).await, scene.ann.get("/task/").await] {
        assert_eq!((limited(&answer).0, limited(&answer).1), (429, "rate_limited"));
    }
    let bob = scene.world.user("bob").await;
    bob.get("/preset/").await.into_data();
}

async fn pushes_by_strangers_count_for_the_owner() {
    let scene = Scene::of(World::builder().limits(|limits| limits.per_account_per_minute = 4)).await;
    let stranger = scene.ann.anonymous();
    for _ in 0..3 {
        stranger.push(&scene.hook, json!({})).await.into_data();
    }
    assert_eq!(stranger.push(&scene.hook, json!({})).await.status, 429);
}

async fn an_address_makes_so_many_requests_of_any_kind() {
    let world = World::builder().limits(|limits| limits.per_address_per_minute = 4).start().await;
    let nobody = world.anonymous();
    nobody.get("/service/").await.into_data();
    assert_eq!(nobody.get("/no/such/path/").await.status, 404);
    assert_eq!(nobody.push("none", json!({})).await.status, 404);
    assert_eq!(nobody.send("POST", "/push/none/", Some(JSON), b"{").await.status, 400);
    // Refused before anything is read or looked up.
    for answer in [
        nobody.get("/service/").await,
        nobody.send("POST", "/push/none/", Some(JSON), b"{").await,
        nobody.with_token(Some("wrong")).get("/task/").await,
    ] {
        assert_eq!((limited(&answer).0, limited(&answer).1), (429, "rate_limited"));
    }
    world.forward(15_000);
    nobody.get("/service/").await.into_data();
}

async fn only_a_trusted_proxy_says_where_a_request_comes_from() {
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let three = || World::builder().limits(|limits| limits.per_address_per_minute = 3);
    let (plain, trusting) = (three().start().await, three().trusted_proxies(&["127.0.0.1"]).start().await);
    for (world, expected) in [(plain, 429), (trusting, 200)] {
        let nobody = world.anonymous();
        let get = async |address| nobody.send_with("GET", "/service/", None, &from(address), b"").await.status;
        for _ in 0..3 {
            assert_eq!(get("198.51.100.1").await, 200);
        }
        assert_eq!(get("198.51.100.1").await, 429);
        assert_eq!(get("203.0.113.7, 198.51.100.1").await, 429, "what the caller wrote before it does not count");
        assert_eq!(get("198.51.100.2").await, expected);
        assert_eq!(get("2001:db8::1").await, expected);
    }
}

async fn an_administrator_is_not_limited() {
    let few = |limits: &mut LimitsConfig| {
        (limits.per_account_per_minute, limits.per_pusher_per_minute, limits.daily_quota) = (3, 2, 2);
    };
    let scene = Scene::of(World::builder().limits(few)).await;
    let admin = scene.world.admin().await;
    let hook = admin.preset("webhook", webhook(&scene.sink)).await;
    for _ in 0..5 {
        admin.pushed(&hook, json!({})).await;
        admin.anonymous().pushed(&hook, json!({})).await;
    }
    // Somebody else is, at the same time.
    scene.push(json!({})).await;
    assert_eq!(scene.ann.anonymous().push(&scene.hook, json!({})).await.status, 200);
    assert_eq!(scene.ann.anonymous().push(&scene.hook, json!({})).await.status, 429);
}

async fn one_address_cannot_take_all_connections() {
    let world = World::builder().limits(|limits| limits.connections = 4).start().await;
    let connect = || TcpStream::connect(world.address());
    let silent = [connect().await.unwrap(), connect().await.unwrap()];
    // The silent ones have been accepted once the next is told.
    assert_eq!(plain::get(world.address(), "/service/").await.status, 503);
    drop(silent);
    let free = |limits: &mut LimitsConfig| (limits.connections, limits.count_loopback) = (4, false);
    let world = World::builder().limits(free).start().await;
    let connect = || TcpStream::connect(world.address());
    let _silent = [connect().await.unwrap(), connect().await.unwrap(), connect().await.unwrap()];
    assert_eq!(plain::get(world.address(), "/service/").await.status, 200);
}

async fn this_machine_is_not_limited_unless_it_is_to_be() {
    let free = |limits: &mut LimitsConfig| (limits.per_address_per_minute, limits.count_loopback) = (2, false);
    let world = World::builder().limits(free).start().await;
    for _ in 0..5 {
        world.anonymous().get("/service/").await.into_data();
    }
}

async fn a_day_has_a_quota_that_outlives_the_server() {
    let mut scene = Scene::of(World::builder().limits(|limits| limits.daily_quota = 5)).await;
    let members: Vec<Value> = ["p1", "p2"].map(|name| Scene::member(name, &scene.sink, json!({}))).to_vec();
    let group = scene.ann.group(json!({ "pushers": members })).await;
    scene.ann.pushed(&group, json!({})).await;
    scene.push(json!({})).await;
    scene.world.restart().await;
    scene.push(json!({})).await;
    let refused = scene.ann.push(&group, json!({})).await;
    let (status, code, seconds) = limited(&refused);
    assert_eq!((status, code), (429, "quota_exceeded"), "a push is taken whole or not at all");
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    scene.push(json!({})).await;
    assert_eq!(scene.ann.push(&scene.hook, json!({})).await.code(), "quota_exceeded");
    let bob = scene.world.user("bob").await;
    bob.pushed("webhook", json!({ "endpoint": scene.sink.url() })).await;
    scene.world.forward(seconds * 1000);
    scene.push(json!({})).await;
}

async fn what_is_refused_costs_no_quota() {
    let scene = Scene::of(World::builder().limits(|limits| limits.daily_quota = 2)).await;
    for _ in 0..3 {
        let refused = scene.ann.push(&scene.hook, json!({ "delay": "soon" })).await;
        assert_eq!(refused.code(), "param_invalid");
    }
    scene.push(json!({})).await;
    scene.push(json!({})).await;
}

async fn large_tasks_arrive_as_well() {
    let scene = Scene::start().await;
    let text = "磁".repeat(20_000);
    for n in 0..40 {
        scene.push(with(json!({ "content": text }), json!({ "n": n }))).await;
    }
    scene.world.settle().await;
    let requests = scene.sink.requests();
    assert_eq!(requests.len(), 40);
    assert!(requests.iter().all(|request| request.json()["content"] == text));
    assert!(scene.world.tasks().await.iter().all(|task| task.attempts.len() == 1));
}

async fn a_large_task_without_room_is_put_off_and_arrives() {
    let scene = Scene::start().await;
    let engine = scene.world.engine();
    let everything = engine.large.acquire_many(u32::try_from(engine.large.available_permits()).unwrap()).await.unwrap();
    let large = scene.task(json!({ "content": "磁".repeat(20_000) })).await;
    scene.push(json!({ "n": 1 })).await;
    assert_eq!(scene.sink.next().await.json(), json!({ "n": 1 }), "small ones go on");
    // Until it was put off it was claimed.
    while engine.store.read().await.unwrap().count_tasks().await.unwrap().running > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scene.ann.task(&large).await["attempts"], 0);
    drop(everything);
    scene.sink.next().await;
    assert_eq!(scene.state(&large).await, "succeeded");
    assert_eq!(scene.ann.task(&large).await["attempts"], 1);
}

async fn what_queues_for_a_commit_is_bounded_by_its_bytes() {
    let world = World::start().await;
    let engine = world.engine();
    let (now, payload) = (engine.clock.now(), "x".repeat(1024 * 1024));
    let record = |at| {
        let run_at = now.plus_ms(3_600_000);
        engine.store.record(vec![NewTask { run_at, payload: payload.clone(), ..task(now.0 + at, 0, "host") }])
    };
    let results = join_all((0..100).map(record)).await;
    let busy = results.iter().filter(|result| matches!(result, Err(Error::Busy { .. }))).count();
    let recorded = world.tasks().await.len();
    assert!(busy > 0 && recorded >= 15, "{busy} of 100 refused");
    assert_eq!(busy + recorded, 100, "what was not refused is there");
    assert!(record(100).await.is_ok(), "and there is room again");
}
