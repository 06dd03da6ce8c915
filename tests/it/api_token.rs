//! API tokens: made, shown once, used, listed, withdrawn, ended, and never more powerful than who made them.

use fanfare::domain::account::ApiToken;
use fanfare::domain::scope::Scopes;
use fanfare::store::{NewAccount, TokenHash};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client, text};
use crate::support::scene::Scene;
use crate::support::world::{World, both, holds};

both!(
    a_token_is_shown_once_and_used,
    a_token_is_taken_from_every_place,
    only_a_hash_is_kept,
    a_withdrawn_token_is_refused_at_once,
    a_token_ends,
    a_token_makes_none_that_can_do_more,
    a_token_makes_none_that_lasts_longer,
    tokens_are_listed_in_pages_and_are_ones_own,
    what_makes_no_token,
    an_account_has_a_hundred_tokens_at_most,
    a_token_of_a_disabled_account_is_refused,
);

const TOKENS: &str = "/account/token/";
const HOUR_MS: i64 = 3_600_000;

async fn make(client: &Client, body: Value) -> Answer {
    client.post(TOKENS, body).await
}

/// So many milliseconds from now.
fn end(world: &World, ms: i64) -> String {
    world.engine().clock.now().plus_ms(ms).rfc3339()
}

async fn a_token_is_shown_once_and_used() {
    let scene = Scene::start().await;
    let made = make(&scene.ann, json!({ "name": "backup", "scopes": ["read", "push"] })).await.into_data();
    assert_eq!((&made["name"], &made["scopes"]), (&json!("backup"), &json!(["push", "read"])));
    assert_eq!((&made["last_used_at"], &made["expires_at"]), (&Value::Null, &Value::Null));
    let token = text(&made["token"]);
    assert!(token.starts_with("ffk_") && token.len() > 40, "{token}");
    let listed = scene.ann.get(TOKENS).await;
    assert_eq!(listed.data()["items"][0]["id"], made["id"]);
    assert!(listed.data()["items"][0].get("token").is_none() && !listed.body.to_string().contains(&token));
    let program = scene.ann.with_token(Some(&token));
    let before = end(&scene.world, 0);
    program.pushed("webhook", json!({ "endpoint": format!("{}/hook", scene.sink.url()) })).await;
    scene.sink.next().await;
    let used = scene.ann.get(TOKENS).await.data()["items"][0]["last_used_at"].clone();
    assert!((before..=end(&scene.world, 0)).contains(&text(&used)), "{used}");
}

async fn a_token_is_taken_from_every_place() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let reader = ann.with_scopes(&["read"]).await;
    let anyone = world.anonymous();
    for token in [reader.token(), ann.token()] {
        anyone.with_token(Some(token)).get("/preset/").await.data();
        anyone.get(&format!("/preset/?_token={token}")).await.data();
        anyone.send_with("GET", "/preset/", None, &[("x-api-key", token)], b"").await.data();
    }
    let wrong = anyone.send_with("GET", "/preset/", None, &[("X-Api-Key", "ffk_guessed")], b"").await;
    assert_eq!(wrong.refusal(), (401, "token_invalid"));
    // A push takes the header as well, and refuses one that does not stand even where none is needed.
    let preset = ann.preset_with("webhook", json!({}), json!({ "protected": true })).await;
    let push = format!("/push/{preset}/?endpoint=http://127.0.0.1:9/&delay=60");
    anyone.send_with("GET", &push, None, &[("x-api-key", ann.token())], b"").await.data();
    let refused = anyone.send_with("GET", &push, None, &[("x-api-key", reader.token())], b"").await;
    assert_eq!(refused.refusal(), (403, "scope_missing"));
    let refused = anyone.send_with("GET", &push, None, &[("x-api-key", "x")], b"").await;
    assert_eq!(refused.refusal(), (401, "token_invalid"));
}

async fn only_a_hash_is_kept() {
    let mut scene = Scene::start().await;
    let made = make(&scene.ann, json!({ "name": "N4me-of-it", "scopes": ["push"] })).await;
    let token = text(&made.data()["token"]);
    scene.ann.with_token(Some(&token)).push(&scene.hook, json!({})).await.data();
    scene.world.settle().await;
    scene.world.stop().await;
    let kept = scene.world.kept().await;
    assert!(!holds(&kept, &token) && !holds(&kept, &token[4..]));
    assert!(holds(&kept, "N4me-of-it"), "it was looked at where the rows are");
}

async fn a_withdrawn_token_is_refused_at_once() {
    let world = World::start().await;
    let [ann, bob] = [world.user("ann").await, world.user("bob").await];
    let made = make(&ann, json!({ "name": "n", "scopes": ["read"] })).await.into_data();
    let program = ann.with_token(made["token"].as_str());
    program.get("/preset/").await.data();
    let path = format!("{TOKENS}{}/", text(&made["id"]));
    assert_eq!(bob.delete(&path).await.refusal(), (404, "token_not_found"));
    program.get("/preset/").await.data();
    ann.delete(&path).await.data();
    assert_eq!(program.get("/preset/").await.refusal(), (401, "token_invalid"));
    for gone in [&*path, "/account/token/%00/", "/account/token/%F0%9F%92%A5/"] {
        assert_eq!(ann.delete(gone).await.refusal(), (404, "token_not_found"), "{gone}");
    }
    assert_eq!(ann.get(TOKENS).await.data()["items"], json!([]));
}

async fn a_token_ends() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let expires_at = end(&world, HOUR_MS);
    let made = make(&ann, json!({ "name": "n", "scopes": ["read"], "expires_at": expires_at })).await.into_data();
    assert_eq!(text(&made["expires_at"]), expires_at);
    let program = ann.with_token(made["token"].as_str());
    world.clock.advance(HOUR_MS / 2);
    program.get("/preset/").await.data();
    world.clock.advance(HOUR_MS / 2);
    assert_eq!(program.get("/preset/").await.refusal(), (401, "token_expired"));
    fanfare::flow::tidy::tidy(world.engine()).await.unwrap();
    assert_eq!(ann.get(TOKENS).await.data()["items"], json!([]));
    assert_eq!(program.get("/preset/").await.refusal(), (401, "token_invalid"), "nothing is known of it any more");
}

async fn a_token_makes_none_that_can_do_more() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let manages = ann.with_scopes(&["manage"]).await;
    for (scopes, missing) in [(json!(["push"]), "push"), (json!(["manage", "read"]), "read")] {
        let refused = make(&manages, json!({ "name": "n", "scopes": scopes })).await;
        assert_eq!((refused.refusal(), &refused.body["data"]), ((403, "scope_missing"), &json!({ "scope": missing })));
    }
    make(&manages, json!({ "name": "n", "scopes": ["manage"] })).await.data();
    let reads = ann.with_scopes(&["push", "read"]).await;
    let refused = make(&reads, json!({ "name": "n", "scopes": ["push"] })).await;
    assert_eq!((refused.refusal(), &refused.body["data"]), ((403, "scope_missing"), &json!({ "scope": "manage" })));
}

async fn a_token_makes_none_that_lasts_longer() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let soon = end(&world, HOUR_MS);
    let first = make(&ann, json!({ "name": "n", "scopes": ["manage"], "expires_at": soon })).await.into_data();
    let first = ann.with_token(first["token"].as_str());
    let later = json!({ "name": "n", "scopes": ["manage"], "expires_at": end(&world, 2 * HOUR_MS) });
    let refused = make(&first, later).await;
    assert_eq!((refused.refusal(), refused.faults()), ((422, "field_invalid"), vec![("expires_at", "out_of_range")]));
    let same = make(&first, json!({ "name": "n", "scopes": ["manage"] })).await;
    assert_eq!(text(&same.data()["expires_at"]), soon);
}

async fn tokens_are_listed_in_pages_and_are_ones_own() {
    let world = World::start().await;
    let [ann, bob] = [world.user("ann").await, world.user("bob").await];
    for n in 0..5 {
        world.clock.advance(1);
        make(&ann, json!({ "name": format!("n{n}"), "scopes": ["push"] })).await.data();
    }
    let all = ann.pages(&format!("{TOKENS}?limit=3")).await;
    let names: Vec<String> = all.iter().map(|token| text(&token["name"])).collect();
    assert_eq!(names, ["n4", "n3", "n2", "n1", "n0"]);
    assert_eq!(bob.get(TOKENS).await.data()["items"], json!([]));
}

async fn what_makes_no_token() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let long = "x".repeat(101);
    for (body, fault) in [
        (json!({ "scopes": ["push"] }), ("name", "param_missing")),
        (json!({ "name": "n" }), ("scopes", "param_missing")),
        (json!({ "name": "n", "scopes": ["everything"] }), ("scopes.0", "param_invalid")),
        (json!({ "name": "n", "scopes": [] }), ("scopes", "empty")),
        (json!({ "name": " ", "scopes": ["push"] }), ("name", "empty")),
        (json!({ "name": long, "scopes": ["push"] }), ("name", "too_long")),
        (json!({ "name": "a\u{0}b", "scopes": ["push"] }), ("name", "invalid")),
        (json!({ "name": "n", "scopes": ["push"], "expires_at": "soon" }), ("expires_at", "not_a_time")),
        (json!({ "name": "n", "scopes": ["push"], "expires_at": end(&world, 0) }), ("expires_at", "out_of_range")),
        (json!({ "name": "n", "scopes": ["push"], "admin": true }), ("admin", "unknown")),
    ] {
        let refused = make(&ann, body.clone()).await;
        assert_eq!((refused.status, refused.faults()), (422, vec![fault]), "{body}");
    }
    assert_eq!(make(&world.anonymous(), json!({})).await.refusal(), (401, "token_missing"), "before the body");
    assert_eq!(ann.get(TOKENS).await.data()["items"], json!([]));
}

async fn an_account_has_a_hundred_tokens_at_most() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for _ in 0..100 {
        make(&ann, json!({ "name": "n", "scopes": ["push"] })).await.data();
    }
    let refused = make(&ann, json!({ "name": "n", "scopes": ["push"] })).await;
    assert_eq!((refused.status, refused.faults()), (422, vec![("name", "too_many")]));
    make(&world.user("bob").await, json!({ "name": "n", "scopes": ["push"] })).await.data();
}

async fn a_token_of_a_disabled_account_is_refused() {
    let world = World::start().await;
    let now = world.engine().clock.now();
    for (name, confirmed, disabled, status) in
        [("new", false, false, 401), ("shut", true, true, 401), ("fine", true, false, 200)]
    {
        let set = |new: &mut NewAccount| (new.account.confirmed, new.account.disabled) = (confirmed, disabled);
        let id = world.add(name, set).await;
        let token = ApiToken {
            id: name.to_owned(),
            name: name.to_owned(),
            scopes: Scopes::all(),
            created_at: now,
            last_used_at: None,
            expires_at: None,
        };
        let text = format!("ffk_{name}");
        let mut tx = world.engine().store.write().await.unwrap();
        tx.insert_api_token(&TokenHash::of(&text), &id, &token).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.anonymous().with_token(Some(&text)).get("/preset/").await.status, status, "{name}");
    }
}
