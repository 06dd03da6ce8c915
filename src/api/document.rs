//! Makes poem-openapi's document one that readers and generators of clients can work with. Changes nothing that
//! the server does.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::codes::{self, CODES};
use crate::domain::idempotency::IdempotencyKey;

/// Where the licences are told.
const LICENCE_URL: &str = "https://spdx.org/licenses/";
pub(super) const SCHEMAS: &str = "#/components/schemas/";
/// The schema of every answer that is no success.
const FAILURE: &str = "Failure";

/// Reads a document as poem-openapi writes it. Where a key comes twice in one object, as a path does that two
/// groups of operations share, what stands under it is put together.
///
/// # Errors
/// The text is not JSON.
pub fn read(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let document = Merging.deserialize(&mut reader)?;
    reader.end()?;
    Ok(document)
}

/// Finishes a document that `read` returned.
#[must_use]
pub fn finish(mut document: Value) -> Value {
    rename_components(&mut document);
    each(&mut document, &mut |value| {
        plain_media_types(value);
        plain_all_of(value);
    });
    let types = types_of_components(&document);
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    let mut nullable = Vec::new();
    for (_, schema) in schemas.into_iter().flatten() {
        nullable.extend(optional_is_nullable(schema, &types));
    }
    for target in nullable {
        // What says so beside a reference does not take the null from what is referred to.
        if let Some(component) = document.pointer_mut(target.trim_start_matches('#')) {
            component["nullable"] = json!(true);
        }
    }
    if let Some(paths) = document.get_mut("paths").map(Value::take) {
        document["paths"] = finish_paths(paths);
    }
    add_failure(&mut document);
    tell_codes(&mut document);
    document["servers"] = json!([{ "url": "/" }]);
    document["info"]["license"] = json!({ "name": env!("CARGO_PKG_LICENSE"), "url": LICENCE_URL });
    document
}

/// `Reply_Page_Task` becomes `TaskPageReply`: a name that is legal, and reads.
fn component_name(name: &str) -> String {
    let list = name.replace('[', "").replace(']', "List");
    let clean = |part: &str| {
        let word: String =
            part.split('(').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    list.split('_').rev().map(clean).collect()
}

fn rename_components(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut renamed = Map::new();
    for (old, schema) in std::mem::take(schemas) {
        let mut new = component_name(&old);
        while renamed.contains_key(&new) {
            new.push('X');
        }
        renamed.insert(new.clone(), schema);
        names.insert(old, new);
    }
    renamed.sort_keys();
    *schemas = renamed;
    each(document, &mut |value| {
        let target = value.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix(SCHEMAS));
        if let Some(new) = target.and_then(|old| names.get(old)) {
            value["$ref"] = json!(format!("{SCHEMAS}{new}"));
        }
    });
}

/// Calls `change` for every operation of a finished document, with its path.
pub fn each_operation(document: &mut Value, mut change: impl FnMut(&str, &mut Value)) {
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (_, operation) in operations.as_object_mut().into_iter().flatten() {
            change(path, operation);
        }
    }
}

/// Calls `change` for every value, the outer ones first.
pub(super) fn each(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    change(value);
    match value {
        Value::Object(object) => object.values_mut().for_each(|inner| each(inner, change)),
        Value::Array(items) => items.iter_mut().for_each(|inner| each(inner, change)),
        _ => {}
    }
}

/// `application/json; charset=utf-8` as a key of `content` loses what follows the semicolon.
fn plain_media_types(value: &mut Value) {
    if let Some(Value::Object(content)) = value.get_mut("content")
        && content.keys().any(|media| media.contains(';'))
    {
        let plain = |media: String| media.split(';').next().unwrap_or_default().trim().to_owned();
        *content = std::mem::take(content).into_iter().map(|(media, schema)| (plain(media), schema)).collect();
    }
}

/// `allOf` of a reference and of what stands beside it anyway keeps the reference alone.
fn plain_all_of(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    let Some(Value::Array(parts)) = object.get("allOf") else { return };
    let stands_beside = |part: &Value| {
        part.as_object().is_some_and(|part| part.iter().all(|(key, value)| object.get(key) == Some(value)))
    };
    if let [first, second] = parts.as_slice()
        && first.get("$ref").is_some()
        && stands_beside(second)
    {
        let kept = vec![first.clone()];
        object.insert("allOf".to_owned(), Value::Array(kept));
    }
}

/// The type of each component that has one.
fn types_of_components(document: &Value) -> BTreeMap<String, Value> {
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    let typed = schemas.into_iter().flatten().filter_map(|(name, schema)| Some((name, schema.get("type")?)));
    typed.map(|(name, kind)| (format!("{SCHEMAS}{name}"), kind.clone())).collect()
}

/// What need not be there is null when it is not: poem-openapi sends `null`, and takes it. OpenAPI 3.0 wants a type
/// beside `nullable`; what has none is anything, null too. Answers the components that can be null; a word of a closed
/// list is left out instead.
fn optional_is_nullable(schema: &mut Value, types: &BTreeMap<String, Value>) -> Vec<String> {
    let mut nullable = Vec::new();
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|have| have == name));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(object) = property.as_object_mut() else { continue };
        if is_required(name) || object.contains_key("default") || object.is_empty() {
            continue;
        }
        if let Some(target) = object.shift_remove("$ref") {
            object.insert("allOf".to_owned(), json!([{ "$ref": target }]));
        }
        if let Some(target) = object.get("allOf").and_then(|all| all[0]["$ref"].as_str()) {
            if types.get(target).is_none_or(|kind| kind != "object") {
                continue;
            }
            nullable.push(target.to_owned());
            object.insert("type".to_owned(), json!("object"));
        }
        if object.contains_key("type") {
            object.insert("nullable".to_owned(), json!(true));
        }
    }
    nullable
}

fn finish_paths(paths: Value) -> Value {
    let Value::Object(paths) = paths else { return paths };
    let mut finished = Map::new();
    for (path, mut operations) in paths {
        let path = format!("{}/", path.trim_end_matches('/'));
        for (_, operation) in operations.as_object_mut().into_iter().flatten() {
            finish_operation(&path, operation);
        }
        finished.insert(path, operations);
    }
    finished.sort_keys();
    Value::Object(finished)
}

fn finish_operation(path: &str, operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        // A list in the query may be empty, and is then not there.
        if parameter["in"] == "query" && parameter["schema"]["type"] == "array" {
            parameter["required"] = json!(false);
        }
    }
    if path.starts_with("/push/") {
        push_parameter(operation, idempotency_key());
    }
    if path.starts_with("/push/") || path.ends_with("/preview/") {
        let any = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        push_parameter(
            operation,
            json!({
                "name": "parameters",
                "schema": any,
                "in": "query",
                "description": "Parameters of the push, each under its own name.",
                "required": false,
                "explode": true,
                "style": "form",
                "example": { "title": "Disk" },
            }),
        );
    }
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        responses.shift_remove("default");
        for (range, description) in
            [("4XX", "The request is not acceptable; `code` says why."), ("5XX", "The server could not do it.")]
        {
            responses.entry(range).or_insert_with(|| failure_response(description));
        }
        if let Some(broken) = responses.get_mut("5XX") {
            broken["headers"] = retry_after();
        }
        // Any request can be one too many, whatever it asks for.
        let first = responses.keys().position(|status| status == "4XX").unwrap_or_default();
        responses.shift_insert(first, "429".to_owned(), limited_response());
        for (_, response) in responses {
            if response["description"] == "" {
                response["description"] = json!("Done.");
            }
        }
    }
}

fn push_parameter(operation: &mut Value, parameter: Value) {
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) if parameters.contains(&parameter) => {}
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

/// A handler reads it from the request, so that what is no key is refused in the same words everywhere.
fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "schema": { "type": "string", "minLength": 1, "maxLength": IdempotencyKey::MAX, "pattern": "^[!-~]+$" },
        "in": "header",
        "description": "Makes repeating the call safe: for 24 hours the same key on the same Pusher gets the first \
                        answer, and nothing is pushed twice. Visible ASCII characters of your choice.",
        "required": false,
        "example": "backup-17",
    })
}

fn failure_response(description: &str) -> Value {
    let schema = json!({ "$ref": format!("{SCHEMAS}{FAILURE}") });
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn limited_response() -> Value {
    let mut response = failure_response("Too many requests, or the day's quota is used up.");
    response["headers"] = retry_after();
    response
}

fn retry_after() -> Value {
    json!({ "Retry-After": {
        "description": "Seconds to wait, if that is known to help.",
        "schema": { "type": "integer", "format": "int64" },
    } })
}

/// The schema that failures refer to, should no operation have brought it.
fn add_failure(document: &mut Value) {
    if document.pointer("/components/schemas/Failure").is_none() {
        document["components"]["schemas"][FAILURE] = json!({
            "type": "object",
            "required": ["success", "code", "message"],
            "properties": {
                "success": { "type": "boolean" },
                "code": { "type": "string" },
                "message": { "type": "string" },
                "data": {},
            },
        });
    }
}

/// Lists the codes of failures for people, and for programs in the way that says that there may be more one day.
fn tell_codes(document: &mut Value) {
    if let Some(code) = document.pointer_mut("/components/schemas/Failure/properties/code") {
        code["x-extensible-enum"] = CODES.iter().map(|(code, ..)| *code).collect();
    }
    if let Some(Value::String(about)) = document.pointer_mut("/info/description") {
        let table = codes::table();
        if !about.contains(&table) {
            about.push_str("\n\n## Codes of failures\n\nThey stay; new ones may come.\n\n");
            about.push_str(&table);
        }
    }
}

/// Reads a value, and puts together what comes twice under one key of an object.
struct Merging;

impl<'de> DeserializeSeed<'de> for Merging {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Merging {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Merging)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Merging)?;
            match (object.get_mut(&key), value) {
                (Some(Value::Object(have)), Value::Object(more)) => have.extend(more),
                (_, value) => {
                    object.insert(key, value);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
