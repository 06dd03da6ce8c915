//! The record of who did what: what is in it, who reads it, how long it is kept, and that it holds no secret.

use fanfare::domain::account::Role;
use serde_json::{Value, json};

use crate::support::client::{Client, text};
use crate::support::scene::Scene;
use crate::support::world::{PASSWORD, World, both};

both!(
    what_is_done_to_pushers_is_recorded,
    logins_are_recorded_and_failed_ones_too,
    tokens_are_recorded_with_what_they_do,
    what_an_admin_does_is_in_both_records,
    an_account_reads_its_own_record_and_an_admin_all,
    the_record_is_filtered_and_comes_in_pages,
    what_is_refused_is_not_recorded,
    the_record_holds_no_secret,
    the_record_is_kept_for_its_days,
);

const DAY_MS: i64 = 86_400_000;

async fn audit(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/audit/?limit=100{query}")).await.items()
}

/// The actions, oldest first.
async fn actions(client: &Client) -> Vec<String> {
    audit(client, "").await.iter().rev().map(|event| text(&event["action"])).collect()
}

async fn what_is_done_to_pushers_is_recorded() {
    let scene = Scene::start().await;
    scene.world.clock.advance(1);
    scene.ann.patch(&format!("/preset/{}/", scene.hook), json!({ "name": "renamed" })).await.data();
    scene.world.clock.advance(1);
    scene.ann.share("preset", &scene.hook).await;
    scene.world.clock.advance(1);
    let group = scene.ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await;
    scene.world.clock.advance(1);
    let member = json!({ "name": "n", "base_pusher": "webhook" });
    scene.ann.post(&format!("/group/{group}/pusher/"), member).await.data();
    scene.world.clock.advance(1);
    scene.ann.delete(&format!("/group/{group}/")).await.data();
    let events = audit(&scene.ann, "").await;
    let seen: Vec<_> = events
        .iter()
        .rev()
        .map(|event| (text(&event["action"]), text(&event["target"]), text(&event["name"])))
        .collect();
    let expected = [
        ("pusher_made", &scene.hook, "preset"),
        ("pusher_changed", &scene.hook, "renamed"),
        ("pusher_shared", &scene.hook, "renamed"),
        ("pusher_made", &group, "group"),
        ("pusher_changed", &group, "group"),
        ("pusher_deleted", &group, "group"),
    ];
    assert_eq!(seen, expected.map(|(action, id, name)| (action.to_owned(), id.clone(), name.to_owned())));
    for event in events {
        assert_eq!((&event["actor_id"], &event["account_id"]), (&json!("account-of-ann"), &json!("account-of-ann")));
        assert_eq!((&event["origin"], &event["token_id"]), (&json!("127.0.0.1"), &Value::Null));
    }
}

async fn logins_are_recorded_and_failed_ones_too() {
    let world = World::start().await;
    let email = world.registered("ann", Role::User).await;
    world.clock.advance(1);
    let nobody = world.anonymous();
    nobody.login(&email, "wrong password").await;
    world.clock.advance(1);
    nobody.login("my-passw0rd@example.com", "x").await;
    world.clock.advance(1);
    let token = text(&nobody.login(&email, PASSWORD).await["token"]);
    let ann = nobody.with_token(Some(&token));
    let own = audit(&ann, "").await;
    assert_eq!(own.len(), 3, "{own:?}");
    assert_eq!((&own[0]["action"], &own[0]["actor_id"]), (&json!("login"), &own[0]["account_id"]));
    assert_eq!((&own[1]["action"], &own[1]["actor_id"]), (&json!("login_failed"), &Value::Null));
    assert_eq!((&own[1]["account_id"], &own[1]["origin"]), (&own[0]["account_id"], &json!("127.0.0.1")));
    let all = audit(&world.admin().await, "").await;
    assert_eq!(all.len(), 4);
    assert_eq!((&all[3]["action"], &all[3]["origin"]), (&json!("account_made"), &json!("cli")));
    assert_eq!((&all[1]["action"], &all[1]["account_id"]), (&json!("login_failed"), &Value::Null));
    let all = json!(all).to_string();
    assert!(!all.contains("passw0rd") && !all.contains("wrong") && !all.contains(&token), "{all}");
}

async fn tokens_are_recorded_with_what_they_do() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let made = ann.post("/account/token/", json!({ "name": "script", "scopes": ["manage"] })).await.into_data();
    let id = text(&made["id"]);
    world.clock.advance(1);
    ann.with_token(made["token"].as_str()).preset("webhook", json!({})).await;
    world.clock.advance(1);
    ann.delete(&format!("/account/token/{id}/")).await.data();
    let events = audit(&ann, "").await;
    let seen: Vec<_> =
        events.iter().rev().map(|event| (&event["action"], &event["token_id"], &event["name"])).collect();
    assert_eq!(
        seen,
        [
            (&json!("token_made"), &Value::Null, &json!("script")),
            (&json!("pusher_made"), &json!(id), &json!("preset")),
            (&json!("token_withdrawn"), &Value::Null, &json!("script")),
        ]
    );
    assert!(!json!(events).to_string().contains(made["token"].as_str().unwrap()));
}

async fn what_an_admin_does_is_in_both_records() {
    let scene = Scene::start().await;
    let admin = scene.world.admin().await;
    let [mine, failed] = [scene.task(json!({ "delay": 60 })).await, scene.task(json!({ "delay": 60 })).await];
    scene.ann.get(&format!("/revoke/task/{mine}/")).await.data();
    admin.get(&format!("/revoke/task/{failed}/")).await.data();
    admin.get(&format!("/revoke/task/{failed}/")).await.data();
    scene.world.clock.advance(1);
    admin.delete(&format!("/preset/{}/", scene.hook)).await.data();
    let own = audit(&scene.ann, "").await;
    let seen: Vec<_> = own.iter().map(|event| (&event["action"], &event["actor_id"], &event["origin"])).collect();
    let admins = json!("account-of-admin");
    assert_eq!(seen[0], (&json!("pusher_deleted"), &admins, &Value::Null));
    assert_eq!(seen[1], (&json!("task_revoked"), &admins, &Value::Null));
    assert_eq!((own.len(), &own[1]["target"]), (3, &json!(failed)));
    let all = audit(&admin, "&account=account-of-admin").await;
    assert_eq!((all.len(), &all[0]["origin"]), (2, &json!("127.0.0.1")));
}

async fn an_account_reads_its_own_record_and_an_admin_all() {
    let world = World::start().await;
    let [ann, bob, admin] = [world.user("ann").await, world.user("bob").await, world.admin().await];
    ann.preset("webhook", json!({})).await;
    bob.preset("webhook", json!({})).await;
    for (client, id) in [(&ann, "account-of-ann"), (&bob, "account-of-bob")] {
        for query in [String::new(), format!("&account={id}")] {
            let own = audit(client, &query).await;
            assert_eq!((own.len(), &own[0]["account_id"]), (1, &json!(id)));
        }
    }
    for other in ["account-of-bob", "nobody"] {
        assert_eq!(ann.get(&format!("/audit/?account={other}")).await.refusal(), (403, "forbidden"));
    }
    assert_eq!(audit(&admin, "").await.len(), 2);
    assert_eq!(audit(&admin, "&account=account-of-bob").await.len(), 1);
    assert_eq!(world.anonymous().get("/audit/").await.refusal(), (401, "token_missing"));
}

async fn the_record_is_filtered_and_comes_in_pages() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let mut times = Vec::new();
    for n in 0..5 {
        world.clock.advance(1000);
        times.push(world.engine().clock.now().rfc3339());
        let id = ann.preset_with("webhook", json!({}), json!({ "name": format!("n{n}") })).await;
        if n == 2 {
            ann.delete(&format!("/preset/{id}/")).await.data();
        }
    }
    let names = |events: Vec<Value>| -> String { events.iter().map(|event| text(&event["name"])).collect() };
    assert_eq!(names(audit(&ann, "&action=pusher_made").await), "n4n3n2n1n0");
    assert_eq!(names(audit(&ann, "&action=pusher_deleted").await), "n2");
    assert_eq!(names(audit(&ann, &format!("&since={}", times[3])).await), "n4n3");
    assert_eq!(names(audit(&ann, &format!("&until={}", times[1])).await), "n0");
    let between = format!("&action=pusher_made&since={}&until={}", times[1], times[3]);
    assert_eq!(names(audit(&ann, &between).await), "n2n1");
    assert_eq!(names(ann.pages("/audit/?limit=4&action=pusher_made").await), "n4n3n2n1n0");
    for (query, code) in
        [("action=anything", "field_invalid"), ("since=now", "field_invalid"), ("cursor=MQ", "cursor_invalid")]
    {
        assert_eq!(ann.get(&format!("/audit/?{query}")).await.refusal(), (422, code), "{query}");
    }
}

async fn what_is_refused_is_not_recorded() {
    let scene = Scene::start().await;
    scene.ann.preset(&scene.hook, json!({})).await;
    let before = actions(&scene.ann).await;
    scene.ann.delete(&format!("/preset/{}/", scene.hook)).await;
    scene.ann.patch(&format!("/preset/{}/", scene.hook), json!({ "base_pusher": "nothing" })).await;
    scene.world.user("bob").await.delete(&format!("/preset/{}/", scene.hook)).await;
    scene.ann.post("/account/token/", json!({ "name": "n", "scopes": [] })).await;
    assert_eq!(actions(&scene.ann).await, before);
    assert_eq!(before, ["pusher_made", "pusher_made"]);
}

async fn the_record_holds_no_secret() {
    let scene = Scene::start().await;
    let secret = "N0b0dy-reads-this";
    let id = scene.ann.preset("webhook", json!({ "headers": { "x-key": secret } })).await;
    scene.ann.patch(&format!("/preset/{id}/"), json!({ "params": { "secret": secret } })).await.data();
    scene.ann.share("preset", &id).await;
    let all = json!(audit(&scene.world.admin().await, "").await).to_string();
    assert!(!all.contains(secret) && !all.contains(scene.ann.token()) && all.contains(&id), "{all}");
}

async fn the_record_is_kept_for_its_days() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    ann.preset("webhook", json!({})).await;
    world.clock.advance(29 * DAY_MS);
    ann.preset("webhook", json!({})).await;
    let admin = world.admin().await;
    world.clock.advance(DAY_MS);
    for (days, left) in [(59, 2), (2, 1)] {
        for _ in 0..days {
            world.clock.advance(DAY_MS);
            admin.get("/preset/").await.data();
        }
        fanfare::flow::tidy::tidy(world.engine()).await.unwrap();
        assert_eq!(audit(&admin, "").await.len(), left);
    }
}
