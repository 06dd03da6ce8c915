//! One attempt at a task: open, render, send, judge, and decide what the task becomes.

use std::time::Duration;

use crate::domain::delivery::{Answer, Outcome, Outgoing, SendFailure};
use crate::domain::mask::Redactor;
use crate::domain::retry::{Next, next};
use crate::domain::time::Timestamp;
use crate::flow::Engine;
use crate::flow::mails::{self, Written};
use crate::flow::payload::Payload;
use crate::service::{RenderEnv, Service};
use crate::store::{Attempt, Claimed, Finish, FinishState};

/// Longest part of a channel's answer that is kept.
const KEPT_ANSWER: usize = 2048;

/// Of so many attempts, the latest, the answers are kept: more than a task that nobody tries by hand usually has.
const KEPT_ANSWERS: usize = 20;

/// What became of an attempt that left no outcome of its own.
const INTERRUPTED: &str = "interrupted";

/// What an attempt brought, with secrets masked.
struct Report {
    outcome: Outcome,
    status: Option<u16>,
    response: Option<String>,
    /// Of a mail that not all got: marks of who did.
    reached: Vec<String>,
}

impl Report {
    /// An outcome without an answer.
    fn of(outcome: Outcome) -> Self {
        Self { outcome, status: None, response: None, reached: Vec::new() }
    }
}

/// Makes one attempt. Never fails: what goes wrong is part of the outcome.
pub async fn deliver(engine: &Engine, task: &Claimed) -> Finish {
    let began = engine.clock.now();
    let log = log_so_far(task);
    let report = attempt(engine, task, &log, began).await;
    finish(engine, task, log, began, report)
}

/// The outcome of an attempt that broke off in this process.
pub fn interrupted(engine: &Engine, task: &Claimed) -> Finish {
    let outcome = Outcome::Later {
        code: format!("{}:internal_error", task.service),
        message: "the attempt broke off inside the server".to_owned(),
        after: None,
    };
    let now = engine.clock.now();
    finish(engine, task, log_so_far(task), now, Report::of(outcome))
}

/// The outcome of an attempt that was broken off because the server stops: another follows at once, wherever it can.
pub fn broken_off(engine: &Engine, task: &Claimed, began: Timestamp) -> Finish {
    let now = engine.clock.now();
    let code = format!("{}:interrupted", task.service);
    let attempt = Attempt {
        at: began,
        duration_ms: now.0 - began.0,
        outcome: INTERRUPTED.to_owned(),
        code: Some(code.clone()),
        status: None,
        response: None,
        reached: Vec::new(),
    };
    Finish {
        id: task.id.clone(),
        attempt: task.attempt,
        fallback: task.fallback,
        lane: task.lane.clone(),
        state: FinishState::Again { run_at: now, code, message: "the server stopped during the attempt".to_owned() },
        now,
        attempt_log: extended_log(task, log_so_far(task), attempt),
    }
}

async fn attempt(engine: &Engine, task: &Claimed, log: &[Attempt], now: Timestamp) -> Report {
    if task.service == mails::SERVICE {
        return Box::pin(own_mail(engine, task)).await;
    }
    let Some(service) = engine.catalogue.get(&task.service) else {
        // Its file may be forgotten, as when data is restored, and put back.
        tracing::warn!(service = %task.service, "the Service {} is not there; its tasks are tried again", task.service);
        return later(task, "service_unknown", "the Service is not there");
    };
    let opened = engine.store.sealer().open(task.id.as_str(), &task.payload).ok();
    let Some(Payload { params, secrets }) = opened.and_then(|text| Payload::read(&text)) else {
        return never(task, "task_unreadable", "the task's parameters cannot be opened");
    };
    let redactor = Redactor::new(&service.spec, &params, &secrets);
    let env = RenderEnv { now, delivery_id: task.id.as_str(), random: rand::random() };
    let mut outgoing = match service.render(&params, &env) {
        Ok(outgoing) => outgoing,
        Err(problem) => return never(task, "not_renderable", &redactor.redact(&problem.to_string())),
    };
    if let Outgoing::Mail(mail) = &mut outgoing {
        mail.reached = log.iter().flat_map(|attempt| attempt.reached.clone()).collect();
    }
    match engine.sender.send(outgoing).await {
        Ok(answer) => judged(&service, answer, now, &redactor),
        // A refusal is one, however it ends.
        Err(SendFailure { begun: Some(answer), .. }) if !service.takes(answer.status) => {
            judged(&service, *answer, now, &redactor)
        }
        Err(failure) => failed(&service, &failure, &redactor),
    }
}

/// One attempt at a mail of the server itself.
async fn own_mail(engine: &Engine, task: &Claimed) -> Report {
    let later = |code: &str, message: &str| {
        Report::of(Outcome::Later { code: format!("mail:{code}"), message: message.to_owned(), after: None })
    };
    let outgoing = match mails::write(engine, task).await {
        Ok(Written::Mail(outgoing)) => outgoing,
        Ok(Written::Nobody) => return Report::of(Outcome::Sent),
        Ok(Written::NoRelay) => return later("not_configured", "the server has no mail relay"),
        Err(error) => {
            tracing::warn!(?error, task_id = %task.id, "a mail could not be written");
            return later("internal_error", "the mail could not be written");
        }
    };
    match engine.sender.send(outgoing).await {
        Ok(answer) => Report { status: Some(answer.status), ..Report::of(Outcome::Sent) },
        Err(failure) => {
            // Nobody has a list of these tasks, and whoever waits for the mail does not know why it does not come.
            tracing::warn!(task_id = %task.id, code = failure.code, retried = failure.retry,
                "a mail of this server could not be sent: {}", failure.message);
            let (code, message) = (format!("mail:{}", failure.code), failure.message.clone());
            let outcome = match failure.retry {
                true => Outcome::Later { code, message, after: None },
                false => Outcome::Never { code, message },
            };
            Report { status: failure.status, response: Some(cut(&failure.message)), ..Report::of(outcome) }
        }
    }
}

/// What an answer means. What is told of it comes from the answer without its secrets: a message is one short line, and
/// half a secret, or one with its spaces changed, would not be recognised in it.
fn judged(service: &Service, mut answer: Answer, now: Timestamp, redactor: &Redactor) -> Report {
    let mut outcome = service.judge(&answer, now);
    let text = String::from_utf8_lossy(&answer.body);
    let shown = redactor.redact(&text);
    let response = Some(cut(&shown));
    if shown != text {
        answer.body = shown.into_bytes();
        outcome = retold(outcome, service.judge(&answer, now), redactor);
    }
    Report { status: Some(answer.status), response, ..Report::of(redacted(outcome, redactor)) }
}

/// The outcome with the words of the other one, which was made without secrets. The code stays unless it holds one.
fn retold(outcome: Outcome, other: Outcome, redactor: &Redactor) -> Outcome {
    let (other_code, message) = match other {
        Outcome::Sent => (None, String::new()),
        Outcome::Later { code, message, .. } | Outcome::Never { code, message } => (Some(code), message),
    };
    let clean = |code: String| if redactor.redact(&code) == code { code } else { other_code.unwrap_or_default() };
    match outcome {
        Outcome::Sent => Outcome::Sent,
        Outcome::Later { code, after, .. } => Outcome::Later { code: clean(code), message, after },
        Outcome::Never { code, .. } => Outcome::Never { code: clean(code), message },
    }
}

fn failed(service: &Service, failure: &SendFailure, redactor: &Redactor) -> Report {
    Report {
        outcome: redacted(service.failure(failure), redactor),
        status: failure.status,
        response: Some(cut(&redactor.redact(&failure.message))),
        reached: failure.reached.clone(),
    }
}

fn later(task: &Claimed, code: &str, message: &str) -> Report {
    let code = format!("{}:{code}", task.service);
    Report::of(Outcome::Later { code, message: message.to_owned(), after: None })
}

fn never(task: &Claimed, code: &str, message: &str) -> Report {
    Report::of(Outcome::Never { code: format!("{}:{code}", task.service), message: message.to_owned() })
}

fn finish(engine: &Engine, task: &Claimed, log: Vec<Attempt>, began: Timestamp, report: Report) -> Finish {
    let now = engine.clock.now();
    let decided = next(&engine.retries, &report.outcome, attempts_made(task, &log), now, rand::random());
    let (code, message) = match &report.outcome {
        Outcome::Sent => (None, None),
        Outcome::Later { code, message, .. } | Outcome::Never { code, message } => {
            (Some(code.clone()), Some(message.clone()))
        }
    };
    count(engine, task, now.0 - began.0, &decided);
    let problem = || (code.clone().unwrap_or_default(), message.clone().unwrap_or_default());
    let state = match decided {
        Next::Done => FinishState::Succeeded,
        Next::RetryAt(run_at) => {
            let (code, message) = problem();
            FinishState::Again { run_at, code, message }
        }
        Next::GiveUp => {
            let (code, message) = problem();
            FinishState::Failed { code, message }
        }
    };
    tracing::debug!(task_id = %task.id, service = %task.service, attempt = task.attempt, code = code.as_deref(),
        "attempt {} of task {} ended: {}", task.attempt, task.id, code.as_deref().unwrap_or("sent"));
    let attempt = Attempt {
        at: began,
        duration_ms: now.0 - began.0,
        outcome: word(&report.outcome).to_owned(),
        code,
        status: report.status,
        response: report.response,
        reached: report.reached,
    };
    Finish {
        id: task.id.clone(),
        attempt: task.attempt,
        fallback: task.fallback,
        lane: task.lane.clone(),
        state,
        now,
        attempt_log: extended_log(task, log, attempt),
    }
}

/// How many attempts have come to an end since the back-off began, this one included: those that were broken off told
/// nothing of the channel.
fn attempts_made(task: &Claimed, log: &[Attempt]) -> u32 {
    let base = usize::try_from(task.attempt_base).unwrap_or(usize::MAX);
    let ended = log.iter().skip(base).filter(|attempt| attempt.outcome != INTERRUPTED).count();
    u32::try_from(ended + 1).unwrap_or(u32::MAX)
}

fn count(engine: &Engine, task: &Claimed, took_ms: i64, decided: &Next) {
    let counters = engine.metrics.service(&task.service);
    counters.attempt_took(Duration::from_millis(took_ms.unsigned_abs()));
    match decided {
        Next::Done => counters.delivered.inc(),
        Next::RetryAt(_) => counters.retried.inc(),
        Next::GiveUp => counters.failed.inc(),
    };
}

/// The attempts that were recorded before this one.
fn log_so_far(task: &Claimed) -> Vec<Attempt> {
    serde_json::from_str(&task.attempt_log).unwrap_or_default()
}

/// The log with this attempt. Attempts that left no trace, because their process died, are told as interrupted.
fn extended_log(task: &Claimed, mut log: Vec<Attempt>, attempt: Attempt) -> String {
    let known = i64::try_from(log.len()).unwrap_or(i64::MAX);
    for _ in known..task.attempt - 1 {
        log.push(Attempt {
            at: attempt.at,
            duration_ms: 0,
            outcome: INTERRUPTED.to_owned(),
            code: None,
            status: None,
            response: None,
            reached: Vec::new(),
        });
    }
    log.push(attempt);
    // What a task that is tried again by hand over and over keeps has a bound.
    let older = log.len().saturating_sub(KEPT_ANSWERS);
    log[..older].iter_mut().for_each(|attempt| attempt.response = None);
    serde_json::to_string(&log).unwrap_or_else(|_| "[]".to_owned())
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Later { .. } => "later",
        Outcome::Never { .. } => "never",
    }
}

fn redacted(outcome: Outcome, redactor: &Redactor) -> Outcome {
    match outcome {
        Outcome::Sent => Outcome::Sent,
        Outcome::Later { code, message, after } => Outcome::Later { code, message: redactor.redact(&message), after },
        Outcome::Never { code, message } => Outcome::Never { code, message: redactor.redact(&message) },
    }
}

/// The first part of a text, whole characters only, without NUL, which PostgreSQL does not store.
fn cut(text: &str) -> String {
    let mut kept = text[..text.floor_char_boundary(KEPT_ANSWER)].replace('\0', "\u{fffd}");
    kept.truncate(kept.floor_char_boundary(KEPT_ANSWER));
    kept
}
