//! Parameters: names, declared types, and how a given value becomes a value of the declared type.

use super::address;
use super::mailbox;
use super::refusal::Problem;
use serde::{Deserialize, Serialize};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// Parameters by name, in the order given.
pub type Params = Map<String, Value>;

/// Adds what a form, a query or a command gives, where a name that is repeated makes a list.
pub fn add_text(params: &mut Params, name: String, text: String) {
    let value = Value::String(text);
    match params.entry(name) {
        Entry::Vacant(place) => drop(place.insert(value)),
        Entry::Occupied(mut place) => match place.get_mut() {
            Value::Array(values) => values.push(value),
            single => *single = Value::Array(vec![single.take(), value]),
        },
    }
}

/// Longest name of a parameter, in characters.
pub const MAX_NAME: usize = 64;
/// Most parameters that one call may give in all its layers, or one Pusher predefine.
pub const MAX_PARAMS: usize = 64;
/// Longest text of one parameter's value, in bytes.
pub const MAX_CONTENT: usize = 64 * 1024;

/// What a Service declares a parameter to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// One line of text.
    String,
    /// Text of any number of lines.
    Text,
    /// A whole number.
    Integer,
    /// Any finite number.
    Number,
    /// True or false.
    Boolean,
    /// One of the words in `values`.
    Enum,
    /// A JSON array, also as text; any other text is split at commas.
    List,
    /// A JSON object.
    Object,
    /// An absolute URL.
    Url,
    /// A mail address, with a name before it or without.
    Email,
}

impl ParamType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::String,
        Self::Text,
        Self::Integer,
        Self::Number,
        Self::Boolean,
        Self::Enum,
        Self::List,
        Self::Object,
        Self::Url,
        Self::Email,
    ];

    /// The word for it in definitions and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Enum => "enum",
            Self::List => "list",
            Self::Object => "object",
            Self::Url => "url",
            Self::Email => "email",
        }
    }
}

/// One parameter that a Service takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Its name: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// Its type.
    pub kind: ParamType,
    /// What every entry of a `list` is; anything if not said. Words, lengths, limits and schemes are then the entries'.
    pub items: Option<ParamType>,
    /// Absent or empty is an error.
    pub required: bool,
    /// Masked wherever it is shown, sealed at rest.
    pub secret: bool,
    /// The value when nobody gives one.
    pub default: Option<Value>,
    /// The words of an `enum`; empty otherwise.
    pub values: Vec<String>,
    /// Longest text, in characters.
    pub max_length: Option<usize>,
    /// Smallest number.
    pub min: Option<f64>,
    /// Largest number.
    pub max: Option<f64>,
    /// The URL schemes that a `url` may have; empty means any.
    pub accepts: Vec<String>,
    /// What it is for, in English.
    pub help: String,
    /// What it is for, in Chinese.
    pub help_zh: String,
}

#[cfg(test)]
impl ParamSpec {
    /// One that takes whatever is of its type.
    pub fn plain(name: &str, kind: ParamType) -> Self {
        Self {
            name: name.into(),
            kind,
            items: None,
            required: false,
            secret: false,
            default: None,
            values: Vec::new(),
            max_length: None,
            min: None,
            max: None,
            accepts: Vec::new(),
            help: String::new(),
            help_zh: String::new(),
        }
    }
}

/// What the rules need to know of a Service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// The Service's slug.
    pub id: String,
    /// Takes parameters that it does not declare as well.
    pub accepts_any: bool,
    /// The parameters that it declares, in the order of its file.
    pub params: Vec<ParamSpec>,
}

impl ServiceSpec {
    /// The declaration of a parameter.
    pub fn param(&self, name: &str) -> Option<&ParamSpec> {
        self.params.iter().find(|spec| spec.name == name)
    }
}

/// Turns a given value into a value of the declared type. `Ok(None)` counts as absent: null, and the empty text for
/// a type that is not text.
///
/// Whether an absent parameter is missed is for the caller to say: a default may stand in for it.
///
/// # Errors
/// What is wrong with the value; the empty text (or list, or object) of a required parameter is `Missing`.
pub fn convert(spec: &ParamSpec, value: &Value) -> Result<Option<Value>, Problem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => convert_text(spec, Cow::Borrowed(text)),
        _ => convert_other(spec, value).map(Some),
    }
}

/// As [`convert`], for a value that is text: from a query, a form, a JSON string.
///
/// # Errors
/// As [`convert`].
pub fn convert_text(spec: &ParamSpec, text: Cow<'_, str>) -> Result<Option<Value>, Problem> {
    check_text(&text)?;
    if text.is_empty() {
        return match spec.kind {
            ParamType::String | ParamType::Text if spec.required => Err(Problem::Missing),
            ParamType::String | ParamType::Text => Ok(Some(Value::String(String::new()))),
            _ => Ok(None),
        };
    }
    let not = || Problem::NotA(spec.kind);
    let value = match spec.kind {
        ParamType::String | ParamType::Text => Value::String(within(spec, text)?.into_owned()),
        ParamType::Integer => in_range(spec, integer_text(text.trim()).ok_or_else(not)?)?,
        ParamType::Number => in_range(spec, number_text(text.trim()).ok_or_else(not)?)?,
        ParamType::Boolean => Value::Bool(boolean_text(text.trim()).ok_or_else(not)?),
        ParamType::Enum => word(spec, text)?,
        ParamType::List => {
            let items = match serde_json::from_str(&text) {
                Ok(items @ (Value::Array(_) | Value::Object(_))) => {
                    check_value(&items)?;
                    if let Value::Array(items) = items { items } else { vec![items] }
                }
                _ => text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect(),
            };
            list(spec, items)?
        }
        ParamType::Object => match serde_json::from_str(&text) {
            Ok(object @ Value::Object(_)) => {
                check_value(&object)?;
                not_empty(spec, object)?
            }
            _ => return Err(not()),
        },
        ParamType::Url => url(spec, text.trim())?,
        ParamType::Email => {
            let address = mailbox::one_line(&text);
            if !mailbox::is_mailbox(&address) {
                return Err(not());
            }
            Value::String(within(spec, Cow::Owned(address))?.into_owned())
        }
    };
    Ok(Some(value))
}

/// Numbers, booleans, lists and objects.
fn convert_other(spec: &ParamSpec, value: &Value) -> Result<Value, Problem> {
    let not = || Problem::NotA(spec.kind);
    match (spec.kind, value) {
        // With all its digits: a number may be an identifier.
        (ParamType::String | ParamType::Text, Value::Number(_) | Value::Bool(_)) => {
            check_value(value)?;
            Ok(Value::String(within(spec, Cow::Owned(value.to_string()))?.into_owned()))
        }
        (ParamType::Integer, Value::Number(number)) => in_range(spec, whole(number).ok_or_else(not)?),
        (ParamType::Number, Value::Number(_)) => {
            check_value(value)?;
            in_range(spec, value.clone())
        }
        (ParamType::Boolean, Value::Bool(_)) => Ok(value.clone()),
        (ParamType::Boolean, Value::Number(number)) => match number.as_f64() {
            Some(0.0) => Ok(Value::Bool(false)),
            Some(1.0) => Ok(Value::Bool(true)),
            _ => Err(not()),
        },
        (ParamType::Enum, Value::Number(_) | Value::Bool(_)) => word(spec, Cow::Owned(value.to_string())),
        (ParamType::List, Value::Array(items)) => {
            check_value(value)?;
            list(spec, items.clone())
        }
        (ParamType::Object, Value::Object(_)) => {
            check_value(value)?;
            not_empty(spec, value.clone())
        }
        (kind, Value::Array(_)) => Err(Problem::NotOne(kind)),
        _ => Err(not()),
    }
}

/// What no text may be, whatever its type: longer than [`MAX_CONTENT`], or with a NUL that databases and mail refuse.
///
/// # Errors
/// `TooLarge` or `HoldsNul`.
pub fn check_text(text: &str) -> Result<(), Problem> {
    if text.len() > MAX_CONTENT {
        Err(Problem::TooLarge(MAX_CONTENT))
    } else if text.contains('\0') {
        Err(Problem::HoldsNul)
    } else {
        Ok(())
    }
}

/// Applies [`check_text`] to every text in a value, the keys of objects and the digits of numbers included.
///
/// # Errors
/// As [`check_text`].
pub fn check_value(value: &Value) -> Result<(), Problem> {
    match value {
        Value::String(text) => check_text(text),
        Value::Number(number) => check_text(number.as_str()),
        Value::Array(items) => items.iter().try_for_each(check_value),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            check_text(key)?;
            check_value(value)
        }),
        _ => Ok(()),
    }
}

fn within<'a>(spec: &ParamSpec, text: Cow<'a, str>) -> Result<Cow<'a, str>, Problem> {
    match spec.max_length {
        // A text has no more characters than bytes, so most are not counted.
        Some(max) if text.len() > max && text.chars().count() > max => Err(Problem::TooLong(max)),
        _ => Ok(text),
    }
}

/// A list of which every entry is what it has to be. Blank ones are left out, as between two commas.
fn list(spec: &ParamSpec, given: Vec<Value>) -> Result<Value, Problem> {
    let Some(kind) = spec.items else { return not_empty(spec, Value::Array(given)) };
    let item = ParamSpec { kind, items: None, required: false, default: None, ..spec.clone() };
    let mut items = Vec::with_capacity(given.len());
    for (at, value) in given.iter().enumerate() {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            continue;
        }
        items.extend(convert(&item, value).map_err(|problem| Problem::Entry(at + 1, Box::new(problem)))?);
    }
    not_empty(spec, Value::Array(items))
}

fn not_empty(spec: &ParamSpec, value: Value) -> Result<Value, Problem> {
    let empty = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if empty && spec.required { Err(Problem::Missing) } else { Ok(value) }
}

fn word(spec: &ParamSpec, text: Cow<'_, str>) -> Result<Value, Problem> {
    if spec.values.iter().any(|word| *word == text) {
        Ok(Value::String(text.into_owned()))
    } else {
        Err(Problem::NotOneOf(spec.values.clone()))
    }
}

fn url(spec: &ParamSpec, text: &str) -> Result<Value, Problem> {
    // The parser drops line breaks and tabs without a word; what is kept is the text as given, so they are refused.
    let parsed = if text.chars().any(char::is_control) { None } else { address::parse(text).ok() };
    let parsed = parsed.ok_or(Problem::NotA(ParamType::Url))?;
    if !spec.accepts.is_empty() && !spec.accepts.iter().any(|scheme| scheme.eq_ignore_ascii_case(parsed.scheme())) {
        return Err(Problem::SchemeNotIn(spec.accepts.clone()));
    }
    Ok(Value::String(within(spec, Cow::Borrowed(text))?.into_owned()))
}

fn boolean_text(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["1", "true", "yes", "on"]) {
        Some(true)
    } else if is(["0", "false", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// A whole number given as a JSON number: `3` and `3.0`, not `3.5` or what does not fit 64 bits.
pub(super) fn whole(number: &Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(Value::Number(number.clone()));
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
    // Printed without an exponent, an integral float is a decimal text.
    integer_text(&format!("{float:.0}"))
}

/// A whole number in decimal, with or without a sign.
pub(super) fn integer_text(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
}

fn number_text(text: &str) -> Option<Value> {
    // Words such as `inf` and `nan` are numbers to the standard library.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if !plain {
        return None;
    }
    integer_text(text).or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number))
}

fn in_range(spec: &ParamSpec, value: Value) -> Result<Value, Problem> {
    let number = value.as_f64().ok_or(Problem::NotA(spec.kind))?;
    match (spec.min, spec.max) {
        (Some(min), _) if number < min => Err(Problem::Below(min.to_string())),
        (_, Some(max)) if number > max => Err(Problem::Above(max.to_string())),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests;
