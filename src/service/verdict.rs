//! Reads an answer: did it arrive, may another attempt go better, and how long does the channel ask to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::answer::{MAX_WAIT, Read, one_line};
use super::compile::Fault;
use super::definition::{self, Pointers, RetryAfter, Success};
use super::helpers::as_text;
use super::{Service, Transport};
use crate::domain::delivery::{Answer, Outcome, SendFailure};
use crate::domain::time::Timestamp;

/// A compiled `[response]`.
#[derive(Debug, Clone)]
pub struct Response {
    transport: Transport,
    status: Option<Vec<u16>>,
    success: Vec<Success>,
    code: Option<Pointers>,
    message: Option<Pointers>,
    retry: Verdicts,
    last: Verdicts,
    retry_after: Vec<(RetryAfter, Vec<String>)>,
    errors: BTreeMap<String, String>,
}

/// Statuses and channel codes, the codes as text.
#[derive(Debug, Clone)]
struct Verdicts {
    status: Vec<u16>,
    codes: Vec<String>,
}

impl Verdicts {
    fn new(written: definition::Verdicts) -> Self {
        Self { status: written.status, codes: texts(&written.codes) }
    }

    fn names(&self, code: Option<&str>) -> bool {
        code.is_some_and(|code| self.codes.iter().any(|known| known == code))
    }
}

impl Response {
    /// Checks what is written: pointers, rules, words.
    pub fn new(written: definition::Response, transport: Transport) -> Result<Self, Fault> {
        if transport == Transport::Smtp {
            check_for_mail(&written)?;
        }
        for (key, pointer) in [("code", &written.code), ("message", &written.message)] {
            check_pointers(pointer.as_ref(), &format!("response.{key}"))?;
        }
        for (index, rule) in written.success.iter().enumerate() {
            check_rule(rule, &format!("response.success.{index}"))?;
        }
        for (index, source) in written.retry_after.iter().enumerate() {
            let at = format!("response.retry_after.{index}");
            check_pointer(source.pointer.as_deref(), &at)?;
            let ways = [source.header.is_some(), source.pointer.is_some(), source.fixed.is_some()];
            if ways.into_iter().filter(|given| *given).count() != 1 {
                return Err(Fault::new(&at, "needs one of `header`, `pointer` and `fixed`"));
            }
        }
        for (code, word) in &written.errors {
            if !is_word(word) {
                let at = vec!["response".into(), "errors".into(), code.clone()];
                return Err(Fault { at, reason: "is not a word of a-z, 0-9 and _".into() });
            }
        }
        let retry_after = written.retry_after.into_iter().map(|source| {
            let codes = texts(&source.codes);
            (source, codes)
        });
        Ok(Self {
            transport,
            status: written.status,
            success: written.success,
            code: written.code,
            message: written.message,
            retry: Verdicts::new(written.retry),
            last: Verdicts::new(written.last),
            retry_after: retry_after.collect(),
            errors: written.errors,
        })
    }
}

impl Service {
    /// What an answer means. Codes are the Service's id, a colon and a stable word.
    pub fn judge(&self, answer: &Answer, now: Timestamp) -> Outcome {
        let rules = &self.response;
        let read = Read::new(answer);
        let status_fits = self.takes(answer.status);
        if status_fits && rules.success.iter().all(|rule| read.meets(rule)) {
            return Outcome::Sent;
        }
        let channel_code = rules.code.as_ref().and_then(|pointer| read.code(pointer));
        let channel_code = channel_code.as_deref();
        let code = format!("{}:{}", self.spec.id, rules.word(channel_code, answer.status, status_fits));
        let message = rules.message.as_ref().and_then(|pointer| read.text(pointer));
        let message = message.unwrap_or_else(|| read.anything());
        if rules.is_passing(channel_code, answer.status, status_fits) {
            Outcome::Later { code, message, after: rules.after(&read, channel_code, now) }
        } else {
            Outcome::Never { code, message }
        }
    }

    /// Whether a status is one of success, as far as a status can tell.
    pub fn takes(&self, status: u16) -> bool {
        match &self.response.status {
            Some(statuses) => statuses.contains(&status),
            None => (200..300).contains(&status),
        }
    }

    /// What it means that no answer came, or that a relay did not take a mail: what the definition says of its reply,
    /// else what the sender does.
    pub fn failure(&self, failure: &SendFailure) -> Outcome {
        let reply = reply_about_the_mail(failure);
        let word = reply.and_then(|status| self.response.errors.get(&smtp_key(status)));
        let code = format!("{}:{}", self.spec.id, word.map_or(failure.code, String::as_str));
        let message = one_line(&failure.message);
        let passing = reply.and_then(|status| self.response.passing_by_status(status)).unwrap_or(failure.retry);
        if passing { Outcome::Later { code, message, after: None } } else { Outcome::Never { code, message } }
    }
}

/// The status of a relay's reply, if the definition is asked about it. At the login a status such as 550 means something
/// else than afterwards; three of them never mean anything but the login.
fn reply_about_the_mail(failure: &SendFailure) -> Option<u16> {
    let login = failure.code == "relay_auth_failed";
    // An answer that broke off has a status as well.
    let reply = failure.status.filter(|_| failure.begun.is_none());
    reply.filter(|status| !login || matches!(status, 530 | 534 | 535))
}

impl Response {
    fn word(&self, channel_code: Option<&str>, status: u16, status_fits: bool) -> String {
        let kind = if self.transport == Transport::Smtp { "smtp" } else { "http" };
        let by_status = format!("{kind}_{status}");
        let known = channel_code.and_then(|code| self.errors.get(code));
        let known = known.or_else(|| self.errors.get(&by_status).filter(|_| !status_fits));
        match (known, channel_code) {
            (Some(word), _) => word.clone(),
            (None, Some(code)) => format!("code_{code}"),
            (None, None) if status_fits => "unexpected_answer".into(),
            (None, None) => by_status,
        }
    }

    /// Whether another attempt may go better. What names a channel's code beats what names a status.
    fn is_passing(&self, channel_code: Option<&str>, status: u16, status_fits: bool) -> bool {
        if self.last.names(channel_code) {
            return false;
        }
        if self.retry.names(channel_code) {
            return true;
        }
        let may_pass = !status_fits && matches!(status, 408 | 425 | 429 | 500..);
        self.passing_by_status(status).unwrap_or(may_pass)
    }

    /// What the definition says of a status, if it does.
    fn passing_by_status(&self, status: u16) -> Option<bool> {
        let last = self.last.status.contains(&status);
        (last || self.retry.status.contains(&status)).then_some(!last)
    }

    fn after(&self, read: &Read<'_>, channel_code: Option<&str>, now: Timestamp) -> Option<Duration> {
        let fits = |codes: &[String]| codes.is_empty() || codes.iter().any(|code| Some(code.as_str()) == channel_code);
        let sources = self.retry_after.iter().filter(|(_, codes)| fits(codes));
        let mut waits = sources.filter_map(|(source, _)| match (&source.header, &source.pointer, source.fixed) {
            (Some(header), _, _) => read.wait_in_header(header, now),
            (_, Some(pointer), _) => read.wait_at(pointer, source.unit),
            (_, _, fixed) => fixed.map(Duration::from_secs),
        });
        waits
            .next()
            .or_else(|| read.wait_in_header("retry-after", now))
            .map(|wait| wait.min(Duration::from_secs(MAX_WAIT)))
    }
}

/// Refuses what is not asked about a mail. A relay answers with a status: what it takes is sent, and only of what it
/// refuses or defers there is something to say.
fn check_for_mail(written: &definition::Response) -> Result<(), Fault> {
    let unasked = [
        ("status", written.status.is_some()),
        ("success", !written.success.is_empty()),
        ("code", written.code.is_some()),
        ("message", written.message.is_some()),
        ("retry.codes", !written.retry.codes.is_empty()),
        ("final.codes", !written.last.codes.is_empty()),
        ("retry_after", !written.retry_after.is_empty()),
    ];
    if let Some((key, _)) = unasked.into_iter().find(|(_, given)| *given) {
        let reason = "is not asked about a mail: what a relay takes is sent, and of the rest only the status counts";
        return Err(Fault::new(&format!("response.{key}"), reason));
    }
    for (key, statuses) in [("retry", &written.retry.status), ("final", &written.last.status)] {
        if !statuses.iter().all(is_refusal) {
            let at = format!("response.{key}.status");
            return Err(Fault::new(&at, "a relay refuses with a status from 400 to 599"));
        }
    }
    let names_one = |key: &str| {
        let status = key.strip_prefix("smtp_").and_then(|status| status.parse().ok());
        status.filter(is_refusal).is_some_and(|status| *key == smtp_key(status))
    };
    match written.errors.keys().find(|key| !names_one(key)) {
        Some(key) => {
            let at = vec!["response".into(), "errors".into(), key.clone()];
            Err(Fault { at, reason: "is not `smtp_` and a status from 400 to 599".into() })
        }
        None => Ok(()),
    }
}

/// Whether a relay refuses or defers a mail with this status.
fn is_refusal(status: &u16) -> bool {
    (400..600).contains(status)
}

/// What a relay's status is called in `[response.errors]`.
fn smtp_key(status: u16) -> String {
    format!("smtp_{status}")
}

fn texts(codes: &[Value]) -> Vec<String> {
    codes.iter().map(|code| as_text(code).into_owned()).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn check_pointer(pointer: Option<&str>, at: &str) -> Result<(), Fault> {
    let Some(pointer) = pointer else { return Ok(()) };
    let escapes_fit = pointer.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if (pointer.is_empty() || pointer.starts_with('/')) && escapes_fit {
        return Ok(());
    }
    Err(Fault::new(at, "is not a JSON pointer: empty, or /a/b with ~0 for ~ and ~1 for /"))
}

fn check_pointers(pointers: Option<&Pointers>, at: &str) -> Result<(), Fault> {
    let Some(pointers) = pointers.map(Pointers::all) else { return Ok(()) };
    if pointers.is_empty() {
        return Err(Fault::new(at, "names no pointer"));
    }
    pointers.iter().try_for_each(|pointer| check_pointer(Some(pointer), at))
}

fn check_rule(rule: &Success, at: &str) -> Result<(), Fault> {
    check_pointers(rule.pointer.as_ref(), at)?;
    check_pointer(rule.every.as_deref(), at)?;
    let looks = [rule.pointer.is_some(), rule.every.is_some(), rule.body_equals.is_some(), rule.body_begins.is_some()];
    if looks.into_iter().filter(|given| *given).count() != 1 {
        return Err(Fault::new(at, "needs one of `pointer`, `every`, `body_equals` and `body_begins`"));
    }
    let asks = [rule.equals.is_some(), rule.one_of.is_some(), rule.exists.is_some(), rule.not_empty.is_some()];
    let asked = asks.into_iter().filter(|given| *given).count();
    let on_json = rule.pointer.is_some() || rule.every.is_some();
    if asked != usize::from(on_json) {
        return Err(Fault::new(at, "a pointer goes with one of `equals`, `one_of`, `exists` and `not_empty`"));
    }
    Ok(())
}
