//! One HTTP attempt: checks the address, sends, follows the few redirects that are safe, reads a bounded answer. Does
//! not judge the answer.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use url::{Position, Url};

use super::guard::{Allow, Blocked};
use super::kept::{Kept, Place};
use super::{SenderConfig, blocked, lasting, passing, timed_out, tls};
use crate::domain::address;
use crate::domain::delivery::{Answer, Request, SendFailure};

/// How long an idle connection is kept. The client looks after them this often, so some stay for twice as long.
const KEEP_IDLE: Duration = Duration::from_secs(60);

/// If time ran out so long ago without anybody noticing, the process stood still. So long it is then waited once more.
const PAUSED: Duration = Duration::from_secs(1);

/// Headers that say how the message is framed or routed: this side alone writes them.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) struct HttpSender {
    client: Client,
    /// Keeps no connection.
    passing: Client,
    kept: Arc<Kept>,
    config: Arc<SenderConfig>,
}

/// A request that has passed every check that needs no network.
#[derive(Clone)]
struct Prepared {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl HttpSender {
    pub(super) fn new(config: Arc<SenderConfig>) -> anyhow::Result<Self> {
        let mut tls = tls::client_config(&config.extra_roots)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = |idle_per_host| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(GuardedResolver(Arc::clone(&config)))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .no_proxy()
                .user_agent(&config.user_agent)
                .connect_timeout(config.connect_timeout)
                .pool_idle_timeout(KEEP_IDLE)
                .pool_max_idle_per_host(idle_per_host)
                .build()
                .context("the HTTP client cannot be built")
        };
        let kept = Arc::new(Kept::new(config.idle, 2 * KEEP_IDLE));
        Ok(Self { client: client(config.idle_per_host)?, passing: client(0)?, kept, config })
    }

    pub(super) async fn send(&self, request: Request) -> Result<Answer, SendFailure> {
        let deadline = Instant::now() + self.config.attempt_timeout;
        let prepared = prepare(request)?;
        let mut begun = None;
        // On the heap, or all of what an exchange is would be moved into the timeout.
        let mut exchange = Box::pin(async {
            let (response, _place) = self.final_response(prepared).await?;
            let answer = begun.insert(head(&response));
            read(response, self.config.max_answer, &mut answer.body).await?;
            Ok(mem::take(answer))
        });
        let mut ended = timeout_at(deadline, &mut exchange).await;
        if ended.is_err() && deadline.elapsed() > PAUSED {
            // This side was not there, as when the machine sleeps: the answer may be, and was not looked for yet.
            ended = timeout(PAUSED, &mut exchange).await;
        }
        drop(exchange);
        let ended = ended.unwrap_or_else(|_| Err(timed_out(self.config.attempt_timeout)));
        ended.map_err(|failure| {
            let status = begun.as_ref().map(|answer| answer.status);
            SendFailure { status, begun: begun.map(Box::new), ..failure }
        })
    }

    /// The first response that is not a redirect to follow. Only a GET follows any: repeating another method elsewhere
    /// could do something twice.
    async fn final_response(&self, mut request: Prepared) -> Result<(Response, Option<Place>), SendFailure> {
        if request.method != Method::GET {
            check_address(&self.config.allow, &request.url)?;
            return self.one_response(request).await;
        }
        let mut followed = 0;
        loop {
            check_address(&self.config.allow, &request.url)?;
            let (response, place) = self.one_response(request.clone()).await.map_err(|failure| match failure.code {
                "address_refused" if followed > 0 => redirect_refused("leads to an address that may not be reached"),
                _ => failure,
            })?;
            let Some(location) = redirect_target(&response) else {
                return Ok((response, place));
            };
            if followed == self.config.max_redirects {
                return Err(lasting("too_many_redirects", format!("More than {followed} redirects.")));
            }
            let next = follow(&request.url, location, &self.config.allow).map_err(redirect_refused)?;
            request.url = next;
            followed += 1;
        }
    }

    /// With its place in the pool, if it has one.
    async fn one_response(&self, request: Prepared) -> Result<(Response, Option<Place>), SendFailure> {
        let Prepared { method, url, headers, body } = request;
        let place = self.kept.place(&origin(&url), std::time::Instant::now());
        let client = if place.is_some() { &self.client } else { &self.passing };
        // Left to itself the client says nothing of an empty body, and some servers insist (411).
        let says_none = body.is_empty() && !matches!(method, Method::GET | Method::HEAD);
        let mut builder = client.request(method, url).headers(headers);
        if says_none {
            builder = builder.header(CONTENT_LENGTH, 0);
        } else if !body.is_empty() {
            builder = builder.body(body);
        }
        match builder.send().await {
            Ok(response) => Ok((response, place)),
            Err(error) => {
                if let Some(place) = place.filter(|_| error.is_connect()) {
                    place.leave();
                }
                Err(explain(&error.without_url()))
            }
        }
    }
}

fn prepare(request: Request) -> Result<Prepared, SendFailure> {
    let method = Method::from_bytes(request.method.as_bytes()).ok().filter(|method| method != Method::CONNECT);
    let method = method.ok_or_else(|| invalid("its method is not valid"))?;
    let url = address::parse(&request.url).map_err(|_| invalid("its address is not valid"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("its address is neither http nor https"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("a header's name is not valid"))?;
        // Signers name these two among what they sign: a true value is passed over, because it is sent anyway.
        let known = match name.as_str() {
            "host" => Some(authority(&url)),
            "content-length" => Some(request.body.len().to_string()),
            own if OWN_HEADERS.contains(&own) => return Err(invalid("a header is among those that it may not set")),
            _ => None,
        };
        match known {
            Some(known) if known.eq_ignore_ascii_case(value.trim()) => {}
            Some(_) => return Err(invalid("its `host` or `content-length` contradicts it")),
            None => {
                headers.append(name, header_value(value)?);
            }
        }
    }
    Ok(Prepared { method, url, headers, body: request.body })
}

fn header_value(value: &str) -> Result<HeaderValue, SendFailure> {
    let value = HeaderValue::from_bytes(value.as_bytes());
    let mut value = value.map_err(|_| invalid("a header's value is not valid"))?;
    // Any of them may be a credential; this keeps them out of logs and of HTTP/2's header table.
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(what: &str) -> SendFailure {
    lasting("request_invalid", format!("The request cannot be sent: {what}."))
}

/// The host, with the port unless it is the scheme's own.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What the client's pool tells connections apart by.
fn origin(url: &Url) -> Cow<'_, str> {
    match (url.username(), url.password()) {
        ("", None) => Cow::Borrowed(&url[..Position::BeforePath]),
        _ => Cow::Owned(format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::BeforePath])),
    }
}

fn check_address(allow: &Allow, url: &Url) -> Result<(), SendFailure> {
    let host = url.host().ok_or_else(|| lasting("request_invalid", "The address names no host."))?;
    allow.check_literal(&host).map_err(blocked)
}

/// Where a response sends a GET on to.
fn redirect_target(response: &Response) -> Option<&HeaderValue> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&response.status()) {
        return None;
    }
    response.headers().get(LOCATION)
}

/// The next address, if going there is safe: the same host and port, or the same host over https instead of http.
/// Everything else would carry the request's credentials to somebody they were not meant for.
fn follow(from: &Url, location: &HeaderValue, allow: &Allow) -> Result<Url, &'static str> {
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| "names no address")?;
    let mut next = from.join(location).map_err(|_| "names no address")?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err("leaves http");
    }
    if check_address(allow, &next).is_err() {
        return Err("leads to an address that may not be reached");
    }
    if next.host() != from.host() {
        return Err("leads to another host");
    }
    let upgrade = from.scheme() == "http" && next.scheme() == "https";
    if next.scheme() != from.scheme() && !upgrade {
        return Err("gives up the secure connection");
    }
    if next.port_or_known_default() != from.port_or_known_default() && !upgrade {
        return Err("leads to another port");
    }
    // The credentials in an address are the sender's to choose, not the answer's.
    let kept = next.set_username(from.username()).and_then(|()| next.set_password(from.password()));
    kept.map_err(|()| "names no address")?;
    Ok(next)
}

fn redirect_refused(why: &str) -> SendFailure {
    lasting("redirect_refused", format!("The host answered with a redirect that {why}."))
}

/// The answer before its body.
fn head(response: &Response) -> Answer {
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Answer { status: response.status().as_u16(), headers, body: Vec::new() }
}

/// Reads up to `limit` bytes of the body. A longer one is cut there and the rest is never fetched: the status still
/// counts, and a rule that needs the whole body sees it cut.
async fn read(mut response: Response, limit: usize, body: &mut Vec<u8>) -> Result<(), SendFailure> {
    while body.len() < limit {
        match response.chunk().await.map_err(|error| explain(&error.without_url()))? {
            Some(chunk) => body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]),
            None => break,
        }
    }
    Ok(())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Says why there is no response, in words that hold nothing of the request.
fn explain(error: &reqwest::Error) -> SendFailure {
    if let Some(reason) = tls::find::<Blocked>(error) {
        blocked(*reason)
    } else if let Some(failure) = tls::failure(error) {
        failure
    } else if error.is_timeout() {
        passing("timeout", "The host did not accept a connection in time.")
    } else if error.is_dns() {
        passing("dns_failed", "The host's name could not be resolved.")
    } else if error.is_connect() {
        passing("connect_failed", "No connection to the host could be made.")
    } else if error.is_builder() {
        lasting("request_invalid", "The request cannot be sent.")
    } else {
        passing("connection_lost", "The connection ended before the answer was complete.")
    }
}

/// Resolves names to addresses that may be reached, and nothing else.
struct GuardedResolver(Arc<SenderConfig>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let config = Arc::clone(&self.0);
        Box::pin(async move {
            // Port 0 stands for the port of the address asked for.
            let found = config.allow.addresses(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
