//! HTTP attempts against a real server on loopback: what arrives, what comes back, and how each thing that can go
//! wrong is told.

use std::time::{Duration, Instant};

use fanfare::domain::delivery::{Answer, Outgoing, Request, SendFailure};
use fanfare::send::guard::Allow;
use fanfare::send::{Sender, SenderConfig};

use crate::support::certificates::Authority;
use crate::support::http_sink::{HttpSink, Play};

/// Long enough for a busy machine, short enough to wait for.
const ATTEMPT: Duration = Duration::from_millis(400);

fn config() -> SenderConfig {
    SenderConfig { allow: Allow::parse("127.0.0.0/8").unwrap(), ..SenderConfig::default() }
}

fn sender() -> Sender {
    Sender::new(config()).unwrap()
}

fn hasty() -> Sender {
    Sender::new(SenderConfig { attempt_timeout: ATTEMPT, ..config() }).unwrap()
}

fn request(method: &str, url: String) -> Request {
    Request { method: method.to_owned(), url, headers: Vec::new(), body: Vec::new() }
}

fn with_headers(request: Request, headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Request { headers, ..request }
}

async fn send(sender: &Sender, request: Request) -> Result<Answer, SendFailure> {
    sender.send(Outgoing::Http(request)).await
}

async fn get(sender: &Sender, url: impl Into<String>) -> Result<Answer, SendFailure> {
    send(sender, request("GET", url.into())).await
}

fn told(failure: &SendFailure) -> (&str, bool) {
    (failure.code, failure.retry)
}

#[tokio::test]
async fn a_request_arrives_as_it_is_and_the_answer_comes_back() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::json(429, r#"{"error":"slow down"}"#).with_header("Retry-After", "7")]);
    let url = format!("{}/hook/a%2Fb?q=%E4%BD%A0&x=1+2", sink.url());
    let headers = [("content-type", "application/json"), ("x-title", "磁盘已满"), ("authorization", "Bearer t")];
    let body = r#"{"a":1}"#.as_bytes().to_vec();
    let request = with_headers(Request { body, ..request("POST", url) }, &headers);
    let answer = send(&sender(), request).await.unwrap();

    assert_eq!((answer.status, &*answer.body), (429, &br#"{"error":"slow down"}"#[..]));
    assert!(answer.headers.contains(&("retry-after".to_owned(), "7".to_owned())), "{:?}", answer.headers);
    let arrived = sink.next().await;
    assert_eq!((&*arrived.method, &*arrived.target), ("POST", "/hook/a%2Fb?q=%E4%BD%A0&x=1+2"));
    for (name, value) in headers {
        assert_eq!(arrived.header(name), Some(value), "{name}");
    }
    assert_eq!(arrived.json()["a"], 1);
    assert!(arrived.header("user-agent").unwrap().starts_with("Fanfare/"));
    for unwanted in ["accept-encoding", "cookie", "referer"] {
        assert_eq!(arrived.header(unwanted), None, "{unwanted}");
    }
}

#[tokio::test]
async fn every_status_is_an_answer() {
    let sink = HttpSink::start().await;
    let sender = sender();
    for status in [200, 204, 304, 400, 401, 404, 410, 500, 503] {
        sink.script(vec![Play::status(status)]);
        assert_eq!(get(&sender, sink.url()).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn an_empty_post_says_that_it_is_empty() {
    let sink = HttpSink::start().await;
    send(&sender(), request("POST", sink.url())).await.unwrap();
    assert_eq!(sink.only_request().header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_compressed_answer_and_a_cookie_are_left_alone() {
    let sink = HttpSink::start().await;
    let sender = sender();
    sink.script(vec![
        Play::json(200, "zipped").with_header("content-encoding", "gzip").with_header("set-cookie", "a=b"),
    ]);
    assert_eq!(get(&sender, sink.url()).await.unwrap().body, b"zipped");
    get(&sender, sink.url()).await.unwrap();
    assert_eq!(sink.requests()[1].header("cookie"), None);
}

/// Each kept connection is one that clients and the database cannot have.
#[tokio::test]
async fn only_so_many_connections_are_kept_however_many_hosts_there_are() {
    let sender = Sender::new(SenderConfig { idle: 3, ..config() }).unwrap();
    let mut sinks = Vec::new();
    for _ in 0..12 {
        sinks.push(HttpSink::start().await);
    }
    for _ in 0..2 {
        for (number, sink) in sinks.iter().enumerate() {
            let name = if number % 2 == 0 { "ann:secret@" } else { "" };
            assert_eq!(get(&sender, sink.url().replace("//", &format!("//{name}"))).await.unwrap().status, 200);
        }
    }
    let opened: Vec<usize> = sinks.iter().map(HttpSink::connections).collect();
    assert_eq!(opened, [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
    let began = Instant::now();
    while sinks.iter().map(HttpSink::open).sum::<usize>() > 3 {
        assert!(began.elapsed() < Duration::from_secs(10), "the others are closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn connections_are_kept() {
    let sink = HttpSink::start().await;
    let sender = sender();
    for _ in 0..5 {
        send(&sender, request("POST", sink.url())).await.unwrap();
    }
    assert_eq!((sink.expect(5).await.len(), sink.connections()), (5, 1));
}

#[tokio::test]
async fn the_callers_user_agent_wins() {
    let sink = HttpSink::start().await;
    let request = with_headers(request("GET", sink.url()), &[("user-agent", "mine")]);
    send(&sender(), request).await.unwrap();
    assert_eq!(sink.only_request().header("user-agent"), Some("mine"));
}

#[tokio::test]
async fn headers_that_frame_the_message_are_not_the_callers_to_set() {
    let sink = HttpSink::start().await;
    let sender = sender();
    let wrong = [
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("host", "internal.example"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("x-a", "b\r\nx-c: d"),
        ("x a", "b"),
        ("", "b"),
    ];
    for header in wrong {
        let failure = send(&sender, with_headers(request("POST", sink.url()), &[header])).await.unwrap_err();
        assert_eq!(told(&failure), ("request_invalid", false), "{header:?}");
    }
    assert!(sink.requests().is_empty());
    let host = format!("127.0.0.1:{}", sink.port());
    let signed = Request { body: b"12".to_vec(), ..request("POST", sink.url()) };
    send(&sender, with_headers(signed, &[("host", &host), ("content-length", "2")])).await.unwrap();
    assert_eq!(sink.only_request().headers.iter().filter(|(name, _)| name == "host").count(), 1);
}

#[tokio::test]
async fn what_is_no_request_is_final() {
    let sender = sender();
    let wrong = [
        ("GET", "not an address"),
        ("GET", "/relative"),
        ("GET", "ftp://example.org/"),
        ("GET", "file:///etc/passwd"),
        ("GET", "http://"),
        ("CONNECT", "http://127.0.0.1/"),
        ("G T", "http://127.0.0.1/"),
        ("", "http://127.0.0.1/"),
    ];
    for (method, url) in wrong {
        let failure = send(&sender, request(method, url.to_owned())).await.unwrap_err();
        assert_eq!(told(&failure), ("request_invalid", false), "{method} {url}");
    }
}

#[tokio::test]
async fn a_private_address_is_refused_before_anything_is_sent() {
    let sink = HttpSink::start().await;
    let sender = Sender::new(SenderConfig::default()).unwrap();
    let port = sink.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "127.0.0.1.",
        "user:pw@127.0.0.1",
    ] {
        let failure = get(&sender, format!("http://{host}:{port}/secret-path?key=hunter2")).await.unwrap_err();
        assert_eq!(told(&failure), ("address_refused", false), "{host}: {failure:?}");
    }
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn an_allowed_name_may_stand_anywhere_and_its_address_alone_may_not() {
    let sink = HttpSink::start().await;
    let allow = Allow::parse("localhost").unwrap();
    let sender = Sender::new(SenderConfig { allow, ..SenderConfig::default() }).unwrap();
    get(&sender, format!("http://localhost:{}/", sink.port())).await.unwrap();
    assert_eq!(get(&sender, sink.url()).await.unwrap_err().code, "address_refused");
    assert_eq!(sink.requests().len(), 1);
}

#[tokio::test]
async fn a_host_that_hangs_ends_in_a_timeout() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::Hang]);
    let begun = Instant::now();
    let failure = get(&hasty(), sink.url()).await.unwrap_err();
    assert_eq!((told(&failure), failure.status), (("timeout", true), None));
    assert!((ATTEMPT..ATTEMPT * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_body_that_trickles_ends_in_a_timeout() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::Trickle(200)]);
    let begun = Instant::now();
    let failure = get(&hasty(), sink.url()).await.unwrap_err();
    assert_eq!((told(&failure), failure.status), (("timeout", true), Some(200)));
    assert!(begun.elapsed() < ATTEMPT * 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_deadline_covers_all_redirects_together() {
    let sink = HttpSink::start().await;
    let slow = || Play::Redirect("/again".to_owned()).after(ATTEMPT / 2);
    sink.script(vec![slow(), slow(), slow()]);
    assert_eq!(get(&hasty(), sink.url()).await.unwrap_err().code, "timeout");
}

#[tokio::test]
async fn of_a_huge_answer_the_beginning_is_kept_and_the_status_counts() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::Huge]);
    let begun = Instant::now();
    let answer = get(&sender(), sink.url()).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 64 * 1024));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nothing_is_read_past_the_limit() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::Trickle(200)]);
    let sender = Sender::new(SenderConfig { max_answer: 3, attempt_timeout: ATTEMPT, ..config() }).unwrap();
    assert_eq!(get(&sender, sink.url()).await.unwrap().body, b"xxx");
}

#[tokio::test]
async fn an_answer_as_long_as_the_limit_is_whole() {
    let sink = HttpSink::start().await;
    let sender = Sender::new(SenderConfig { max_answer: 10, ..config() }).unwrap();
    for (sent, kept) in [("123456789", "123456789"), ("1234567890", "1234567890"), ("12345678901", "1234567890")] {
        sink.script(vec![Play::json(200, sent)]);
        assert_eq!(get(&sender, sink.url()).await.unwrap().body, kept.as_bytes());
    }
}

#[tokio::test]
async fn a_connection_that_ends_too_early_is_lost() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::CloseEarly, Play::CloseInBody(200)]);
    let failure = get(&sender(), sink.url()).await.unwrap_err();
    assert_eq!((told(&failure), failure.status), (("connection_lost", true), None));
    let failure = get(&sender(), sink.url()).await.unwrap_err();
    assert_eq!((told(&failure), failure.status), (("connection_lost", true), Some(200)));
}

#[tokio::test]
async fn a_host_that_does_not_shake_hands_ends_in_a_timeout_before_the_attempt_does() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sender = Sender::new(SenderConfig { connect_timeout: ATTEMPT / 4, ..config() }).unwrap();
    let begun = Instant::now();
    let failure = get(&sender, format!("https://{}/", silent.local_addr().unwrap())).await.unwrap_err();
    assert_eq!(told(&failure), ("timeout", true));
    assert!(begun.elapsed() < ATTEMPT * 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_told_apart() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failure = get(&sender(), format!("http://{closed}/secret?key=hunter2")).await.unwrap_err();
    assert_eq!(told(&failure), ("connect_failed", true));
    let failure = get(&sender(), "http://secret.invalid/").await.unwrap_err();
    assert_eq!(told(&failure), ("dns_failed", true));
}

#[tokio::test]
async fn no_failure_repeats_what_was_sent() {
    let sink = HttpSink::start().await;
    sink.script(vec![Play::CloseEarly, Play::Hang, Play::Redirect("http://10.0.0.1/hunter2".to_owned())]);
    let port = sink.port();
    let urls = [
        format!("http://ann:hunter2@127.0.0.1:{port}/hunter2?key=hunter2"),
        format!("http://127.0.0.1:{port}/hunter2"),
        format!("http://127.0.0.1:{port}/hunter2"),
        "http://hunter2.invalid/".to_owned(),
        "http://10.0.0.1/hunter2".to_owned(),
        "gopher://hunter2/".to_owned(),
        format!("https://127.0.0.1:{port}/hunter2"),
    ];
    let sender = hasty();
    for url in urls {
        let failure =
            send(&sender, with_headers(request("GET", url.clone()), &[("x-key", "hunter2")])).await.unwrap_err();
        let text = format!("{failure:?}");
        assert!(!text.contains("hunter2") && !text.contains("127.0.0.1") && !text.contains("http:"), "{url}: {text}");
    }
    let failure =
        send(&sender, with_headers(request("GET", sink.url()), &[("hunter2\n", "hunter2\n")])).await.unwrap_err();
    assert!(!format!("{failure:?}").contains("hunter2"));
}

#[tokio::test]
async fn tls_verifies_the_name_and_the_authority() {
    let authority = Authority::new();
    let allow = Allow::parse("localhost").unwrap();
    let trusting = SenderConfig { allow, extra_roots: vec![authority.root()], ..SenderConfig::default() };
    let strict = Sender::new(SenderConfig { extra_roots: Vec::new(), ..trusting.clone() }).unwrap();
    let sender = Sender::new(trusting).unwrap();

    let good = HttpSink::start_tls(authority.acceptor("localhost")).await;
    assert_eq!(get(&sender, good.url()).await.unwrap().status, 200);
    let other_name = HttpSink::start_tls(authority.acceptor("example.org")).await;
    let expired = HttpSink::start_tls(authority.expired_acceptor("localhost")).await;
    let cases = [
        (get(&strict, good.url()).await, "not trusted"),
        (get(&sender, other_name.url()).await, "another name"),
        (get(&sender, expired.url()).await, "expired"),
    ];
    for (result, word) in cases {
        let failure = result.unwrap_err();
        assert_eq!(told(&failure), ("tls_failed", true));
        assert!(failure.message.contains(word), "{}", failure.message);
    }
    assert_eq!(good.requests().len() + other_name.requests().len() + expired.requests().len(), 1);
}

#[tokio::test]
async fn a_root_that_is_no_certificate_is_refused_at_once() {
    let config = SenderConfig { extra_roots: vec![b"no certificate".to_vec()], ..SenderConfig::default() };
    let error = Sender::new(config).err().unwrap();
    assert!(format!("{error:#}").contains("extra root certificate 1"), "{error:#}");
}
