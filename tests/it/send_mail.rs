//! Mail attempts against a real relay on loopback: what arrives, and how each refusal is told.

use std::sync::Arc;
use std::time::Duration;

use fanfare::domain::delivery::{Answer, Mail, MailSecurity, Outgoing, Relay, SendFailure};
use fanfare::send::guard::Allow;
use fanfare::send::{Sender, SenderConfig};

use crate::support::certificates::Authority;
use crate::support::smtp_sink::{SmtpSink, Trouble};

const ATTEMPT: Duration = Duration::from_millis(400);

fn config() -> SenderConfig {
    SenderConfig { allow: Allow::parse("127.0.0.1, localhost").unwrap(), ..SenderConfig::default() }
}

fn sender() -> Sender {
    Sender::new(config()).unwrap()
}

fn mail(relay: Relay) -> Mail {
    Mail {
        relay,
        from: "Fanfare <push@example.org>".to_owned(),
        to: vec!["Ann <ann@example.net>".to_owned()],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: None,
        subject: "disk full".to_owned(),
        text: "90 %\n.hidden\nend".to_owned(),
        html: None,
        message_id: "task1".to_owned(),
        reached: Vec::new(),
    }
}

async fn send(sender: &Sender, mail: Mail) -> Result<Answer, SendFailure> {
    sender.send(Outgoing::Mail(Box::new(mail))).await
}

#[tokio::test]
async fn a_mail_arrives_and_the_reply_comes_back() {
    let sink = SmtpSink::start().await;
    let answer = send(&sender(), mail(sink.relay())).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (250, &b"2.0.0 queued as 4711"[..]));
    let arrived = sink.only_mail();
    assert_eq!((&*arrived.from, &arrived.to[..]), ("push@example.org", &["ann@example.net".to_owned()][..]));
    assert_eq!(arrived.subject(), "disk full");
    assert_eq!(arrived.header("message-id").as_deref(), Some("<task1@example.org>"));
    assert_eq!(arrived.header("from").as_deref(), Some("Fanfare <push@example.org>"));
    assert!(arrived.header("date").unwrap().ends_with("+0000"), "{:?}", arrived.header("date"));
    assert_eq!(arrived.parts(), [("text/plain".to_owned(), "90 %\n.hidden\nend".to_owned())]);
}

#[tokio::test]
async fn those_get_a_mail_whom_the_relay_takes_it_for() {
    let sink = SmtpSink::start().await;
    let [ann, bob, eve] = ["ann@example.net", "bob@example.net", "eve@example.net"];
    let to = |to: &[&str]| Mail { to: to.iter().map(ToString::to_string).collect(), ..mail(sink.relay()) };
    let sender = sender();
    sink.refuse(bob, "550 5.1.1 no such user");
    let failure = send(&sender, to(&[ann, bob, eve])).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, failure.status), ("relay_refused", false, Some(550)));
    let told = "The relay refused bob@example.net (5.1.1 no such user); it took the mail for the other 2.";
    assert_eq!(failure.message, told);
    let arrived = sink.only_mail();
    assert_eq!(arrived.to, [ann, eve]);
    assert_eq!(arrived.header("to").as_deref(), Some("ann@example.net, bob@example.net, eve@example.net"));

    assert_eq!(failure.reached.len(), 2);
    assert!(!failure.reached.concat().contains('@'), "no address is kept");

    // Nobody is left.
    let failure = send(&sender, to(&[bob, bob])).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, failure.reached.len()), ("relay_refused", false, 0));
    // Whoever is only deferred is not given up for one who is refused, in whichever order they stand.
    sink.refuse(eve, "450 4.2.0 greylisted");
    for both in [[bob, eve], [eve, bob]] {
        let failure = send(&sender, to(&both)).await.unwrap_err();
        assert_eq!((failure.code, failure.retry, failure.status), ("relay_unavailable", true, Some(450)), "{both:?}");
        assert!(both.iter().all(|address| failure.message.contains(address)), "{}", failure.message);
    }
    // Somebody may be taken later, and who has the mail does not get it again.
    sink.refuse(eve, "450 4.2.0 greylisted");
    let failure = send(&sender, to(&[ann, bob, eve])).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, failure.status), ("relay_unavailable", true, Some(450)));
    assert_eq!(failure.reached.len(), 1);
    sink.welcome(eve);
    let failure = send(&sender, Mail { reached: failure.reached, ..to(&[ann, bob, eve]) }).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, failure.reached.len()), ("relay_refused", false, 1));
    assert_eq!(
        sink.mails().into_iter().map(|mail| mail.to).collect::<Vec<_>>(),
        [vec![ann, eve], vec![ann], vec![eve]]
    );
    // What is refused is not a recipient.
    sink.script(vec![Trouble::say("DATA", "554 5.6.0 no")]);
    let failure = send(&sender, to(&[ann, ann])).await.unwrap_err();
    assert_eq!((failure.code, failure.status), ("relay_refused", Some(554)));
    assert_eq!(sink.mails().len(), 3);
    send(&sender, to(&[ann])).await.unwrap();
}

#[tokio::test]
async fn a_relay_that_says_good_bye_to_a_used_connection_gets_the_mail_on_a_new_one() {
    let sink = SmtpSink::start().await;
    let sender = sender();
    send(&sender, mail(sink.relay())).await.unwrap();
    sink.script(vec![Trouble::say("MAIL", "421 4.7.0 enough for one connection")]);
    send(&sender, mail(sink.relay())).await.unwrap();
    assert_eq!((sink.mails().len(), sink.connections()), (2, 2));
    // A new one that says so has nothing better behind it.
    let fresh = self::sender();
    sink.script(vec![Trouble::say("MAIL", "421 4.3.2 going down")]);
    let failure = send(&fresh, mail(sink.relay())).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, failure.status), ("relay_unavailable", true, Some(421)));
}

#[tokio::test]
async fn a_domain_of_other_letters_goes_out_in_ascii() {
    let sink = SmtpSink::start().await;
    let to = vec!["Ann <ann@bücher.example>".to_owned()];
    send(&sender(), Mail { to, ..mail(sink.relay()) }).await.unwrap();
    let arrived = sink.only_mail();
    assert_eq!(arrived.to, ["ann@xn--bcher-kva.example"]);
    assert_eq!(arrived.header("to").as_deref(), Some("Ann <ann@xn--bcher-kva.example>"));
}

#[tokio::test]
async fn no_line_of_a_header_is_longer_than_relays_take() {
    let sink = SmtpSink::start().await;
    let to: Vec<String> = (0..60).map(|n| format!("firstname.lastname{n}@department.example.org")).collect();
    let subject = format!("see https://example.org/?q={}", "a".repeat(1200));
    send(&sender(), Mail { to: to.clone(), subject: subject.clone(), ..mail(sink.relay()) }).await.unwrap();
    let arrived = sink.only_mail();
    assert!(arrived.data.lines().all(|line| line.len() <= 998));
    assert_eq!((&arrived.to, arrived.subject()), (&to, subject));
    assert_eq!(arrived.header("to"), Some(to.join(", ")));
}

#[tokio::test]
async fn every_recipient_is_in_the_envelope_and_blind_copies_nowhere_else() {
    let sink = SmtpSink::start().await;
    let mail = Mail {
        to: vec!["ann@example.net".to_owned(), "Бо <bo@example.net>".to_owned()],
        cc: vec!["cy@example.net".to_owned()],
        bcc: vec!["di@example.net".to_owned(), "ed@example.net".to_owned()],
        reply_to: Some("Desk <desk@example.org>".to_owned()),
        ..mail(sink.relay())
    };
    send(&sender(), mail).await.unwrap();
    let arrived = sink.only_mail();
    assert_eq!(arrived.to, ["ann", "bo", "cy", "di", "ed"].map(|name| format!("{name}@example.net")));
    assert_eq!(arrived.header("to").as_deref(), Some("ann@example.net, Бо <bo@example.net>"));
    assert_eq!(arrived.header("cc").as_deref(), Some("cy@example.net"));
    assert_eq!(arrived.header("reply-to").as_deref(), Some("Desk <desk@example.org>"));
    assert!(!arrived.data.contains("di@") && !arrived.data.contains("ed@"), "{}", arrived.data);
}

#[tokio::test]
async fn other_scripts_and_html_survive_the_way() {
    let sink = SmtpSink::start().await;
    let subject = "磁盘已满：剩余空间不足百分之十，请尽快清理或者扩容 🚨 Übergröße";
    let text = "余额不足\n".repeat(50);
    let html = format!("<p>{}</p>", "é".repeat(2000));
    let mail = Mail { subject: subject.to_owned(), text: text.clone(), html: Some(html.clone()), ..mail(sink.relay()) };
    send(&sender(), mail).await.unwrap();
    let arrived = sink.only_mail();
    assert!(arrived.data.is_ascii() && arrived.data.lines().all(|line| line.len() <= 998));
    assert_eq!(arrived.subject(), subject);
    assert!(arrived.header("content-type").unwrap().starts_with("multipart/alternative"));
    let expected = [("text/plain".to_owned(), text.trim_end().to_owned()), ("text/html".to_owned(), html)];
    assert_eq!(arrived.parts(), expected);
}

#[tokio::test]
async fn refusals_and_deferrals_are_told_apart() {
    let sink = SmtpSink::start().await;
    let sender = sender();
    let cases = [
        ("RCPT", "550 5.1.1 no such user", ("relay_refused", false, 550)),
        ("MAIL", "553 5.1.8 sender not allowed", ("relay_refused", false, 553)),
        ("DATA", "554 5.7.1 spam", ("relay_refused", false, 554)),
        ("END", "552 5.3.4 too large", ("relay_refused", false, 552)),
        ("RCPT", "450 4.2.1 greylisted", ("relay_unavailable", true, 450)),
        ("END", "451 4.3.0 try later", ("relay_unavailable", true, 451)),
        ("CONNECT", "421 4.3.2 closing", ("relay_unavailable", true, 421)),
        ("CONNECT", "554 5.7.1 not from your address", ("relay_refused", false, 554)),
        ("MAIL", "530 5.7.0 authentication required", ("relay_auth_failed", false, 530)),
    ];
    for (at, reply, (code, retry, status)) in cases {
        // A connection that is kept is not greeted again.
        let sender = if at == "CONNECT" { &self::sender() } else { &sender };
        sink.script(vec![Trouble::say(at, reply)]);
        let failure = send(sender, mail(sink.relay())).await.unwrap_err();
        assert_eq!((failure.code, failure.retry, failure.status), (code, retry, Some(status)), "{at} {reply}");
        if code != "relay_auth_failed" {
            assert!(failure.message.contains(reply.split_at(4).1), "{}", failure.message);
        }
    }
    assert!(sink.mails().is_empty());
    send(&sender, mail(sink.relay())).await.unwrap();
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_login_is_used_and_a_wrong_one_is_final() {
    for ways in ["PLAIN", "LOGIN"] {
        let sink = SmtpSink::start().await.with_login("ann", "hunter2").with_login_ways(ways);
        send(&sender(), mail(sink.relay())).await.unwrap();
        assert_eq!(sink.only_mail().login.as_deref(), Some("ann"));

        let wrong = Relay { credentials: Some(("ann".to_owned(), "guess".to_owned())), ..sink.relay() };
        let none = Relay { credentials: None, ..sink.relay() };
        for relay in [wrong, none] {
            let failure = send(&sender(), mail(relay)).await.unwrap_err();
            assert_eq!((failure.code, failure.retry), ("relay_auth_failed", false));
        }
        sink.script(vec![Trouble::say("AUTH", "454 4.7.0 try later")]);
        let failure = send(&sender(), mail(sink.relay())).await.unwrap_err();
        assert_eq!((failure.code, failure.retry), ("relay_unavailable", true));
    }
    let sink = SmtpSink::start().await.with_login("ann", "hunter2").with_login_ways("GSSAPI");
    assert_eq!(send(&sender(), mail(sink.relay())).await.unwrap_err().code, "relay_auth_failed");
}

#[tokio::test]
async fn no_failure_shows_the_password() {
    let sink = SmtpSink::start().await.with_login("ann", "hunter2");
    for (at, reply) in [("AUTH", "535 hunter2 is wrong"), ("MAIL", "550 who is hunter2")] {
        sink.script(vec![Trouble::say(at, reply)]);
        let failure = send(&sender(), mail(sink.relay())).await.unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_relay_at_a_private_address_is_refused_unless_it_is_the_operators() {
    let sink = SmtpSink::start().await;
    let strict = Sender::new(SenderConfig::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "::1", "[::1]", "0x7f.1", "2130706433"] {
        let relay = Relay { host: host.to_owned(), ..sink.relay() };
        let failure = send(&strict, mail(relay)).await.unwrap_err();
        assert!(matches!(failure.code, "address_refused" | "dns_failed"), "{host}: {failure:?}");
    }
    let failure = send(&strict, mail(sink.relay())).await.unwrap_err();
    assert_eq!((failure.code, failure.retry, sink.connections()), ("address_refused", false, 0));

    send(&strict, mail(Relay { own: true, ..sink.relay() })).await.unwrap();
    // Not even over the connection that is open now.
    assert_eq!(send(&strict, mail(sink.relay())).await.unwrap_err().code, "address_refused");
}

#[tokio::test]
async fn tls_verifies_the_relays_name_although_it_connects_to_an_address() {
    let authority = Authority::new();
    let trusting = Sender::new(SenderConfig { extra_roots: vec![authority.root()], ..config() }).unwrap();
    for security in [MailSecurity::Tls, MailSecurity::StartTls] {
        let sink = SmtpSink::start_tls(security, authority.acceptor("localhost")).await.with_login("ann", "pw");
        send(&trusting, mail(sink.relay())).await.unwrap();
        assert!(sink.only_mail().encrypted);

        let other = SmtpSink::start_tls(security, authority.acceptor("example.org")).await;
        for (sender, relay) in [(&sender(), sink.relay()), (&trusting, other.relay())] {
            let failure = send(sender, mail(relay)).await.unwrap_err();
            assert_eq!((failure.code, failure.retry), ("tls_failed", true), "{security:?}");
            assert!(failure.message.contains("certificate"), "{}", failure.message);
        }
        assert_eq!((sink.mails().len(), other.mails().len()), (1, 0));
    }
}

#[tokio::test]
async fn required_starttls_is_never_given_up() {
    let authority = Authority::new();
    let sender = Sender::new(SenderConfig { extra_roots: vec![authority.root()], ..config() }).unwrap();
    let sink = SmtpSink::start_tls(MailSecurity::StartTls, authority.acceptor("localhost")).await;
    sink.hide_starttls();
    assert_eq!(send(&sender, mail(sink.relay())).await.unwrap_err().code, "tls_failed");
    assert!(sink.mails().is_empty());
}

#[tokio::test]
async fn silence_ends_in_a_timeout_and_hanging_up_is_a_lost_connection() {
    let hasty = Sender::new(SenderConfig { attempt_timeout: ATTEMPT, ..config() }).unwrap();
    let hangs = ["CONNECT", "EHLO", "RCPT", "END"].map(async |at| {
        let sink = SmtpSink::start().await;
        sink.script(vec![Trouble::hang(at)]);
        let failure = send(&hasty, mail(sink.relay())).await.unwrap_err();
        assert_eq!((failure.code, failure.retry), ("timeout", true), "{at}");
    });
    futures_util::future::join_all(hangs).await;
    let sink = SmtpSink::start().await;
    for at in ["CONNECT", "MAIL", "END"] {
        sink.script(vec![Trouble::close(at)]);
        let failure = send(&sender(), mail(sink.relay())).await.unwrap_err();
        assert_eq!((failure.code, failure.retry), ("connection_lost", true), "{at}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let relay = Relay { port: closed.port(), ..sink.relay() };
    let failure = send(&sender(), mail(relay)).await.unwrap_err();
    assert_eq!((failure.code, failure.retry), ("connect_failed", true));
}

#[tokio::test]
async fn a_mail_given_up_half_way_leaves_nothing_for_the_next() {
    let sink = SmtpSink::start().await;
    let hasty = Sender::new(SenderConfig { attempt_timeout: ATTEMPT, mail_connections: 1, ..config() }).unwrap();
    sink.script(vec![Trouble::wait("RCPT", ATTEMPT * 2)]);
    assert_eq!(send(&hasty, mail(sink.relay())).await.unwrap_err().code, "timeout");
    let next = Mail { subject: "next".to_owned(), to: vec!["bo@example.net".to_owned()], ..mail(sink.relay()) };
    send(&hasty, next).await.unwrap();
    let arrived = sink.only_mail();
    assert_eq!((arrived.subject(), arrived.to), ("next".to_owned(), vec!["bo@example.net".to_owned()]));
}

#[tokio::test]
async fn a_kept_connection_that_the_relay_closed_is_replaced() {
    let sink = SmtpSink::start().await;
    let sender = sender();
    for _ in 0..3 {
        send(&sender, mail(sink.relay())).await.unwrap();
    }
    assert_eq!(sink.connections(), 1);
    sink.script(vec![Trouble::close("NOOP")]);
    send(&sender, mail(sink.relay())).await.unwrap();
    assert_eq!((sink.mails().len(), sink.connections()), (4, 2));
}

#[tokio::test]
async fn forty_mails_at_once_stay_within_the_connections() {
    let sink = SmtpSink::start().await;
    sink.slow(Duration::from_millis(5));
    let sender = Arc::new(sender());
    let sends = (0..40).map(|n| {
        let (sender, relay) = (Arc::clone(&sender), sink.relay());
        tokio::spawn(async move { send(&sender, Mail { message_id: format!("task{n}"), ..mail(relay) }).await })
    });
    for result in futures_util::future::join_all(sends).await {
        result.unwrap().unwrap();
    }
    assert_eq!(sink.expect(40).await.len(), 40);
    assert!((2..=4).contains(&sink.peak_connections()), "{}", sink.peak_connections());
    assert_eq!(sink.connections(), sink.peak_connections());
}

#[tokio::test]
async fn more_relays_than_are_remembered_still_get_their_mail() {
    let sink = SmtpSink::start().await;
    let sender = sender();
    for n in 0..70 {
        let relay = Relay { host: format!("127.0.0.{}", n + 1), ..sink.relay() };
        let expected = if n == 0 { Ok(250) } else { Err("address_refused") };
        assert_eq!(
            send(&sender, mail(relay)).await.map(|answer| answer.status).map_err(|failure| failure.code),
            expected
        );
    }
    send(&sender, mail(sink.relay())).await.unwrap();
    assert_eq!((sink.mails().len(), sink.connections()), (2, 2));
}
