//! Accounts that go, and all that goes with them.

use fanfare::domain::id::PusherId;
use fanfare::flow::tidy::tidy;
use fanfare::store::NewTask;
use serde_json::{Value, json};

use crate::store::task;
use crate::support::client::Client;
use crate::support::http_sink::HttpSink;
use crate::support::newcomer::House;
use crate::support::world::{PASSWORD, both, webhook};

both!(
    an_account_goes_with_all_that_is_its_own,
    a_wrong_password_deletes_nothing,
    what_others_build_on_keeps_an_account,
    a_task_that_ran_meanwhile_is_swept_up,
    an_unconfirmed_account_that_an_admin_removes_gives_its_code_back,
);

const ANN: &str = "ann@example.com";

async fn leave(ann: &Client) -> crate::support::client::Answer {
    ann.delete_with("/account/user/", json!({ "password": PASSWORD })).await
}

async fn an_account_goes_with_all_that_is_its_own() {
    let house = House::start().await;
    let sink = HttpSink::start().await;
    let ann = house.newcomer(ANN).await;
    let elsewhere = house.login(ANN, PASSWORD).await.unwrap();
    let hook = ann.preset("webhook", webhook(&sink)).await;
    let unused = ann.preset("webhook", json!({})).await;
    ann.share("preset", &unused).await;
    ann.group(json!({ "pushers": [{ "name": "p1", "base_pusher": hook }] })).await;
    let done = ann.pushed(&hook, json!({ "n": 1 })).await;
    house.world.settle().await;
    for _ in 0..3 {
        ann.pushed(&hook, json!({ "n": 2, "delay": 60 })).await;
    }
    let code = ann.post("/account/invite/referer/", json!({})).await.into_data()["codes"][0]["code"].clone();
    assert_eq!(leave(&ann).await.data(), &json!({ "revoked_tasks": 3 }));
    for client in [&ann, &elsewhere] {
        assert_eq!(client.get("/account/user/").await.refusal(), (401, "token_invalid"));
    }
    for id in [&hook, &unused] {
        assert_eq!(ann.anonymous().push(id, json!({})).await.refusal(), (404, "pusher_not_found"));
    }
    assert_eq!(house.sign_up(code.as_str().unwrap(), "bob@example.com").await.faults(), [("code", "unknown")]);
    let task = done["task_id"].as_str().unwrap();
    assert_eq!(house.admin.get(&format!("/task/{task}/")).await.refusal(), (404, "task_not_found"));
    house.world.forward(60_000);
    house.world.settle().await;
    assert_eq!(sink.requests().len(), 1, "what waited is not delivered");
    house.newcomer(ANN).await;
}

async fn a_wrong_password_deletes_nothing() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let wrong = ann.delete_with("/account/user/", json!({ "password": "wrong password" })).await;
    assert_eq!(wrong.faults(), [("password", "wrong")]);
    assert_eq!(ann.delete("/account/user/").await.faults(), [("password", "param_missing")]);
    ann.get("/account/user/").await.data();
}

async fn what_others_build_on_keeps_an_account() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let base = ann.preset("webhook", json!({ "endpoint": "http://127.0.0.1:9/" })).await;
    ann.share("preset", &base).await;
    let bob = house.world.user("bob").await;
    let upper = bob.preset(&base, json!({})).await;
    let refused = leave(&ann).await;
    let hidden = json!({ "dependents": [], "others": 1 });
    assert_eq!((refused.refusal(), &refused.body["data"]), ((409, "pusher_in_use"), &hidden));
    let id = ann.get("/account/user/").await.into_data()["id"].clone();
    let path = format!("/account/user/{}/", id.as_str().unwrap());
    let refused = house.admin.delete(&path).await;
    assert_eq!((refused.status, &refused.body["data"]["dependents"][0]["id"]), (409, &json!(upper)));
    bob.delete(&format!("/preset/{upper}/")).await.data();
    leave(&ann).await.data();
}

async fn a_task_that_ran_meanwhile_is_swept_up() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let sink = HttpSink::start().await;
    let hook = ann.preset("webhook", webhook(&sink)).await;
    leave(&ann).await.data();
    // As if the push had been recorded while the account went.
    let engine = house.world.engine();
    let mut tx = engine.store.read().await.unwrap();
    let (owner, _) = tx.removed_accounts(10).await.unwrap()[0].clone();
    drop(tx);
    let late = house.world.clock_now().plus_ms(7_200_000);
    let task = NewTask { owner, pusher_id: PusherId::new(&hook), ..task(late.0, 0, "host") };
    let path = format!("/task/{}/", task.id);
    engine.store.record(vec![task]).await.unwrap();
    house.admin.get(&path).await.data();
    tidy(engine).await.unwrap();
    assert_eq!(house.admin.get(&path).await.refusal(), (404, "task_not_found"));
    house.world.clock.advance(3_600_000);
    tidy(engine).await.unwrap();
    assert!(engine.store.read().await.unwrap().removed_accounts(10).await.unwrap().is_empty(), "nothing is left");
}

async fn an_unconfirmed_account_that_an_admin_removes_gives_its_code_back() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    let list = house.admin.get("/account/user/all/?confirmed=false").await.into_data();
    let id: &Value = &list["items"][0]["id"];
    house.admin.delete(&format!("/account/user/{}/", id.as_str().unwrap())).await.data();
    assert_eq!(house.left(&code).await, 1);
}
