//! From a call and the chains that it is aimed at to the final parameters of every delivery, each with where it came
//! from. Looks nothing up and sends nothing.

mod finish;
#[cfg(test)]
mod fixture;
mod front;
#[cfg(test)]
mod group_tests;
mod layers;
mod lent;
#[cfg(test)]
mod oracle;
pub(in crate::domain) mod pool;
mod predefined;
#[cfg(test)]
mod predefined_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use super::group::BELOW_DEALT;
use super::id::PusherId;
use super::modifier::Name;
use super::params::{Params, ServiceSpec};
use super::pusher::{Chain, Group, Preset, Strategy, Target};
use super::refusal::{ParamProblem, Refusal};
use super::time::Timestamp;
use finish::{Finished, finish};
use front::Front;
use layers::CONTENT;
pub use lent::{Lent, hidden_secrets, lent, unmarked_secrets};
use pool::{Faults, Origin, Pool};
pub use predefined::{check_dependent, check_predefined};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The three layers of a call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// A JSON object or a form. A key that a form repeats is an array of strings.
    pub body: Params,
    /// A `text/plain` body: it stands for what `:content` stands for, with the body's precedence.
    pub body_text: Option<String>,
    /// `:content` in the URL, decoded. Empty is given, too.
    pub content: Option<String>,
    /// The query. A key that it repeats is an array of strings.
    pub query: Params,
}

/// Where the value of a parameter comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Body,
    /// `:content` in the URL.
    Content,
    Query,
    /// Predefined by a Preset, or by a Group for its member.
    Pusher(PusherId),
    /// The Service's default.
    Service,
}

impl Source {
    /// The word for it: `body`, `content`, `query`, the Pusher's id, `service`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Body => "body",
            Self::Content => "content",
            Self::Query => "query",
            Self::Pusher(id) => id.as_str(),
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The final value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Of the declared type, placeholders filled.
    pub value: Value,
    pub from: Source,
}

/// One delivery through one Service.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The member's name, if a Group was called.
    pub name: Option<String>,
    pub service: Arc<ServiceSpec>,
    /// The declared ones in the Service's order, then the others by name. Absent ones are left out.
    pub params: Vec<(String, Resolved)>,
    /// What this delivery has no use for: names as they were given, sorted, each once.
    pub ignored: Vec<String>,
    /// When it is to go out; not before the time of the call.
    pub due: Timestamp,
}

impl Delivery {
    /// The parameters without where they came from.
    pub fn to_params(&self) -> Params {
        self.params.iter().map(|(name, resolved)| (name.clone(), resolved.value.clone())).collect()
    }

    /// The same, taken out.
    pub fn into_params(self) -> Params {
        self.params.into_iter().map(|(name, resolved)| (name, resolved.value)).collect()
    }
}

/// What a call comes to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One; for a Group one a member, in the members' order.
    pub deliveries: Vec<Delivery>,
    /// What no delivery has a use for: names as they were given, sorted, each once.
    pub ignored: Vec<String>,
    pub strategy: Strategy,
}

/// Resolves a call. The target is taken to be valid, as `pusher::follow` and the checks at saving leave it.
///
/// # Errors
/// `Refusal::Params` with everything that is wrong, members' parameters named `member.param`.
pub fn resolve(target: &Target, call: &Call, now: Timestamp) -> Result<Plan, Refusal> {
    let mut problems = layers::check_count(call);
    if !problems.is_empty() {
        return Err(Refusal::Params(problems));
    }
    let plan = resolve_anyway(target, call, now, &mut problems);
    if problems.is_empty() { Ok(plan) } else { Err(Refusal::Params(problems)) }
}

/// What can be resolved, whatever else is wrong.
fn resolve_anyway(target: &Target, call: &Call, now: Timestamp, problems: &mut Vec<ParamProblem>) -> Plan {
    match target {
        Target::Single(chain) => resolve_single(chain, call, now, problems),
        Target::Group { presets, group, chains } => resolve_group(presets, group, chains, call, now, problems),
    }
}

fn resolve_single(chain: &Chain, call: &Call, now: Timestamp, problems: &mut Vec<ParamProblem>) -> Plan {
    let mut faults = Faults { problems, member: None };
    let content = redefined(&chain.presets).unwrap_or(CONTENT);
    let pool = layers::read(call, Some(content), Name::parse, &mut faults);
    let Finished { delivery, .. } = descend(pool, chain, Origin::LAYERS, now, &mut faults);
    let ignored = delivery.ignored.clone();
    Plan { deliveries: vec![delivery], ignored, strategy: Strategy::All }
}

fn resolve_group<'a>(
    presets: &'a [Arc<Preset>],
    group: &'a Group,
    chains: &'a [Chain],
    call: &'a Call,
    now: Timestamp,
    problems: &mut Vec<ParamProblem>,
) -> Plan {
    let mut tally = Tally::default();
    let pools = Front { presets, group, call }.deal(chains, &mut tally, problems);
    let mut deliveries = Vec::with_capacity(chains.len());
    for ((member, chain), mut pool) in group.pushers.iter().zip(chains).zip(pools) {
        let mut faults = Faults { problems: &mut *problems, member: Some(&member.name) };
        pool.level(&member.params, &group.id, BELOW_DEALT, Name::parse, &mut faults);
        let finished = descend(pool, chain, BELOW_DEALT + 1, now, &mut faults);
        tally.add(&finished);
        deliveries.push(finished.delivery);
    }
    Plan { deliveries, ignored: tally.ignored_by_all(), strategy: group.strategy }
}

/// The parameter that `:content` stands for: the nearest Preset that sets one decides.
fn redefined(presets: &[Arc<Preset>]) -> Option<&str> {
    presets.iter().find_map(|preset| preset.redefine_content.as_deref())
}

/// Goes down the Presets of a chain to its Service; `rank` is the first Preset's.
fn descend<'a>(
    mut pool: Pool<'a>,
    chain: &'a Chain,
    rank: u32,
    now: Timestamp,
    faults: &mut Faults<'_>,
) -> Finished<'a> {
    for (rank, preset) in (rank..).zip(&chain.presets) {
        pool.level(&preset.params, &preset.id, rank, Name::parse, faults);
    }
    finish(pool, &chain.service, now, faults)
}

/// Which names the members had a use for.
#[derive(Default)]
struct Tally {
    used: BTreeSet<String>,
    ignored: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, finished: &Finished<'_>) {
        self.used.extend(finished.used.iter().map(|given| (*given).to_owned()));
        self.ignored.extend(finished.delivery.ignored.iter().cloned());
    }

    fn ignored_by_all(self) -> Vec<String> {
        self.ignored.difference(&self.used).cloned().collect()
    }
}
