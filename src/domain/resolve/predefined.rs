//! Whether what a Preset or Group predefines can ever be used, as far as that shows before any call.

use super::{Call, resolve_anyway};
use crate::domain::modifier::holes;
use crate::domain::params::Params;
use crate::domain::pusher::{Group, Pusher, Target};
use crate::domain::refusal::{ParamProblem, Problem, Refusal};
use crate::domain::time::Timestamp;
use serde_json::Value;

/// Tries a Pusher out as if it were pushed with nothing; `target` is where it leads. What a call may still fill in is no
/// fault: a parameter that is missing, a value with a placeholder. Faults of those it is built on are not told either.
///
/// # Errors
/// `Refusal::Params`: the Pusher's own parameters whose values no Service at the end takes, members' named `member.param`.
pub fn check_predefined(pusher: &Pusher, target: &Target, now: Timestamp) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    resolve_anyway(target, &Call::default(), now, &mut problems);
    problems.retain(|found| !matches!(found.problem, Problem::Missing | Problem::Unfilled(_)));
    if problems.is_empty() {
        return Ok(());
    }
    let mut own: Vec<ParamProblem> = Vec::new();
    for (name, reported) in settled(pusher, target) {
        for found in problems.iter().filter(|found| reported.contains(&found.param)) {
            let problem = ParamProblem { param: name.clone(), problem: found.problem.clone() };
            if !own.contains(&problem) {
                own.push(problem);
            }
        }
    }
    if own.is_empty() { Ok(()) } else { Err(Refusal::Params(own)) }
}

/// What a Pusher predefines once and for all: each name, and the names that its faults are reported under.
fn settled(pusher: &Pusher, target: &Target) -> Vec<(String, Vec<String>)> {
    match (pusher, target) {
        (Pusher::Service(_), _) => Vec::new(),
        (Pusher::Group(group), _) => {
            let of_members = group.pushers.iter().flat_map(|member| {
                let full = |name: &String| format!("{}.{name}", member.name);
                without_holes(&member.params).map(move |name| (full(name), vec![full(name)]))
            });
            of_members.collect()
        }
        (Pusher::Preset(preset), Target::Single(_)) => {
            without_holes(&preset.params).map(|name| (name.clone(), vec![name.clone()])).collect()
        }
        (Pusher::Preset(preset), Target::Group { group, .. }) => {
            without_holes(&preset.params).map(|name| (name.clone(), dealt(group, name))).collect()
        }
    }
}

fn without_holes(params: &Params) -> impl Iterator<Item = &String> {
    let is_settled = |value: &Value| value.as_str().is_none_or(|text| holes(text).next().is_none());
    params.iter().filter(move |(_, value)| is_settled(value)).map(|(name, _)| name)
}

/// What a name in front of a Group becomes.
fn dealt(group: &Group, name: &str) -> Vec<String> {
    if name.contains('.') {
        return vec![name.to_owned()];
    }
    match group.param_map.iter().find(|(mapped, _)| mapped == name) {
        Some((_, targets)) => targets.clone(),
        None => group.pushers.iter().map(|member| format!("{}.{name}", member.name)).collect(),
    }
}
