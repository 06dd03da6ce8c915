//! The HTTP side: the only place that knows status codes, and the only place that knows poem.

pub mod account;
pub mod address;
pub mod admission;
pub mod audit;
pub mod auth;
mod bare;
pub mod body;
pub mod closing;
pub mod codes;
pub mod connections;
pub mod docs;
pub mod document;
pub mod envelope;
mod examples;
pub mod fault;
pub mod form;
pub mod frame;
pub mod front;
#[cfg(test)]
mod fuzz_tests;
pub mod group;
pub mod health;
pub mod idempotency;
pub mod input;
pub mod invite;
mod malformed;
pub mod messages;
pub mod object;
pub mod origin;
pub mod own;
pub mod page;
pub mod preset;
pub mod push;
pub mod pusher;
pub mod revoke;
pub mod schemas;
pub mod scopes;
pub mod service;
pub mod session;
pub mod share;
pub mod task;
pub mod times;
pub mod token;
pub mod user;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, IntoEndpoint, Response, Route, get};
use poem_openapi::{OpenApi, OpenApiService, Tags};
use serde_json::Value;

use self::address::Gate;
use self::admission::Admission;
use self::closing::Closing;
use self::frame::{FrameOptions, Routes, frame};
use self::front::Front;
use crate::flow::Engine;

/// The parts of the API.
#[derive(Tags)]
pub enum Tag {
    /// Pushing, and taking pushes back.
    Push,
    /// What became of pushes.
    Task,
    /// Services, Presets and Groups alike.
    Pusher,
    /// Pushers with predefined parameters.
    Preset,
    /// Up to five Pushers under one id.
    Group,
    /// The channels.
    Service,
    /// Accounts and sessions.
    Account,
}

/// What a reader of the document must know before the first call.
const ABOUT: &str = "A push server: one HTTP call becomes messages on any channel.\n\n\
    Every path ends in `/`, and works without it. Bodies are JSON or a form, as `Content-Type` says, also where JSON alone is listed; in a form, lists and objects are written as JSON. Every answer is \
    `{success, code, message, data}`: `code` is `0` or a stable word that says what went wrong, `message` is for people \
    and follows `Accept-Language` (English, Chinese). A token from `POST /account/user/login/` goes into \
    `Authorization: Bearer`, into `X-Api-Key`, or into the parameter `_token`; so does an API token from \
    `POST /account/token/`, which may do what its scopes say: `push`, `read`, `manage`. A session may do everything. \
    `_token` stands in the query, and of a push or a preview, whose body is parameters, in the body as well: headers come \
    before the body, and that before the query. \
    `x-required-scope` tells which scope an operation needs. Times are RFC 3339 in UTC. Lists take `limit` and \
    `cursor`, and answer `next_cursor`, which is null on the last page. `X-Request-Id` is taken and given back.";

fn operations() -> OpenApiService<impl OpenApi + 'static, ()> {
    let all = (
        push::PushApi,
        revoke::RevokeApi,
        task::TaskApi,
        pusher::PusherApi,
        preset::PresetApi,
        group::GroupApi,
        share::ShareApi,
        service::ServiceApi,
        account::AccountApi,
        token::TokenApi,
        audit::AuditApi,
        session::SessionApi,
        invite::InviteApi,
        user::UserApi,
    );
    OpenApiService::new(all, "Fanfare", env!("CARGO_PKG_VERSION")).description(ABOUT)
}

/// The finished document of the API.
pub fn document() -> Value {
    // poem-openapi writes JSON; if it did not, the document test would fail.
    let mut document = document::finish(document::read(&operations().spec()).unwrap_or_default());
    schemas::add(&mut document);
    scopes::add(&mut document);
    examples::add(&mut document);
    document
}

/// The document as text, as it is committed.
pub fn document_text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that the server answers.
pub fn endpoint(
    engine: Arc<Engine>,
    body_limit: usize,
    gate: Gate,
    closing: Arc<Closing>,
) -> impl Endpoint<Output = Response> + 'static {
    let document = document();
    let (routes, metrics) = (Routes::of_document(&document), engine.metrics.clone());
    let options = FrameOptions { routes, body_limit, gate, metrics, closing };
    let text: Arc<str> = document.to_string().into();
    let routes = Route::new()
        .at("/healthz", get(health::healthz))
        .at("/readyz", get(health::readyz))
        .at("/metrics", get(health::scrape))
        .at("/openapi.json", get(health::OpenApiJson(text.clone())))
        .at("/docs", docs::page(text))
        .nest("/", Admission::new(engine.clone(), operations().into_endpoint(), &document))
        .data(engine.clone());
    frame(Front::new(engine, routes), options)
}
