//! The one shape of every answer, and the one mapping from what went wrong to status, code, text and data.
//! No other file chooses a status code.

use std::borrow::Cow;
use std::time::Duration;

use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{Any, ParseFromJSON, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use serde_json::{Value, json};

use super::messages::{self, Notice};
use crate::domain::refusal::{Dependent, ParamProblem, Problem, Refusal};
use crate::error::{AuthProblem, Error, Limit};

/// The media type of every answer, as the document names it.
pub const JSON: &str = "application/json";

/// The answer to a request that succeeded.
#[derive(Debug, Object)]
#[oai(rename = "Reply")]
struct Success<T: ParseFromJSON + ToJSON> {
    /// True.
    success: bool,
    /// `0`.
    code: String,
    /// For people; may change.
    message: String,
    /// What was asked for.
    data: T,
}

/// The answer to a request that did not succeed.
#[derive(Debug, Object)]
pub struct Failure {
    /// False.
    success: bool,
    /// A stable word that says what went wrong.
    code: String,
    /// For people, in the language asked for; may change.
    message: String,
    /// More about it; for parameters at fault a list of `{param, problem, code}`.
    data: Any<Value>,
}

/// Says that there is nothing to say but that it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Object)]
pub struct Empty {}

/// The envelope of a success around data that serde writes, without the detour over a tree.
pub fn enveloped<T: Serialize>(data: &T) -> impl Serialize {
    #[derive(Serialize)]
    struct Envelope<'a, T> {
        success: bool,
        code: &'static str,
        message: &'static str,
        data: &'a T,
    }
    Envelope { success: true, code: "0", message: messages::notice(messages::language(), Notice::Done), data }
}

/// Data that goes out in the envelope, with status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T>(pub T);

impl<T: ParseFromJSON + ToJSON> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let message = messages::notice(messages::language(), Notice::Done).to_owned();
        let answer = Success { success: true, code: "0".to_owned(), message, data: self.0 };
        json_response(StatusCode::OK, &answer.to_json().unwrap_or_default())
    }
}

impl<T: ParseFromJSON + ToJSON> ApiResponse for Reply<T> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: JSON, schema: Success::<T>::schema_ref() }];
        let ok = MetaResponse { description: "Done.", status: Some(200), status_range: None, content, headers: vec![] };
        MetaResponses { responses: vec![ok] }
    }

    fn register(registry: &mut Registry) {
        Success::<T>::register(registry);
    }
}

/// The envelope around data, as a tree.
pub fn success(data: &Value) -> Value {
    serde_json::to_value(enveloped(data)).unwrap_or_default()
}

/// A failure that is ready to be sent; the `Err` of every operation.
#[derive(Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    data: Value,
    headers: Vec<(header::HeaderName, String)>,
}

/// What a request can have wrong before any rule looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRequest {
    /// The body is not UTF-8, or not once it is decoded.
    BodyNotUtf8,
    /// The body is no JSON from this line and column on.
    JsonInvalid { line: usize, column: usize },
    /// The body is JSON, and lists and objects stand too deep in others.
    JsonTooDeep,
    /// The body could not be read to its end.
    BodyUnreadable,
    /// There is a body where none is read.
    BodyWithGet,
    /// The body is larger than so many bytes.
    BodyTooLarge(usize),
    /// The body is of a media type that is not taken.
    MediaType,
    /// The body is compressed.
    Encoding,
    /// The path or the query is not well formed.
    RequestInvalid,
    /// There is nothing at this path.
    UnknownPath,
    /// The path is a push's, with more after its content.
    SlashInContent,
    /// The path takes other methods: those named, separated by commas.
    Method(String),
}

impl ApiError {
    fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let parts =
            Parts { status, code: code.into(), message: message.into(), data: Value::Null, headers: Vec::new() };
        Self(Box::new(parts))
    }

    fn with_data(mut self, data: Value) -> Self {
        self.0.data = data;
        self
    }

    fn with_header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The envelope that is sent.
    pub fn body(&self) -> Value {
        let Parts { code, message, data, .. } = &*self.0;
        json!({ "success": false, "code": code, "message": message, "data": data })
    }

    /// A request that no rule has looked at yet.
    pub fn bad_request(fault: &BadRequest) -> Self {
        let language = messages::language();
        let notice = |notice| messages::notice(language, notice);
        match fault {
            BadRequest::BodyNotUtf8 => Self::new(StatusCode::BAD_REQUEST, "body_invalid", notice(Notice::BodyNotUtf8)),
            BadRequest::JsonInvalid { line, column } => {
                Self::new(StatusCode::BAD_REQUEST, "body_invalid", messages::json_invalid(language, *line, *column))
            }
            BadRequest::JsonTooDeep => Self::new(StatusCode::BAD_REQUEST, "body_invalid", notice(Notice::JsonTooDeep)),
            BadRequest::BodyUnreadable => {
                Self::new(StatusCode::BAD_REQUEST, "body_unreadable", notice(Notice::BodyUnreadable))
            }
            BadRequest::BodyWithGet => Self::new(StatusCode::BAD_REQUEST, "body_invalid", notice(Notice::BodyWithGet)),
            BadRequest::BodyTooLarge(limit) => {
                let text = messages::body_too_large(language, *limit);
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text).with_data(json!({ "limit": limit }))
            }
            BadRequest::MediaType => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported", notice(Notice::MediaType))
            }
            BadRequest::Encoding => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported", notice(Notice::Encoding))
                    .with_header(header::ACCEPT_ENCODING, "identity")
            }
            BadRequest::RequestInvalid => {
                Self::new(StatusCode::BAD_REQUEST, "request_invalid", notice(Notice::RequestInvalid))
            }
            BadRequest::UnknownPath => {
                Self::new(StatusCode::NOT_FOUND, "path_not_found", messages::not_found(language, "path"))
            }
            BadRequest::SlashInContent => {
                Self::new(StatusCode::NOT_FOUND, "path_not_found", notice(Notice::SlashInContent))
            }
            BadRequest::Method(allowed) => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", notice(Notice::Method))
                    .with_header(header::ALLOW, allowed)
            }
        }
    }

    /// A parameter of the request, or a field of its body, that is not acceptable; `reason` as in `FieldFault`.
    pub fn field(field: &str, reason: &'static str) -> Self {
        Refusal::field(field, reason).into()
    }

    /// A parameter that is absent though required, or cannot be read as its type.
    pub fn param(name: &str, missing: bool) -> Self {
        let (code, reason) = if missing { ("param_missing", "missing") } else { ("param_invalid", "invalid") };
        Self::one_param(code, name, code, reason)
    }

    /// A `limit` that is not from 1 to `max`.
    pub fn limit_invalid(limit: u32, max: u32) -> Self {
        let problem = if limit < 1 { Problem::Below("1".to_owned()) } else { Problem::Above(max.to_string()) };
        Self::param_problem("limit", problem)
    }

    /// A parameter with this fault.
    pub fn param_problem(name: &str, problem: Problem) -> Self {
        Refusal::Params(vec![ParamProblem { param: name.to_owned(), problem }]).into()
    }

    /// A cursor that this server did not make.
    pub fn cursor_invalid() -> Self {
        Self::one_param("cursor_invalid", "cursor", "cursor_invalid", "cursor")
    }

    fn one_param(code: &'static str, param: &str, why: &str, reason: &str) -> Self {
        let problem = messages::field_reason(messages::language(), param, reason);
        let data = json!([{ "param": param, "problem": problem, "code": why }]);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, format!("{param}: {problem}")).with_data(data)
    }

    fn refused(refusal: &Refusal) -> Self {
        let language = messages::language();
        let data = match refusal {
            Refusal::Params(problems) => problems.iter().map(|at| param_data(language, at)).collect(),
            Refusal::Fields { fields, params } => {
                let fields = fields.iter().map(|fault| {
                    let problem = messages::field_reason(language, &fault.field, fault.reason);
                    json!({ "param": fault.field, "problem": problem, "code": fault.reason })
                });
                fields.chain(params.iter().map(|at| param_data(language, at))).collect()
            }
            Refusal::PusherInUse { dependents, others } => dependents_data(dependents, *others),
            Refusal::WouldBreak { dependents, .. } => dependents_data(dependents, 0),
            Refusal::BaseNotPublic(id) => json!({ "base_pusher": id }),
            Refusal::WrongState(state) => json!({ "state": state }),
            Refusal::NotRenderable { member, reason } => json!({ "name": member, "reason": reason }),
            Refusal::BaseUnknown(_)
            | Refusal::Cycle(_)
            | Refusal::ChainTooDeep(_)
            | Refusal::GroupInGroup(_)
            | Refusal::GroupEmpty
            | Refusal::GroupFull(_)
            | Refusal::TooManyPushers(_)
            | Refusal::MemberNameTaken(_)
            | Refusal::ProtectedNotShared
            | Refusal::AddressIsFinal(_)
            | Refusal::SharedIsFinal
            | Refusal::IdempotencyMismatch
            | Refusal::RegistrationClosed
            | Refusal::RegistrationNotOpen
            | Refusal::MailNotConfigured
            | Refusal::LastAdmin => Value::Null,
        };
        Self::new(refusal_status(refusal), refusal.code(), messages::refusal(language, refusal)).with_data(data)
    }

    fn unauthorized(problem: AuthProblem) -> Self {
        let code = match problem {
            AuthProblem::Missing => "token_missing",
            AuthProblem::Invalid => "token_invalid",
            AuthProblem::Expired => "token_expired",
        };
        Self::new(StatusCode::UNAUTHORIZED, code, messages::unauthorized(messages::language(), problem))
            .with_header(header::WWW_AUTHENTICATE, "Bearer")
    }

    fn limited(limit: Limit, retry_after: Duration) -> Self {
        let code = match limit {
            Limit::Rate => "rate_limited",
            Limit::Quota => "quota_exceeded",
            Limit::Attempts => "too_many_attempts",
        };
        let seconds = whole_seconds(retry_after);
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, messages::limited(messages::language(), limit, seconds))
            .with_data(json!({ "retry_after": seconds }))
            .with_header(header::RETRY_AFTER, seconds.to_string())
    }

    fn busy(retry_after: Duration) -> Self {
        let text = messages::notice(messages::language(), Notice::Busy);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
            .with_header(header::RETRY_AFTER, whole_seconds(retry_after).to_string())
    }

    /// Logs what broke, under an id that the client gets to see in its place.
    pub fn broken(cause: &str) -> Self {
        let id = format!("{:08x}", rand::random::<u32>());
        tracing::error!(broken = %id, cause, "broken {id}: {cause}");
        let text = messages::broken(messages::language(), &id);
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", text).with_data(json!({ "id": id }))
    }
}

fn dependents_data(dependents: &[Dependent], others: u64) -> Value {
    let shown = |dependent: &Dependent| json!({ "id": dependent.id, "name": dependent.name });
    json!({ "dependents": dependents.iter().map(shown).collect::<Value>(), "others": others })
}

fn param_data(language: messages::Language, at: &ParamProblem) -> Value {
    json!({
        "param": at.param,
        "problem": messages::problem(language, &at.problem),
        "code": at.problem.code(),
    })
}

fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Params(_)
        | Refusal::Fields { .. }
        | Refusal::BaseUnknown(_)
        | Refusal::Cycle(_)
        | Refusal::ChainTooDeep(_)
        | Refusal::GroupInGroup(_)
        | Refusal::GroupEmpty
        | Refusal::GroupFull(_)
        | Refusal::AddressIsFinal(_)
        | Refusal::NotRenderable { .. }
        // Not 409, which clients take for "the first call is still under way" and repeat.
        | Refusal::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::MemberNameTaken(_)
        | Refusal::PusherInUse { .. }
        | Refusal::WouldBreak { .. }
        | Refusal::TooManyPushers(_)
        | Refusal::SharedIsFinal
        | Refusal::ProtectedNotShared
        | Refusal::BaseNotPublic(_)
        | Refusal::WrongState(_)
        | Refusal::LastAdmin => StatusCode::CONFLICT,
        Refusal::RegistrationClosed | Refusal::RegistrationNotOpen => StatusCode::FORBIDDEN,
        Refusal::MailNotConfigured => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Rounded up, and never zero: a client that comes back at once would be refused again.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::refused(&refusal),
            Error::NotFound(what) => Self::new(
                StatusCode::NOT_FOUND,
                format!("{what}_not_found"),
                messages::not_found(messages::language(), what),
            ),
            Error::Unauthorized(problem) => Self::unauthorized(problem),
            Error::Forbidden => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", messages::notice(messages::language(), Notice::Forbidden))
            }
            Error::ScopeMissing(scope) => {
                Self::new(StatusCode::FORBIDDEN, "scope_missing", messages::scope_missing(messages::language(), scope))
                    .with_data(json!({ "scope": scope.as_str() }))
                    .with_header(
                        header::WWW_AUTHENTICATE,
                        format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.as_str()),
                    )
            }
            Error::Limited { limit, retry_after } => Self::limited(limit, retry_after),
            Error::Busy { retry_after } => Self::busy(retry_after),
            Error::Broken(cause) => Self::broken(&format!("{cause:#}")),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(&refusal)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.0.status, &self.body());
        for (name, value) in self.0.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl From<ApiError> for poem::Error {
    fn from(error: ApiError) -> Self {
        Self::from_response(error.into_response())
    }
}

impl ApiResponse for ApiError {
    fn meta() -> MetaResponses {
        let range = |range: &str, description| MetaResponse {
            description,
            status: None,
            status_range: Some(range.to_owned()),
            content: vec![MetaMediaType { content_type: JSON, schema: Failure::schema_ref() }],
            headers: vec![],
        };
        let refused = range("4XX", "The request is not acceptable; `code` says why.");
        let broken = range("5XX", "The server could not do it.");
        MetaResponses { responses: vec![refused, broken] }
    }

    fn register(registry: &mut Registry) {
        Failure::register(registry);
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body.to_string())
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
