//! What becomes of a task, whatever the channel does: its state, its code, and what is kept of the answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::client::text;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::scene::Scene;
use crate::support::world::{World, both, task_id, webhook, with};

both!(
    a_delivery_is_recorded,
    every_way_to_fail_has_its_code,
    a_channel_that_answers_200_with_an_error_inside_has_failed,
    a_redirect_to_a_metadata_address_is_refused,
    a_refusal_that_breaks_off_is_one,
    of_a_gibibyte_the_status_counts_and_the_beginning_is_kept,
    of_an_answer_full_of_nuls_no_more_is_kept,
    an_answer_that_is_no_text_is_kept_as_text,
    of_a_long_answer_two_kibibytes_are_kept,
    nobody_listens,
    a_private_address_is_refused_unless_allowed,
    a_hanging_host_does_not_delay_another,
    a_host_gets_no_more_at_a_time_than_allowed,
);

/// The code of a task's error.
fn code(task: &Value) -> &str {
    task["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {task}"))
}

async fn a_delivery_is_recorded() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::json(201, r#"{"ok":"磁盘"}"#)]);
    let task = scene.task(json!({ "content": "c" })).await;
    assert_eq!(scene.state(&task).await, "succeeded");
    let task = scene.ann.task(&task).await;
    assert_eq!((&task["attempts"], &task["error"]), (&json!(1), &Value::Null));
    let attempt = &task["attempt_log"][0];
    assert_eq!((&attempt["outcome"], &attempt["status"]), (&json!("sent"), &json!(201)));
    assert_eq!(attempt["response"], r#"{"ok":"磁盘"}"#);
}

async fn every_way_to_fail_has_its_code() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[]).hasty()).await;
    for (play, expected, status) in [
        (Play::Hang, "webhook:timeout", Value::Null),
        (Play::Trickle(200), "webhook:timeout", json!(200)),
        (Play::CloseEarly, "webhook:connection_lost", Value::Null),
        (Play::CloseInBody(200), "webhook:connection_lost", json!(200)),
        (Play::status(301).with_header("location", "/elsewhere"), "webhook:http_301", json!(301)),
        (Play::status(400), "webhook:http_400", json!(400)),
        (Play::status(403), "webhook:http_403", json!(403)),
        (Play::status(429), "webhook:http_429", json!(429)),
        (Play::status(500), "webhook:http_500", json!(500)),
        (Play::status(599), "webhook:http_599", json!(599)),
    ] {
        scene.sink.script(vec![play.clone()]);
        let task = scene.task(json!({})).await;
        assert_eq!(scene.state(&task).await, "failed", "{play:?}");
        let task = scene.ann.task(&task).await;
        assert_eq!(code(&task), expected, "{play:?}");
        let attempt = &task["attempt_log"][0];
        assert_eq!((&attempt["code"], &attempt["status"]), (&json!(expected), &status), "{play:?}");
        assert!(!text(&task["error"]["message"]).is_empty());
    }
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "succeeded", "the server is well after all that");
}

async fn a_channel_that_answers_200_with_an_error_inside_has_failed() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[])).await;
    for (service, params, answer, expected, message) in [
        ("wecom_bot", json!({ "key": "k" }), r#"{"errcode":93000,"errmsg":"gone"}"#, "bot_not_found", "gone"),
        ("wecom_bot", json!({ "key": "k" }), r#"{"errcode":4,"errmsg":"?"}"#, "code_4", "?"),
        ("bark", json!({ "device_key": "k" }), r#"{"code":400,"message":"no"}"#, "device_not_found", "no"),
        ("ntfy", json!({ "topic": "t" }), "<html>captive portal</html>", "unexpected_answer", "status 200"),
        ("ntfy", json!({ "topic": "t" }), "", "unexpected_answer", "status 200"),
    ] {
        scene.sink.script(vec![Play::json(200, answer)]);
        let params = with(params, json!({ "server": scene.sink.url(), "content": "c" }));
        let task = task_id(&scene.ann.pushed(service, params).await);
        assert_eq!(scene.state(&task).await, "failed", "{answer}");
        let task = scene.ann.task(&task).await;
        assert_eq!(code(&task), format!("{service}:{expected}"));
        assert_eq!(task["error"]["message"], message);
        assert_eq!(task["attempt_log"][0]["status"], 200);
    }
}

async fn a_redirect_to_a_metadata_address_is_refused() {
    let scene = Scene::start().await;
    let to = |status: u16, location: &str| Play::status(status).with_header("location", location);
    scene.sink.script(vec![to(301, "http://169.254.169.254/latest/meta-data/")]);
    let task = scene.task(json!({ "method": "GET" })).await;
    assert_eq!(scene.state(&task).await, "failed");
    assert_eq!(code(&scene.ann.task(&task).await), "webhook:redirect_refused");
    assert_eq!(scene.sink.requests().len(), 1, "no second attempt");
}

async fn a_refusal_that_breaks_off_is_one() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[]).hasty()).await;
    for (play, status, outcome) in [
        (Play::CloseInBody(400), 400, "never"),
        (Play::Trickle(403), 403, "never"),
        (Play::CloseInBody(503), 503, "later"),
    ] {
        scene.sink.script(vec![play]);
        let task = scene.task(json!({})).await;
        assert_eq!(scene.state(&task).await, "failed");
        let task = scene.ann.task(&task).await;
        let attempt = &task["attempt_log"][0];
        assert_eq!(code(&task), format!("webhook:http_{status}"));
        assert_eq!((&attempt["status"], &attempt["outcome"]), (&json!(status), &json!(outcome)));
        assert!(text(&attempt["response"]).starts_with(if status == 403 { "x" } else { "half" }), "{attempt}");
    }
}

async fn of_a_gibibyte_the_status_counts_and_the_beginning_is_kept() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::Huge]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "succeeded");
    assert_eq!(text(&scene.ann.task(&task).await["attempt_log"][0]["response"]).len(), 2048);
}

async fn of_an_answer_full_of_nuls_no_more_is_kept() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::Answer { status: 200, headers: vec![], body: vec![0; 5000] }]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "succeeded");
    let kept = text(&scene.ann.task(&task).await["attempt_log"][0]["response"]);
    assert_eq!(kept, "\u{fffd}".repeat(2048 / 3));
}

async fn an_answer_that_is_no_text_is_kept_as_text() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[])).await;
    let body = b"\xff\xfe\0ok\r\n\x1b[31m".to_vec();
    scene.sink.script(vec![Play::Answer { status: 418, headers: vec![], body }]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "failed");
    let task = scene.ann.task(&task).await;
    assert_eq!(task["attempt_log"][0]["response"], "\u{fffd}\u{fffd}\u{fffd}ok\r\n\u{1b}[31m");
    assert!(!text(&task["error"]["message"]).contains(['\0', '\u{1b}']), "{task}");
}

async fn of_a_long_answer_two_kibibytes_are_kept() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::json(200, &format!("x{}", "磁".repeat(5000)))]);
    let task = scene.task(json!({})).await;
    scene.world.settle().await;
    let kept = text(&scene.ann.task(&task).await["attempt_log"][0]["response"]);
    assert_eq!(kept, format!("x{}", "磁".repeat(682)), "whole characters in {} bytes", kept.len());
}

async fn nobody_listens() {
    let scene = Scene::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let task = scene.task(json!({ "endpoint": endpoint })).await;
    assert_eq!(scene.state(&task).await, "failed");
    let task = scene.ann.task(&task).await;
    assert_eq!((code(&task), &task["attempts"]), ("webhook:connect_failed", &json!(3)));
}

async fn a_private_address_is_refused_unless_allowed() {
    let world = World::builder().allow(&["10.9.8.7"]).start().await;
    let sink = HttpSink::start().await;
    let ann = world.user("ann").await;
    for endpoint in
        [sink.url(), sink.url().replace("127.0.0.1", "localhost"), sink.url().replace("127.0.0.1", "0x7f.1")]
    {
        let task = task_id(&ann.pushed("webhook", json!({ "endpoint": endpoint })).await);
        world.settle().await;
        let task = ann.task(&task).await;
        assert_eq!((text(&task["state"]), code(&task)), ("failed".to_owned(), "webhook:address_refused"), "{endpoint}");
        assert_eq!(task["attempts"], 1, "another attempt would meet the same");
    }
    assert_eq!(sink.connections(), 0);
}

async fn a_hanging_host_does_not_delay_another() {
    let scene = Scene::of(World::builder().per_host(2).concurrency(8)).await;
    let hangs = HttpSink::start().await;
    hangs.script(vec![Play::Hang; 10]);
    for _ in 0..6 {
        scene.push(webhook(&hangs)).await;
    }
    hangs.expect(2).await;
    let begun = Instant::now();
    for n in 0..20 {
        scene.push(json!({ "n": n })).await;
    }
    scene.sink.expect(20).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(hangs.requests().len(), 2, "no more than two at a time");
}

async fn a_host_gets_no_more_at_a_time_than_allowed() {
    const TAKES: Duration = Duration::from_millis(60);
    let scene = Scene::of(World::builder().per_host(2)).await;
    scene.sink.script(vec![Play::status(200).after(TAKES); 7]);
    for _ in 0..7 {
        scene.push(json!({})).await;
    }
    scene.world.settle().await;
    let arrived: Vec<Instant> = scene.sink.requests().iter().map(|request| request.at).collect();
    assert_eq!(arrived.len(), 7);
    for third in arrived.windows(3) {
        assert!(third[2] - third[0] >= TAKES, "three at a time: {arrived:?}");
    }
}
