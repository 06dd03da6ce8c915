//! `fanfare push`, from its words to the request at a receiver.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::http_sink::{HttpSink, Play, Recorded};
use crate::support::install::{logged_in, printed, with_admin};
use crate::support::program::{Ended, Program};
use crate::support::world::webhook;

/// A client in a folder of its own, for this server.
fn pusher(address: SocketAddr) -> Program {
    Program::new().with("FANFARE_SERVER", &format!("http://{address}"))
}

/// Why it failed: what is wrong with a push takes a line each.
fn failed(ended: &Ended) -> &str {
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
    ended.err.strip_prefix("fanfare: ").expect("the program's name first")
}

#[tokio::test]
async fn what_is_pushed_from_a_shell_arrives() {
    let program = with_admin();
    let (server, token) = logged_in(&program).await;
    let sink = HttpSink::start().await;
    let preset = server.client(Some(&token)).preset("webhook", webhook(&sink)).await;
    let shell = pusher(server.address);

    let told = printed(shell.run(&["push", &preset, "50 % of 天/地 & more?"]).await);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("push ") && lines[1].starts_with("task "), "{told}");
    assert_eq!(sink.next().await.json()["content"], "50 % of 天/地 & more?");

    let args = ["push", &preset, "-", "-p", "title=a=b&c", "-p", "tags=x", "-p", "tags=y z"];
    printed(shell.run_with(&args, "from a pipe\n").await);
    let body = sink.next().await.json();
    assert_eq!(body, json!({ "content": "from a pipe", "title": "a=b&c", "tags": ["x", "y z"] }));

    let twice = ["push", &preset, "-5 degrees", "--idempotency-key", "frost", "--json"];
    let first: Value = serde_json::from_str(&printed(shell.run(&twice).await)).unwrap();
    let second: Value = serde_json::from_str(&printed(shell.run(&twice).await)).unwrap();
    assert_eq!(first["data"]["push_id"], second["data"]["push_id"]);
    assert_eq!(sink.next().await.json()["content"], "-5 degrees");
    printed(shell.run(&["push", &preset, "last", "--server", &format!("http://{}/", server.address)]).await);
    assert_eq!(sink.next().await.json()["content"], "last", "the one before came once");
}

#[tokio::test]
async fn what_is_refused_says_why_and_fails() {
    let program = with_admin();
    let (server, token) = logged_in(&program).await;
    let shell = pusher(server.address);
    let told = shell.run(&["push", "webhook", "hello"]).await;
    assert!(failed(&told).contains("(token_missing, 401)"), "{told:?}");
    let shell = shell.with("FANFARE_TOKEN", &token);
    let told = shell.run(&["push", "webhook", "hello", "-p", "delay=soon"]).await;
    assert!(failed(&told).starts_with("the push is refused (param_invalid, 422)\n"), "{told:?}");
    assert!(told.err.contains("\n  endpoint: ") && told.err.contains("\n  delay: "), "{told:?}");
    let told = shell.run(&["push", "webhook", "hello", "-p", "delay"]).await;
    assert!(failed(&told).contains("delay: write name=value"), "{told:?}");
    let told = shell.run(&["push", "webhook", "hello", "--server", "localhost:8080"]).await;
    assert!(failed(&told).contains("localhost:8080: the server must be a URL"), "{told:?}");
    let told = shell.run(&["push", "webhook", "hello", "--json"]).await;
    let answer: Value = serde_json::from_str(&told.out).expect("the answer as it came");
    assert_eq!((told.code, &answer["code"]), (Some(1), &json!("param_missing")), "{told:?}");
    assert!(told.err.contains("\n  endpoint: "), "{told:?}");
    let long = "x".repeat(60_000);
    let told = shell.run(&["push", "webhook", &long, "-p", "a=b"]).await;
    assert!(failed(&told).contains("too long"), "{told:?}");
}

#[tokio::test]
async fn whether_it_was_accepted_does_not_depend_on_who_reads_the_answer() {
    let program = with_admin();
    let (server, token) = logged_in(&program).await;
    let sink = HttpSink::start().await;
    let preset = server.client(Some(&token)).preset("webhook", webhook(&sink)).await;
    let shell = pusher(server.address);
    let to_full = |streams: &str| format!("exec \"$0\" \"$@\" {streams}");

    let told = shell.run_by(&["sh", "-c", &to_full(">/dev/full")], &["push", &preset, "once"], "").await;
    assert_eq!(told.code, Some(0), "a script that tried again would push twice: {told:?}");
    assert!(told.err.starts_with("fanfare: accepted, but it could not be said: "), "{told:?}");
    assert_eq!(sink.next().await.json()["content"], "once");
    let told = shell.run_by(&["sh", "-c", &to_full("2>/dev/full")], &["push", "nobody", "hello"], "").await;
    assert_eq!(told.code, Some(1), "{told:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_for_as_long_as_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let told = pusher(address).run(&["push", "webhook", "hello", "--patience", "0"]).await;
    assert!(failed(&told).contains(&format!("http://{address}: ")), "{told:?}");
    assert!(told.err.contains("(connect_failed)"), "{told:?}");
}

#[tokio::test]
async fn one_that_is_busy_is_tried_again_with_the_same_key() {
    let busy = HttpSink::start().await;
    let wait = Play::status(503).with_header("retry-after", "0");
    let moved = Play::status(301).with_header("location", "https://new.example/");
    busy.script(vec![wait, Play::CloseEarly, moved]);
    let shell = Program::new().with("FANFARE_SERVER", &format!("{}/under/", busy.url()));
    let told = shell.with("FANFARE_TOKEN", "fft_x\n").run(&["push", "some thing", "hello"]).await;
    assert!(failed(&told).contains("answered 301 to https://new.example/"), "{told:?}");
    let tried = busy.requests();
    assert_eq!(tried.len(), 3);
    let seen = |request: &Recorded| {
        (request.target.clone(), request.text(), request.header("idempotency-key").map(str::to_owned))
    };
    assert!(tried.iter().all(|request| seen(request) == seen(&tried[0])), "{tried:?}");
    assert_eq!((&*tried[0].target, &*tried[0].text()), ("/under/push/some%20thing/", "hello"));
    assert_eq!(tried[0].header("authorization"), Some("Bearer fft_x"));
    assert!(tried[0].header("idempotency-key").is_some());
}

#[tokio::test]
async fn one_that_asks_for_all_eternity_is_not_waited_for() {
    let sink = HttpSink::start().await;
    let refusal = r#"{"success":false,"code":"quota_exceeded","message":"Tomorrow.","data":null}"#;
    sink.script(vec![Play::json(429, refusal).with_header("retry-after", &u64::MAX.to_string())]);
    let told = Program::new().with("FANFARE_SERVER", &sink.url()).run(&["push", "webhook"]).await;
    assert_eq!(failed(&told), "Tomorrow. (quota_exceeded, 429)\n");
    assert_eq!(sink.requests().len(), 1);
}
