//! How answers are read, with the embedded Services and with rules made for it.

use std::time::Duration;

use serde_json::json;

use super::{ENV, mail_source, service};
use crate::domain::delivery::{Answer, Outcome, SendFailure};
use crate::domain::time::Timestamp;
use crate::service::{Catalogue, Service};

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

/// An outcome in one line.
fn spell(outcome: Outcome) -> String {
    match outcome {
        Outcome::Sent => "sent".into(),
        Outcome::Later { code, message, after: None } => format!("later {code} {message}"),
        Outcome::Later { code, message, after: Some(after) } => {
            format!("later+{} {code} {message}", after.as_secs_f64())
        }
        Outcome::Never { code, message } => format!("never {code} {message}"),
    }
}

fn with(response: &str) -> Service {
    service(&format!("[request]\nurl = \"http://h/\"\n{response}"))
}

fn check(service: &Service, table: &[(u16, &str, &str)]) {
    for (status, body, expected) in table {
        assert_eq!(spell(service.judge(&answer(*status, body), ENV.now)), *expected, "{status} {body}");
    }
}

#[test]
fn without_rules_the_status_decides() {
    let service = with("");
    check(
        &service,
        &[
            (200, "", "sent"),
            (204, "", "sent"),
            (304, "", "never t:http_304 status 304"),
            (400, "bad\n  thing", "never t:http_400 bad thing"),
            (408, "", "later t:http_408 status 408"),
            (425, "", "later t:http_425 status 425"),
            (429, "", "later t:http_429 status 429"),
            (500, "<html>", "later t:http_500 status 500"),
            (599, "", "later t:http_599 status 599"),
        ],
    );
}

#[test]
fn embedded_services_read_what_their_channels_say() {
    let catalogue = Catalogue::embedded().unwrap();
    for (id, status, body, expected) in [
        ("bark", 200, r#"{"code":200,"message":"success"}"#, "sent"),
        (
            "bark",
            400,
            r#"{"code":400,"message":"failed to get device token"}"#,
            "never bark:device_not_found failed to get device token",
        ),
        ("bark", 500, r#"{"code":500,"message":"push failed: x"}"#, "later bark:push_refused push failed: x"),
        ("bark", 200, "<html>proxy</html>", "never bark:unexpected_answer status 200"),
        ("ntfy", 200, r#"{"id":"x"}"#, "sent"),
        ("ntfy", 429, r#"{"code":42901,"http":429,"error":"limit reached"}"#, "later ntfy:too_fast limit reached"),
        ("ntfy", 429, r#"{"code":42908,"http":429,"error":"daily"}"#, "never ntfy:quota_exceeded daily"),
        ("ntfy", 403, r#"{"code":40301,"http":403,"error":"forbidden"}"#, "never ntfy:forbidden forbidden"),
        ("gotify", 200, r#"{"id":25}"#, "sent"),
        (
            "gotify",
            401,
            r#"{"error":"Unauthorized","errorCode":401,"errorDescription":"no token"}"#,
            "never gotify:unauthorized no token",
        ),
        ("telegram", 200, r#"{"ok":true,"result":{}}"#, "sent"),
        (
            "telegram",
            429,
            r#"{"ok":false,"error_code":429,"description":"Too Many","parameters":{"retry_after":7}}"#,
            "later+7 telegram:too_fast Too Many",
        ),
        (
            "telegram",
            403,
            r#"{"ok":false,"error_code":403,"description":"bot was blocked"}"#,
            "never telegram:forbidden bot was blocked",
        ),
        ("discord", 200, r#"{"id":"1"}"#, "sent"),
        ("discord", 204, "", "sent"),
        ("discord", 429, r#"{"message":"slow","retry_after":0.65,"global":false}"#, "later+0.65 discord:too_fast slow"),
        (
            "discord",
            404,
            r#"{"message":"Unknown Webhook","code":10015}"#,
            "never discord:webhook_not_found Unknown Webhook",
        ),
        ("slack", 200, "ok", "sent"),
        ("slack", 404, "no_service", "never slack:webhook_not_found no_service"),
        ("slack", 500, "rollup_error", "later slack:busy rollup_error"),
        ("slack", 400, "something strange, in words", "never slack:http_400 something strange, in words"),
        ("feishu_bot", 200, r#"{"StatusCode":0,"StatusMessage":"success"}"#, "sent"),
        ("feishu_bot", 200, r#"{"code":0,"msg":"success","data":{}}"#, "sent"),
        ("feishu_bot", 200, r#"{"StatusCode":9499,"StatusMessage":"bad"}"#, "never feishu_bot:message_invalid bad"),
        ("feishu_bot", 200, r#"{"msg":"ok"}"#, "never feishu_bot:unexpected_answer ok"),
        ("serverchan", 200, r#"{"code":0,"message":"","data":{"errno":0,"error":"SUCCESS"}}"#, "sent"),
        ("serverchan", 200, r#"{"code":0,"message":"SUCCESS"}"#, "sent"),
        (
            "serverchan",
            200,
            r#"{"code":0,"message":"","data":{"errno":1024,"error":"repeated"}}"#,
            "never serverchan:message_repeated repeated",
        ),
        ("serverchan", 400, r#"{"code":40001,"message":"bad key"}"#, "never serverchan:sendkey_invalid bad key"),
        ("wecom_bot", 200, r#"{"errcode":0,"errmsg":"ok"}"#, "sent"),
        (
            "wecom_bot",
            200,
            r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#,
            "never wecom_bot:bot_not_found invalid webhook url",
        ),
        ("wecom_bot", 200, r#"{"errcode":45009,"errmsg":"freq"}"#, "later+60 wecom_bot:too_fast freq"),
        ("wecom_bot", 200, r#"{"errcode":-1,"errmsg":"busy"}"#, "later wecom_bot:busy busy"),
        ("wecom_bot", 200, r#"{"errcode":40001,"errmsg":"x"}"#, "never wecom_bot:code_40001 x"),
        (
            "dingtalk_bot",
            200,
            r#"{"errcode":130101,"errmsg":"send too fast"}"#,
            "later+600 dingtalk_bot:too_fast send too fast",
        ),
        (
            "dingtalk_bot",
            200,
            r#"{"errcode":310000,"errmsg":"sign not match"}"#,
            "never dingtalk_bot:security_check_failed sign not match",
        ),
        ("feishu_bot", 200, r#"{"StatusCode":0,"code":0,"msg":"success"}"#, "sent"),
        (
            "feishu_bot",
            200,
            r#"{"code":19021,"msg":"sign match fail"}"#,
            "never feishu_bot:signature_refused sign match fail",
        ),
        (
            "feishu_bot",
            200,
            r#"{"code":11232,"msg":"frequency limited"}"#,
            "later feishu_bot:too_fast frequency limited",
        ),
        ("serverchan", 200, r#"{"code":0,"data":{}}"#, "sent"),
        ("serverchan", 400, r#"{"code":40001,"message":"bad key"}"#, "never serverchan:sendkey_invalid bad key"),
        ("webhook", 204, "", "sent"),
        ("webhook", 410, "", "never webhook:http_410 status 410"),
        ("email", 250, "", "sent"),
    ] {
        let service = catalogue.get(id).unwrap();
        assert_eq!(spell(service.judge(&answer(status, body), ENV.now)), expected, "{id} {status} {body}");
    }
}

#[test]
fn success_rules() {
    for (rule, good, bad) in [
        (
            "pointer = \"/c\"\nequals = 0",
            vec![r#"{"c":0}"#, r#"{"c":"0"}"#],
            vec![r#"{"c":1}"#, r#"{"c":null}"#, "{}", "0", ""],
        ),
        ("pointer = \"/c\"\none_of = [0, 1]", vec![r#"{"c":1}"#], vec![r#"{"c":2}"#, "{}"]),
        ("pointer = \"/c\"\nexists = true", vec![r#"{"c":false}"#], vec![r#"{"c":null}"#, "{}"]),
        ("pointer = \"/c\"\nexists = false", vec![r#"{"c":null}"#, "{}"], vec![r#"{"c":0}"#, "no json"]),
        ("pointer = \"/c\"\nnot_empty = true", vec![r#"{"c":[0]}"#], vec![r#"{"c":[]}"#, "{}"]),
        (
            "every = \"/d/*/c\"\nequals = 0",
            vec![r#"{"d":[{"c":0},{"c":0}]}"#],
            vec![r#"{"d":[]}"#, r#"{"d":[{"c":0},{"c":1}]}"#, r#"{"d":[{"c":0},{}]}"#, "{}"],
        ),
        ("every = \"/*/*\"\nequals = \"x\"", vec![r#"[["x"],["x","x"]]"#], vec![r#"[["x"],[]]"#, "[]"]),
        ("body_equals = \"ok\"", vec!["ok", " ok\n"], vec!["okay", ""]),
        ("body_begins = \"ID:\"", vec!["ID: 7"], vec!["x ID:"]),
    ] {
        let service = with(&format!("[[response.success]]\n{rule}\n"));
        for body in good {
            assert_eq!(service.judge(&answer(200, body), ENV.now), Outcome::Sent, "{rule} {body}");
        }
        for body in bad {
            let outcome = spell(service.judge(&answer(200, body), ENV.now));
            assert!(outcome.starts_with("never t:unexpected_answer"), "{rule} {body}: {outcome}");
        }
        assert!(spell(service.judge(&answer(500, "ok"), ENV.now)).starts_with("later t:http_500"), "{rule}");
    }
}

#[test]
fn rules_for_statuses_and_codes() {
    let service = with(
        "[response]\nstatus = [202]\ncode = \"/c\"\n[response.retry]\nstatus = [404]\ncodes = [\"busy\", 7]\n[response.final]\nstatus = [503]\ncodes = [42]\n",
    );
    check(
        &service,
        &[
            (202, "{}", "sent"),
            (200, "{}", "never t:http_200 {}"),
            (404, "{}", "later t:http_404 {}"),
            (503, "{}", "never t:http_503 {}"),
            (400, r#"{"c":"busy"}"#, r#"later t:code_busy {"c":"busy"}"#),
            (503, r#"{"c":7}"#, r#"later t:code_7 {"c":7}"#),
            (500, r#"{"c":42}"#, r#"never t:code_42 {"c":42}"#),
            (400, r#"{"c":"<script> x"}"#, r#"never t:http_400 {"c":"<script> x"}"#),
        ],
    );
}

#[test]
fn how_long_to_wait() {
    let header = |name: &str, value: &str| Answer {
        status: 429,
        headers: vec![(name.into(), value.into())],
        body: br#"{"ms":1500,"s":"2"}"#.to_vec(),
    };
    let after = |service: &Service, answer: &Answer| match service.judge(answer, ENV.now) {
        Outcome::Later { after, .. } => after,
        other => panic!("{other:?}"),
    };
    let plain = with("");
    assert_eq!(after(&plain, &header("Retry-After", " 12 ")), Some(Duration::from_secs(12)));
    assert_eq!(
        after(&plain, &header("retry-after", "Sat, 21 Nov 2026 08:01:00 GMT")),
        Some(Duration::from_millis(59_877))
    );
    assert_eq!(after(&plain, &header("retry-after", "Sat, 21 Nov 2020 08:01:00 GMT")), Some(Duration::ZERO));
    for odd in ["-1", "soon", "NaN", ""] {
        assert_eq!(after(&plain, &header("retry-after", odd)), None, "{odd}");
    }
    assert_eq!(after(&plain, &header("retry-after", "1e300")), Some(Duration::from_secs(7 * 24 * 3600)));
    let own = with(
        "[[response.retry_after]]\nheader = \"X-Wait\"\n[[response.retry_after]]\npointer = \"/nope\"\n[[response.retry_after]]\npointer = \"/ms\"\nunit = \"ms\"\n",
    );
    assert_eq!(after(&own, &header("x-wait", "3")), Some(Duration::from_secs(3)));
    assert_eq!(after(&own, &header("x", "3")), Some(Duration::from_millis(1500)));
    let text = with("[[response.retry_after]]\npointer = \"/s\"\n");
    assert_eq!(after(&text, &header("x", "")), Some(Duration::from_secs(2)));
}

#[test]
fn texts_for_people_are_one_short_line() {
    let service = with("[response]\nmessage = \"/m\"\n");
    let long = json!({"m": format!("第一行\r\n\t{}", "x".repeat(400))}).to_string();
    let Outcome::Never { message, .. } = service.judge(&answer(400, &long), Timestamp(0)) else { panic!() };
    assert!(message.starts_with("第一行 xxx") && message.ends_with("x…"), "{message}");
    assert_eq!(message.chars().count(), 300);
}

#[test]
fn failures_keep_their_word() {
    let service = with("");
    let message = "no answer\nin time".to_owned();
    let failure = |retry| SendFailure { message: message.clone(), retry, status: None, ..refused("timeout", 0) };
    assert_eq!(spell(service.failure(&failure(true))), "later t:timeout no answer in time");
    assert_eq!(spell(service.failure(&failure(false))), "never t:timeout no answer in time");
}

/// A Service that sends mails.
fn with_mail(response: &str) -> Service {
    Service::parse("m.toml", &mail_source(response)).unwrap()
}

/// What a relay refused, or deferred, as the sender tells it.
fn refused(code: &'static str, status: u16) -> SendFailure {
    let (message, retry) = ("5.0.0\nno".to_owned(), status < 500);
    SendFailure { code, message, retry, status: Some(status), begun: None, reached: Vec::new() }
}

#[test]
fn what_a_relay_says_has_the_word_of_the_definition() {
    let catalogue = Catalogue::embedded().unwrap();
    let email = catalogue.get("email").unwrap();
    for (code, status, expected) in [
        ("relay_refused", 550, "never email:mailbox_not_found 5.0.0 no"),
        ("relay_refused", 552, "never email:mailbox_full 5.0.0 no"),
        ("relay_refused", 553, "never email:relay_refused 5.0.0 no"),
        ("relay_unavailable", 450, "later email:mailbox_busy 5.0.0 no"),
        ("relay_unavailable", 451, "later email:relay_unavailable 5.0.0 no"),
        ("relay_auth_failed", 530, "never email:relay_auth_failed 5.0.0 no"),
        ("relay_auth_failed", 535, "never email:relay_auth_failed 5.0.0 no"),
        // At the login it says nothing of a mailbox.
        ("relay_auth_failed", 550, "never email:relay_auth_failed 5.0.0 no"),
    ] {
        assert_eq!(spell(email.failure(&refused(code, status))), expected, "{code} {status}");
    }
    assert_eq!(spell(email.judge(&answer(250, ""), ENV.now)), "sent");
}

#[test]
fn the_definition_of_a_mail_says_what_is_tried_again() {
    let service = with_mail(
        "[response.retry]\nstatus = [450, 535, 550]\n[response.final]\nstatus = [450, 451]\n[response.errors]\nsmtp_535 = \"login\"\n",
    );
    for (code, status, expected) in [
        ("relay_refused", 550, "later t:relay_refused 5.0.0 no"),
        ("relay_refused", 554, "never t:relay_refused 5.0.0 no"),
        ("relay_unavailable", 450, "never t:relay_unavailable 5.0.0 no"),
        ("relay_unavailable", 451, "never t:relay_unavailable 5.0.0 no"),
        ("relay_unavailable", 452, "later t:relay_unavailable 5.0.0 no"),
        ("relay_auth_failed", 535, "later t:login 5.0.0 no"),
        ("relay_auth_failed", 550, "never t:relay_auth_failed 5.0.0 no"),
    ] {
        assert_eq!(spell(service.failure(&refused(code, status))), expected, "{code} {status}");
    }
}
