//! `Idempotency-Key` on a push: the same key gets the first answer and makes nothing, however often, wherever and
//! whenever within a day it comes.

use fanfare::config::LimitsConfig;
use fanfare::domain::id::PusherId;
use fanfare::domain::idempotency::IdempotencyKey;
use fanfare::flow::tidy::tidy;
use fanfare::store::KeyHash;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client, FORM, JSON, TEXT, text};
use crate::support::http_sink::HttpSink;
use crate::support::scene::Scene;
use crate::support::world::{World, both, webhook, with};

both!(
    a_repeated_call_gets_the_first_answer,
    of_calls_at_the_same_time_one_pushes,
    another_call_under_the_same_key_is_refused,
    the_order_of_names_the_form_and_the_token_do_not_matter,
    get_and_post_and_content_take_a_key,
    another_pusher_or_account_has_keys_of_its_own,
    a_key_counts_for_a_day,
    a_key_outlives_a_restart,
    what_has_changed_since_does_not_matter,
    a_time_that_has_passed_since_does_not_matter,
    who_may_not_push_may_not_repeat,
    its_owner_may_repeat_a_push_to_what_is_gone,
    a_refused_push_leaves_its_key_free,
    every_task_of_a_group_is_answered_again,
    what_is_no_key_is_refused,
    neither_the_key_nor_the_answer_stands_in_the_database,
);

const DAY_MS: i64 = 86_400_000;

/// Pushes under a key.
async fn push(client: &Client, pusher: &str, key: &str, params: Value) -> Answer {
    send(client, "POST", &format!("/push/{pusher}/"), Some(JSON), key, &params.to_string()).await
}

async fn send(client: &Client, method: &str, path: &str, content_type: Option<&str>, key: &str, body: &str) -> Answer {
    client.send_with(method, path, content_type, &[("idempotency-key", key)], body.as_bytes()).await
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed").is_some_and(|told| told == "true")
}

/// Asserts that an answer is the first one again.
fn assert_repeats(first: &Answer, again: &Answer) {
    assert_eq!(again.data(), first.data());
    assert!(is_replay(again) && !is_replay(first));
}

async fn a_repeated_call_gets_the_first_answer() {
    let scene = Scene::start().await;
    let params = json!({ "content": "disk full" });
    let first = push(&scene.ann, &scene.hook, "order-17", params.clone()).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(scene.arrived().await, params);
    // It has been delivered by now; the answer is that of then.
    for _ in 0..2 {
        assert_repeats(&first, &push(&scene.ann, &scene.hook, "order-17", params.clone()).await);
    }
    scene.only_request().await;
    assert_eq!(scene.ann.tasks().await.len(), 1);
    let other = push(&scene.ann, &scene.hook, "order-18", params.clone()).await;
    assert_ne!(other.data()["push_id"], first.data()["push_id"]);
    let without = [scene.push(params.clone()).await, scene.push(params).await];
    assert_ne!(without[0]["push_id"], without[1]["push_id"], "without a key every call is a push");
}

async fn of_calls_at_the_same_time_one_pushes() {
    let scene = Scene::start().await;
    let call = |_| push(&scene.ann, &scene.hook, "once", json!({ "content": "disk full", "typo": [1, 2] }));
    let answers = join_all((0..64).map(call)).await;
    for answer in &answers {
        assert_eq!(answer.data(), answers[0].data());
    }
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    scene.only_request().await;
    assert_eq!(scene.ann.tasks().await.len(), 1);
}

async fn another_call_under_the_same_key_is_refused() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    let first = send(&scene.ann, "POST", &path, Some(JSON), "k", r#"{"a":1}"#).await;
    for (path, content_type, body) in [
        (path.clone(), Some(JSON), r#"{"a":2}"#),
        (path.clone(), Some(JSON), r#"{"a":"1"}"#),
        (path.clone(), Some(JSON), r#"{"a":1,"delay":60}"#),
        (path.clone(), Some(JSON), r#"{"a":1,"delay":"never"}"#),
        (path.clone(), Some(TEXT), "a"),
        (path.clone(), None, ""),
        (format!("{path}text/"), Some(JSON), r#"{"a":1}"#),
        (format!("{path}?b=1"), Some(JSON), r#"{"a":1}"#),
        (format!("{path}?a=1"), None, ""),
    ] {
        let answer = send(&scene.ann, "POST", &path, content_type, "k", body).await;
        assert_eq!(answer.refusal(), (422, "idempotency_mismatch"), "{path} {body}");
        assert!(!is_replay(&answer));
    }
    let headers = [("idempotency-key", "k"), ("accept-language", "zh")];
    let chinese = scene.ann.send_with("GET", &path, None, &headers, b"").await;
    assert!(!text(&chinese.body["message"]).is_ascii());
    assert_repeats(&first, &send(&scene.ann, "POST", &path, Some(JSON), "k", r#"{"a":1}"#).await);
    assert_eq!(scene.arrived().await, json!({ "a": 1 }));
}

async fn the_order_of_names_the_form_and_the_token_do_not_matter() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    let (nobody, token) = (scene.ann.anonymous(), scene.ann.token());
    let first = send(&scene.ann, "POST", &format!("{path}?x=1&y=2"), Some(JSON), "k", r#"{"a":"1","b":"2"}"#).await;
    let with_token = format!("_token={token}&b=2&a=1");
    for (client, query, content_type, body) in [
        (&scene.ann, "?y=2&x=1", JSON, r#"{"b":"2","a":"1"}"#),
        (&scene.ann, "?x=1&y=2", FORM, "a=1&b=2"),
        (&nobody, "?x=1&y=2", FORM, &*with_token),
        (&nobody, &*format!("?_token={token}&x=1&y=2"), FORM, "a=1&b=2"),
    ] {
        assert_repeats(&first, &send(client, "POST", &format!("{path}{query}"), Some(content_type), "k", body).await);
    }
    scene.only_request().await;
}

async fn get_and_post_and_content_take_a_key() {
    let scene = Scene::start().await;
    for (at, (method, rest, body)) in [
        ("GET", "/?content=hi", ""),
        ("GET", "?content=hi", ""),
        ("GET", "/hi/", ""),
        ("POST", "/hi/", r#"{"a":1}"#),
        ("POST", "/", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (path, key) = (format!("/push/{}{rest}", scene.hook), format!("key-{at}"));
        let first = send(&scene.ann, method, &path, Some(JSON), &key, body).await;
        assert_repeats(&first, &send(&scene.ann, method, &path, Some(JSON), &key, body).await);
        scene.sink.next().await;
    }
    // The method says nothing that the layers do not.
    let answer = send(&scene.ann, "POST", &format!("/push/{}/hi", scene.hook), None, "key-2", "").await;
    assert!(is_replay(&answer), "{}", answer.body);
    scene.world.settle().await;
    assert_eq!(scene.sink.requests().len(), 5);
}

async fn another_pusher_or_account_has_keys_of_its_own() {
    let scene = Scene::start().await;
    let other = scene.ann.preset("webhook", webhook(&scene.sink)).await;
    let bob = scene.world.user("bob").await;
    let params = with(webhook(&scene.sink), json!({ "content": "hi" }));
    let first = push(&scene.ann, &scene.hook, "k", params.clone()).await;
    let mut pushes = vec![text(&first.data()["push_id"])];
    for (client, pusher) in [(&scene.ann, &*other), (&scene.ann, "webhook"), (&bob, "webhook")] {
        let answer = push(client, pusher, "k", params.clone()).await;
        assert!(!is_replay(&answer), "{pusher}");
        pushes.push(text(&answer.data()["push_id"]));
    }
    pushes.sort_unstable();
    pushes.dedup();
    assert_eq!(pushes.len(), 4);
    // The tasks of a Preset are its owner's, whoever pushes: so is the key.
    assert_repeats(&first, &push(&bob, &scene.hook, "k", params.clone()).await);
    assert_repeats(&first, &push(&bob.anonymous(), &scene.hook, "k", params).await);
    scene.world.settle().await;
    assert_eq!(scene.sink.requests().len(), 4);
}

async fn a_key_counts_for_a_day() {
    // What is counted for limits is tidied as well.
    let none = |limits: &mut LimitsConfig| {
        (limits.per_account_per_minute, limits.per_pusher_per_minute, limits.daily_quota) = (0, 0, 0);
    };
    let scene = Scene::of(World::builder().limits(none)).await;
    let params = json!({ "content": "hi" });
    let repeat = || push(&scene.ann, &scene.hook, "k", params.clone());
    let first = repeat().await;
    scene.world.forward(DAY_MS - 60_000);
    assert_repeats(&first, &repeat().await);
    assert_eq!(tidy(scene.world.engine()).await.unwrap(), 0, "it still counts");
    scene.world.forward(60_000);
    // Nobody has tidied: what has ended is not there.
    let second = repeat().await;
    assert!(!is_replay(&second));
    assert_ne!(second.data()["push_id"], first.data()["push_id"]);
    assert_repeats(&second, &repeat().await);
    scene.world.forward(DAY_MS);
    assert_eq!(tidy(scene.world.engine()).await.unwrap(), 1);
    let third = repeat().await;
    assert!(!is_replay(&third));
    // Another call may take what has ended, too.
    scene.world.forward(DAY_MS);
    assert!(!is_replay(&push(&scene.ann, &scene.hook, "k", json!({ "content": "ho" })).await));
    assert_eq!(repeat().await.refusal(), (422, "idempotency_mismatch"));
}

async fn a_key_outlives_a_restart() {
    let mut scene = Scene::start().await;
    let params = json!({ "content": "hi", "delay": 3600 });
    let first = push(&scene.ann, &scene.hook, "k", params.clone()).await;
    scene.world.restart().await;
    assert_repeats(&first, &push(&scene.ann, &scene.hook, "k", params).await);
    assert_eq!(push(&scene.ann, &scene.hook, "k", json!({})).await.refusal(), (422, "idempotency_mismatch"));
    assert_eq!(scene.ann.tasks().await.len(), 1);
}

async fn what_has_changed_since_does_not_matter() {
    let scene = Scene::start().await;
    let params = json!({ "content": "hi", "typo": 1 });
    let first = push(&scene.ann, &scene.hook, "k", params.clone()).await;
    scene.world.settle().await;
    let task = text(&first.data()["task_id"]);
    let endless = json!({ "params": with(webhook(&scene.sink), json!({ "title": "<_0>" })) });
    scene.ann.patch(&format!("/preset/{}/", scene.hook), endless).await.data();
    assert_repeats(&first, &push(&scene.ann, &scene.hook, "k", params.clone()).await);
    assert_eq!(first.data()["tasks"][0]["state"], "waiting", "as it was first told");
    assert_eq!(scene.ann.task(&task).await["state"], "succeeded");
    assert_eq!(push(&scene.ann, &scene.hook, "new", params).await.refusal(), (422, "placeholder_unfilled"));
    assert_eq!(push(&scene.ann, &scene.hook, "k", json!({})).await.refusal(), (422, "idempotency_mismatch"));
    scene.only_request().await;
}

async fn a_time_that_has_passed_since_does_not_matter() {
    let scene = Scene::start().await;
    let at = scene.world.engine().clock.now().plus_ms(1_800_000).rfc3339();
    let params = json!({ "content": "hi", "at": at });
    let first = push(&scene.ann, &scene.hook, "k", params.clone()).await;
    assert_eq!(first.data()["tasks"][0]["run_at"], at);
    let delayed = push(&scene.ann, &scene.hook, "delayed", json!({ "delay": 1800 })).await;
    scene.world.forward(7_200_000);
    assert_eq!(push(&scene.ann, &scene.hook, "new", params.clone()).await.refusal(), (422, "at_in_past"));
    assert_repeats(&first, &push(&scene.ann, &scene.hook, "k", params).await);
    assert_repeats(&delayed, &push(&scene.ann, &scene.hook, "delayed", json!({ "delay": 1800 })).await);
}

async fn who_may_not_push_may_not_repeat() {
    let scene = Scene::start().await;
    let params = json!({ "content": "hi" });
    let nobody = scene.ann.anonymous();
    let first = push(&nobody, &scene.hook, "k", params.clone()).await;
    let path = format!("/preset/{}/", scene.hook);
    scene.ann.patch(&path, json!({ "protected": true })).await.data();
    assert_eq!(push(&nobody, &scene.hook, "k", params.clone()).await.refusal(), (401, "token_missing"));
    assert_repeats(&first, &push(&scene.ann, &scene.hook, "k", params.clone()).await);
    assert_eq!(push(&scene.world.user("bob").await, &scene.hook, "k", params).await.refusal(), (403, "forbidden"));
}

async fn its_owner_may_repeat_a_push_to_what_is_gone() {
    let scene = Scene::start().await;
    let params = json!({ "content": "hi", "delay": 60 });
    let (nobody, script) = (scene.ann.anonymous(), scene.ann.with_scopes(&["push"]).await);
    let first = push(&nobody, &scene.hook, "k", params.clone()).await;
    scene.ann.delete(&format!("/preset/{}/", scene.hook)).await.data();
    for client in [&scene.ann, &script] {
        assert_repeats(&first, &push(client, &scene.hook, "k", params.clone()).await);
    }
    let path = format!("/push/{}/?_token={}", scene.hook, scene.ann.token());
    assert_repeats(&first, &send(&nobody, "POST", &path, Some(JSON), "k", &params.to_string()).await);
    assert_eq!(push(&script, &scene.hook, "k", json!({})).await.refusal(), (422, "idempotency_mismatch"));
    // To anybody else there is no such Pusher, and never was.
    let (bob, admin) = (scene.world.user("bob").await, scene.world.admin().await);
    for (client, pusher, key) in [
        (&nobody, &*scene.hook, "k"),
        (&bob, &scene.hook, "k"),
        (&admin, &scene.hook, "k"),
        (&scene.ann, &scene.hook, "another"),
        (&scene.ann, "nowhere", "k"),
    ] {
        for params in [params.clone(), json!({})] {
            let refused = push(client, pusher, key, params).await;
            assert_eq!(refused.refusal(), (404, "pusher_not_found"), "{pusher} {key}");
        }
    }
    assert_eq!(scene.ann.push(&scene.hook, params.clone()).await.refusal(), (404, "pusher_not_found"));
    let reader = scene.ann.with_scopes(&["read"]).await;
    assert_eq!(push(&reader, &scene.hook, "k", params.clone()).await.refusal(), (403, "scope_missing"));
    assert_eq!(scene.ann.tasks().await.len(), 1);
    scene.world.forward(DAY_MS);
    assert_eq!(push(&scene.ann, &scene.hook, "k", params).await.refusal(), (404, "pusher_not_found"));
    scene.nothing_arrived().await;
}

async fn a_refused_push_leaves_its_key_free() {
    let scene = Scene::start().await;
    let refused = push(&scene.ann, "webhook", "k", json!({ "content": "hi" })).await;
    assert_eq!(refused.refusal(), (422, "param_missing"));
    let wrong = with(webhook(&scene.sink), json!({ "method": "CONNECT" }));
    assert_eq!(push(&scene.ann, "webhook", "k", wrong).await.refusal(), (422, "param_invalid"));
    let corrected = with(webhook(&scene.sink), json!({ "content": "hi" }));
    let first = push(&scene.ann, "webhook", "k", corrected.clone()).await;
    assert_repeats(&first, &push(&scene.ann, "webhook", "k", corrected).await);
    assert_eq!(scene.arrived().await, json!({ "content": "hi" }));
}

async fn every_task_of_a_group_is_answered_again() {
    let scene = Scene::start().await;
    for strategy in ["all", "fallback"] {
        let sinks = [HttpSink::start().await, HttpSink::start().await, HttpSink::start().await];
        let member = |(at, sink)| Scene::member(&format!("p{at}"), sink, json!({}));
        let pushers: Vec<_> = sinks.iter().enumerate().map(member).collect();
        let group = scene.ann.group(json!({ "strategy": strategy, "pushers": pushers })).await;
        let call = |_| push(&scene.ann, &group, "k", json!({ "content": "hi", "p1.delay": 1 }));
        let answers = join_all((0..8).map(call)).await;
        let tasks = answers[0].data()["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), 3);
        assert_eq!(tasks[1]["state"], if strategy == "all" { "waiting" } else { "held" });
        scene.world.forward(1000);
        scene.world.settle().await;
        let late = call(0).await;
        for answer in answers.iter().chain([&late]) {
            assert_eq!(answer.data(), answers[0].data(), "{strategy}");
        }
        let arrived: Vec<_> = sinks.iter().map(|sink| sink.requests().len()).collect();
        assert_eq!(arrived, if strategy == "all" { [1, 1, 1] } else { [1, 0, 0] });
    }
}

async fn what_is_no_key_is_refused() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    for key in ["", " ", "a b", "a, b", "é", "键", &"k".repeat(256)] {
        let answer = send(&scene.ann, "POST", &path, Some(JSON), key, "{}").await;
        assert_eq!(answer.refusal(), (422, "param_invalid"), "{key:?}");
        assert_eq!(answer.faults(), [("Idempotency-Key", "param_invalid")], "{key:?}");
        assert!(text(&answer.body["message"]).contains("visible ASCII"), "{}", answer.body);
    }
    let twice = [("idempotency-key", "a"), ("Idempotency-Key", "a")];
    assert_eq!(scene.ann.send_with("GET", &path, None, &twice, b"").await.refusal(), (422, "param_invalid"));
    scene.nothing_arrived().await;
    let longest = "~".repeat(255);
    let first = send(&scene.ann, "GET", &path, None, &longest, "").await;
    assert_repeats(&first, &send(&scene.ann, "GET", &path, None, &longest, "").await);
}

async fn neither_the_key_nor_the_answer_stands_in_the_database() {
    let scene = Scene::start().await;
    let first = push(&scene.ann, &scene.hook, "order-17", json!({ "content": "hi" })).await;
    let key = IdempotencyKey::parse("order-17").unwrap();
    let hash = KeyHash::of("account-of-ann", &PusherId::new(&scene.hook), &key);
    assert!(!hash.as_str().contains("order-17"));
    let engine = scene.world.engine();
    let mut tx = engine.store.read().await.unwrap();
    let sealed = tx.first_answer(&hash, engine.clock.now()).await.unwrap().expect("an answer");
    let push_id = text(&first.data()["push_id"]);
    assert!(!sealed.contains(&push_id));
    assert!(engine.store.sealer().open(hash.as_str(), &sealed).unwrap().contains(&push_id));
    assert!(engine.store.sealer().open("elsewhere", &sealed).is_err());
}
