//! An HTTP server on loopback that records every request and plays a script of answers.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;

/// What the sink does with one request.
#[derive(Debug, Clone)]
pub enum Play {
    /// Answers.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// Never answers.
    Hang,
    /// Answers with a status and then sends a byte of the body every few milliseconds, without end.
    Trickle(u16),
    /// Answers 200 with a gibibyte.
    Huge,
    /// Answers 302 to this address.
    Redirect(String),
    /// Hangs up instead of answering.
    CloseEarly,
    /// Answers with a status, promises more than it sends, and hangs up.
    CloseInBody(u16),
    /// Does the other after a while.
    After(Duration, Box<Play>),
}

impl Play {
    /// An answer with an empty JSON object.
    pub fn status(status: u16) -> Self {
        Self::json(status, "{}")
    }

    /// An answer with this JSON.
    pub fn json(status: u16, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self::Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self::After(wait, Box::new(self))
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    /// Path and query, not decoded.
    pub target: String,
    /// Names in lower case, in the order they came in.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Recorded {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

#[derive(Default)]
struct State {
    script: Mutex<VecDeque<Play>>,
    cycle: Mutex<VecDeque<Play>>,
    requests: Mutex<Vec<Recorded>>,
    taken: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    arrived: Notify,
}

impl State {
    fn next_play(&self) -> Play {
        if let Some(play) = self.script.lock().expect("no panic while locked").pop_front() {
            return play;
        }
        let mut cycle = self.cycle.lock().expect("no panic while locked");
        let Some(play) = cycle.pop_front() else { return Play::status(200) };
        cycle.push_back(play.clone());
        play
    }
}

/// The server; it ends with the test.
pub struct HttpSink {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
}

impl HttpSink {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// The same with TLS; `url` then names `localhost`.
    pub async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::listen(Some(acceptor)).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        Self { address, scheme, state }
    }

    /// The address without a path: `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Adds to what the next requests meet; after the script every request gets 200 and `{}`.
    pub fn script(&self, plays: Vec<Play>) {
        self.state.script.lock().expect("no panic while locked").extend(plays);
    }

    /// What requests meet after the script, again and again in turn.
    pub fn cycle(&self, plays: Vec<Play>) {
        *self.state.cycle.lock().expect("no panic while locked") = plays.into();
    }

    /// All that has arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().expect("no panic while locked").clone()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many are open now.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// The next request that `next` has not returned yet.
    pub async fn next(&self) -> Recorded {
        let index = self.state.taken.fetch_add(1, Ordering::SeqCst);
        self.expect(index + 1).await.swap_remove(index)
    }

    /// The one request that has arrived.
    pub fn only_request(&self) -> Recorded {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "expected one request, got {requests:#?}");
        requests.remove(0)
    }

    /// Waits until so many requests have arrived; hands back all of them.
    pub async fn expect(&self, count: usize) -> Vec<Recorded> {
        let enough = async {
            loop {
                let arrived = self.state.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                let requests = self.requests();
                if requests.len() >= count {
                    return requests;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(PATIENCE, enough).await {
            Ok(requests) => requests,
            Err(_) => panic!("expected {count} requests, got only {:#?}", self.requests()),
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        state.connections.fetch_add(1, Ordering::SeqCst);
        state.open.fetch_add(1, Ordering::SeqCst);
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that hangs up is the client's business.
            let _ = match tls {
                None => serve(stream, &state).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &state).await,
                    Err(error) => Err(error),
                },
            };
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        state.requests.lock().expect("no panic while locked").push(request);
        let play = state.next_play();
        state.arrived.notify_waiters();
        if !perform(play, &mut stream).await? {
            break;
        }
    }
    Ok(())
}

async fn read_request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<Recorded>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line);
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Ok(0), |(_, value)| value.parse()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Recorded { method, target, headers, body, at: Instant::now() }))
}

/// Whether the connection stays open.
async fn perform(play: Play, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
    match play {
        Play::Answer { status, headers, body } => answer(stream, status, &headers, &body).await?,
        Play::Redirect(to) => answer(stream, 302, &[("location".to_owned(), to)], b"").await?,
        Play::Hang => std::future::pending().await,
        Play::Trickle(status) => {
            head(stream, status, &[], 1 << 20).await?;
            loop {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Play::Huge => {
            head(stream, 200, &[], 1 << 30).await?;
            for _ in 0..1 << 14 {
                stream.write_all(&[b'x'; 1 << 16]).await?;
            }
        }
        Play::CloseEarly => return Ok(false),
        Play::CloseInBody(status) => {
            head(stream, status, &[], 100).await?;
            stream.write_all(b"half").await?;
            stream.flush().await?;
            return Ok(false);
        }
        Play::After(wait, then) => {
            tokio::time::sleep(wait).await;
            return Box::pin(perform(*then, stream)).await;
        }
    }
    Ok(true)
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    head(stream, status, headers, body.len()).await?;
    // These two have none by definition.
    let body = if matches!(status, 204 | 304) { b"" } else { body };
    stream.write_all(body).await?;
    stream.flush().await
}

async fn head(
    stream: &mut (impl AsyncWrite + Unpin),
    status: u16,
    headers: &[(String, String)],
    length: usize,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if status != 204 && status != 304 {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await
}
