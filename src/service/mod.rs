//! The catalogue of channels: what each takes, what request or mail it makes of that, and how its answers are read.
//! Everything is a value in, a value out: no network, no database, no clock and no randomness of its own.

mod answer;
mod catalogue;
mod compile;
mod definition;
mod example;
mod helpers;
mod leaf;
mod lines;
mod mail;
mod render;
mod signer;
mod template;
mod url;
mod verdict;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::params::ServiceSpec;
use crate::domain::time::Timestamp;

pub use catalogue::Catalogue;

/// How a Service's messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One HTTP request a task.
    Http,
    /// One mail a task.
    Smtp,
}

impl Transport {
    /// The word for it in definitions and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Smtp => "smtp",
        }
    }
}

/// A channel: what it takes, what becomes of that, and how answers are read.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its id and parameters, as the rules need them.
    pub spec: Arc<ServiceSpec>,
    /// Its name in English.
    pub name: String,
    /// Its name in Chinese; the English one if the definition gives none.
    pub name_zh: String,
    /// Where the channel documents itself.
    pub docs: String,
    /// A word that groups Services: `chat`, `push`, `mail`, `web` …
    pub category: String,
    pub transport: Transport,
    /// Anybody may push straight to it, without a token.
    pub open: bool,
    body: Body,
    response: verdict::Response,
    examples: Vec<definition::Example>,
    /// The file of the definition.
    path: String,
}

/// What a Service renders.
#[derive(Debug, Clone)]
enum Body {
    Http(Box<render::RequestTemplate>),
    Smtp(Box<mail::MailTemplate>),
}

/// What a delivery is given beside its parameters, so that it comes out the same whenever it is rendered again.
#[derive(Debug, Clone, Copy)]
pub struct RenderEnv<'a> {
    /// The time of this attempt.
    pub now: Timestamp,
    /// The task's id, the same at every attempt.
    pub delivery_id: &'a str,
    /// The bits that `uuid` and `random_hex` are made of.
    pub random: u128,
}

/// Why parameters do not become a request. Names the leaf and never shows a parameter's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// The leaf, as its path in the definition: `request.json.body`.
    pub leaf: String,
    /// What is wrong, for people.
    pub reason: Cow<'static, str>,
}

impl RenderError {
    fn new(leaf: &str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { leaf: leaf.to_owned(), reason: reason.into() }
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.leaf, self.reason)
    }
}

impl std::error::Error for RenderError {}

/// Why a definition is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    /// The file.
    pub path: String,
    /// The line, counted from 1, if one can be told.
    pub line: Option<usize>,
    /// What is wrong, for people.
    pub reason: String,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.reason),
            None => write!(f, "{}: {}", self.path, self.reason),
        }
    }
}

impl std::error::Error for DefinitionError {}

impl Service {
    /// Parses and checks the text of one definition; `path` names it in errors. Examples are not run.
    pub fn parse(path: &str, source: &str) -> Result<Self, DefinitionError> {
        let fail = |line, reason| DefinitionError { path: path.to_owned(), line, reason };
        let (file, lines_of) = lines::read(source).map_err(|(line, reason)| fail(line, reason))?;
        let mut service = compile::service(file).map_err(|fault| fail(lines_of.of(&fault.at), fault.to_string()))?;
        path.clone_into(&mut service.path);
        for (number, example) in service.examples.iter_mut().enumerate() {
            example.line = lines_of.of(&["examples".to_owned(), number.to_string()]);
        }
        Ok(service)
    }
}
