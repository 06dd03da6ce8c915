//! Helpers that cut, join, spell and encode text.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::RegexBuilder;
use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation;

use super::{Args, Given, Helper, Reason, Tames, check_word, literal};
use crate::service::template::Call;

const UNITS: &[&str] = &["chars", "bytes", "utf16", "graphemes", "json"];
/// What may stand between two texts that are put together.
const SEPARATOR: usize = 2;
/// Everything but the unreserved characters of RFC 3986.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The helpers of this file.
pub const TABLE: &[Helper] = &[
    Helper::new("truncate", 2, Some(3), truncate).check(|call| check_word(call, 2, UNITS)),
    Helper::new("room", 2, None, room).check(|call| check_word(call, 1, UNITS)),
    Helper::new("json", 1, Some(1), |args| Ok(args.value(0).to_string().into())),
    Helper::new("json_str", 1, Some(1), |args| Ok(Value::String(args.value(0).to_string()).to_string().into())),
    Helper::new("url_encode", 1, Some(1), |args| Ok(percent_encode(&args.text(0)).into())).tame(Tames::All),
    Helper::new("lower", 1, Some(1), |args| Ok(args.text(0).to_lowercase().into())),
    Helper::new("upper", 1, Some(1), |args| Ok(args.text(0).to_uppercase().into())),
    Helper::new("trim", 1, Some(1), |args| Ok(args.text(0).trim().into())),
    Helper::new("concat", 1, None, concat),
    Helper::new("lines", 1, None, lines),
    Helper::new("first_line", 1, Some(1), |args| Ok(first_line(&args.text(0)).into())),
    Helper::new("split", 1, Some(2), split),
    Helper::new("join", 1, Some(2), join),
    Helper::new("regex_capture", 2, Some(3), regex_capture).check(compile_pattern).tame(Tames::All),
    Helper::new("escape_html", 1, Some(1), |args| Ok(escape(&args.text(0), "&#39;").into())),
    Helper::new("escape_xml", 1, Some(1), |args| Ok(escape(&args.text(0), "&apos;").into())),
];

/// A value as it stands in a text: null is nothing, items are joined by commas, an object is JSON.
pub fn as_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Array(items) => Cow::Owned(items.iter().map(as_text).collect::<Vec<_>>().join(",")),
        Value::Number(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

/// Percent-encodes all but letters, digits and `-_.~`.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Escapes `& < > "` and the apostrophe, as told.
pub fn escape(text: &str, apostrophe: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str(apostrophe),
            _ => out.push(c),
        }
    }
    out
}

fn truncate(args: &Args<'_>) -> Given {
    if args.value(0).is_null() {
        return Ok(Value::Null);
    }
    let (text, limit) = (args.text(0), args.count(1)?);
    let unit = if args.values.len() > 2 { args.text(2) } else { "chars".into() };
    let kept = match unit.as_ref() {
        "bytes" => cut(&text, limit, text.chars().map(|c| (c.len_utf8(), c.len_utf8())), '…'.len_utf8()),
        "json" => cut(&text, limit, text.chars().map(|c| (c.len_utf8(), spelled_in_json(c))), '…'.len_utf8()),
        "utf16" => cut(&text, limit, text.chars().map(|c| (c.len_utf8(), c.len_utf16())), 1),
        "graphemes" => cut(&text, limit, text.graphemes(true).map(|g| (g.len(), 1)), 1),
        _ => cut(&text, limit, text.chars().map(|c| (c.len_utf8(), 1)), 1),
    };
    Ok(kept.into())
}

/// `room limit unit text…`: what these texts leave of a limit for another one, and the lines or blanks between them.
fn room(args: &Args<'_>) -> Given {
    let (limit, unit) = (args.count(0)?, args.text(1));
    let texts = args.values.iter().skip(2).map(|value| as_text(value)).filter(|text| !text.is_empty());
    let taken: usize = texts.map(|text| units(&text, &unit) + SEPARATOR).sum();
    Ok(limit.saturating_sub(taken).into())
}

fn units(text: &str, unit: &str) -> usize {
    match unit {
        "bytes" => text.len(),
        "json" => text.chars().map(spelled_in_json).sum(),
        "utf16" => text.chars().map(char::len_utf16).sum(),
        "graphemes" => text.graphemes(true).count(),
        _ => text.chars().count(),
    }
}

/// Bytes of a character in a JSON text.
fn spelled_in_json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// Cuts a text to `limit` units. `parts` gives bytes and units of each part; the ellipsis counts.
fn cut(text: &str, limit: usize, parts: impl Iterator<Item = (usize, usize)>, ellipsis: usize) -> String {
    let room = limit.saturating_sub(ellipsis);
    let (mut bytes, mut units, mut fits) = (0, 0, 0);
    for (part_bytes, part_units) in parts {
        bytes += part_bytes;
        units += part_units;
        if units <= room {
            fits = bytes;
        }
        if units > limit {
            let mark = if limit >= ellipsis { "…" } else { "" };
            return format!("{}{mark}", &text[..fits]);
        }
    }
    text.to_owned()
}

fn concat(args: &Args<'_>) -> Given {
    let mut out = String::new();
    for value in args.values {
        out.push_str(&as_text(value));
        if out.len() > super::MAX_OUTPUT {
            return Err(Reason::Borrowed("`concat` gives too much text"));
        }
    }
    Ok(out.into())
}

/// The arguments that are not empty, each on a line of its own.
fn lines(args: &Args<'_>) -> Given {
    let texts = args.values.iter().map(|value| as_text(value)).filter(|text| !text.is_empty());
    Ok(texts.collect::<Vec<_>>().join("\n").into())
}

/// The first line that holds anything, without space around it.
fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Text to a list of trimmed, non-empty parts; a list stays one.
fn split(args: &Args<'_>) -> Given {
    if args.value(0).is_array() {
        return Ok(args.value(0).clone());
    }
    let text = args.text(0);
    let by = if args.values.len() > 1 { args.text(1) } else { ",".into() };
    if by.is_empty() {
        return Err("`split` needs a separator".into());
    }
    Ok(text.split(by.as_ref()).map(str::trim).filter(|part| !part.is_empty()).collect())
}

/// A list to text; text stays as it is.
fn join(args: &Args<'_>) -> Given {
    let by = if args.values.len() > 1 { args.text(1) } else { ",".into() };
    Ok(match args.value(0) {
        Value::Array(items) => items.iter().map(as_text).collect::<Vec<_>>().join(&by).into(),
        other => as_text(other).into(),
    })
}

/// Compiles the pattern once, when the definition is loaded.
fn compile_pattern(call: &mut Call) -> Result<(), String> {
    let pattern = literal(call, 1).ok_or("the pattern must be written out")?;
    let regex = RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|_| "the pattern is not valid")?;
    call.regex = Some(regex);
    Ok(())
}

/// `regex_capture text pattern [group = 1]`: the group's text, or null.
fn regex_capture(args: &Args<'_>) -> Given {
    let group = if args.values.len() > 2 { args.count(2)? } else { 1 };
    let text = args.text(0);
    let found = args.regex.and_then(|regex| regex.captures(&text)).and_then(|captures| captures.get(group));
    Ok(found.map_or(Value::Null, |hit| hit.as_str().into()))
}
