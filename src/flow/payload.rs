//! What a task keeps of its push, sealed: the parameters that it resolved, and which of them are secrets unknown to its
//! Service.

use serde_json::Value;

use crate::domain::params::Params;
use crate::error::{Error, Result};

/// Beside the parameters, of which none is called so: names that begin with `_` are reserved.
const SECRETS: &str = "_secrets";

/// What a delivery needs.
pub struct Payload {
    pub params: Params,
    /// Names of parameters that hold a secret although the Service does not declare them as one.
    pub secrets: Vec<String>,
}

impl Payload {
    /// As text to be sealed.
    ///
    /// # Errors
    /// None that is known.
    pub fn write(mut self) -> Result<String> {
        if !self.secrets.is_empty() {
            self.params.insert(SECRETS.to_owned(), self.secrets.into());
        }
        serde_json::to_string(&self.params).map_err(|error| Error::Broken(error.into()))
    }

    /// What was written; nothing if it is something else.
    pub fn read(text: &str) -> Option<Self> {
        let mut params: Params = serde_json::from_str(text).ok()?;
        let secrets = match params.remove(SECRETS) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Some(Self { params, secrets })
    }
}
