//! The only place that talks to the outside: takes a finished request or mail, makes one attempt and hands back the
//! answer or why there is none. Decides nothing about success or about trying again later.

pub mod guard;
mod headers;
mod http;
mod kept;
mod mail;
mod recipients;
mod relays;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::delivery::{Answer, Outgoing, Request, SendFailure};

/// The limits that every attempt keeps to. It may hold a relay's password, so it has no `Debug`.
#[derive(Clone)]
pub struct SenderConfig {
    /// What may be reached although it is private.
    pub allow: guard::Allow,
    /// For name resolution, TCP and (of requests) TLS together.
    pub connect_timeout: Duration,
    /// For one attempt from its start, with redirects, to the last byte of the answer.
    pub attempt_timeout: Duration,
    /// Bytes of an answer's body that are kept; no more are read.
    pub max_answer: usize,
    /// How many redirects a GET follows.
    pub max_redirects: usize,
    /// Idle connections that are kept for each host: as many as there may be attempts to it, or the others would be
    /// opened anew time and again.
    pub idle_per_host: usize,
    /// Connections that are kept for all hosts together.
    pub idle: usize,
    /// Sent unless the request brings its own.
    pub user_agent: String,
    /// Connections to one relay at a time; a mail past that waits, within its attempt.
    pub mail_connections: usize,
    /// Hosts that the operator's own settings name, and that requests of the server itself may therefore reach at any
    /// address. Deliveries may not.
    pub own_hosts: guard::Allow,
    /// Certificates (DER) to trust besides the built-in roots, such as those of a house's own authority.
    pub extra_roots: Vec<Vec<u8>>,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            allow: guard::Allow::default(),
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(15),
            max_answer: 64 * 1024,
            max_redirects: 3,
            idle_per_host: 32,
            idle: 256,
            user_agent: concat!("Fanfare/", env!("CARGO_PKG_VERSION")).to_owned(),
            mail_connections: 4,
            own_hosts: guard::Allow::default(),
            extra_roots: Vec::new(),
        }
    }
}

/// Sends requests and mails, over connections that it keeps for the next ones. Meant to be shared.
pub struct Sender {
    http: http::HttpSender,
    operators: http::HttpSender,
    mail: mail::MailSender,
}

impl Sender {
    /// Opens nothing yet.
    ///
    /// # Errors
    ///
    /// A certificate among `extra_roots` cannot be read, or the user agent is no header value.
    pub fn new(config: SenderConfig) -> anyhow::Result<Sender> {
        tls::install_provider();
        let own = SenderConfig { allow: config.own_hosts.clone(), ..config.clone() };
        let operators = http::HttpSender::new(Arc::new(own))?;
        let config = Arc::new(config);
        Ok(Sender {
            http: http::HttpSender::new(Arc::clone(&config))?,
            operators,
            mail: mail::MailSender::new(config)?,
        })
    }

    /// Makes one attempt. What it needs for a mail is kept apart: it is large, and most attempts are requests.
    ///
    /// # Errors
    ///
    /// No answer came, or the relay refused the mail. An HTTP answer of any status is an `Answer`.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, SendFailure> {
        match outgoing {
            Outgoing::Http(request) => self.http.send(request).await,
            Outgoing::Mail(mail) => Box::pin(self.mail.send(&mail)).await,
        }
    }

    /// Makes a request of the server itself, to a host that the operator named; nothing of it is an account's to choose.
    ///
    /// # Errors
    ///
    /// No answer came.
    pub async fn ask_operators(&self, request: Request) -> Result<Answer, SendFailure> {
        self.operators.send(request).await
    }
}

/// A failure that another attempt may get past.
fn passing(code: &'static str, message: impl Into<String>) -> SendFailure {
    SendFailure { code, message: message.into(), retry: true, status: None, begun: None, reached: Vec::new() }
}

/// A failure that every attempt would meet.
fn lasting(code: &'static str, message: impl Into<String>) -> SendFailure {
    SendFailure { code, message: message.into(), retry: false, status: None, begun: None, reached: Vec::new() }
}

fn timed_out(limit: Duration) -> SendFailure {
    passing("timeout", format!("The answer was not complete after {} seconds.", limit.as_secs_f32()))
}

fn blocked(reason: guard::Blocked) -> SendFailure {
    match reason {
        guard::Blocked::NotFound => passing("dns_failed", "The host's name has no address."),
        guard::Blocked::Refused => {
            lasting("address_refused", "The host is at an address that deliveries may not reach.")
        }
    }
}
