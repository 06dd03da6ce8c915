//! The record of an account's life: who made, confirmed, changed, limited, shut out and removed it, and from where.

use serde_json::{Value, json};

use crate::support::client::{Client, text};
use crate::support::newcomer::House;
use crate::support::world::{PASSWORD, both};

both!(
    the_life_of_an_account_is_recorded,
    what_admins_do_with_an_account_is_in_its_record,
    codes_are_recorded_and_cannot_be_used_from_there,
    a_reset_is_recorded_only_for_whom_there_is,
    an_account_that_was_never_confirmed_is_recorded_as_gone,
    a_token_reads_as_an_admin_and_changes_nothing,
    what_needs_the_password_needs_a_session,
);

const ANN: &str = "ann@example.com";
const OTHER: &str = "another password";

async fn audit(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/audit/?limit=100{query}")).await.items().into_iter().rev().collect()
}

fn actions(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| text(&event["action"])).collect()
}

async fn reset(house: &House, email: &str) {
    house.ask_reset(email).await.data();
    let token = house.reset_token(email).await;
    house.world.clock.advance(1);
    house.reset(&token, OTHER).await.data();
    house.world.clock.advance(1);
}

async fn the_life_of_an_account_is_recorded() {
    let house = House::start().await;
    let clock = &house.world.clock;
    let code = house.code(json!({})).await;
    clock.advance(1);
    house.sign_up(&code, ANN).await.data();
    let link = house.link(ANN).await;
    clock.advance(1);
    for _ in 0..2 {
        house.world.anonymous().get(&link).await.data();
    }
    clock.advance(1);
    let ann = house.login(ANN, PASSWORD).await.unwrap();
    let id = text(&ann.get("/account/user/").await.data()["id"]);
    clock.advance(1);
    let change = json!({ "old_password": PASSWORD, "password": OTHER });
    ann.patch("/account/password/", change).await.data();
    clock.advance(1);
    house.login(ANN, OTHER).await.unwrap();
    let other = ann.get("/account/session/").await.data()["items"][0]["id"].clone();
    clock.advance(1);
    ann.delete(&format!("/account/session/{}/", text(&other))).await.data();
    clock.advance(1);
    ann.patch("/account/user/", json!({ "email": "ann@example.org", "password": OTHER })).await.data();
    house.world.anonymous().get(&house.link("ann@example.org").await).await.data();
    clock.advance(1);
    ann.post("/account/token/", json!({ "name": "script", "scopes": ["read"] })).await.data();
    clock.advance(1);
    reset(&house, "ann@example.org").await;
    let ann = house.login("ann@example.org", OTHER).await.unwrap();
    clock.advance(1);
    ann.post("/account/user/logout/", json!({})).await.data();
    clock.advance(1);
    let ann = house.login("ann@example.org", OTHER).await.unwrap();
    clock.advance(1);

    let own = audit(&ann, "").await;
    let expected = [
        ("account_made", Value::Null),
        ("account_confirmed", json!(id)),
        ("login", json!(id)),
        ("password_changed", json!(id)),
        ("login", json!(id)),
        ("session_ended", json!(id)),
        ("account_changed", json!(id)),
        ("token_made", json!(id)),
        ("password_reset_asked", Value::Null),
        ("password_reset", json!(id)),
        ("token_withdrawn", json!(id)),
        ("login", json!(id)),
        ("logout", json!(id)),
        ("login", json!(id)),
    ];
    // What is done in one transaction is done in one millisecond.
    let mut seen: Vec<_> = own.iter().map(|event| (text(&event["action"]), event["actor_id"].clone())).collect();
    seen[9..11].sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen, expected.map(|(action, actor)| (action.to_owned(), actor)));
    for event in &own {
        assert_eq!((&event["account_id"], &event["origin"]), (&json!(id), &json!("127.0.0.1")), "{event}");
    }
    assert_eq!((&own[5]["target"], &own[6]["name"]), (&other, &json!("email")));

    ann.delete_with("/account/user/", json!({ "password": OTHER })).await.data();
    let all = audit(&house.admin, &format!("&account={id}")).await;
    assert_eq!(all[..own.len()], own, "it outlives the account");
    let end = &all[own.len()];
    assert_eq!((&end["action"], &end["actor_id"], &end["target"]), (&json!("account_deleted"), &json!(id), &json!(id)));
    let everything = json!(audit(&house.admin, "").await).to_string();
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap();
    for secret in [PASSWORD, OTHER, token, &code, "ff_", "ffk_", "@example"] {
        assert!(!everything.contains(secret), "{secret}: {everything}");
    }
}

async fn what_admins_do_with_an_account_is_in_its_record() {
    let house = House::start().await;
    let clock = &house.world.clock;
    let code = house.code(json!({})).await;
    clock.advance(1);
    house.sign_up(&code, ANN).await.data();
    clock.advance(1);
    for _ in 0..2 {
        house.admin.get(&format!("/account/user/confirm/force/?email={ANN}")).await.data();
    }
    clock.advance(1);
    let ann = house.login(ANN, PASSWORD).await.unwrap();
    let id = text(&ann.get("/account/user/").await.data()["id"]);
    let path = format!("/account/user/{id}/");
    let changes = [
        json!({ "quota": 7 }),
        json!({ "role": "admin" }),
        json!({ "role": "user", "quota": 7 }),
        json!({ "disabled": true }),
        json!({ "disabled": true }),
        json!({ "disabled": false }),
        json!({ "quota": null }),
    ];
    for change in changes {
        clock.advance(1);
        house.admin.patch(&path, change).await.data();
    }
    clock.advance(1);
    let ann = house.login(ANN, PASSWORD).await.unwrap();
    let own = audit(&ann, "").await;
    let seen: Vec<_> = own.iter().map(|event| (text(&event["action"]), event["name"].clone())).collect();
    let expected = [
        ("account_made", Value::Null),
        ("account_confirmed", Value::Null),
        ("login", Value::Null),
        ("account_changed", json!("quota=7")),
        ("account_changed", json!("role=admin")),
        ("account_changed", json!("role=user")),
        ("account_disabled", Value::Null),
        ("account_enabled", Value::Null),
        ("account_changed", json!("quota=null")),
        ("login", Value::Null),
    ];
    assert_eq!(seen, expected.map(|(action, name)| (action.to_owned(), name)));
    let admin = json!("account-of-admin");
    for event in [1, 3, 4, 5, 6, 7, 8].map(|at| &own[at]) {
        assert_eq!((&event["actor_id"], &event["origin"]), (&admin, &Value::Null), "{event}");
    }
    clock.advance(1);
    house.admin.delete(&path).await.data();
    let all = audit(&house.admin, &format!("&account={id}")).await;
    let end = all.last().unwrap();
    assert_eq!((&end["action"], &end["actor_id"]), (&json!("account_deleted"), &admin));
    assert_eq!(end["origin"], "127.0.0.1");
}

async fn codes_are_recorded_and_cannot_be_used_from_there() {
    let house = House::open().await;
    let ann = house.world.user("ann").await;
    let made = ann.post("/account/invite/referer/", json!({})).await.into_data();
    let code = text(&made["codes"][0]["code"]);
    house.world.clock.advance(1);
    house.admin.delete(&format!("/account/invite/{code}/")).await.data();
    assert_eq!(house.admin.delete(&format!("/account/invite/{code}/")).await.code(), "invite_not_found");
    let own = audit(&ann, "").await;
    assert_eq!(actions(&own), ["invite_made", "invite_withdrawn"]);
    assert_eq!((&own[0]["name"], &own[0]["actor_id"]), (&json!("referer"), &json!("account-of-ann")));
    assert_eq!((&own[1]["account_id"], &own[1]["actor_id"]), (&json!("account-of-ann"), &json!("account-of-admin")));
    assert!(own.iter().all(|event| event["target"] == code[..4]), "{own:?}");
    house.world.clock.advance(1);
    let wish = json!({ "limit_email": "bob@example.com" });
    for _ in 0..2 {
        house.world.anonymous().post("/account/invite/auto/", wish.clone()).await.data();
    }
    let all = audit(&house.admin, "").await;
    assert_eq!(all.len(), 3, "the same code is made once: {all:?}");
    assert_eq!((&all[2]["actor_id"], &all[2]["origin"]), (&Value::Null, &json!("127.0.0.1")));
}

async fn a_reset_is_recorded_only_for_whom_there_is() {
    let house = House::start().await;
    house.newcomer(ANN).await;
    for email in [ANN, "nobody@example.com"] {
        house.ask_reset(email).await.data();
    }
    house.world.settle().await;
    let asked = audit(&house.admin, "&action=password_reset_asked").await;
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0]["account_id"].is_string() && asked[0]["origin"] == "127.0.0.1");
}

async fn an_account_that_was_never_confirmed_is_recorded_as_gone() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    house.world.settle().await;
    house.world.forward(86_400_000);
    fanfare::flow::tidy::tidy(house.world.engine()).await.unwrap();
    let gone = audit(&house.admin, "&action=account_deleted").await;
    assert_eq!(gone.len(), 1);
    assert_eq!((&gone[0]["actor_id"], &gone[0]["origin"]), (&Value::Null, &Value::Null));
}

async fn a_token_reads_as_an_admin_and_changes_nothing() {
    let house = House::start().await;
    house.world.user("ann").await;
    let reader = house.admin.with_scopes(&["read", "push"]).await;
    let ann = "/account/user/account-of-ann/";
    for path in ["/account/user/all/", ann, "/account/invite/?all=true", "/audit/"] {
        reader.get(path).await.data();
    }
    let refused = (403, "scope_missing");
    assert_eq!(reader.patch(ann, json!({ "role": "admin" })).await.refusal(), refused);
    assert_eq!(reader.delete(ann).await.refusal(), refused);
    assert_eq!(reader.post("/account/invite/admin/", json!({})).await.refusal(), refused);
    assert_eq!(reader.delete("/account/invite/0000-0000-0000-0000/").await.refusal(), refused);
    let force = "/account/user/confirm/force/?email=ann@example.com";
    assert_eq!(reader.get(force).await.refusal(), refused);
    let more = json!({ "name": "n", "scopes": ["read"] });
    assert_eq!(reader.post("/account/token/", more).await.refusal(), refused, "nor does it make another");
}

async fn what_needs_the_password_needs_a_session() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let script = ann.with_scopes(&["push", "read", "manage"]).await;
    let refused = (403, "forbidden");
    let change = json!({ "old_password": PASSWORD, "password": OTHER });
    assert_eq!(script.patch("/account/password/", change).await.refusal(), refused);
    let change = json!({ "email": "eve@example.com", "password": PASSWORD });
    assert_eq!(script.patch("/account/user/", change).await.refusal(), refused);
    let proof = json!({ "password": PASSWORD });
    assert_eq!(script.delete_with("/account/user/", proof).await.refusal(), refused);
    assert!(house.login(ANN, PASSWORD).await.is_some(), "nothing has changed");
}
