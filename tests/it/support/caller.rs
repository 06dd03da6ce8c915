//! A caller who expects anything: no server, half an answer, a refusal. For tests in which servers die.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Client;
use super::http_sink::HttpSink;
use super::install::{EMAIL, PASSWORD, login, with_admin};
use super::plain;
use super::program::{Program, Server};

/// What a push met.
#[derive(Debug, PartialEq)]
pub enum Met {
    /// 200, with its data.
    Accepted(Value),
    /// 503 `busy`, and when to come again.
    Busy(u64),
    /// No whole answer.
    Nothing,
}

/// Pushes once; fails on an answer that is neither an acceptance nor an honest refusal.
pub async fn push(address: SocketAddr, pusher: &str, params: &Value) -> Met {
    let body = params.to_string();
    let head = format!("POST /push/{pusher}/ HTTP/1.1\r\nhost: fanfare\r\nconnection: close\r\n");
    let request = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        String::from_utf8(answer).ok()
    };
    let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(15), exchange).await else { return Met::Nothing };
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Met::Nothing };
    // A server that is killed may leave half an answer; its length then tells.
    let Ok(mut body) = serde_json::from_str::<Value>(body) else { return Met::Nothing };
    match head.split(' ').nth(1) {
        Some("200") => Met::Accepted(body["data"].take()),
        Some("503") => {
            let wait =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("retry-after: ")?.parse().ok());
            assert_eq!(body["code"], "busy", "{answer}");
            Met::Busy(wait.unwrap_or_else(|| panic!("no Retry-After: {answer}")))
        }
        _ => panic!("neither accepted nor busy: {answer}"),
    }
}

/// An installation that says little of what it does.
pub fn owned() -> Program {
    with_admin().with("FANFARE_LOG_LEVEL", "warn,fanfare::cli=info")
}

/// Its administrator, logged in.
pub async fn owner(server: &Server) -> Client {
    let nobody = server.client(None);
    nobody.with_token(Some(&login(&nobody, EMAIL, PASSWORD).await.expect("a token")))
}

/// Waits until none of an account's tasks is under way.
pub async fn at_rest(ann: &Client, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let mut idle = true;
        // A task that moves while it is looked for is seen in one of these.
        for state in ["held", "waiting", "running", "waiting", "running"] {
            let left = ann.get(&format!("/task/?limit=1&state={state}")).await.into_data();
            if left["items"].as_array().is_none_or(|items| !items.is_empty()) {
                assert!(Instant::now() < deadline, "still under way after {limit:?}: {left}");
                idle = false;
            }
        }
        if idle {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How often each task arrived, by its `Idempotency-Key`.
pub fn arrivals(sink: &HttpSink) -> BTreeMap<String, Vec<Instant>> {
    let mut by_key: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for request in sink.requests() {
        by_key.entry(request.header("idempotency-key").expect("a key").to_owned()).or_default().push(request.at);
    }
    by_key
}

/// How many lines a log has but for those that each request leaves.
pub fn told(log: &str) -> usize {
    log.lines().filter(|line| !line.contains(" fanfare::api::frame: ")).count()
}

/// A number from the environment, for runs at length.
pub fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |value| value.parse().unwrap_or_else(|_| panic!("{variable}={value}")))
}

/// Waits until the server says that it is ready, or that it is not, and for how long it did not.
pub async fn until_ready(address: SocketAddr, ready: bool, limit: Duration) -> Duration {
    let begun = Instant::now();
    loop {
        let status = plain::get(address, "/readyz").await.status;
        if status == if ready { 200 } else { 503 } {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < limit, "/readyz answers {status} for {limit:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
