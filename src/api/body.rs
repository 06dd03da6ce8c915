//! The body and the query of a push, as parameters. Strict: what is not what it says it is, is refused whole.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use super::envelope::{ApiError, BadRequest};
use super::form;
use super::input::{BodyKind, FORM};
use crate::domain::params::{ParamType, Params, add_text};
use crate::domain::refusal::{ParamProblem, Problem, Refusal};

/// What the body of a push brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum PushBody {
    /// Nothing.
    #[default]
    Empty,
    /// A JSON object or a form.
    Params(Params),
    /// Plain text: stands for what `:content` stands for.
    Text(String),
}

impl PushBody {
    /// Reads the body of a request by its media type.
    ///
    /// # Errors
    /// If it is too large, of another media type, not UTF-8, or not what the media type says.
    pub async fn read(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes().await?;
        Ok(Self::parse(request.content_type(), &bytes)?)
    }

    pub(super) fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, ApiError> {
        let not_utf8 = || ApiError::bad_request(&BadRequest::BodyNotUtf8);
        match BodyKind::of(content_type, bytes) {
            _ if bytes.is_empty() => Ok(Self::Empty),
            BodyKind::Json => match json(bytes)? {
                Value::Object(params) => Ok(Self::Params(params)),
                _ => Err(no_object()),
            },
            BodyKind::Form => pairs(bytes).map(Self::Params).ok_or_else(not_utf8),
            BodyKind::Text => String::from_utf8(unmarked(bytes).to_vec()).map(Self::Text).map_err(|_| not_utf8()),
            BodyKind::Other => Err(ApiError::bad_request(&BadRequest::MediaType)),
        }
    }
}

/// That there is no body: whoever sends one with a push by GET means it to arrive.
pub struct NoBody;

impl NoBody {
    /// Makes sure of it.
    ///
    /// # Errors
    /// If there is one, or it cannot be read.
    pub async fn read(body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes().await?;
        if bytes.is_empty() { Ok(Self) } else { Err(ApiError::bad_request(&BadRequest::BodyWithGet).into()) }
    }
}

impl<'a> ApiExtractor<'a> for NoBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    async fn from_request(_: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Self::read(body).await
    }
}

/// A body that is JSON.
///
/// # Errors
/// If it is not; where that shows.
pub(super) fn json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(unmarked(bytes)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ApiError::bad_request(&if std::str::from_utf8(bytes).is_err() {
            BadRequest::BodyNotUtf8
        } else if error.to_string().starts_with("recursion limit") {
            BadRequest::JsonTooDeep
        } else {
            BadRequest::JsonInvalid { line, column }
        })
    })
}

/// Without the mark that some programs put before a text that is UTF-8.
fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

fn no_object() -> ApiError {
    let problem = Problem::NotA(ParamType::Object);
    Refusal::Params(vec![ParamProblem { param: "body".to_owned(), problem }]).into()
}

/// The query of a request as parameters.
///
/// # Errors
/// If it is not UTF-8 when decoded.
pub fn query(request: &Request) -> Result<Params, ApiError> {
    let text = request.uri().query().unwrap_or_default();
    pairs(text.as_bytes()).ok_or_else(|| ApiError::bad_request(&BadRequest::RequestInvalid))
}

/// Decodes `a=1&b=2`. A repeated name becomes a list; `None` if anything is not UTF-8.
fn pairs(encoded: &[u8]) -> Option<Params> {
    let mut params = Params::new();
    for (name, value) in form::parse(encoded)? {
        add_text(&mut params, name, value);
    }
    Some(params)
}

impl<'a> ApiExtractor<'a> for PushBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest { required: false, description: Some("Parameters, or text."), content: media_types() })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Self::read(request, body).await
    }
}

fn media_types() -> Vec<MetaMediaType> {
    let object = || {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("Parameters by name."),
            additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
            example: Some(serde_json::json!({ "title": "Backup", "content": "disk full" })),
            ..MetaSchema::new("object")
        }))
    };
    let text = MetaSchema { description: Some("What `:content` stands for."), ..MetaSchema::new("string") };
    vec![
        MetaMediaType { content_type: "application/json", schema: object() },
        MetaMediaType { content_type: FORM, schema: object() },
        MetaMediaType { content_type: "text/plain", schema: MetaSchemaRef::Inline(Box::new(text)) },
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(content_type: &str, body: &[u8]) -> Result<PushBody, String> {
        PushBody::parse(Some(content_type), body).map_err(|error| error.code().to_owned())
    }

    fn params(value: &Value) -> PushBody {
        PushBody::Params(value.as_object().unwrap().clone())
    }

    #[test]
    fn each_media_type_is_read_as_it_says() {
        let form = "application/x-www-form-urlencoded; charset=UTF-8";
        assert_eq!(parsed("Application/JSON", b"{\"a\":1}"), Ok(params(&json!({ "a": 1 }))));
        assert_eq!(parsed(form, b"a=1+2&b=%C3%A9&a=3&c"), Ok(params(&json!({ "a": ["1 2", "3"], "b": "é", "c": "" }))));
        assert_eq!(parsed("text/plain", "späť".as_bytes()), Ok(PushBody::Text("späť".to_owned())));
        // As PowerShell writes them.
        assert_eq!(parsed("application/json", "\u{feff}{\"a\":1}".as_bytes()), Ok(params(&json!({ "a": 1 }))));
        assert_eq!(parsed("text/plain", "\u{feff}a\u{feff}".as_bytes()), Ok(PushBody::Text("a\u{feff}".to_owned())));
        assert_eq!(parsed("image/png", b""), Ok(PushBody::Empty));
    }

    #[test]
    fn what_is_not_what_it_says_is_refused() {
        let form = "application/x-www-form-urlencoded";
        for (content_type, body) in [
            ("application/json", &b"{"[..]),
            ("application/json", b"{\"a\":\"\xff\"}"),
            (form, b"a=%ff"),
            (form, b"a=\xff"),
            ("text/plain", b"\xff"),
        ] {
            assert_eq!(parsed(content_type, body), Err("body_invalid".to_owned()), "{content_type} {body:?}");
        }
        for other in [&b"[1]"[..], b"\"a\"", b"1", b"null"] {
            assert_eq!(parsed("application/json", other), Err("param_invalid".to_owned()), "{other:?}");
        }
        assert_eq!(parsed("image/png", b"x"), Err("media_type_unsupported".to_owned()));
        assert_eq!(
            PushBody::parse(None, b"x").map_err(|e| e.code().to_owned()),
            Err("media_type_unsupported".to_owned())
        );
    }
}
