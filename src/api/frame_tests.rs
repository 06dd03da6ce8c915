use std::io::Write;
use std::sync::Mutex;

use poem::http::{Method, StatusCode};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{EndpointExt, IntoEndpoint, Route};
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::envelope::{ApiError, Reply};
use crate::api::input::Input;
use crate::error::Error;

#[derive(Object)]
struct Draft {
    name: String,
}

struct Tiny;

#[OpenApi]
impl Tiny {
    #[oai(path = "/push/:pusher_id/:content/", method = "get", operation_id = "push")]
    async fn push(&self, pusher_id: Path<String>, content: Path<String>) -> Reply<Vec<String>> {
        Reply(vec![pusher_id.0, content.0])
    }

    #[oai(path = "/preset/", method = "post", operation_id = "create")]
    async fn create(&self, body: Input<Draft>) -> Result<Reply<String>, ApiError> {
        Ok(Reply(body.0.name))
    }

    #[oai(path = "/preset/", method = "get", operation_id = "list")]
    async fn list(&self, limit: Query<u32>) -> Result<Reply<u32>, ApiError> {
        Ok(Reply(limit.0))
    }

    #[oai(path = "/task/:task_id/resend/", method = "put", operation_id = "resend")]
    async fn resend(&self, task_id: Path<String>) -> Reply<String> {
        Reply(task_id.0)
    }

    #[oai(path = "/task/:task_id/", method = "get", operation_id = "task")]
    async fn task(&self, task_id: Path<String>) -> Result<Reply<String>, ApiError> {
        assert!(task_id.0 != "panic", "told to");
        Err(Error::NotFound("task").into())
    }
}

fn server() -> impl Endpoint<Output = Response> {
    let service = OpenApiService::new(Tiny, "tiny", "1");
    let document: Value = serde_json::from_str(&service.spec()).unwrap();
    let (routes, metrics) = (Routes::of_document(&document), Arc::new(Metrics::new()));
    let options = FrameOptions { routes, body_limit: 64, gate: Gate::open(), metrics, closing: Arc::default() };
    let plain = poem::endpoint::make_sync(|_| "hello");
    let routes = Route::new().at("/plain", poem::get(plain)).nest("/", service.into_endpoint());
    frame(routes.boxed(), options)
}

/// A request by method and path, with headers and a body.
async fn send(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut request = Request::builder().method(method).uri(path.parse().unwrap());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server().get_response(request.body(body)).await
}

async fn get(path: &str) -> Response {
    send(Method::GET, path, &[], ()).await
}

async fn post(content_type: &str, body: impl Into<Body>) -> Response {
    send(Method::POST, "/preset/", &[("content-type", content_type)], body).await
}

/// The body of an answer, once its status and code are what they should be.
async fn told(response: Response, status: u16, code: &str) -> Value {
    let have = response.status().as_u16();
    let body: Value = response.into_body().into_json().await.unwrap();
    assert_eq!((have, &body["success"], &body["code"]), (status, &json!(code == "0"), &json!(code)), "{body}");
    assert!(body["message"].is_string() && body.get("data").is_some(), "{body}");
    body
}

#[tokio::test]
async fn an_unknown_path_is_told_in_the_envelope() {
    for path in ["/nowhere/", "/", "/push/", "/push/a/b/c/"] {
        told(get(path).await, 404, "path_not_found").await;
    }
    told(get("/task/t1/").await, 404, "task_not_found").await;
}

#[tokio::test]
async fn a_target_without_a_path_is_no_reason_to_break() {
    told(send(Method::CONNECT, "example.org:443", &[], ()).await, 404, "path_not_found").await;
    told(send(Method::OPTIONS, "*", &[], ()).await, 404, "path_not_found").await;
    told(get("http://example.org/push/p/a/").await, 200, "0").await;
    told(get("http://example.org").await, 404, "path_not_found").await;
}

/// What a real server answers to these bytes.
async fn over_the_wire(request: &str) -> String {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
    let address = acceptor.local_addr()[0].to_string();
    let running = tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(server()));
    let mut stream = tokio::net::TcpStream::connect(address.trim_start_matches("socket://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    running.abort();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_real_server_answers_the_same() {
    let head = "Host: h\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let chunk = format!("28\r\n{}\r\n", "x".repeat(0x28));
    let chunked = format!("POST /preset/ HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let answer = over_the_wire(&chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
    let answer = over_the_wire(&format!("GET /push/p/a%2Fb%25/ HTTP/1.1\r\n{head}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("[\"p\",\"a/b%\"]"), "{answer}");
    let answer = over_the_wire(&format!("HEAD /nowhere/ HTTP/1.1\r\n{head}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_wrong_method_is_told_with_those_that_are_right() {
    let response = send(Method::DELETE, "/preset/", &[], ()).await;
    assert_eq!(response.header("allow"), Some("GET, HEAD, POST"));
    told(response, 405, "method_not_allowed").await;
    let response = send(Method::POST, "/push/p/x/", &[], ()).await;
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
    told(response, 405, "method_not_allowed").await;
    let response = send(Method::GET, "/task/t/resend/", &[], ()).await;
    assert_eq!(response.header("allow"), Some("PUT"));
    let response = send(Method::POST, "/plain", &[], ()).await;
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn bodies_are_refused_by_what_is_wrong_with_them() {
    told(post("application/json", "{\"name\": ").await, 400, "body_invalid").await;
    told(post("application/json", vec![b'"', 0xff, b'"']).await, 400, "body_invalid").await;
    told(post("application/x-www-form-urlencoded", "name=%ff").await, 400, "body_invalid").await;
    told(post("text/csv", "name").await, 415, "media_type_unsupported").await;
    told(send(Method::POST, "/preset/", &[], "name").await, 415, "media_type_unsupported").await;
    let body = told(post("application/json", "{}").await, 422, "param_missing").await;
    assert_eq!(body["data"], json!([{ "param": "name", "problem": "is required", "code": "param_missing" }]));
    told(post("application/json; charset=utf-8", "{\"name\":\"x\"}").await, 200, "0").await;
    told(post("application/x-www-form-urlencoded", "name=x").await, 200, "0").await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(64));
    let length = large.len().to_string();
    let headers = [("content-type", "application/json"), ("content-length", length.as_str())];
    let announced = send(Method::POST, "/preset/", &headers, large.clone()).await;
    assert_eq!(told(announced, 413, "body_too_large").await["data"], json!({ "limit": 64 }));
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let chunks: Vec<io::Result<Vec<u8>>> = large.as_bytes().chunks(10).map(|chunk| Ok(chunk.to_vec())).collect();
    let body = Body::from_bytes_stream(futures_util::stream::iter(chunks));
    told(send(Method::POST, "/preset/", &headers, body).await, 413, "body_too_large").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_as_such() {
    let chunks: Vec<io::Result<Vec<u8>>> = vec![Ok(b"{".to_vec()), Err(io::Error::other("reset"))];
    let body = Body::from_bytes_stream(futures_util::stream::iter(chunks));
    told(post("application/json", body).await, 400, "body_unreadable").await;
}

#[tokio::test]
async fn a_query_that_does_not_fit_is_told_by_parameter() {
    let body = told(get("/preset/").await, 422, "param_missing").await;
    assert_eq!(body["data"][0]["param"], "limit");
    let body = told(get("/preset/?limit=hunter2").await, 422, "param_invalid").await;
    assert!(!body.to_string().contains("hunter2"), "{body}");
}

#[tokio::test]
async fn a_panic_is_told_without_its_text() {
    let body = told(get("/task/panic/").await, 500, "broken").await;
    assert!(!body.to_string().contains("told to"), "{body}");
}

#[tokio::test]
async fn the_path_may_end_in_a_slash_and_content_too() {
    for (path, content) in [
        ("/push/p/a/", "a"),
        ("/push/p/a", "a"),
        ("/push/p/a//", "a"),
        ("/push/p/a%2F/", "a/"),
        ("/push/p/a%2F", "a/"),
        ("/push/p/%2F%2F/", "//"),
        ("/push/p/%252F/?x=1/", "%2F"),
        ("/push/p/%E4%BD%A0%20b/", "你 b"),
    ] {
        let body = told(get(path).await, 200, "0").await;
        assert_eq!(body["data"], json!(["p", content]), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_is_refused() {
    told(get("/push/p/%FF/").await, 400, "request_invalid").await;
}

#[tokio::test]
async fn texts_follow_the_language_asked_for() {
    let ask = async |path, language| send(Method::GET, path, &[("accept-language", language)], ()).await;
    assert_eq!(told(ask("/task/t1/", "zh-CN,en;q=0.5").await, 404, "task_not_found").await["message"], "任务不存在。");
    assert_eq!(told(ask("/task/t1/", "fr").await, 404, "task_not_found").await["message"], "There is no such task.");
    let body = told(ask("/x/", "zh").await, 404, "path_not_found").await;
    assert_eq!(body["message"], "路径不存在。");
}

#[tokio::test]
async fn a_harmless_request_id_comes_back_and_any_other_is_replaced() {
    let longest = "a".repeat(64);
    for id in ["a", "My_id-1.2", longest.as_str()] {
        let response = send(Method::GET, "/x/", &[(REQUEST_ID, id)], ()).await;
        assert_eq!(response.header(REQUEST_ID), Some(id));
    }
    let too_long = "a".repeat(65);
    for id in ["", "a b", "a\"b", too_long.as_str()] {
        let response = send(Method::GET, "/x/", &[(REQUEST_ID, id)], ()).await;
        let given = response.header(REQUEST_ID).unwrap();
        assert!(given != id && given.len() == 26, "{given}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    for path in ["/push/p/a/", "/nowhere/", "/task/panic/", "/plain"] {
        let response = get(path).await;
        for (name, value) in HEADERS {
            assert_eq!(response.headers()[&name], value, "{path} {name}");
        }
    }
}

#[test]
fn answers_are_counted_by_class() {
    let metrics = Arc::new(Metrics::new());
    let options = FrameOptions {
        routes: Routes::default(),
        body_limit: 1,
        gate: Gate::open(),
        metrics: metrics.clone(),
        closing: Arc::default(),
    };
    let server = frame(Route::new(), options);
    assert_eq!(block_on(server.get_response(Request::default())).status(), StatusCode::NOT_FOUND);
    assert!(metrics.encode().contains("fanfare_http_requests_total{status=\"4xx\"} 1"));
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

#[test]
fn the_log_names_the_route_and_neither_pusher_nor_content_nor_token() {
    let lines = Lines::default();
    let sink = lines.clone();
    let logger = tracing_subscriber::fmt()
        .fmt_fields(crate::logs::TextFields::default())
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || sink.clone())
        .finish();
    // With a single subscriber, whether a line is wanted is settled by the thread that first comes by it,
    // and that may be another test's. A second one makes it ask all of them.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::subscriber::with_default(logger, || {
        block_on(async {
            let path = "/push/secretid/secretword/?_token=secrettoken";
            send(Method::GET, path, &[(REQUEST_ID, "r1")], ()).await;
            get("/push/secretid/secretword/secretmore/").await;
            get("/task/panic/?_token=secrettoken").await;
        });
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let first = text.lines().next().unwrap();
    assert!(first.contains("request_id=r1") && first.contains("GET /push/{pusher_id}/{content} 200 in "), "{first}");
    assert!(text.contains("GET /push/… 404 in "), "{text}");
    assert!(text.contains("an endpoint panicked: told to"), "{text}");
}
