//! The front of a Group: the call and the Presets above the members, and what each member gets of it.

use std::sync::Arc;

use super::layers::{self, CONTENT, contents};
use super::pool::{Faults, Origin, Pool};
use super::{Call, Tally, redefined};
use crate::domain::group::{self, Rule};
use crate::domain::modifier::Name;
use crate::domain::pusher::{Chain, Group, Preset};
use crate::domain::refusal::ParamProblem;

/// What lies above the members.
pub(super) struct Front<'a> {
    pub presets: &'a [Arc<Preset>],
    pub group: &'a Group,
    pub call: &'a Call,
}

impl<'a> Front<'a> {
    /// What each member gets, in the members' order.
    pub(super) fn deal(
        &self,
        chains: &'a [Chain],
        tally: &mut Tally,
        problems: &mut Vec<ParamProblem>,
    ) -> Vec<Pool<'a>> {
        let content = redefined(self.presets).or(self.group.redefine_content.as_deref());
        let has_content = self.call.content.is_some() || self.call.body_text.is_some();
        if content.is_some() || !has_content {
            return self.deal_as(content, tally, problems);
        }
        // Each way down tells of the same.
        let mut found = Vec::new();
        let pools = self.deal_by_own_names(chains, tally, &mut found);
        for problem in found {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        pools
    }

    /// Where each member's chain says what `:content` stands for. It comes down from the call under that name, above the
    /// query and what is predefined in front, with one way down for each name.
    fn deal_by_own_names(
        &self,
        chains: &'a [Chain],
        tally: &mut Tally,
        problems: &mut Vec<ParamProblem>,
    ) -> Vec<Pool<'a>> {
        let names: Vec<&'a str> = chains.iter().map(|chain| redefined(&chain.presets).unwrap_or(CONTENT)).collect();
        let mut pools: Vec<Option<Pool<'a>>> = names.iter().map(|_| None).collect();
        for (at, name) in names.iter().copied().enumerate() {
            if pools[at].is_some() {
                continue;
            }
            let as_it_is = self.means_the_same(name);
            let dealt = self.deal_as(as_it_is.then_some(name), tally, problems);
            for (place, mut pool) in dealt.into_iter().enumerate().filter(|(place, _)| names[*place] == name) {
                if !as_it_is {
                    deal_content(&mut pool, self.call, name);
                }
                pools[place] = Some(pool);
            }
        }
        pools.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Whether a name of a member's chain means the same parameter in front of the Group: there a dot addresses a member,
    /// and the map may send the name elsewhere.
    fn means_the_same(&self, name: &str) -> bool {
        let mapped = |key: &str| Name::parse(key).ok() == Name::parse(name).ok();
        !name.contains('.') && !self.group.param_map.iter().any(|(key, _)| mapped(key))
    }

    /// With `:content` under this name, or without it.
    fn deal_as(&self, content: Option<&'a str>, tally: &mut Tally, problems: &mut Vec<ParamProblem>) -> Vec<Pool<'a>> {
        let mut faults = Faults { problems, member: None };
        let mut pool = layers::read(self.call, content, Name::parse_dotted, &mut faults);
        for (rank, preset) in (Origin::LAYERS..).zip(self.presets) {
            pool.level(&preset.params, &preset.id, rank, Name::parse_dotted, &mut faults);
        }
        // The Group is a level too, though nothing is predefined there.
        pool.apply(&mut faults);
        tally.used.extend(pool.used.iter().map(|(_, given)| (*given).to_owned()));
        let dealt = group::deal(self.group, pool, &mut faults);
        tally.ignored.extend(dealt.nowhere.iter().map(|given| (*given).to_owned()));
        dealt.pools
    }
}

/// Deals `:content` to a member under a name of its own.
fn deal_content<'a>(pool: &mut Pool<'a>, call: &'a Call, given: &'a str) {
    let name = Name::parse(given).unwrap_or_else(|_| Name::plain(CONTENT));
    for entry in contents(call, given) {
        let rank = group::rank(Rule::Plain, entry.rank, 0);
        pool.offer(name.clone(), entry.ranked(rank));
    }
}
