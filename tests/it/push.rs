//! From a call to what the receiver sees: the forms of a call, and which of its parameters win.

use serde_json::{Value, json};

use crate::support::client::{FORM, JSON, TEXT, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::scene::Scene;
use crate::support::world::{both, webhook, with};

both!(
    a_get_pushes_its_query,
    a_post_pushes_its_body,
    numbers_keep_their_digits,
    content_stands_in_the_path,
    a_trailing_slash_changes_nothing,
    the_higher_layer_wins,
    the_body_as_text_beats_content_in_the_path,
    redefined_content_becomes_what_the_nearest_preset_says,
    modifiers_fill_placeholders,
    what_a_modifier_inserts_is_never_filled_again,
    the_nearer_preset_wins,
    text_becomes_what_the_service_declares,
    names_that_nobody_takes_are_told,
    the_answer_has_the_documented_shape,
    a_task_reads_as_documented,
    a_delivery_names_the_task_as_its_idempotency_key,
);

async fn a_get_pushes_its_query() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/?title=a%20b+c&content=%E7%A3%81%E7%9B%98&n=1&n=2&empty=", scene.hook);
    scene.ann.get(&path).await.data();
    let arrived = scene.arrived().await;
    assert_eq!(arrived, json!({ "title": "a b c", "content": "磁盘", "n": ["1", "2"], "empty": "" }));
}

async fn a_post_pushes_its_body() {
    let scene = Scene::start().await;
    let body = r#"{"content":"磁盘 \"x\"","n":1.5,"flag":true,"list":[1,{"a":null}]}"#;
    let as_json = serde_json::from_str(body).unwrap();
    for (content_type, body, expected) in [
        (Some(JSON), body, as_json),
        (Some("application/json; charset=utf-8"), r#"{"a":1}"#, json!({ "a": 1 })),
        (Some(FORM), "title=a+b%26c&n=1&n=2", json!({ "title": "a b&c", "n": ["1", "2"] })),
        // As `curl -d` sends it.
        (Some(FORM), r#"{"title":"a & b","n":1}"#, json!({ "title": "a & b", "n": 1 })),
        (Some(TEXT), "two\nlines & more", json!({ "content": "two\nlines & more" })),
        (Some(JSON), "", json!({})),
        (None, "", json!({})),
    ] {
        let path = format!("/push/{}/", scene.hook);
        scene.ann.send("POST", &path, content_type, body.as_bytes()).await.data();
        assert_eq!(scene.sink.next().await.json(), expected, "{content_type:?} {body}");
    }
}

async fn numbers_keep_their_digits() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    let numbers = r#"{"id":123456789012345678901,"list":[0.10,1e-7],"time":1796353693.5594187,"zero":-0}"#;
    scene.ann.send("POST", &path, Some(JSON), numbers.as_bytes()).await.data();
    let sent = scene.only_request().await;
    assert_eq!(String::from_utf8(sent.body).unwrap(), numbers);
    let preset = scene.ann.preset(&scene.hook, json!({ "content": "at <_0>, id <_1>" })).await;
    let inserted = br#"{"_content":1796353693.5594187,"_content_1":123456789012345678901}"#;
    scene.ann.send("POST", &format!("/push/{preset}/"), Some(JSON), inserted).await.data();
    scene.world.settle().await;
    let last = scene.sink.requests().pop().unwrap().json();
    assert_eq!(last, json!({ "content": "at 1796353693.5594187, id 123456789012345678901" }));
}

async fn content_stands_in_the_path() {
    let scene = Scene::start().await;
    for (segment, content) in [
        ("disk", "disk"),
        ("disk%20full", "disk full"),
        ("a+b", "a+b"),
        ("a%2Fb", "a/b"),
        ("a%2f", "a/"),
        ("%2F", "/"),
        ("%252F", "%2F"),
        ("%E7%A3%81%E7%9B%98%E5%B7%B2%E6%BB%A1", "磁盘已满"),
        ("%F0%9F%92%A5%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9", "💥👨\u{200d}👩"),
        (".", "."),
        ("..", ".."),
        ("a.b...", "a.b..."),
        ("50%25", "50%"),
        ("a%3Fb%23c%26d=e", "a?b#c&d=e"),
        ("preview", "preview"),
    ] {
        for method in ["GET", "POST"] {
            let path = format!("/push/{}/{segment}/", scene.hook);
            scene.ann.send(method, &path, None, b"").await.data();
            assert_eq!(scene.sink.next().await.json(), json!({ "content": content }), "{method} {segment}");
        }
    }
}

async fn a_trailing_slash_changes_nothing() {
    let scene = Scene::start().await;
    let hook = &scene.hook;
    for (path, expected) in [
        (format!("/push/{hook}"), json!({})),
        (format!("/push/{hook}/"), json!({})),
        (format!("/push/{hook}?a=1"), json!({ "a": "1" })),
        (format!("/push/{hook}/?a=1"), json!({ "a": "1" })),
        (format!("/push/{hook}/full"), json!({ "content": "full" })),
        (format!("/push/{hook}/full/"), json!({ "content": "full" })),
        (format!("/push/{hook}/full?a=/"), json!({ "a": "/", "content": "full" })),
        (format!("/push/{hook}/full/?a=/"), json!({ "a": "/", "content": "full" })),
    ] {
        scene.ann.get(&path).await.data();
        assert_eq!(scene.sink.next().await.json(), expected, "{path}");
    }
}

async fn the_higher_layer_wins() {
    let scene = Scene::start().await;
    let preset = json!({ "content": "preset", "method": "PUT" });
    let preset = scene.ann.preset("webhook", with(webhook(&scene.sink), preset)).await;
    for (path, body, content, method) in [
        ("/path/?content=query&method=PATCH", json!({ "content": "body", "method": "DELETE" }), "body", "DELETE"),
        ("/path/?content=query&method=PATCH", json!({}), "path", "PATCH"),
        ("/?content=query", json!({}), "query", "PUT"),
        ("/", json!({}), "preset", "PUT"),
    ] {
        scene.ann.post(&format!("/push/{preset}{path}"), body).await.data();
        let request = scene.sink.next().await;
        assert_eq!((request.json(), &*request.method), (json!({ "content": content }), method), "{path}");
    }
    scene.push(json!({})).await;
    assert_eq!(scene.sink.next().await.method, "POST", "the Service's default stands below all");
}

async fn the_body_as_text_beats_content_in_the_path() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/path/?content=query&title=t", scene.hook);
    scene.ann.send("POST", &path, Some(TEXT), b"body").await.data();
    assert_eq!(scene.arrived().await, json!({ "content": "body", "title": "t" }));
}

async fn redefined_content_becomes_what_the_nearest_preset_says() {
    let scene = Scene::start().await;
    let ann = &scene.ann;
    let titled = ann.preset_with(&scene.hook, json!({}), json!({ "redefine_content": "title" })).await;
    let above = ann.preset(&titled, json!({ "title": "default" })).await;
    let fields = json!({ "redefine_content": "_content_1" });
    let filling = ann.preset_with(&above, json!({ "content": "<_1> of <_0>" }), fields).await;
    for (pusher, path, expected) in [
        (&titled, "full/?content=c", json!({ "title": "full", "content": "c" })),
        (&above, "full/", json!({ "title": "full" })),
        (&above, "", json!({ "title": "default" })),
        (&filling, "90%25/?_content=nas", json!({ "content": "90% of nas", "title": "default" })),
    ] {
        ann.get(&format!("/push/{pusher}/{path}")).await.data();
        assert_eq!(scene.sink.next().await.json(), expected, "{path}");
    }
    ann.send("POST", &format!("/push/{titled}/"), Some(TEXT), b"as text").await.data();
    assert_eq!(scene.sink.next().await.json(), json!({ "title": "as text" }));
}

async fn modifiers_fill_placeholders() {
    let scene = Scene::start().await;
    let preset = scene.ann.preset(&scene.hook, json!({ "title": "<_0> of <_1>: <_0>", "content": "full" })).await;
    for (params, title) in [
        (json!({ "_title": "90 %", "_title_1": "nas" }), "90 % of nas: 90 %"),
        (json!({ "_title_0": "a", "_title": "b", "_title_1": "c" }), "a of c: a"),
        (json!({ "_title_0": 1.5, "_title_1": true }), "1.5 of true: 1.5"),
        (json!({ "_title_0": "x", "_title_1": "" }), "x of : x"),
        (json!({ "title": "only <_2>", "_title_2": "mine" }), "only mine"),
        (json!({ "title": "open <_0>" }), "open <_0>"),
    ] {
        scene.ann.pushed(&preset, params.clone()).await;
        let expected = json!({ "title": title, "content": "full" });
        assert_eq!(scene.sink.next().await.json(), expected, "{params}");
    }
    let refused = scene.ann.push(&preset, json!({ "_title": "x" })).await;
    assert_eq!(refused.refusal(), (422, "placeholder_unfilled"));
    assert_eq!(refused.faults(), [("title", "placeholder_unfilled")]);
}

async fn what_a_modifier_inserts_is_never_filled_again() {
    let scene = Scene::start().await;
    let inner = scene.ann.preset(&scene.hook, json!({ "title": "[<_0>][<_1>]" })).await;
    let outer = scene.ann.preset(&inner, json!({ "_title_0": "outer <_1>" })).await;
    scene.ann.pushed(&outer, json!({ "_title_1": "<_0>" })).await;
    assert_eq!(scene.arrived().await, json!({ "title": "[outer <_1>][<_0>]" }));
}

async fn the_nearer_preset_wins() {
    let scene = Scene::start().await;
    let ann = &scene.ann;
    let far = ann.preset(&scene.hook, json!({ "a": "far", "b": "far", "c": "far", "d": "far" })).await;
    let middle = ann.preset(&far, json!({ "b": "middle", "c": "middle", "d": null })).await;
    let near = ann.preset(&middle, json!({ "c": "near" })).await;
    ann.pushed(&near, json!({})).await;
    assert_eq!(scene.arrived().await, json!({ "a": "far", "b": "middle", "c": "near" }), "null takes away");
}

/// A Preset on `ntfy`, which declares what it takes.
async fn ntfy(scene: &Scene) -> String {
    scene.ann.preset("ntfy", json!({ "server": scene.sink.url(), "topic": "alerts" })).await
}

fn accepted_by_ntfy(sink: &HttpSink, times: usize) {
    sink.script(vec![Play::json(200, r#"{"id":"sent"}"#); times]);
}

async fn text_becomes_what_the_service_declares() {
    let scene = Scene::start().await;
    let ntfy = ntfy(&scene).await;
    accepted_by_ntfy(&scene.sink, 2);
    for query in ["priority=4&tags=disk,%20warning", "priority=4&tags=disk&tags=warning"] {
        scene.ann.get(&format!("/push/{ntfy}/full/?{query}")).await.data();
        let expected = json!({ "topic": "alerts", "message": "full", "priority": 4, "tags": ["disk", "warning"] });
        assert_eq!(scene.sink.next().await.json(), expected, "{query}");
    }
    let refused = scene.ann.get(&format!("/push/{ntfy}/?priority=high&url=nowhere")).await;
    assert_eq!(refused.refusal(), (422, "param_invalid"));
    let mut faults = refused.faults();
    faults.sort_unstable();
    assert_eq!(faults, [("content", "param_missing"), ("priority", "param_invalid"), ("url", "param_invalid")]);
}

async fn names_that_nobody_takes_are_told() {
    let scene = Scene::start().await;
    let ntfy = ntfy(&scene).await;
    accepted_by_ntfy(&scene.sink, 1);
    let params = json!({ "content": "c", "titel": "oops", "_content_3": "no such hole", "sound": null });
    let pushed = scene.ann.pushed(&ntfy, params).await;
    assert_eq!(pushed["ignored"], json!(["_content_3", "titel"]));
    assert_eq!(scene.arrived().await, json!({ "topic": "alerts", "message": "c" }));
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

async fn the_answer_has_the_documented_shape() {
    let scene = Scene::start().await;
    let answer = scene.ann.push(&scene.hook, json!({ "content": "c" })).await;
    let data = answer.data();
    assert_eq!(keys(data), ["push_id", "task_id", "tasks", "ignored"]);
    let task = &data["tasks"][0];
    assert_eq!(keys(task), ["task_id", "name", "pusher_id", "state", "run_at"]);
    assert_eq!((&task["task_id"], &task["pusher_id"]), (&data["task_id"], &json!(scene.hook)));
    assert_eq!((&task["name"], &task["state"]), (&Value::Null, &json!("waiting")));
    assert!(text(&task["run_at"]).ends_with('Z'), "{task}");
    assert!(text(&data["task_id"]).starts_with(&text(&data["push_id"])), "{data}");
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    scene.world.settle().await;
}

async fn a_task_reads_as_documented() {
    let scene = Scene::start().await;
    let pushed = scene.push(json!({ "content": "c" })).await;
    scene.world.settle().await;
    let mut task = scene.ann.task(&text(&pushed["task_id"])).await;
    let log = task["attempt_log"].take();
    for time in ["run_at", "created_at", "started_at", "finished_at"] {
        assert!(task[time].take().as_str().is_some_and(|at| at.ends_with('Z')), "{time}");
    }
    let expected = json!({
        "task_id": pushed["task_id"], "push_id": pushed["push_id"], "pusher_id": scene.hook, "service": "webhook",
        "name": null, "state": "succeeded", "run_at": null, "created_at": null, "started_at": null,
        "finished_at": null, "attempts": 1, "error": null, "attempt_log": null,
    });
    assert_eq!(task, expected);
    assert_eq!(keys(&log[0]), ["at", "duration_ms", "outcome", "code", "status", "response"]);
    assert_eq!((&log[0]["outcome"], &log[0]["status"], &log[0]["code"]), (&json!("sent"), &json!(200), &Value::Null));
    assert_eq!(scene.ann.tasks().await[0].get("attempt_log"), None, "a list is brief");
}

async fn a_delivery_names_the_task_as_its_idempotency_key() {
    let scene = Scene::start().await;
    let task = scene.task(json!({ "content": "c" })).await;
    assert_eq!(scene.only_request().await.header("idempotency-key"), Some(&*task));
}
