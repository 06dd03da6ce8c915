//! What the types of the API do not tell of their values: bounds, closed lists of words, times, which fields an answer
//! always has. Written into the finished document for generators of clients; the checks themselves stand where requests
//! are read.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::document::{SCHEMAS, each, each_operation};
use super::envelope::JSON;
use super::input::FORM;
use super::page::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::domain::account::PASSWORD_LENGTH;
use crate::domain::audit::AuditAction;
use crate::domain::invite::{InviteKind, MOST_CODES, MOST_SECONDS, MOST_SOURCE, MOST_TIMES};
use crate::domain::params::{MAX_NAME, ParamType};
use crate::domain::pusher::{MAX_MEMBERS, MAX_TITLE};

/// The parameters of a push, as JSON and as a form.
const PARAMETERS: &str = "Parameters";
const FORM_PARAMETERS: &str = "FormParameters";
/// Fields that an answer leaves out where they mean nothing.
const LEFT_OUT: [(&str, &str); 4] =
    [("Login", "obstacle"), ("Login", "token"), ("Task", "attempt_log"), ("Token", "token")];

/// Writes it into a finished document.
pub fn add(document: &mut Value) {
    let asked = schemas_of_bodies(document);
    for (name, schema) in components(document) {
        if let Some(schema) = schema.as_object_mut() {
            finish_component(name, schema, asked.contains(name));
        }
    }
    for (schema, field, keywords) in bounds() {
        let property = document.pointer_mut(&format!("/components/schemas/{schema}/properties/{field}"));
        if let (Some(property), Value::Object(keywords)) = (property.and_then(Value::as_object_mut), keywords) {
            property.extend(keywords);
        }
    }
    let refer = |schema: &str| json!(format!("{SCHEMAS}{schema}"));
    document["components"]["schemas"]["Pusher"]["discriminator"] = json!({
        "propertyName": "kind",
        "mapping": { "service": refer("Service"), "preset": refer("Preset"), "group": refer("Group") },
    });
    document["components"]["schemas"][PARAMETERS] = json!({
        "type": "object", "description": "Parameters by name.", "additionalProperties": {},
    });
    document["components"]["schemas"][FORM_PARAMETERS] = json!({
        "type": "object", "description": "The same as texts; a name that comes several times makes a list.",
        "additionalProperties": {},
    });
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.sort_keys();
    }
    each_operation(document, |_, operation| {
        finish_body(operation);
        let is_invite = operation["operationId"] == "invite";
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            finish_parameter(parameter);
            if is_invite && parameter["name"] == "which" {
                parameter["schema"]["enum"] = json!(InviteKind::ALL.map(InviteKind::as_str));
            }
        }
    });
    each(document, &mut plain_formats);
}

fn components(document: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    document.pointer_mut("/components/schemas").and_then(Value::as_object_mut).into_iter().flatten()
}

/// The components that requests are made of, and those that these are made of.
fn schemas_of_bodies(document: &mut Value) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut found = Vec::new();
    each_operation(document, |_, operation| {
        let mut body = operation.get("requestBody").cloned().unwrap_or_default();
        each(&mut body, &mut |value| found.extend(target(value).map(str::to_owned)));
    });
    while let Some(name) = found.pop() {
        if reached.insert(name.clone()) {
            let mut schema = document["components"]["schemas"][&name].clone();
            each(&mut schema, &mut |value| found.extend(target(value).map(str::to_owned)));
        }
    }
    reached
}

/// The component that a value refers to.
fn target(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)
}

fn finish_component(name: &str, schema: &mut Map<String, Value>, is_asked: bool) {
    // poem-openapi's names of its own, which generators would take for the name.
    schema.shift_remove("title");
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    // Around a choice between components some generators lose what tells them apart.
    if name.ends_with("Reply")
        && let Some(data) = properties.get_mut("data")
        && let Some(target) = data["allOf"][0].get("$ref").cloned()
    {
        *data = json!({ "$ref": target });
    }
    if is_asked {
        schema.insert("additionalProperties".to_owned(), json!(false));
        return;
    }
    // What means nothing is null in an answer, and there.
    let always = properties.keys().filter(|field| !LEFT_OUT.contains(&(name, field)));
    let always: Vec<Value> = always.map(|field| json!(field)).collect();
    if !always.is_empty() {
        schema.insert("required".to_owned(), always.into());
    }
}

/// Gives what is parameters a name, one as JSON and one as a form, and leaves JSON alone everywhere else: of two ways to
/// send one component some generators of clients take the form, and of two components they make code that does not run.
fn finish_body(operation: &mut Value) {
    let Some(content) = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut) else { return };
    if content.get(JSON).is_some_and(|media| target(&media["schema"]).is_some()) {
        content.shift_remove(FORM);
    }
    for (kind, media) in content {
        if media["schema"].get("additionalProperties").is_some() {
            let name = if kind == FORM { FORM_PARAMETERS } else { PARAMETERS };
            media["schema"] = json!({ "$ref": format!("{SCHEMAS}{name}") });
        }
    }
}

fn finish_parameter(parameter: &mut Value) {
    let more = match parameter["name"].as_str().unwrap_or_default() {
        "limit" => json!({ "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT }),
        "since" | "until" => json!({ "format": "date-time" }),
        "action" => json!({ "enum": AuditAction::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>() }),
        _ => return,
    };
    if let (Some(schema), Value::Object(more)) = (parameter["schema"].as_object_mut(), more) {
        schema.extend(more);
    }
}

/// Times are told as such, and numbers in the two sizes that OpenAPI knows.
fn plain_formats(value: &mut Value) {
    if let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            let is_time = name.ends_with("_at") || matches!(name.as_str(), "at" | "valid_to" | "confirm_by");
            if is_time && property["type"] == "string" {
                property["format"] = json!("date-time");
            }
        }
    }
    let size = match value.get("format").and_then(Value::as_str) {
        Some("uint16" | "uint32") => "int32",
        Some("uint64") => "int64",
        _ => return,
    };
    value["format"] = json!(size);
    if value.get("minimum").is_none() {
        value["minimum"] = json!(0);
    }
}

/// Schema, field, and what holds of its value.
fn bounds() -> Vec<(&'static str, &'static str, Value)> {
    let title = || json!({ "minLength": 1, "maxLength": MAX_TITLE });
    let password = || json!({ "minLength": PASSWORD_LENGTH.start(), "maxLength": PASSWORD_LENGTH.end() });
    let member = || json!({ "minLength": 1, "maxLength": MAX_NAME, "pattern": "^[a-z][a-z0-9_]*$" });
    let members = || json!({ "minItems": 1, "maxItems": MAX_MEMBERS });
    let map = || json!({ "additionalProperties": { "type": "array", "items": { "type": "string" } } });
    let word = |word: &str| json!({ "enum": [word] });
    let one_of = |schema: &str| json!({ "allOf": [{ "$ref": format!("{SCHEMAS}{schema}") }] });
    let from_one = |most: i64| json!({ "minimum": 1, "maximum": most });
    vec![
        ("CreatePreset", "name", title()),
        ("ChangePreset", "name", title()),
        ("CreateGroup", "name", title()),
        ("ChangeGroup", "name", title()),
        ("CreateToken", "name", title()),
        ("CreateToken", "scopes", json!({ "minItems": 1 })),
        ("Member", "name", member()),
        ("ChangeMember", "name", member()),
        ("CreateGroup", "pushers", members()),
        ("ChangeGroup", "pushers", members()),
        ("Group", "param_map", map()),
        ("CreateGroup", "param_map", map()),
        ("ChangeGroup", "param_map", map()),
        ("SignUp", "password", password()),
        ("ResetPassword", "password", password()),
        ("ChangePassword", "password", password()),
        ("Invitation", "quantity", from_one(MOST_CODES.into())),
        ("Invitation", "times", from_one(MOST_TIMES.into())),
        ("Invitation", "valid_time", from_one(MOST_SECONDS)),
        ("Invitation", "source", json!({ "maxLength": MOST_SOURCE })),
        ("ChangeUser", "quota", json!({ "minimum": 0, "maximum": super::user::MOST_QUOTA })),
        ("Task", "state", one_of("State")),
        ("PushedTask", "state", one_of("State")),
        ("RevokedTask", "state", one_of("State")),
        ("Revocation", "state", one_of("State")),
        ("Account", "role", one_of("Role")),
        ("User", "role", one_of("Role")),
        ("Service", "kind", word("service")),
        ("Preset", "kind", word("preset")),
        ("Group", "kind", word("group")),
        ("Service", "transport", json!({ "enum": ["http", "smtp"] })),
        ("Param", "type", json!({ "enum": ParamType::ALL.map(ParamType::as_str) })),
        ("Invite", "type", json!({ "enum": InviteKind::ALL.map(InviteKind::as_str) })),
        ("Attempt", "outcome", json!({ "enum": ["sent", "later", "never", "interrupted"] })),
        ("AuditEvent", "action", json!({ "enum": AuditAction::ALL.iter().map(|of| of.as_str()).collect::<Vec<_>>() })),
        (
            "PreviewTask",
            "params",
            json!({ "additionalProperties": {
                "type": "object", "required": ["value", "from"],
                "properties": { "value": {}, "from": { "type": "string" } },
            } }),
        ),
    ]
}
