//! The body of a request as a typed value, from JSON or from a form. When it does not fit, says which fields
//! are at fault, all of them, without repeating a value.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::{Map, Value};

use super::envelope::{ApiError, BadRequest, JSON};
use super::{body, form};
use crate::domain::params::ParamType;
use crate::domain::refusal::{ParamProblem, Problem, Refusal};

/// The media type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Most faults that are told of one request.
pub const MAX_FAULTS: usize = 64;

/// The body, as JSON or as a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input<T>(pub T);

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `text/plain`.
    Text,
    /// Anything else, or not said.
    Other,
}

impl BodyKind {
    /// Reads a `Content-Type`; its parameters do not matter. What says that it is a form, because some programs say so of
    /// whatever they are given, is JSON if it begins as an object: a form has neither braces nor quotation marks.
    pub fn of(content_type: Option<&str>, bytes: &[u8]) -> Self {
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            JSON => Self::Json,
            FORM if begins_as_object(bytes) => Self::Json,
            FORM => Self::Form,
            "text/plain" => Self::Text,
            _ => Self::Other,
        }
    }
}

fn begins_as_object(bytes: &[u8]) -> bool {
    let inner = bytes.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| matches!(inner, [b'"' | b'}', ..]))
}

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Input<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let media = |content_type| MetaMediaType { content_type, schema: T::schema_ref() };
        Some(MetaRequest { description: None, content: vec![media(JSON), media(FORM)], required: T::IS_REQUIRED })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes().await?;
        Ok(Self(parse(BodyKind::of(request.content_type(), &bytes), &bytes)?))
    }
}

/// Reads a body. The value is held against the schema first, because the parser takes a number for a text, and because
/// its own complaints name no field.
fn parse<T: ParseFromJSON>(kind: BodyKind, bytes: &[u8]) -> Result<T, ApiError> {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let value = read(kind, bytes, registry.schemas.get(&*T::name()))?;
    let mut faults = Vec::new();
    walk(&registry, &T::schema_ref(), &value, "", &mut faults);
    if !faults.is_empty() {
        return Err(Refusal::Params(faults).into());
    }
    T::parse_from_json(Some(value.clone())).map_err(|cause| match unknown(cause.message()) {
        Some(name) => {
            let place = place_of_unknown(&registry, &T::schema_ref(), &value, "", name);
            ApiError::field(place.as_deref().unwrap_or(name), "unknown")
        }
        None => ApiError::param("body", false),
    })
}

/// The body as JSON; no body is an object without fields.
fn read(kind: BodyKind, bytes: &[u8], schema: Option<&MetaSchema>) -> Result<Value, ApiError> {
    match kind {
        _ if bytes.is_empty() => Ok(Value::Object(Map::new())),
        BodyKind::Json => body::json(bytes),
        BodyKind::Form => {
            let pairs = form::parse(bytes).ok_or_else(|| ApiError::bad_request(&BadRequest::BodyNotUtf8))?;
            Ok(from_form(pairs, schema))
        }
        BodyKind::Text | BodyKind::Other => Err(ApiError::bad_request(&BadRequest::MediaType)),
    }
}

/// A form as the object that its texts stand for: text becomes what the field is declared to be, where it can.
fn from_form(pairs: Vec<(String, String)>, schema: Option<&MetaSchema>) -> Value {
    let mut object = Map::new();
    for (name, text) in pairs {
        let declared = schema.and_then(|schema| property(schema, &name)).map_or("", type_of);
        match (declared, object.get_mut(&name)) {
            ("array", Some(Value::Array(items))) => items.extend(items_of(&text)),
            ("array", _) => drop(object.insert(name, Value::Array(items_of(&text)))),
            (declared, _) => {
                object.insert(name, from_text(declared, text));
            }
        }
    }
    Value::Object(object)
}

/// What a list in a form holds: written as JSON, whole or one item after the other, or as texts between commas.
fn items_of(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Array(items)) => items,
        Ok(object @ Value::Object(_)) => vec![object],
        _ => text.split(',').map(|item| Value::String(item.trim().to_owned())).collect(),
    }
}

fn from_text(declared: &str, text: String) -> Value {
    let lower = text.to_ascii_lowercase();
    match declared {
        "boolean" if matches!(lower.as_str(), "1" | "true" | "yes" | "on") => Value::Bool(true),
        "boolean" if matches!(lower.as_str(), "0" | "false" | "no" | "off") => Value::Bool(false),
        "integer" | "number" | "object" => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    }
}

fn property<'s>(schema: &'s MetaSchema, name: &str) -> Option<&'s MetaSchemaRef> {
    schema.properties.iter().find(|(have, _)| *have == name).map(|(_, property)| property)
}

fn type_of(schema: &MetaSchemaRef) -> &'static str {
    match schema {
        MetaSchemaRef::Inline(schema) => schema.ty,
        MetaSchemaRef::Reference(_) => "",
    }
}

/// The field that the parser does not know; its schema does not tell.
fn unknown(text: &str) -> Option<&str> {
    text.split("unknown field `").nth(1)?.split('`').next()
}

/// Where this field stands that no schema has.
fn place_of_unknown(
    registry: &Registry,
    schema: &MetaSchemaRef,
    value: &Value,
    path: &str,
    name: &str,
) -> Option<String> {
    let schema = resolved(registry, schema)?;
    match value {
        Value::Array(values) => {
            let items = schema.items.as_ref()?;
            let mut each = values.iter().enumerate();
            each.find_map(|(n, value)| place_of_unknown(registry, items, value, &below(path, &n.to_string()), name))
        }
        // One whose members may have any name has no properties.
        Value::Object(object) if !schema.properties.is_empty() => {
            let known = |key: &str| schema.properties.iter().find(|(known, _)| *known == key);
            object.iter().find_map(|(key, value)| match known(key) {
                None => (key == name).then(|| below(path, key)),
                Some((_, property)) => place_of_unknown(registry, property, value, &below(path, key), name),
            })
        }
        _ => None,
    }
}

fn resolved<'a>(registry: &'a Registry, schema: &'a MetaSchemaRef) -> Option<&'a MetaSchema> {
    match schema {
        MetaSchemaRef::Inline(schema) => Some(schema),
        MetaSchemaRef::Reference(name) => registry.schemas.get(name),
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Finds the fields at fault.
fn walk(registry: &Registry, schema: &MetaSchemaRef, value: &Value, path: &str, faults: &mut Vec<ParamProblem>) {
    let Some(schema) = resolved(registry, schema) else { return };
    if faults.len() >= MAX_FAULTS {
        return;
    }
    if let Some(inner) = schema.all_of.first() {
        return walk(registry, inner, value, path, faults);
    }
    if let Some(problem) = problem_of(schema, value) {
        let param = if path.is_empty() { "body".to_owned() } else { path.to_owned() };
        faults.push(ParamProblem { param, problem });
        return;
    }
    if let (Some(items), Value::Array(values)) = (&schema.items, value) {
        for (n, value) in values.iter().enumerate() {
            walk(registry, items, value, &below(path, &n.to_string()), faults);
        }
    }
    if let Value::Object(object) = value {
        for (name, property) in &schema.properties {
            match object.get(*name) {
                None | Some(Value::Null) if schema.required.contains(name) => {
                    faults.push(ParamProblem { param: below(path, name), problem: Problem::Missing });
                }
                None | Some(Value::Null) => {}
                Some(value) => walk(registry, property, value, &below(path, name), faults),
            }
        }
    }
}

fn problem_of(schema: &MetaSchema, value: &Value) -> Option<Problem> {
    if !schema.enum_items.is_empty() {
        let words = || schema.enum_items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        return (!schema.enum_items.contains(value)).then(|| Problem::NotOneOf(words()));
    }
    let wrong = |fits: bool, kind| (!fits).then_some(Problem::NotA(kind));
    match schema.ty {
        "string" => wrong(value.is_string(), ParamType::String).or_else(|| length_problem(schema, value)),
        "integer" => {
            wrong(value.is_i64() || value.is_u64(), ParamType::Integer).or_else(|| range_problem(schema, value))
        }
        "number" => wrong(value.is_number(), ParamType::Number).or_else(|| range_problem(schema, value)),
        "boolean" => wrong(value.is_boolean(), ParamType::Boolean),
        "array" => wrong(value.is_array(), ParamType::List),
        "object" => wrong(value.is_object(), ParamType::Object),
        _ => None,
    }
}

fn length_problem(schema: &MetaSchema, value: &Value) -> Option<Problem> {
    let length = value.as_str()?.chars().count();
    match (schema.min_length, schema.max_length) {
        (_, Some(most)) if length > most => Some(Problem::TooLong(most)),
        (Some(_), _) if length == 0 => Some(Problem::Missing),
        _ => None,
    }
}

fn range_problem(schema: &MetaSchema, value: &Value) -> Option<Problem> {
    let number = value.as_f64()?;
    match (schema.minimum, schema.maximum) {
        (Some(least), _) if number < least => Some(Problem::Below(least.to_string())),
        (_, Some(most)) if number > most => Some(Problem::Above(most.to_string())),
        _ => None,
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
