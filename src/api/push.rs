//! The main job over HTTP: one call becomes messages.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use super::Tag;
use super::auth::{Auth, admit, in_headers, in_params};
use super::body::{NoBody, PushBody, query};
use super::envelope::ApiError;
use super::idempotency::{Answered, key};
use crate::domain::id::PusherId;
use crate::domain::params::Params;
use crate::domain::resolve::Call;
use crate::domain::scope::Scope;
use crate::flow::Engine;
use crate::flow::push::{Accepted, push};

/// A push that was accepted: its tasks are safe, whatever happens to the server now.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Push")]
pub struct PushView {
    /// The push's id.
    pub push_id: String,
    /// The only task's id; null if there are several.
    pub task_id: Option<String>,
    /// One task for a Service or Preset, one a member for a Group.
    pub tasks: Vec<PushedTask>,
    /// Names given that no Service in the push takes: often a typing mistake.
    pub ignored: Vec<String>,
}

/// A task of a push.
#[derive(Debug, Object, Serialize)]
pub struct PushedTask {
    pub task_id: String,
    /// The member's name in a Group.
    pub name: Option<String>,
    /// The Pusher that was called.
    pub pusher_id: String,
    /// `waiting`, or `held` behind another step of a `fallback` Group.
    pub state: String,
    /// When it is due, RFC 3339 in UTC.
    pub run_at: String,
}

impl PushView {
    fn new(accepted: Accepted, pusher: &PusherId) -> Self {
        let single = match accepted.tasks.as_slice() {
            [task] => Some(task.task_id.to_string()),
            _ => None,
        };
        let tasks = accepted.tasks.into_iter().map(|task| PushedTask {
            task_id: task.task_id.to_string(),
            name: task.name,
            pusher_id: pusher.to_string(),
            state: task.state.as_str().to_owned(),
            run_at: task.run_at.rfc3339(),
        });
        Self {
            push_id: accepted.push_id.to_string(),
            task_id: single,
            tasks: tasks.collect(),
            ignored: accepted.ignored,
        }
    }
}

/// Accepts a push: the three layers of parameters, the token from wherever it was sent, and the idempotency key.
///
/// # Errors
/// As `flow::push::push`.
pub async fn take(
    engine: &Engine,
    request: &Request,
    pusher: &str,
    content: Option<String>,
    body: PushBody,
) -> Result<Answered<PushView>, ApiError> {
    let key = key(request)?;
    let call = call(content, body, query(request)?);
    let token = in_headers(request).or_else(|| in_params(&call.body)).or_else(|| in_params(&call.query));
    let caller = match token {
        Some(token) => {
            // Nor is the token looked up in a database that is known not to answer.
            engine.store.takes_pushes()?;
            Some(admit(engine, request, token, Scope::Push).await?)
        }
        None => None,
    };
    let pusher = PusherId::new(pusher);
    let accepted = push(engine, caller.as_ref(), &pusher, &call, key.as_ref()).await?;
    Ok(Answered { replayed: accepted.replayed, data: PushView::new(accepted, &pusher) })
}

/// The layers of a call.
pub fn call(content: Option<String>, body: PushBody, query: Params) -> Call {
    let (body, body_text) = match body {
        PushBody::Empty => (Params::new(), None),
        PushBody::Params(params) => (params, None),
        PushBody::Text(text) => (Params::new(), Some(text)),
    };
    Call { body, body_text, content, query }
}

/// The push operations.
pub struct PushApi;

#[OpenApi(tag = "Tag::Push")]
impl PushApi {
    /// Push with parameters in the query
    ///
    /// Any query parameter is a parameter of the Pusher; `delay` and `at` schedule, names that begin with `_` fill
    /// placeholders. The tasks are durable when the answer comes.
    #[oai(path = "/push/:pusher_id", method = "get", operation_id = "pushGet")]
    async fn push_get(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        /// The id of a Service, Preset or Group.
        pusher_id: Path<String>,
        _body: NoBody,
        _auth: Auth,
    ) -> Result<Answered<PushView>, ApiError> {
        take(&engine, request, &pusher_id.0, None, PushBody::Empty).await
    }

    /// Push with content in the path
    ///
    /// `content` stands for the parameter that the Pusher's `redefine_content` names, else for `content`. A Group without one
    /// deals it to all members as it is, past its `param_map`, and each member's own chain says what it stands for. A slash in
    /// it is written `%2F`.
    #[oai(path = "/push/:pusher_id/:content", method = "get", operation_id = "pushContentGet")]
    async fn push_content_get(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        /// The id of a Service, Preset or Group.
        pusher_id: Path<String>,
        /// One percent-encoded segment.
        content: Path<String>,
        _body: NoBody,
        _auth: Auth,
    ) -> Result<Answered<PushView>, ApiError> {
        take(&engine, request, &pusher_id.0, Some(content.0), PushBody::Empty).await
    }

    /// Push with parameters in the body
    ///
    /// The body wins over the path's content, which wins over the query, which wins over what is predefined. At most 64
    /// names, in body and query together.
    #[oai(path = "/push/:pusher_id", method = "post", operation_id = "push")]
    async fn push_post(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        /// The id of a Service, Preset or Group.
        pusher_id: Path<String>,
        body: PushBody,
        _auth: Auth,
    ) -> Result<Answered<PushView>, ApiError> {
        take(&engine, request, &pusher_id.0, None, body).await
    }

    /// Push with content in the path and parameters in the body
    ///
    /// As the two other forms together.
    #[oai(path = "/push/:pusher_id/:content", method = "post", operation_id = "pushContent")]
    async fn push_content_post(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        /// The id of a Service, Preset or Group.
        pusher_id: Path<String>,
        /// One percent-encoded segment.
        content: Path<String>,
        body: PushBody,
        _auth: Auth,
    ) -> Result<Answered<PushView>, ApiError> {
        take(&engine, request, &pusher_id.0, Some(content.0), body).await
    }
}
