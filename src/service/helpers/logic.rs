//! Helpers that choose and compare.

use serde_json::{Map, Value};

use super::text::as_text;
use super::{Args, Given, Helper, Tames};

/// The helpers of this file.
pub const TABLE: &[Helper] = &[
    Helper::new("default", 1, None, default),
    Helper::new("when", 2, Some(3), when).tame(Tames::First),
    Helper::new("case", 3, None, case).tame(Tames::First),
    Helper::new("eq", 2, Some(2), |args| Ok(same(args.value(0), args.value(1)).into())).tame(Tames::All),
    Helper::new("ne", 2, Some(2), |args| Ok((!same(args.value(0), args.value(1))).into())).tame(Tames::All),
    Helper::new("and", 2, None, |args| Ok(args.values.iter().all(|v| is_truthy(v)).into())).tame(Tames::All),
    Helper::new("or", 2, None, |args| Ok(args.values.iter().any(|v| is_truthy(v)).into())).tame(Tames::All),
    Helper::new("not", 1, Some(1), |args| Ok((!is_truthy(args.value(0))).into())).tame(Tames::All),
    Helper::new("contains", 2, Some(2), contains).tame(Tames::All),
    Helper::new("int", 1, Some(1), int).tame(Tames::All),
    Helper::new("bool", 1, Some(1), boolean).tame(Tames::All),
    Helper::new("object", 2, None, object),
    Helper::new("list", 1, None, list),
];

/// Whether a condition holds: not null, false, zero, or empty.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        other => !is_empty(other),
    }
}

/// Whether a value is nothing: null, or a text, list or object without anything in it.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Equal, where a number or boolean equals its spelling (`3` and `"3"`).
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::String(_), Value::Number(_) | Value::Bool(_))
        | (Value::Number(_) | Value::Bool(_), Value::String(_)) => as_text(a) == as_text(b),
        _ => a == b,
    }
}

fn default(args: &Args<'_>) -> Given {
    let given = args.values.iter().find(|value| !is_empty(value));
    Ok(given.map_or(Value::Null, |value| value.as_ref().clone()))
}

fn when(args: &Args<'_>) -> Given {
    let chosen = if is_truthy(args.value(0)) { 1 } else { 2 };
    Ok(args.value(chosen).clone())
}

/// `case value k1 v1 k2 v2 … [otherwise]`.
fn case(args: &Args<'_>) -> Given {
    let (pairs, otherwise) = args.values[1..].as_chunks::<2>();
    let hit = pairs.iter().find(|[key, _]| same(args.value(0), key)).map(|[_, value]| value);
    Ok(hit.or(otherwise.first()).map_or(Value::Null, |value| value.as_ref().clone()))
}

fn contains(args: &Args<'_>) -> Given {
    Ok(match args.value(0) {
        Value::Array(items) => items.iter().any(|item| same(item, args.value(1))),
        Value::Object(fields) => fields.contains_key(args.text(1).as_ref()),
        _ => args.text(0).contains(args.text(1).as_ref()),
    }
    .into())
}

fn int(args: &Args<'_>) -> Given {
    match args.value(0) {
        Value::Null => Ok(Value::Null),
        Value::Bool(flag) => Ok(i64::from(*flag).into()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.clone().into()),
        Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 9e15) => {
            Ok((number.as_f64().unwrap_or_default() as i64).into())
        }
        Value::String(text) if text.trim().is_empty() => Ok(Value::Null),
        Value::String(text) => {
            text.trim().parse::<i64>().map(Value::from).map_err(|_| "`int` needs a whole number".into())
        }
        _ => Err("`int` needs a whole number".into()),
    }
}

fn boolean(args: &Args<'_>) -> Given {
    let word = args.text(0).trim().to_ascii_lowercase();
    match word.as_str() {
        "" => Ok(Value::Null),
        "1" | "true" | "yes" | "on" => Ok(true.into()),
        "0" | "false" | "no" | "off" => Ok(false.into()),
        _ => Err("`bool` needs a yes or a no".into()),
    }
}

/// `object key value …`; an empty value is left out.
fn object(args: &Args<'_>) -> Given {
    let (pairs, odd) = args.values.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("`object` needs pairs of a key and a value".into());
    }
    let full = pairs.iter().filter(|[_, value]| !is_empty(value));
    Ok(Value::Object(
        full.map(|[key, value]| (as_text(key).into_owned(), value.as_ref().clone())).collect::<Map<_, _>>(),
    ))
}

/// `list item …`; empty items are left out.
fn list(args: &Args<'_>) -> Given {
    Ok(args.values.iter().filter(|value| !is_empty(value)).map(|value| value.as_ref().clone()).collect())
}
