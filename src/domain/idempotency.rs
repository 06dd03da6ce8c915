//! Keys by which a repeated call is known: what one may be, how long it counts, and what makes two calls the same.
//! What was answered is not its business.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::params::Params;
use super::resolve::Call;

/// How long a key stands for the call that it first came with.
pub const KEPT_MS: i64 = 86_400_000;

/// A key that a caller chose for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Longest key, in characters.
    pub const MAX: usize = 255;

    /// Reads a key; nothing if it is not 1 to 255 visible ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && (1..=Self::MAX).contains(&text.len())).then(|| Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of all that a call says, in hexadecimal. The order of names says nothing, and neither does the token: a
/// caller may have a new one when it comes again. Tells contents that can be guessed to whoever sees it.
pub fn fingerprint(call: &Call) -> String {
    let mut said = json!([spoken(&call.body), call.body_text, call.content, spoken(&call.query)]);
    said.sort_all_objects();
    Sha256::digest(said.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spoken(params: &Params) -> Map<String, Value> {
    params.iter().filter(|(name, _)| *name != "_token").map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(value: &Value) -> Params {
        value.as_object().unwrap().clone()
    }

    fn body(value: &Value) -> Call {
        Call { body: params(value), ..Call::default() }
    }

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for good in ["a", "!~", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", &"k".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(good).map(|key| key.0).as_deref(), Some(good));
        }
        for bad in ["", " ", "a b", "a\tb", "a\u{7f}", "é", "键", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_order_of_names_and_the_token_do_not_make_another_call() {
        let call = fingerprint(&body(&json!({ "a": 1, "b": { "c": [1, 2], "d": null } })));
        assert_eq!(call.len(), 64);
        assert_eq!(fingerprint(&body(&json!({ "b": { "d": null, "c": [1, 2] }, "_token": "ff_x", "a": 1 }))), call);
        let query = |value| Call { query: params(&value), ..Call::default() };
        assert_eq!(
            fingerprint(&query(json!({ "a": "1", "b": "2" }))),
            fingerprint(&query(json!({ "b": "2", "_token": "ff_x", "a": "1" })))
        );
    }

    #[test]
    fn whatever_else_differs_makes_another_call() {
        let text = |text: &str| Some(text.to_owned());
        let calls = [
            Call::default(),
            body(&json!({ "a": 1 })),
            body(&json!({ "a": "1" })),
            body(&json!({ "a": [1, 2] })),
            body(&json!({ "a": [2, 1] })),
            body(&json!({ "a": { "_token": 1 } })),
            body(&json!({ "a": {} })),
            Call { query: params(&json!({ "a": 1 })), ..Call::default() },
            Call { content: text("a"), ..Call::default() },
            Call { content: text(""), ..Call::default() },
            Call { body_text: text("a"), ..Call::default() },
        ];
        let mut prints: Vec<_> = calls.iter().map(fingerprint).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), calls.len());
    }
}
