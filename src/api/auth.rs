//! Who makes a request: a token in the `Authorization` header, or as the parameter `_token`.

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::{ApiKey, Bearer};

use super::envelope::ApiError;
use crate::error::{AuthProblem, Error};
use crate::flow::{Caller, Engine, login};

/// A token in the `Authorization` header.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", rename = "bearer")]
pub struct InHeader(Bearer);

/// A token as the query parameter `_token`.
#[derive(SecurityScheme)]
#[oai(ty = "api_key", key_name = "_token", key_in = "query", rename = "token")]
pub struct InQuery(ApiKey);

/// A token, if one was sent.
#[derive(SecurityScheme)]
pub enum Auth {
    Header(InHeader),
    Query(InQuery),
    /// None was sent.
    #[oai(fallback)]
    Nothing,
}

impl Auth {
    fn token(&self) -> Option<&str> {
        match self {
            Self::Header(InHeader(bearer)) => Some(&bearer.token),
            Self::Query(InQuery(key)) => Some(&key.key),
            Self::Nothing => None,
        }
    }

    /// The caller, who must be known.
    ///
    /// # Errors
    /// 401 without a token that stands.
    pub async fn caller(&self, engine: &Engine) -> Result<Caller, ApiError> {
        match self.token() {
            Some(token) => Ok(login::caller(engine, token).await?),
            None => Err(Error::Unauthorized(AuthProblem::Missing).into()),
        }
    }
}

/// The caller that a token proves, if there is a token.
///
/// # Errors
/// 401 if the token does not stand.
pub async fn optional(engine: &Engine, token: Option<&str>) -> Result<Option<Caller>, ApiError> {
    match token {
        Some(token) => Ok(Some(login::caller(engine, token).await?)),
        None => Ok(None),
    }
}

/// The token in the `Authorization` header of a request.
pub fn bearer(request: &Request) -> Option<&str> {
    let value = request.header("authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
