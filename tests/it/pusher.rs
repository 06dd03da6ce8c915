//! Pushers of any kind: one list of all, and previews that send nothing.

use fanfare::domain::account::Role;
use fanfare::flow::login::create_account;
use serde_json::{Value, json};

use crate::support::client::{Client, FORM, JSON, TEXT, text};
use crate::support::http_sink::HttpSink;
use crate::support::scene::Scene;
use crate::support::world::{PASSWORD, World, both, holds, webhook, with};

both!(
    one_list_shows_both_kinds,
    a_service_is_a_pusher_too,
    a_preview_tells_where_each_value_came_from,
    a_preview_deals_to_the_members_of_a_group,
    a_preview_shows_the_exact_request,
    a_preview_of_a_mail_shows_its_fields,
    a_preview_sends_nothing_and_keeps_nothing,
    secrets_are_masked_in_a_preview,
    a_preview_is_refused_as_the_push_would_be,
    a_preview_reads_every_kind_of_body,
    a_preview_is_for_the_owner,
    the_token_may_stand_where_it_may_for_a_push,
    the_body_of_other_operations_holds_no_token,
    secrets_are_sealed_on_the_disk,
);

const SECRET: &str = "hunter2-hunter2-hunter2";

async fn preview(client: &Client, pusher: &str, params: Value) -> Value {
    client.post(&format!("/pusher/{pusher}/preview/"), params).await.into_data()["tasks"].take()
}

async fn one_list_shows_both_kinds() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let preset = ann.preset("webhook", json!({})).await;
    world.clock.advance(1);
    let group = ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await;
    let list = ann.get("/pusher/").await.into_data();
    let shown: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| (text(&item["kind"]), text(&item["id"]))).collect();
    assert_eq!(shown, [("group".to_owned(), group), ("preset".to_owned(), preset)]);
    assert_eq!(list["next_cursor"], Value::Null);
    assert_eq!(world.user("bob").await.get("/pusher/").await.data()["items"], json!([]));
}

async fn a_service_is_a_pusher_too() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let service = ann.get("/pusher/ntfy/").await.into_data();
    assert_eq!((&service["kind"], &service["id"]), (&json!("service"), &json!("ntfy")));
    assert_eq!(service, ann.get("/service/ntfy/").await.into_data());
    assert_eq!(ann.get("/pusher/nowhere/").await.refusal(), (404, "pusher_not_found"));
}

async fn a_preview_tells_where_each_value_came_from() {
    let scene = Scene::start().await;
    let far = scene.ann.preset(&scene.hook, json!({ "far": 1, "both": "far", "t": "<_0> of <_1>" })).await;
    let near = scene.ann.preset(&far, json!({ "near": 2, "both": "near", "_t_1": "five" })).await;
    let path = format!("/pusher/{near}/preview/?q=3&shadowed=query&_t=one");
    let task = scene.ann.post(&path, json!({ "b": 4, "shadowed": "body" })).await.into_data()["tasks"][0].take();
    let from = |name: &str| (task["params"][name]["value"].clone(), text(&task["params"][name]["from"]));
    for (name, value, place) in [
        ("b", json!(4), "body"),
        ("shadowed", json!("body"), "body"),
        ("q", json!("3"), "query"),
        ("near", json!(2), &*near),
        ("both", json!("near"), &near),
        ("far", json!(1), &far),
        ("t", json!("one of five"), &far),
        ("endpoint", webhook(&scene.sink)["endpoint"].clone(), &scene.hook),
        ("method", json!("POST"), "service"),
    ] {
        assert_eq!(from(name), (value, place.to_owned()), "{name}");
    }
    assert_eq!((&task["name"], &task["service"], &task["ignored"]), (&Value::Null, &json!("webhook"), &json!([])));
}

async fn a_preview_deals_to_the_members_of_a_group() {
    let scene = Scene::start().await;
    let ntfy = json!({ "name": "p2", "base_pusher": "ntfy", "params": { "topic": "alerts" } });
    let p1 = Scene::member("p1", &scene.sink, json!({ "title": "<_0> left" }));
    let group = json!({ "pushers": [p1, ntfy], "param_map": { "amount": ["p1._title", "p2.content"] } });
    let group = scene.ann.group(group).await;
    let tasks = preview(&scene.ann, &group, json!({ "amount": 10, "p2.delay": 60, "colour": "red" })).await;
    let value = |at: usize, name: &str| tasks[at]["params"][name]["value"].clone();
    assert_eq!((&tasks[0]["name"], &tasks[1]["name"]), (&json!("p1"), &json!("p2")));
    assert_eq!((value(0, "title"), value(0, "colour")), (json!("10 left"), json!("red")));
    assert_eq!((value(1, "content"), value(1, "colour")), (json!("10"), Value::Null));
    assert_eq!(tasks[0]["params"]["title"]["from"], json!(group), "a member's own parameters are the Group's");
    assert_eq!((&tasks[0]["ignored"], &tasks[1]["ignored"]), (&json!([]), &json!(["colour"])));
    assert!(text(&tasks[1]["run_at"]) > text(&tasks[0]["run_at"]));
}

async fn a_preview_shows_the_exact_request() {
    let scene = Scene::start().await;
    let params = json!({ "content": "磁盘 \"x\"", "headers": {}, "n": [1, true] });
    let task = preview(&scene.ann, &scene.hook, params.clone()).await[0].take();
    let shown = &task["request"];
    scene.push(params).await;
    let sent = scene.only_request().await;
    assert_eq!(shown["url"], json!(format!("{}{}", scene.sink.url(), sent.target)));
    assert_eq!((shown["method"].as_str(), &shown["body"]), (Some(&*sent.method), &sent.json()));
    assert_eq!(shown["headers"]["content-type"].as_str(), sent.header("content-type"));
    let id = text(&shown["headers"]["idempotency-key"]);
    assert_eq!(id.len(), sent.header("idempotency-key").unwrap().len(), "{id}");
}

async fn a_preview_of_a_mail_shows_its_fields() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let params = json!({
        "host": "mail.example.com", "username": "ann@example.com", "password": SECRET, "to": "bob@example.com",
        "title": "Disk", "content": "full",
    });
    let task = preview(&ann, "email", params).await[0].take();
    let mail = &task["request"];
    assert_eq!((&mail["to"], &mail["subject"]), (&json!(["bob@example.com"]), &json!("Disk")));
    assert_eq!((&mail["text"], &mail["relay"]), (&json!("full"), &json!("mail.example.com:465")));
    assert!(!task.to_string().contains(SECRET), "{task}");
}

async fn a_preview_sends_nothing_and_keeps_nothing() {
    let scene = Scene::start().await;
    for params in [json!({}), json!({ "delay": 1 }), json!({ "content": "x" })] {
        preview(&scene.ann, &scene.hook, params).await;
    }
    scene.world.forward(2_000);
    scene.nothing_arrived().await;
    assert_eq!(scene.ann.tasks().await, [] as [Value; 0]);
}

async fn secrets_are_masked_in_a_preview() {
    let scene = Scene::start().await;
    let own = scene.ann.preset(&scene.hook, json!({ "headers": { "X-Key": SECRET }, "secret": SECRET })).await;
    let tasks = preview(&scene.ann, &own, json!({ "content": "c" })).await;
    assert!(!tasks.to_string().contains(SECRET) && !tasks.to_string().contains("r2-h"), "{tasks}");
    let masked = json!("hun****er2");
    assert_eq!(tasks[0]["params"]["secret"]["value"], masked);
    assert_eq!(tasks[0]["params"]["headers"]["value"], json!({ "X-Key": masked }));
    assert_eq!(tasks[0]["request"]["headers"]["x-key"], masked);
    let sent = preview(&scene.ann, &scene.hook, json!({ "secret": SECRET })).await;
    assert_eq!(sent[0]["params"]["secret"], json!({ "value": masked, "from": "body" }), "one's own call, too");
}

async fn a_preview_is_refused_as_the_push_would_be() {
    let scene = Scene::start().await;
    let holed = scene.ann.preset(&scene.hook, json!({ "title": "<_0>" })).await;
    for (pusher, params) in [
        ("ntfy", json!({})),
        ("ntfy", json!({ "topic": "t", "content": "c", "priority": "high" })),
        (&*holed, json!({})),
        (&*holed, json!({ "_title": [1] })),
        (&*scene.hook, json!({ "delay": -1 })),
        (&*scene.hook, json!({ "delay": 1, "at": "2001010000" })),
        (&*scene.hook, json!({ "endpoint": "not a url" })),
        ("nowhere", json!({})),
    ] {
        let pushed = scene.ann.push(pusher, params.clone()).await;
        let previewed = scene.ann.post(&format!("/pusher/{pusher}/preview/"), params.clone()).await;
        assert_ne!(pushed.status, 200, "{params}");
        assert_eq!(previewed.refusal(), pushed.refusal(), "{params}");
        assert_eq!(previewed.body, pushed.body, "{params}");
    }
    scene.nothing_arrived().await;
}

async fn a_preview_reads_every_kind_of_body() {
    let scene = Scene::start().await;
    let path = format!("/pusher/{}/preview/", scene.hook);
    for (content_type, body, expected) in
        [(FORM, "content=a+b", "a b"), (TEXT, "a b", "a b"), ("application/json", "{\"content\":\"a b\"}", "a b")]
    {
        let answer = scene.ann.send("POST", &path, Some(content_type), body.as_bytes()).await;
        let content = &answer.data()["tasks"][0]["params"]["content"];
        assert_eq!(*content, json!({ "value": expected, "from": "body" }), "{content_type}");
    }
    assert_eq!(scene.ann.send("POST", &path, Some("text/csv"), b"a").await.refusal(), (415, "media_type_unsupported"));
    assert_eq!(scene.ann.send("POST", &path, Some("application/json"), b"[").await.refusal(), (400, "body_invalid"));
}

async fn a_preview_is_for_the_owner() {
    let scene = Scene::start().await;
    let path = format!("/pusher/{}/preview/", scene.hook);
    let bob = scene.world.user("bob").await;
    assert_eq!(bob.post(&path, json!({})).await.refusal(), (404, "pusher_not_found"));
    assert_eq!(bob.anonymous().post(&path, json!({})).await.refusal(), (401, "token_missing"));
    let own = scene.ann.preset_with(&scene.hook, json!({}), json!({ "protected": true })).await;
    preview(&scene.ann, &own, json!({})).await;
    let service = json!({ "topic": "t", "content": "c" });
    assert_eq!(preview(&bob, "ntfy", service).await[0]["service"], "ntfy", "Services are everybody's");
}

async fn secrets_are_sealed_on_the_disk() {
    let scene = Scene::start().await;
    let sink = HttpSink::start().await;
    let named = json!({ "name": "a name in the clear" });
    let secret = with(webhook(&sink), json!({ "secret": format!("preset-{SECRET}"), "pin": "plain-parameter" }));
    let preset = scene.ann.preset_with("webhook", secret, named).await;
    let member = with(webhook(&sink), json!({ "headers": { "x-key": format!("member-{SECRET}") } }));
    scene.ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook", "params": member }] })).await;
    let (store, now) = (&scene.world.engine().store, scene.world.engine().clock.now());
    create_account(store, now, "bob@example.com", PASSWORD.to_owned(), Role::User).await.unwrap().unwrap();
    scene.ann.pushed(&preset, json!({ "headers": { "x-key": format!("task-{SECRET}") }, "delay": 60 })).await;
    scene.ann.pushed(&preset, json!({ "headers": { "x-key": format!("sent-{SECRET}") } })).await;
    assert!(sink.next().await.header("x-key").unwrap().contains(SECRET), "the channel gets it");
    scene.world.settle().await;
    let kept = scene.world.kept().await;
    assert!(holds(&kept, "a name in the clear"), "it is looked at where the rows are");
    assert!(holds(&kept, "bob@example.com"));
    for hidden in [SECRET, "plain-parameter", PASSWORD, scene.ann.token()] {
        assert!(!holds(&kept, hidden), "{hidden} is on the disk");
    }
}

async fn the_token_may_stand_where_it_may_for_a_push() {
    let scene = Scene::start().await;
    let hook = scene.ann.preset_with(&scene.hook, json!({}), json!({ "protected": true })).await;
    let (nobody, token) = (scene.ann.anonymous(), scene.ann.token());
    let (right, wrong, none) = (format!("_token={token}"), "_token=guessed".to_owned(), String::new());
    let in_json = |token: &str| json!({ "_token": token, "content": "hi" }).to_string();
    let (ok, missing, invalid) = ((200, "0"), (401, "token_missing"), (401, "token_invalid"));
    for path in [format!("/push/{hook}/"), format!("/pusher/{hook}/preview/")] {
        for (client, query, content_type, body, expected) in [
            (&nobody, &right, JSON, "{}".to_owned(), ok),
            (&nobody, &right, TEXT, "hi".to_owned(), ok),
            (&nobody, &none, JSON, in_json(token), ok),
            (&nobody, &none, FORM, format!("content=hi&{right}"), ok),
            // The headers before the body, and that before the query.
            (&scene.ann, &wrong, JSON, in_json("guessed"), ok),
            (&nobody, &wrong, JSON, in_json(token), ok),
            (&nobody, &right, JSON, in_json("guessed"), invalid),
            (&nobody, &right, FORM, wrong.clone(), invalid),
            (&nobody, &none, TEXT, right.clone(), missing),
            (&nobody, &none, JSON, json!({ "_token": [token] }).to_string(), missing),
        ] {
            let answer = client.send("POST", &format!("{path}?{query}"), Some(content_type), body.as_bytes()).await;
            assert_eq!(answer.refusal(), expected, "{path}?{query} {body}");
            // A text is content, whatever stands in it.
            assert!(!answer.body.to_string().contains(token), "{}", answer.body);
        }
    }
    let script = scene.ann.with_scopes(&["push"]).await;
    let body = json!({ "_token": script.token() });
    nobody.push(&hook, body.clone()).await.data();
    assert_eq!(nobody.post(&format!("/pusher/{hook}/preview/"), body).await.refusal(), (403, "scope_missing"));
}

async fn the_body_of_other_operations_holds_no_token() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let mut preset = json!({ "name": "n", "base_pusher": "webhook" });
    ann.anonymous().post(&format!("/preset/?_token={}", ann.token()), preset.clone()).await.data();
    preset["_token"] = json!(ann.token());
    assert_eq!(ann.anonymous().post("/preset/", preset.clone()).await.refusal(), (401, "token_missing"));
    let answer = ann.post("/preset/", preset).await;
    assert_eq!((answer.refusal(), answer.faults()), ((422, "field_invalid"), vec![("_token", "unknown")]));
}
