//! Dealing: which member of a Group gets which of the parameters that reach it. What becomes of them in the member's
//! own chain is not its business.

use super::modifier::Name;
use super::pusher::{Group, Member};
use super::refusal::Problem;
use super::resolve::pool::{Entry, Faults, Pool};

/// Ranks below which the parameters of a member and of its chain stand; everything dealt stands above.
pub(super) const BELOW_DEALT: u32 = 4 << 16;

/// By which rule of the dealing a value came to a member; the first beats the others, whatever layer it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// `member.param`.
    Dotted = 0,
    /// Through the Group's map.
    Mapped = 1,
    /// To every member.
    Plain = 2,
}

/// The rank of a value among those dealt to one member: by rule, then by the layer that it came from, then by its
/// place in the map. Layers and map have far fewer than 256 places.
pub(super) fn rank(rule: Rule, layer: u32, place: usize) -> u32 {
    let place = u32::try_from(place).unwrap_or(u32::MAX).min(0xff);
    ((rule as u32) << 16) | (layer.min(0xff) << 8) | place
}

/// The entry of a Group's map for one name, ready to be compared.
struct Mapping<'a> {
    name: Name<'a>,
    targets: Vec<(usize, Name<'a>)>,
}

/// What came of dealing.
pub(super) struct Dealt<'a> {
    /// What each member got, in the members' order.
    pub pools: Vec<Pool<'a>>,
    /// Names that nobody got, as they were given: mapped to nothing.
    pub nowhere: Vec<&'a str>,
}

/// Deals what has reached a Group to its members. A dotted name that addresses no member is a problem.
pub(super) fn deal<'a>(group: &'a Group, pool: Pool<'a>, faults: &mut Faults<'_>) -> Dealt<'a> {
    let map = mappings(group);
    let mut dealt = Dealt { pools: group.pushers.iter().map(|_| Pool::default()).collect(), nowhere: Vec::new() };
    for (name, entry) in pool.entries {
        if let Some((member, inner)) = name.split_member() {
            match position(&group.pushers, member) {
                Some(at) => give(&mut dealt, at, inner, entry, (Rule::Dotted, 0), faults),
                None => faults.add(entry.given, Problem::UnknownMember),
            }
        } else if let Some((place, mapping)) = map.iter().enumerate().find(|(_, mapping)| mapping.name == name) {
            if mapping.targets.is_empty() && !entry.is_null() {
                dealt.nowhere.push(entry.given);
            }
            for (at, target) in &mapping.targets {
                give(&mut dealt, *at, target.clone(), entry.clone(), (Rule::Mapped, place), faults);
            }
        } else {
            for at in 0..group.pushers.len() {
                give(&mut dealt, at, name.clone(), entry.clone(), (Rule::Plain, 0), faults);
            }
        }
    }
    dealt
}

/// Hands a value to one member.
fn give<'a>(
    dealt: &mut Dealt<'a>,
    at: usize,
    name: Name<'a>,
    entry: Entry<'a>,
    (rule, place): (Rule, usize),
    faults: &mut Faults<'_>,
) {
    let rank = rank(rule, entry.rank, place);
    let given = entry.given;
    let entry = if name.hole.is_some() { entry.sealed() } else { Ok(entry) };
    match entry {
        Ok(entry) => dealt.pools[at].offer(name, entry.ranked(rank)),
        Err(problem) => faults.add(given, problem),
    }
}

/// The Group's map with names and targets read. What does not fit was refused when the Group was saved.
fn mappings(group: &Group) -> Vec<Mapping<'_>> {
    let mut map = Vec::with_capacity(group.param_map.len());
    for (name, targets) in &group.param_map {
        let Ok(name) = Name::parse(name) else { continue };
        map.push(Mapping { name, targets: targets.iter().filter_map(|text| target(&group.pushers, text)).collect() });
    }
    map
}

/// Reads a target, `member.param`.
pub(super) fn target<'a>(members: &[Member], text: &'a str) -> Option<(usize, Name<'a>)> {
    let (member, param) = text.split_once('.')?;
    Some((position(members, member)?, Name::parse(param).ok()?))
}

/// The place of a member.
pub(super) fn position(members: &[Member], name: &str) -> Option<usize> {
    members.iter().position(|member| member.name == name)
}
