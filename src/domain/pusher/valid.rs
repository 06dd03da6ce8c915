//! What a Preset or Group may say of itself. It looks at one of them alone; who it is built on is not its business.

use super::{Group, MAX_TITLE, Preset, check_size};
use crate::domain::group::{position, target};
use crate::domain::modifier::{AT, DELAY, Name};
use crate::domain::params::{MAX_NAME, MAX_PARAMS, Params, check_value};
use crate::domain::refusal::{ParamProblem, Problem, Refusal};

/// Checks the fields of a Preset that need nobody else: name, parameters and `redefine_content`. Whether a dotted name
/// fits depends on what the Preset is built on, and is seen at the push.
///
/// # Errors
/// `Field` for a field, `Params` for all parameters at fault.
pub fn check_preset(preset: &Preset) -> Result<(), Refusal> {
    check_title(&preset.name)?;
    if let Some(name) = &preset.redefine_content {
        check_redefined(name)?;
    }
    let mut problems = Vec::new();
    check_params(&preset.params, "", &mut problems);
    refuse_if_any(problems)
}

/// Checks a Group but for its members' bases: name, members, map and `redefine_content`.
///
/// # Errors
/// `GroupEmpty`, `GroupFull`, `MemberNameTaken`; `Field` for a field; `Params` for all parameters at fault, named
/// `member.param`.
pub fn check_group(group: &Group) -> Result<(), Refusal> {
    check_title(&group.name)?;
    check_size(group)?;
    let mut problems = Vec::new();
    for (at, member) in group.pushers.iter().enumerate() {
        if !is_declarable(&member.name) {
            return Err(Refusal::Field { field: "pushers", reason: "bad_name" });
        }
        if group.pushers[..at].iter().any(|other| other.name == member.name) {
            return Err(Refusal::MemberNameTaken(member.name.clone()));
        }
        check_params(&member.params, &format!("{}.", member.name), &mut problems);
    }
    check_map(group)?;
    if let Some(name) = &group.redefine_content {
        check_redefined(name)?;
        if name.contains('.') && target(&group.pushers, name).is_none() {
            return Err(Refusal::Field { field: "redefine_content", reason: "unknown_member" });
        }
    }
    refuse_if_any(problems)
}

/// Whether a name is of the form that declared parameters and members have: `[a-z][a-z0-9_]*`, at most 64 characters.
pub fn is_declarable(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The name that people see: 1 to 100 characters, not only spaces, no control character.
fn check_title(name: &str) -> Result<(), Refusal> {
    let reason = if name.trim().is_empty() {
        "empty"
    } else if name.chars().count() > MAX_TITLE {
        "too_long"
    } else if name.chars().any(char::is_control) {
        "bad_name"
    } else {
        return Ok(());
    };
    Err(Refusal::Field { field: "name", reason })
}

/// `:content` can stand for a parameter or a modifier, dotted or not; when to deliver is no content.
fn check_redefined(name: &str) -> Result<(), Refusal> {
    let param = name.split_once('.').map_or(name, |(_, param)| param);
    let reason = if name.is_empty() {
        "empty"
    } else if param == DELAY || param == AT {
        "reserved"
    } else {
        match check_name(name) {
            Ok(()) => return Ok(()),
            Err(Problem::Reserved) => "reserved",
            Err(_) => "bad_name",
        }
    };
    Err(Refusal::Field { field: "redefine_content", reason })
}

/// Whether a predefined parameter can have this name, in front of a Group or of a Service.
fn check_name(name: &str) -> Result<(), Problem> {
    match (Name::parse(name), Name::parse_dotted(name)) {
        (Err(Problem::Reserved), _) | (_, Err(Problem::Reserved)) => Err(Problem::Reserved),
        (Err(problem), Err(_)) => Err(problem),
        _ => Ok(()),
    }
}

fn check_params(params: &Params, prefix: &str, problems: &mut Vec<ParamProblem>) {
    if params.len() > MAX_PARAMS {
        problems.push(ParamProblem { param: format!("{prefix}params"), problem: Problem::TooMany(MAX_PARAMS) });
        return;
    }
    for (name, value) in params {
        if let Err(problem) = check_name(name).and_then(|()| check_value(value)) {
            problems.push(ParamProblem { param: format!("{prefix}{name}"), problem });
        }
    }
}

fn check_map(group: &Group) -> Result<(), Refusal> {
    let refuse = |reason| Err(Refusal::Field { field: "param_map", reason });
    if group.param_map.len() > MAX_PARAMS {
        return refuse("too_many");
    }
    let mut names = Vec::with_capacity(group.param_map.len());
    for (key, targets) in &group.param_map {
        let name = match Name::parse(key) {
            Ok(_) if key.contains('.') => return refuse("dotted"),
            Ok(name) => name,
            Err(Problem::Reserved) => return refuse("reserved"),
            Err(_) => return refuse("bad_name"),
        };
        if names.contains(&name) {
            return refuse("duplicate");
        }
        names.push(name);
        if targets.is_empty() {
            return refuse("empty");
        }
        if targets.len() > MAX_PARAMS {
            return refuse("too_many");
        }
        if let Some(reason) = targets.iter().find_map(|text| target_fault(group, text)) {
            return refuse(reason);
        }
    }
    Ok(())
}

/// What is wrong with a target of the map.
fn target_fault(group: &Group, text: &str) -> Option<&'static str> {
    if target(&group.pushers, text).is_some() {
        return None;
    }
    let Some((member, param)) = text.split_once('.') else { return Some("not_dotted") };
    Some(match (position(&group.pushers, member), Name::parse(param)) {
        (None, _) => "unknown_member",
        (_, Err(Problem::Reserved)) => "reserved",
        _ => "bad_name",
    })
}

fn refuse_if_any(problems: Vec<ParamProblem>) -> Result<(), Refusal> {
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Params(problems)) }
}
