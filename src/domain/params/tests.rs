//! The table of types: what each takes, and what it makes of it.

use super::*;
use serde_json::json;

fn spec(kind: ParamType) -> ParamSpec {
    ParamSpec { values: vec!["low".into(), "high".into(), "3".into()], ..ParamSpec::plain("p", kind) }
}

fn takes(kind: ParamType, cases: &[(Value, Value)]) {
    for (given, expected) in cases {
        assert_eq!(convert(&spec(kind), given), Ok(Some(expected.clone())), "{kind:?} {given}");
    }
}

fn refuses(kind: ParamType, cases: &[Value]) {
    for given in cases {
        let expected = if given.is_array() { Problem::NotOne(kind) } else { Problem::NotA(kind) };
        assert_eq!(convert(&spec(kind), given), Err(expected), "{kind:?} {given}");
    }
}

#[test]
fn a_type_has_the_word_that_it_is_read_from() {
    for word in ["string", "text", "integer", "number", "boolean", "enum", "list", "object", "url", "email"] {
        let kind: ParamType = serde_json::from_value(json!(word)).unwrap();
        assert_eq!(kind.as_str(), word);
    }
}

#[test]
fn text_takes_scalars_in_their_json_spelling() {
    for kind in [ParamType::String, ParamType::Text] {
        takes(
            kind,
            &[
                (json!("a\nb"), json!("a\nb")),
                (json!(" a "), json!(" a ")),
                (json!(5), json!("5")),
                (json!(1.5), json!("1.5")),
                (json!(true), json!("true")),
                (json!(""), json!("")),
            ],
        );
        refuses(kind, &[json!(["a"]), json!({"a": 1}), json!(["a", "b"])]);
    }
}

#[test]
fn integers() {
    takes(
        ParamType::Integer,
        &[
            (json!(5), json!(5)),
            (json!(-5), json!(-5)),
            (json!(5.0), json!(5)),
            (json!(-0.0), json!(0)),
            (json!(u64::MAX), json!(u64::MAX)),
            (json!("5"), json!(5)),
            (json!(" +5 "), json!(5)),
            (json!("-007"), json!(-7)),
            (json!("18446744073709551615"), json!(u64::MAX)),
        ],
    );
    refuses(
        ParamType::Integer,
        &[
            json!(5.5),
            json!(1e300),
            json!("5.0"),
            json!("1e3"),
            json!("five"),
            json!("+"),
            json!("99999999999999999999"),
            json!(true),
            json!(["5", "6"]),
            json!(" "),
        ],
    );
}

#[test]
fn numbers() {
    takes(
        ParamType::Number,
        &[
            (json!(1.5), json!(1.5)),
            (json!(5), json!(5)),
            (json!("1.5"), json!(1.5)),
            (json!("-5"), json!(-5)),
            (json!(" 1e3 "), json!(1000.0)),
        ],
    );
    refuses(ParamType::Number, &[json!("inf"), json!("NaN"), json!("1e999"), json!("-"), json!(true), json!([1])]);
}

#[test]
fn booleans() {
    for yes in
        [json!(true), json!(1), json!(1.0), json!("1"), json!("true"), json!("YES"), json!("On"), json!(" true ")]
    {
        takes(ParamType::Boolean, &[(yes, json!(true))]);
    }
    for no in [json!(false), json!(0), json!("0"), json!("False"), json!("no"), json!("OFF")] {
        takes(ParamType::Boolean, &[(no, json!(false))]);
    }
    refuses(ParamType::Boolean, &[json!(2), json!("2"), json!("y"), json!("wahr"), json!([true])]);
}

#[test]
fn words() {
    takes(ParamType::Enum, &[(json!("low"), json!("low")), (json!(3), json!("3"))]);
    let among = spec(ParamType::Enum).values;
    for other in [json!("Low"), json!(" low"), json!(4), json!(true)] {
        assert_eq!(convert(&spec(ParamType::Enum), &other), Err(Problem::NotOneOf(among.clone())), "{other}");
    }
    refuses(ParamType::Enum, &[json!(["low"])]);
}

#[test]
fn lists() {
    takes(
        ParamType::List,
        &[
            (json!(["a", 1, null]), json!(["a", 1, null])),
            (json!([]), json!([])),
            (json!("a, b,,c "), json!(["a", "b", "c"])),
            (json!("a"), json!(["a"])),
            (json!(","), json!([])),
            // As forms and queries write what is more than text.
            (json!(r#"["a, b", {"n": 1}]"#), json!(["a, b", {"n": 1}])),
            (json!(r#"{"action": "view"}"#), json!([{"action": "view"}])),
            (json!("[a, b"), json!(["[a", "b"])),
        ],
    );
    refuses(ParamType::List, &[json!(5), json!({"a": 1})]);
}

fn list_of(items: ParamType) -> ParamSpec {
    ParamSpec { items: Some(items), ..spec(ParamType::List) }
}

#[test]
fn lists_of_one_type() {
    for (items, given, expected) in [
        (ParamType::Email, json!("a@b, 李 <c@d>"), json!(["a@b", "李 <c@d>"])),
        (ParamType::Email, json!(["\"B, A\" <a@b>", null, "", " ", "c@d\n"]), json!(["\"B, A\" <a@b>", "c@d"])),
        (ParamType::Email, json!([null]), json!([])),
        (ParamType::Integer, json!("1, 2"), json!([1, 2])),
        (ParamType::Integer, json!([1, "2", 3.0]), json!([1, 2, 3])),
        (ParamType::Enum, json!("low,high"), json!(["low", "high"])),
        (ParamType::String, json!(["a", 1]), json!(["a", "1"])),
    ] {
        assert_eq!(convert(&list_of(items), &given), Ok(Some(expected)), "{items:?} {given}");
    }
    let wrong = |number, problem| Err(Problem::Entry(number, Box::new(problem)));
    for (items, given, expected) in [
        (ParamType::Email, json!("a@b, nobody"), wrong(2, Problem::NotA(ParamType::Email))),
        (ParamType::Email, json!(["a@b, c@d"]), wrong(1, Problem::NotA(ParamType::Email))),
        (ParamType::Email, json!(["", null, 5]), wrong(3, Problem::NotA(ParamType::Email))),
        (ParamType::Url, json!([["https://a/"]]), wrong(1, Problem::NotOne(ParamType::Url))),
        (ParamType::Enum, json!("low,x"), wrong(2, Problem::NotOneOf(spec(ParamType::Enum).values))),
        (ParamType::Email, json!(5), Err(Problem::NotA(ParamType::List))),
    ] {
        assert_eq!(convert(&list_of(items), &given), expected, "{items:?} {given}");
    }
    let short = ParamSpec { max_length: Some(2), ..list_of(ParamType::String) };
    assert_eq!(convert(&short, &json!("ab,abc")), wrong(2, Problem::TooLong(2)));
    let small = ParamSpec { max: Some(2.0), ..list_of(ParamType::Integer) };
    assert_eq!(convert(&small, &json!([1, 2, 3])), wrong(3, Problem::Above("2".into())));
}

#[test]
fn objects() {
    takes(ParamType::Object, &[(json!({"a": [1]}), json!({"a": [1]})), (json!(r#" {"a": 1} "#), json!({"a": 1}))]);
    refuses(ParamType::Object, &[json!("[1]"), json!("{"), json!([1]), json!(1)]);
}

#[test]
fn urls() {
    takes(
        ParamType::Url,
        &[
            (json!("https://example.org/a b?x=1"), json!("https://example.org/a b?x=1")),
            (json!(" app://open "), json!("app://open")),
        ],
    );
    refuses(
        ParamType::Url,
        &[json!("/a"), json!("example.org"), json!("https://a/\nb"), json!(5), json!(["https://a/"])],
    );
    let mut web = spec(ParamType::Url);
    web.accepts = vec!["http".into(), "https".into()];
    assert_eq!(convert(&web, &json!("HTTPS://a/")), Ok(Some(json!("HTTPS://a/"))));
    assert_eq!(convert(&web, &json!("javascript:x")), Err(Problem::SchemeNotIn(web.accepts.clone())));
}

#[test]
fn addresses() {
    takes(
        ParamType::Email,
        &[
            (json!(" Ann@Example.org "), json!("Ann@Example.org")),
            (json!("Ann B <ann@example.org>"), json!("Ann B <ann@example.org>")),
            (json!("<ann@example.org>"), json!("<ann@example.org>")),
            (json!("\"B, Ann\" < ann@example.org>"), json!("\"B, Ann\" < ann@example.org>")),
            (json!("Ann\r\n\tB <ann@example.org>\n"), json!("Ann   B <ann@example.org>")),
        ],
    );
    refuses(
        ParamType::Email,
        &[
            json!("ann"),
            json!("Ann <ann>"),
            json!("Ann <a@b> <c@d>"),
            json!("Ann\r\nBcc: x <a@b>"),
            json!("a@b, c@d"),
            json!("Ann, B <a@b>"),
            json!("\"Ann <a@b>"),
            json!("a@-b"),
            json!(" "),
            json!(5),
        ],
    );
}

#[test]
fn null_is_absent_and_so_is_the_empty_text_of_what_is_not_text() {
    for kind in [
        ParamType::Integer,
        ParamType::Number,
        ParamType::Boolean,
        ParamType::Enum,
        ParamType::List,
        ParamType::Object,
        ParamType::Url,
        ParamType::Email,
    ] {
        assert_eq!(convert(&spec(kind), &json!(null)), Ok(None));
        assert_eq!(convert(&spec(kind), &json!("")), Ok(None));
    }
    assert_eq!(convert(&spec(ParamType::Text), &json!(null)), Ok(None));
}

#[test]
fn what_is_required_is_not_empty() {
    for (kind, empty) in [
        (ParamType::String, json!("")),
        (ParamType::Text, json!("")),
        (ParamType::List, json!([])),
        (ParamType::List, json!(",")),
        (ParamType::Object, json!({})),
        (ParamType::Object, json!("{}")),
    ] {
        let required = ParamSpec { required: true, ..spec(kind) };
        assert_eq!(convert(&required, &empty), Err(Problem::Missing), "{kind:?} {empty}");
    }
    let required = ParamSpec { required: true, ..list_of(ParamType::String) };
    assert_eq!(convert(&required, &json!([null, " "])), Err(Problem::Missing));
}

#[test]
fn lengths_count_characters() {
    let short = ParamSpec { max_length: Some(2), ..spec(ParamType::String) };
    assert_eq!(convert(&short, &json!("中文")), Ok(Some(json!("中文"))));
    assert_eq!(convert(&short, &json!("中文字")), Err(Problem::TooLong(2)));
    assert_eq!(convert(&short, &json!(100)), Err(Problem::TooLong(2)));
}

#[test]
fn ranges() {
    let range = ParamSpec { min: Some(1.0), max: Some(5.0), ..spec(ParamType::Integer) };
    assert_eq!(convert(&range, &json!("5")), Ok(Some(json!(5))));
    assert_eq!(convert(&range, &json!(0)), Err(Problem::Below("1".into())));
    assert_eq!(convert(&range, &json!("6")), Err(Problem::Above("5".into())));
}

#[test]
fn no_text_is_too_long_or_holds_nul() {
    let long = "a".repeat(MAX_CONTENT + 1);
    for kind in [ParamType::Text, ParamType::List, ParamType::Object] {
        assert_eq!(convert(&spec(kind), &json!(long)), Err(Problem::TooLarge(MAX_CONTENT)));
        assert_eq!(convert(&spec(kind), &json!("a\0")), Err(Problem::HoldsNul));
    }
    assert_eq!(convert(&spec(ParamType::List), &json!(["a\0"])), Err(Problem::HoldsNul));
    assert_eq!(convert(&spec(ParamType::Object), &json!({"a\0": 1})), Err(Problem::HoldsNul));
    for (kind, text) in [(ParamType::List, r#"["\u0000"]"#), (ParamType::Object, r#"{"a": "\u0000"}"#)] {
        assert_eq!(convert(&spec(kind), &json!(text)), Err(Problem::HoldsNul));
    }
    let longest = "a".repeat(MAX_CONTENT);
    assert_eq!(convert(&spec(ParamType::Text), &json!(longest)), Ok(Some(json!(longest))));
}
