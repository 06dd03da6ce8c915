//! Runs a definition's examples: each must become exactly what is written beside it.

use std::collections::BTreeMap;

use ::url::form_urlencoded;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::definition::{Example, ExampleMail, ExampleRequest};
use super::{DefinitionError, RenderEnv, Service};
use crate::domain::delivery::{Mail, MailSecurity, Outgoing, Relay, Request};
use crate::domain::time::Timestamp;

/// Fewest examples that a Service must have.
const MIN_EXAMPLES: usize = 2;
/// The time of an example that names none: 2023-11-14T22:13:20Z.
const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// The task's id in an example that names none.
const DELIVERY_ID: &str = "example";
/// The random bits of every example.
const RANDOM: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;

impl Service {
    /// Renders every example and compares it with what is written beside it.
    ///
    /// # Errors
    /// Each difference, with the line and the name of its example.
    pub fn check_examples(&self) -> Result<(), Vec<DefinitionError>> {
        let mut errors = Vec::new();
        let error = |line, reason| DefinitionError { path: self.path.clone(), line, reason };
        if self.examples.len() < MIN_EXAMPLES {
            let found = match self.examples.len() {
                1 => "1 example".to_owned(),
                count => format!("{count} examples"),
            };
            errors.push(error(None, format!("{found}, at least {MIN_EXAMPLES} are needed")));
        }
        for example in &self.examples {
            let mut differences = Vec::new();
            if let Err(reason) = self.check_example(example, &mut differences) {
                differences.push(reason);
            }
            let told = |text| error(example.line, format!("example {:?}: {text}", example.name));
            errors.extend(differences.into_iter().map(told));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn check_example(&self, example: &Example, differences: &mut Vec<String>) -> Result<(), String> {
        self.check_example_params(example, differences);
        let now = match &example.now {
            None => NOW,
            Some(text) => {
                let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "`now` is not RFC 3339".to_owned())?;
                let ms = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| "`now` is out of range")?;
                Timestamp(ms)
            }
        };
        let delivery_id = example.delivery_id.as_deref().unwrap_or(DELIVERY_ID);
        let env = RenderEnv { now, delivery_id, random: RANDOM };
        let checked = self.check(&example.params);
        let outgoing = checked.and_then(|()| self.render(&example.params, &env)).map_err(|error| error.to_string())?;
        match (outgoing, &example.request, &example.mail) {
            (Outgoing::Http(request), Some(expected), None) => compare_request(&request, expected, differences),
            (Outgoing::Mail(mail), None, Some(expected)) => compare_mail(&mail, expected, differences),
            (Outgoing::Http(_), ..) => return Err("needs [examples.request] and nothing else".into()),
            (Outgoing::Mail(_), ..) => return Err("needs [examples.mail] and nothing else".into()),
        }
        Ok(())
    }

    /// An example with a misspelt or missing parameter would prove nothing.
    fn check_example_params(&self, example: &Example, differences: &mut Vec<String>) {
        for name in example.params.keys() {
            if !self.spec.accepts_any && self.spec.param(name).is_none() {
                differences.push(format!("`{name}` is not a declared parameter"));
            }
        }
        for spec in self.spec.params.iter().filter(|spec| spec.required) {
            if !example.params.contains_key(&spec.name) {
                differences.push(format!("`{}` is required and not given", spec.name));
            }
        }
    }
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T, differences: &mut Vec<String>) {
    if found != expected {
        differences.push(format!("{what} is {found:?}, not {expected:?}"));
    }
}

fn compare_request(found: &Request, expected: &ExampleRequest, differences: &mut Vec<String>) {
    compare("method", &found.method, &expected.method, differences);
    compare("url", &found.url, &expected.url, differences);
    let headers: BTreeMap<_, _> = found.headers.iter().cloned().collect();
    compare("headers", &headers, &expected.headers, differences);
    let body = String::from_utf8_lossy(&found.body).into_owned();
    let given = [expected.json.is_some(), expected.form.is_some(), expected.text.is_some(), expected.body.is_some()];
    if given.into_iter().filter(|given| *given).count() > 1 {
        differences.push("more than one body is written".into());
    } else if let Some(json) = &expected.json {
        match serde_json::from_str::<Value>(&body) {
            Ok(value) if value == *json => {}
            _ => differences.push(format!("json is {body}, not {json}")),
        }
    } else if let Some(form) = &expected.form {
        let pairs: Vec<(String, Value)> = form_urlencoded::parse(&found.body)
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect();
        let wanted: Vec<(String, Value)> = form.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        compare("form", &sorted(pairs), &sorted(wanted), differences);
    } else {
        let wanted = expected.text.as_ref().or(expected.body.as_ref()).cloned().unwrap_or_default();
        compare("body", &body, &wanted, differences);
    }
}

fn sorted(mut pairs: Vec<(String, Value)>) -> Vec<(String, Value)> {
    pairs.sort_by_key(|(name, value)| (name.clone(), value.to_string()));
    pairs
}

fn compare_mail(found: &Mail, expected: &ExampleMail, differences: &mut Vec<String>) {
    compare("relay", &spell(&found.relay), &expected.relay, differences);
    compare("from", &found.from, &expected.from, differences);
    compare("to", &found.to, &expected.to, differences);
    compare("cc", &found.cc, &expected.cc, differences);
    compare("bcc", &found.bcc, &expected.bcc, differences);
    compare("reply_to", &found.reply_to, &expected.reply_to, differences);
    compare("subject", &found.subject, &expected.subject, differences);
    compare("text", &found.text, &expected.text, differences);
    compare("html", &found.html, &expected.html, differences);
    compare("message_id", &found.message_id, &expected.message_id, differences);
}

fn spell(relay: &Relay) -> String {
    let security = match relay.security {
        MailSecurity::Tls => "tls",
        MailSecurity::StartTls => "starttls",
        MailSecurity::None => "none",
    };
    let who = relay.credentials.as_ref().map(|(name, password)| format!("{name}:{password}@")).unwrap_or_default();
    format!("{security}://{who}{}:{}", relay.host, relay.port)
}
