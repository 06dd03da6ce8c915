//! What an address of a relay means, and what a mail becomes.

use proptest::prelude::*;

use super::*;
use crate::domain::mailbox::is_mailbox;
use crate::domain::relay::parse_relay_url;
use crate::domain::trials::trials;

fn relay(url: &str) -> Relay {
    parse_relay_url(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn mail() -> Mail {
    Mail {
        relay: relay("smtp://localhost"),
        from: "Fanfare <push@example.org>".to_owned(),
        to: vec!["ann@example.net".to_owned()],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: None,
        subject: "disk full".to_owned(),
        text: "90 %".to_owned(),
        html: None,
        message_id: "task1".to_owned(),
        reached: Vec::new(),
    }
}

fn composed(mail: &Mail) -> String {
    String::from_utf8(compose(mail).unwrap().formatted()).unwrap()
}

#[test]
fn lines_end_in_one_way() {
    let text = "a\r.\rMAIL FROM:<eve@evil.example>\r\nb\nc\r";
    for html in [None, Some(text.to_owned())] {
        let mail = composed(&Mail { text: text.to_owned(), html, ..mail() });
        assert!(!mail.replace("\r\n", "").contains(['\r', '\n']), "{mail:?}");
        assert!(mail.contains("a\r\n.\r\nMAIL FROM"), "{mail:?}");
    }
}

#[test]
fn the_message_id_is_the_tasks_and_takes_the_senders_domain() {
    assert!(composed(&mail()).contains("Message-ID: <task1@example.org>\r\n"));
    let given = Mail { message_id: "task1@fanfare.example".to_owned(), ..mail() };
    assert!(composed(&given).contains("Message-ID: <task1@fanfare.example>\r\n"));
}

#[test]
fn what_would_break_out_of_a_header_does_not() {
    let mail = Mail { subject: "hi\r\nBcc: eve@example.net\r\n\r\nbody".to_owned(), ..mail() };
    let text = composed(&mail);
    assert!(text.contains("Subject: hi  Bcc: eve@example.net    body\r\n"), "{text}");
    for wrong in [
        Mail { from: "a@example.org\r\nBcc: eve@example.net".to_owned(), ..self::mail() },
        Mail { to: vec!["ann@example.net\nX: y".to_owned()], ..self::mail() },
        Mail { message_id: "a>\r\nBcc: eve@example.net".to_owned(), ..self::mail() },
        Mail { message_id: String::new(), ..self::mail() },
    ] {
        assert_eq!(compose(&wrong).map(|_| ()).unwrap_err().code, "request_invalid");
    }
}

#[test]
fn an_address_that_is_none_is_final() {
    let lists = |to: &[&str]| to.iter().map(|&to| to.to_owned()).collect::<Vec<_>>();
    for wrong in [
        Mail { from: "nobody".to_owned(), ..mail() },
        Mail { to: lists(&["ann@example.net", "@example.net"]), ..mail() },
        Mail { to: lists(&[""]), ..mail() },
        Mail { to: Vec::new(), ..mail() },
        Mail { cc: lists(&["a b@example.net"]), ..mail() },
        Mail { bcc: lists(&["ann"]), ..mail() },
        Mail { reply_to: Some("<>".to_owned()), ..mail() },
    ] {
        let failure = compose(&wrong).map(|_| ()).unwrap_err();
        assert_eq!((failure.code, failure.retry), ("request_invalid", false), "{wrong:?}");
    }
}

#[test]
fn blind_copies_stand_in_the_envelope_only() {
    let mail = Mail { to: Vec::new(), bcc: vec!["eve@example.net".to_owned()], ..mail() };
    let message = compose(&mail).unwrap();
    assert_eq!(message.envelope().to().len(), 1);
    assert!(!composed(&mail).contains("eve"));
}

/// What addresses are made of, and what breaks them.
const SHREDS: [&str; 32] = [
    "a", "B", "7", "ann", "@", "@", "<", ">", "\"", "\"", "\\", " ", ".", ".", ",", ":", "(", ")", "[", "]", ";", "-",
    "_", "%", "'", "é", "中", "💩", "\u{94d}", "\u{3000}", "\t", "xn--",
];

fn shreds() -> impl Strategy<Value = String> {
    let shred = prop_oneof![
        4 => prop::sample::select(SHREDS.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["ann@example.org", "<ann@example.org>", "\"B, Ann\" ", "例子.测试"]).prop_map(str::to_owned),
        1 => "[a中]{60,70}",
    ];
    prop::collection::vec(shred, 0..8).prop_map(|shreds| shreds.concat())
}

proptest! {
    #![proptest_config(trials(10_000))]

    #[test]
    fn an_address_that_a_push_may_name_can_be_sent_to(text in shreds()) {
        match mailbox(&text, "") {
            // Quotes within quotes: the library's only way to a user that needs some. Nobody writes it.
            Ok(sent) if sent.email.user().starts_with('"') => {}
            sent => prop_assert_eq!(is_mailbox(&text), sent.is_ok(), "{:?}", text),
        }
    }
}
