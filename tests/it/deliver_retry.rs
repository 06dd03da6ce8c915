//! Trying again: how often, when, and with what the receiver can tell that it is the same message.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Client, text};
use crate::support::http_sink::Play;
use crate::support::scene::Scene;
use crate::support::world::{World, both, task_id, webhook};

both!(
    what_may_pass_is_tried_again_under_one_key,
    when_the_retries_are_used_up_the_task_has_failed,
    what_will_not_pass_is_not_tried_again,
    the_channels_own_wish_is_honoured,
    a_wait_longer_than_an_hour_is_cut_to_an_hour,
    between_two_attempts_the_task_waits,
    a_failed_task_can_be_run_again,
    only_a_failed_task_can_be_run_again,
    what_fails_while_its_pusher_goes_is_not_tried_again,
    what_fails_while_its_owner_is_shut_out_is_not_tried_again,
    what_was_pushed_straight_to_a_service_is_tried_again,
    a_step_that_fails_while_its_group_goes_ends_the_chain,
    a_failed_task_can_be_run_again_without_its_pusher,
);

fn outcomes(task: &Value) -> Vec<String> {
    task["attempt_log"].as_array().expect("a log").iter().map(|attempt| text(&attempt["outcome"])).collect()
}

async fn what_may_pass_is_tried_again_under_one_key() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(503), Play::CloseEarly, Play::status(200)]);
    let task = scene.task(json!({ "content": "c" })).await;
    assert_eq!(scene.state(&task).await, "succeeded");
    let requests = scene.sink.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.header("idempotency-key"), Some(&*task));
        assert_eq!(request.json(), json!({ "content": "c" }));
    }
    for two in requests.windows(2) {
        assert!(two[1].at - two[0].at >= Duration::from_millis(20), "too early");
    }
    let task = scene.ann.task(&task).await;
    assert_eq!(outcomes(&task), ["later", "later", "sent"]);
    assert_eq!((&task["error"], &task["attempts"]), (&Value::Null, &json!(3)));
}

async fn when_the_retries_are_used_up_the_task_has_failed() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(503), Play::status(500), Play::status(502), Play::status(200)]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "failed");
    assert_eq!(scene.sink.requests().len(), 3);
    let task = scene.ann.task(&task).await;
    assert_eq!(outcomes(&task), ["later", "later", "later"]);
    assert_eq!(task["error"]["code"], "webhook:http_502", "the last one");
    assert!(task["finished_at"].is_string());
}

async fn what_will_not_pass_is_not_tried_again() {
    let scene = Scene::start().await;
    for status in [400, 401, 404, 410, 422] {
        scene.sink.script(vec![Play::status(status)]);
        let task = scene.task(json!({})).await;
        assert_eq!(scene.state(&task).await, "failed", "{status}");
        assert_eq!(outcomes(&scene.ann.task(&task).await), ["never"]);
    }
    assert_eq!(scene.sink.requests().len(), 5);
}

/// How many seconds lie between the end of the only attempt and the next one.
fn wait_s(task: &Value) -> i64 {
    let moment = |value: &Value| {
        let text = text(value);
        let at = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339);
        at.unwrap_or_else(|_| panic!("no time: {text}")).unix_timestamp_nanos() / 1_000_000
    };
    let log = &task["attempt_log"][0];
    let ended = moment(&log["at"]) + i128::from(log["duration_ms"].as_i64().unwrap());
    i64::try_from((moment(&task["run_at"]) - ended + 500) / 1000).unwrap()
}

async fn the_channels_own_wish_is_honoured() {
    let scene = Scene::start().await;
    for status in [429, 503] {
        scene.sink.script(vec![Play::status(status).with_header("Retry-After", "1800")]);
        let task = scene.task(json!({})).await;
        assert_eq!(scene.state(&task).await, "waiting", "{status}");
        assert_eq!(wait_s(&scene.ann.task(&task).await), 1800, "{status}");
        scene.world.forward(1_700_000);
        assert_eq!(scene.state(&task).await, "waiting", "not a moment earlier");
        scene.world.forward(100_000);
        assert_eq!(scene.state(&task).await, "succeeded");
    }
}

async fn a_wait_longer_than_an_hour_is_cut_to_an_hour() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(503).with_header("retry-after", "Tue, 31 Dec 2199 23:59:59 GMT")]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "waiting");
    assert_eq!(wait_s(&scene.ann.task(&task).await), 3600);
}

async fn between_two_attempts_the_task_waits() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[3_600_000])).await;
    scene.sink.script(vec![Play::status(503)]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "waiting");
    let read = scene.ann.task(&task).await;
    assert_eq!((&read["error"]["code"], &read["finished_at"]), (&json!("webhook:http_503"), &Value::Null));
    assert_eq!(wait_s(&read), 3600);
    scene.ann.get(&format!("/revoke/task/{task}/")).await.data();
    scene.world.forward(3_600_000);
    assert_eq!(scene.state(&task).await, "revoked");
    assert_eq!(scene.sink.requests().len(), 1, "a task can be revoked between two attempts");
}

async fn a_failed_task_can_be_run_again() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(400), Play::status(503), Play::status(503), Play::status(200)]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "failed");
    let again = scene.ann.post(&format!("/task/{task}/retry/"), json!({})).await;
    assert_eq!((&again.data()["state"], &again.data()["error"]), (&json!("waiting"), &Value::Null));
    assert_eq!(scene.state(&task).await, "succeeded");
    assert_eq!(outcomes(&scene.ann.task(&task).await), ["never", "later", "later", "sent"], "all retries anew");
}

async fn only_a_failed_task_can_be_run_again() {
    let scene = Scene::start().await;
    let sent = scene.task(json!({})).await;
    let waits = scene.task(json!({ "delay": 60 })).await;
    scene.world.settle().await;
    for (task, state) in [(&sent, "succeeded"), (&waits, "waiting")] {
        let refused = scene.ann.post(&format!("/task/{task}/retry/"), json!({})).await;
        assert_eq!(refused.refusal(), (409, "wrong_state"));
        assert_eq!(refused.body["data"], json!({ "state": state }));
    }
    let bob = scene.world.user("bob").await;
    for task in [&*sent, "unknown", "00000000000000000000000000x"] {
        let refused = bob.post(&format!("/task/{task}/retry/"), json!({})).await;
        assert_eq!(refused.refusal(), (404, "task_not_found"));
    }
    assert_eq!(scene.sink.requests().len(), 1);
}

/// A push to this Pusher that is under way, and fails in a moment in a way that may pass.
async fn under_way(scene: &Scene, pusher: &str) -> String {
    scene.sink.script(vec![Play::status(503).after(Duration::from_millis(500)), Play::status(200)]);
    let pushed = scene.ann.pushed(pusher, json!({ "content": "c" })).await;
    scene.sink.expect(1).await;
    text(&pushed["tasks"][0]["task_id"])
}

async fn was_revoked_after_one_attempt(scene: &Scene, who: &Client, task: &str) {
    scene.world.settle().await;
    let task = who.task(task).await;
    assert_eq!((&task["state"], &task["attempts"]), (&json!("revoked"), &json!(1)));
    assert_eq!((&task["error"]["code"], outcomes(&task)), (&json!("webhook:http_503"), vec!["later".to_owned()]));
    assert!(task["finished_at"].is_string());
    assert_eq!(scene.sink.requests().len(), 1);
}

async fn what_fails_while_its_pusher_goes_is_not_tried_again() {
    let scene = Scene::start().await;
    let task = under_way(&scene, &scene.hook).await;
    let gone = scene.ann.delete(&format!("/preset/{}/", scene.hook)).await;
    assert_eq!(gone.data()["revoked_tasks"], 0, "it does not wait");
    was_revoked_after_one_attempt(&scene, &scene.ann, &task).await;
}

async fn what_fails_while_its_owner_is_shut_out_is_not_tried_again() {
    let scene = Scene::start().await;
    let admin = scene.world.admin().await;
    let task = under_way(&scene, &scene.hook).await;
    admin.patch("/account/user/account-of-ann/", json!({ "disabled": true })).await.data();
    was_revoked_after_one_attempt(&scene, &admin, &task).await;
}

async fn what_was_pushed_straight_to_a_service_is_tried_again() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(503), Play::status(200)]);
    let pushed = scene.ann.pushed("webhook", webhook(&scene.sink)).await;
    assert_eq!(scene.state(&task_id(&pushed)).await, "succeeded");
}

async fn a_step_that_fails_while_its_group_goes_ends_the_chain() {
    let scene = Scene::start().await;
    let members = json!([Scene::member("a", &scene.sink, json!({})), Scene::member("b", &scene.sink, json!({}))]);
    let group = json!({ "name": "g", "strategy": "fallback", "pushers": members });
    let group = scene.ann.post("/group/", group).await.id();
    let task = under_way(&scene, &group).await;
    let gone = scene.ann.delete(&format!("/group/{group}/")).await;
    assert_eq!(gone.data()["revoked_tasks"], 1, "the held step");
    was_revoked_after_one_attempt(&scene, &scene.ann, &task).await;
}

async fn a_failed_task_can_be_run_again_without_its_pusher() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(400), Play::status(200)]);
    let task = scene.task(json!({})).await;
    assert_eq!(scene.state(&task).await, "failed");
    scene.ann.delete(&format!("/preset/{}/", scene.hook)).await.data();
    scene.ann.post(&format!("/task/{task}/retry/"), json!({})).await.data();
    assert_eq!(scene.state(&task).await, "succeeded");
}
