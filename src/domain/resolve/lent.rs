//! Secrets that a Pusher lends to whoever else may push to it or build on it: they are used where it sends them, and
//! nowhere else. Of one that is not shared that is whoever was given its id, to push and not to read. Finds where a
//! delivery has such secrets; what a Service makes of the parameters is not known here.
//!
//! A secret is what some Service that its name may reach declares as one: in front of a Group, a member that takes any
//! parameter gets it as well, and does not know it for a secret. And a modifier's value may stand in a parameter that
//! somebody else gave.

use std::collections::BTreeSet;

use super::{Call, Delivery, Source, resolve_anyway};
use crate::domain::id::{AccountId, PusherId};
use crate::domain::params::Params;
use crate::domain::pusher::{Chain, Group, Preset, Target};
use crate::domain::shown::{Reached, reached, reached_at};
use crate::domain::time::Timestamp;

/// A Pusher whose secrets a delivery carries, though others than its owner had a say in the delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Lent {
    /// The Pusher.
    pub lender: PusherId,
    /// What it comes to with nothing given, or what its owner has built on it does: where they send its secrets.
    pub own: Params,
}

/// A level of the chain that a delivery came down.
struct Level<'a> {
    id: &'a PusherId,
    owner: &'a AccountId,
    /// What it predefines for this delivery, and perhaps for others.
    params: &'a Params,
    /// Whether its parameters are yet to be dealt out to members.
    above_members: bool,
}

impl<'a> Level<'a> {
    fn of_preset(preset: &'a Preset, above_members: bool) -> Self {
        let Preset { id, owner, params, .. } = preset;
        Self { id, owner, params, above_members }
    }

    /// A Group, as the member at a place sees it.
    fn of_group(group: &'a Group, position: usize) -> Option<Self> {
        let Group { id, owner, pushers, .. } = group;
        let params = &pushers.get(position)?.params;
        Some(Self { id, owner, params, above_members: false })
    }
}

/// A parameter of a delivery that a secret may get into without its Service's knowing.
struct Hidden {
    param: String,
    /// Whether in the place of a placeholder, whoever gave that.
    fills: bool,
}

/// The Pushers that lend secrets to a delivery. `position` is the delivery's place in the plan; `caller` the
/// account that pushes, if it is known.
pub fn lent(
    target: &Target,
    position: usize,
    delivery: &Delivery,
    caller: Option<&AccountId>,
    now: Timestamp,
) -> Vec<Lent> {
    // The common case, and the cheap one: somebody pushes to what is their own.
    if levels(target, position).all(|level| caller == Some(level.owner)) {
        return Vec::new();
    }
    let levels: Vec<Level<'_>> = levels(target, position).collect();
    let mut found: Vec<Lent> = Vec::new();
    for (at, level) in levels.iter().enumerate() {
        // Upwards, as far as it is its owner who speaks.
        let own = levels[..at].iter().rev().take_while(|above| above.owner == level.owner).count();
        let top = at - own;
        let strangers = top > 0 || caller != Some(level.owner);
        if strangers && gives_a_secret(target, position, delivery, level) {
            found.push(Lent { lender: level.id.clone(), own: alone(target, position, top, now) });
        }
    }
    found
}

fn gives_a_secret(target: &Target, position: usize, delivery: &Delivery, level: &Level<'_>) -> bool {
    let is_secret = |name: &str| delivery.service.param(name).is_some_and(|spec| spec.secret);
    let hidden = hidden(target, position, level);
    delivery.params.iter().any(|(name, given)| {
        let is_its_own = matches!(&given.from, Source::Pusher(id) if id == level.id);
        let hides_one = || hidden.iter().any(|hidden| hidden.param == *name && (hidden.fills || is_its_own));
        (is_its_own && is_secret(name)) || hides_one()
    })
}

/// Parameters of a delivery that may have a secret in them without its Service's knowing, or beside what somebody else
/// gave: of these nothing can be shown, not even its ends.
pub fn hidden_secrets(target: &Target, position: usize) -> BTreeSet<String> {
    levels(target, position).flat_map(|level| hidden(target, position, &level)).map(|hidden| hidden.param).collect()
}

/// Those of them that their Service does not take for secrets: a channel that repeats what it was sent would show them.
pub fn unmarked_secrets(target: &Target, position: usize) -> Vec<String> {
    // Only what is dealt out to members gets where it is not known for what it is.
    if !levels(target, position).any(|level| level.above_members) {
        return Vec::new();
    }
    hidden_secrets(target, position).into_iter().filter(|name| !is_secret(target, position, name)).collect()
}

fn is_secret(target: &Target, position: usize, param: &str) -> bool {
    target.service(position).and_then(|service| service.param(param)).is_some_and(|spec| spec.secret)
}

fn hidden(target: &Target, position: usize, level: &Level<'_>) -> Vec<Hidden> {
    let mut found = Vec::new();
    for (given, _) in level.params.iter().filter(|(_, value)| !value.is_null()) {
        let Reached { fills, places } =
            if level.above_members { reached(target, given) } else { reached_at(position, given) };
        if !places.iter().any(|(at, name)| is_secret(target, *at, &name.base)) {
            continue;
        }
        for (at, name) in places.into_iter().filter(|(at, _)| *at == position) {
            let fills = fills || name.hole.is_some();
            if fills || !is_secret(target, at, &name.base) {
                found.push(Hidden { param: name.base.into_owned(), fills });
            }
        }
    }
    found
}

/// The levels from the Pusher called down to the one above the Service.
fn levels(target: &Target, position: usize) -> impl Iterator<Item = Level<'_>> {
    let (above, group, chain) = match target {
        Target::Single(chain) => (&[][..], None, Some(chain)),
        Target::Group { presets, group, chains } => (&presets[..], Some(group), chains.get(position)),
    };
    let below = chain.into_iter().flat_map(|chain| &chain.presets);
    let above = above.iter().map(|preset| Level::of_preset(preset, true));
    above
        .chain(group.and_then(move |group| Level::of_group(group, position)))
        .chain(below.map(|preset| Level::of_preset(preset, false)))
}

/// What the chain from a level on comes to by itself.
fn alone(target: &Target, position: usize, level: usize, now: Timestamp) -> Params {
    let from = |chain: &Chain, skip: usize| {
        let presets = chain.presets.get(skip..).unwrap_or_default().to_vec();
        Target::Single(Chain { presets, service: chain.service.clone() })
    };
    let (part, position) = match target {
        Target::Single(chain) => (from(chain, level), 0),
        Target::Group { presets, group, chains } => {
            match (level.checked_sub(presets.len() + 1), chains.get(position)) {
                (Some(skip), Some(chain)) => (from(chain, skip), 0),
                _ => {
                    let presets = presets.get(level..).unwrap_or_default().to_vec();
                    (Target::Group { presets, group: group.clone(), chains: chains.clone() }, position)
                }
            }
        }
    };
    let mut plan = resolve_anyway(&part, &Call::default(), now, &mut Vec::new());
    let there = position < plan.deliveries.len();
    if there { plan.deliveries.swap_remove(position).into_params() } else { Params::new() }
}
