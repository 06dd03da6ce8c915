//! Secrets as they may be shown: masked in what is read, and struck out of texts such as a channel's answer.

use super::params::{ParamSpec, ParamType, Params, ServiceSpec};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use url::Url;

/// What stands for the part that is not shown.
const STARS: &str = "****";
/// Shorter secrets show nothing at all.
const SHOWS_FROM: usize = 12;
/// Shorter secrets are not looked for in texts: they would be found everywhere.
const STRUCK_FROM: usize = 4;
/// Shorter parts of a secret, and those without a digit, may be words.
const TOKEN_FROM: usize = 12;
/// Fewer letters of a secret are not looked for inside base64, where chance would find them.
const LEAST_INSIDE: usize = 6;

/// A secret with its middle masked, `F8Q****vue`: at most three characters of each end, at most a third of it, and
/// nothing of a short one.
pub fn mask(secret: &str) -> String {
    let length = secret.chars().count();
    if length < SHOWS_FROM {
        return STARS.to_owned();
    }
    let shown = (length / 3).min(6);
    let tail = shown / 2;
    let head = shown - tail;
    let chars = || secret.chars();
    chars().take(head).chain(STARS.chars()).chain(chars().skip(length - tail)).collect()
}

/// A secret URL with all but scheme, host and port masked, `https://hooks.slack.com/****`; still a URL.
/// What is no URL with a host is masked as any secret.
pub fn mask_url(secret: &str) -> String {
    let Some((url, host)) = parse_url(secret) else { return mask(secret) };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}/{STARS}", url.scheme())
}

/// A value as it may be shown: as it is if the parameter is no secret, but for the password in an address. Of lists and
/// objects every value is masked, keys are shown; null stays null.
pub fn mask_value(spec: &ParamSpec, value: &Value) -> Value {
    match value {
        _ if spec.secret => mask_all(value, &|text| mask_text(spec.kind, text)),
        Value::String(text) if spec.kind == ParamType::Url => Value::String(mask_password(text)),
        _ => value.clone(),
    }
}

/// An address with its password masked, `https://ann:****@example.com/`; whatever has none as it is. Where it cannot be
/// told which part is the password, as with a host yet to be filled in, all is masked.
fn mask_password(address: &str) -> String {
    if !address.contains('@') {
        return address.to_owned();
    }
    match parse_url(address) {
        Some((url, _)) if url.password().is_none() => address.to_owned(),
        Some((mut url, _)) => match url.set_password(Some(STARS)) {
            Ok(()) => url.into(),
            Err(()) => mask(address),
        },
        None => mask(address),
    }
}

/// A value masked whatever it is, for where it is not known what it is.
pub fn hide(value: &Value) -> Value {
    mask_all(value, &|text| mask_text(ParamType::String, text))
}

/// A value of which nothing is shown, not even its ends.
pub fn blank(value: &Value) -> Value {
    mask_all(value, &|_| STARS.to_owned())
}

fn mask_all(value: &Value, mask: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) => Value::String(mask(text)),
        Value::Bool(_) | Value::Number(_) => Value::String(STARS.to_owned()),
        Value::Array(items) => items.iter().map(|item| mask_all(item, mask)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), mask_all(value, mask))).collect())
        }
    }
}

fn mask_text(kind: ParamType, text: &str) -> String {
    if kind == ParamType::Url { mask_url(text) } else { mask(text) }
}

fn parse_url(text: &str) -> Option<(Url, String)> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
    Some((url, host))
}

/// Strikes the secrets of one delivery out of texts.
#[derive(Debug)]
pub struct Redactor {
    /// What to look for, longest first, and what to put instead.
    patterns: Vec<(String, String)>,
}

impl Redactor {
    /// Collects the secrets among a delivery's parameters, those that its Service declares and those of the names
    /// given besides, of which nothing is to be shown: each as it is and as it looks percent-encoded, in JSON, in
    /// HTML, in hexadecimal, and in base64, alone or inside something longer. Of a secret URL, path and query are looked
    /// for as well, since channels repeat them without the host; of any other URL, the password; of a longer text, what
    /// looks like a token in it.
    pub fn new<'a>(service: &ServiceSpec, params: &Params, others: impl IntoIterator<Item = &'a String>) -> Self {
        let mut patterns = Vec::new();
        for value in others.into_iter().filter_map(|name| params.get(name)) {
            collect(ParamType::String, value, &mut patterns);
        }
        patterns.iter_mut().for_each(|(_, mask)| STARS.clone_into(mask));
        for spec in &service.params {
            match params.get(&spec.name) {
                Some(value) if spec.secret => collect(spec.kind, value, &mut patterns),
                Some(Value::String(text)) if spec.kind == ParamType::Url => {
                    if text.contains('@')
                        && let Some((url, _)) = parse_url(text)
                    {
                        collect_password(&url, &mut patterns);
                    }
                }
                _ => {}
            }
        }
        patterns.retain(|(pattern, _)| pattern.chars().count() >= STRUCK_FROM);
        patterns.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup_by(|(a, _), (b, _)| a == b);
        Self { patterns }
    }

    /// The text with every secret replaced by its mask. The longest secret that begins at a place is the one replaced
    /// there, and what was put in is not looked at again.
    pub fn redact(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match self.patterns.iter().find(|(pattern, _)| rest.starts_with(pattern.as_str())) {
                Some((pattern, mask)) => {
                    out.push_str(mask);
                    rest = &rest[pattern.len()..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }
}

fn collect(kind: ParamType, value: &Value, patterns: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => collect_text(kind, text, patterns),
        Value::Number(number) => collect_text(kind, &number.to_string(), patterns),
        Value::Array(items) => items.iter().for_each(|item| collect(kind, item, patterns)),
        Value::Object(fields) => fields.values().for_each(|value| collect(kind, value, patterns)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn collect_text(kind: ParamType, text: &str, patterns: &mut Vec<(String, String)>) {
    if text.chars().count() < STRUCK_FROM {
        return;
    }
    let masked = mask_text(kind, text);
    add_forms(text, &masked, patterns);
    add_tokens(if kind == ParamType::Url { "" } else { text }, patterns);
    if kind == ParamType::Url
        && let Some((url, _)) = parse_url(text)
    {
        add_forms(url.as_str(), &masked, patterns);
        let path = &url[url::Position::BeforePath..];
        add_forms(path, &format!("/{STARS}"), patterns);
        add_tokens(path, patterns);
        collect_password(&url, patterns);
    }
}

/// What looks like a token within a secret, as in `Bearer …`: channels repeat it alone, and encoded in ways that leave
/// its letters alone.
fn add_tokens(text: &str, patterns: &mut Vec<(String, String)>) {
    let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
    for part in parts.filter(|part| part.len() >= TOKEN_FROM && *part != text) {
        if part.bytes().any(|byte| byte.is_ascii_digit()) {
            add_forms(part, STARS, patterns);
        }
    }
}

/// The password in an address, as it is written there and as it is meant.
fn collect_password(url: &Url, patterns: &mut Vec<(String, String)>) {
    if let Some(password) = url.password() {
        add_forms(password, STARS, patterns);
        add_forms(&percent_decode_str(password).decode_utf8_lossy(), STARS, patterns);
    }
}

/// What a browser's form and most libraries leave as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// As it goes into a path here.
const IN_SEGMENT: &AsciiSet = &UNRESERVED.remove(b':').remove(b'@');
/// As a form has it.
const IN_FORM: &AsciiSet = &UNRESERVED.remove(b'*').add(b'~');
/// What may stand in a path or a query without being encoded.
const IN_URL: &AsciiSet = &UNRESERVED
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';');

fn add_forms(text: &str, masked: &str, patterns: &mut Vec<(String, String)>) {
    let quoted = Value::from(text).to_string();
    // Without the quotes around it; one at the end of the secret itself stays.
    let json = quoted[1..quoted.len() - 1].to_owned();
    let mut forms = vec![text.to_owned()];
    let (lower, upper) = (ascii_only(&json, false), ascii_only(&json, true));
    if text.contains(FOR_HTML) {
        forms.push(for_html(&json, &['&', '<', '>'], false));
        for ascii in [&lower, &upper] {
            let escaped = for_html(&ascii.replace("\\\"", "\\u0022"), FOR_HTML, true);
            forms.extend([escaped.replace('/', "\\/"), escaped]);
        }
    }
    for json in [lower, upper, json] {
        // A text in JSON that is itself a text in JSON, and so on.
        let within = |json: &String| json.replace('\\', "\\\\").replace('"', "\\\"");
        let deeper = within(&json);
        forms.extend([within(&deeper), deeper]);
        forms.extend([json.replace('/', "\\/"), json]);
    }
    for apostrophe in ["&#39;", "&#x27;", "&apos;"] {
        forms.extend(["&quot;", "&#34;"].map(|quote| html(text, quote, apostrophe)));
    }
    for set in [NON_ALPHANUMERIC, UNRESERVED, IN_SEGMENT, IN_FORM, IN_URL] {
        let encoded = utf8_percent_encode(text, set).to_string();
        // An address within an address.
        forms.push(encoded.replace('%', "%25"));
        forms.extend([encoded.replace("%20", "+"), lower_hex(&encoded), encoded]);
    }
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(text));
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.extend([hex.to_uppercase(), hex]);
    patterns.extend(forms.into_iter().map(|form| (form, masked.to_owned())));
    let inside = [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].into_iter().flat_map(|engine| inside_base64(engine, text));
    // In the middle of something else a mask with letters would only be in the way.
    patterns.extend(inside.map(|form| (form, STARS.to_owned())));
}

/// What every base64 of a text that holds this one must hold: four letters stand for three bytes, so there are three
/// ways in which it can fall. Letters that depend on a neighbour are left out.
fn inside_base64(engine: &impl Engine, text: &str) -> Vec<String> {
    let shifted = |before: usize| {
        let bytes = [&[0; 2][..before], text.as_bytes()].concat();
        let whole = bytes.len() * 8 / 6;
        let core = engine.encode(bytes).get((before * 8).div_ceil(6)..whole)?.to_owned();
        (core.len() >= LEAST_INSIDE).then_some(core)
    };
    (0..3).filter_map(shifted).collect()
}

fn html(text: &str, quote: &str, apostrophe: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', quote).replace('\'', apostrophe)
}

/// JSON with `\u` and four digits for whatever is not ASCII, as many libraries write it.
fn ascii_only(json: &str, upper: bool) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
        }
    }
    out
}

/// What some libraries write as `\u` and four digits in JSON, because it may get into a page.
const FOR_HTML: &[char] = &['&', '<', '>', '\'', '+', '`'];

/// JSON with these characters written so.
fn for_html(json: &str, escaped: &[char], upper: bool) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match u32::from(c) {
            code if escaped.contains(&c) && upper => out.push_str(&format!("\\u{code:04X}")),
            code if escaped.contains(&c) => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push(c),
        }
    }
    out
}

/// `%2f` for `%2F`: both are in use.
fn lower_hex(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    let mut digits = 0;
    for c in encoded.chars() {
        out.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
        digits = if c == '%' { 2 } else { digits.max(1) - 1 };
    }
    out
}

#[cfg(test)]
mod tests;
