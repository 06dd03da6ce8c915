//! Services: read by anybody, checked at the start, and added to or overridden by the files of a folder.

use std::path::Path;
use std::sync::Arc;

use fanfare::app::{App, SystemClock};
use fanfare::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, JSON, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::world::{World, both, webhook};

both!(
    anybody_reads_the_services,
    a_service_tells_enough_to_draw_a_form,
    every_service_reads_alone_as_in_the_list,
    a_broken_file_stops_the_start_with_path_line_and_reason,
    a_file_in_the_folder_adds_a_service,
    a_file_in_the_folder_overrides_an_embedded_service,
    a_service_that_is_open_takes_pushes_from_anybody,
    tasks_of_a_service_that_went_away_wait_for_it,
);

const PAGER: &str = r#"id = "pager"
name = "Pager"
name_zh = "寻呼机"
docs = "https://example.com/"
category = "push"
transport = "http"

[params]
server = { type = "url", required = true, help = "Where", help_zh = "地址" }
content = { type = "text", required = true, max_length = 20, help = "What", help_zh = "内容" }
pin = { type = "string", secret = true, help = "Pin", help_zh = "密码" }
priority = { type = "integer", min = 1, max = 5, default = 3, help = "How", help_zh = "级别" }
links = { type = "list", items = "url", help = "Links", help_zh = "链接" }

[request]
url = "{{server}}/page"

[request.headers]
x-pin = "{{pin}}"

[request.json]
text = "{{content}}"
level = "{{priority}}"

[response]
code = "/error"

[[response.success]]
pointer = "/ok"
equals = true
"#;

/// A folder with these files in `services`.
fn folder(files: &[(&str, &str)]) -> Arc<TempDir> {
    let folder = TempDir::new().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    for (name, text) in files {
        std::fs::write(services.join(name), text).unwrap();
    }
    Arc::new(folder)
}

async fn anybody_reads_the_services() {
    let world = World::start().await;
    let list = world.anonymous().get("/service/?limit=100").await.into_data();
    let ids: Vec<String> = list["items"].as_array().unwrap().iter().map(|service| text(&service["id"])).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for id in [
        "webhook",
        "email",
        "bark",
        "ntfy",
        "gotify",
        "telegram",
        "discord",
        "slack",
        "wecom_bot",
        "dingtalk_bot",
        "feishu_bot",
        "serverchan",
    ] {
        assert!(ids.iter().any(|known| known == id), "{id}");
    }
}

async fn a_service_tells_enough_to_draw_a_form() {
    let world = World::builder().start_in(folder(&[("pager.toml", PAGER)])).await;
    let service = world.anonymous().get("/service/pager/").await.into_data();
    let mut param = json!({
        "name": "server", "type": "url", "required": true, "secret": false, "default": null, "enum": [],
        "items": null, "max_length": null, "min": null, "max": null, "help": "Where", "help_zh": "地址",
    });
    assert_eq!(service["params"][0].to_string(), param.to_string(), "also in this order");
    for (name, value) in [
        ("name", json!("content")),
        ("type", json!("text")),
        ("max_length", json!(20)),
        ("help", json!("What")),
        ("help_zh", json!("内容")),
    ] {
        param[name] = value;
    }
    assert_eq!(service["params"][1], param);
    assert_eq!(service["params"][2]["secret"], true);
    let priority = &service["params"][3];
    assert_eq!((&priority["default"], &priority["min"], &priority["max"]), (&json!(3), &json!(1.0), &json!(5.0)));
    assert_eq!(service["params"][4]["items"], "url");
    let mut head = service.clone();
    head["params"].take();
    assert_eq!(
        head,
        json!({
            "id": "pager", "kind": "service", "name": "Pager", "name_zh": "寻呼机", "category": "push",
            "docs": "https://example.com/", "transport": "http", "accepts_any": false, "params": null,
        })
    );
}

async fn every_service_reads_alone_as_in_the_list() {
    let world = World::start().await;
    let anyone = world.anonymous();
    for service in anyone.get("/service/?limit=100").await.into_data()["items"].as_array().unwrap() {
        let alone = anyone.get(&format!("/service/{}/", text(&service["id"]))).await.into_data();
        assert_eq!(alone, *service);
        for param in service["params"].as_array().unwrap() {
            for help in ["help", "help_zh"] {
                assert!(!text(&param[help]).is_empty(), "{} {}", service["id"], param["name"]);
            }
        }
    }
    for unknown in ["pager", "Webhook", "..%2Fwebhook", "%00"] {
        assert_eq!(
            anyone.get(&format!("/service/{unknown}/")).await.refusal(),
            (404, "service_not_found"),
            "{unknown}"
        );
    }
}

/// Why a server does not start on this folder.
async fn refusal(folder: &Path) -> String {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), data_dir: folder.to_owned(), ..Config::default() };
    match App::start(&config, Arc::new(SystemClock::default())).await {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    }
}

async fn a_broken_file_stops_the_start_with_path_line_and_reason() {
    let typo = PAGER.replace("type = \"text\"", "type = \"txet\"");
    let unknown = PAGER.replace("{{content}}", "{{contents}}");
    let broken = folder(&[("a.toml", &typo), ("b.toml", &unknown), ("c.toml", "id = \"c\n"), ("notes.txt", "x")]);
    let told = refusal(broken.path()).await;
    let path = |name: &str| broken.path().join("services").join(name).display().to_string();
    for (file, line, reason) in
        [("a.toml", 10, "params.content.type: unknown variant `txet`"), ("b.toml", 22, "contents"), ("c.toml", 1, "")]
    {
        let start = format!("{}:{line}: ", path(file));
        let line = told.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {start} in {told}"));
        assert!(line.contains(reason), "{line}");
    }
    assert_eq!(told.lines().filter(|line| line.contains(".txt")).count(), 0);
    let twice = folder(&[("one.toml", PAGER), ("two.toml", PAGER)]);
    assert!(refusal(twice.path()).await.contains("two.toml:1: id: `pager` is also the id of"));
}

async fn a_file_in_the_folder_adds_a_service() {
    let world = World::builder().start_in(folder(&[("pager.toml", PAGER)])).await;
    let (sink, ann) = (HttpSink::start().await, world.user("ann").await);
    let preset = ann.preset("pager", json!({ "server": sink.url(), "pin": "1234" })).await;
    sink.script(vec![Play::json(200, r#"{"ok":true}"#), Play::json(200, r#"{"error":"jammed"}"#)]);
    ann.get(&format!("/push/{preset}/disk%20full/")).await.data();
    let request = sink.next().await;
    assert_eq!((request.target.as_str(), request.header("x-pin")), ("/page", Some("1234")));
    assert_eq!(request.json(), json!({ "text": "disk full", "level": 3 }));
    world.settle().await;
    let second = ann.pushed(&preset, json!({ "content": "again", "priority": "5" })).await;
    world.settle().await;
    let task = ann.task(&text(&second["task_id"])).await;
    assert_eq!((&task["state"], &task["error"]["code"]), (&json!("failed"), &json!("pager:code_jammed")));
    let refused = ann.push(&preset, json!({ "content": "a".repeat(21), "priority": 6 })).await;
    assert_eq!(refused.faults(), [("content", "param_invalid"), ("priority", "param_invalid")]);
}

async fn a_file_in_the_folder_overrides_an_embedded_service() {
    let ours = PAGER.replace("id = \"pager\"", "id = \"ntfy\"");
    let world = World::builder().start_in(folder(&[("z.toml", &ours)])).await;
    let (sink, ann) = (HttpSink::start().await, world.user("ann").await);
    assert_eq!(ann.get("/service/ntfy/").await.data()["name"], "Pager");
    let ids = ann.get("/service/?limit=100").await.into_data();
    assert_eq!(ids["items"].as_array().unwrap().iter().filter(|service| service["id"] == "ntfy").count(), 1);
    ann.pushed("ntfy", json!({ "server": sink.url(), "content": "mine" })).await;
    assert_eq!(sink.next().await.target, "/page");
}

async fn a_service_that_is_open_takes_pushes_from_anybody() {
    let open = PAGER.replace("transport =", "open = true\ntransport =");
    let world = World::builder().start_in(folder(&[("pager.toml", &open)])).await;
    let (sink, ann) = (HttpSink::start().await, world.user("ann").await);
    let params = json!({ "server": sink.url(), "content": "hi" });
    world.anonymous().pushed("pager", params.clone()).await;
    assert_eq!(sink.next().await.json()["text"], "hi");
    assert_eq!(ann.tasks().await, [] as [Value; 0], "nobody's");
    ann.pushed("pager", params).await;
    assert_eq!(ann.tasks().await.len(), 1);
    let closed = world.anonymous().push("webhook", webhook(&sink)).await;
    assert_eq!(closed.refusal(), (401, "token_missing"));
}

async fn tasks_of_a_service_that_went_away_wait_for_it() {
    let folder = folder(&[("pager.toml", PAGER)]);
    let mut world = World::builder().start_in(Arc::clone(&folder)).await;
    let (sink, ann) = (HttpSink::start().await, world.user("ann").await);
    let preset = ann.preset("pager", json!({ "server": sink.url() })).await;
    let pushed = ann.pushed(&preset, json!({ "content": "hi", "delay": 60 })).await;
    let direct = json!({ "server": sink.url(), "content": "hi", "delay": 60 }).to_string();
    let repeat = async |client: &Client| {
        client.send_with("POST", "/push/pager/", Some(JSON), &[("idempotency-key", "k")], direct.as_bytes()).await
    };
    let first = repeat(&ann).await.into_data();
    std::fs::remove_file(folder.path().join("services/pager.toml")).unwrap();
    world.restart().await;
    assert_eq!(ann.push(&preset, json!({ "content": "hi" })).await.refusal(), (422, "base_unknown"));
    assert_eq!(repeat(&ann).await.into_data(), first, "a call that was answered is answered so again");
    assert_eq!(repeat(&world.user("bob").await).await.refusal(), (404, "pusher_not_found"));
    world.forward(61_000);
    let id = text(&pushed["task_id"]);
    let task = loop {
        let task = ann.task(&id).await;
        if task["attempts"] == 1 && task["state"] != "running" {
            break task;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&task["state"], &task["error"]["code"]), (&json!("waiting"), &json!("pager:service_unknown")));
    std::fs::write(folder.path().join("services/pager.toml"), PAGER).unwrap();
    world.restart().await;
    world.forward(61_000);
    assert_eq!(sink.next().await.json()["text"], "hi");
    ann.get(&format!("/preset/{preset}/")).await.data();
}
