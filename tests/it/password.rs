//! Changing a password with the old one, and resetting it by mail.

use fanfare::domain::account::Role;
use fanfare::domain::invite::{InviteKind, Wish};
use fanfare::domain::scope::Scopes;
use fanfare::error::{AuthProblem, Error};
use fanfare::flow::users::UserChange;
use fanfare::flow::{Caller, invite, login, tokens, users};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::client::Client;
use crate::support::newcomer::House;
use crate::support::smtp_sink::Trouble;
use crate::support::world::{PASSWORD, World, both};

both!(
    a_changed_password_ends_the_other_sessions,
    a_forgotten_password_is_reset_by_mail,
    a_reset_is_good_once_and_for_an_hour,
    asking_tells_nothing_of_who_is_there,
    three_mails_an_hour_are_three_over_a_restart,
    a_reset_confirms_who_never_got_the_first_mail,
    a_token_of_another_kind_resets_nothing,
    nobody_gets_in_by_the_old_password_while_it_is_changed,
    who_was_shut_out_meanwhile_changes_nothing,
    a_change_of_the_address_ends_every_link,
    the_old_address_is_told_of_the_new_one,
    a_change_of_the_address_is_void_with_another_password,
);

const ANN: &str = "ann@example.com";
const OTHER: &str = "another password";

async fn a_changed_password_ends_the_other_sessions() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let elsewhere = house.login(ANN, PASSWORD).await.unwrap();
    let script = ann.with_scopes(&["read"]).await;
    let change = |old: &str, new: &str| json!({ "old_password": old, "password": new });
    for (old, new, fault) in [(OTHER, OTHER, ("old_password", "wrong")), (PASSWORD, "short", ("password", "too_short"))]
    {
        assert_eq!(ann.patch("/account/password/", change(old, new)).await.faults(), [fault]);
    }
    let changed = ann.patch("/account/password/", change(PASSWORD, OTHER)).await;
    assert_eq!(changed.data(), &json!({ "ended_sessions": 1 }));
    ann.get("/account/user/").await.data();
    script.get("/account/user/").await.data();
    assert_eq!(elsewhere.get("/account/user/").await.refusal(), (401, "token_invalid"));
    assert!(house.login(ANN, PASSWORD).await.is_none());
    assert!(house.login(ANN, OTHER).await.is_some());
}

async fn a_forgotten_password_is_reset_by_mail() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let script = ann.with_scopes(&["read"]).await;
    script.get("/account/user/").await.data();
    house.ask_reset(" ANN@example.com").await.data();
    let token = house.reset_token(ANN).await;
    assert_eq!(house.reset(&token, "short").await.faults(), [("password", "too_short")]);
    house.reset(&token, OTHER).await.data();
    assert_eq!(ann.get("/account/user/").await.refusal(), (401, "token_invalid"), "all sessions have ended");
    assert_eq!(script.get("/account/user/").await.refusal(), (401, "token_invalid"), "who knows who made it");
    assert!(house.login(ANN, PASSWORD).await.is_none());
    assert!(house.login(ANN, OTHER).await.is_some());
}

async fn a_reset_is_good_once_and_for_an_hour() {
    let house = House::start().await;
    house.newcomer(ANN).await;
    let unknown = (404, "reset_token_not_found");
    house.ask_reset(ANN).await.data();
    let first = house.reset_token(ANN).await;
    house.ask_reset(ANN).await.data();
    let second = house.reset_token(ANN).await;
    assert_ne!(first, second);
    house.reset(&second, OTHER).await.data();
    assert_eq!(house.reset(&second, PASSWORD).await.refusal(), unknown);
    assert_eq!(house.reset(&first, PASSWORD).await.refusal(), unknown, "the others go with the one that was used");
    house.ask_reset(ANN).await.data();
    let late = house.reset_token(ANN).await;
    house.world.forward(3_600_000);
    assert_eq!(house.reset(&late, PASSWORD).await.refusal(), unknown);
    assert_eq!(house.reset("", PASSWORD).await.refusal(), unknown);
}

async fn asking_tells_nothing_of_who_is_there() {
    let house = House::start().await;
    house.newcomer(ANN).await;
    for _ in 0..5 {
        let (known, unknown) = (house.ask_reset(ANN).await, house.ask_reset("nobody@example.com").await);
        assert_eq!((known.data(), &known.body), (unknown.data(), &unknown.body));
    }
    let resets = house.mails_to(ANN).await;
    assert_eq!(resets.iter().filter(|mail| mail.subject().starts_with("Reset")).count(), 3);
    assert!(house.mails_to("nobody@example.com").await.is_empty());
    let tasks = house.world.tasks().await;
    let asked = tasks.iter().filter(|task| task.name.as_deref() == Some("reset")).count();
    assert_eq!(asked, 6, "as much is done for one as for the other");
    assert_eq!(house.ask_reset("ann").await.faults(), [("email", "invalid")]);
    let mut answers = Vec::new();
    for n in 0..60 {
        answers.push(house.ask_reset(&format!("user{n}@example.com")).await.code().to_owned());
    }
    assert_eq!(answers.last().map(String::as_str), Some("rate_limited"), "nobody has mails sent without end");
}

async fn three_mails_an_hour_are_three_over_a_restart() {
    let mut house = House::start().await;
    house.newcomer(ANN).await;
    let asked = async |house: &House, times| {
        for _ in 0..times {
            house.ask_reset(ANN).await.data();
        }
        house.mails_to(ANN).await.iter().filter(|mail| mail.subject().starts_with("Reset")).count()
    };
    assert_eq!(asked(&house, 2).await, 2);
    house.world.restart().await;
    assert_eq!(asked(&house, 3).await, 3);
    house.world.forward(3_600_000);
    assert_eq!(asked(&house, 2).await, 5, "another hour");
}

async fn a_reset_confirms_who_never_got_the_first_mail() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    house.ask_reset(ANN).await.data();
    let token = house.reset_token(ANN).await;
    house.reset(&token, OTHER).await.data();
    assert!(house.login(ANN, OTHER).await.is_some());
}

async fn a_token_of_another_kind_resets_nothing() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    let link = house.link(ANN).await;
    let confirm = link.trim_end_matches('/').rsplit('/').next().unwrap();
    assert_eq!(house.reset(confirm, OTHER).await.refusal(), (404, "reset_token_not_found"));
    house.world.anonymous().get(&link).await.data();
    house.ask_reset(ANN).await.data();
    let token = house.reset_token(ANN).await;
    let path = format!("/account/user/confirm/{token}/");
    assert_eq!(house.world.anonymous().get(&path).await.refusal(), (404, "confirm_token_not_found"));
    house.reset(&token, OTHER).await.data();
}

async fn nobody_gets_in_by_the_old_password_while_it_is_changed() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let change = json!({ "old_password": PASSWORD, "password": OTHER });
    let logins = join_all((0..4).map(|_| house.login(ANN, PASSWORD)));
    let (changed, late) = tokio::join!(ann.patch("/account/password/", change), logins);
    changed.data();
    for session in late.into_iter().flatten() {
        assert_eq!(session.get("/account/user/").await.refusal(), (401, "token_invalid"));
    }
    ann.get("/account/user/").await.data();
}

/// The caller as a request finds it that comes in now.
async fn caller(house: &House, client: &Client) -> Caller {
    login::caller(house.world.engine(), client.token(), None).await.unwrap()
}

async fn who_was_shut_out_meanwhile_changes_nothing() {
    let house = House::start().await;
    let engine = house.world.engine();
    let ann = house.newcomer(ANN).await;
    let held = caller(&house, &ann).await;
    house.ask_reset(ANN).await.data();
    let token = house.reset_token(ANN).await;
    house.reset(&token, OTHER).await.data();
    let made = tokens::create(engine, &held, "mine".to_owned(), Scopes::all(), None).await;
    assert!(matches!(made, Err(Error::Unauthorized(AuthProblem::Invalid))), "{made:?}");
    let invited = invite::by_account(engine, &held, InviteKind::Referer, Wish::default()).await;
    assert!(matches!(invited, Err(Error::Unauthorized(_))), "{invited:?}");

    let second = house.world.account("second", Role::Admin).await;
    let held = caller(&house, &second).await;
    let id = held.account.id.clone();
    let demoted = house.admin.patch(&format!("/account/user/{id}/"), json!({ "role": "user" })).await;
    demoted.data();
    let back = UserChange { role: Some(Role::Admin), ..UserChange::default() };
    let changed = users::change(engine, &held, &id, &back).await;
    assert!(matches!(changed, Err(Error::Forbidden)), "{changed:?}");
    house.admin.patch(&format!("/account/user/{id}/"), json!({ "disabled": true })).await.data();
    let back = UserChange { disabled: Some(false), ..UserChange::default() };
    let changed = users::change(engine, &held, &id, &back).await;
    assert!(matches!(changed, Err(Error::Unauthorized(_))), "{changed:?}");
}

async fn a_change_of_the_address_ends_every_link() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    house.ask_reset(ANN).await.data();
    let reset = house.reset_token(ANN).await;
    let change = async |to: &str| {
        ann.patch("/account/user/", json!({ "email": to, "password": PASSWORD })).await.data();
        house.link(to).await
    };
    let mistaken = change("anm@example.com").await;
    let right = change("ann@example.net").await;
    ann.get(&right).await.data();
    assert_eq!(house.reset(&reset, OTHER).await.refusal(), (404, "reset_token_not_found"));
    assert_eq!(ann.get(&mistaken).await.refusal(), (404, "confirm_token_not_found"));
}

async fn the_old_address_is_told_of_the_new_one() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let wish = json!({ "email": "ann@example.net", "password": PASSWORD });
    ann.patch("/account/user/", wish).await.data();
    let link = house.link("ann@example.net").await;
    let before = house.mails_to(ANN).await.len();
    ann.send_with("GET", &link, None, &[("accept-language", "zh-CN")], b"").await.data();
    let told = house.mails_to(ANN).await.split_off(before);
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!(told.subject(), "您的 Fanfare 账号已更换邮箱");
    assert!(told.parts()[0].1.contains(ANN) && !told.parts()[0].1.contains("example.net"));
    assert_eq!(house.mails_to("ann@example.net").await.len(), 1, "the link alone");
}

async fn a_change_of_the_address_is_void_with_another_password() {
    let house = House::of(World::builder().retry_waits_ms(&[3_600_000])).await;
    let ann = house.newcomer(ANN).await;
    house.relay.script(vec![Trouble::say("RCPT", "451 4.3.0 later")]);
    let wish = json!({ "email": "eve@example.com", "password": PASSWORD });
    ann.patch("/account/user/", wish).await.data();
    house.world.settle().await;
    let change = json!({ "old_password": PASSWORD, "password": OTHER });
    ann.patch("/account/password/", change).await.data();
    house.world.forward(2 * 3_600_000);
    assert!(house.mails_to("eve@example.com").await.is_empty());
}
