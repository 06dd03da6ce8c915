use poem_openapi::{Enum, Object};
use serde_json::json;

use super::*;

#[derive(Debug, PartialEq, Enum)]
#[oai(rename_all = "snake_case")]
enum Colour {
    Red,
    DarkBlue,
}

#[derive(Debug, PartialEq, Object)]
struct Part {
    name: String,
    size: Option<i64>,
}

#[derive(Debug, PartialEq, Object)]
#[oai(deny_unknown_fields)]
struct Order {
    #[oai(validator(max_length = 5, min_length = 1))]
    name: String,
    #[oai(validator(minimum(value = "1"), maximum(value = "9")))]
    count: u32,
    colour: Option<Colour>,
    #[oai(default)]
    urgent: bool,
    #[oai(default)]
    parts: Vec<Part>,
    #[oai(default)]
    tags: Vec<String>,
}

fn parse(kind: BodyKind, body: &str) -> Result<Order, ApiError> {
    super::parse(kind, body.as_bytes())
}

async fn faults(body: Value) -> Vec<(String, String)> {
    use poem::IntoResponse;
    let answer = parse(BodyKind::Json, &body.to_string()).unwrap_err().into_response();
    let answer: Value = answer.into_body().into_json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer["data"].as_array().unwrap().iter().map(|at| (text(&at["param"]), text(&at["problem"]))).collect()
}

#[test]
fn media_types_are_told_apart() {
    for (text, kind) in [
        ("application/json", BodyKind::Json),
        ("Application/JSON; charset=utf-8", BodyKind::Json),
        (FORM, BodyKind::Form),
        ("text/plain;charset=utf-8", BodyKind::Text),
        ("application/jsonx", BodyKind::Other),
        ("", BodyKind::Other),
    ] {
        assert_eq!(BodyKind::of(Some(text), b"a=b"), kind, "{text}");
    }
    assert_eq!(BodyKind::of(None, b"{}"), BodyKind::Other);
    for json in [r#"{"a":1}"#, "\n{ \"a\": 1 }", "{}", "{\"a"] {
        assert_eq!(BodyKind::of(Some(FORM), json.as_bytes()), BodyKind::Json, "{json}");
    }
    for form in ["{a}=1", "%7B%22a%22:1}", "\"a\"=1", "a={\"b\":1}", "{", ""] {
        assert_eq!(BodyKind::of(Some(FORM), form.as_bytes()), BodyKind::Form, "{form}");
    }
}

#[test]
fn a_form_means_what_the_same_json_means() {
    let json = json!({
        "name": "7", "count": 3, "urgent": true, "colour": "red", "tags": ["a", "b"], "parts": []
    });
    let from_json = parse(BodyKind::Json, &json.to_string()).unwrap();
    for form in ["name=7&count=3&urgent=on&colour=red&tags=a,b", "tags=a&tags=b&colour=red&urgent=1&count=3&name=7"] {
        assert_eq!(parse(BodyKind::Form, form).unwrap(), from_json, "{form}");
    }
}

#[tokio::test]
async fn every_field_at_fault_is_named() {
    let told = faults(json!({ "count": 10, "colour": "pink", "parts": [{ "name": "a" }, { "size": "big" }] })).await;
    let expected = [
        ("name", "is required"),
        ("count", "must be at most 9"),
        ("colour", "must be one of: red, dark_blue"),
        ("parts.1.name", "is required"),
        ("parts.1.size", "must be a whole number"),
    ];
    assert_eq!(told, expected.map(|(param, problem)| (param.to_owned(), problem.to_owned())));
}

#[tokio::test]
async fn each_kind_of_fault_has_its_text() {
    let cases = [
        (json!({ "name": ["a"], "count": 1 }), "name", "must be text"),
        (json!({ "name": 7, "count": 1 }), "name", "must be text"),
        (json!({ "name": "a", "count": 1, "tags": ["b", true] }), "tags.1", "must be text"),
        (json!({ "name": "", "count": 1 }), "name", "is required"),
        (json!({ "name": "sixsix", "count": 1 }), "name", "is longer than 5 characters"),
        (json!({ "name": "a", "count": 0 }), "count", "must be at least 1"),
        (json!({ "name": "a", "count": 1.5 }), "count", "must be a whole number"),
        (json!({ "name": "a", "count": 1, "urgent": "maybe" }), "urgent", "must be true or false"),
        (json!({ "name": "a", "count": 1, "tags": "x" }), "tags", "must be a list"),
        (json!({ "name": "a", "count": 1, "nmae": "x" }), "nmae", "is not known"),
        (json!([1]), "body", "must be a JSON object"),
    ];
    for (body, param, problem) in cases {
        assert_eq!(faults(body.clone()).await, [(param.to_owned(), problem.to_owned())], "{body}");
    }
}

#[tokio::test]
async fn a_body_full_of_faults_is_not_answered_with_all_of_them() {
    let told = faults(json!({ "name": "a", "count": 1, "tags": vec![json!([]); 1000] })).await;
    assert_eq!(told.len(), MAX_FAULTS);
}
