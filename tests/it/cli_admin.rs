//! `fanfare admin` on accounts and codes, beside a running server; and what the server says at its start of signing up.

use serde_json::json;

use crate::support::client::text;
use crate::support::http_sink::HttpSink;
use crate::support::install::{EMAIL, PASSWORD, logged_in, login, printed, refused, with_admin};
use crate::support::program::Program;
use crate::support::world::webhook;

#[tokio::test]
async fn a_person_is_invited_confirmed_shut_out_and_let_in_again() {
    let program = with_admin();
    let server = program.serve().await;
    let nobody = server.client(None);
    let code = printed(program.run(&["admin", "invite", "--email", "Ann@example.com", "--days", "2"]).await);
    let wish = json!({ "code": code.trim(), "email": "ann@example.com", "password": PASSWORD });
    nobody.post("/account/user/create/", wish).await.data();
    assert_eq!(login(&nobody, "ann@example.com", PASSWORD).await, None);
    assert_eq!(printed(program.run(&["admin", "confirm", "ann@example.com"]).await), "confirmed ann@example.com\n");
    let token = login(&nobody, "ann@example.com", PASSWORD).await.expect("a token");
    assert_eq!(printed(program.run(&["admin", "disable", "ann@example.com"]).await), "disabled ann@example.com\n");
    assert_eq!(server.client(Some(&token)).get("/preset/").await.refusal(), (401, "token_invalid"));
    assert_eq!(login(&nobody, "ann@example.com", PASSWORD).await, None);
    assert_eq!(printed(program.run(&["admin", "enable", "ann@example.com"]).await), "enabled ann@example.com\n");
    let token = login(&nobody, "ann@example.com", PASSWORD).await.expect("a token");
    let ann = server.client(Some(&token));
    let events = ann.get("/audit/").await.items();
    let by_hand: Vec<_> =
        events.iter().rev().filter(|event| event["origin"] == "cli").map(|event| text(&event["action"])).collect();
    assert_eq!(by_hand, ["account_confirmed", "account_disabled", "account_enabled"]);
    let script = ann.with_scopes(&["read"]).await;
    let changed = program.run_with(&["admin", "set-password", "ann@example.com"], "a new password\n").await;
    assert_eq!(printed(changed), "changed the password of ann@example.com\n");
    for client in [ann, script] {
        assert_eq!(client.get("/preset/").await.refusal(), (401, "token_invalid"));
    }
}

#[tokio::test]
async fn who_is_shut_out_beside_a_server_pushes_no_more_and_nothing_of_theirs_waits() {
    let program = with_admin();
    let (server, _) = logged_in(&program).await;
    let sink = HttpSink::start().await;
    let password = &format!("{PASSWORD}\n");
    printed(program.run_with(&["admin", "create-user", "ann@example.com"], password).await);
    let token = login(&server.client(None), "ann@example.com", PASSWORD).await.expect("a token");
    let ann = server.client(Some(&token));
    let preset = ann.preset("webhook", webhook(&sink)).await;
    // So that the server knows the Preset, and need not look.
    ann.pushed(&preset, json!({ "content": "before" })).await;
    assert_eq!(sink.next().await.json()["content"], "before");
    let waits = text(&ann.pushed(&preset, json!({ "content": "waits", "delay": 3600 })).await["task_id"]);
    printed(program.run(&["admin", "disable", "ann@example.com"]).await);
    let nobody = server.client(None);
    assert_eq!(nobody.push(&preset, json!({ "content": "after" })).await.refusal(), (404, "pusher_not_found"));
    printed(program.run(&["admin", "enable", "ann@example.com"]).await);
    let token = login(&nobody, "ann@example.com", PASSWORD).await.expect("a token");
    assert_eq!(server.client(Some(&token)).task(&waits).await["state"], "revoked");
    nobody.pushed(&preset, json!({ "content": "again" })).await;
    assert_eq!(sink.next().await.json()["content"], "again");
}

#[tokio::test]
async fn what_cannot_be_done_is_told() {
    let program = with_admin();
    printed(program.run_with(&["admin", "create-user", EMAIL, "--admin"], PASSWORD).await);
    assert_eq!(refused(&program.run(&["admin", "disable", EMAIL]).await), "this is the last administrator");
    for command in ["confirm", "disable", "enable"] {
        let told = program.run(&["admin", command, "nobody@example.com"]).await;
        assert_eq!(refused(&told), "there is no account with the address nobody@example.com");
    }
    let told = program.run(&["admin", "invite", "--times", "0"]).await;
    assert_eq!(refused(&told), "the times is not acceptable: out of range");
    assert_eq!(refused(&program.run(&["admin", "invite", "--email", "ann"]).await), "ann is not a mail address");
}

#[tokio::test]
async fn where_no_server_has_been_nothing_is_made() {
    let program = Program::new();
    for command in [&["admin", "invite"][..], &["admin", "disable", EMAIL], &["admin", "confirm", EMAIL]] {
        let told = program.run(command).await;
        assert_eq!(refused(&told), "there is no database at ./data/fanfare.db");
    }
    assert_eq!(std::fs::read_dir(program.folder()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_server_says_at_its_start_what_will_not_work() {
    let start = async |program: Program| {
        let server = program.serve().await;
        let (code, log) = server.end("TERM").await;
        assert_eq!(code, Some(0));
        log
    };
    let log = start(Program::new()).await;
    assert!(log.contains("whoever signs up must be confirmed by an administrator"), "{log}");
    let log = start(Program::new().with("FANFARE_REGISTRATION", "closed")).await;
    assert!(log.contains("forgotten passwords cannot be reset by mail"), "{log}");
    assert!(!log.contains("must be confirmed by an administrator"), "{log}");
    let mailing = Program::new().with("FANFARE_MAIL_URL", "smtp://127.0.0.1:1").with("FANFARE_REGISTRATION", "open");
    let log = start(mailing).await;
    assert!(log.contains("public_url is not set") && log.contains("recaptcha.secret"), "{log}");
    assert!(!log.contains("mail.url"), "{log}");
}
