//! Pushers: Services, Presets and Groups, and the chains that they form.

use super::group::{position, target};
use super::id::{AccountId, PusherId};
use super::modifier::{AT, DELAY, Name};
use super::params::{MAX_NAME, MAX_PARAMS, Params, ServiceSpec, check_value};
use super::refusal::{ParamProblem, Problem, Refusal};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most members of a Group.
pub const MAX_MEMBERS: usize = 5;
/// Most Pushers from the one called to the Service, both included.
pub const MAX_DEPTH: usize = 8;
/// Longest name of a Preset or Group, in characters.
pub const MAX_TITLE: usize = 100;

/// A Pusher built on another one, with parameters of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    pub id: PusherId,
    pub owner: AccountId,
    pub name: String,
    pub base_pusher: PusherId,
    pub params: Params,
    /// The parameter that `:content` stands for.
    pub redefine_content: Option<String>,
    pub protected: bool,
    pub shared: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One to five named members that are pushed to together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: PusherId,
    pub owner: AccountId,
    pub name: String,
    pub pushers: Vec<Member>,
    /// A name, and the `member.param` targets that take its value.
    pub param_map: ParamMap,
    pub redefine_content: Option<String>,
    pub strategy: Strategy,
    pub protected: bool,
    pub shared: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A name and its targets, in the order written.
pub type ParamMap = Vec<(String, Vec<String>)>;

/// A member of a Group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub base_pusher: PusherId,
    #[serde(default)]
    pub params: Params,
}

/// How a Group delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// To every member.
    #[default]
    All,
    /// To one after the other, until one succeeds.
    Fallback,
}

/// The Presets from the one called (or a member's base) down to a Service.
#[derive(Debug, Clone)]
pub struct Chain {
    /// From the nearest to the call to the farthest.
    pub presets: Vec<Arc<Preset>>,
    /// Where the chain ends.
    pub service: Arc<ServiceSpec>,
}

/// What a push is aimed at, with every chain followed to its end.
#[derive(Debug, Clone)]
pub enum Target {
    /// A Service, or Presets that end in one.
    Single(Chain),
    /// A Group, perhaps with Presets in front of it.
    Group {
        /// From the one called down to the Group; empty if the Group itself was called.
        presets: Vec<Arc<Preset>>,
        group: Arc<Group>,
        /// One chain a member, in the members' order.
        chains: Vec<Chain>,
    },
}

/// Anything that can be pushed to.
#[derive(Debug, Clone)]
pub enum Pusher {
    Service(Arc<ServiceSpec>),
    Preset(Arc<Preset>),
    Group(Arc<Group>),
}

/// Why a chain could not be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfollowed {
    /// `find` does not have this Pusher: load it and try again, or it does not exist.
    NotLoaded(PusherId),
    /// The chain leads nowhere, whatever is loaded.
    Refused(Refusal),
}

impl From<Refusal> for Unfollowed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Follows the bases from a Pusher down to the Service, or to the Services of a Group.
///
/// # Errors
/// `NotLoaded` for the first Pusher that `find` does not have; else `Cycle`, `ChainTooDeep` (a Group between its
/// Presets and its members counts as one of the chain), `GroupInGroup`, `GroupEmpty` or `GroupFull`.
pub fn follow(root: &PusherId, find: &dyn Fn(&PusherId) -> Option<Pusher>) -> Result<Target, Unfollowed> {
    let mut path = Vec::new();
    let (presets, end) = follow_presets(root, &mut path, find)?;
    let group = match end {
        End::Service(service) => return Ok(Target::Single(Chain { presets, service })),
        End::Group(group) => group,
    };
    check_size(&group)?;
    let depth = path.len();
    let mut chains = Vec::with_capacity(group.pushers.len());
    for member in &group.pushers {
        path.truncate(depth);
        match follow_presets(&member.base_pusher, &mut path, find)? {
            (presets, End::Service(service)) => chains.push(Chain { presets, service }),
            (_, End::Group(inner)) => return Err(Refusal::GroupInGroup(inner.id.clone()).into()),
        }
    }
    Ok(Target::Group { presets, group, chains })
}

/// Where Presets end.
enum End {
    Service(Arc<ServiceSpec>),
    Group(Arc<Group>),
}

/// Follows Presets to the first Pusher that is none. `path` holds what was passed on the way from the root.
fn follow_presets(
    from: &PusherId,
    path: &mut Vec<PusherId>,
    find: &dyn Fn(&PusherId) -> Option<Pusher>,
) -> Result<(Vec<Arc<Preset>>, End), Unfollowed> {
    let mut presets = Vec::new();
    let mut id = from.clone();
    loop {
        if path.contains(&id) {
            return Err(Refusal::Cycle(id).into());
        }
        if path.len() == MAX_DEPTH {
            return Err(Refusal::ChainTooDeep(MAX_DEPTH).into());
        }
        let pusher = find(&id).ok_or_else(|| Unfollowed::NotLoaded(id.clone()))?;
        path.push(id);
        match pusher {
            Pusher::Service(service) => return Ok((presets, End::Service(service))),
            Pusher::Group(group) => return Ok((presets, End::Group(group))),
            Pusher::Preset(preset) => {
                id = preset.base_pusher.clone();
                presets.push(preset);
            }
        }
    }
}

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

fn check_size(group: &Group) -> Result<(), Refusal> {
    match group.pushers.len() {
        0 => Err(Refusal::GroupEmpty),
        1..=MAX_MEMBERS => Ok(()),
        _ => Err(Refusal::GroupFull(MAX_MEMBERS)),
    }
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

#[cfg(test)]
mod tests;
