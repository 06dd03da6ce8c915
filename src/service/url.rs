//! The address of a request: a base given as it is, and parts that can only ever be one segment of a path or one value.

use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use super::RenderError;
use super::helpers::{RESERVED, Reason, as_text, percent_encode};
use super::leaf::{Encode, Scope, Slot, write};
use super::template::{Expr, Leaf, Piece};
use crate::domain::address;
use crate::domain::params::{ParamSpec, ParamType};

const IN_PATH: &AsciiSet = &RESERVED.remove(b':').remove(b'@');

/// A compiled URL.
#[derive(Debug, Clone)]
pub struct UrlTemplate {
    /// Names the leaf in errors.
    slot: Slot,
    /// The expression at the very beginning, inserted as it is.
    base: Option<Expr>,
    rest: Vec<Piece>,
    /// Whether parameters stand inside the host.
    in_host: bool,
}

impl UrlTemplate {
    /// Takes the parsed leaf apart; the error is the reason, in words.
    pub fn new(slot: Slot, params: &[ParamSpec]) -> Result<Self, String> {
        let pieces = match &slot.leaf {
            Leaf::Constant(Value::String(text)) => vec![Piece::Literal(text.clone())],
            Leaf::Constant(_) => return Err("not text".into()),
            Leaf::Single(expr) => vec![Piece::Value(expr.clone())],
            Leaf::Text(pieces) => pieces.clone(),
        };
        let (base, rest) = match pieces.split_first() {
            Some((Piece::Value(expr), rest)) => (Some(expr.clone()), rest.to_vec()),
            _ => (None, pieces),
        };
        match (&base, rest.first()) {
            (None, Some(Piece::Literal(text))) if text.starts_with("http://") || text.starts_with("https://") => {}
            (None, _) => return Err("begins neither with http://, https:// nor a `url` parameter".into()),
            (Some(expr), first) => {
                check_base(expr, params)?;
                if let Some(Piece::Value(_)) = first {
                    return Err("what follows the base address begins with `/` or `?`".into());
                }
            }
        }
        let in_host = base.is_none() && matches!(rest.first(), Some(Piece::Literal(text)) if !ends_host(text));
        Ok(Self { slot, base, rest, in_host })
    }

    /// The finished URL, without a fragment.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Url, RenderError> {
        let text = self.text(scope).map_err(|reason| self.slot.error(reason))?;
        let mut url = address::parse(&text).map_err(|_| self.slot.error("does not come out as a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(self.slot.error("is not an http or https address with a host"));
        }
        url.set_fragment(None);
        Ok(url)
    }

    /// What decides where a request goes, beside what the template itself says: the base address, or the host if
    /// parameters stand in it. The same text means the same place.
    pub fn place(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        match &self.base {
            Some(base) => {
                let value = base.value(scope).map_err(|reason| self.slot.error(reason))?;
                Ok(as_text(value.as_ref()).trim().to_owned())
            }
            None if self.in_host => Ok(self.render(scope)?.host_str().unwrap_or_default().to_owned()),
            None => Ok(String::new()),
        }
    }

    fn text(&self, scope: &Scope<'_>) -> Result<String, Reason> {
        let mut rest = String::new();
        let encode: Encode = if self.in_host { host_part } else { segment };
        write(&self.rest, scope, &mut rest, Some(encode))?;
        let Some(base) = &self.base else {
            refuse_dots(rest.splitn(4, '/').nth(3).unwrap_or_default())?;
            return Ok(rest);
        };
        let value = base.value(scope)?;
        let base = as_text(value.as_ref());
        let base = base.trim();
        if base.is_empty() {
            return Err("the base address is empty".into());
        }
        if rest.is_empty() {
            return Ok(base.to_owned());
        }
        if base.contains(['?', '#']) {
            return Err("the base address holds a query or a fragment, and more is to follow it".into());
        }
        if !rest.starts_with(['/', '?']) {
            return Err("what follows the base address does not begin with `/` or `?`".into());
        }
        refuse_dots(&rest)?;
        let base = if rest.starts_with('/') { base.trim_end_matches('/') } else { base };
        Ok(format!("{base}{rest}"))
    }
}

/// `host:port` of a URL, in lower case.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    format!("{host}:{}", url.port_or_known_default().unwrap_or(0))
}

/// Adds pairs behind the query that is there, which stays as it is.
pub fn with_query(url: &Url, pairs: &[(String, String)]) -> String {
    let mut text = url.as_str().to_owned();
    let mut joint = match url.query() {
        None => "?",
        Some("") => "",
        Some(_) => "&",
    };
    for (name, value) in pairs {
        text.push_str(joint);
        text.push_str(&percent_encode(name));
        text.push('=');
        text.push_str(&percent_encode(value));
        joint = "&";
    }
    text
}

/// Whether a text that begins with a scheme goes beyond the host.
fn ends_host(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']))
}

/// A value in the path or the query of an address: whatever it holds, it stays within its place. `:` and `@` mean
/// nothing there and stay readable, as in the token of a Telegram bot.
fn segment(text: &str) -> Result<String, Reason> {
    match text {
        "" => Err("a value in the address is empty".into()),
        text => Ok(utf8_percent_encode(text, IN_PATH).to_string()),
    }
}

/// A value in an address whose host is templated.
fn host_part(text: &str) -> Result<String, Reason> {
    match text {
        "" => Err("a value in the address is empty".into()),
        text => Ok(percent_encode(text)),
    }
}

/// A segment of dots climbs, however it is encoded: no value may come out as one.
fn refuse_dots(rest: &str) -> Result<(), Reason> {
    let path = rest.split('?').next().unwrap_or_default();
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a segment of the path is `.` or `..`".into());
    }
    Ok(())
}

/// The base may only be made of `url` parameters, literals and what helpers have made harmless.
fn check_base(expr: &Expr, params: &[ParamSpec]) -> Result<(), String> {
    let mut culprit = None;
    expr.visit_params(true, &mut |name, raw| {
        let is_url = params.iter().any(|spec| spec.name == name && spec.kind == ParamType::Url);
        if raw && !is_url {
            culprit.get_or_insert_with(|| name.to_owned());
        }
    });
    match culprit {
        Some(name) => Err(format!("`{name}` begins the address, but is not of type `url`")),
        None => Ok(()),
    }
}
