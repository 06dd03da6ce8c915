//! Logging in, and what a token opens and for how long.

use fanfare::domain::account::Role;
use fanfare::domain::id::AccountId;
use fanfare::store::{NewAccount, TokenHash};
use serde_json::{Value, json};

use crate::support::client::{FORM, LOGIN, TEXT, text};
use crate::support::world::{PASSWORD, World, both};

both!(
    the_right_password_brings_a_token,
    an_address_is_the_same_in_any_spelling,
    a_form_logs_in_as_well,
    a_wrong_password_brings_none,
    an_unknown_address_is_told_as_such,
    credentials_that_do_not_fit_are_told_by_field,
    a_body_that_is_no_body_is_refused,
    a_token_is_taken_from_the_header_and_from_the_query,
    a_token_that_nobody_has_is_refused,
    a_session_ends_after_thirty_idle_days,
    a_session_that_is_used_goes_on,
    every_login_begins_a_session_of_its_own,
    an_account_that_is_not_confirmed_or_disabled_gets_no_token,
    an_account_that_was_disabled_is_shut_out_at_once,
);

const DAY_MS: i64 = 86_400_000;

/// A server with an account that has a password, and nobody logged in.
async fn world() -> World {
    let world = World::start().await;
    world.registered("ann", Role::User).await;
    world
}

async fn the_right_password_brings_a_token() {
    let world = world().await;
    let anyone = world.anonymous();
    let answer = anyone.login("ann@example.com", PASSWORD).await;
    let token = text(&answer["token"]);
    assert_eq!(answer, json!({ "isLogin": true, "isRegistered": true, "token": token }));
    assert!(token.starts_with("ff_") && token.len() == 46, "{token}");
    anyone.with_token(Some(&token)).get("/preset/").await.data();
}

async fn an_address_is_the_same_in_any_spelling() {
    let world = world().await;
    assert_eq!(world.anonymous().login("  Ann@EXAMPLE.com ", PASSWORD).await["isLogin"], true);
}

async fn a_form_logs_in_as_well() {
    let world = world().await;
    let form = b"email=ann%40example.com&password=correct+horse+battery";
    let answer = world.anonymous().send("POST", LOGIN, Some(FORM), form).await;
    assert_eq!(answer.data()["isLogin"], true);
}

async fn a_wrong_password_brings_none() {
    let world = world().await;
    for wrong in ["", "correct horse", "Correct horse battery", "correct horse battery "] {
        let answer = world.anonymous().login("ann@example.com", wrong).await;
        assert_eq!(answer, json!({ "isLogin": false, "isRegistered": true }), "{wrong:?}");
    }
}

async fn an_unknown_address_is_told_as_such() {
    let world = world().await;
    for unknown in ["bob@example.com", "", "ann", "ann@example.com@x", "' OR 1=1 --@x"] {
        let answer = world.anonymous().login(unknown, PASSWORD).await;
        assert_eq!(answer, json!({ "isLogin": false, "isRegistered": false }), "{unknown:?}");
    }
}

async fn credentials_that_do_not_fit_are_told_by_field() {
    let world = world().await;
    let invalid = |field| vec![(field, "param_invalid")];
    let missing = |field| vec![(field, "param_missing")];
    for (body, faults) in [
        (json!({}), [missing("email"), missing("password")].concat()),
        (json!({ "email": "a@b" }), missing("password")),
        (json!({ "email": null, "password": "p" }), missing("email")),
        (json!({ "email": ["a@b"], "password": {} }), [invalid("email"), invalid("password")].concat()),
        (json!({ "email": true, "password": "p" }), invalid("email")),
        (json!({ "email": 1, "password": 12345678 }), [invalid("email"), invalid("password")].concat()),
        (
            json!({ "email": "a".repeat(255), "password": "b".repeat(257) }),
            [invalid("email"), invalid("password")].concat(),
        ),
        (json!({ "email": "a@b", "password": "p", "passwort": "p" }), vec![("passwort", "unknown")]),
    ] {
        let answer = world.anonymous().post(LOGIN, body.clone()).await;
        assert_eq!(answer.status, 422, "{body} {}", answer.body);
        assert_eq!(answer.faults(), faults, "{body}");
    }
}

async fn a_body_that_is_no_body_is_refused() {
    let world = world().await;
    let anyone = world.anonymous();
    for (content_type, body, refusal) in [
        (Some("application/json"), &b"{"[..], (400, "body_invalid")),
        (Some("application/json"), b"{\"email\":\"\xff\"}", (400, "body_invalid")),
        (Some(FORM), b"email=%ff", (400, "body_invalid")),
        (Some(TEXT), b"ann@example.com", (415, "media_type_unsupported")),
        (None, b"{}", (415, "media_type_unsupported")),
        (None, b"", (422, "param_missing")),
    ] {
        let answer = anyone.send("POST", LOGIN, content_type, body).await;
        assert_eq!(answer.refusal(), refusal, "{content_type:?} {body:?}");
    }
    for body in [json!([]), json!("x"), json!(null), json!(1)] {
        let answer = anyone.post(LOGIN, body.clone()).await;
        assert_eq!(answer.status, 422, "{body} {}", answer.body);
    }
}

async fn a_token_is_taken_from_the_header_and_from_the_query() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let anyone = world.anonymous();
    ann.get("/preset/").await.data();
    anyone.get(&format!("/preset/?_token={}", ann.token())).await.data();
    let missing = anyone.get("/preset/").await;
    assert_eq!(missing.refusal(), (401, "token_missing"));
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let lower = format!("bearer {}", ann.token());
    anyone.send_with("GET", "/preset/", None, &[("authorization", &lower)], b"").await.data();
}

async fn a_token_that_nobody_has_is_refused() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let (short, upper) = (&ann.token()[..ann.token().len() - 1], ann.token().to_uppercase());
    let longer = format!("{}A", ann.token());
    for wrong in ["no-token", "ff_", short, &upper, &longer, "%00", "ann@example.com"] {
        let answer = ann.with_token(Some(wrong)).get("/preset/").await;
        assert_eq!(answer.refusal(), (401, "token_invalid"), "{wrong}");
        assert!(!answer.body.to_string().contains(wrong), "{}", answer.body);
        let answer = ann.anonymous().get(&format!("/preset/?_token={wrong}")).await;
        assert_eq!(answer.refusal(), (401, "token_invalid"), "{wrong}");
    }
}

async fn a_session_ends_after_thirty_idle_days() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    world.clock.advance(30 * DAY_MS - 60_000);
    ann.get("/preset/").await.data();
    world.clock.advance(31 * DAY_MS);
    assert_eq!(ann.get("/preset/").await.refusal(), (401, "token_expired"));
    let query = format!("/preset/?_token={}", ann.token());
    assert_eq!(ann.anonymous().get(&query).await.refusal(), (401, "token_expired"));
}

async fn a_session_that_is_used_goes_on() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for _ in 0..4 {
        world.clock.advance(20 * DAY_MS);
        ann.get("/preset/").await.data();
    }
}

async fn every_login_begins_a_session_of_its_own() {
    let world = world().await;
    let anyone = world.anonymous();
    let first = text(&anyone.login("ann@example.com", PASSWORD).await["token"]);
    let second = text(&anyone.login("ann@example.com", PASSWORD).await["token"]);
    assert_ne!(first, second);
    for token in [first, second] {
        anyone.with_token(Some(&token)).get("/preset/").await.data();
    }
}

/// Adds an account with the password of `ann@example.com`.
async fn add(world: &World, name: &str, confirmed: bool, disabled: bool) -> AccountId {
    let mut tx = world.engine().store.read().await.unwrap();
    let (_, hash) = tx.account_by_email("ann@example.com").await.unwrap().unwrap();
    drop(tx);
    let set = |new: &mut NewAccount| {
        (new.account.confirmed, new.account.disabled, new.password_hash) = (confirmed, disabled, hash);
    };
    world.add(name, set).await
}

async fn an_account_that_is_not_confirmed_or_disabled_gets_no_token() {
    let world = world().await;
    for (name, confirmed, disabled, obstacle) in [
        ("new", false, false, json!("unconfirmed")),
        ("gone", false, true, json!("disabled")),
        ("shut", true, true, json!("disabled")),
        ("fine", true, false, Value::Null),
    ] {
        add(&world, name, confirmed, disabled).await;
        let fine = confirmed && !disabled;
        let email = format!("{name}@example.com");
        let answer = world.anonymous().login(&email, "another password").await;
        assert_eq!(answer, json!({ "isLogin": false, "isRegistered": true }), "{name}: not for everybody");
        let answer = world.anonymous().login(&email, PASSWORD).await;
        assert_eq!(answer["obstacle"], obstacle, "{name}");
        assert_eq!((&answer["isLogin"], answer.get("token").is_some()), (&json!(fine), fine), "{name}");
        assert_eq!(answer["isRegistered"], true, "{name}");
    }
}

async fn an_account_that_was_disabled_is_shut_out_at_once() {
    let world = world().await;
    for (name, confirmed, disabled, status) in
        [("new", false, false, 401), ("shut", true, true, 401), ("fine", true, false, 200)]
    {
        let id = add(&world, name, confirmed, disabled).await;
        let now = world.engine().clock.now();
        let mut tx = world.engine().store.write().await.unwrap();
        tx.insert_token(&TokenHash::of(name), &id, now, now.plus_ms(DAY_MS)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.anonymous().with_token(Some(name)).get("/preset/").await.status, status, "{name}");
    }
}
