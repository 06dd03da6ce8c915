//! Every helper, by table.

use serde_json::{Value, json};

use super::{ENV, params};
use crate::domain::params::{ParamSpec, ParamType, ServiceSpec};
use crate::service::leaf::{Scope, Slot};
use crate::service::template::{Leaf, Names};

fn declared() -> Vec<ParamSpec> {
    let spec = |name: &str| ParamSpec::plain(name, ParamType::Text);
    ["a", "b", "c"].into_iter().map(spec).collect()
}

/// The value of a leaf with parameters `a`, `b` and `c`; null if it is left out.
fn eval(template: &str, given: Value) -> Result<Value, String> {
    let spec = ServiceSpec { id: "t".into(), accepts_any: false, params: declared() };
    let leaf = Leaf::compile(template, Names { params: &spec.params, accepts_any: false })?;
    let slot = Slot { path: "leaf".into(), keep: false, leaf };
    let given = params(given);
    let value = slot.value(&Scope { spec: &spec, params: &given, env: &ENV }).map_err(|error| error.to_string())?;
    Ok(value.map_or(Value::Null, std::borrow::Cow::into_owned))
}

fn check(table: &[(&str, Value, Value)]) {
    for (template, given, expected) in table {
        assert_eq!(eval(template, given.clone()).as_ref(), Ok(expected), "{template} with {given}");
    }
}

#[test]
fn choosing() {
    check(&[
        ("{{default a b 3}}", json!({"a": "", "b": null}), json!(3)),
        ("{{default a b}}", json!({"a": [], "b": false}), json!(false)),
        ("{{default a}}", json!({}), json!(null)),
        ("{{when a b}}", json!({"a": true, "b": {"x": 1}}), json!({"x": 1})),
        ("{{when a b}}", json!({"a": 0, "b": 1}), json!(null)),
        ("{{when a b c}}", json!({"b": 1, "c": [2]}), json!([2])),
        ("{{case a 1 \"low\" 5 \"high\"}}", json!({"a": 5}), json!("high")),
        ("{{case a 1 \"low\" 5 \"high\"}}", json!({"a": "1"}), json!("low")),
        ("{{case a 1 \"low\" 5 \"high\"}}", json!({"a": 3}), json!(null)),
        ("{{case a 1 \"low\" \"other\"}}", json!({"a": 3}), json!("other")),
        ("{{eq a 3}}", json!({"a": "3"}), json!(true)),
        ("{{eq a b}}", json!({"a": 1, "b": 1.0}), json!(true)),
        ("{{eq a b}}", json!({"a": null, "b": ""}), json!(false)),
        ("{{ne a b}}", json!({"a": "x", "b": "y"}), json!(true)),
        ("{{and a b c}}", json!({"a": 1, "b": "x", "c": []}), json!(false)),
        ("{{or a b}}", json!({"b": "x"}), json!(true)),
        ("{{not a}}", json!({"a": ""}), json!(true)),
        ("{{contains a b}}", json!({"a": "磁盘已满", "b": "已满"}), json!(true)),
        ("{{contains a b}}", json!({"a": ["x", 3], "b": "3"}), json!(true)),
        ("{{contains a b}}", json!({"a": {"k": 1}, "b": "x"}), json!(false)),
        ("{{int a}}", json!({"a": " 42 "}), json!(42)),
        ("{{int a}}", json!({"a": true}), json!(1)),
        ("{{int a}}", json!({"a": 3.0}), json!(3)),
        ("{{int a}}", json!({"a": ""}), json!(null)),
        ("{{bool a}}", json!({"a": "Yes"}), json!(true)),
        ("{{bool a}}", json!({"a": 0}), json!(false)),
        ("{{bool a}}", json!({}), json!(null)),
        ("{{object \"k\" a \"l\" b}}", json!({"a": 1, "b": ""}), json!({"k": 1})),
        ("{{list a b c}}", json!({"a": 1, "c": "x"}), json!([1, "x"])),
    ]);
}

#[test]
fn cutting() {
    check(&[
        ("{{truncate a 5}}", json!({"a": "12345"}), json!("12345")),
        ("{{truncate a 5}}", json!({"a": "123456"}), json!("1234…")),
        ("{{truncate a 4 \"bytes\"}}", json!({"a": "磁盘"}), json!("…")),
        ("{{truncate a 6 \"bytes\"}}", json!({"a": "磁盘"}), json!("磁盘")),
        ("{{truncate a 8 \"bytes\"}}", json!({"a": "磁盘满"}), json!("磁…")),
        ("{{truncate a 3 \"utf16\"}}", json!({"a": "💥💥"}), json!("💥…")),
        ("{{truncate a 2 \"graphemes\"}}", json!({"a": "👨‍👩‍👧xy"}), json!("👨‍👩‍👧…")),
        ("{{truncate a 7 \"json\"}}", json!({"a": "\"\n\u{1}b"}), json!("\"\n…")),
        ("{{truncate a 11 \"json\"}}", json!({"a": "\"\n\u{1}b"}), json!("\"\n\u{1}b")),
        ("{{room 10 \"chars\" a b c}}", json!({"a": "磁盘", "c": "x"}), json!(3)),
        ("{{room 10 \"bytes\" a}}", json!({"a": "磁盘磁盘"}), json!(0)),
        ("{{room 10 \"utf16\"}}", json!({}), json!(10)),
        ("{{truncate a 0}}", json!({"a": "x"}), json!(null)),
        ("{{truncate a 3}}", json!({}), json!(null)),
        ("{{first_line a}}", json!({"a": "\n  one \ntwo"}), json!("one")),
        ("{{trim a}}", json!({"a": " x\n"}), json!("x")),
        ("{{lower a}}{{upper b}}", json!({"a": "ÄB", "b": "c"}), json!("äbC")),
        ("{{split a}}", json!({"a": "x, y,,z"}), json!(["x", "y", "z"])),
        ("{{split a \"|\"}}", json!({"a": ["k"]}), json!(["k"])),
        ("{{join a \"|\"}}", json!({"a": ["x", 2]}), json!("x|2")),
        ("{{join a}}", json!({"a": "x"}), json!("x")),
        ("{{lines a b c}}", json!({"a": "1", "b": "", "c": "2"}), json!("1\n2")),
        ("{{concat a 1 true \"\\n\"}}", json!({"a": "x"}), json!("x1true\n")),
        ("{{regex_capture a \"^sctp([0-9]+)t\"}}", json!({"a": "sctp42tX"}), json!("42")),
        ("{{regex_capture a \"(x)(y)\" 2}}", json!({"a": "xy"}), json!("y")),
        ("{{regex_capture a \"(x)\"}}", json!({"a": "z"}), json!(null)),
    ]);
}

#[test]
fn spelling() {
    check(&[
        ("{{json a}}", json!({"a": "\"磁\n"}), json!("\"\\\"磁\\n\"")),
        ("{{json_str a}}", json!({"a": {"k": "v"}}), json!("\"{\\\"k\\\":\\\"v\\\"}\"")),
        ("{{url_encode a}}", json!({"a": "a b/é~"}), json!("a%20b%2F%C3%A9~")),
        (
            "{{escape_html a}}",
            json!({"a": "<a b='c' d=\"e\">&"}),
            json!("&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;"),
        ),
        ("{{escape_xml a}}", json!({"a": "'<"}), json!("&apos;&lt;")),
        ("{{base64 a}}", json!({"a": "pä:ss?"}), json!("cMOkOnNzPw==")),
        ("{{base64url a}}", json!({"a": "pä:ss?>"}), json!("cMOkOnNzPz4")),
        ("{{hex a}}", json!({"a": "\u{1}é"}), json!("01c3a9")),
    ]);
}

#[test]
fn hashing_and_signing() {
    let fox = json!({"a": "key", "b": "The quick brown fox jumps over the lazy dog"});
    check(&[
        ("{{md5 a}}", json!({"a": "abc"}), json!("900150983cd24fb0d6963f7d28e17f72")),
        (
            "{{sha256 a}}",
            json!({"a": "abc"}),
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        ("{{sha256 a encode=\"base64\"}}", json!({"a": "abc"}), json!("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")),
        (
            "{{hmac_sha256 a b encode=\"hex\"}}",
            fox.clone(),
            json!("f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"),
        ),
        ("{{hmac_sha256 a b}}", fox.clone(), json!("97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg=")),
        (
            "{{hmac_sha256 \"6b6579\" b key_encoding=\"hex\" encode=\"base64url\"}}",
            fox.clone(),
            json!("97yD9DBThCSxMpjmqm-xQ-9NWaFJRhdZl0edvC0aPNg"),
        ),
        ("{{hmac_sha1 a b encode=\"hex\"}}", fox.clone(), json!("de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9")),
        (
            "{{hmac_sha1 \"a2V5\" b key_encoding=\"base64\" encode=\"hex\"}}",
            fox,
            json!("de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9"),
        ),
    ]);
}

#[test]
fn what_a_delivery_brings() {
    check(&[
        ("{{now \"s\"}}", json!({}), json!(1_795_248_000)),
        ("{{now \"ms\"}}", json!({}), json!(1_795_248_000_123_i64)),
        ("{{now \"rfc3339\"}}", json!({}), json!("2026-11-21T08:00:00Z")),
        ("{{now \"%Y%m%dT%H%M%S.%LZ\"}}", json!({}), json!("20261121T080000.123Z")),
        ("{{now \"%d/%m %H:%M\" offset=\"+08:00\"}}", json!({}), json!("21/11 16:00")),
        ("{{delivery_id}}", json!({}), json!("task-1")),
        ("{{uuid}}", json!({}), json!("00000000-0000-4000-8000-00000000feed")),
        ("{{eq (random_hex 8) (random_hex 8)}}", json!({}), json!(true)),
        ("x{{delivery_id}}", json!({}), json!("xtask-1")),
    ]);
    let random = eval("{{random_hex 16}}", json!({})).unwrap();
    assert!(random.as_str().is_some_and(|text| text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit())));
}

#[test]
fn an_error_names_the_helper_and_never_the_value() {
    for (template, given) in [
        ("{{int a}}", json!({"a": "geheim"})),
        ("{{bool a}}", json!({"a": "geheim"})),
        ("{{truncate b a}}", json!({"a": "geheim", "b": "x"})),
        ("{{hmac_sha256 a b key_encoding=\"hex\"}}", json!({"a": "geheim"})),
        ("{{hmac_sha256 a b key_encoding=\"base64\"}}", json!({"a": "geheim!"})),
        ("{{object a b c}}", json!({"a": "geheim"})),
        ("{{split a b}}", json!({"a": "geheim"})),
    ] {
        let error = eval(template, given).unwrap_err();
        assert!(error.starts_with("leaf: ") && !error.contains("geheim"), "{template}: {error}");
    }
}

#[test]
fn output_is_bounded() {
    let long = "x".repeat(300_000);
    for template in ["{{concat a a a a}}", "{{a}}{{a}}{{a}}{{a}}", "{{escape_html b}}", "{{join (list a a a a) \",\"}}"]
    {
        let error = eval(template, json!({"a": long, "b": "\"".repeat(300_000)})).unwrap_err();
        assert!(error.contains("too much text"), "{template}: {error}");
    }
}
