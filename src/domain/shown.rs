//! A Preset or Group as others than its owner may see it: with every secret masked, wherever in the chain it is one.

use serde_json::Value;

use super::group::{position, target};
use super::mask::{hide, mask_value};
use super::modifier::{AT, DELAY, Name};
use super::params::{Params, ServiceSpec};
use super::pusher::{Group, Preset, Target};

/// The predefined parameters of a Preset without its secrets. `target` is what a push to it is aimed at; without one,
/// because the chain is broken, nothing is known to be harmless.
pub fn params_of_preset(preset: &Preset, target: Option<&Target>) -> Params {
    let mut shown = preset.params.clone();
    for (given, value) in &mut shown {
        let reached = match (target, Name::parse_dotted(given)) {
            (Some(Target::Single(chain)), Ok(_)) => {
                Name::parse(given).map(|name| vec![(&*chain.service, name)]).unwrap_or_default()
            }
            (Some(Target::Group { group, chains, .. }), Ok(name)) => {
                let dealt = dealt(group, &name).into_iter();
                dealt.filter_map(|(at, name)| Some((&*chains.get(at)?.service, name))).collect()
            }
            _ => Vec::new(),
        };
        *value = as_shown(value, &reached);
    }
    shown
}

/// A Group without the secrets of its members.
pub fn group_for_others(group: &Group, target: Option<&Target>) -> Group {
    let mut shown = group.clone();
    for (at, member) in shown.pushers.iter_mut().enumerate() {
        let service = match target {
            Some(Target::Group { chains, .. }) => chains.get(at).map(|chain| &*chain.service),
            _ => None,
        };
        for (given, value) in &mut member.params {
            let reached: Vec<_> = service.zip(Name::parse(given).ok()).into_iter().collect();
            *value = as_shown(value, &reached);
        }
    }
    shown
}

/// The members that a name in front of a Group may reach, by their places, and what it is called there.
pub(super) fn dealt<'a>(group: &'a Group, name: &Name<'a>) -> Vec<(usize, Name<'a>)> {
    if let Some((member, inner)) = name.split_member() {
        return position(&group.pushers, member).map(|at| (at, inner)).into_iter().collect();
    }
    // A modifier of a mapped name fills what the map then hands on.
    let mapped = group.param_map.iter().filter(|(mapped, _)| {
        Name::parse(mapped).is_ok_and(|mapped| mapped.base == name.base && (mapped == *name || mapped.hole.is_none()))
    });
    let mut reached: Vec<_> =
        mapped.flat_map(|(_, targets)| targets).filter_map(|text| target(&group.pushers, text)).collect();
    if reached.is_empty() {
        reached.extend((0..group.pushers.len()).map(|at| (at, name.clone())));
    }
    reached
}

/// A value as it may be shown, by where it may end up. What no Service knows may be a secret under a mistyped name.
fn as_shown(value: &Value, reached: &[(&ServiceSpec, Name<'_>)]) -> Value {
    let secret = reached.iter().find_map(|(service, name)| {
        let spec = service.param(&name.base).filter(|spec| spec.secret)?;
        Some((spec, name.hole.is_some()))
    });
    match secret {
        Some((_, true)) => hide(value),
        Some((spec, false)) => mask_value(spec, value),
        None if reached.iter().any(|(service, name)| is_known(service, &name.base)) => value.clone(),
        None => hide(value),
    }
}

fn is_known(service: &ServiceSpec, base: &str) -> bool {
    service.accepts_any || service.param(base).is_some() || base == DELAY || base == AT
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
