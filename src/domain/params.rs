//! Parameters: names, declared types, and how a given value becomes a value of the declared type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Parameters by name, in the order given.
pub type Params = Map<String, Value>;

/// Longest name of a parameter, in characters.
pub const MAX_NAME: usize = 64;
/// Most parameters that one call, or one Pusher, may carry.
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
    /// A JSON array; text is split at commas.
    List,
    /// A JSON object.
    Object,
    /// An absolute URL.
    Url,
    /// A mail address.
    Email,
}

/// One parameter that a Service takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Its name: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// Its type.
    pub kind: ParamType,
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
