//! Taking back: who can, what, and that what was taken back is never delivered.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Client, text};
use crate::support::http_sink::Play;
use crate::support::scene::Scene;
use crate::support::world::{both, task_id, webhook};

both!(
    a_revoked_task_is_never_delivered,
    only_the_owner_and_an_admin_can_revoke,
    revoking_needs_a_token,
    the_task_of_a_service_belongs_to_who_pushed_it,
    revoking_twice_changes_nothing,
    what_runs_or_has_ended_stays,
    an_unknown_task_is_nobodys_business,
    a_whole_push_is_revoked,
    of_a_push_only_what_still_waits_is_revoked,
    a_push_is_revoked_by_its_owner_alone,
    deleting_a_preset_revokes_what_waits_because_of_it,
    a_deletion_tells_how_much_waited_although_more_comes_in,
    deleting_a_group_revokes_what_waits_because_of_it,
    changing_a_preset_leaves_what_waits_as_it_is,
    revoked_and_delivered_never_both,
);

const HOUR: i64 = 3_600_000;

/// Revokes a task; the state told.
async fn revoke(client: &Client, task: &str) -> Value {
    client.get(&format!("/revoke/task/{task}/")).await.into_data()["state"].take()
}

/// Revokes a push; the states told.
async fn revoke_push(client: &Client, pushed: &Value) -> Vec<String> {
    let data = client.get(&format!("/revoke/push/{}/", text(&pushed["push_id"]))).await.into_data();
    data["tasks"].as_array().expect("tasks").iter().map(|task| text(&task["state"])).collect()
}

async fn a_revoked_task_is_never_delivered() {
    let scene = Scene::start().await;
    let task = scene.task(json!({ "delay": 3600 })).await;
    let kept = scene.task(json!({ "delay": 3600, "kept": true })).await;
    assert_eq!(revoke(&scene.ann, &task).await, "revoked");
    scene.world.forward(HOUR);
    assert_eq!((scene.state(&task).await, scene.state(&kept).await), ("revoked".to_owned(), "succeeded".to_owned()));
    assert_eq!(scene.sink.only_request().json(), json!({ "kept": true }));
    let read = scene.ann.task(&task).await;
    assert_eq!((&read["attempts"], read["finished_at"].is_string()), (&json!(0), true));
}

async fn only_the_owner_and_an_admin_can_revoke() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let first = task_id(&bob.pushed(&scene.hook, json!({ "delay": 3600 })).await);
    let second = scene.task(json!({ "delay": 3600 })).await;
    assert_eq!(revoke(&bob, &first).await, Value::Null, "though it was Bob who pushed");
    assert_eq!(revoke(&bob, &second).await, Value::Null);
    assert_eq!(scene.state(&first).await, "waiting");
    assert_eq!(revoke(&scene.ann, &first).await, "revoked");
    assert_eq!(revoke(&scene.world.admin().await, &second).await, "revoked");
    scene.world.forward(HOUR);
    scene.nothing_arrived().await;
}

async fn revoking_needs_a_token() {
    let scene = Scene::start().await;
    let task = scene.task(json!({ "delay": 3600 })).await;
    let path = format!("/revoke/task/{task}/");
    let nobody = scene.ann.anonymous();
    assert_eq!(nobody.get(&path).await.refusal(), (401, "token_missing"));
    assert_eq!(nobody.get("/revoke/task/unknown/").await.refusal(), (401, "token_missing"), "whatever the task");
    assert_eq!(scene.state(&task).await, "waiting");
    let answer = nobody.get(&format!("{path}?_token={}", scene.ann.token())).await;
    assert_eq!(answer.data()["state"], "revoked");
}

async fn the_task_of_a_service_belongs_to_who_pushed_it() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let mut params = webhook(&scene.sink);
    params["delay"] = json!(3600);
    let task = task_id(&bob.pushed("webhook", params).await);
    assert_eq!(revoke(&scene.ann, &task).await, Value::Null);
    assert_eq!(revoke(&bob, &task).await, "revoked");
}

async fn revoking_twice_changes_nothing() {
    let scene = Scene::start().await;
    let task = scene.task(json!({ "delay": 3600 })).await;
    revoke(&scene.ann, &task).await;
    let before = scene.ann.task(&task).await;
    scene.world.clock.advance(1000);
    assert_eq!(revoke(&scene.ann, &task).await, "revoked");
    assert_eq!(scene.ann.task(&task).await, before);
}

async fn what_runs_or_has_ended_stays() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(200), Play::status(400), Play::status(200).after(Duration::from_millis(200))]);
    let succeeded = scene.task(json!({})).await;
    scene.world.settle().await;
    let failed = scene.task(json!({})).await;
    scene.world.settle().await;
    let running = scene.task(json!({})).await;
    scene.sink.expect(3).await;
    assert_eq!(revoke(&scene.ann, &running).await, "running");
    assert_eq!(revoke(&scene.ann, &succeeded).await, "succeeded");
    assert_eq!(revoke(&scene.ann, &failed).await, "failed");
    assert_eq!(scene.state(&running).await, "succeeded");
}

async fn an_unknown_task_is_nobodys_business() {
    let scene = Scene::start().await;
    for id in ["unknown", "01m809snaqmkfvbej8c9setdr00", "x", "%2F", "%F0%9F%92%A5", "'%20OR%201=1"] {
        assert_eq!(revoke(&scene.ann, id).await, Value::Null, "{id}");
        let push = scene.ann.get(&format!("/revoke/push/{id}/")).await;
        assert_eq!(push.data(), &json!({ "tasks": [] }), "{id}");
    }
}

async fn group_of_three(scene: &Scene) -> String {
    let member = |name: &str| Scene::member(name, &scene.sink, json!({ "name": name }));
    scene.ann.group(json!({ "pushers": [member("a"), member("b"), member("c")] })).await
}

async fn a_whole_push_is_revoked() {
    let scene = Scene::start().await;
    let group = group_of_three(&scene).await;
    let pushed = scene.ann.pushed(&group, json!({ "delay": 3600 })).await;
    let other = scene.ann.pushed(&group, json!({ "delay": 3600 })).await;
    assert_eq!(revoke_push(&scene.ann, &pushed).await, ["revoked"; 3]);
    assert_eq!(scene.states(&other).await, ["waiting"; 3]);
}

async fn of_a_push_only_what_still_waits_is_revoked() {
    let scene = Scene::start().await;
    let group = group_of_three(&scene).await;
    let pushed = scene.ann.pushed(&group, json!({ "a.delay": 3600, "c.delay": 60 })).await;
    scene.world.settle().await;
    assert_eq!(revoke_push(&scene.ann, &pushed).await, ["revoked", "succeeded", "revoked"]);
    scene.world.forward(HOUR);
    scene.world.settle().await;
    assert_eq!(scene.sink.only_request().json(), json!({ "name": "b" }));
}

async fn a_push_is_revoked_by_its_owner_alone() {
    let scene = Scene::start().await;
    let pushed = scene.push(json!({ "delay": 3600 })).await;
    let bob = scene.world.user("bob").await;
    assert!(revoke_push(&bob, &pushed).await.is_empty());
    assert_eq!(scene.states(&pushed).await, ["waiting"]);
    assert_eq!(revoke_push(&scene.world.admin().await, &pushed).await, ["revoked"]);
}

async fn deleting_a_preset_revokes_what_waits_because_of_it() {
    let scene = Scene::start().await;
    let above = scene.ann.preset(&scene.hook, json!({})).await;
    let through_above = task_id(&scene.ann.pushed(&above, json!({ "delay": 3600 })).await);
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(scene.task(json!({ "delay": 3600 })).await);
    }
    let sent = scene.task(json!({})).await;
    scene.world.settle().await;
    let refused = scene.ann.delete(&format!("/preset/{}/", scene.hook)).await;
    assert_eq!(refused.refusal(), (409, "pusher_in_use"));
    assert_eq!(refused.body["data"]["dependents"][0]["id"], above);
    assert_eq!(scene.state(&own[0]).await, "waiting", "a refused deletion revokes nothing");

    let deleted = scene.ann.delete(&format!("/preset/{above}/")).await;
    assert_eq!(deleted.data(), &json!({ "revoked_tasks": 1 }));
    let deleted = scene.ann.delete(&format!("/preset/{}/", scene.hook)).await;
    assert_eq!(deleted.data(), &json!({ "revoked_tasks": 3 }));
    for task in own.iter().chain([&through_above]) {
        assert_eq!(scene.state(task).await, "revoked");
    }
    assert_eq!(scene.state(&sent).await, "succeeded");
    assert_eq!(scene.ann.push(&scene.hook, json!({})).await.refusal(), (404, "pusher_not_found"));
}

async fn a_deletion_tells_how_much_waited_although_more_comes_in() {
    let scene = Scene::start().await;
    for _ in 0..4 {
        let hook = scene.ann.preset("webhook", webhook(&scene.sink)).await;
        let waits = json!({ "delay": 3600 });
        join_all((0..300).map(|_| scene.ann.pushed(&hook, waits.clone()))).await;
        let pushing = join_all((0..8).map(async |_| {
            let mut taken = Vec::new();
            loop {
                let answer = scene.ann.push(&hook, waits.clone()).await;
                if answer.status == 404 {
                    return taken;
                }
                taken.push(task_id(answer.data()));
            }
        }));
        let path = format!("/preset/{hook}/");
        let (taken, deleted) = tokio::join!(pushing, scene.ann.delete(&path));
        let told = deleted.data()["revoked_tasks"].as_u64().unwrap();
        let taken = taken.concat();
        assert!((300..=300 + taken.len() as u64).contains(&told), "{told} of 300 and {}", taken.len());
        for task in taken {
            assert_eq!(scene.state(&task).await, "revoked");
        }
    }
}

async fn deleting_a_group_revokes_what_waits_because_of_it() {
    let scene = Scene::start().await;
    let group = group_of_three(&scene).await;
    let pushed = scene.ann.pushed(&group, json!({ "delay": 3600, "b.delay": 0 })).await;
    scene.world.settle().await;
    let deleted = scene.ann.delete(&format!("/group/{group}/")).await;
    assert_eq!(deleted.data(), &json!({ "revoked_tasks": 2 }));
    assert_eq!(scene.states(&pushed).await, ["revoked", "succeeded", "revoked"]);
}

async fn changing_a_preset_leaves_what_waits_as_it_is() {
    let scene = Scene::start().await;
    let preset = scene.ann.preset(&scene.hook, json!({ "word": "old" })).await;
    scene.ann.pushed(&preset, json!({ "delay": 3600 })).await;
    let change = json!({ "params": { "word": "new" } });
    scene.ann.patch(&format!("/preset/{preset}/"), change).await.data();
    scene.ann.pushed(&preset, json!({})).await;
    assert_eq!(scene.sink.next().await.json(), json!({ "word": "new" }));
    scene.world.forward(HOUR);
    assert_eq!(scene.sink.next().await.json(), json!({ "word": "old" }));
}

async fn revoked_and_delivered_never_both() {
    let scene = Scene::start().await;
    let mut revoked = 0;
    for n in 0..40 {
        let task = scene.task(json!({ "n": n })).await;
        // The worker has it or not: whoever comes first.
        if n % 2 == 0 {
            tokio::task::yield_now().await;
        }
        revoked += usize::from(revoke(&scene.ann, &task).await == "revoked");
    }
    scene.world.settle().await;
    let mut arrived: Vec<i64> = scene.sink.requests().iter().map(|r| r.json()["n"].as_i64().unwrap()).collect();
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!((arrived.len() + revoked, scene.sink.requests().len()), (40, arrived.len()));
    for task in scene.ann.tasks().await {
        let came = scene.sink.requests().iter().any(|r| r.header("idempotency-key") == task["task_id"].as_str());
        assert_eq!(came, task["state"] == "succeeded", "{task}");
    }
}
