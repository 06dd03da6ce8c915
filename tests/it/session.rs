//! Sessions, one's own account, and waiting after wrong passwords.

use serde_json::{Value, json};

use crate::support::client::{Answer, Client, JSON, LOGIN, text};
use crate::support::newcomer::House;
use crate::support::world::{PASSWORD, World, both};

both!(
    sessions_are_listed_and_ended,
    logging_out_ends_one_session,
    wrong_passwords_slow_down_who_tries_them_and_nobody_else,
    a_stolen_session_does_not_try_passwords_without_end,
    an_unknown_address_is_slowed_down_like_a_known_one,
    an_address_changes_when_its_link_is_followed,
    an_address_that_somebody_has_is_not_taken,
);

const ANN: &str = "ann@example.com";

async fn login_as(client: &Client, agent: &str, password: &str) -> Answer {
    let body = json!({ "email": ANN, "password": password }).to_string();
    client.send_with("POST", LOGIN, Some(JSON), &[("user-agent", agent)], body.as_bytes()).await
}

async fn sessions(client: &Client) -> Vec<Value> {
    client.get("/account/session/").await.items()
}

/// Logs Ann in.
async fn session(nobody: &Client, agent: &str) -> Client {
    nobody.with_token(Some(&text(&login_as(nobody, agent, PASSWORD).await.data()["token"])))
}

/// A server with Ann's account.
async fn world() -> World {
    let world = World::start().await;
    world.registered("ann", fanfare::domain::account::Role::User).await;
    world
}

async fn sessions_are_listed_and_ended() {
    let world = world().await;
    let nobody = world.anonymous();
    let mut clients = Vec::new();
    for agent in ["curl/8", "a phone", &"x".repeat(300)] {
        clients.push(session(&nobody, agent).await);
        world.clock.advance(1000);
    }
    let listed = sessions(&clients[1]).await;
    let agents: Vec<&str> = listed.iter().map(|session| session["user_agent"].as_str().unwrap()).collect();
    assert_eq!(agents, [&*"x".repeat(100), "a phone", "curl/8"]);
    let current: Vec<bool> = listed.iter().map(|session| session["current"] == true).collect();
    assert_eq!(current, [false, true, false]);
    assert!(!clients.iter().any(|client| json!(listed).to_string().contains(client.token())));
    let path = format!("/account/session/{}/", text(&listed[2]["id"]));
    let bob = world.user("bob").await;
    assert_eq!(bob.delete(&path).await.refusal(), (404, "session_not_found"));
    clients[1].delete(&path).await.data();
    assert_eq!(clients[0].get("/account/user/").await.refusal(), (401, "token_invalid"));
    assert_eq!(clients[1].delete(&path).await.refusal(), (404, "session_not_found"));
    assert_eq!(clients[1].delete("/account/session/%00/").await.refusal(), (404, "session_not_found"));
    let page = clients[1].get("/account/session/?limit=1").await.into_data();
    let next = format!("/account/session/?limit=1&cursor={}", text(&page["next_cursor"]));
    assert_eq!(clients[1].get(&next).await.into_data()["items"][0]["user_agent"], "a phone");
    world.clock.advance(31 * 86_400_000);
    assert_eq!(clients[1].get("/account/session/").await.status, 401);
}

async fn logging_out_ends_one_session() {
    let world = world().await;
    let nobody = world.anonymous();
    let [first, second] = [session(&nobody, "a").await, session(&nobody, "a").await];
    first.post("/account/user/logout/", json!({})).await.data();
    assert_eq!(first.get("/account/user/").await.refusal(), (401, "token_invalid"));
    assert_eq!(sessions(&second).await.len(), 1);
    assert_eq!(nobody.post("/account/user/logout/", json!({})).await.refusal(), (401, "token_missing"));
}

async fn wrong_passwords_slow_down_who_tries_them_and_nobody_else() {
    let world = world().await;
    world.registered("bob", fanfare::domain::account::Role::User).await;
    let nobody = world.anonymous();
    let session = session(&nobody, "a").await;
    for _ in 0..5 {
        assert_eq!(login_as(&nobody, "a", "wrong password").await.data()["isLogin"], false);
    }
    let refused = login_as(&nobody, "a", PASSWORD).await;
    assert_eq!(refused.refusal(), (429, "too_many_attempts"));
    assert_eq!((refused.header("retry-after"), &refused.body["data"]["retry_after"]), (Some("1"), &json!(1)));
    session.get("/account/user/").await.data();
    assert_eq!(nobody.login("bob@example.com", PASSWORD).await["isLogin"], true);
    world.clock.advance(1000);
    assert_eq!(login_as(&nobody, "a", PASSWORD).await.data()["isLogin"], true);
    assert_eq!(login_as(&nobody, "a", "wrong password").await.data()["isLogin"], false, "forgotten");
}

async fn a_stolen_session_does_not_try_passwords_without_end() {
    let world = world().await;
    let nobody = world.anonymous();
    let session = session(&nobody, "a").await;
    let guess = json!({ "old_password": "wrong password", "password": "another password" });
    for _ in 0..5 {
        assert_eq!(session.patch("/account/password/", guess.clone()).await.faults(), [("old_password", "wrong")]);
    }
    assert_eq!(session.patch("/account/password/", guess).await.refusal(), (429, "too_many_attempts"));
    let leave = json!({ "password": PASSWORD });
    assert_eq!(session.delete_with("/account/user/", leave).await.refusal(), (429, "too_many_attempts"));
}

async fn an_unknown_address_is_slowed_down_like_a_known_one() {
    let world = World::start().await;
    let body = json!({ "email": "x@example.com", "password": "wrong password" });
    for _ in 0..5 {
        assert_eq!(world.anonymous().post(LOGIN, body.clone()).await.data()["isRegistered"], false);
    }
    assert_eq!(world.anonymous().post(LOGIN, body).await.refusal(), (429, "too_many_attempts"));
}

async fn an_address_changes_when_its_link_is_followed() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let change = |email: &str, password: &str| json!({ "email": email, "password": password });
    let wrong = ann.patch("/account/user/", change("new@example.com", "wrong password")).await;
    assert_eq!(wrong.faults(), [("password", "wrong")]);
    assert_eq!(ann.patch("/account/user/", change("new", PASSWORD)).await.faults(), [("email", "invalid")]);
    ann.patch("/account/user/", change("New@example.com", PASSWORD)).await.data();
    let link = house.link("new@example.com").await;
    assert_eq!(ann.get("/account/user/").await.data()["email"], ANN, "not yet");
    assert_eq!(house.world.anonymous().get(&link).await.data()["email"], "new@example.com");
    assert_eq!(house.world.anonymous().get(&link).await.refusal(), (404, "confirm_token_not_found"));
    assert_eq!(ann.get("/account/user/").await.data()["email"], "new@example.com");
    assert!(house.login(ANN, PASSWORD).await.is_none());
    assert!(house.login("new@example.com", PASSWORD).await.is_some());
}

async fn an_address_that_somebody_has_is_not_taken() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    house.newcomer("bob@example.com").await;
    let change = json!({ "email": "bob@example.com", "password": PASSWORD });
    ann.patch("/account/user/", change).await.data();
    let link = house.link("bob@example.com").await;
    assert_eq!(house.world.anonymous().get(&link).await.faults(), [("email", "taken")]);
    assert_eq!(ann.get("/account/user/").await.data()["email"], ANN);
}
