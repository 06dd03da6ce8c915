//! What becomes of the people in a mail.

use serde_json::{Value, json};

use super::{ENV, params};
use crate::domain::delivery::{Mail, Outgoing};
use crate::domain::params::Params;
use crate::service::Catalogue;

/// Parameters of `email`, the least and more.
fn letter(more: Value) -> Params {
    let mut all = params(json!({ "host": "h", "to": ["bob@example.net"], "content": "c" }));
    all.extend(params(more));
    all
}

fn rendered(more: Value) -> Mail {
    match Catalogue::embedded().unwrap().get("email").unwrap().render(&letter(more), &ENV) {
        Ok(Outgoing::Mail(mail)) => *mail,
        other => panic!("{other:?}"),
    }
}

fn checked(more: Value) -> Result<(), String> {
    let email = Catalogue::embedded().unwrap().get("email").unwrap();
    email.check(&letter(more)).map_err(|error| error.to_string())
}

#[test]
fn the_message_id_has_the_senders_host_in_ascii() {
    for (sender, expected) in [
        ("push@Example.org", "task-1@example.org"),
        ("Push <push@ example.org>", "task-1@example.org"),
        ("push@例子.测试", "task-1@xn--fsqu00a.xn--0zwm56d"),
        // A mask in a preview.
        ("pus****org", "task-1"),
    ] {
        assert_eq!(rendered(json!({ "from": sender })).message_id, expected, "{sender}");
    }
}

#[test]
fn a_name_with_a_comma_stays_one() {
    let mail = rendered(json!({ "from": "a@b.c", "reply_to": "\"Doe, Jo\" <jo@example.net>" }));
    assert_eq!(mail.reply_to.as_deref(), Some("\"Doe, Jo\" <jo@example.net>"));
}

#[test]
fn whoever_cannot_be_written_to_is_told() {
    assert_eq!(checked(json!({ "username": "ann@example.org" })), Ok(()));
    assert_eq!(checked(json!({ "from": "a@b", "from_name": "Doe, \"Jo\" <x>", "cc": ["李 <b@c>"] })), Ok(()));
    for (more, told) in [
        (json!({}), "mail.from: the sender is missing: give a mail address as `from` or `username`"),
        (
            json!({ "username": "ann" }),
            "mail.from: the sender is not a mail address: give a mail address as `from` or `username`",
        ),
        (json!({ "from": "a@b", "to": [] }), "mail.to: names nobody"),
        (json!({ "from": "a@b", "to": ["c@d", "c"] }), "mail.to: entry 2 is not a mail address"),
        (json!({ "from": "a@b", "cc": ["c"] }), "mail.cc: entry 1 is not a mail address"),
        (json!({ "from": "a@b", "bcc": ["c, d"] }), "mail.bcc: entry 1 is not a mail address"),
        (json!({ "from": "a@b", "reply_to": "c" }), "mail.reply_to: entry 1 is not a mail address"),
    ] {
        assert_eq!(checked(more.clone()).unwrap_err(), told, "{more}");
    }
}

#[test]
fn the_relay_is_a_name_or_an_address_and_nothing_more() {
    for (given, host) in [
        ("SMTP.Example.com ", "smtp.example.com"),
        ("例子.测试", "xn--fsqu00a.xn--0zwm56d"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("[2001:db8::7]", "[2001:db8::7]"),
        ("my_relay", "my_relay"),
    ] {
        assert_eq!(rendered(json!({ "from": "a@b.c", "host": given })).relay.host, host, "{given}");
    }
    for given in ["smtp.example.com:465", "smtp://h", "h/", "a b", "a@b", "::1:25:x"] {
        let email = Catalogue::embedded().unwrap().get("email").unwrap();
        let refused = email.destination(&letter(json!({ "from": "a@b.c", "host": given }))).unwrap_err();
        assert_eq!(refused.to_string(), "mail.host: is not the name or address of a host", "{given}");
    }
}
