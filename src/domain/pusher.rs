//! Pushers: Services, Presets and Groups, and the chains that they form.

mod valid;

pub use valid::{check_group, check_preset, is_declarable};

use super::id::{AccountId, PusherId};
use super::params::{Params, ServiceSpec};
use super::refusal::Refusal;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most members of a Group.
pub const MAX_MEMBERS: usize = 5;
/// Most Pushers from the one called to the Service, both included.
pub const MAX_DEPTH: usize = 8;
/// Longest name of a Preset or Group, in characters.
pub const MAX_TITLE: usize = 100;
/// Most Presets and Groups of an account that is no administrator's: nobody fills the disk with what no quota counts.
pub const MAX_PUSHERS: usize = 1000;

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

impl Target {
    /// The Service that the delivery at a place in the plan goes through.
    pub fn service(&self, position: usize) -> Option<&ServiceSpec> {
        let chain = match self {
            Self::Single(chain) => Some(chain),
            Self::Group { chains, .. } => chains.get(position),
        };
        chain.map(|chain| &*chain.service)
    }
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

/// Whether a Group has as many members as it may have.
fn check_size(group: &Group) -> Result<(), Refusal> {
    match group.pushers.len() {
        0 => Err(Refusal::GroupEmpty),
        1..=MAX_MEMBERS => Ok(()),
        _ => Err(Refusal::GroupFull(MAX_MEMBERS)),
    }
}

#[cfg(test)]
mod tests;
