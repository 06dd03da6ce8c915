//! Signers: what a channel asks for that depends on the finished request. Each has a name and no settings but its key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::RenderEnv;
use super::helpers::hmac_sha256;
use crate::domain::delivery::Request;

/// The signers that a definition can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signer {
    /// The headers of the Standard Webhooks specification, version 1 with a symmetric key.
    StandardWebhooks,
}

impl Signer {
    /// Whether it can sign with this key; the error is the reason, in words.
    pub fn check(self, key: &str) -> Result<(), &'static str> {
        match self {
            Self::StandardWebhooks => bytes_of(key).map(drop),
        }
    }

    /// Adds the signature. An empty key signs nothing; the error is the reason, in words.
    pub fn sign(self, key: &str, request: &mut Request, env: &RenderEnv<'_>) -> Result<(), &'static str> {
        if key.is_empty() {
            return Ok(());
        }
        match self {
            Self::StandardWebhooks => standard_webhooks(key, request, env),
        }
    }
}

fn standard_webhooks(key: &str, request: &mut Request, env: &RenderEnv<'_>) -> Result<(), &'static str> {
    let key = bytes_of(key)?;
    let timestamp = env.now.seconds().to_string();
    let mut message = format!("{}.{timestamp}.", env.delivery_id).into_bytes();
    message.extend_from_slice(&request.body);
    let signature = format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &message)));
    for (name, value) in
        [("webhook-id", env.delivery_id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)]
    {
        request.headers.retain(|(existing, _)| existing != name);
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(())
}

fn bytes_of(key: &str) -> Result<Vec<u8>, &'static str> {
    match key.strip_prefix("whsec_") {
        Some("") => Err("`whsec_` has no key behind it"),
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "what follows `whsec_` is not base64"),
        None => Ok(key.as_bytes().to_vec()),
    }
}
