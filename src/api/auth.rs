//! Who makes a request: a token in the `Authorization` header, in `X-Api-Key`, or as the parameter `_token`. What
//! `admission.rs` found before the operation runs is handed on here.

use poem::http::HeaderValue;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body::PushBody;
use super::envelope::ApiError;
use super::origin::origin;
use crate::domain::modifier::TOKEN;
use crate::domain::params::Params;
use crate::domain::scope::Scope;
use crate::error::{AuthProblem, Error};
use crate::flow::{Caller, Engine, login};

/// The header that carries a token by itself.
pub const KEY_HEADER: &str = "X-Api-Key";
/// The ways to send a token, as the document names them; where several are used, the first counts.
pub const WAYS: [&str; 3] = ["bearer", "key", "token"];

/// The caller, if a token was sent.
pub struct Auth(Option<Caller>);

impl Auth {
    /// The caller, who must be known.
    ///
    /// # Errors
    /// 401 without a token.
    pub fn caller(self) -> Result<Caller, ApiError> {
        Ok(self.known()?)
    }

    /// The same, as an error of its own kind.
    ///
    /// # Errors
    /// `Unauthorized` without a token.
    pub fn known(self) -> Result<Caller, Error> {
        self.0.ok_or(Error::Unauthorized(AuthProblem::Missing))
    }

    /// The caller, if a token was sent.
    pub fn anybody(&self) -> Option<&Caller> {
        self.0.as_ref()
    }
}

impl<'a> ApiExtractor<'a> for Auth {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let header = MetaSecurityScheme {
            ty: "http",
            description: Some("A session's token, or an API token, as `Authorization: Bearer`."),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let key = |place, name, description| MetaSecurityScheme {
            ty: "apiKey",
            description: Some(description),
            name: Some(name),
            key_in: Some(place),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let [bearer, header_key, query] = WAYS;
        registry.create_security_scheme(bearer, header);
        registry.create_security_scheme(header_key, key("header", KEY_HEADER, "The same tokens in a header."));
        registry.create_security_scheme(
            query,
            key(
                "query",
                TOKEN,
                "The same tokens as a parameter of the query; of a push and of a preview also in the body.",
            ),
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        WAYS.to_vec()
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self(request.data::<Caller>().cloned()))
    }
}

/// The caller that a token proves, if the token lets its holder do what is asked.
///
/// # Errors
/// 401 if the token does not stand, 403 if it lacks the scope.
pub async fn admit(engine: &Engine, request: &Request, token: &str, scope: Scope) -> Result<Caller, ApiError> {
    let found = login::caller(engine, token, origin(request)).await;
    let caller = found.inspect_err(|error| engine.store.suspect_if_busy(error))?;
    if caller.scopes().has(scope) { Ok(caller) } else { Err(Error::ScopeMissing(scope).into()) }
}

/// The token in the headers of a request.
pub fn in_headers(request: &Request) -> Option<&str> {
    bearer(request).or_else(|| Some(text(header(request, KEY_HEADER)?)))
}

/// The token among parameters.
pub fn in_params(params: &Params) -> Option<&str> {
    params.get(TOKEN)?.as_str()
}

/// The token among the parameters in the body of a request; the body can be read again. One that is not what its media
/// type says holds none: that is for the operation to tell, to whoever may call it.
///
/// # Errors
/// If the body cannot be read to its end.
pub async fn in_body(request: &mut Request) -> poem::Result<Option<String>> {
    let bytes = request.take_body().into_bytes().await?;
    let token = match PushBody::parse(request.content_type(), &bytes) {
        Ok(PushBody::Params(params)) => in_params(&params).map(str::to_owned),
        _ => None,
    };
    request.set_body(bytes);
    Ok(token)
}

/// The token in the query of a request.
pub fn in_query(request: &Request) -> Option<String> {
    let pairs = url::form_urlencoded::parse(request.uri().query()?.as_bytes());
    pairs.into_iter().find(|(name, _)| name == TOKEN).map(|(_, token)| token.into_owned())
}

fn bearer(request: &Request) -> Option<&str> {
    let value = header(request, "authorization")?;
    let (scheme, token) = value.split_at_checked("bearer".len())?;
    (scheme.eq_ignore_ascii_case(b"bearer") && token.first() == Some(&b' ')).then(|| text(token))
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
    request.headers().get(name).map(HeaderValue::as_bytes)
}

/// A token as it was sent. What is no text is nobody's token, but it was sent.
fn text(token: &[u8]) -> &str {
    std::str::from_utf8(token).unwrap_or_default().trim()
}
