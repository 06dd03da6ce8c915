//! Pushers: Services, Presets and Groups, and the chains that they form.

use super::id::{AccountId, PusherId};
use super::params::{Params, ServiceSpec};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most members of a Group.
pub const MAX_MEMBERS: usize = 5;
/// Most Pushers from the one called to the Service, both included.
pub const MAX_DEPTH: usize = 8;

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
