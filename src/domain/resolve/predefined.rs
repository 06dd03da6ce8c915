//! Whether what a Preset or Group predefines can ever be used, as far as that shows before any call.

use super::{Call, resolve_anyway};
use crate::domain::group::position;
use crate::domain::modifier::{Name, holes};
use crate::domain::params::Params;
use crate::domain::pusher::{Group, Member, Preset, Pusher, Target};
use crate::domain::refusal::{Faults, ParamProblem, Problem, Refusal};
use crate::domain::time::Timestamp;
use serde_json::Value;

/// Tries a Pusher out as if it were pushed with nothing; `target` is where it leads. What a call may still fill in is no
/// fault: a parameter that is missing, a value with a placeholder. Nor is what stood in it `before` on the same base, such
/// as an `at` that has passed since, or what stands in those it is built on.
///
/// # Errors
/// `Params`: the Pusher's own parameters whose values no Service at the end takes, members' named `member.param`; `Fields`
/// if its `redefine_content` addresses a member that is not there.
pub fn check_predefined(
    pusher: &Pusher,
    before: Option<&Pusher>,
    target: &Target,
    now: Timestamp,
) -> Result<(), Refusal> {
    unfit(pusher, before, target, now).refuse_if_any()
}

/// What of a Pusher that led to `was` would be at fault when it leads to `leads`, because something that it is built on has
/// changed.
pub fn check_dependent(pusher: &Pusher, was: &Target, leads: &Target, now: Timestamp) -> Faults {
    let before = unfit(pusher, None, was, now);
    let mut faults = unfit(pusher, None, leads, now);
    faults.fields.retain(|fault| !before.fields.contains(fault));
    faults.params.retain(|fault| !before.params.contains(fault));
    faults
}

fn unfit(pusher: &Pusher, before: Option<&Pusher>, target: &Target, now: Timestamp) -> Faults {
    let mut faults = Faults::default();
    if redefines_nobody(pusher, before, target) {
        faults.add("redefine_content", "unknown_member");
    }
    let mut problems = Vec::new();
    resolve_anyway(target, &Call::default(), now, &mut problems);
    problems.retain(|found| !matches!(found.problem, Problem::Missing | Problem::Unfilled(_)));
    if !problems.is_empty() {
        for (name, reported) in settled(pusher, before, target) {
            for found in problems.iter().filter(|found| reported.contains(&found.param)) {
                let problem = ParamProblem { param: name.clone(), problem: found.problem.clone() };
                if !faults.params.contains(&problem) {
                    faults.params.push(problem);
                }
            }
        }
    }
    faults
}

/// Whether `:content` would go to a member that the Group does not have.
fn redefines_nobody(pusher: &Pusher, before: Option<&Pusher>, target: &Target) -> bool {
    let (Pusher::Preset(preset), Target::Group { group, .. }) = (pusher, target) else { return false };
    let said = |preset: &Preset| (preset.base_pusher.clone(), preset.redefine_content.clone());
    let is_new = !matches!(before, Some(Pusher::Preset(before)) if said(before) == said(preset));
    let name = preset.redefine_content.as_deref().and_then(|name| Name::parse_dotted(name).ok());
    let addressed = name.as_ref().and_then(Name::split_member);
    is_new && addressed.is_some_and(|(member, _)| position(&group.pushers, member).is_none())
}

/// What a Pusher now predefines once and for all: each name, and the names that its faults are reported under.
fn settled(pusher: &Pusher, before: Option<&Pusher>, target: &Target) -> Vec<(String, Vec<String>)> {
    match (pusher, target) {
        (Pusher::Service(_), _) => Vec::new(),
        (Pusher::Group(group), _) => {
            let of_members = group.pushers.iter().flat_map(|member| {
                let full = |name: &String| format!("{}.{name}", member.name);
                let names = without_holes(&member.params, member_before(member, before));
                names.map(move |name| (full(name), vec![full(name)]))
            });
            of_members.collect()
        }
        (Pusher::Preset(preset), _) => {
            let before = match before {
                Some(Pusher::Preset(before)) if before.base_pusher == preset.base_pusher => Some(&before.params),
                _ => None,
            };
            let names = without_holes(&preset.params, before);
            let reported = |name: &String| match target {
                Target::Single(_) => vec![name.clone()],
                Target::Group { group, .. } => dealt(group, name),
            };
            names.map(|name| (name.clone(), reported(name))).collect()
        }
    }
}

/// What a member predefined before; it may have had another name.
fn member_before<'a>(member: &Member, before: Option<&'a Pusher>) -> Option<&'a Params> {
    let Some(Pusher::Group(before)) = before else { return None };
    let mut same_base = before.pushers.iter().filter(|other| other.base_pusher == member.base_pusher);
    let same = same_base.clone().find(|other| other.params == member.params);
    same.or_else(|| same_base.find(|other| other.name == member.name)).map(|other| &other.params)
}

fn without_holes<'a>(params: &'a Params, before: Option<&'a Params>) -> impl Iterator<Item = &'a String> {
    let is_settled = |value: &Value| value.as_str().is_none_or(|text| holes(text).next().is_none());
    let stood = move |name: &str, value: &Value| before.is_some_and(|before| before.get(name) == Some(value));
    params.iter().filter(move |(name, value)| is_settled(value) && !stood(name, value)).map(|(name, _)| name)
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
