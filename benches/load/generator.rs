//! Drives a server: connections that are kept alive, one request at a time on each, requests prepared beforehand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock::micros;
use crate::http::{Connection, request};

/// What stands before a push's number in its body.
const MARK: &[u8] = b"run #";
const DIGITS: usize = 9;
/// Threads that requests come from.
const THREADS: usize = 2;
/// Connections that a steady stream of pushes takes turns on.
const STEADY: usize = 8;

/// A push of about 150 bytes with a number in it.
pub fn body(number: u64) -> String {
    format!(
        "{{\"title\":\"Backup of host-17 failed\",\"content\":\"The disk is full: 98 percent used, 12 GiB left. The \
         nightly run #{number:0DIGITS$} has stopped, nothing is lost.\"}}"
    )
}

/// The number of the push that a body came from.
pub fn number_in(body: &[u8]) -> Option<u64> {
    let start = body.windows(MARK.len()).position(|part| part == MARK)? + MARK.len();
    std::str::from_utf8(body.get(start..start + DIGITS)?).ok()?.parse().ok()
}

/// A finished request whose number alone changes.
#[derive(Clone)]
pub struct Template {
    path: String,
    bytes: Vec<u8>,
    digits: usize,
}

impl Template {
    /// A push to this Pusher, due after so many seconds.
    pub fn new(pusher: &str, delay: Option<u32>) -> Self {
        let path = path(pusher, delay);
        let bytes = request(&path, None, &body(0));
        let digits = bytes.windows(MARK.len()).position(|part| part == MARK).unwrap_or_default() + MARK.len();
        Self { path, bytes, digits }
    }

    fn numbered(&mut self, mut number: u64) -> &[u8] {
        for digit in self.bytes[self.digits..self.digits + DIGITS].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        &self.bytes
    }
}

fn path(pusher: &str, delay: Option<u32>) -> String {
    match delay {
        Some(seconds) => format!("/push/{pusher}/?delay={seconds}"),
        None => format!("/push/{pusher}/"),
    }
}

/// Who drives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Costs next to nothing: finished requests, answers hardly looked at.
    Lean,
    /// The HTTP client library, used as programs do.
    Ordinary,
}

impl Client {
    /// How the table calls it, after the number of connections.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lean => "",
            Self::Ordinary => " of an ordinary client (reqwest)",
        }
    }
}

/// As much as servers take.
#[derive(Clone)]
pub struct Load {
    /// Connections are spread evenly over these.
    pub addresses: Vec<SocketAddr>,
    pub template: Template,
    pub connections: usize,
    pub client: Client,
    /// Before it counts.
    pub warm_up: Duration,
    /// While it counts.
    pub lasting: Duration,
    pub numbers: Arc<AtomicU64>,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    /// Answers of status 200, warming up included.
    pub accepted: u64,
    /// Other answers, and how many of them had status 429 and 503.
    pub refused: u64,
    pub limited: u64,
    pub busy: u64,
    /// Microseconds from request to answer of all these.
    pub refusals: Vec<u64>,
    /// Microseconds from request to answer of those that counted.
    pub took: Vec<u64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.limited += other.limited;
        self.busy += other.busy;
        self.refusals.extend(other.refusals);
        self.took.extend(other.took);
    }
}

impl Load {
    /// Drives until the time is over; what is under way then is waited for and does not count.
    pub async fn drive(&self) -> anyhow::Result<Tally> {
        let threads = if self.client == Client::Lean { THREADS.min(self.connections) } else { 1 };
        let mut parts = Vec::new();
        for thread in 0..threads {
            let share = (thread..self.connections).step_by(threads).collect();
            let (done, result) = oneshot::channel();
            let load = self.clone();
            std::thread::spawn(move || {
                // Whoever asked may have been interrupted.
                let _ = done.send(load.drive_here(share));
            });
            parts.push(result);
        }
        let mut tally = Tally::default();
        for part in parts {
            tally.add(part.await.context("a thread of the generator panicked")??);
        }
        Ok(tally)
    }

    /// Drives the connections of these numbers.
    fn drive_here(self, connections: Vec<usize>) -> anyhow::Result<Tally> {
        let runtime = match self.client {
            Client::Lean => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            Client::Ordinary => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        };
        runtime.block_on(async {
            let mut running = JoinSet::new();
            let library = library()?;
            for connection in connections {
                let address = *self.addresses.get(connection % self.addresses.len().max(1)).context("no server")?;
                match self.client {
                    Client::Lean => running.spawn(self.clone().drive_one(address)),
                    Client::Ordinary => running.spawn(self.clone().drive_by(library.clone(), address)),
                };
            }
            let mut tally = Tally::default();
            while let Some(part) = running.join_next().await {
                tally.add(part??);
            }
            Ok(tally)
        })
    }

    async fn drive_one(mut self, address: SocketAddr) -> anyhow::Result<Tally> {
        let mut connection = Connection::open(address).await.context("no connection to the server")?;
        let mut tally = Tally::default();
        let counts_from = Instant::now() + self.warm_up;
        let ends = counts_from + self.lasting;
        loop {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            let answer = connection.exchange(self.template.numbered(number)).await?;
            let answered = Instant::now();
            if answer.is_ok() {
                tally.accepted += 1;
                if began >= counts_from && answered <= ends {
                    tally.took.push(u64::try_from((answered - began).as_micros()).unwrap_or(u64::MAX));
                }
            } else {
                tally.refused += 1;
                tally.limited += u64::from(answer.status == b"429");
                tally.busy += u64::from(answer.status == b"503");
                tally.refusals.push(u64::try_from((answered - began).as_micros()).unwrap_or(u64::MAX));
            }
            if answered >= ends {
                return Ok(tally);
            }
        }
    }
}

impl Load {
    /// As `drive_one`, with the HTTP client library, which keeps connections as it sees fit.
    async fn drive_by(self, library: reqwest::Client, address: SocketAddr) -> anyhow::Result<Tally> {
        let url = format!("http://{address}{}", self.template.path);
        let mut tally = Tally::default();
        let counts_from = Instant::now() + self.warm_up;
        let ends = counts_from + self.lasting;
        loop {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            let request = library.post(&url).header("content-type", "application/json").body(body(number));
            let answer = request.send().await.map_err(|error| anyhow!("{error}"))?;
            let status = answer.status().as_u16();
            answer.bytes().await?;
            let answered = Instant::now();
            let took = u64::try_from((answered - began).as_micros()).unwrap_or(u64::MAX);
            if status == 200 {
                tally.accepted += 1;
                if began >= counts_from && answered <= ends {
                    tally.took.push(took);
                }
            } else {
                tally.refused += 1;
            }
            if answered >= ends {
                return Ok(tally);
            }
        }
    }
}

/// The HTTP client library as the server uses it: without a proxy, and without roots, because nothing here is encrypted.
pub fn library() -> anyhow::Result<reqwest::Client> {
    // Fails only if a provider is there already, which will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls.with_no_client_auth()).no_proxy().build()?)
}

/// A push of a steady stream.
pub struct Sent {
    pub number: u64,
    /// Microseconds since 1970.
    pub at: u64,
    pub took: u64,
    /// When the server says it is due, in microseconds since 1970.
    pub due: u64,
}

/// A steady stream of pushes, however long the answers take.
#[derive(Clone)]
pub struct Stream {
    pub address: SocketAddr,
    pub pusher: String,
    pub count: u64,
    pub every: Duration,
    /// The seconds by which a push is delayed, taken in turn.
    pub delays: Vec<u32>,
}

impl Stream {
    /// Sends them all.
    pub async fn send(self) -> anyhow::Result<Vec<Sent>> {
        let start = Instant::now() + Duration::from_millis(20);
        let mut running = JoinSet::new();
        for first in 0..STEADY {
            running.spawn(self.clone().send_some(first as u64, start));
        }
        let mut sent = Vec::new();
        while let Some(part) = running.join_next().await {
            sent.extend(part??);
        }
        Ok(sent)
    }

    async fn send_some(self, first: u64, start: Instant) -> anyhow::Result<Vec<Sent>> {
        let mut connection = Connection::open(self.address).await?;
        let mut sent = Vec::new();
        for number in (first..self.count).step_by(STEADY) {
            let scheduled = start + self.every * u32::try_from(number)?;
            let overdue = scheduled.elapsed();
            tokio::time::sleep_until(scheduled.into()).await;
            let delay = self.delays.get(usize::try_from(number)? % self.delays.len().max(1)).copied();
            let bytes = request(&path(&self.pusher, delay), None, &body(number));
            // One that had to wait for the answer before it counts from when it should have gone.
            let at = micros() - u64::try_from(overdue.as_micros())?;
            let answer = connection.exchange(&bytes).await?;
            anyhow::ensure!(answer.is_ok(), "refused: {}", String::from_utf8_lossy(answer.body));
            sent.push(Sent { number, at, took: micros() - at, due: due(answer.body)? });
        }
        Ok(sent)
    }
}

fn due(answer: &[u8]) -> anyhow::Result<u64> {
    let answer: serde_json::Value = serde_json::from_slice(answer)?;
    let text = answer["data"]["tasks"][0]["run_at"].as_str().context("an answer without `run_at`")?;
    Ok(u64::try_from(OffsetDateTime::parse(text, &Rfc3339)?.unix_timestamp_nanos() / 1000)?)
}
