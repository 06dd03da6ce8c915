//! Looks into an answer: its JSON, its text, its headers. It decides nothing.

use std::cell::OnceCell;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::definition::{Pointers, Success, Unit};
use super::helpers::as_text;
use crate::domain::delivery::Answer;
use crate::domain::time::Timestamp;

/// Longest text of a channel that is kept, in characters.
const MAX_MESSAGE: usize = 300;
/// Longest code of a channel that becomes part of ours.
const MAX_CODE: usize = 40;
/// Longest wait that is passed on; what is honoured is decided elsewhere.
pub const MAX_WAIT: u64 = 7 * 24 * 3600;

/// An answer, and its JSON once somebody asks for it.
pub struct Read<'a> {
    answer: &'a Answer,
    json: OnceCell<Option<Value>>,
}

impl<'a> Read<'a> {
    pub fn new(answer: &'a Answer) -> Self {
        Self { answer, json: OnceCell::new() }
    }

    fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.answer.body).ok()).as_ref()
    }

    /// Whether the answer is as a rule asks.
    pub fn meets(&self, rule: &Success) -> bool {
        if let Some(wanted) = &rule.body_equals {
            return String::from_utf8_lossy(&self.answer.body).trim() == wanted;
        }
        if let Some(wanted) = &rule.body_begins {
            return String::from_utf8_lossy(&self.answer.body).trim_start().starts_with(wanted);
        }
        let Some(json) = self.json() else { return false };
        if let Some(pattern) = &rule.every {
            let mut found = Vec::new();
            // A pattern that leads nowhere, or to nothing, is not a success.
            return collect(json, pattern, &mut found)
                && !found.is_empty()
                && found.iter().all(|v| holds(rule, Some(v)));
        }
        holds(rule, rule.pointer.as_ref().map_or(Some(json), |pointers| first(json, pointers)))
    }

    /// The value at the first pointer that leads to something, as text. The whole of an answer that is no JSON is its text.
    pub fn text(&self, pointers: &Pointers) -> Option<String> {
        let text = match self.json() {
            Some(json) => as_text(first(json, pointers)?).into_owned(),
            None if pointers.all().iter().any(String::is_empty) => {
                String::from_utf8_lossy(&self.answer.body).into_owned()
            }
            None => return None,
        };
        let text = one_line(&text);
        (!text.is_empty()).then_some(text)
    }

    /// A channel's code, if it is short and plain enough to be part of ours.
    pub fn code(&self, pointers: &Pointers) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let code = self.text(pointers)?;
        (code.len() <= MAX_CODE && code.chars().all(is_plain)).then_some(code)
    }

    /// Something for people when the channel says nothing at the place agreed.
    pub fn anything(&self) -> String {
        let text = one_line(&String::from_utf8_lossy(&self.answer.body));
        if text.is_empty() || text.starts_with('<') { format!("status {}", self.answer.status) } else { text }
    }

    /// Seconds, or a date, in a header.
    pub fn wait_in_header(&self, name: &str, now: Timestamp) -> Option<Duration> {
        let value = self.answer.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?.1.trim();
        if let Ok(seconds) = value.parse::<f64>() {
            return wait(seconds);
        }
        let at = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
        let now = Duration::from_millis(u64::try_from(now.0).ok()?);
        Some(at.saturating_sub(now))
    }

    /// A number at a pointer.
    pub fn wait_at(&self, pointer: &str, unit: Unit) -> Option<Duration> {
        let value = self.json()?.pointer(pointer)?;
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
        wait(if unit == Unit::Ms { number / 1000.0 } else { number })
    }
}

fn wait(seconds: f64) -> Option<Duration> {
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds.min(MAX_WAIT as f64)).ok()).flatten()
}

/// The value at the first pointer that leads to something, or to null if none does better.
fn first<'a>(json: &'a Value, pointers: &Pointers) -> Option<&'a Value> {
    let found = || pointers.all().iter().filter_map(|pointer| json.pointer(pointer));
    found().find(|value| !value.is_null()).or_else(|| found().next())
}

/// Whether a value is what a rule asks for. Values are compared as text, so that `0` is also `"0"`.
fn holds(rule: &Success, value: Option<&Value>) -> bool {
    let Some(value) = value else { return rule.exists == Some(false) };
    let is = |wanted: &Value| value == wanted || (!value.is_null() && as_text(value) == as_text(wanted));
    rule.equals.as_ref().is_none_or(is)
        && rule.one_of.as_ref().is_none_or(|words| words.iter().any(is))
        && rule.exists.is_none_or(|wanted| wanted != value.is_null())
        && rule.not_empty.is_none_or(|wanted| wanted != is_empty(value))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        other => other.is_null(),
    }
}

/// Collects what a pointer leads to, where `*` is every element of an array. False if a way ends early.
fn collect<'a>(value: &'a Value, pattern: &str, found: &mut Vec<&'a Value>) -> bool {
    let Some(star) = pattern.find("/*").filter(|at| matches!(pattern.as_bytes().get(at + 2), None | Some(b'/'))) else {
        return value.pointer(pattern).is_some_and(|hit| {
            found.push(hit);
            true
        });
    };
    match value.pointer(&pattern[..star]) {
        Some(Value::Array(items)) => {
            !items.is_empty() && items.iter().all(|item| collect(item, &pattern[star + 2..], found))
        }
        _ => false,
    }
}

/// One line of at most 300 characters.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some(_) => line.chars().take(MAX_MESSAGE - 1).chain(['…']).collect(),
        None => line,
    }
}
