//! A quota of an account's own: it holds before everybody's, for administrators too.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::http_sink::Play;
use crate::support::scene::Scene;
use crate::support::world::{World, both, webhook};

both!(
    a_quota_of_ones_own_holds_before_everybodys,
    without_a_quota_for_everybody_ones_own_holds,
    an_administrator_has_a_quota_if_one_is_set,
    a_quota_of_zero_lets_nothing_pass,
    to_try_a_task_again_by_hand_counts_like_a_new_one,
);

async fn set(admin: &Client, name: &str, quota: Value) {
    admin.patch(&format!("/account/user/account-of-{name}/"), json!({ "quota": quota })).await.data();
}

/// How many of so many pushes are accepted; the others must be refused for the quota.
async fn accepted(who: &Client, pusher: &str, count: usize) -> usize {
    who.accepted(pusher, count, "quota_exceeded").await
}

async fn a_quota_of_ones_own_holds_before_everybodys() {
    let scene = Scene::of(World::builder().limits(|limits| limits.daily_quota = 2)).await;
    let admin = scene.world.admin().await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 3).await, 2);
    set(&admin, "ann", json!(5)).await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 5).await, 3, "what was used counts, and at once");
    set(&admin, "ann", json!(1)).await;
    assert_eq!(accepted(&scene.ann.anonymous(), &scene.hook, 1).await, 0);
    set(&admin, "ann", Value::Null).await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 1).await, 0, "everybody's, and more is used");
    let bob = scene.world.user("bob").await;
    let hook = bob.preset("webhook", webhook(&scene.sink)).await;
    assert_eq!(accepted(&bob, &hook, 3).await, 2, "others have what they had");
}

async fn without_a_quota_for_everybody_ones_own_holds() {
    let mut scene = Scene::of(World::builder().limits(|limits| limits.daily_quota = 0)).await;
    let admin = scene.world.admin().await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 4).await, 4);
    set(&admin, "ann", json!(3)).await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 2).await, 2, "counted from when it was set");
    scene.world.restart().await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 2).await, 1, "it outlives the server");
    scene.world.forward(86_400_000);
    assert_eq!(accepted(&scene.ann, &scene.hook, 4).await, 3, "the next day");
}

async fn an_administrator_has_a_quota_if_one_is_set() {
    let scene = Scene::of(World::builder().limits(|limits| limits.daily_quota = 2)).await;
    let admin = scene.world.admin().await;
    let hook = admin.preset("webhook", webhook(&scene.sink)).await;
    assert_eq!(accepted(&admin, &hook, 4).await, 4);
    set(&admin, "admin", json!(3)).await;
    assert_eq!(accepted(&admin, &hook, 4).await, 3);
}

async fn a_quota_of_zero_lets_nothing_pass() {
    let scene = Scene::start().await;
    let admin = scene.world.admin().await;
    set(&admin, "ann", json!(0)).await;
    assert_eq!(accepted(&scene.ann, &scene.hook, 1).await, 0);
    scene.world.forward(86_400_000);
    assert_eq!(accepted(&scene.ann, &scene.hook, 1).await, 0, "nor on another day");
    scene.nothing_arrived().await;
}

async fn to_try_a_task_again_by_hand_counts_like_a_new_one() {
    let scene = Scene::of(World::builder().limits(|limits| limits.daily_quota = 3)).await;
    scene.sink.cycle(vec![Play::status(400)]);
    let task = scene.task(json!({ "content": "c" })).await;
    let retry = async || scene.ann.post(&format!("/task/{task}/retry/"), json!({})).await;
    for _ in 0..2 {
        assert_eq!(scene.state(&task).await, "failed");
        retry().await.data();
    }
    assert_eq!(scene.state(&task).await, "failed");
    assert_eq!(retry().await.refusal(), (429, "quota_exceeded"));
    assert_eq!(accepted(&scene.ann, &scene.hook, 1).await, 0);
    scene.world.forward(86_400_000);
    retry().await.data();
    assert_eq!(scene.state(&task).await, "failed");
    scene.sink.cycle(vec![Play::status(200)]);
    retry().await.data();
    assert_eq!(scene.state(&task).await, "succeeded");
    assert_eq!(retry().await.refusal(), (409, "wrong_state"));
    assert_eq!(accepted(&scene.ann, &scene.hook, 2).await, 1, "what is refused takes nothing");
}
