//! Redirects: the few that are followed, and how the others end.

use fanfare::domain::delivery::{Answer, Outgoing, Request, SendFailure};
use fanfare::send::guard::Allow;
use fanfare::send::{Sender, SenderConfig};

use crate::support::certificates::Authority;
use crate::support::http_sink::{HttpSink, Play};

fn sender() -> Sender {
    let allow = Allow::parse("127.0.0.1, localhost").unwrap();
    Sender::new(SenderConfig { allow, ..SenderConfig::default() }).unwrap()
}

fn redirect(status: u16, to: &str) -> Play {
    Play::status(status).with_header("location", to)
}

async fn send(sender: &Sender, method: &str, url: String) -> Result<Answer, SendFailure> {
    let headers = vec![("x-gotify-key".to_owned(), "hunter2".to_owned())];
    sender.send(Outgoing::Http(Request { method: method.to_owned(), url, headers, body: Vec::new() })).await
}

async fn refused(sink: &HttpSink, to: &str) -> String {
    sink.script(vec![redirect(301, to)]);
    let failure = send(&sender(), "GET", sink.url()).await.unwrap_err();
    assert_eq!((failure.code, failure.retry), ("redirect_refused", false), "{to}");
    failure.message
}

#[tokio::test]
async fn a_get_follows_three_redirects_on_the_same_host() {
    let sink = HttpSink::start().await;
    let absolute = format!("{}/d?x=1", sink.url());
    sink.script(vec![redirect(301, "/b"), redirect(308, "c"), redirect(302, &absolute), Play::json(200, "here")]);
    let answer = send(&sender(), "GET", format!("{}/a/a", sink.url())).await.unwrap();
    assert_eq!(answer.body, b"here");
    let targets: Vec<_> = sink.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/a/a", "/b", "/c", "/d?x=1"]);
    assert!(sink.requests().iter().all(|request| request.header("x-gotify-key") == Some("hunter2")));
}

#[tokio::test]
async fn credentials_in_the_address_are_the_first_requests_to_choose() {
    let sink = HttpSink::start().await;
    let other = format!("http://eve:guess@127.0.0.1:{}/c", sink.port());
    sink.script(vec![redirect(301, "/b"), redirect(301, &other)]);
    send(&sender(), "GET", format!("http://ann:hunter2@127.0.0.1:{}/a", sink.port())).await.unwrap();
    let expected = Some("Basic YW5uOmh1bnRlcjI=");
    assert!(sink.expect(3).await.iter().all(|request| request.header("authorization") == expected));
}

#[tokio::test]
async fn a_fourth_redirect_is_one_too_many() {
    let sink = HttpSink::start().await;
    sink.script((0..4).map(|_| redirect(302, "/again")).collect());
    let failure = send(&sender(), "GET", sink.url()).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, sink.requests().len()), ("too_many_redirects", false, 4));
}

#[tokio::test]
async fn other_methods_take_a_redirect_as_their_answer() {
    let sink = HttpSink::start().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for status in [301, 302, 303, 307, 308] {
            sink.script(vec![redirect(status, "/elsewhere")]);
            assert_eq!(send(&sender(), method, sink.url()).await.unwrap().status, status, "{method}");
        }
    }
    assert!(sink.requests().iter().all(|request| request.target == "/"));
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let sink = HttpSink::start().await;
    for to in [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://[::ffff:a9fe:a9fe]/",
        "//10.0.0.1/",
        "https://192.168.0.1/",
        "http://[fd00:ec2::254]/",
        "http://0/",
    ] {
        assert!(refused(&sink, to).await.contains("may not be reached"), "{to}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_credentials() {
    let (sink, other) = (HttpSink::start().await, HttpSink::start().await);
    assert!(refused(&sink, &other.url()).await.contains("another port"));
    let by_name = format!("http://localhost:{}/", sink.port());
    assert!(refused(&sink, &by_name).await.contains("another host"));
    assert!(refused(&sink, "https://example.org/").await.contains("another host"));
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_refused_and_one_without_an_address_is_the_answer() {
    let sink = HttpSink::start().await;
    for to in ["http://", "file:///etc/passwd", "gopher://127.0.0.1/", "http://a b/"] {
        refused(&sink, to).await;
    }
    sink.script(vec![Play::status(302), Play::status(304), Play::status(300)]);
    for status in [302, 304, 300] {
        assert_eq!(send(&sender(), "GET", sink.url()).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn a_redirect_may_lead_to_tls_but_not_back() {
    let authority = Authority::new();
    let allow = Allow::parse("localhost").unwrap();
    let config = SenderConfig { allow, extra_roots: vec![authority.root()], ..SenderConfig::default() };
    let sender = Sender::new(config).unwrap();
    let plain = HttpSink::start().await;
    let secure = HttpSink::start_tls(authority.acceptor("localhost")).await;
    let plain_url = format!("http://localhost:{}/", plain.port());

    plain.script(vec![redirect(301, &secure.url())]);
    assert_eq!(send(&sender, "GET", plain_url.clone()).await.unwrap().status, 200);
    assert_eq!((plain.requests().len(), secure.requests().len()), (1, 1));

    let same_port = secure.url().replace("https:", "http:");
    for back in [plain_url, same_port] {
        secure.script(vec![redirect(301, &back)]);
        let failure = send(&sender, "GET", secure.url()).await.unwrap_err();
        assert_eq!(failure.code, "redirect_refused");
        assert!(failure.message.contains("secure connection"), "{}", failure.message);
    }
    assert_eq!(plain.requests().len(), 1);
}
