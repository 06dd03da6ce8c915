//! What surrounds every endpoint: request id, language, log line, the envelope for whatever fails (panics too),
//! security headers, the trailing slash, the limit on bodies. Knows no endpoint.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{FutureExt, StreamExt};
use poem::error::ReadBodyError;
use poem::http::uri::PathAndQuery;
use poem::http::{HeaderValue, Uri, Version, header};
use poem::{Body, Endpoint, IntoResponse, PathPattern, Request, Response, Result};
use serde_json::Value;

use super::address::Gate;
use super::closing::Closing;
use super::envelope::{ApiError, BadRequest};
use super::fault::{self, TooLarge};
use super::messages::{Language, speaking};
use super::origin::ClientAddress;
use super::scopes::acts;
use crate::domain::id::unguessable;
use crate::domain::params::ParamType;
use crate::domain::refusal::Problem;
use crate::logs::in_request;
use crate::metrics::Metrics;

/// The header that carries the request id, in and out.
pub const REQUEST_ID: &str = "x-request-id";

/// Headers of every answer that does not set them itself.
pub(super) const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// What the frame needs to know.
pub struct FrameOptions {
    /// The routes of the document.
    pub routes: Routes,
    /// The largest body taken, in bytes.
    pub body_limit: usize,
    /// Who may come in.
    pub gate: Gate,
    /// Where answers are counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are counted that are being answered.
    pub closing: Arc<Closing>,
}

/// The routes of a document: how to name each, and which methods it takes.
#[derive(Debug, Clone, Default)]
pub struct Routes(HashMap<String, Known>);

#[derive(Debug, Clone)]
struct Known {
    path: String,
    methods: String,
    /// What is wrong with a parameter that is not of its type.
    faults: HashMap<String, Problem>,
}

impl Routes {
    /// Reads them from an `OpenAPI` document.
    pub fn of_document(document: &Value) -> Self {
        let mut routes = HashMap::new();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let mut names: Vec<String> =
                operations.as_object().into_iter().flatten().map(|(name, _)| name.to_ascii_uppercase()).collect();
            if operations["get"]["operationId"].as_str().is_some_and(|get| !acts(get)) {
                names.push("HEAD".to_owned());
            }
            names.sort_unstable();
            let parameters = operations.as_object().into_iter().flatten().flat_map(|(_, operation)| {
                operation["parameters"].as_array().into_iter().flatten().filter_map(|parameter| {
                    let name = parameter["name"].as_str()?;
                    Some((name.to_owned(), fault_of(document, &parameter["schema"])?))
                })
            });
            let faults = parameters.collect();
            routes.insert(shape(path), Known { path: path.clone(), methods: names.join(", "), faults });
        }
        Self(routes)
    }

    /// What is wrong with a parameter of a route that is not of its type, if the document tells.
    fn fault(&self, pattern: &str, parameter: &str) -> Option<&Problem> {
        self.0.get(&shape(pattern))?.faults.get(parameter)
    }

    /// The methods of a route, separated by commas; routes that are in no document are there to be read.
    fn methods(&self, pattern: &str) -> &str {
        self.0.get(&shape(pattern)).map_or("GET, HEAD", |known| &known.methods)
    }

    /// How the document writes a route.
    fn path<'a>(&'a self, pattern: &'a str) -> &'a str {
        self.0.get(&shape(pattern)).map_or(pattern, |known| &known.path)
    }
}

/// What is wrong with a value that a schema of the document does not take.
fn fault_of(document: &Value, schema: &Value) -> Option<Problem> {
    let referred = schema["$ref"].as_str().and_then(|path| document.pointer(path.strip_prefix('#')?));
    let schema = referred.unwrap_or(schema);
    if let Some(words) = schema["enum"].as_array() {
        return Some(Problem::NotOneOf(words.iter().filter_map(Value::as_str).map(str::to_owned).collect()));
    }
    match schema["type"].as_str()? {
        "boolean" => Some(Problem::NotA(ParamType::Boolean)),
        "integer" => Some(Problem::NotA(ParamType::Integer)),
        _ => None,
    }
}

/// A path with the names of its parameters left out: poem-openapi gives its routes names of its own.
fn shape(path: &str) -> String {
    let parameter = |segment: &str| segment.starts_with([':', '{']);
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| if parameter(segment) { "/:" } else { segment }).collect::<Vec<_>>().join("/")
}

/// Puts the frame around the routes.
pub fn frame<E: Endpoint>(api: E, options: FrameOptions) -> impl Endpoint<Output = Response> {
    Frame { api, options }
}

struct Frame<E> {
    api: E,
    options: FrameOptions,
}

impl<E: Endpoint> Endpoint for Frame<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let started = Instant::now();
        let id = request_id(&request);
        let method = request.method().clone();
        let languages = request.headers().get_all(header::ACCEPT_LANGUAGE).iter();
        let language = Language::from_headers(languages.filter_map(|line| line.to_str().ok()));
        let path = request.uri().path_and_query().cloned();
        trim_slash(request.uri_mut());

        let logged = id.clone();
        let work = async {
            let asked = path.as_ref().map_or("/", PathAndQuery::path);
            let (mut response, route) = self.answer(request, asked).await;
            finish(&mut response, &id);
            let status = response.status().as_u16();
            self.options.metrics.answered(status);
            // A nest at the root that finds no route of its own still leaves its own, empty pattern.
            let route = route.as_deref().filter(|pattern| !pattern.trim_matches('/').is_empty());
            match route {
                Some(pattern) => log(method.as_str(), self.options.routes.path(pattern), status, started),
                None => log(method.as_str(), &first_segment(asked), status, started),
            }
            response
        };
        Ok(speaking(language, in_request(logged, work)).await)
    }
}

impl<E: Endpoint> Frame<E> {
    /// The answer, whatever happens, and the pattern of the route that gave it.
    async fn answer(&self, mut request: Request, path: &str) -> (Response, Option<Arc<str>>) {
        let body_limit = self.options.body_limit;
        let address = self.options.gate.client(&request);
        let admitted = self.options.gate.admit(&request, address);
        if let Some(address) = address {
            request.set_data(ClientAddress(address));
        }
        let brings = brings(&request);
        let _room = match admitted {
            Ok(room) => room,
            Err(refused) => {
                let stays = brings == Brings::Much || read_ahead(request, brings).await.is_err();
                return (last_if(stays, refused.into_response()), None);
            }
        };
        let request = match limit_body(request, body_limit) {
            Ok(request) => request,
            Err(refused) => return (last_if(true, refused.into_response()), None),
        };
        let request = match read_ahead(request, brings).await {
            Ok(request) => request,
            Err(broken) => {
                let context = fault::Context { allowed: "", body_limit, path, expected: &|_| None };
                return (last_if(true, fault::answer(broken.into(), context)), None);
            }
        };
        let _answering = self.options.closing.answer();
        match AssertUnwindSafe(async { self.api.call(request).await }).catch_unwind().await {
            Ok(Ok(output)) => {
                let response = output.into_response();
                let route = response.data::<PathPattern>().map(|pattern| pattern.0.clone());
                (response, route)
            }
            Ok(Err(error)) => {
                let route = error.data::<PathPattern>().map(|pattern| pattern.0.clone());
                let (routes, pattern) = (&self.options.routes, route.as_deref().unwrap_or_default());
                let allowed = routes.methods(pattern);
                let expected = |parameter: &str| routes.fault(pattern, parameter).cloned();
                (fault::answer(error, fault::Context { allowed, body_limit, path, expected: &expected }), route)
            }
            Err(panic) => {
                let cause = format!("an endpoint panicked: {}", panic_text(panic.as_ref()));
                (ApiError::broken(&cause).into_response(), None)
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

/// The caller's id if it is harmless, else a new one.
pub(super) fn request_id(request: &Request) -> String {
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match request.header(REQUEST_ID).filter(harmless) {
        Some(id) => id.to_owned(),
        None => unguessable(rand::random()),
    }
}

/// Takes the slash off the end of the path; another one before it stands for an id that is empty, and only the content
/// of a push may be that. `%2F` is content and stays. A target without a path, as `CONNECT` has it, becomes `/`, because
/// the router relies on there being one.
fn trim_slash(uri: &mut Uri) {
    let path = uri.path();
    let trimmed = match path {
        push if push.starts_with("/push/") => push.trim_end_matches('/'),
        path => path.strip_suffix('/').unwrap_or(path),
    };
    let trimmed = match trimmed {
        "" => "/",
        trimmed => trimmed,
    };
    if trimmed.len() == path.len() {
        return;
    }
    let text = match uri.query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    *uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"));
}

/// What a request brings besides its head, as far as the head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brings {
    Nothing,
    /// So little that it comes with the head, or right behind it.
    Little,
    Much,
}

/// Up to here a body is `Little`: less than what one read from a connection takes.
const LITTLE: usize = 4096;

fn brings(request: &Request) -> Brings {
    if request.version() == Version::HTTP_2 {
        // What is left of a request there is in nobody's way.
        return Brings::Nothing;
    }
    match request.header(header::CONTENT_LENGTH).map(str::parse::<usize>) {
        Some(Ok(0)) => Brings::Nothing,
        Some(Ok(1..=LITTLE)) => Brings::Little,
        None if !request.headers().contains_key(header::TRANSFER_ENCODING) => Brings::Nothing,
        _ => Brings::Much,
    }
}

/// Reads the body, before anything can refuse the request: what stays behind on a connection ends it, and with it the
/// request that a client sends next, which cannot know.
async fn read_ahead(mut request: Request, brings: Brings) -> std::result::Result<Request, ReadBodyError> {
    if brings != Brings::Nothing {
        let body = request.take_body().into_bytes().await?;
        request.set_body(body);
    }
    Ok(request)
}

/// Says that the connection ends with this answer, if it does.
fn last_if(is_last: bool, mut response: Response) -> Response {
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Refuses a body that says it is compressed or too large, and cuts one short that does not say how large it is.
fn limit_body(mut request: Request, limit: usize) -> std::result::Result<Request, ApiError> {
    if request.headers().get_all(header::CONTENT_ENCODING).iter().any(|codings| !leaves_as_is(codings)) {
        return Err(ApiError::bad_request(&BadRequest::Encoding));
    }
    if let Some(length) = request.header(header::CONTENT_LENGTH) {
        return match length.parse::<usize>() {
            Ok(length) if length <= limit => Ok(request),
            _ => Err(ApiError::bad_request(&BadRequest::BodyTooLarge(limit))),
        };
    }
    if request.headers().contains_key(header::TRANSFER_ENCODING) || request.version() == Version::HTTP_2 {
        let mut left = limit;
        let chunks = request.take_body().into_bytes_stream().map(move |chunk| {
            let chunk = chunk?;
            left = left.checked_sub(chunk.len()).ok_or_else(|| io::Error::other(TooLarge))?;
            Ok::<_, io::Error>(chunk)
        });
        request.set_body(Body::from_bytes_stream(chunks));
    }
    Ok(request)
}

/// Whether a `Content-Encoding` names nothing that was done to the body.
fn leaves_as_is(codings: &HeaderValue) -> bool {
    let mut codings = codings.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

fn finish(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    // Grown once instead of at every other header.
    headers.reserve(HEADERS.len() + 4);
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// What may be logged of a path that no route took: ids and content can stand in the rest.
fn first_segment(path: &str) -> String {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match (segments.next(), segments.next()) {
        (None, _) => "/".to_owned(),
        (Some(first), rest) => {
            let first: String = first.chars().take(32).collect();
            format!("/{first}{}", if rest.is_some() { "/…" } else { "" })
        }
    }
}

fn log(method: &str, route: &str, status: u16, started: Instant) {
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match status {
        500.. => tracing::warn!(method, route, status, ms, "{method} {route} {status} in {ms} ms"),
        400.. => tracing::info!(method, route, status, ms, "{method} {route} {status} in {ms} ms"),
        // Writing a line costs as much as a push.
        _ => tracing::debug!(method, route, status, ms, "{method} {route} {status} in {ms} ms"),
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
