//! Connections to mail relays: few at a time for each relay, kept open for the next mail, closed when idle.
//!
//! lettre's own pool does not bound how many it opens, and takes back a connection whose mail was given up half-way, so
//! that the next mail would read the answer to the one before. Here a connection goes back only after a mail that was
//! taken, and is dropped otherwise.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::mail::MailFault;
use super::{SenderConfig, blocked, lasting, passing, recipients};
use crate::domain::delivery::{MailSecurity, Relay};

/// Relays remembered at a time; the one that was used longest ago makes room.
const MAX_RELAYS: usize = 24;
/// A relay ends the connection, and has not taken the mail (RFC 5321, 3.8).
const GOOD_BYE: u16 = 421;
/// How long an idle connection is kept. Relays close theirs after minutes.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// How far a mail got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connect,
    Login,
    Transfer,
}

pub(super) struct Relays {
    config: Arc<SenderConfig>,
    roots: Vec<Certificate>,
    hello: ClientId,
    lanes: Mutex<HashMap<Relay, Arc<Lane>>>,
}

/// The connections to one relay.
struct Lane {
    permits: Semaphore,
    parked: Mutex<Parked>,
    used: Mutex<Instant>,
}

#[derive(Default)]
struct Parked {
    /// Each with the time it was put here.
    connections: Vec<(AsyncSmtpConnection, Instant)>,
    /// Whether a task looks after those that stay idle.
    watched: bool,
}

impl Relays {
    pub(super) fn new(config: Arc<SenderConfig>) -> Result<Self, Error> {
        let roots = config.extra_roots.iter().cloned().map(Certificate::from_der).collect::<Result<_, _>>()?;
        Ok(Self { config, roots, hello: ClientId::default(), lanes: Mutex::default() })
    }

    /// Hands a mail to its relay, after waiting for a free connection. Giving up half-way closes the connection. Should the
    /// relay refuse some of several recipients, the others get the mail all the same.
    pub(super) async fn deliver(&self, relay: &Relay, to: &Envelope, mail: &[u8]) -> Result<Response, MailFault> {
        let lane = self.lane(relay);
        let _permit = lane.permits.acquire().await.expect("nothing closes this semaphore");
        let mut parked = lane.take_alive(self.config.connect_timeout).await;
        let error = loop {
            let is_used = parked.is_some();
            let mut connection = match parked.take() {
                Some(connection) => connection,
                None => self.open(relay).await?,
            };
            match connection.send(to, mail).await {
                Ok(response) => {
                    lane.park(connection);
                    return Ok(response);
                }
                // Relays say good-bye after so many mails; a new connection is as good as the old one was.
                Err(error) if is_used && error.status().is_some_and(|code| u16::from(code) == GOOD_BYE) => {}
                Err(error) => break error,
            }
        };
        if error.status().is_some() && to.to().len() > 1 {
            let mut connection = self.open(relay).await?;
            if let Some(partly) = recipients::send_to_those_taken(&mut connection, to, mail).await? {
                lane.park(connection);
                return Err(partly);
            }
        }
        Err(MailFault::Smtp(Phase::Transfer, error))
    }

    fn lane(&self, relay: &Relay) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes.get(relay) {
            *lock(&lane.used) = Instant::now();
            return Arc::clone(lane);
        }
        if lanes.len() >= MAX_RELAYS {
            let oldest = lanes.iter().min_by_key(|(_, lane)| *lock(&lane.used)).map(|(relay, _)| relay.clone());
            oldest.and_then(|relay| lanes.remove(&relay));
        }
        let lane = Arc::new(Lane::new(self.config.mail_connections));
        lanes.insert(relay.clone(), Arc::clone(&lane));
        lane
    }

    /// Connects to an address that was checked, while TLS verifies the relay's name. Relays may take their time to
    /// greet, so the limit for connecting ends where the talk begins.
    async fn open(&self, relay: &Relay) -> Result<AsyncSmtpConnection, MailFault> {
        let connecting = |error| MailFault::Smtp(Phase::Connect, error);
        let limit = self.config.connect_timeout;
        let resolved = timeout(limit, self.addresses(relay)).await;
        let addresses = resolved.map_err(|_| unreachable(io::ErrorKind::TimedOut))??;
        // One address that swallows everything leaves time for the others.
        let each = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut connection = if relay.security == MailSecurity::Tls {
            let tls = Some(self.tls(relay).map_err(connecting)?);
            AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(each), &self.hello, tls, None).await
        } else {
            let stream = connect(&addresses, each).await.map_err(unreachable)?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await
        }
        .map_err(connecting)?;
        if relay.security == MailSecurity::StartTls {
            if !connection.can_starttls() {
                let told = passing("tls_failed", "The relay does not offer a secure connection (STARTTLS).");
                return Err(MailFault::Told(told));
            }
            connection.starttls(self.tls(relay).map_err(connecting)?, &self.hello).await.map_err(connecting)?;
        }
        if let Some((name, password)) = &relay.credentials {
            let credentials = Credentials::new(name.clone(), password.clone());
            let login = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            login.map_err(|error| MailFault::Smtp(Phase::Login, error))?;
        }
        Ok(connection)
    }

    async fn addresses(&self, relay: &Relay) -> Result<Vec<SocketAddr>, MailFault> {
        let host = bare_host(relay);
        if relay.own {
            let found = tokio::net::lookup_host((host, relay.port)).await;
            let found = found.map_err(|_| MailFault::Told(blocked(super::guard::Blocked::NotFound)))?;
            return Ok(found.collect());
        }
        if host.is_empty() {
            return Err(MailFault::Told(lasting("request_invalid", "The mail names no relay.")));
        }
        let found = self.config.allow.addresses(host, relay.port).await;
        found.map_err(|reason| MailFault::Told(blocked(reason)))
    }

    fn tls(&self, relay: &Relay) -> Result<TlsParameters, Error> {
        let host = bare_host(relay);
        let builder = TlsParameters::builder(host.to_owned());
        self.roots.iter().cloned().fold(builder, |builder, root| builder.add_root_certificate(root)).build()
    }
}

impl Lane {
    fn new(connections: usize) -> Self {
        Self { permits: Semaphore::new(connections.max(1)), parked: Mutex::default(), used: Mutex::new(Instant::now()) }
    }

    /// A parked connection that still answers. One whose relay has hung up, or does not answer in time, is dropped.
    async fn take_alive(&self, limit: Duration) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = lock(&self.parked).connections.pop()?;
            let fresh = since.elapsed() < KEEP_IDLE;
            if fresh && timeout(limit, connection.test_connected()).await == Ok(true) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next mail, and sees to it that it is closed if none comes.
    fn park(self: &Arc<Self>, connection: AsyncSmtpConnection) {
        let mut parked = lock(&self.parked);
        parked.connections.push((connection, Instant::now()));
        if !std::mem::replace(&mut parked.watched, true) {
            let lane = Arc::downgrade(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(KEEP_IDLE).await;
                    if lane.upgrade().is_none_or(|lane| !lane.close_idle()) {
                        return;
                    }
                }
            });
        }
    }

    /// Closes what has been idle too long; says whether anything is left to watch.
    fn close_idle(&self) -> bool {
        let mut parked = lock(&self.parked);
        parked.connections.retain(|(_, since)| since.elapsed() < KEEP_IDLE);
        parked.watched = !parked.connections.is_empty();
        parked.watched
    }
}

/// A connection to the first address that takes one, each tried for so long.
async fn connect(addresses: &[SocketAddr], each: Duration) -> Result<TcpStream, io::ErrorKind> {
    let mut failed = io::ErrorKind::NotFound;
    for address in addresses {
        let tried = timeout(each, TcpStream::connect(address)).await;
        match tried.map_err(|_| io::ErrorKind::TimedOut).and_then(|tried| tried.map_err(|error| error.kind())) {
            Ok(stream) => {
                // The end of a mail is a small write of its own: it shall not wait until the mail is acknowledged.
                stream.set_nodelay(true).map_err(|error| error.kind())?;
                return Ok(stream);
            }
            Err(kind) => failed = kind,
        }
    }
    Err(failed)
}

fn unreachable(kind: io::ErrorKind) -> MailFault {
    MailFault::Told(match kind {
        io::ErrorKind::TimedOut => passing("timeout", "The relay did not accept a connection in time."),
        _ => passing("connect_failed", "No connection to the relay could be made."),
    })
}

/// The host without the brackets that an IPv6 address may stand in.
fn bare_host(relay: &Relay) -> &str {
    relay.host.trim_start_matches('[').trim_end_matches(']')
}

/// Nothing that is locked here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
