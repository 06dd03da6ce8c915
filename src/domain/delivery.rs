//! What goes out and what comes back: requests, mails, answers and outcomes, as plain values.

use std::time::Duration;

/// A finished HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Upper case: `POST`.
    pub method: String,
    /// Absolute, already encoded.
    pub url: String,
    /// Names in lower case, values without line breaks.
    pub headers: Vec<(String, String)>,
    /// The body, as it goes on the wire; empty for none.
    pub body: Vec<u8>,
}

/// How the connection to a mail relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailSecurity {
    /// TLS from the first byte (port 465).
    Tls,
    /// STARTTLS, required (port 587).
    StartTls,
    /// Plain text (port 25).
    None,
}

/// The relay that a mail is handed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relay {
    pub host: String,
    pub port: u16,
    pub security: MailSecurity,
    /// Name and password, if the relay asks for them.
    pub credentials: Option<(String, String)>,
    /// The operator's, for the server's own mails: it may stand where nobody else's mails go. What a user writes never
    /// makes one.
    pub own: bool,
}

/// A finished mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub relay: Relay,
    /// Mail addresses, `name <user@host>` or `user@host`.
    pub from: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub bcc: Vec<String>,
    pub reply_to: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    /// Without angle brackets; the same at every attempt.
    pub message_id: String,
    /// Marks of the addresses that earlier attempts reached: they do not get it once more.
    pub reached: Vec<String>,
}

/// What a Service makes of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    Http(Request),
    Mail(Box<Mail>),
}

/// What a channel answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The HTTP status; for mail the last SMTP reply code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most 64 KiB.
    pub body: Vec<u8>,
}

/// Why no answer came, or not all of it, or why a relay did not take a mail. The Service's id is put before the code, or
/// before a word of its own for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// A stable word: `timeout`, `connect_failed`, `dns_failed`, `tls_failed`, `address_refused`, `redirect_refused`,
    /// `too_many_redirects`, `answer_too_large`, `connection_lost`, `request_invalid`, `relay_refused`,
    /// `relay_unavailable`, `relay_auth_failed`.
    pub code: &'static str,
    /// For people; holds no secret and no URL.
    pub message: String,
    /// Whether another attempt may go better.
    pub retry: bool,
    /// The status of a relay's reply, or of the answer that broke off.
    pub status: Option<u16>,
    /// What had come of an HTTP answer when it broke off.
    pub begun: Option<Box<Answer>>,
    /// Marks of the addresses that got the mail all the same.
    pub reached: Vec<String>,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Sent,
    /// It did not; another attempt may go better.
    Later {
        code: String,
        message: String,
        /// How long the channel asks to wait.
        after: Option<Duration>,
    },
    /// It did not, and will not.
    Never { code: String, message: String },
}
