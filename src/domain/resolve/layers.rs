//! The three layers of a call, checked and brought under one roof. It does not know what the names mean further down.

use super::pool::{Entry, Faults, Given, Origin, Pool};
use super::{Call, Source};
use crate::domain::modifier::{Name, TOKEN};
use crate::domain::params::{MAX_PARAMS, Params, check_text, check_value};
use crate::domain::refusal::{ParamProblem, Problem};
use std::borrow::Cow;

/// How names are read: with [`Name::parse`] or, in front of a Group, [`Name::parse_dotted`].
pub(super) type Parse<'a> = fn(&'a str) -> Result<Name<'a>, Problem>;

/// The name for `:content` when no Pusher sets one.
pub(super) const CONTENT: &str = "content";

/// Brings the layers of a call together, the body's parameters above the query's. `content` is the name that `:content`
/// stands for, or `None` if each member of a Group will say.
pub(super) fn read<'a>(
    call: &'a Call,
    content: Option<&'a str>,
    parse: Parse<'a>,
    faults: &mut Faults<'_>,
) -> Pool<'a> {
    let first = faults.problems.len();
    let mut pool = Pool::default();
    read_params(&mut pool, &call.body, Origin::Body, parse, faults);
    if let Some(given) = content {
        // What a Pusher names was checked when it was saved.
        let name = parse(given).unwrap_or_else(|_| Name::plain(CONTENT));
        for entry in contents(call, given) {
            pool.offer(name.clone(), entry);
        }
    }
    read_params(&mut pool, &call.query, Origin::Query, parse, faults);
    check_contents(call, content.unwrap_or(CONTENT), faults);
    let key = |problem: &ParamProblem| (problem.param.clone(), problem.problem.code());
    faults.problems[first..].sort_by_key(key);
    faults.problems.dedup();
    pool
}

/// Whether there are too many parameters: names in body and query together, each once, the token aside. `:content` does
/// not count: what it is called is not for the call to say. If there are, nothing else is looked at, and the layer with
/// which there are is told.
pub(super) fn check_count(call: &Call) -> Vec<ParamProblem> {
    let (body, query) = (&call.body, &call.query);
    if body.len() + query.len() <= MAX_PARAMS {
        return Vec::new();
    }
    let above = body.keys().filter(|name| *name != TOKEN).count();
    let below = query.keys().filter(|name| *name != TOKEN && !body.contains_key(*name)).count();
    if above + below <= MAX_PARAMS {
        return Vec::new();
    }
    let layer = if above > MAX_PARAMS { Source::Body } else { Source::Query };
    vec![ParamProblem { param: layer.to_string(), problem: Problem::TooMany(MAX_PARAMS) }]
}

/// The values that stand for `:content`: the text body, and the one in the URL.
pub(super) fn contents<'a>(call: &'a Call, given: &'a str) -> impl Iterator<Item = Entry<'a>> {
    let entry = move |text: &'a String, origin| {
        let value = match check_text(text) {
            Ok(()) => Given::Text(Cow::Borrowed(text.as_str())),
            Err(_) => Given::Faulty,
        };
        Entry::new(given, value, origin, rank(origin))
    };
    let body = call.body_text.as_ref().map(move |text| entry(text, Origin::Body));
    let url = call.content.as_ref().map(move |text| entry(text, Origin::Content));
    body.into_iter().chain(url)
}

fn check_contents(call: &Call, name: &str, faults: &mut Faults<'_>) {
    for text in [&call.body_text, &call.content].into_iter().flatten() {
        if let Err(problem) = check_text(text) {
            faults.add(name, problem);
        }
    }
}

fn read_params<'a>(
    pool: &mut Pool<'a>,
    params: &'a Params,
    origin: Origin<'a>,
    parse: Parse<'a>,
    faults: &mut Faults<'_>,
) {
    for (given, value) in params {
        let name = match parse(given) {
            Ok(name) => name,
            // The token; authentication has read it. One that is addressed to a member it has not.
            Err(Problem::Reserved) if given == TOKEN => continue,
            Err(problem) => {
                faults.add(given, problem);
                continue;
            }
        };
        let value = match check_value(value) {
            Ok(()) => Given::Json(value),
            Err(problem) => {
                faults.add(given, problem);
                Given::Faulty
            }
        };
        pool.offer(name, Entry::new(given, value, origin, rank(origin)));
    }
}

/// The place of a layer.
fn rank(origin: Origin<'_>) -> u32 {
    match origin {
        Origin::Body => 0,
        Origin::Content => 1,
        _ => 2,
    }
}
