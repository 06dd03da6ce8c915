//! Puts a mail together: the relay, the people, the subject and the parts. How it is encoded is the sender's business.

use std::net::Ipv6Addr;

use serde_json::Value;
use url::Host;

use super::RenderError;
use super::helpers::as_text;
use super::leaf::{Scope, Slot};
use super::render::clean;
use crate::domain::delivery::{Mail, MailSecurity, Relay};
use crate::domain::mailbox::{ascii_host, host, is_mailbox};

/// A compiled `[mail]`.
#[derive(Debug, Clone)]
pub struct MailTemplate {
    pub host: Slot,
    pub port: Slot,
    pub security: Slot,
    pub username: Slot,
    pub password: Slot,
    pub from: Slot,
    pub from_name: Slot,
    pub to: Slot,
    pub cc: Slot,
    pub bcc: Slot,
    pub reply_to: Slot,
    pub subject: Slot,
    pub text: Slot,
    pub html: Slot,
}

impl MailTemplate {
    /// `host:port` of the relay, in lower case.
    pub fn destination(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let (host, port) = self.address(scope)?;
        Ok(format!("{host}:{port}"))
    }

    /// The same with how the relay is spoken to: a password must not go out in clear because somebody asks for it.
    pub fn place(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        Ok(format!("{} {}", self.destination(scope)?, self.security.text(scope)?))
    }

    /// Whether the mail can be sent as far as addresses go: the sender's, those of the recipients, the one for answers.
    pub fn check_people(&self, scope: &Scope<'_>) -> Result<(), RenderError> {
        let sender = self.sender(scope)?;
        if !is_mailbox(&sender) {
            return Err(self.from.error(self.without_sender(scope)?));
        }
        if people(&self.to, scope)?.is_empty() {
            return Err(self.to.error("names nobody"));
        }
        for slot in [&self.to, &self.cc, &self.bcc, &self.reply_to] {
            if let Some(at) = people(slot, scope)?.iter().position(|person| !is_mailbox(person)) {
                return Err(slot.error(format!("entry {} is not a mail address", at + 1)));
            }
        }
        Ok(())
    }

    /// The finished mail. Whether its addresses are any is not looked at: in a preview they may be masked.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Mail, RenderError> {
        let relay = self.relay(scope)?;
        let from = self.sender(scope)?;
        let id = scope.env.delivery_id;
        let message_id = match host(&from).and_then(ascii_host) {
            Some(host) => format!("{id}@{host}"),
            None => id.to_owned(),
        };
        let html = self.html.text(scope)?;
        Ok(Mail {
            relay,
            from,
            to: people(&self.to, scope)?,
            cc: people(&self.cc, scope)?,
            bcc: people(&self.bcc, scope)?,
            reply_to: people(&self.reply_to, scope)?.into_iter().next(),
            subject: clean(&self.subject.text(scope)?).into_owned(),
            text: self.text.text(scope)?.into_owned(),
            html: (!html.is_empty()).then(|| html.into_owned()),
            message_id,
            reached: Vec::new(),
        })
    }

    /// The sender's address, with the name that is given for it.
    fn sender(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let address = self.from.text(scope)?;
        Ok(mailbox(&clean(&self.from_name.text(scope)?), &clean(&address)))
    }

    /// Why there is no sender, and what would give one.
    fn without_sender(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let missing = clean(&self.from.text(scope)?).is_empty();
        let what = if missing { "the sender is missing" } else { "the sender is not a mail address" };
        match self.from.made_of() {
            params if params.is_empty() => Ok(what.to_owned()),
            params => Ok(format!("{what}: give a mail address as {params}")),
        }
    }

    fn address(&self, scope: &Scope<'_>) -> Result<(String, u16), RenderError> {
        let host = self.host.text(scope)?;
        let host = relay_host(host.trim()).ok_or_else(|| self.host.error("is not the name or address of a host"))?;
        let port = self.port.text(scope)?.trim().parse().ok().filter(|port| *port > 0);
        Ok((host, port.ok_or_else(|| self.port.error("is not a port"))?))
    }

    fn relay(&self, scope: &Scope<'_>) -> Result<Relay, RenderError> {
        let (host, port) = self.address(scope)?;
        let security = match self.security.text(scope)?.as_ref() {
            "tls" => MailSecurity::Tls,
            "starttls" => MailSecurity::StartTls,
            "none" => MailSecurity::None,
            _ => return Err(self.security.error("is none of tls, starttls, none")),
        };
        let name = self.username.text(scope)?;
        let password = self.password.text(scope)?;
        let credentials = (!name.is_empty()).then(|| (name.into_owned(), password.into_owned()));
        Ok(Relay { host, port, security, credentials, own: false })
    }
}

/// A host as it is looked up: a name in lower case and ASCII, or an address, an IPv6 one with or without its brackets.
fn relay_host(given: &str) -> Option<String> {
    if let Ok(address) = given.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    Host::parse(given).ok().map(|host| host.to_string())
}

/// The addresses of a list, or of a text with commas between them. A comma in quotes does not part one address.
fn people(slot: &Slot, scope: &Scope<'_>) -> Result<Vec<String>, RenderError> {
    let value = slot.value(scope)?;
    let given: Vec<String> = match value.as_deref() {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().map(|item| as_text(item).into_owned()).collect(),
        Some(Value::String(text)) if is_mailbox(&clean(text)) => vec![text.clone()],
        Some(value) => as_text(value).split(',').map(str::to_owned).collect(),
    };
    Ok(given.iter().map(|person| clean(person).into_owned()).filter(|person| !person.is_empty()).collect())
}

/// `name <address>`, with the name in quotes if it needs them.
fn mailbox(name: &str, address: &str) -> String {
    if name.is_empty() || address.contains('<') {
        return address.to_owned();
    }
    if name.contains(|c: char| "()<>[]:;@\\,.\"".contains(c)) {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"{name}\" <{address}>");
    }
    format!("{name} <{address}>")
}
