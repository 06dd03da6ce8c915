//! Turns what poem and poem-openapi complain about into the envelope. Repeats none of their texts: they may
//! hold what the client sent.

use std::fmt;
use std::io;

use poem::Response;
use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::{Error, IntoResponse};
use poem_openapi::error::ParseParamError;

use super::envelope::{ApiError, BadRequest};
use crate::domain::refusal::Problem;

/// The cause inside the I/O error that a body ends with when it grows too large.
#[derive(Debug)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is too large")
    }
}

impl std::error::Error for TooLarge {}

/// What is known of the request that failed.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The methods that its path takes, separated by commas.
    pub allowed: &'a str,
    /// The largest body taken, in bytes.
    pub body_limit: usize,
    /// What was asked for.
    pub path: &'a str,
    /// What is wrong with a parameter of this name that is not of its type, if that is known.
    pub expected: &'a dyn Fn(&str) -> Option<Problem>,
}

/// The answer to a request that ended in this error. What is a response already stays as it is.
pub fn answer(error: Error, context: Context<'_>) -> Response {
    if error.is_from_response() || error.status().is_redirection() {
        return error.into_response();
    }
    explain(&error, context).into_response()
}

fn explain(error: &Error, context: Context<'_>) -> ApiError {
    if let Some(cause) = error.downcast_ref::<ReadBodyError>() {
        return unreadable(cause, context);
    }
    if let Some(cause) = error.downcast_ref::<ParseParamError>() {
        let missing = cause.reason.contains("expects an input value");
        let expected = if missing { None } else { (context.expected)(cause.name) };
        return match expected {
            Some(problem) => ApiError::param_problem(cause.name, problem),
            None => ApiError::param(cause.name, missing),
        };
    }
    by_status(error, context)
}

fn unreadable(cause: &ReadBodyError, context: Context<'_>) -> ApiError {
    let fault = match cause {
        ReadBodyError::PayloadTooLarge => BadRequest::BodyTooLarge(context.body_limit),
        ReadBodyError::Io(cause) if is_too_large(cause) => BadRequest::BodyTooLarge(context.body_limit),
        ReadBodyError::Io(_) => BadRequest::BodyUnreadable,
        ReadBodyError::Utf8(_) => BadRequest::BodyNotUtf8,
        ReadBodyError::BodyHasBeenTaken => return ApiError::broken("the body was read twice"),
    };
    ApiError::bad_request(&fault)
}

/// Readers wrap the error of a stream once more, so the cause can stand some levels down.
fn is_too_large(cause: &io::Error) -> bool {
    cause
        .get_ref()
        .is_some_and(|inner| inner.is::<TooLarge>() || inner.downcast_ref::<io::Error>().is_some_and(is_too_large))
}

/// Whether a path would be a push's with its content, had that no slash.
fn has_slash_in_content(path: &str) -> bool {
    path.strip_prefix("/push/").is_some_and(|rest| rest.split('/').filter(|segment| !segment.is_empty()).count() > 2)
}

/// For errors whose status says all that is told. None says who the caller is: that is never asked of poem.
fn by_status(error: &Error, context: Context<'_>) -> ApiError {
    let fault = match error.status() {
        StatusCode::NOT_FOUND if has_slash_in_content(context.path) => BadRequest::SlashInContent,
        StatusCode::NOT_FOUND => BadRequest::UnknownPath,
        StatusCode::METHOD_NOT_ALLOWED => BadRequest::Method(context.allowed.to_owned()),
        StatusCode::PAYLOAD_TOO_LARGE => BadRequest::BodyTooLarge(context.body_limit),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => BadRequest::MediaType,
        status if status.is_client_error() => BadRequest::RequestInvalid,
        _ => return ApiError::broken(&error.to_string()),
    };
    ApiError::bad_request(&fault)
}
