//! One mail attempt: builds the message and hands it to its relay. Keeps no mail and repeats none.

use std::sync::Arc;

use anyhow::Context;
use lettre::address::Envelope;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::response::Response;
use lettre::{Address, Message};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use url::Host;

use super::relays::{Phase, Relays};
use super::{SenderConfig, headers, lasting, passing, timed_out, tls};
use crate::domain::delivery::{Answer, Mail, Relay, SendFailure};

/// Characters of a relay's reply that are told to people.
const REPLY_SHOWN: usize = 200;

pub(super) struct MailSender {
    relays: Relays,
    config: Arc<SenderConfig>,
}

/// What went wrong between this side and a relay.
pub(super) enum MailFault {
    Smtp(Phase, lettre::transport::smtp::Error),
    /// Some were refused, and others got the mail.
    Partly {
        refused: Vec<(Address, lettre::transport::smtp::Error)>,
        taken: Vec<Address>,
    },
    Told(SendFailure),
}

impl MailSender {
    pub(super) fn new(config: Arc<SenderConfig>) -> anyhow::Result<Self> {
        let relays = Relays::new(Arc::clone(&config)).context("the mail sender cannot be set up")?;
        Ok(Self { relays, config })
    }

    pub(super) async fn send(&self, mail: &Mail) -> Result<Answer, SendFailure> {
        let message = compose(mail)?;
        let formatted = headers::folded(message.formatted());
        let envelope = to_the_others(message.envelope(), mail);
        let attempt = self.relays.deliver(&mail.relay, &envelope, &formatted);
        match timeout(self.config.attempt_timeout, attempt).await {
            Err(_) => Err(timed_out(self.config.attempt_timeout)),
            Ok(Ok(response)) => Ok(answer(&response)),
            Ok(Err(MailFault::Told(failure))) => Err(failure),
            Ok(Err(MailFault::Smtp(phase, error))) => Err(explain(phase, &error, &mail.relay)),
            Ok(Err(MailFault::Partly { refused, taken })) => Err(partly(&refused, &taken, mail)),
        }
    }
}

fn answer(response: &Response) -> Answer {
    let text: Vec<&str> = response.message().collect();
    Answer { status: response.code().into(), headers: Vec::new(), body: text.join("\n").into_bytes() }
}

fn compose(mail: &Mail) -> Result<Message, SendFailure> {
    let from = mailbox(&mail.from, "sender")?;
    let id = message_id(&mail.message_id, from.email.domain())?;
    let mut builder = Message::builder().from(from).message_id(Some(id));
    let subject = one_line(&mail.subject);
    builder = match headers::in_encoded_words(&subject) {
        Some(encoded) => builder.raw_header(headers::subject(subject, encoded)),
        None => builder.subject(subject),
    };
    for to in &mail.to {
        builder = builder.to(mailbox(to, "recipient")?);
    }
    for cc in &mail.cc {
        builder = builder.cc(mailbox(cc, "copy recipient")?);
    }
    for bcc in &mail.bcc {
        builder = builder.bcc(mailbox(bcc, "blind copy recipient")?);
    }
    if let Some(reply_to) = &mail.reply_to {
        builder = builder.reply_to(mailbox(reply_to, "reply")?);
    }
    // The builder adds the date.
    let message = match &mail.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(lines(&mail.text), lines(html))),
        None => builder.singlepart(SinglePart::plain(lines(&mail.text))),
    };
    message.map_err(|_| lasting("request_invalid", "The mail has no recipient."))
}

fn mailbox(text: &str, what: &str) -> Result<Mailbox, SendFailure> {
    let invalid = || lasting("request_invalid", format!("The {what} address is not a mail address."));
    if text.chars().any(char::is_control) {
        return Err(invalid());
    }
    let mut mailbox: Mailbox = text.trim().parse().map_err(|_| invalid())?;
    // Any relay takes a domain of other letters in its ASCII spelling.
    if let Ok(Host::Domain(domain)) = Host::parse(mailbox.email.domain())
        && !mailbox.email.domain().is_ascii()
    {
        mailbox.email = Address::new(mailbox.email.user(), domain).map_err(|_| invalid())?;
    }
    Ok(mailbox)
}

/// The identifier in angle brackets; one without a domain gets the sender's.
fn message_id(id: &str, domain: &str) -> Result<String, SendFailure> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>');
    if id.is_empty() || !id.chars().all(plain) {
        return Err(lasting("request_invalid", "The mail's identifier is not valid."));
    }
    Ok(if id.contains('@') { format!("<{id}>") } else { format!("<{id}@{domain}>") })
}

/// A text whose lines end alike: a carriage return by itself must not stand in a mail (RFC 5321, 2.3.8), and what one
/// relay takes for the end of a line the next does not.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// A header is one line: what would end it becomes a space.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Says why the relay has not taken the mail.
fn explain(phase: Phase, error: &lettre::transport::smtp::Error, relay: &Relay) -> SendFailure {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        return SendFailure { status: Some(code), ..refusal(phase, code, error, relay) };
    }
    if let Some(failure) = tls::failure(error) {
        return failure;
    }
    if error.is_timeout() {
        return passing("timeout", "The relay did not accept a connection in time.");
    }
    match phase {
        Phase::Login if error.is_client() => {
            lasting("relay_auth_failed", "The relay offers no way to log in that this server knows.")
        }
        Phase::Transfer if error.is_client() => {
            lasting("request_invalid", "The relay does not take addresses outside of ASCII.")
        }
        Phase::Connect if !error.is_response() => {
            passing("connect_failed", "No connection to the relay could be made.")
        }
        _ => passing("connection_lost", "The connection to the relay ended before it answered."),
    }
}

fn refusal(phase: Phase, code: u16, error: &lettre::transport::smtp::Error, relay: &Relay) -> SendFailure {
    if matches!(code, 530 | 534 | 535) || (phase == Phase::Login && code >= 500) {
        // The reply is left out: it answers the name and the password.
        return lasting("relay_auth_failed", format!("The relay refused the login ({code})."));
    }
    let reply = reply_text(error, relay);
    if code < 500 {
        passing("relay_unavailable", format!("The relay cannot take the mail now ({code}): {reply}"))
    } else {
        lasting("relay_refused", format!("The relay refused the mail ({code}): {reply}"))
    }
}

/// Whom an envelope leads to but for those who have the mail; to all, should they be all.
fn to_the_others(envelope: &Envelope, mail: &Mail) -> Envelope {
    let is_reached = |address: &&Address| mail.reached.contains(&mark(address, mail));
    let others = envelope.to().iter().filter(|address| !is_reached(address)).cloned();
    Envelope::new(envelope.from().cloned(), others.collect()).unwrap_or_else(|_| envelope.clone())
}

/// What an address is known by in the log of a task, where it does not stand itself.
fn mark(address: &Address, mail: &Mail) -> String {
    let digest = Sha256::digest(format!("{}\n{address}", mail.message_id));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The failure of a mail that not all of its recipients got. It passes if that of one does.
fn partly(refused: &[(Address, lettre::transport::smtp::Error)], taken: &[Address], mail: &Mail) -> SendFailure {
    let each = refused.iter().map(|(address, error)| format!("{address} ({})", reply_text(error, &mail.relay)));
    let each = each.collect::<Vec<_>>().join(", ");
    let message = match taken.len() {
        0 => format!("The relay refused {each}."),
        others => format!("The relay refused {each}; it took the mail for the other {others}."),
    };
    let passes = refused.iter().find(|(_, error)| error.is_transient());
    let failure =
        if passes.is_some() { passing("relay_unavailable", message) } else { lasting("relay_refused", message) };
    let status = passes.or(refused.first()).and_then(|(_, error)| error.status()).map(u16::from);
    SendFailure { status, reached: taken.iter().map(|address| mark(address, mail)).collect(), ..failure }
}

/// What the relay said, on one line, cut, without the password.
fn reply_text(error: &lettre::transport::smtp::Error, relay: &Relay) -> String {
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let said = match &relay.credentials {
        Some((_, password)) if !password.is_empty() => said.replace(password.as_str(), "****"),
        _ => said,
    };
    one_line(said.trim()).chars().take(REPLY_SHOWN).collect()
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
