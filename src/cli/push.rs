//! `fanfare push`: a push from a shell or a script. Needs no settings and no database, only a server somewhere.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use url::{Url, form_urlencoded};

use super::{complain, print};
use crate::app::SystemClock;
use crate::domain::delivery::{Answer, Outgoing, Request};
use crate::domain::id::time_ordered;
use crate::domain::time::Clock;
use crate::send::guard::Allow;
use crate::send::{Sender, SenderConfig};

/// Where a server listens that has no settings.
const HERE: &str = "http://127.0.0.1:8080";
/// What a server surely takes of a URL, in bytes.
const LONGEST_URL: usize = 60_000;
/// The first pause before another attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What to push, and where.
#[derive(Args)]
pub struct Push {
    /// The Preset, Group or Service to push to.
    pusher_id: String,
    /// What `:content` stands for; - reads it from standard input. Beside parameters it goes into the URL, which
    /// takes 60,000 characters as they are spelled there: a Chinese one takes nine.
    #[arg(allow_hyphen_values = true)]
    content: Option<String>,
    /// A parameter, `name=value`; may be repeated, also for the entries of a list.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The server; without it `FANFARE_SERVER`, else port 8080 of this machine. A token is taken from `FANFARE_TOKEN`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Pushes with the same key within a day are one; without it, one is made for the attempts of this call.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// How many seconds to keep trying while the server cannot be reached or is busy. An attempt that has begun then is
    /// waited for, for 15 seconds at most: it may have been accepted.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u32,
    /// Print the server's answer as JSON, also if it refuses the push.
    #[arg(long)]
    json: bool,
}

/// Pushes. Attempts carry one key, so trying again makes nothing twice.
///
/// # Errors
/// If the server refuses the push, or could not be reached in time.
pub async fn run(push: Push) -> anyhow::Result<()> {
    let as_json = push.json;
    let until = Instant::now() + Duration::from_secs(push.patience.into());
    let server = push.server.clone().or_else(|| variable("FANFARE_SERVER")).unwrap_or_else(|| HERE.to_owned());
    let request = request(&server, push)?;
    let everywhere = Allow::parse("0.0.0.0/0, ::/0").map_err(anyhow::Error::msg)?;
    let sender = Sender::new(SenderConfig { allow: everywhere, max_redirects: 0, ..SenderConfig::default() })?;
    let answer = persist(&sender, &request, until).await.with_context(|| server.clone())?;
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    let envelope = serde_json::from_str::<Value>(text).ok().filter(|answer| answer["success"].is_boolean());
    let Some(envelope) = envelope else {
        bail!("{server}: {}", foreign(&answer, text));
    };
    let is_accepted = envelope["success"] == true;
    let told = match (as_json, is_accepted) {
        (true, _) => print(&format!("{text}\n")),
        (false, true) => print(&accepted(&envelope["data"])),
        (false, false) => Ok(()),
    };
    ensure!(is_accepted, "{}", refused(&envelope, answer.status));
    // Whoever tried again because of that would push twice.
    if let Err(error) = told {
        complain(error.context("accepted, but it could not be said"));
    }
    Ok(())
}

fn request(server: &str, push: Push) -> anyhow::Result<Request> {
    ensure!(!push.pusher_id.trim().is_empty(), "the Pusher's id is empty");
    let base = Url::parse(server).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let base = base.with_context(|| format!("{server}: the server must be a URL with http:// or https://"))?;
    ensure!(base.query().is_none() && base.fragment().is_none(), "{server}: the server must be a URL without ? and #");
    let mut url = format!("{}/push/{}/", base.as_str().trim_end_matches('/'), encoded(&push.pusher_id));
    let content = match push.content.as_deref() {
        Some("-") => Some(from_standard_input()?),
        _ => push.content,
    };
    let key = push.idempotency_key.unwrap_or_else(|| time_ordered(SystemClock::default().now().0, rand::random()));
    let mut headers = vec![("idempotency-key".to_owned(), key)];
    if let Some(token) = variable("FANFARE_TOKEN") {
        headers.push(("authorization".to_owned(), format!("Bearer {}", token.trim())));
    }
    let (kind, body) = match content {
        // On its own it may be as long as the server takes.
        Some(content) if push.params.is_empty() => ("text/plain; charset=utf-8", content),
        content => {
            if let Some(content) = content.filter(|content| !content.is_empty()) {
                url.push_str(&format!("{}/", encoded(&content)));
            }
            ("application/x-www-form-urlencoded", form(&push.params)?)
        }
    };
    ensure!(url.len() <= LONGEST_URL, "beside parameters the text goes into the URL, and is too long for it");
    headers.push(("content-type".to_owned(), kind.to_owned()));
    Ok(Request { method: "POST".to_owned(), url, headers, body: body.into_bytes() })
}

/// The variable, unless it is empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// All of it, but for the end of the last line.
fn from_standard_input() -> anyhow::Result<String> {
    let text = std::io::read_to_string(std::io::stdin()).context("the text could not be read")?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.unwrap_or(&text).to_owned())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn form(params: &[String]) -> anyhow::Result<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for pair in params {
        let (name, value) = pair.split_once('=').with_context(|| format!("{pair}: write name=value"))?;
        form.append_pair(name, value);
    }
    Ok(form.finish())
}

/// The first answer that trying again would not change, or the last one before the time is over.
async fn persist(sender: &Sender, request: &Request, until: Instant) -> anyhow::Result<Answer> {
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = sender.send(Outgoing::Http(request.clone())).await;
        let (lasts, asked) = match &ended {
            Ok(answer) => (!matches!(answer.status, 429 | 502..=504), retry_after(answer)),
            Err(failure) => (!failure.retry, None),
        };
        // A server may ask for any time at all.
        let next = Instant::now().checked_add(asked.unwrap_or(pause)).filter(|next| !lasts && *next <= until);
        let Some(next) = next else {
            return ended.map_err(|failure| anyhow::anyhow!("{} ({})", failure.message, failure.code));
        };
        sleep_until(next).await;
        pause *= 2;
    }
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    header(answer, "retry-after")?.parse().ok().map(Duration::from_secs)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A text in the answer; empty if it is not there.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What answered instead of a push server: often a proxy, or a server that wants another scheme.
fn foreign(answer: &Answer, text: &str) -> String {
    if let Some(location) = header(answer, "location") {
        return format!("answered {} to {location}; name that server instead", answer.status);
    }
    let shown: String = text.chars().take(200).collect();
    format!("answered {}, but not as a push server does: {shown}", answer.status)
}

/// What was wrong, all of it. The message of parameters at fault says the same as the list of them.
fn refused(envelope: &Value, status: u16) -> String {
    let faults = envelope["data"].as_array().into_iter().flatten();
    let faults: Vec<String> =
        faults.map(|fault| format!("\n  {}: {}", text(&fault["param"]), text(&fault["problem"]))).collect();
    let message = if faults.is_empty() { text(&envelope["message"]) } else { "the push is refused" };
    format!("{message} ({}, {status}){}", text(&envelope["code"]), faults.concat())
}

/// A line for the push, one for each task, and what nobody took.
fn accepted(data: &Value) -> String {
    let mut told = format!("push {}\n", text(&data["push_id"]));
    for task in data["tasks"].as_array().into_iter().flatten() {
        let words = ["task_id", "name", "state", "run_at"].map(|field| text(&task[field]));
        // Only a member of a Group has a name.
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        told.push_str(&format!("task {}\n", words.join(" ")));
    }
    let ignored: Vec<&str> = data["ignored"].as_array().into_iter().flatten().map(text).collect();
    if !ignored.is_empty() {
        told.push_str(&format!("ignored: {}\n", ignored.join(", ")));
    }
    told
}
