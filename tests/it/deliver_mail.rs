//! Mail by the `email` Service, to a real relay on loopback.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, text};
use crate::support::smtp_sink::{SmtpSink, Trouble};
use crate::support::world::{World, both, task_id, with};

both!(
    a_mail_arrives,
    a_mail_in_markdown_has_two_parts,
    a_relay_that_asks_for_a_login_gets_one,
    a_wrong_password_is_told_and_not_repeated,
    a_mailbox_that_is_not_there_is_told,
    what_a_relay_refuses_has_the_word_of_the_definition,
    what_a_relay_defers_has_the_word_of_the_definition,
    the_definition_says_what_is_tried_again,
    a_relay_that_defers_is_tried_again,
    a_relay_that_hangs_ends_in_a_timeout,
    who_is_deferred_gets_the_mail_later_and_the_others_once,
    who_is_refused_keeps_the_mail_from_nobody,
);

/// A server, a relay, and Ann with her Preset on `email`.
struct Post {
    world: World,
    relay: SmtpSink,
    ann: Client,
    preset: String,
}

impl Post {
    async fn start(world: World, relay: SmtpSink, more: Value) -> Self {
        let ann = world.user("ann").await;
        let params = json!({
            "host": "127.0.0.1", "port": relay.relay().port, "security": "none",
            "from": "push@example.org", "to": "bob@example.net, cid@example.net",
        });
        let preset = ann.preset("email", with(params, more)).await;
        Self { world, relay, ann, preset }
    }

    async fn plain() -> Self {
        Self::start(World::start().await, SmtpSink::start().await, json!({})).await
    }

    /// Pushes; what the task then is.
    async fn push(&self, params: Value) -> Value {
        let task = task_id(&self.ann.pushed(&self.preset, params).await);
        self.world.settle().await;
        self.ann.task(&task).await
    }
}

async fn a_mail_arrives() {
    let post = Post::plain().await;
    let task = post.push(json!({ "title": "磁盘 full", "content": "90 %\n.end" })).await;
    assert_eq!(task["state"], "succeeded");
    assert_eq!(task["attempt_log"][0]["status"], 250);
    let mail = post.relay.only_mail();
    assert_eq!((&*mail.from, mail.to.len()), ("push@example.org", 2));
    assert_eq!(mail.subject(), "磁盘 full");
    assert_eq!(mail.parts(), [("text/plain".to_owned(), "90 %\n.end".to_owned())]);
    let id = format!("<{}@example.org>", text(&task["task_id"]));
    assert_eq!(mail.header("message-id"), Some(id), "the same at every attempt");
}

const BOB: &str = "bob@example.net";
const CID: &str = "cid@example.net";

/// Whom each mail that was taken went to.
fn recipients(post: &Post) -> Vec<Vec<String>> {
    post.relay.mails().into_iter().map(|mail| mail.to).collect()
}

async fn who_is_deferred_gets_the_mail_later_and_the_others_once() {
    let post = Post::start(
        World::builder().retry_waits_ms(&[60_000, 60_000]).start().await,
        SmtpSink::start().await,
        json!({ "cc": "dan@example.net" }),
    );
    let mut post = post.await;
    post.relay.refuse(CID, "450 4.2.0 greylisted");
    let task = post.push(json!({ "content": "c" })).await;
    assert_eq!((&task["state"], &task["error"]["code"]), (&json!("waiting"), &json!("email:mailbox_busy")));
    assert_eq!(recipients(&post), [[BOB, "dan@example.net"]], "at once");
    // Another process knows whom it reached as well.
    post.world.restart().await;
    post.relay.welcome(CID);
    post.world.forward(100_000);
    let task = text(&task["task_id"]);
    post.relay.expect(2).await;
    post.world.settle().await;
    assert_eq!(post.ann.task(&task).await["state"], "succeeded");
    assert_eq!(recipients(&post)[1..], [[CID]]);
}

async fn who_is_refused_keeps_the_mail_from_nobody() {
    let post = Post::plain().await;
    post.relay.refuse(BOB, "550 5.1.1 no such user");
    let task = post.push(json!({ "content": "c" })).await;
    assert_eq!((&task["state"], &task["attempts"]), (&json!("failed"), &json!(1)));
    assert_eq!(task["error"]["code"], "email:mailbox_not_found");
    let told = "The relay refused bob@example.net (5.1.1 no such user); it took the mail for the other 1.";
    assert_eq!(task["attempt_log"][0]["response"], told);
    assert_eq!(recipients(&post), [[CID]]);
    // Tried again by hand, it goes to whom it did not reach.
    post.relay.welcome(BOB);
    let path = format!("/task/{}/retry/", text(&task["task_id"]));
    post.ann.post(&path, json!({})).await.data();
    post.world.settle().await;
    assert_eq!(recipients(&post), [[CID], [BOB]]);
}

async fn a_mail_in_markdown_has_two_parts() {
    let post = Post::plain().await;
    post.push(json!({ "content": "**full** <b>", "format": "markdown", "title": "a\r\nBcc: evil@example.org" })).await;
    let mail = post.relay.only_mail();
    let kinds: Vec<String> = mail.parts().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    assert!(mail.parts()[1].1.contains("<strong>full</strong> &lt;b&gt;"), "{:?}", mail.parts());
    assert_eq!((mail.header("bcc"), mail.to.len()), (None, 2), "a title cannot add a recipient");
}

async fn a_relay_that_asks_for_a_login_gets_one() {
    let relay = SmtpSink::start().await.with_login("ann@example.org", "s3cret päss");
    let login = json!({ "username": "ann@example.org", "password": "s3cret päss" });
    let post = Post::start(World::start().await, relay, login).await;
    assert_eq!(post.push(json!({ "content": "c" })).await["state"], "succeeded");
    assert_eq!(post.relay.only_mail().login.as_deref(), Some("ann@example.org"));
}

async fn a_wrong_password_is_told_and_not_repeated() {
    let relay = SmtpSink::start().await.with_login("ann@example.org", "right");
    let login = json!({ "username": "ann@example.org", "password": "wrong-password" });
    let post = Post::start(World::start().await, relay, login).await;
    let task = post.push(json!({ "content": "c" })).await;
    assert_eq!((&task["state"], &task["error"]["code"]), (&json!("failed"), &json!("email:relay_auth_failed")));
    assert_eq!((&task["attempts"], &task["attempt_log"][0]["status"]), (&json!(1), &json!(535)));
    assert!(!task.to_string().contains("wrong-password"), "{task}");
}

async fn a_mailbox_that_is_not_there_is_told() {
    let post = Post::plain().await;
    post.relay.script(vec![Trouble::say("RCPT", "550 5.1.1 no such user")]);
    let task = post.push(json!({ "content": "c" })).await;
    assert_eq!((&task["state"], &task["attempts"]), (&json!("failed"), &json!(1)));
    assert_eq!(task["error"]["code"], "email:mailbox_not_found");
    assert_eq!(task["attempt_log"][0]["status"], 550);
    assert!(text(&task["error"]["message"]).contains("no such user"), "{task}");
}

async fn what_a_relay_refuses_has_the_word_of_the_definition() {
    let post = Post::plain().await;
    for (at, reply, code) in [
        ("END", "552 5.2.2 mailbox full", "email:mailbox_full"),
        ("DATA", "554 5.7.1 spam", "email:relay_refused"),
        ("MAIL", "553 5.1.8 sender not allowed", "email:relay_refused"),
        ("MAIL", "530 5.7.0 log in first", "email:relay_auth_failed"),
    ] {
        post.relay.script(vec![Trouble::say(at, reply)]);
        let task = post.push(json!({ "content": "c" })).await;
        assert_eq!((&task["state"], &task["attempts"]), (&json!("failed"), &json!(1)), "{reply}");
        assert_eq!((&task["error"]["code"], &task["attempt_log"][0]["code"]), (&json!(code), &json!(code)), "{reply}");
    }
}

async fn what_a_relay_defers_has_the_word_of_the_definition() {
    let post = Post::plain().await;
    for replies in [
        [("450 4.2.1 greylisted", "email:mailbox_busy"), ("452 4.2.2 over quota", "email:mailbox_full")],
        [("451 4.3.0 later", "email:relay_unavailable"), ("421 4.3.2 closing", "email:relay_unavailable")],
    ] {
        post.relay.script(replies.iter().map(|(reply, _)| Trouble::say("RCPT", reply)).collect());
        let task = post.push(json!({ "content": "c", "to": BOB })).await;
        assert_eq!((&task["state"], &task["attempts"]), (&json!("succeeded"), &json!(3)), "{replies:?}");
        for (at, (reply, code)) in replies.iter().enumerate() {
            assert_eq!(task["attempt_log"][at]["code"], *code, "{reply}");
        }
    }
}

async fn the_definition_says_what_is_tried_again() {
    let rules = "[response.retry]\nstatus = [550, 452]\n[response.final]\nstatus = [451, 452]\n\n[response.errors]";
    let email = include_str!("../../presets/services/email.toml").replace("[response.errors]", rules);
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    std::fs::write(folder.path().join("services/email.toml"), email).unwrap();
    let world = World::builder().start_in(Arc::new(folder)).await;
    let post = Post::start(world, SmtpSink::start().await, json!({})).await;
    for (reply, state, attempts, code) in [
        ("550 5.1.1 no such user", "succeeded", 2, "email:mailbox_not_found"),
        ("451 4.3.0 later", "failed", 1, "email:relay_unavailable"),
        ("452 4.2.2 over quota", "failed", 1, "email:mailbox_full"),
    ] {
        post.relay.script(vec![Trouble::say("RCPT", reply)]);
        let task = post.push(json!({ "content": "c" })).await;
        assert_eq!((&task["state"], &task["attempts"]), (&json!(state), &json!(attempts)), "{reply}");
        assert_eq!(task["attempt_log"][0]["code"], code, "{reply}");
    }
}

async fn a_relay_that_defers_is_tried_again() {
    let post = Post::plain().await;
    post.relay.script(vec![Trouble::close("MAIL"), Trouble::say("END", "451 4.3.0 later")]);
    let task = post.push(json!({ "content": "c" })).await;
    assert_eq!((&task["state"], &task["attempts"]), (&json!("succeeded"), &json!(3)));
    let statuses: Vec<&Value> = task["attempt_log"].as_array().unwrap().iter().map(|log| &log["status"]).collect();
    assert_eq!(statuses, [&Value::Null, &json!(451), &json!(250)]);
    post.relay.only_mail();
}

async fn a_relay_that_hangs_ends_in_a_timeout() {
    let world = World::builder().retry_waits_ms(&[]).hasty().start().await;
    let post = Post::start(world, SmtpSink::start().await, json!({})).await;
    post.relay.script(vec![Trouble::hang("CONNECT")]);
    let task = post.push(json!({ "content": "c" })).await;
    assert_eq!((&task["state"], &task["error"]["code"]), (&json!("failed"), &json!("email:timeout")));
}
