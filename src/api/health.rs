//! For those who operate the server: is it alive, is it ready, what does it count. Outside the envelope and the
//! document, because probes and scrapers have formats of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use poem::http::StatusCode;
use poem::web::Data;
use poem::{Endpoint, IntoResponse, Request, Response, handler};

use crate::flow::Engine;
use crate::metrics;

/// Alive: the process answers.
#[handler]
pub fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: the database answers and the workers run.
#[handler]
pub async fn readyz(engine: Data<&Arc<Engine>>) -> Response {
    let lacking = if !engine.working.load(Ordering::SeqCst) {
        "the workers do not run\n"
    } else if !engine.store.is_alive().await {
        "the database does not answer\n"
    } else {
        return "ready\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, lacking).into_response()
}

/// What is counted, in the text format of Prometheus.
#[handler]
pub async fn scrape(engine: Data<&Arc<Engine>>) -> Response {
    if let Ok(mut tx) = engine.store.read().await
        && let Ok(counts) = tx.count_tasks().await
    {
        engine.metrics.set_tasks(counts.waiting, counts.running);
    }
    Response::builder().content_type(metrics::CONTENT_TYPE).body(engine.metrics.encode())
}

/// The document of the API, for programs.
pub struct OpenApiJson(pub Arc<str>);

impl Endpoint for OpenApiJson {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        Ok(Response::builder().content_type("application/json").body(self.0.to_string()))
    }
}
