//! What administrators do with accounts.

use fanfare::domain::account::Role;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Client, text};
use crate::support::scene::Scene;
use crate::support::world::{PASSWORD, World, both};

both!(
    accounts_are_listed_filtered_and_paged,
    only_admins_see_accounts,
    an_account_is_disabled_and_enabled,
    an_account_is_promoted_and_demoted,
    there_is_always_an_admin,
    two_admins_who_demote_each_other_at_once_leave_one,
    a_quota_is_set_and_taken_away,
    who_is_disabled_pushes_nothing_and_nothing_of_theirs_waits,
);

async fn listed(admin: &Client, query: &str) -> Vec<String> {
    admin.get(&format!("/account/user/all/{query}")).await.items().iter().map(|item| text(&item["email"])).collect()
}

fn path(name: &str) -> String {
    format!("/account/user/account-of-{name}/")
}

async fn accounts_are_listed_filtered_and_paged() {
    let world = World::start().await;
    let admin = world.admin().await;
    for name in ["ann", "bob", "per%cent"] {
        world.clock.advance(1);
        world.user(name).await;
    }
    assert_eq!(
        listed(&admin, "").await,
        ["per%cent@example.com", "bob@example.com", "ann@example.com", "admin@example.com"]
    );
    assert_eq!(listed(&admin, "?role=admin").await, ["admin@example.com"]);
    assert_eq!(listed(&admin, "?email=ANN@").await, ["ann@example.com"]);
    assert_eq!(listed(&admin, "?email=%25").await, ["per%cent@example.com"]);
    assert_eq!(listed(&admin, "?email=_").await, [""; 0]);
    assert_eq!(listed(&admin, "?confirmed=false").await, [""; 0]);
    assert_eq!(listed(&admin, "?confirmed=true&disabled=false&role=user").await.len(), 3);
    assert_eq!(listed(&admin, "?invited_by=nobody").await, [""; 0]);
    let page = admin.get("/account/user/all/?limit=3").await.into_data();
    assert_eq!(listed(&admin, &format!("?cursor={}", text(&page["next_cursor"]))).await, ["admin@example.com"]);
    for query in ["?role=root", "?disabled=maybe", "?email=%00", "?limit=0", "?cursor=x"] {
        assert_eq!(admin.get(&format!("/account/user/all/{query}")).await.status, 422, "{query}");
    }
}

async fn only_admins_see_accounts() {
    let world = World::start().await;
    let (admin, ann) = (world.admin().await, world.user("ann").await);
    assert_eq!(ann.get("/account/user/all/").await.refusal(), (403, "forbidden"));
    assert_eq!(world.anonymous().get("/account/user/all/").await.refusal(), (401, "token_missing"));
    for path in [path("admin"), path("ann"), path("nobody")] {
        assert_eq!(ann.get(&path).await.refusal(), (403, "forbidden"));
        assert_eq!(ann.patch(&path, json!({ "role": "admin" })).await.refusal(), (403, "forbidden"));
        assert_eq!(ann.delete(&path).await.refusal(), (403, "forbidden"));
    }
    for unknown in [path("nobody"), "/account/user/%00/".to_owned()] {
        assert_eq!(admin.get(&unknown).await.refusal(), (404, "account_not_found"));
        assert_eq!(admin.patch(&unknown, json!({})).await.refusal(), (404, "account_not_found"));
        assert_eq!(admin.delete(&unknown).await.refusal(), (404, "account_not_found"));
    }
    assert_eq!(admin.patch(&path("ann"), json!({ "role": "root" })).await.faults(), [("role", "param_invalid")]);
}

async fn an_account_is_disabled_and_enabled() {
    let world = World::start().await;
    let admin = world.admin().await;
    let email = world.registered("ann", Role::User).await;
    let nobody = world.anonymous();
    let ann = nobody.with_token(Some(&text(&nobody.login(&email, PASSWORD).await["token"])));
    let id = text(&ann.get("/account/user/").await.data()["id"]);
    let path = format!("/account/user/{id}/");
    let disabled = admin.patch(&path, json!({ "disabled": true })).await.into_data();
    assert!(disabled["disabled_at"].is_string());
    assert_eq!(ann.get("/account/user/").await.refusal(), (401, "token_invalid"));
    assert_eq!(nobody.login(&email, PASSWORD).await["isLogin"], false);
    assert_eq!(listed(&admin, "?disabled=true").await, [&*email]);
    admin.patch(&path, json!({ "disabled": false })).await.data();
    assert_eq!(ann.get("/account/user/").await.refusal(), (401, "token_invalid"), "the session has ended for good");
    assert_eq!(nobody.login(&email, PASSWORD).await["isLogin"], true);
}

async fn an_account_is_promoted_and_demoted() {
    let world = World::start().await;
    let (admin, ann) = (world.admin().await, world.user("ann").await);
    assert_eq!(admin.patch(&path("ann"), json!({ "role": "admin" })).await.data()["role"], "admin");
    ann.get("/account/user/all/").await.data();
    assert_eq!(ann.patch(&path("admin"), json!({ "role": "user" })).await.data()["role"], "user");
    assert_eq!(admin.get("/account/user/all/").await.refusal(), (403, "forbidden"));
}

async fn there_is_always_an_admin() {
    let world = World::start().await;
    let admin = world.admin().await;
    let last = (409, "last_admin");
    assert_eq!(admin.patch(&path("admin"), json!({ "role": "user" })).await.refusal(), last);
    assert_eq!(admin.patch(&path("admin"), json!({ "disabled": true })).await.refusal(), last);
    assert_eq!(admin.delete(&path("admin")).await.refusal(), last);
    world.user("ann").await;
    admin.patch(&path("ann"), json!({ "role": "admin", "disabled": true })).await.data();
    assert_eq!(admin.delete(&path("admin")).await.refusal(), last, "one who is shut out is none");
    admin.patch(&path("ann"), json!({ "disabled": false })).await.data();
    admin.delete(&path("admin")).await.data();
    assert_eq!(admin.get("/account/user/").await.refusal(), (401, "token_invalid"));
}

async fn two_admins_who_demote_each_other_at_once_leave_one() {
    let world = World::start().await;
    let admin = world.admin().await;
    let ann = world.user("ann").await;
    for _ in 0..10 {
        admin.patch(&path("ann"), json!({ "role": "admin" })).await;
        ann.patch(&path("admin"), json!({ "role": "admin" })).await;
        let demote = json!({ "role": "user" });
        let (mine, theirs) = (path("ann"), path("admin"));
        let done = join_all([admin.patch(&mine, demote.clone()), ann.patch(&theirs, demote)]).await;
        assert!(done.iter().filter(|answer| answer.status == 200).count() <= 1, "{done:?}");
        let acting = join_all([admin.get("/account/user/all/"), ann.get("/account/user/all/")]).await;
        assert!(acting.iter().any(|answer| answer.status == 200), "{done:?}");
    }
}

async fn a_quota_is_set_and_taken_away() {
    let world = World::start().await;
    let (admin, ann) = (world.admin().await, world.user("ann").await);
    assert_eq!(ann.get("/account/user/").await.data()["quota"], Value::Null);
    admin.patch(&path("ann"), json!({ "quota": 500 })).await.data();
    admin.patch(&path("ann"), json!({ "role": "user" })).await.data();
    assert_eq!(ann.get("/account/user/").await.data()["quota"], 500, "what is not named stays");
    assert_eq!(admin.patch(&path("ann"), json!({ "quota": -1 })).await.faults(), [("quota", "out_of_range")]);
    assert_eq!(admin.patch(&path("ann"), json!({ "quota": null })).await.data()["quota"], Value::Null);
}

async fn who_is_disabled_pushes_nothing_and_nothing_of_theirs_waits() {
    let scene = Scene::start().await;
    let task = scene.task(json!({ "x": "y", "delay": 60 })).await;
    let admin = scene.world.admin().await;
    let script = scene.ann.with_scopes(&["read"]).await;
    script.get("/preset/").await.data();
    admin.patch(&path("ann"), json!({ "disabled": true })).await.data();
    assert_eq!(script.get("/preset/").await.refusal(), (401, "token_invalid"));
    assert_eq!(admin.task(&task).await["state"], "revoked");
    let nobody = scene.world.anonymous();
    assert_eq!(nobody.push(&scene.hook, json!({})).await.refusal(), (404, "pusher_not_found"), "without a token too");
    scene.world.forward(60_000);
    scene.nothing_arrived().await;
    admin.patch(&path("ann"), json!({ "disabled": false })).await.data();
    nobody.pushed(&scene.hook, json!({ "x": "y" })).await;
    scene.only_request().await;
}
