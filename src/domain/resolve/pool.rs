//! The parameters on their way down: one entry a name, the best one given so far, with the placeholders that have been
//! filled. Values are borrowed from the call and the Pushers; nothing is copied before the Service is reached.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Source;
use crate::domain::id::PusherId;
use crate::domain::modifier::{Name, fill, holes};
use crate::domain::params::{MAX_CONTENT, Params};
use crate::domain::refusal::{ParamProblem, Problem};

/// Where a value comes from, borrowed.
#[derive(Debug, Clone, Copy)]
pub(in crate::domain) enum Origin<'a> {
    Body,
    Content,
    Query,
    Pusher(&'a PusherId),
    Service,
}

impl Origin<'_> {
    /// The place of a layer of the call; the Pushers' levels come after.
    pub(in crate::domain) const LAYERS: u32 = 3;

    /// Whether the value was there before the call.
    pub(in crate::domain) fn is_predefined(self) -> bool {
        matches!(self, Self::Pusher(_) | Self::Service)
    }

    pub(in crate::domain) fn to_source(self) -> Source {
        match self {
            Self::Body => Source::Body,
            Self::Content => Source::Content,
            Self::Query => Source::Query,
            Self::Pusher(id) => Source::Pusher(id.clone()),
            Self::Service => Source::Service,
        }
    }
}

/// A value as it was given.
#[derive(Debug, Clone)]
pub(in crate::domain) enum Given<'a> {
    Json(&'a Value),
    Text(Cow<'a, str>),
    /// At fault and already reported; it takes its place so that nothing else is reported because of it.
    Faulty,
}

/// What is known of one name.
#[derive(Debug, Clone)]
pub(in crate::domain) struct Entry<'a> {
    /// The name as it was spelt where it was given.
    pub given: &'a str,
    pub value: Given<'a>,
    pub origin: Origin<'a>,
    /// Which entry of one name stands: the lowest rank.
    pub rank: u32,
    /// What has been put into the placeholders, by number.
    pub fills: Vec<(u32, Cow<'a, str>)>,
    /// The placeholders still open, sorted; found when first asked for.
    open: Option<Vec<u32>>,
}

impl<'a> Entry<'a> {
    pub(in crate::domain) fn new(given: &'a str, value: Given<'a>, origin: Origin<'a>, rank: u32) -> Self {
        Self { given, value, origin, rank, fills: Vec::new(), open: None }
    }

    /// The same with another rank.
    pub(in crate::domain) fn ranked(self, rank: u32) -> Self {
        Self { rank, ..self }
    }

    /// The name is taken away: it counts as not given.
    pub(in crate::domain) fn is_null(&self) -> bool {
        matches!(self.value, Given::Json(Value::Null))
    }

    /// The text as it was given, placeholders and all.
    pub(in crate::domain) fn text(&self) -> Option<&str> {
        match &self.value {
            Given::Json(value) => value.as_str(),
            Given::Text(text) => Some(text),
            Given::Faulty => None,
        }
    }

    /// The placeholders that nothing has been put into: all of them when first asked, which is before the first is filled.
    pub(in crate::domain) fn open(&mut self) -> &[u32] {
        if self.open.is_none() {
            let mut found: Vec<u32> =
                self.text().map(|text| holes(text).map(|(_, _, hole)| hole).collect()).unwrap_or_default();
            found.sort_unstable();
            found.dedup();
            self.open = Some(found);
        }
        self.open.as_deref().unwrap_or_default()
    }

    /// Whether nothing has been put into a placeholder of this number yet, and there is one.
    fn has_open(&mut self, hole: u32) -> bool {
        self.open().binary_search(&hole).is_ok()
    }

    /// Takes a text for a placeholder that is open.
    fn take(&mut self, hole: u32, text: Cow<'a, str>) {
        self.close(hole);
        self.fills.push((hole, text));
    }

    fn close(&mut self, hole: u32) {
        if let Some(open) = &mut self.open {
            open.retain(|other| *other != hole);
        }
    }

    /// The text with everything put in that was given for its placeholders. `None` if it is not text.
    pub(in crate::domain) fn render(&self) -> Result<Option<Cow<'_, str>>, Problem> {
        let Some(text) = self.text() else { return Ok(None) };
        if self.fills.is_empty() {
            return Ok(Some(Cow::Borrowed(text)));
        }
        fill(text, &self.fills, MAX_CONTENT).map(|text| Some(Cow::Owned(text)))
    }

    /// The same value under the name of a modifier: what it holds is inserted, not looked into.
    pub(in crate::domain) fn sealed(mut self) -> Result<Self, Problem> {
        if !self.fills.is_empty()
            && let Some(text) = self.render()?
        {
            self.value = Given::Text(Cow::Owned(text.into_owned()));
            self.fills.clear();
            self.open = None;
        }
        Ok(self)
    }

    /// The text that a modifier puts in.
    fn insert(&self) -> Result<Cow<'a, str>, Problem> {
        match &self.value {
            Given::Text(text) => Ok(text.clone()),
            Given::Json(Value::String(text)) => Ok(Cow::Borrowed(text)),
            Given::Json(Value::Array(_) | Value::Object(_)) => Err(Problem::NotInsertable),
            Given::Json(value) => Ok(Cow::Owned(value.to_string())),
            Given::Faulty => Ok(Cow::Borrowed("")),
        }
    }
}

/// All names at one level.
#[derive(Debug, Default)]
pub(in crate::domain) struct Pool<'a> {
    pub entries: BTreeMap<Name<'a>, Entry<'a>>,
    /// The modifiers that found their placeholder, and how they were spelt.
    pub used: Vec<(Name<'a>, &'a str)>,
}

impl<'a> Pool<'a> {
    /// Puts a value under a name unless a better one is there.
    pub(in crate::domain) fn offer(&mut self, name: Name<'a>, entry: Entry<'a>) {
        use std::collections::btree_map::Entry as Slot;
        match self.entries.entry(name) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
            }
            Slot::Occupied(mut slot) => {
                let held = slot.get();
                let better =
                    entry.rank < held.rank || (entry.rank == held.rank && slot.key().prefers(entry.given, held.given));
                if better {
                    slot.insert(entry);
                }
            }
        }
    }

    /// Goes down one level: what is predefined there comes in below what has come so far, and the modifiers whose
    /// target is there are applied. `parse` reads the names; a name that it refuses was refused when the Pusher was
    /// saved, and is passed over.
    pub(in crate::domain) fn level(
        &mut self,
        params: &'a Params,
        pusher: &'a PusherId,
        rank: u32,
        parse: fn(&'a str) -> Result<Name<'a>, Problem>,
        faults: &mut Faults<'_>,
    ) {
        for (given, value) in params {
            if let Ok(name) = parse(given) {
                self.offer(name, Entry::new(given, Given::Json(value), Origin::Pusher(pusher), rank));
            }
        }
        self.apply(faults);
    }

    /// Applies every modifier whose target is here and has that placeholder open, and uses it up.
    pub(in crate::domain) fn apply(&mut self, faults: &mut Faults<'_>) {
        let before = self.used.len();
        let mut target: Option<(&str, &mut Entry<'a>)> = None;
        // In the order of names, a parameter comes right before its modifiers.
        for (name, entry) in &mut self.entries {
            let Some(hole) = name.hole else {
                target = Some((&name.base, entry));
                continue;
            };
            let Some((base, holder)) = &mut target else { continue };
            if *base != name.base || entry.is_null() {
                continue;
            }
            if !holder.has_open(hole) {
                continue;
            }
            self.used.push((name.clone(), entry.given));
            match entry.insert() {
                Ok(text) => holder.take(hole, text),
                Err(problem) => {
                    faults.add(name, problem);
                    holder.close(hole);
                    holder.value = Given::Faulty;
                }
            }
        }
        for (name, _) in &self.used[before..] {
            self.entries.remove(name);
        }
    }
}

/// Where problems are collected, with the member in whose name they are reported.
pub(in crate::domain) struct Faults<'p> {
    pub problems: &'p mut Vec<ParamProblem>,
    pub member: Option<&'p str>,
}

impl Faults<'_> {
    /// Reports a problem of a parameter, under the name by which a caller would reach it.
    pub(in crate::domain) fn add(&mut self, name: impl std::fmt::Display, problem: Problem) {
        let param = match self.member {
            Some(member) => format!("{member}.{name}"),
            None => name.to_string(),
        };
        self.problems.push(ParamProblem { param, problem });
    }
}
