//! Secrets that a shared Pusher lends to others: they are used where it sends them, and nowhere else. Finds where a
//! delivery has such secrets; what a Service makes of the parameters is not known here.

use super::{Call, Delivery, Source, resolve_anyway};
use crate::domain::id::{AccountId, PusherId};
use crate::domain::params::Params;
use crate::domain::pusher::{Chain, Target};
use crate::domain::time::Timestamp;

/// A shared Pusher whose secrets a delivery carries, though others than its owner had a say in the delivery.
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
    shared: bool,
}

/// The shared Pushers that lend secrets to a delivery. `position` is the delivery's place in the plan; `caller` the
/// account that pushes, if it is known.
pub fn lent(
    target: &Target,
    position: usize,
    delivery: &Delivery,
    caller: Option<&AccountId>,
    now: Timestamp,
) -> Vec<Lent> {
    if !levels(target, position).any(|level| level.shared) {
        return Vec::new();
    }
    let levels: Vec<Level<'_>> = levels(target, position).collect();
    let mut found: Vec<Lent> = Vec::new();
    for (at, level) in levels.iter().enumerate().filter(|(_, level)| level.shared) {
        // Upwards, as far as it is its owner who speaks.
        let own = levels[..at].iter().rev().take_while(|above| above.owner == level.owner).count();
        let top = at - own;
        let strangers = top > 0 || caller != Some(level.owner);
        if strangers && gives_a_secret(delivery, level.id) {
            found.push(Lent { lender: level.id.clone(), own: alone(target, position, top, now) });
        }
    }
    found
}

fn gives_a_secret(delivery: &Delivery, pusher: &PusherId) -> bool {
    let is_secret = |name: &str| delivery.service.param(name).is_some_and(|spec| spec.secret);
    let mut params = delivery.params.iter();
    params.any(|(name, given)| matches!(&given.from, Source::Pusher(id) if id == pusher) && is_secret(name))
}

/// The levels from the Pusher called down to the one above the Service.
fn levels(target: &Target, position: usize) -> impl Iterator<Item = Level<'_>> {
    let (above, group, chain) = match target {
        Target::Single(chain) => (&[][..], None, Some(chain)),
        Target::Group { presets, group, chains } => (&presets[..], Some(group), chains.get(position)),
    };
    let above = above.iter().map(|preset| Level { id: &preset.id, owner: &preset.owner, shared: preset.shared });
    let group = group.map(|group| Level { id: &group.id, owner: &group.owner, shared: group.shared });
    let below = chain.into_iter().flat_map(|chain| &chain.presets);
    let below = below.map(|preset| Level { id: &preset.id, owner: &preset.owner, shared: preset.shared });
    above.chain(group).chain(below)
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
