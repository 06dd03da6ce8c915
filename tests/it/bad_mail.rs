//! Mails that cannot be sent, because of an address in them: refused at the push and in the preview, and nothing is
//! queued. Whatever the sender takes is accepted, and arrives.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Answer, Client, FORM};
use crate::support::smtp_sink::SmtpSink;
use crate::support::world::{World, both, with};

both!(
    a_recipient_that_is_no_address_is_refused,
    every_wrong_address_is_told_in_one_answer,
    a_mail_without_a_sender_is_refused,
    a_member_of_a_group_is_named,
    a_service_of_ones_own_is_checked_as_well,
    whatever_the_sender_takes_arrives,
);

/// A Service whose recipients are plain text, and whose sender is made of two parameters.
const PLAIN: &str = r#"id = "plain"
name = "Plain"
docs = "https://example.com/"
category = "mail"
transport = "smtp"

[params]
sender = { type = "string" }
house = { type = "string" }
to = { type = "string" }
content = { type = "text", required = true }

[mail]
host = "127.0.0.1"
port = "25"
security = "none"
from = '{{#if sender}}{{sender}}@{{house}}{{/if}}'
to = "{{to}}"
subject = "s"
text = "{{content}}"
"#;

/// What a mail needs beside what is tested.
fn letter(more: Value) -> Value {
    with(json!({ "host": "127.0.0.1", "port": 25, "security": "none", "content": "c" }), more)
}

/// The refusal of a push, which is that of its preview as well.
async fn refused(ann: &Client, pusher: &str, params: Value) -> Answer {
    let pushed = ann.push(pusher, params.clone()).await;
    let previewed = ann.post(&format!("/pusher/{pusher}/preview/"), params.clone()).await;
    assert_eq!(pushed.status, 422, "{params}: {}", pushed.body);
    assert_eq!(previewed.body, pushed.body, "{params}");
    assert!(ann.tasks().await.is_empty(), "{params}");
    pushed
}

async fn a_recipient_that_is_no_address_is_refused() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let good = "bob@example.net";
    for wrong in [
        json!("not-an-address"),
        json!("bob@example.net, nobody"),
        json!(["bob@example.net", "nobody"]),
        json!([good, "Bob <bob@>"]),
        json!([good, "\"Bob <bob@example.net>"]),
        json!([good, "Doe, Jo <bob@example.net>"]),
        json!([good, "bob..b@example.net"]),
        json!([good, "bob@-example.net"]),
        json!([good, "Bob\r\nBcc: eve@example.net"]),
        json!([good, 5]),
        json!([good, [good]]),
        json!([good, { "a": good }]),
    ] {
        for name in ["to", "cc", "bcc"] {
            let params = letter(json!({ "from": "a@b.c", "to": good, name: wrong }));
            let answer = refused(&ann, "email", params).await;
            assert_eq!((answer.code(), answer.faults()), ("param_invalid", vec![(name, "param_invalid")]), "{wrong}");
        }
    }
    let params = letter(json!({ "from": "a@b.c", "to": [good, "", "nobody"] }));
    let answer = refused(&ann, "email", params).await;
    assert_eq!(answer.body["data"][0]["problem"], "entry 3 must be a mail address");
    for nobody in [json!(null), json!(""), json!(", ,"), json!([]), json!([null, " "])] {
        let answer = refused(&ann, "email", letter(json!({ "from": "a@b.c", "to": nobody }))).await;
        assert_eq!((answer.code(), answer.faults()), ("param_missing", vec![("to", "param_missing")]), "{nobody}");
    }
}

async fn every_wrong_address_is_told_in_one_answer() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let wrong = json!({ "from": "x", "to": "x", "cc": "a@b.c,x", "bcc": ["x"], "reply_to": "x", "port": 0 });
    let answer = refused(&ann, "email", letter(wrong)).await;
    let told = answer.faults().into_iter().map(|(param, _)| param).collect::<Vec<_>>();
    assert_eq!(told, ["port", "from", "to", "cc", "bcc", "reply_to"]);
    // Of a form, and with a name that is repeated.
    let form = b"host=h&content=c&from=a%40b.c&to=a%40b.c&to=x";
    let answer = ann.send("POST", "/push/email/", Some(FORM), form).await;
    assert_eq!((answer.status, answer.faults()), (422, vec![("to", "param_invalid")]));
}

async fn a_mail_without_a_sender_is_refused() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for (login, problem) in [
        (json!({}), "the sender is missing: give a mail address as `from` or `username`"),
        (json!({ "username": "" }), "the sender is missing: give a mail address as `from` or `username`"),
        (json!({ "username": "ann" }), "the sender is not a mail address: give a mail address as `from` or `username`"),
        (
            json!({ "username": "a@b@c" }),
            "the sender is not a mail address: give a mail address as `from` or `username`",
        ),
        (
            json!({ "username": "ann", "from_name": "Ann <a@b.c>" }),
            "the sender is not a mail address: give a mail address as `from` or `username`",
        ),
    ] {
        let answer = refused(&ann, "email", with(letter(json!({ "to": "bob@example.net" })), login.clone())).await;
        assert_eq!(answer.code(), "not_renderable", "{login}");
        assert_eq!(answer.body["data"]["reason"], format!("mail.from: {problem}"), "{login}");
        assert!(answer.body["message"].as_str().unwrap().contains(problem), "{}", answer.body);
    }
}

async fn a_member_of_a_group_is_named() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let good = letter(json!({ "from": "a@b.c", "to": "bob@example.net" }));
    let bad = letter(json!({ "from": "a@b.c" }));
    let mute = letter(json!({ "to": "bob@example.net" }));
    let group = |params: Value| {
        json!({ "pushers": [
            { "name": "good", "base_pusher": "email", "params": good },
            { "name": "bad", "base_pusher": "email", "params": params },
        ] })
    };
    let id = ann.group(group(bad)).await;
    let answer = refused(&ann, &id, json!({ "bad.to": "x", "good.cc": "x" })).await;
    assert_eq!(answer.faults(), [("good.cc", "param_invalid"), ("bad.to", "param_invalid")]);
    let id = ann.group(group(mute)).await;
    let answer = refused(&ann, &id, json!({})).await;
    assert_eq!((answer.code(), &answer.body["data"]["name"]), ("not_renderable", &json!("bad")));
}

async fn a_service_of_ones_own_is_checked_as_well() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    std::fs::write(folder.path().join("services/plain.toml"), PLAIN).unwrap();
    let world = World::builder().start_in(Arc::new(folder)).await;
    let ann = world.user("ann").await;
    let good = "bob@example.net";
    for (to, sender, reason) in [
        (good, "", "mail.from: the sender is missing: give a mail address as `sender` or `house`"),
        (good, "a b", "mail.from: the sender is not a mail address: give a mail address as `sender` or `house`"),
        ("bob@example.net, bob", "ann", "mail.to: entry 2 is not a mail address"),
        (" , ", "ann", "mail.to: names nobody"),
    ] {
        let params = json!({ "to": to, "sender": sender, "house": "example.org", "content": "c" });
        let answer = refused(&ann, "plain", params).await;
        assert_eq!((answer.code(), &answer.body["data"]["reason"]), ("not_renderable", &json!(reason)));
    }
    let named = json!({ "to": "\"Doe, Bob\" <bob@example.net>", "sender": "ann", "house": "b.c", "content": "c" });
    ann.pushed("plain", with(named, json!({ "delay": 3600 }))).await;
}

async fn whatever_the_sender_takes_arrives() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let relay = SmtpSink::start().await;
    let bare = json!({ "port": relay.relay().port, "username": "ann@example.org" });
    let people = json!([
        "a@example.net",
        null,
        "",
        "李 <b@example.net>",
        " \"Doe, Jo (x)\" <c@example.net> ",
        "D. \t E. <d@example.net>",
        "<e@example.net>",
        "F < f@ example.net>",
        "g+tag@localhost",
    ]);
    let params = with(letter(json!({ "to": people, "cc": "h@example.net, Ii <i@example.net>" })), bare);
    // The relay knows no login.
    let from = json!({ "username": null, "from": "\"Push, it\" <push@example.org>", "from_name": "Push" });
    let more = json!({ "reply_to": "\"Doe, Jo\" <j@example.net>" });
    ann.pushed("email", with(with(params, from), more)).await;
    world.settle().await;
    let mail = relay.only_mail();
    let hosts = ["a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net", "f@example.net"];
    let hosts = hosts.into_iter().chain(["g+tag@localhost", "h@example.net", "i@example.net"]);
    assert_eq!(mail.to, hosts.collect::<Vec<_>>());
    assert_eq!(mail.header("reply-to").as_deref(), Some("Doe, Jo <j@example.net>"), "its name is encoded");
}
