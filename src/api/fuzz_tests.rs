//! Hostile bodies, queries, cursors and headers: nothing panics, and what is taken is what was written.

use poem::Request;
use proptest::prelude::*;
use serde_json::Value;

use super::body::{self, PushBody};
use super::frame::{REQUEST_ID, request_id};
use super::messages::Language;
use super::page::{PageQuery, decode_cursor, encode_cursor};
use super::{form, idempotency};
use crate::domain::trials::trials;

const TYPES: [&str; 8] = [
    "application/json",
    "Application/JSON; charset=utf-8",
    "application/x-www-form-urlencoded",
    "text/plain",
    "text/plain;charset=\"",
    "multipart/form-data; boundary=x",
    "",
    ";;=,",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        "[a-c=&%0-9A-F+\\[\\]]{0,40}".prop_map(String::into_bytes),
        "[\\[\\]{}\",:a-b0-9eE.+-]{0,40}".prop_map(String::into_bytes),
        (0usize..3000, 0usize..3000)
            .prop_map(|(open, close)| { format!("{}{}", "{\"a\":[".repeat(open), "]}".repeat(close)).into_bytes() }),
    ]
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~]{0,80}".prop_map(String::into_bytes),
        "((zh|en|de|\\*|x)(-[A-Za-z]{0,4})?(;q=[-+0-9.eEinfNa]{0,6})?,? ?){0,40}".prop_map(String::into_bytes),
        "[A-Za-z0-9._-]{0,70}".prop_map(String::into_bytes),
        prop::collection::vec(128u8..=255, 0..20),
    ]
}

fn with_header(name: &str, value: &[u8]) -> Option<Request> {
    let value = poem::http::HeaderValue::from_bytes(value).ok()?;
    Some(Request::builder().header(name, value).finish())
}

proptest! {
    #![proptest_config(trials(4000))]

    #[test]
    fn a_body_is_read_as_its_type_says_or_refused(bytes in bytes(), kind in 0usize..TYPES.len()) {
        match PushBody::parse(Some(TYPES[kind]), &bytes) {
            Ok(PushBody::Empty) => prop_assert!(bytes.is_empty()),
            Ok(PushBody::Text(text)) => prop_assert_eq!(text.into_bytes(), bytes),
            Ok(PushBody::Params(params)) if kind < 2 => {
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).ok(), Some(Value::Object(params)));
            }
            Ok(PushBody::Params(params)) => prop_assert!(params.values().all(|value| value.is_string() || value.is_array())),
            Err(error) => prop_assert!(["body_invalid", "media_type_unsupported"].contains(&error.code())),
        }
    }

    #[test]
    fn a_form_comes_out_as_it_was_written(pairs in prop::collection::vec(("(?s).{0,12}", "(?s).{0,20}"), 0..8)) {
        let mut written = url::form_urlencoded::Serializer::new(String::new());
        written.extend_pairs(&pairs);
        prop_assert_eq!(form::parse(written.finish().as_bytes()), Some(pairs));
    }

    #[test]
    fn a_query_never_panics(query in "[ -~]{0,60}") {
        let Ok(uri) = format!("/push/x/?{query}").parse() else { return Ok(()) };
        let request = Request::builder().uri(uri).finish();
        let _ = body::query(&request);
    }

    #[test]
    fn a_cursor_is_ours_or_refused(cursor in "(?s).{0,40}|[A-Za-z0-9_-]{0,600}", limit: Option<u32>, key in "\\PC{1,60}") {
        if let Some(key) = decode_cursor(&cursor) {
            prop_assert!(!key.is_empty() && !key.chars().any(char::is_control));
            prop_assert_eq!(encode_cursor(&key), cursor.clone());
        }
        if let Ok(page) = PageQuery::new(limit, Some(&cursor)) {
            prop_assert!((1..=100).contains(&page.limit) && (2..=101).contains(&page.rows()));
        }
        prop_assert_eq!(decode_cursor(&encode_cursor(&key)), Some(key));
    }

    #[test]
    fn a_language_is_always_found(header in header()) {
        let text = String::from_utf8_lossy(&header).into_owned();
        let found = Language::from_headers([&*text]);
        if !text.to_ascii_lowercase().contains("zh") {
            prop_assert_eq!(found, Language::English);
        }
        prop_assert_eq!(Language::from_headers([&*format!("{text},"), ""]), found);
    }

    #[test]
    fn headers_are_taken_only_as_they_may_be(value in header()) {
        if let Some(request) = with_header(REQUEST_ID, &value) {
            let id = request_id(&request);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            prop_assert!((1..=64).contains(&id.len()) && id.bytes().all(plain), "{}", id);
            let trimmed = value.trim_ascii();
            let harmless = (1..=64).contains(&trimmed.len()) && trimmed.iter().all(|byte| plain(*byte));
            prop_assert!(!(harmless && trimmed == value) || id.as_bytes() == value);
        }
        if let Some(request) = with_header("Idempotency-Key", &value)
            && let Ok(key) = idempotency::key(&request)
        {
            prop_assert_eq!(key.map(|key| key.as_str().as_bytes().to_vec()), Some(value));
        }
    }
}
