//! A Preset or Group as others than its owner may see it: with every secret masked, wherever in the chain it is one.

use serde_json::Value;

use super::group::{position, target};
use super::mask::{hide, mask_value};
use super::modifier::{AT, DELAY, Name};
use super::params::{ParamType, Params, ServiceSpec};
use super::pusher::{Group, Preset, Target};

/// The predefined parameters of a Preset without its secrets. `target` is what a push to it is aimed at; without one,
/// because the chain is broken, nothing is known to be harmless.
pub fn params_of_preset(preset: &Preset, target: Option<&Target>) -> Params {
    let mut shown = preset.params.clone();
    for (given, value) in &mut shown {
        let reached: Vec<_> = target.map_or_else(Vec::new, |target| {
            let places = reached(target, given).places.into_iter();
            places.filter_map(|(at, name)| Some((target.service(at)?, name))).collect()
        });
        *value = as_shown(value, &reached);
    }
    shown
}

/// A Group without the secrets of its members.
pub fn group_for_others(group: &Group, target: Option<&Target>) -> Group {
    let mut shown = group.clone();
    for (at, member) in shown.pushers.iter_mut().enumerate() {
        let service = target.and_then(|target| target.service(at));
        for (given, value) in &mut member.params {
            let reached: Vec<_> = service.zip(Name::parse(given).ok()).into_iter().collect();
            *value = as_shown(value, &reached);
        }
    }
    shown
}

/// Where a name may get.
#[derive(Default)]
pub(super) struct Reached<'a> {
    /// Whether it is a modifier's.
    pub fills: bool,
    /// The deliveries, by their places in the plan, and what it is called there.
    pub places: Vec<(usize, Name<'a>)>,
}

/// Where a name gets that a Preset above all members gives, or one of a target without members.
pub(super) fn reached<'a>(target: &'a Target, given: &'a str) -> Reached<'a> {
    match target {
        Target::Single(_) => reached_at(0, given),
        Target::Group { group, .. } => Name::parse_dotted(given).map_or_else(
            |_| Reached::default(),
            |name| Reached { fills: name.hole.is_some(), places: dealt(group, &name) },
        ),
    }
}

/// Where a name gets that is given for one delivery.
pub(super) fn reached_at(position: usize, given: &str) -> Reached<'_> {
    Name::parse(given).map_or_else(
        |_| Reached::default(),
        |name| Reached { fills: name.hole.is_some(), places: vec![(position, name)] },
    )
}

/// The members that a name in front of a Group may reach, by their places, and what it is called there.
fn dealt<'a>(group: &'a Group, name: &Name<'a>) -> Vec<(usize, Name<'a>)> {
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
    let declared =
        || reached.iter().filter_map(|(service, name)| Some((service.param(&name.base)?, name.hole.is_some())));
    let says_most =
        declared().find(|(spec, _)| spec.secret).or_else(|| declared().find(|(spec, _)| spec.kind == ParamType::Url));
    match says_most {
        Some((spec, true)) if spec.secret => hide(value),
        // It may be where the address has its password.
        Some((_, true)) if value.as_str().is_some_and(|part| part.contains(['@', ':'])) => hide(value),
        Some((spec, false)) => mask_value(spec, value),
        _ if reached.iter().any(|(service, name)| is_known(service, &name.base)) => value.clone(),
        _ => hide(value),
    }
}

fn is_known(service: &ServiceSpec, base: &str) -> bool {
    service.accepts_any || service.param(base).is_some() || base == DELAY || base == AT
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
