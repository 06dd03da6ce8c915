//! What surrounds every operation, on a server that runs: envelope, methods, slashes, languages, headers, probes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{Client, text};
use crate::support::plain;
use crate::support::scene::Scene;
use crate::support::world::{World, both, task_id, webhook};

both!(
    an_unknown_path_is_told_in_the_envelope,
    a_wrong_method_is_told_with_those_that_are_right,
    every_documented_operation_needs_a_token_unless_it_says_so,
    the_slash_at_the_end_is_optional_everywhere,
    errors_follow_the_language_asked_for,
    a_request_id_comes_back,
    every_answer_carries_the_security_headers,
    a_body_that_is_too_large_is_refused,
    it_is_alive_and_ready,
    what_is_counted_can_be_scraped,
    the_document_can_be_fetched,
    the_page_of_documents_is_whole,
    a_head_is_answered_without_a_body,
    what_follows_a_refusal_on_the_same_connection_is_answered,
    an_empty_id_is_not_left_out,
    a_head_does_nothing,
);

/// Sends the head, later the body, and then another request; answers whether the first answer says that it is the last,
/// and what the other one got.
async fn then_another(world: &World, head: &str, body: &[u8]) -> (bool, Option<u16>) {
    const PIECE: Duration = Duration::from_millis(30);
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let head = format!("{head}\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(PIECE).await;
    for piece in body.chunks(64 * 1024) {
        // Whoever answered that this is the last request may have hung up.
        let _ = stream.write_all(piece).await;
        tokio::time::sleep(PIECE).await;
    }
    let _ = stream.write_all(b"GET /service/bark/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers).await;
    let answers = String::from_utf8(answers).unwrap();
    let (first, rest) = answers.split_once("\r\n\r\n").unwrap();
    let second = rest.split("HTTP/1.1 ").nth(1).map(|answer| answer[..3].parse().unwrap());
    (first.contains("connection: close"), second)
}

async fn what_follows_a_refusal_on_the_same_connection_is_answered() {
    let world = World::start().await;
    let large = vec![b' '; 200_000];
    for head in ["POST /preset/", "POST /nowhere/", "DELETE /service/", "POST /account/user/login/", "POST /push/x/"] {
        for body in [&b"{}"[..], &large] {
            let told = then_another(&world, &format!("{head} HTTP/1.1"), body).await;
            assert_eq!(told, (false, Some(200)), "{head} {}", body.len());
        }
    }
    let told = then_another(&world, "POST /preset/ HTTP/1.1", &vec![b' '; 300_000]).await;
    assert_eq!(told, (true, None), "more than is taken");
}

async fn an_empty_id_is_not_left_out() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for (method, path) in
        [("GET", "/preset//"), ("GET", "/task//"), ("PATCH", "/account/user//"), ("DELETE", "/group//"), ("GET", "//")]
    {
        assert_eq!(ann.send(method, path, None, b"{}").await.refusal(), (404, "path_not_found"), "{method} {path}");
    }
}

/// Path and method of every documented operation, and its description.
fn operations() -> Vec<(String, String, Value)> {
    let document = fanfare::api::document();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            all.push((path.clone(), method.to_ascii_uppercase(), operation.clone()));
        }
    }
    assert!(all.len() > 25, "{}", all.len());
    all
}

/// A path with a value in place of every parameter.
fn filled(path: &str) -> String {
    let fill = |segment: &str| if segment.starts_with('{') { "x0".to_owned() } else { segment.to_owned() };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

async fn ask(client: &Client, method: &str, path: &str) -> (u16, String, Value) {
    let answer = client.send(method, path, None, b"").await;
    (answer.status, answer.code().to_owned(), answer.body["data"].clone())
}

async fn an_unknown_path_is_told_in_the_envelope() {
    let world = World::start().await;
    let anyone = world.anonymous();
    for path in
        ["/", "/nowhere/", "/push/", "/push/a/b/c/", "/preset/a/b/", "/account/", "/docs/x", "/%00/", "//", "/?a=1"]
    {
        for method in ["GET", "POST", "DELETE", "PUT", "BREW"] {
            let answer = anyone.send(method, path, None, b"").await;
            assert_eq!(answer.refusal(), (404, "path_not_found"), "{method} {path}");
        }
    }
    assert_eq!(anyone.get("/push/%FF/").await.refusal(), (400, "request_invalid"));
}

/// Paths where a GET does something.
const ACT: [&str; 3] = ["/push/", "/revoke/", "/account/user/confirm/{"];

async fn a_wrong_method_is_told_with_those_that_are_right() {
    let world = World::start().await;
    let anyone = world.anonymous();
    let operations = operations();
    for (path, ..) in &operations {
        let mut right: Vec<&str> =
            operations.iter().filter(|(known, ..)| known == path).map(|(_, method, _)| method.as_str()).collect();
        if right.contains(&"GET") && !ACT.iter().any(|acting| path.starts_with(acting)) {
            right.push("HEAD");
        }
        right.sort_unstable();
        for wrong in
            ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].into_iter().filter(|word| !right.contains(word))
        {
            let answer = anyone.send(wrong, &filled(path), None, b"").await;
            assert_eq!(answer.refusal(), (405, "method_not_allowed"), "{wrong} {path}");
            assert_eq!(answer.header("allow"), Some(&*right.join(", ")), "{wrong} {path}");
        }
    }
    let answer = anyone.send("POST", "/healthz", None, b"").await;
    assert_eq!((answer.refusal(), answer.header("allow")), ((405, "method_not_allowed"), Some("GET, HEAD")));
}

async fn every_documented_operation_needs_a_token_unless_it_says_so() {
    let world = World::start().await;
    for (path, method, operation) in operations() {
        let (status, code, _) = ask(&world.anonymous(), &method, &filled(&path)).await;
        let ways = operation["security"].as_array().unwrap();
        let refused = (status, &*code) == (401, "token_missing");
        // Whether some need one depends on the Pusher, or on the kind of invitation; this one is unknown.
        if ways.contains(&json!({})) {
            assert!(refused || matches!(status, 200 | 404 | 422), "{method} {path}: {status} {code}");
        } else {
            assert_eq!(refused, !ways.is_empty(), "{method} {path}: {status} {code}");
        }
    }
}

async fn the_slash_at_the_end_is_optional_everywhere() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for (path, method, _) in operations() {
        assert!(path.ends_with('/'), "{path}");
        let with = filled(&path);
        let without = with.trim_end_matches('/');
        // Logging out ends a session; that needs one each time.
        let fresh = path.contains("logout");
        let expected = ask(&if fresh { world.user("ann").await } else { ann.clone() }, &method, &with).await;
        assert_ne!(expected.1, "path_not_found", "{method} {path}");
        for other in [without.to_owned(), format!("{without}?_x=/"), format!("{with}?_x=/")] {
            let ann = if fresh { world.user("ann").await } else { ann.clone() };
            assert_eq!(ask(&ann, &method, &other).await, expected, "{method} {other}");
        }
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_eq!(plain::get(world.address(), &path).await.status, 200, "{path}");
        }
    }
}

/// What is said of the body `{`.
const JSON_BROKEN: (&str, &str) =
    ("The body is not well-formed JSON: see line 1, column 1.", "请求体不是合法的 JSON：见第 1 行第 1 列。");

async fn errors_follow_the_language_asked_for() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for (method, path, body, english, chinese) in [
        ("GET", "/nowhere/", "", "There is no such path.", "路径不存在。"),
        ("GET", "/task/x/", "", "There is no such task.", "任务不存在。"),
        ("PUT", "/preset/", "", "This path does not take this method.", "该路径不支持此请求方法。"),
        ("POST", "/preset/", "{", JSON_BROKEN.0, JSON_BROKEN.1),
        ("POST", "/preset/", "{}", "name: is required; base_pusher: is required", "name: 必填；base_pusher: 必填"),
        ("GET", "/preset/?limit=0", "", "limit: must be at least 1", "limit: 不能小于 1"),
        ("GET", "/preset/", "", "OK", "成功"),
    ] {
        for (language, expected) in [
            ("en", english),
            ("zh", chinese),
            ("zh-CN,zh;q=0.9,en;q=0.8", chinese),
            ("fr, en;q=0.5", english),
            ("", english),
        ] {
            let headers = [("accept-language", language)];
            let answer = ann.send_with(method, path, Some("application/json"), &headers, body.as_bytes()).await;
            assert_eq!(answer.body["message"], expected, "{method} {path} {language}");
        }
    }
    let unknown = ann.anonymous().send_with("GET", "/preset/", None, &[("accept-language", "zh-TW")], b"").await;
    assert_eq!(unknown.body["message"], "需要令牌，请放在请求头 `Authorization: Bearer <令牌>` 中。");
}

async fn a_request_id_comes_back() {
    let world = World::start().await;
    let anyone = world.anonymous();
    for path in ["/service/", "/nowhere/", "/preset/"] {
        let answer = anyone.send_with("GET", path, None, &[("x-request-id", "My_id-1.2")], b"").await;
        assert_eq!(answer.header("x-request-id"), Some("My_id-1.2"), "{path}");
        let [one, other] = [anyone.get(path).await, anyone.get(path).await];
        let ids = [one.header("x-request-id").unwrap(), other.header("x-request-id").unwrap()];
        assert!(ids[0] != ids[1] && ids[0].len() == 26, "{ids:?}");
        let odd = anyone.send_with("GET", path, None, &[("x-request-id", "a b<script>")], b"").await;
        assert_eq!(odd.header("x-request-id").unwrap().len(), 26, "{path}");
    }
}

async fn every_answer_carries_the_security_headers() {
    let world = World::start().await;
    for path in ["/service/", "/nowhere/", "/preset/", "/healthz", "/metrics", "/openapi.json", "/docs/"] {
        let answer = plain::get(world.address(), path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("server"), None, "{path}");
    }
}

async fn a_body_that_is_too_large_is_refused() {
    let world = World::builder().body_kib(4).start().await;
    let ann = world.user("ann").await;
    let params = |length| json!({ "name": "n", "base_pusher": "webhook", "params": { "a": "x".repeat(length) } });
    ann.post("/preset/", params(3900)).await.data();
    let refused = ann.post("/preset/", params(4096)).await;
    assert_eq!(refused.refusal(), (413, "body_too_large"));
    assert_eq!(refused.body["data"], json!({ "limit": 4096 }));
    let login = json!({ "email": "a@b", "password": "x".repeat(5000) });
    assert_eq!(ann.anonymous().post("/account/user/login/", login).await.refusal(), (413, "body_too_large"));
}

async fn it_is_alive_and_ready() {
    let world = World::start().await;
    let alive = plain::get(world.address(), "/healthz").await;
    assert_eq!((alive.status, &*alive.body), (200, "ok\n"));
    let ready = plain::get(world.address(), "/readyz").await;
    assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
    world.engine().store.close().await;
    let lame = plain::get(world.address(), "/readyz").await;
    assert_eq!((lame.status, &*lame.body), (503, "the database does not answer\n"));
    assert_eq!(plain::get(world.address(), "/healthz").await.status, 200, "alive all the same");
    assert_eq!(world.anonymous().push("webhook", json!({ "_token": "x" })).await.refusal(), (503, "busy"));
}

/// The value of a line of the scrape.
async fn counted(world: &World, line: &str) -> f64 {
    let text = plain::get(world.address(), "/metrics").await.body;
    let value = text.lines().find_map(|have| have.strip_prefix(line)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
}

async fn what_is_counted_can_be_scraped() {
    let scene = Scene::start().await;
    let world = &scene.world;
    let answer = plain::get(world.address(), "/metrics").await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(counted(world, "fanfare_pushes_accepted_total").await as i64, 0);
    scene.push(json!({ "content": "c" })).await;
    scene.push(json!({ "delay": 60 })).await;
    let revoked = scene.task(json!({ "delay": 60 })).await;
    scene.ann.get(&format!("/revoke/task/{revoked}/")).await.data();
    scene.world.settle().await;
    scene.ann.push(&scene.hook, json!({ "delay": "soon" })).await;
    for (line, expected) in [
        ("fanfare_pushes_accepted_total", 3),
        ("fanfare_tasks_accepted_total{service=\"webhook\"}", 3),
        ("fanfare_tasks_delivered_total{service=\"webhook\"}", 1),
        ("fanfare_tasks_failed_total{service=\"webhook\"}", 0),
        ("fanfare_tasks_retried_total{service=\"webhook\"}", 0),
        ("fanfare_tasks_revoked_total{service=\"webhook\"}", 1),
        ("fanfare_tasks{state=\"waiting\"}", 1),
        ("fanfare_tasks{state=\"running\"}", 0),
        ("fanfare_delivery_lateness_seconds_count", 1),
        ("fanfare_attempt_duration_seconds_count{service=\"webhook\"}", 1),
        ("fanfare_http_requests_total{status=\"4xx\"}", 1),
    ] {
        assert_eq!(counted(world, line).await as i64, expected, "{line}");
    }
    let text = plain::get(world.address(), "/metrics").await.body;
    assert!(!text.contains(&scene.hook) && text.ends_with("# EOF\n"), "{text}");
}

async fn the_document_can_be_fetched() {
    let world = World::start().await;
    let answer = plain::get(world.address(), "/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), fanfare::api::document());
}

async fn the_page_of_documents_is_whole() {
    let world = World::start().await;
    let page = plain::get(world.address(), "/docs/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.starts_with("<!DOCTYPE html>") && page.body.contains("/push/{pusher_id}/{content}/"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("http"), "{policy}");
}

async fn a_head_does_nothing() {
    let scene = Scene::start().await;
    let own = scene.ann.preset("webhook", webhook(&scene.sink)).await;
    let pushed = scene.ann.pushed(&own, json!({ "content": "x", "delay": 3600 })).await;
    let (push, waiting) = (text(&pushed["push_id"]), task_id(&pushed));
    let token = format!("Bearer {}", scene.ann.token());
    for path in [
        format!("/push/{own}/"),
        format!("/push/{own}/hello/"),
        format!("/revoke/task/{waiting}/"),
        format!("/revoke/push/{push}/"),
    ] {
        let headers = [("authorization", &*token)];
        let answer = plain::ask(scene.world.address(), "HEAD", &path, &headers).await;
        let allowed = if path.starts_with("/push/") { "GET, POST" } else { "GET" };
        assert_eq!((answer.status, answer.header("allow"), &*answer.body), (405, Some(allowed), ""), "{path}");
    }
    let tasks = scene.ann.get("/task/").await;
    let states: Vec<_> = tasks.data()["items"].as_array().unwrap().iter().map(|task| &task["state"]).collect();
    assert_eq!(states, ["waiting"]);
}

async fn a_head_is_answered_without_a_body() {
    let world = World::start().await;
    for (path, status) in
        [("/service/", 200), ("/healthz", 200), ("/docs/", 200), ("/nowhere/", 404), ("/preset/", 401)]
    {
        let answer = plain::ask(world.address(), "HEAD", path, &[]).await;
        assert_eq!((answer.status, &*answer.body), (status, ""), "{path}");
    }
}
