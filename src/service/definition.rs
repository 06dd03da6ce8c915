//! The text of a definition as it stands in its file: TOML with a closed set of keys, and the line of each of them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Transport;
use crate::domain::params::{ParamType, Params};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub id: String,
    pub name: String,
    pub name_zh: Option<String>,
    pub docs: String,
    pub category: String,
    pub transport: Transport,
    #[serde(default)]
    pub accepts_any: bool,
    #[serde(default)]
    pub open: bool,
    #[serde(default)]
    pub params: Ordered<Param>,
    pub request: Option<Request>,
    pub mail: Option<Mail>,
    #[serde(default)]
    pub response: Response,
    #[serde(default)]
    pub examples: Vec<Example>,
}

/// One declared parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    #[serde(rename = "type")]
    pub kind: ParamType,
    pub items: Option<ParamType>,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub secret: bool,
    pub default: Option<Value>,
    #[serde(default, rename = "enum")]
    pub values: Vec<String>,
    pub max_length: Option<usize>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    #[serde(default)]
    pub accepts: Vec<String>,
    #[serde(default)]
    pub help: String,
    #[serde(default)]
    pub help_zh: String,
}

/// What an HTTP channel is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: Option<String>,
    pub url: String,
    pub query: Option<Value>,
    pub headers: Option<Value>,
    pub json: Option<Value>,
    pub form: Option<Value>,
    pub text: Option<String>,
    #[serde(default)]
    pub keep: Vec<String>,
    pub sign: Option<Sign>,
}

/// A signer over the finished request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    #[serde(rename = "with")]
    pub signer: super::signer::Signer,
    pub key: String,
}

/// What a mail relay is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    pub host: String,
    pub port: String,
    pub security: String,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub password: String,
    pub from: String,
    #[serde(default)]
    pub from_name: String,
    pub to: String,
    #[serde(default)]
    pub cc: String,
    #[serde(default)]
    pub bcc: String,
    #[serde(default)]
    pub reply_to: String,
    pub subject: String,
    pub text: String,
    #[serde(default)]
    pub html: String,
}

/// How answers are read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub status: Option<Vec<u16>>,
    #[serde(default)]
    pub success: Vec<Success>,
    pub code: Option<Pointers>,
    pub message: Option<Pointers>,
    #[serde(default)]
    pub retry: Verdicts,
    #[serde(default, rename = "final")]
    pub last: Verdicts,
    #[serde(default)]
    pub retry_after: Vec<RetryAfter>,
    #[serde(default)]
    pub errors: BTreeMap<String, String>,
}

/// A JSON pointer, or several of which the first counts that leads to something.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a JSON pointer or a list of them")]
pub enum Pointers {
    One(String),
    Several(Vec<String>),
}

impl Pointers {
    /// All of them, in order.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(pointer) => std::slice::from_ref(pointer),
            Self::Several(pointers) => pointers,
        }
    }
}

/// One rule that an answer must meet to be a success.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Success {
    pub pointer: Option<Pointers>,
    pub every: Option<String>,
    pub equals: Option<Value>,
    pub one_of: Option<Vec<Value>>,
    pub exists: Option<bool>,
    pub not_empty: Option<bool>,
    pub body_equals: Option<String>,
    pub body_begins: Option<String>,
}

/// Statuses and channel codes that are all judged alike.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    #[serde(default)]
    pub status: Vec<u16>,
    #[serde(default)]
    pub codes: Vec<Value>,
}

/// One place where a channel may say how long to wait.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryAfter {
    pub header: Option<String>,
    pub pointer: Option<String>,
    #[serde(default)]
    pub unit: Unit,
    pub fixed: Option<u64>,
    #[serde(default)]
    pub codes: Vec<Value>,
}

/// The unit of a number that says how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    #[default]
    S,
    Ms,
}

/// Parameters, and exactly what they must become.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub name: String,
    /// Where it stands in its file.
    #[serde(skip)]
    pub line: Option<usize>,
    #[serde(default)]
    pub params: Params,
    pub delivery_id: Option<String>,
    pub now: Option<String>,
    pub request: Option<ExampleRequest>,
    pub mail: Option<ExampleMail>,
}

/// The request that an example must become; at most one of the bodies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleRequest {
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub json: Option<Value>,
    pub form: Option<Params>,
    pub text: Option<String>,
    pub body: Option<String>,
}

/// The mail that an example must become.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleMail {
    /// `tls://name:password@host:port` (or `starttls`, `none`); without `name:password@` if there are none.
    pub relay: String,
    pub from: String,
    pub to: Vec<String>,
    #[serde(default)]
    pub cc: Vec<String>,
    #[serde(default)]
    pub bcc: Vec<String>,
    pub reply_to: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    pub message_id: String,
}

/// Named values in the order of the file.
#[derive(Debug)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}
