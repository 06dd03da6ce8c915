//! The last step: what has come down to a Service becomes its parameters, each of its declared type, or the list of
//! all that is wrong.

use super::pool::{Entry, Faults, Given, Origin, Pool};
use super::{Delivery, Resolved};
use crate::domain::modifier::{AT, DELAY, Name};
use crate::domain::params::{ParamSpec, ParamType, ServiceSpec, check_text, convert, convert_text};
use crate::domain::refusal::Problem;
use crate::domain::schedule;
use crate::domain::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// Below every Preset.
const RANK: u32 = u32::MAX;

/// A delivery and the names, as they were given, that had a part in it.
pub(super) struct Finished<'a> {
    pub delivery: Delivery,
    pub used: Vec<&'a str>,
}

/// Ends a chain in its Service.
pub(super) fn finish<'a>(
    mut pool: Pool<'a>,
    service: &'a Arc<ServiceSpec>,
    now: Timestamp,
    faults: &mut Faults<'_>,
) -> Finished<'a> {
    add_defaults(&mut pool, service);
    pool.apply(faults);
    let mut out = Out { params: Vec::with_capacity(pool.entries.len()), used: Vec::new(), faults };
    let due = out.schedule(&mut pool, now);
    for spec in &service.params {
        let entry = pool.entries.remove(&Name::plain(&spec.name));
        out.declared(spec, entry);
    }
    let ignored = out.rest(pool, service.accepts_any);
    let Out { params, used, faults } = out;
    let name = faults.member.map(str::to_owned);
    Finished { delivery: Delivery { name, service: Arc::clone(service), params, ignored, due }, used }
}

/// The Service's level: a default stands in for what is not given, taken away, or the empty text of what is not text.
fn add_defaults<'a>(pool: &mut Pool<'a>, service: &'a ServiceSpec) {
    for spec in &service.params {
        let Some(default) = &spec.default else { continue };
        let name = Name::plain(&spec.name);
        let stays = pool.entries.get(&name).is_some_and(|entry| !counts_as_absent(spec, entry));
        if !stays {
            pool.entries.insert(name, Entry::new(&spec.name, Given::Json(default), Origin::Service, RANK));
        }
    }
}

fn counts_as_absent(spec: &ParamSpec, entry: &Entry<'_>) -> bool {
    let textual = matches!(spec.kind, ParamType::String | ParamType::Text);
    let is_empty = || matches!(entry.render(), Ok(Some(text)) if text.is_empty());
    entry.is_null() || (!textual && is_empty())
}

struct Out<'a, 'o, 'p> {
    params: Vec<(String, Resolved)>,
    used: Vec<&'a str>,
    faults: &'o mut Faults<'p>,
}

impl<'a> Out<'a, '_, '_> {
    /// Takes `delay` and `at` out and reads them.
    fn schedule(&mut self, pool: &mut Pool<'a>, now: Timestamp) -> Timestamp {
        let delay = self.reserved(pool, DELAY);
        let at = self.reserved(pool, AT);
        if delay.is_none() && at.is_none() {
            return now;
        }
        schedule::due(delay.as_ref(), at.as_ref(), now).unwrap_or_else(|problems| {
            for problem in problems {
                self.faults.add(problem.param, problem.problem);
            }
            now
        })
    }

    /// The value of a reserved name; `None` also if it is at fault, which is then reported.
    fn reserved(&mut self, pool: &mut Pool<'a>, name: &'static str) -> Option<Value> {
        let mut entry = pool.entries.remove(&Name::plain(name))?;
        if entry.is_null() {
            return None;
        }
        self.used.push(entry.given);
        if !self.is_complete(name, &mut entry) {
            return None;
        }
        match entry.render() {
            Ok(Some(text)) => Some(Value::String(text.into_owned())),
            Ok(None) => whole_value(&entry).cloned(),
            Err(problem) => {
                self.faults.add(name, problem);
                None
            }
        }
    }

    /// A parameter that the Service declares.
    fn declared(&mut self, spec: &'a ParamSpec, entry: Option<Entry<'a>>) {
        let mut value = Ok(None);
        let mut from = Origin::Service;
        if let Some(mut entry) = entry.filter(|entry| !entry.is_null()) {
            from = entry.origin;
            if entry.rank != RANK {
                self.used.push(entry.given);
            }
            if !self.is_complete(&spec.name, &mut entry) {
                return;
            }
            value = converted(spec, &entry);
        }
        // What the placeholders made of it may be the empty text; then the default stands in, as for what was not given.
        if let (Ok(None), Some(default), false) = (&value, &spec.default, matches!(from, Origin::Service)) {
            from = Origin::Service;
            if !self.is_complete(&spec.name, &mut Entry::new(&spec.name, Given::Json(default), from, RANK)) {
                return;
            }
            value = convert(spec, default);
        }
        match value {
            Ok(Some(value)) => self.params.push((spec.name.clone(), Resolved { value, from: from.to_source() })),
            Ok(None) if spec.required => self.faults.add(&spec.name, Problem::Missing),
            Ok(None) => {}
            Err(problem) => self.faults.add(&spec.name, problem),
        }
    }

    /// Whether a value can be used: not at fault, and no placeholder open that its author left for others to fill.
    fn is_complete(&mut self, name: &str, entry: &mut Entry<'a>) -> bool {
        let is_faulty = matches!(entry.value, Given::Faulty);
        if !entry.origin.is_predefined() {
            return !is_faulty;
        }
        let open = entry.open();
        for hole in open {
            self.faults.add(name, Problem::Unfilled(*hole));
        }
        open.is_empty() && !is_faulty
    }

    /// What no declaration has taken: passed on if the Service accepts anything, else ignored, as are the modifiers
    /// that found no placeholder. Gives the names ignored.
    fn rest(&mut self, pool: Pool<'a>, accepts_any: bool) -> Vec<String> {
        let mut ignored = Vec::new();
        let used = &pool.used;
        for (name, mut entry) in pool.entries {
            if entry.is_null() {
                continue;
            }
            if name.hole.is_some() {
                // A nearer one of the same name has done the work.
                if used.iter().all(|(other, _)| *other != name) {
                    ignored.push(entry.given.to_owned());
                }
            } else if accepts_any {
                self.used.push(entry.given);
                self.undeclared(&name, &mut entry);
            } else {
                ignored.push(entry.given.to_owned());
            }
        }
        self.used.extend(used.iter().map(|(_, given)| given));
        ignored.sort_unstable();
        ignored.dedup();
        ignored
    }

    fn undeclared(&mut self, name: &Name<'a>, entry: &mut Entry<'a>) {
        if !self.is_complete(&name.base, entry) {
            return;
        }
        let value = match entry.render() {
            Ok(Some(text)) => check_text(&text).map(|()| Value::String(text.into_owned())),
            Ok(None) => Ok(whole_value(entry).cloned().unwrap_or_default()),
            Err(problem) => Err(problem),
        };
        match value {
            Ok(value) => {
                let from = entry.origin.to_source();
                self.params.push((name.base.clone().into_owned(), Resolved { value, from }));
            }
            Err(problem) => self.faults.add(&name.base, problem),
        }
    }
}

/// A value that is not text.
fn whole_value<'a>(entry: &Entry<'a>) -> Option<&'a Value> {
    match entry.value {
        Given::Json(value) => Some(value),
        _ => None,
    }
}

fn converted(spec: &ParamSpec, entry: &Entry<'_>) -> Result<Option<Value>, Problem> {
    match entry.render()? {
        Some(text) => convert_text(spec, text),
        None => whole_value(entry).map_or(Ok(None), |value| convert(spec, value)),
    }
}
