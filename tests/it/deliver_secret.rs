//! Secrets: wherever a channel repeats them, and wherever the server keeps them, nobody reads them.

use serde_json::{Value, json};

use crate::support::client::text;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::log::Log;
use crate::support::scene::Scene;
use crate::support::world::{World, both, holds, task_id, webhook, with};

both!(
    a_secret_that_the_channel_echoes_is_masked,
    a_secret_at_the_edge_of_a_long_message_is_masked,
    a_secret_with_odd_spaces_is_masked_in_the_message,
    a_secret_that_comes_back_as_a_code_is_not_shown,
    the_database_holds_no_secret_in_clear,
    a_preview_shows_no_secret,
    no_log_line_shows_a_secret,
);

/// With what JSON and URLs escape.
const SECRET: &str = "Pass \"phrase\"/é&7+=%of\\Ann";
const SENDS_ONCE: &[u64] = &[];

async fn scene() -> Scene {
    Scene::of(World::builder().retry_waits_ms(SENDS_ONCE)).await
}

/// Pushes with `secret` in a header; what one reads of the task once it has ended.
async fn pushed_with(scene: &Scene, secret: &str) -> Value {
    let task = scene.task(json!({ "headers": { "x-key": secret } })).await;
    scene.world.settle().await;
    scene.ann.task(&task).await
}

async fn a_secret_that_the_channel_echoes_is_masked() {
    let scene = scene().await;
    let percent = "Pass%20%22phrase%22%2F%C3%A9%267%2B%3D%25of%5CAnn";
    for echo in [
        SECRET.to_owned(),
        r#"Pass \"phrase\"/é&7+=%of\\Ann"#.to_owned(),
        r#"Pass \"phrase\"\/é&7+=%of\\Ann"#.to_owned(),
        r#"Pass \"phrase\"/\u00e9&7+=%of\\Ann"#.to_owned(),
        r#"Pass \"phrase\"\/\u00E9&7+=%of\\Ann"#.to_owned(),
        percent.to_owned(),
        percent.to_ascii_lowercase().replace("pass", "Pass").replace("ann", "Ann"),
        percent.replace("%20", "+"),
        "UGFzcyAicGhyYXNlIi/DqSY3Kz0lb2ZcQW5u".to_owned(),
    ] {
        for status in [200, 400] {
            scene.sink.script(vec![Play::json(status, &format!("you sent <{echo}>"))]);
            let task = pushed_with(&scene, SECRET).await;
            assert_eq!(task["attempt_log"][0]["response"], "you sent <Pas****Ann>", "{echo}");
            assert!(!task.to_string().contains("phrase"), "{task}");
        }
    }
}

async fn a_secret_at_the_edge_of_a_long_message_is_masked() {
    let scene = scene().await;
    let secret = "abcdefghijklmnopqrstuvwxyz0123456789";
    for before in [270, 280, 290, 298, 2020, 2030, 2040, 2046] {
        scene.sink.script(vec![Play::json(400, &format!("{}{secret} end", ".".repeat(before)))]);
        let task = pushed_with(&scene, secret).await;
        for place in [&task["error"]["message"], &task["attempt_log"][0]["response"]] {
            assert!(!text(place).contains("abcd"), "{before}: {place}");
        }
    }
}

async fn a_secret_with_odd_spaces_is_masked_in_the_message() {
    let scene = scene().await;
    let secret = "first  half\tsecond  half";
    scene.sink.script(vec![Play::json(400, &format!("wrong key {secret}!"))]);
    let task = pushed_with(&scene, secret).await;
    assert!(!task.to_string().contains("half"), "{task}");
    assert!(text(&task["error"]["message"]).starts_with("wrong key "), "{task}");
}

async fn a_secret_that_comes_back_as_a_code_is_not_shown() {
    let scene = scene().await;
    let secret = "tk_0123456789abcdef";
    let answer = json!({ "code": secret, "error": "no" });
    scene.sink.script(vec![Play::json(418, &answer.to_string())]);
    let params = json!({ "server": scene.sink.url(), "topic": "t", "token": secret, "content": "c" });
    let task = task_id(&scene.ann.pushed("ntfy", params).await);
    scene.world.settle().await;
    let task = scene.ann.task(&task).await;
    assert!(!task.to_string().contains("0123456789"), "{task}");
    assert_eq!(task["error"]["code"], "ntfy:http_418");
}

async fn the_database_holds_no_secret_in_clear() {
    let mut scene = scene().await;
    let secret = "N0b0dy-reads-this";
    let params = with(webhook(&scene.sink), json!({ "headers": { "x-key": secret } }));
    let preset = scene.ann.preset("webhook", params.clone()).await;
    scene.ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook", "params": params }] })).await;
    scene.ann.pushed(&preset, json!({ "content": "Also-nobody-reads" })).await;
    scene.ann.pushed(&preset, json!({ "content": "Also-nobody-reads", "delay": 60 })).await;
    scene.world.settle().await;
    assert_eq!(scene.sink.only_request().header("x-key"), Some(secret));
    scene.world.stop().await;
    let kept = scene.world.kept().await;
    assert!(!holds(&kept, secret) && !holds(&kept, "Also-nobody-reads"));
    assert!(holds(&kept, &preset), "it was looked at where the rows are");
}

async fn a_preview_shows_no_secret() {
    let scene = scene().await;
    let sink = HttpSink::start().await;
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let params = with(webhook(&sink), json!({ "secret": key, "headers": { "authorization": "Bearer abcdefghijkl" } }));
    let preset = scene.ann.preset("webhook", params).await;
    let preview = scene.ann.post(&format!("/pusher/{preset}/preview/"), json!({ "content": "c" })).await;
    let shown = preview.data()["tasks"][0].clone();
    assert_eq!(shown["params"]["content"], json!({ "value": "c", "from": "body" }));
    assert_eq!(shown["params"]["secret"]["from"], preset);
    assert_eq!(shown["request"]["body"], json!({ "content": "c" }));
    assert!(!shown.to_string().contains("abcdef") && !shown.to_string().contains("MfKQ"), "{shown}");
    assert!(scene.world.tasks().await.is_empty() && sink.requests().is_empty());
}

async fn no_log_line_shows_a_secret() {
    let log = Log::begin();
    let scene = scene().await;
    let secret = "N0b0dy-reads-this";
    scene.sink.script(vec![Play::json(400, secret), Play::CloseEarly]);
    for _ in 0..2 {
        pushed_with(&scene, secret).await;
    }
    let token = scene.ann.token();
    let path = format!("/push/{}/Private-content/?_token={token}&title=Private-title", scene.hook);
    scene.ann.get(&path).await.data();
    scene.ann.get(&format!("/nothing/{secret}/?_token={token}")).await;
    let in_url = format!("http://ann:{secret}@127.0.0.1:{}/{secret}", scene.sink.port());
    scene.push(json!({ "endpoint": in_url })).await;
    scene.world.settle().await;
    let lines = log.text();
    assert!(lines.contains("GET /push/{pusher_id}/{content}/ 200"), "the log is the right one: {lines}");
    for hidden in [secret, token, "Private-content", "Private-title", &scene.hook] {
        let shown: Vec<&str> = lines.lines().filter(|line| line.contains(hidden)).collect();
        assert!(shown.is_empty(), "{hidden} in {shown:#?}");
    }
}
