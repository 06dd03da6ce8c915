//! Tests of the whole folder, by subject.

mod catalogue;
mod helpers;
mod leaves;
mod lengths;
mod mail;
mod markup;
mod mutations;
mod properties;
mod refusals;
mod verdicts;

use serde_json::Value;

use crate::domain::delivery::{Outgoing, Request};
use crate::domain::params::Params;
use crate::domain::time::Timestamp;
use crate::service::{RenderEnv, RenderError, Service};

/// The head of every definition here: five lines.
const HEAD: &str =
    "id = \"t\"\nname = \"T\"\ndocs = \"https://example.com/\"\ncategory = \"push\"\ntransport = \"http\"\n";
/// 2026-11-21T08:00:00.123Z.
const ENV: RenderEnv<'_> = RenderEnv { now: Timestamp(1_795_248_000_123), delivery_id: "task-1", random: 0xfeed };

/// A definition that must be sound; `rest` follows the head.
fn service(rest: &str) -> Service {
    Service::parse("t.toml", &format!("{HEAD}{rest}")).unwrap()
}

/// A definition that sends mails; `rest` begins on line 14.
fn mail_source(rest: &str) -> String {
    let mail = "[mail]\nhost = \"h\"\nport = \"25\"\nsecurity = \"none\"\nfrom = \"a@b\"\nto = \"c@d\"\nsubject = \"s\"\ntext = \"t\"\n";
    format!("{}{mail}{rest}", HEAD.replace("\"http\"", "\"smtp\""))
}

fn params(json: Value) -> Params {
    serde_json::from_value(json).unwrap()
}

fn request(service: &Service, json: Value) -> Result<Request, RenderError> {
    match service.render(&params(json), &ENV)? {
        Outgoing::Http(request) => Ok(request),
        Outgoing::Mail(_) => panic!("a mail"),
    }
}

fn body(service: &Service, json: Value) -> String {
    String::from_utf8(request(service, json).unwrap().body).unwrap()
}
