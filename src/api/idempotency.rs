//! `Idempotency-Key` on a request, and the answer that tells whether it was given before.

use poem::http::{HeaderName, HeaderValue};
use poem::{IntoResponse, Request, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};

use super::envelope::{ApiError, Failure, JSON, Reply};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::refusal::{ParamProblem, Problem, Refusal};

const KEY: &str = "Idempotency-Key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key that a request brings, if it brings one.
///
/// # Errors
/// If it is not a key, or there are several.
pub fn key(request: &Request) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut given = request.headers().get_all(KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let single = given.next().is_none().then_some(value);
    match single.and_then(|value| value.to_str().ok()).and_then(IdempotencyKey::parse) {
        Some(key) => Ok(Some(key)),
        None => Err(Refusal::Params(vec![ParamProblem { param: KEY.to_owned(), problem: Problem::BadKey }]).into()),
    }
}

/// Data in the envelope, and whether it was answered before.
#[derive(Debug)]
pub struct Answered<T> {
    pub data: T,
    /// Whether this call repeats one before it.
    pub replayed: bool,
}

/// Marks the response to a call that repeats one before it.
pub fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}

impl<T: ParseFromJSON + ToJSON> IntoResponse for Answered<T> {
    fn into_response(self) -> Response {
        let mut response = Reply(self.data).into_response();
        if self.replayed {
            mark_replayed(&mut response);
        }
        response
    }
}

impl<T: ParseFromJSON + ToJSON> ApiResponse for Answered<T> {
    fn meta() -> MetaResponses {
        let mut meta = Reply::<T>::meta();
        for response in &mut meta.responses {
            response.headers.push(MetaHeader {
                name: "Idempotent-Replayed".to_owned(),
                description: Some("`true` if the call repeats one before it, whose answer this is.".to_owned()),
                required: false,
                deprecated: false,
                schema: bool::schema_ref(),
            });
        }
        meta.responses.push(MetaResponse {
            description: "Parameters are at fault, or the `Idempotency-Key` stands for another call \
                          (`idempotency_mismatch`).",
            status: Some(ApiError::from(Refusal::IdempotencyMismatch).status().as_u16()),
            status_range: None,
            content: vec![MetaMediaType { content_type: JSON, schema: Failure::schema_ref() }],
            headers: vec![],
        });
        meta
    }

    fn register(registry: &mut Registry) {
        Reply::<T>::register(registry);
        Failure::register(registry);
    }
}
