//! Admission to the operations: finds which one is called, and lets in who may call it, before anything else of the
//! request is looked at; of a body that is parameters, before anything but the token. What it does not know it lets pass
//! as nobody's, and the operation refuses it.

use std::sync::Arc;

use poem::error::MethodNotAllowedError;
use poem::http::Method;
use poem::{Endpoint, PathPattern, Request, Response, Result};
use serde_json::Value;

use super::auth::{admit, in_body, in_headers, in_query};
use super::envelope::ApiError;
use super::form;
use super::input::MAX_FAULTS;
use super::scopes::{Access, access, acts, takes_parameters};
use crate::domain::refusal::{FieldFault, Refusal};
use crate::domain::scope::Scope;
use crate::error::{AuthProblem, Error};
use crate::flow::{Caller, Engine};

/// Admits callers to routes.
pub struct Admission<E> {
    engine: Arc<Engine>,
    routes: E,
    operations: Vec<Operation>,
}

/// An operation of the document, and what it asks for.
struct Operation {
    method: Method,
    path: Arc<str>,
    segments: Vec<Segment>,
    access: Access,
    /// A GET that does something.
    acts: bool,
    /// The token may stand in its body.
    takes_parameters: bool,
    /// The names in its query, if it is one that has such and no others.
    names: Option<Vec<String>>,
}

/// A part of a path.
enum Segment {
    Word(String),
    Parameter,
}

impl<E> Admission<E> {
    /// Puts itself in front of the routes of a document.
    pub fn new(engine: Arc<Engine>, routes: E, document: &Value) -> Self {
        Self { engine, routes, operations: operations(document) }
    }

    fn find(&self, method: &Method, path: &str) -> Option<&Operation> {
        // Whoever asks for the head alone reads.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        // The path decides first, as it does in the router: what it does not take is no other path's.
        let path = &self.operations.iter().find(|operation| operation.fits(&segments))?.path;
        self.operations.iter().find(|operation| operation.method == *method && operation.path == *path)
    }

    async fn let_in(&self, request: &mut Request, operation: &Operation) -> Result<Option<Caller>> {
        let (scope, needed) = match operation.access {
            Access::Public => return Ok(None),
            Access::Open(scope) => (scope, false),
            Access::Needs(scope) => (scope, true),
        };
        let mut token = in_headers(request).map(str::to_owned);
        if token.is_none() && operation.takes_parameters {
            token = in_body(request).await?;
        }
        match token.or_else(|| in_query(request)) {
            Some(token) => Ok(Some(admit(&self.engine, request, &token, scope).await?)),
            None if needed => Err(ApiError::from(Error::Unauthorized(AuthProblem::Missing)).into()),
            None => Ok(None),
        }
    }
}

impl<E: Endpoint> Endpoint for Admission<E>
where
    E::Output: Into<Response>,
{
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let Some(operation) = self.find(request.method(), request.uri().path()) else {
            return self.routes.call(request).await.map(Into::into);
        };
        let refused = |error: poem::Error| {
            let mut error = error;
            error.set_data(PathPattern(operation.path.clone()));
            Err(error)
        };
        if operation.acts && *request.method() == Method::HEAD {
            return refused(MethodNotAllowedError.into());
        }
        match self.let_in(&mut request, operation).await {
            Ok(Some(caller)) => {
                request.set_data(caller);
            }
            Ok(None) => {}
            Err(error) => return refused(error),
        }
        if let Err(error) = operation.takes_query(&request) {
            return refused(ApiError::from(error).into());
        }
        // What may change an account, a session or a token: afterwards none of them is taken on trust.
        let pushes = matches!(operation.access, Access::Open(Scope::Push) | Access::Needs(Scope::Push));
        let changes = operation.method != Method::GET && !pushes;
        let _forgetting = changes.then(|| Forgetting(&self.engine));
        self.routes.call(request).await.map(Into::into)
    }
}

/// Forgets who holds which token when it goes, also if the caller hangs up before the answer.
struct Forgetting<'a>(&'a Engine);

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.0.callers.forget();
    }
}

impl Operation {
    fn fits(&self, segments: &[&str]) -> bool {
        let fits = |(own, given): (&Segment, &&str)| match own {
            Segment::Word(word) => word == given,
            Segment::Parameter => !given.is_empty(),
        };
        self.segments.len() == segments.len() && self.segments.iter().zip(segments).all(fits)
    }

    /// Refuses what it would pass over: with a filter misspelt, a list shows everything, and whoever reads it believes it.
    /// Names that begin with `_` are nobody's.
    fn takes_query(&self, request: &Request) -> std::result::Result<(), Refusal> {
        let (Some(names), Some(query)) = (&self.names, request.uri().query()) else { return Ok(()) };
        let given = form::parse(query.as_bytes()).unwrap_or_default().into_iter().map(|(name, _)| name);
        let mut left: Vec<&String> = names.iter().collect();
        let faults = given.filter(|name| !name.starts_with('_')).filter_map(|name| {
            match left.iter().position(|known| **known == name) {
                Some(at) => {
                    left.remove(at);
                    None
                }
                None if names.contains(&name) => Some(FieldFault { field: name, reason: "duplicate" }),
                None => Some(FieldFault { field: name, reason: "unknown" }),
            }
        });
        let fields: Vec<_> = faults.take(MAX_FAULTS).collect();
        if fields.is_empty() { Ok(()) } else { Err(Refusal::Fields { fields, params: Vec::new() }) }
    }
}

/// The names in the query of an operation, unless it takes any. What acts is called by links, to which the programs that
/// hand them on add names of their own.
fn names(operation: &Value, acts: bool) -> Option<Vec<String>> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let queries: Vec<_> = parameters.filter(|parameter| parameter["in"] == "query").collect();
    let open = queries.is_empty() || queries.iter().any(|parameter| parameter["schema"]["type"] == "object");
    let names = queries.iter().filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect();
    (!acts && !open).then_some(names)
}

/// The operations of a document; where two fit a path, the one with the earlier word comes first, as the router has it.
fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
            if let (Some(access), Ok(method)) = (access(id), method) {
                let segments = path.split('/').filter(|part| !part.is_empty()).map(segment).collect();
                let (acts, takes_parameters) = (acts(id), takes_parameters(id));
                let path = path.as_str().into();
                let names = names(operation, acts);
                found.push(Operation { method, path, segments, access, acts, takes_parameters, names });
            }
        }
    }
    let shape = |operation: &Operation| -> Vec<bool> {
        operation.segments.iter().map(|segment| matches!(segment, Segment::Parameter)).collect()
    };
    found.sort_by_key(shape);
    found
}

fn segment(part: &str) -> Segment {
    if part.starts_with('{') { Segment::Parameter } else { Segment::Word(part.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str) -> Option<(String, Vec<Access>)> {
        let document = json!({ "paths": {
            "/preset/{id}/": { "get": { "operationId": "getPreset" }, "patch": { "operationId": "changePreset" } },
            "/preset/shared/": { "get": { "operationId": "listSharedPresets" } },
            "/nothing/": { "get": { "operationId": "unknown" } },
        } });
        let operations = operations(&document);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let path = operations.iter().find(|operation| operation.fits(&segments))?.path.clone();
        let of_path = operations.iter().filter(|operation| operation.path == path);
        Some((path.to_string(), of_path.map(|operation| operation.access).collect()))
    }

    #[test]
    fn a_word_comes_before_a_parameter() {
        let open = Access::Open(Scope::Read);
        assert_eq!(found("/preset/shared"), Some(("/preset/shared/".to_owned(), vec![open])));
        let both = vec![open, Access::Needs(Scope::Manage)];
        assert_eq!(found("/preset/share"), Some(("/preset/{id}/".to_owned(), both)));
    }

    #[test]
    fn what_the_document_does_not_have_is_not_found() {
        for path in ["/", "/preset", "/preset/", "/preset//", "/preset/a/b", "/nothing", "preset/a"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
