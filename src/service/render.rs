//! Puts a request together: method, address, query, headers, one body, and a signature over the whole.

use std::borrow::Cow;

use ::url::form_urlencoded;
use serde_json::{Map, Value};

use super::helpers::as_text;
use super::leaf::{Node, Scope, Slot};
use super::signer::Signer;
use super::template::Leaf;
use super::url::{UrlTemplate, authority, with_query};
use super::{Body, RenderEnv, RenderError, Service};
use crate::domain::delivery::{Outgoing, Request};
use crate::domain::params::Params;
use crate::domain::time::Timestamp;

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
/// Headers that belong to the connection and not to the message.
const FORBIDDEN: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "proxy-connection",
];

/// A compiled `[request]`.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    pub method: Slot,
    pub url: UrlTemplate,
    pub query: Option<Node>,
    pub headers: Option<Node>,
    pub json: Option<Node>,
    pub form: Option<Node>,
    pub text: Option<Slot>,
    pub sign: Option<SignTemplate>,
    /// The parameters that name headers or are a key; filled in by `note_checked`.
    pub checked: Vec<String>,
}

/// A compiled `[request.sign]`.
#[derive(Debug, Clone)]
pub struct SignTemplate {
    pub signer: Signer,
    pub key: Slot,
}

impl Service {
    /// Where a delivery would go: `host:port` in lower case. Renders nothing but the address.
    pub fn destination(&self, params: &Params) -> Result<String, RenderError> {
        let env = RenderEnv { now: Timestamp(0), delivery_id: "", random: 0 };
        let scope = Scope { spec: &self.spec, params, env: &env };
        match &self.body {
            Body::Http(request) => Ok(authority(&request.url.render(&scope)?)),
            Body::Smtp(mail) => mail.destination(&scope),
        }
    }

    /// Whether `check` could find anything wrong with these parameters, by their names.
    pub fn checks<'a>(&self, mut params: impl Iterator<Item = &'a str>) -> bool {
        match &self.body {
            Body::Http(request) => params.any(|param| request.checked.iter().any(|name| name == param)),
            Body::Smtp(_) => true,
        }
    }

    /// Whether what these parameters make could be sent, as far as that can be told without rendering all of it: the
    /// people of a mail; the headers that a caller names in a request, and the key that signs it.
    pub fn check(&self, params: &Params) -> Result<(), RenderError> {
        let env = RenderEnv { now: Timestamp(0), delivery_id: "", random: 0 };
        let scope = Scope { spec: &self.spec, params, env: &env };
        match &self.body {
            Body::Http(request) => request.check(&scope),
            Body::Smtp(mail) => mail.check_people(&scope),
        }
    }

    /// What decides where a delivery goes: equal texts, equal places. Unlike `destination` it tells apart what lies on
    /// one host.
    pub fn place(&self, params: &Params) -> Result<String, RenderError> {
        let env = RenderEnv { now: Timestamp(0), delivery_id: "", random: 0 };
        let scope = Scope { spec: &self.spec, params, env: &env };
        match &self.body {
            Body::Http(request) => request.url.place(&scope),
            Body::Smtp(mail) => mail.place(&scope),
        }
    }

    /// What goes out for these parameters. The same input gives the same bytes.
    pub fn render(&self, params: &Params, env: &RenderEnv<'_>) -> Result<Outgoing, RenderError> {
        let scope = Scope { spec: &self.spec, params, env };
        match &self.body {
            Body::Http(request) => request.render(&scope).map(Outgoing::Http),
            Body::Smtp(mail) => mail.render(&scope).map(|mail| Outgoing::Mail(Box::new(mail))),
        }
    }
}

impl RequestTemplate {
    /// Finds what a request has to be checked for.
    pub fn note_checked(&mut self) {
        let slots = self.headers_named().into_iter().chain(self.sign.as_ref().map(|sign| &sign.key));
        self.checked = slots.flat_map(|slot| slot.leaf.params()).collect();
    }

    /// What gives headers of any name.
    fn headers_named(&self) -> Option<&Slot> {
        match &self.headers {
            Some(Node::Leaf(slot)) => Some(slot),
            _ => None,
        }
    }

    fn check(&self, scope: &Scope<'_>) -> Result<(), RenderError> {
        if let Some(slot) = self.headers_named() {
            self.headers(scope).map_err(|error| slot.error(of_params(slot, &error.reason)))?;
        }
        if let Some(SignTemplate { signer, key }) = &self.sign {
            signer.check(&key.text(scope)?).map_err(|reason| key.error(of_params(key, reason)))?;
        }
        Ok(())
    }

    /// What can be found wrong at load: path and reason.
    pub fn check_constants(&self) -> Result<(), (&'static str, String)> {
        if let Leaf::Constant(Value::String(method)) = &self.method.leaf
            && !METHODS.contains(&method.as_str())
        {
            return Err(("request.method", format!("is none of {}", METHODS.join(", "))));
        }
        if let Some(Node::Object(headers)) = &self.headers {
            for (name, _) in headers {
                check_header_name(name).map_err(|reason| ("request.headers", reason))?;
            }
        }
        Ok(())
    }

    /// Calls `visit` with every leaf that `keep` can name.
    pub fn each_slot(&mut self, visit: &mut dyn FnMut(&mut Slot)) {
        let trees = [&mut self.query, &mut self.headers, &mut self.json, &mut self.form];
        trees.into_iter().flatten().for_each(|tree| tree.each_slot(visit));
        self.text.iter_mut().for_each(visit);
    }

    fn render(&self, scope: &Scope<'_>) -> Result<Request, RenderError> {
        let method = self.method.text(scope)?.to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            return Err(self.method.error("is no method that a request may have"));
        }
        let url = self.url.render(scope)?;
        let query = pairs_of(self.query.as_ref(), "request.query", scope)?;
        let mut headers = self.headers(scope)?;
        let body = match self.body(scope)? {
            None => Vec::new(),
            Some((content_type, body)) => {
                if !headers.iter().any(|(name, _)| name == "content-type") {
                    headers.push(("content-type".into(), content_type.into()));
                }
                body
            }
        };
        headers.retain(|(name, _)| name != "idempotency-key");
        headers.push(("idempotency-key".into(), clean(scope.env.delivery_id).into_owned()));
        let mut request = Request { method, url: with_query(&url, &query), headers, body };
        if let Some(sign) = &self.sign {
            let key = sign.key.text(scope)?;
            sign.signer.sign(&key, &mut request, scope.env).map_err(|reason| sign.key.error(reason))?;
        }
        Ok(request)
    }

    fn headers(&self, scope: &Scope<'_>) -> Result<Vec<(String, String)>, RenderError> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs_of(self.headers.as_ref(), "request.headers", scope)? {
            check_header_name(&name).map_err(|reason| RenderError::new("request.headers", reason))?;
            let name = name.to_ascii_lowercase();
            headers.retain(|(existing, _)| *existing != name);
            headers.push((name, clean(&value).into_owned()));
        }
        Ok(headers)
    }

    /// The content type and the bytes of the one body that comes out full.
    fn body(&self, scope: &Scope<'_>) -> Result<Option<(&'static str, Vec<u8>)>, RenderError> {
        let mut bodies = Vec::new();
        if let Some(tree) = &self.json {
            // A whole body that is kept though empty is an empty object, never an empty text.
            let value = tree.value(scope)?.filter(|value| !matches!(value, Value::String(text) if text.is_empty()));
            bodies.extend(value.map(|value| ("application/json", value.to_string().into_bytes())));
        }
        if let Some(form) = &self.form {
            let pairs = pairs_of(Some(form), "request.form", scope)?;
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            bodies.extend((!pairs.is_empty()).then(|| ("application/x-www-form-urlencoded", body.into_bytes())));
        }
        if let Some(text) = &self.text {
            let text = text.text(scope)?;
            bodies.extend((!text.is_empty()).then(|| ("text/plain; charset=utf-8", text.into_owned().into_bytes())));
        }
        if bodies.len() > 1 {
            return Err(RenderError::new("request", "more than one body came out"));
        }
        Ok(bodies.pop())
    }
}

fn pairs_of(node: Option<&Node>, path: &str, scope: &Scope<'_>) -> Result<Vec<(String, String)>, RenderError> {
    let Some(node) = node else { return Ok(Vec::new()) };
    match node.value(scope)? {
        None => Ok(Vec::new()),
        Some(Value::Object(fields)) => Ok(pairs(fields)),
        Some(_) => Err(RenderError::new(path, "does not come out as an object")),
    }
}

/// A list of plain values becomes one pair each; what is nested becomes JSON text.
fn pairs(fields: Map<String, Value>) -> Vec<(String, String)> {
    let mut pairs = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::String(text) => pairs.push((name, text)),
            Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
                pairs.extend(items.iter().map(|item| (name.clone(), as_text(item).into_owned())));
            }
            value @ Value::Array(_) => pairs.push((name, value.to_string())),
            value => pairs.push((name, as_text(&value).into_owned())),
        }
    }
    pairs
}

/// The error is the reason, with the name.
fn check_header_name(name: &str) -> Result<(), String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(format!("`{}` is not the name of a header", shortened(name)));
    }
    if FORBIDDEN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("`{name}` is a header that cannot be set"));
    }
    Ok(())
}

/// What is no name may be a whole header, with a secret in it: what stands before the first colon or blank is shown.
fn shortened(name: &str) -> String {
    match name.find(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
        Some(end) => format!("{}…", name[..end].chars().take(40).collect::<String>()),
        None => name.chars().take(40).collect(),
    }
}

/// A reason with the parameters that it comes from.
fn of_params(slot: &Slot, reason: &str) -> String {
    format!("{reason} (parameter {})", slot.made_of())
}

/// A header's value on one line: control characters become spaces.
pub fn clean(value: &str) -> Cow<'_, str> {
    if value.chars().any(char::is_control) {
        let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return Cow::Owned(line.trim().to_owned());
    }
    Cow::Borrowed(value.trim())
}
