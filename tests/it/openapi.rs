//! The contract: `openapi/openapi.json` is what the server serves, and every operation in it is told in full.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

const ACCEPT: &str = "UPDATE=1 cargo test openapi";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn the_openapi_file_is_what_the_server_serves() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let served = fanfare::api::document_text();
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        fs::write(&path, &served).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if let Some(difference) = first_difference(&committed, &served) {
        panic!("openapi/openapi.json is not what the server serves.\n{difference}\nTo accept it: {ACCEPT}");
    }
}

#[test]
fn a_difference_of_the_openapi_file_is_told_with_its_line() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    let told = first_difference("a\nb\n", "a\nc\n").unwrap();
    assert!(told.contains("line 2") && told.contains("committed: b") && told.contains("served:    c"), "{told}");
    assert!(first_difference("", "a\n").unwrap().contains("line 1"));
    assert!(first_difference("a\n", "a").unwrap().contains("end of the file"));
}

/// Generators of clients that have been tried lose JSON where a form has the same component, make code that does not run
/// where both have components of their own, and lose a choice of components that stands within anything.
#[test]
fn generators_of_clients_find_their_way() {
    let document = document();
    for (place, operation) in operations(&document) {
        let content = operation["requestBody"]["content"].as_object();
        let schemas: Vec<_> = content.into_iter().flatten().map(|(_, media)| media["schema"].to_string()).collect();
        let takes_parameters = schemas[..].first().is_some_and(|schema| schema.contains("/Parameters"));
        assert_eq!(schemas.len() > 1, takes_parameters, "{place}: {schemas:?}");
        assert!(schemas.iter().enumerate().all(|(at, schema)| !schemas[..at].contains(schema)), "{place}: {schemas:?}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if name.ends_with("Reply") {
            assert!(schema["properties"]["data"].get("allOf").is_none(), "{name}");
        }
    }
}

#[test]
fn every_openapi_operation_is_told_in_full() {
    let document = document();
    let mut ids = Vec::new();
    for (place, operation) in operations(&document) {
        for field in ["operationId", "summary", "description"] {
            assert!(operation[field].as_str().is_some_and(|text| !text.is_empty()), "{place} has no {field}");
        }
        ids.push(operation["operationId"].as_str().unwrap());
        let tags = operation["tags"].as_array().unwrap_or_else(|| panic!("{place} has no tag"));
        assert_eq!(tags.len(), 1, "{place}: {tags:?}");
        assert!(document["tags"].as_array().unwrap().iter().any(|tag| tag["name"] == tags[0]), "{place}: {tags:?}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let told = parameter["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(told, "{place}: the parameter {} has no description", parameter["name"]);
        }
        for status in ["200", "429", "4XX", "5XX"] {
            let answer = &operation["responses"][status];
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}: {status}");
            let example = &answer["content"]["application/json"]["example"];
            assert_eq!(
                example["success"],
                status == "200",
                "{place} has no example of {status}: add it in api/examples.rs"
            );
        }
        if let Some(body) = operation.get("requestBody") {
            let example = body.pointer("/content/application~1json/example");
            assert!(example.is_some(), "{place} has no example of its body: add it in api/examples.rs");
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId comes twice");
    assert!(count >= 28, "{count}");
}

#[test]
fn every_openapi_example_fits_its_schema() {
    let document = document();
    let mut count = 0;
    for (place, operation) in operations(&document) {
        let mut bodies = vec![(format!("{place}, the request"), &operation["requestBody"]["content"])];
        for (status, answer) in operation["responses"].as_object().unwrap() {
            bodies.push((format!("{place}, {status}"), &answer["content"]));
        }
        for (place, content) in bodies {
            for (media, kind) in content.as_object().into_iter().flatten() {
                let Some(example) = kind.get("example") else { continue };
                count += 1;
                let faults = misfits(&document, &kind["schema"], example, "");
                assert!(faults.is_empty(), "{place}, {media}: {faults:#?}");
            }
        }
    }
    assert!(count > 90, "{count} examples were looked at");
}

#[test]
fn an_openapi_example_that_does_not_fit_is_found() {
    let document = json!({ "components": { "schemas": { "Word": { "type": "string", "enum": ["a", "b"] } } } });
    let word = json!({ "$ref": "#/components/schemas/Word" });
    let schema = json!({
        "type": "object", "required": ["n"],
        "properties": {
            "n": { "type": "integer" },
            "w": { "allOf": [word], "type": "string", "nullable": true },
            "s": { "type": "string", "nullable": true },
            "l": { "type": "array", "items": word },
        },
    });
    let found = |example: Value| misfits(&document, &schema, &example, "");
    assert_eq!(found(json!({ "n": 1, "w": "a", "l": ["b"] })), [""; 0]);
    assert_eq!(found(json!({ "n": 1, "s": null })), [""; 0]);
    for wrong in [
        json!([]),
        json!({}),
        json!({ "n": "1" }),
        json!({ "n": 1.5 }),
        json!({ "n": null }),
        json!({ "n": 1, "w": "c" }),
        json!({ "n": 1, "w": null }),
        json!({ "n": 1, "l": ["a", 2] }),
        json!({ "n": 1, "unknown": 2 }),
    ] {
        assert_eq!(found(wrong.clone()).len(), 1, "{wrong}");
    }
}

fn document() -> Value {
    serde_json::from_str(&fanfare::api::document_text()).unwrap()
}

/// Every operation of a document, with the method and path to call it by.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                found.push((format!("{} {path}", method.to_uppercase()), operation));
            }
        }
    }
    found
}

/// The first line in which two texts differ.
fn first_difference(committed: &str, served: &str) -> Option<String> {
    if committed == served {
        return None;
    }
    let (mut old, mut new) = (committed.lines(), served.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                let [old, new] = [old, new].map(|line| line.unwrap_or("(ends before)").trim());
                return Some(format!("line {number}\n  committed: {old}\n  served:    {new}"));
            }
        }
    }
    Some("only the end of the file differs".to_owned())
}

/// Where a value does not fit a schema: types, required and unknown fields, words of an enum.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(&target[1..]).unwrap_or_else(|| panic!("{target} is not there"));
        return misfits(document, target, value, at);
    }
    // What says that it may be null does not take it from what it is made of.
    let is_whole = schema.get("allOf").is_none();
    if value.is_null() && is_whole && (schema["nullable"] == true || schema.get("type").is_none()) {
        return Vec::new();
    }
    if let Some(ways) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let fits = ways.iter().any(|way| misfits(document, way, value, at).is_empty());
        return if fits { Vec::new() } else { vec![format!("{at}: fits none of the ways")] };
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().flat_map(|part| misfits(document, part, value, at)).collect();
    }
    if !has_type(schema["type"].as_str(), value) {
        return vec![format!("{at}: {value} is not of type {}", schema["type"])];
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return vec![format!("{at}: {value} is not among {}", schema["enum"])];
    }
    match value {
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.flat_map(|(n, item)| misfits(document, &schema["items"], item, &format!("{at}/{n}"))).collect()
        }
        Value::Object(fields) => misfits_of_fields(document, schema, fields, at),
        _ => Vec::new(),
    }
}

fn misfits_of_fields(document: &Value, schema: &Value, fields: &Map<String, Value>, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(format!("{at}/{name}: is required"));
        }
    }
    for (name, value) in fields {
        let place = format!("{at}/{name}");
        match schema["properties"].get(name) {
            Some(property) => found.extend(misfits(document, property, value, &place)),
            None if schema.get("additionalProperties").is_some_and(|more| *more != false) => {}
            None if schema.get("properties").is_none() => {}
            None => found.push(format!("{place}: is not known")),
        }
    }
    found
}

fn has_type(name: Option<&str>, value: &Value) -> bool {
    match name {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}
