//! Checks a definition and compiles its templates. Whatever can be found wrong without parameters is found here.

use std::fmt;
use std::sync::Arc;

use ::url::Url;
use serde_json::Value;

use super::definition::{File, Mail, Param, Request};
use super::leaf::{Node, Slot};
use super::mail::MailTemplate;
use super::render::{RequestTemplate, SignTemplate};
use super::template::{EXTRA, Leaf, Names};
use super::url::UrlTemplate;
use super::verdict::Response;
use super::{Body, Service, Transport, helpers};
use crate::domain::params::{MAX_NAME, MAX_PARAMS, ParamSpec, ParamType, ServiceSpec};

/// Deepest nesting of a body's tree.
const MAX_TREE: usize = 16;

/// What is wrong, and at which key.
#[derive(Debug)]
pub struct Fault {
    pub at: Vec<String>,
    pub reason: String,
}

impl Fault {
    /// `path` is written with dots; no key in it may hold one.
    pub fn new(path: &str, reason: impl Into<String>) -> Self {
        Self { at: path.split('.').map(str::to_owned).collect(), reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at.join("."), self.reason)
    }
}

/// A Service from its file.
pub fn service(file: File) -> Result<Service, Fault> {
    check_head(&file)?;
    let params = params(file.params.0, file.accepts_any)?;
    let names = Names { params: &params, accepts_any: file.accepts_any };
    let body = match (file.transport, file.request, file.mail) {
        (Transport::Http, Some(parts), None) => Body::Http(Box::new(request(parts, names)?)),
        (Transport::Smtp, None, Some(parts)) => Body::Smtp(Box::new(mail(&parts, names)?)),
        (Transport::Http, _, _) => return Err(Fault::new("transport", "`http` needs [request] and no [mail]")),
        (Transport::Smtp, _, _) => return Err(Fault::new("transport", "`smtp` needs [mail] and no [request]")),
    };
    let response = Response::new(file.response, file.transport)?;
    Ok(Service {
        name_zh: file.name_zh.unwrap_or_else(|| file.name.clone()),
        spec: Arc::new(ServiceSpec { id: file.id, accepts_any: file.accepts_any, params }),
        name: file.name,
        docs: file.docs,
        category: file.category,
        transport: file.transport,
        open: file.open,
        body,
        response,
        examples: file.examples,
        path: String::new(),
    })
}

fn check_head(file: &File) -> Result<(), Fault> {
    if !is_name(&file.id) {
        return Err(Fault::new("id", "is not a slug: a-z, then a-z, 0-9 and _, at most 64 characters"));
    }
    if file.name.trim().is_empty() {
        return Err(Fault::new("name", "is empty"));
    }
    if !is_name(&file.category) {
        return Err(Fault::new("category", "is not a word of a-z, 0-9 and _"));
    }
    if !Url::parse(&file.docs).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err(Fault::new("docs", "is not a web address"));
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let tail = text.strip_prefix(|c: char| c.is_ascii_lowercase());
    text.len() <= MAX_NAME
        && tail.is_some_and(|tail| tail.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
}

fn params(declared: Vec<(String, Param)>, accepts_any: bool) -> Result<Vec<ParamSpec>, Fault> {
    if declared.len() > MAX_PARAMS {
        return Err(Fault::new("params", format!("more than {MAX_PARAMS} parameters")));
    }
    let mut specs = Vec::with_capacity(declared.len());
    for (name, param) in declared {
        let fault = |reason: String| Fault { at: vec!["params".into(), name.clone()], reason };
        if !is_name(&name) {
            return Err(fault("is not a name: a-z, then a-z, 0-9 and _, at most 64 characters".into()));
        }
        if matches!(name.as_str(), "delay" | "at") || helpers::is_reserved(&name) || (accepts_any && name == EXTRA) {
            return Err(fault("is a reserved name".into()));
        }
        check_param(&param).map_err(|reason| fault(reason.into()))?;
        specs.push(ParamSpec {
            name,
            kind: param.kind,
            items: param.items,
            required: param.required,
            secret: param.secret,
            default: param.default,
            values: param.values,
            max_length: param.max_length,
            min: param.min,
            max: param.max,
            accepts: param.accepts,
            help: param.help,
            help_zh: param.help_zh,
        });
    }
    Ok(specs)
}

fn check_param(param: &Param) -> Result<(), &'static str> {
    if param.items.is_some() && param.kind != ParamType::List {
        return Err("`items` is for lists");
    }
    if matches!(param.items, Some(ParamType::List | ParamType::Object)) {
        return Err("`items` is the type of single values, neither `list` nor `object`");
    }
    // What is said beside the type is said of the entries.
    let kind = param.items.unwrap_or(param.kind);
    let is_number = matches!(kind, ParamType::Integer | ParamType::Number);
    if (kind == ParamType::Enum) == param.values.is_empty() {
        return Err("`enum` lists the words of type enum, and only of that");
    }
    if (param.min.is_some() || param.max.is_some()) && !is_number {
        return Err("`min` and `max` are for numbers");
    }
    if param.min.zip(param.max).is_some_and(|(min, max)| min > max) {
        return Err("`min` is above `max`");
    }
    if param.max_length == Some(0) {
        return Err("`max_length` is zero");
    }
    if !param.accepts.is_empty() && kind != ParamType::Url {
        return Err("`accepts` lists the schemes of type url");
    }
    if param.required && param.default.is_some() {
        return Err("a required parameter has no use for a default");
    }
    if param.default.as_ref().is_some_and(|value| !fits(value, param.kind, param)) {
        return Err("the default is not of the declared type");
    }
    Ok(())
}

/// Whether a value is of the declared type as it is, without conversion.
fn fits(value: &Value, kind: ParamType, param: &Param) -> bool {
    let in_range = |number: f64| param.min.is_none_or(|min| number >= min) && param.max.is_none_or(|max| number <= max);
    match (kind, value) {
        (ParamType::Integer, Value::Number(number)) => !number.is_f64() && number.as_f64().is_some_and(in_range),
        (ParamType::Number, Value::Number(number)) => number.as_f64().is_some_and(in_range),
        (ParamType::Boolean, Value::Bool(_)) | (ParamType::Object, Value::Object(_)) => true,
        (ParamType::List, Value::Array(items)) => {
            param.items.is_none_or(|kind| items.iter().all(|item| fits(item, kind, param)))
        }
        (ParamType::Enum, Value::String(word)) => param.values.contains(word),
        (ParamType::Url, Value::String(text)) => Url::parse(text)
            .is_ok_and(|url| param.accepts.is_empty() || param.accepts.iter().any(|scheme| scheme == url.scheme())),
        (ParamType::String | ParamType::Text | ParamType::Email, Value::String(text)) => {
            param.max_length.is_none_or(|max| text.chars().count() <= max)
        }
        _ => false,
    }
}

fn request(parts: Request, names: Names<'_>) -> Result<RequestTemplate, Fault> {
    let slot = |key: &str, source: &str| slot(&format!("request.{key}"), source, names);
    let tree = |key: &str, value: Option<Value>| -> Result<Option<Node>, Fault> {
        value.map(|value| node(vec!["request".into(), key.into()], value, names, 0)).transpose()
    };
    let url = UrlTemplate::new(slot("url", &parts.url)?, names.params);
    let sign = match &parts.sign {
        Some(sign) => Some(SignTemplate { signer: sign.signer, key: slot("sign.key", &sign.key)? }),
        None => None,
    };
    let mut request = RequestTemplate {
        method: slot("method", parts.method.as_deref().unwrap_or("POST"))?,
        url: url.map_err(|reason| Fault::new("request.url", reason))?,
        query: flat("query", tree("query", parts.query)?)?,
        headers: flat("headers", tree("headers", parts.headers)?)?,
        json: tree("json", parts.json)?,
        form: flat("form", tree("form", parts.form)?)?,
        text: parts.text.as_deref().map(|text| slot("text", text)).transpose()?,
        sign,
        checked: Vec::new(),
    };
    request.note_checked();
    request.check_constants().map_err(|(path, reason)| Fault::new(path, reason))?;
    keep(&mut request, &parts.keep)?;
    Ok(request)
}

/// Pairs cannot hold lists or tables as written: only leaves, or one leaf that yields an object.
fn flat(key: &str, tree: Option<Node>) -> Result<Option<Node>, Fault> {
    match &tree {
        Some(Node::Array(_)) => Err(Fault::new(&format!("request.{key}"), "is a table, or one template")),
        Some(Node::Object(fields)) => match fields.iter().find(|(_, node)| !matches!(node, Node::Leaf(_))) {
            Some((name, _)) => {
                let at = vec!["request".into(), key.into(), name.clone()];
                Err(Fault { at, reason: "holds a list or a table".into() })
            }
            None => Ok(tree),
        },
        _ => Ok(tree),
    }
}

fn keep(request: &mut RequestTemplate, paths: &[String]) -> Result<(), Fault> {
    for path in paths {
        let wanted = format!("request.{path}");
        let mut found = false;
        request.each_slot(&mut |slot| {
            if slot.path == wanted {
                slot.keep = true;
                found = true;
            }
        });
        if !found {
            return Err(Fault::new("request.keep", format!("`{path}` is no leaf of the request")));
        }
    }
    Ok(())
}

fn mail(parts: &Mail, names: Names<'_>) -> Result<MailTemplate, Fault> {
    let slot = |key: &str, source: &str| slot(&format!("mail.{key}"), source, names);
    Ok(MailTemplate {
        host: slot("host", &parts.host)?,
        port: slot("port", &parts.port)?,
        security: slot("security", &parts.security)?,
        username: slot("username", &parts.username)?,
        password: slot("password", &parts.password)?,
        from: slot("from", &parts.from)?,
        from_name: slot("from_name", &parts.from_name)?,
        to: slot("to", &parts.to)?,
        cc: slot("cc", &parts.cc)?,
        bcc: slot("bcc", &parts.bcc)?,
        reply_to: slot("reply_to", &parts.reply_to)?,
        subject: slot("subject", &parts.subject)?,
        text: slot("text", &parts.text)?,
        html: slot("html", &parts.html)?,
    })
}

fn slot(path: &str, source: &str, names: Names<'_>) -> Result<Slot, Fault> {
    let leaf = Leaf::compile(source, names).map_err(|reason| Fault::new(path, reason))?;
    Ok(Slot { path: path.to_owned(), keep: false, leaf })
}

fn node(at: Vec<String>, value: Value, names: Names<'_>, depth: usize) -> Result<Node, Fault> {
    if depth > MAX_TREE {
        return Err(Fault { at, reason: format!("nested deeper than {MAX_TREE}") });
    }
    let child = |key: String| at.iter().cloned().chain([key]).collect::<Vec<_>>();
    match value {
        Value::Object(fields) => {
            let mut nodes = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                // This is how the TOML reader hands over a date, which neither JSON nor a form knows.
                if key.starts_with("$__toml_private") {
                    return Err(Fault { at, reason: "a date has to be written as text".into() });
                }
                if key.contains("{{") {
                    return Err(Fault { at: child(key), reason: "a key cannot be a template".into() });
                }
                nodes.push((key.clone(), node(child(key), value, names, depth + 1)?));
            }
            Ok(Node::Object(nodes))
        }
        Value::Array(items) => {
            let numbered = items.into_iter().enumerate();
            let nodes = numbered.map(|(index, item)| node(child(index.to_string()), item, names, depth + 1));
            Ok(Node::Array(nodes.collect::<Result<_, _>>()?))
        }
        value => {
            let leaf = match &value {
                Value::String(source) => {
                    Leaf::compile(source, names).map_err(|reason| Fault { at: at.clone(), reason })?
                }
                _ => Leaf::Constant(value),
            };
            Ok(Node::Leaf(Slot { path: at.join("."), keep: false, leaf }))
        }
    }
}
