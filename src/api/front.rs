//! The short way for the main job: a plain push is answered here, before the router and the layers that serve the
//! other operations. It does what the documented operations of `push.rs` do, through the same functions, at a fraction
//! of the cost; whatever is not plainly a push goes the ordinary way.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, PathPattern, Request, Response, Result};
use serde::Serialize;

use super::body::{NoBody, PushBody};
use super::envelope::{ApiError, enveloped};
use super::idempotency::mark_replayed;
use super::push::take;
use crate::flow::Engine;

/// The short way in front of the routes.
pub struct Front<E> {
    engine: Arc<Engine>,
    routes: E,
    /// The patterns of the two paths, as the router would tell them to whoever logs.
    patterns: [Arc<str>; 2],
}

impl<E> Front<E> {
    /// Puts the short way in front of routes.
    pub fn new(engine: Arc<Engine>, routes: E) -> Self {
        Self { engine, routes, patterns: ["/push/:pusher_id".into(), "/push/:pusher_id/:content".into()] }
    }

    async fn push(&self, mut request: Request, target: Push) -> Result<Response> {
        let mut body = poem::RequestBody::new(request.take_body());
        let body = match *request.method() {
            Method::POST => PushBody::read(&request, &mut body).await?,
            _ => NoBody::read(&mut body).await.map(|NoBody| PushBody::Empty)?,
        };
        let pattern = usize::from(target.content.is_some());
        let pushed = take(&self.engine, &request, &target.pusher, target.content, body).await;
        let pushed = pushed.map_err(poem::Error::from)?;
        let mut response = answer(&pushed.data);
        if pushed.replayed {
            mark_replayed(&mut response);
        }
        response.set_data(PathPattern(self.patterns[pattern].clone()));
        Ok(response)
    }
}

impl<E: Endpoint> Endpoint for Front<E>
where
    E::Output: Into<Response>,
{
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let plain = matches!(*request.method(), Method::GET | Method::POST);
        match plain.then(|| Push::of_path(request.uri().path())).flatten() {
            // Boxed: what surrounds this call then moves a pointer about and not kilobytes of state.
            Some(target) => Box::pin(self.push(request, target)).await,
            None => Box::pin(self.routes.call(request)).await.map(Into::into),
        }
    }
}

/// What the path of a push says.
#[derive(Debug, PartialEq, Eq)]
struct Push {
    pusher: String,
    content: Option<String>,
}

impl Push {
    /// Reads `/push/ID` and `/push/ID/CONTENT`; each segment is decoded once. Nothing if it is another path, or one
    /// that the router must refuse.
    fn of_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/push/")?;
        let (pusher, content) = match rest.split_once('/') {
            Some((pusher, content)) => (pusher, Some(content)),
            None => (rest, None),
        };
        let decode = |segment: &str| {
            let plain = !segment.is_empty() && !segment.contains('/');
            plain.then(|| percent_decode_str(segment).decode_utf8().ok()).flatten().map(std::borrow::Cow::into_owned)
        };
        let content = match content {
            Some(content) => Some(decode(content)?),
            None => None,
        };
        Some(Self { pusher: decode(pusher)?, content })
    }
}

fn answer<T: Serialize>(data: &T) -> Response {
    match serde_json::to_vec(&enveloped(data)) {
        Ok(body) => {
            Response::builder().status(StatusCode::OK).content_type("application/json; charset=utf-8").body(body)
        }
        Err(error) => poem::IntoResponse::into_response(ApiError::broken(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(pusher: &str, content: Option<&str>) -> Option<Push> {
        Some(Push { pusher: pusher.to_owned(), content: content.map(str::to_owned) })
    }

    #[test]
    fn the_path_of_a_push_is_decoded_once() {
        assert_eq!(Push::of_path("/push/p1"), push("p1", None));
        assert_eq!(Push::of_path("/push/p1/disk%20full"), push("p1", Some("disk full")));
        assert_eq!(Push::of_path("/push/p1/a%2Fb%252F%E4%BD%A0+.."), push("p1", Some("a/b%2F你+..")));
    }

    #[test]
    fn anything_else_goes_the_ordinary_way() {
        for path in ["/push", "/push/", "/push/p1/a/b", "/push//a", "/push/p1/%ff", "/task/p1", "/pusher/p1"] {
            assert_eq!(Push::of_path(path), None, "{path}");
        }
    }
}
