//! What a Preset or Group may say of itself. It looks at one of them alone; who it is built on is not its business.

use super::{Group, MAX_TITLE, Preset, check_size};
use crate::domain::group::{position, target};
use crate::domain::id::PusherId;
use crate::domain::modifier::{AT, DELAY, Name};
use crate::domain::params::{MAX_NAME, MAX_PARAMS, Params, check_value};
use crate::domain::refusal::{Faults, ParamProblem, Problem, Refusal};

/// Checks the fields of a Preset that need nobody else: name, parameters and `redefine_content`. Whether a dotted name
/// fits depends on what the Preset is built on, and is seen at the push.
pub fn check_preset(preset: &Preset, faults: &mut Faults) {
    faults.check("name", check_title(&preset.name));
    faults.check("base_pusher", check_base(&preset.base_pusher));
    if let Some(name) = &preset.redefine_content {
        faults.check("redefine_content", check_redefined(name));
    }
    check_params(&preset.params, "", &mut faults.params);
}

/// Checks a Group but for what its members' bases are: name, members, map and `redefine_content`. Parameters are named
/// `member.param`.
pub fn check_group(group: &Group, faults: &mut Faults) {
    faults.check("name", check_title(&group.name));
    if let Err(refusal) = check_size(group) {
        faults.add_own("pushers", if group.pushers.is_empty() { "empty" } else { "too_many" }, refusal);
    }
    for (at, member) in group.pushers.iter().enumerate() {
        if !is_declarable(&member.name) {
            faults.add(format!("pushers.{at}.name"), "bad_name");
        } else if group.pushers[..at].iter().any(|other| other.name == member.name) {
            let taken = Refusal::MemberNameTaken(member.name.clone());
            faults.add_own(format!("pushers.{at}.name"), "duplicate", taken);
        }
        faults.check(&format!("pushers.{at}.base_pusher"), check_base(&member.base_pusher));
        check_params(&member.params, &format!("{}.", member.name), &mut faults.params);
    }
    check_map(group, faults);
    if let Some(name) = &group.redefine_content {
        let is_lost = name.contains('.') && target(&group.pushers, name).is_none();
        let unknown = if is_lost { Err("unknown_member") } else { Ok(()) };
        faults.check("redefine_content", check_redefined(name).and(unknown));
    }
}

/// What is not there need not be looked for.
fn check_base(base: &PusherId) -> Result<(), &'static str> {
    if base.as_str().is_empty() { Err("empty") } else { Ok(()) }
}

/// Whether a name is of the form that declared parameters and members have: `[a-z][a-z0-9_]*`, at most 64 characters.
pub fn is_declarable(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The name that people see: 1 to 100 characters, not only spaces, no control character.
fn check_title(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("empty")
    } else if name.chars().count() > MAX_TITLE {
        Err("too_long")
    } else if name.chars().any(char::is_control) {
        Err("invalid")
    } else {
        Ok(())
    }
}

/// `:content` can stand for a parameter or a modifier, dotted or not; when to deliver is no content.
fn check_redefined(name: &str) -> Result<(), &'static str> {
    let param = name.split_once('.').map_or(name, |(_, param)| param);
    if name.is_empty() {
        return Err("empty");
    }
    if param == DELAY || param == AT {
        return Err("reserved");
    }
    check_name(name).map_err(|problem| if problem == Problem::Reserved { "reserved" } else { "bad_name" })
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

fn check_map(group: &Group, faults: &mut Faults) {
    if group.param_map.len() > MAX_PARAMS {
        return faults.add("param_map", "too_many");
    }
    let mut names = Vec::with_capacity(group.param_map.len());
    for (key, targets) in &group.param_map {
        if let Err(reason) = check_entry(group, key, targets, &mut names) {
            faults.add(format!("param_map.{key}"), reason);
        }
    }
}

/// One name of the map with its targets; `names` are those before it.
fn check_entry<'a>(
    group: &Group,
    key: &'a str,
    targets: &[String],
    names: &mut Vec<Name<'a>>,
) -> Result<(), &'static str> {
    let name = match Name::parse(key) {
        Ok(_) if key.contains('.') => return Err("dotted"),
        Ok(name) => name,
        Err(Problem::Reserved) => return Err("reserved"),
        Err(_) => return Err("bad_name"),
    };
    if names.contains(&name) {
        return Err("duplicate");
    }
    names.push(name);
    match targets.len() {
        0 => Err("empty"),
        1..=MAX_PARAMS => targets.iter().find_map(|text| target_fault(group, text)).map_or(Ok(()), Err),
        _ => Err("too_many"),
    }
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
