//! Who may push to what, and where the token may stand.

use serde_json::json;

use crate::support::client::{FORM, JSON};
use crate::support::scene::Scene;
use crate::support::world::{both, task_id, webhook, with};

both!(
    whoever_knows_an_unprotected_preset_may_push_to_it,
    a_service_needs_a_token,
    a_protected_preset_needs_its_owners_token,
    the_token_may_stand_in_four_places,
    the_token_never_reaches_the_receiver,
    a_token_that_does_not_stand_is_refused_even_where_none_is_needed,
    tasks_belong_to_the_presets_owner_whoever_pushed,
    an_unknown_pusher_is_not_found,
    a_session_ends_after_thirty_days,
);

async fn whoever_knows_an_unprotected_preset_may_push_to_it() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    for client in [bob.anonymous(), bob, scene.world.admin().await, scene.ann.clone()] {
        client.pushed(&scene.hook, json!({ "content": "hi" })).await;
        assert_eq!(scene.sink.next().await.json(), json!({ "content": "hi" }));
    }
}

async fn a_service_needs_a_token() {
    let scene = Scene::start().await;
    let params = with(webhook(&scene.sink), json!({ "content": "hi" }));
    let refused = scene.ann.anonymous().push("webhook", params.clone()).await;
    assert_eq!(refused.refusal(), (401, "token_missing"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    scene.nothing_arrived().await;
    let pushed = scene.ann.pushed("webhook", params).await;
    assert_eq!(pushed["tasks"][0]["pusher_id"], "webhook");
    assert_eq!(scene.arrived().await, json!({ "content": "hi" }));
}

async fn a_protected_preset_needs_its_owners_token() {
    let scene = Scene::start().await;
    let preset = scene.ann.preset_with(&scene.hook, json!({}), json!({ "protected": true })).await;
    let params = json!({ "content": "hi" });
    assert_eq!(scene.ann.anonymous().push(&preset, params.clone()).await.refusal(), (401, "token_missing"));
    for stranger in [scene.world.user("bob").await, scene.world.admin().await] {
        assert_eq!(stranger.push(&preset, params.clone()).await.refusal(), (403, "forbidden"));
    }
    scene.nothing_arrived().await;
    scene.ann.pushed(&preset, params.clone()).await;
    assert_eq!(scene.arrived().await, params);
}

async fn the_token_may_stand_in_four_places() {
    let scene = Scene::start().await;
    let preset = scene.ann.preset_with(&scene.hook, json!({}), json!({ "protected": true })).await;
    let (nobody, token) = (scene.ann.anonymous(), scene.ann.token());
    let path = format!("/push/{preset}/");
    let in_query = format!("{path}?_token={token}&content=hi");
    let in_json = json!({ "_token": token, "content": "hi" }).to_string();
    let in_form = format!("content=hi&_token={token}");
    let header = format!("bEaReR {token}");
    let headers = [("authorization", &*header)];
    for answer in [
        nobody.get(&in_query).await,
        nobody.send("POST", &path, Some(JSON), in_json.as_bytes()).await,
        nobody.send("POST", &path, Some(FORM), in_form.as_bytes()).await,
        nobody.send_with("GET", &format!("{path}hi"), None, &headers, b"").await,
    ] {
        answer.data();
        assert_eq!(scene.sink.next().await.json(), json!({ "content": "hi" }));
    }
}

async fn the_token_never_reaches_the_receiver() {
    let scene = Scene::start().await;
    let token = scene.ann.token();
    let path = format!("/push/{}/?_token={token}", scene.hook);
    scene.ann.post(&path, json!({ "_token": token, "a": 1 })).await.data();
    let request = scene.only_request().await;
    assert_eq!(request.json(), json!({ "a": 1 }));
    assert!(!format!("{request:?}").contains(token), "{request:?}");
}

async fn a_token_that_does_not_stand_is_refused_even_where_none_is_needed() {
    let scene = Scene::start().await;
    let nobody = scene.ann.anonymous();
    for token in ["ff_guessed", "two words", &"x".repeat(5000)] {
        let client = nobody.with_token(Some(token));
        assert_eq!(client.push(&scene.hook, json!({})).await.refusal(), (401, "token_invalid"));
    }
    let path = format!("/push/{}/?_token=guessed", scene.hook);
    assert_eq!(nobody.get(&path).await.refusal(), (401, "token_invalid"));
    let path = format!("/push/{}/", scene.hook);
    for header in [("authorization", "Bearer fft_é"), ("authorization", "bearer \u{a0}"), ("x-api-key", "é")] {
        let answer = nobody.send_with("POST", &path, None, &[header], b"").await;
        assert_eq!(answer.refusal(), (401, "token_invalid"), "{header:?}");
    }
    scene.nothing_arrived().await;
    let other_scheme = nobody.send_with("POST", &path, None, &[("authorization", "Basic é")], b"").await;
    assert_eq!(other_scheme.status, 200, "what names no token of ours is a proxy's business");
}

async fn tasks_belong_to_the_presets_owner_whoever_pushed() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let task = task_id(&bob.pushed(&scene.hook, json!({})).await);
    scene.world.settle().await;
    assert_eq!(scene.ann.task(&task).await["state"], "succeeded");
    assert_eq!(scene.world.admin().await.task(&task).await["state"], "succeeded");
    assert_eq!(bob.get(&format!("/task/{task}/")).await.refusal(), (404, "task_not_found"));
    assert!(bob.tasks().await.is_empty());
    let own = bob.pushed("webhook", webhook(&scene.sink)).await;
    assert_eq!(bob.task(&task_id(&own)).await["service"], "webhook");
    assert_eq!(scene.ann.get(&format!("/task/{}/", task_id(&own))).await.refusal(), (404, "task_not_found"));
}

async fn an_unknown_pusher_is_not_found() {
    let scene = Scene::start().await;
    for id in ["nothing", "01234567890123456789abcdef", "%00", "WEBHOOK", "..", "%F0%9F%92%A5"] {
        assert_eq!(scene.ann.push(id, json!({})).await.refusal(), (404, "pusher_not_found"), "{id}");
    }
}

async fn a_session_ends_after_thirty_days() {
    let scene = Scene::start().await;
    scene.world.forward(29 * 86_400_000);
    scene.ann.get("/preset/").await.data();
    scene.world.forward(29 * 86_400_000);
    scene.ann.get("/preset/").await.data();
    scene.world.forward(30 * 86_400_000 + 1);
    assert_eq!(scene.ann.get("/preset/").await.refusal(), (401, "token_expired"));
}
