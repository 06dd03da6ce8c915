//! A second reading of the rules, for tests only: every step spelt out with owned values, nothing clever, nothing
//! shared with the real one but names of types and the conversion of single values.

use super::{Call, Params};
use crate::domain::params::{ParamType, convert};
use crate::domain::pusher::{Chain, Group, Preset, Target};
use crate::domain::refusal::Problem;
use crate::domain::schedule;
use crate::domain::time::Timestamp;
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

static HOLE: LazyLock<Regex> = LazyLock::new(|| Regex::new("<_([0-9]+)>").expect("a pattern"));
static FULL: LazyLock<Regex> = LazyLock::new(|| Regex::new("^_(.+)_([0-9]+)$").expect("a pattern"));

/// A piece of a text: as it is, or a placeholder with its number and its spelling.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Hole(u32, String),
    /// What could not be inserted.
    Broken,
}

#[derive(Debug, Clone)]
enum Held {
    Text(Vec<Piece>),
    Other(Value),
}

#[derive(Debug, Clone)]
struct Given {
    /// The target or the parameter itself, and the number of a modifier.
    name: (String, Option<u32>),
    spelling: String,
    held: Held,
    from: String,
    predefined: bool,
    /// 0 for the body, 1 for `:content`, 2 for the query, more for Presets in front of a Group.
    layer: usize,
}

type Level = Vec<Given>;
type Found = Vec<(String, Problem)>;

/// What a delivery comes to: values with their source, what was ignored, and when it is due.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub params: BTreeMap<String, (Value, String)>,
    pub ignored: BTreeSet<String>,
    pub due: Timestamp,
}

pub(super) type Verdict = Result<(Vec<Answer>, BTreeSet<String>), BTreeSet<String>>;

/// Problems in a form that can be compared whatever their order.
pub(super) fn shown(problems: &[(String, Problem)]) -> BTreeSet<String> {
    problems.iter().map(|(param, problem)| format!("{param}: {problem:?}")).collect()
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut at = 0;
    for found in HOLE.captures_iter(text) {
        let whole = found.get(0).expect("the match");
        if let Ok(number) = found[1].parse() {
            out.push(Piece::Text(text[at..whole.start()].to_owned()));
            out.push(Piece::Hole(number, whole.as_str().to_owned()));
            at = whole.end();
        }
    }
    out.push(Piece::Text(text[at..].to_owned()));
    out
}

fn text(pieces: &[Piece]) -> String {
    let part = |piece: &Piece| match piece {
        Piece::Text(text) | Piece::Hole(_, text) => text.clone(),
        Piece::Broken => String::new(),
    };
    pieces.iter().map(part).collect()
}

fn is_broken(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| matches!(piece, Piece::Broken))
}

fn hold(value: &Value) -> Held {
    match value {
        Value::String(text) => Held::Text(pieces(text)),
        other => Held::Other(other.clone()),
    }
}

fn is_null(given: &Given) -> bool {
    matches!(given.held, Held::Other(Value::Null))
}

/// Reads a name; `dotted` if a dot addresses a member.
fn name(spelling: &str, dotted: bool) -> Option<(String, Option<u32>)> {
    if dotted
        && !spelling.starts_with('_')
        && let Some((member, rest)) = spelling.split_once('.')
    {
        let (base, hole) = name(rest, false)?;
        return Some((format!("{member}.{base}"), hole));
    }
    if spelling == "_token" || spelling == "_" || spelling.is_empty() {
        return None;
    }
    if let Some(found) = FULL.captures(spelling)
        && let Ok(number) = found[2].parse()
    {
        return Some((found[1].to_owned(), Some(number)));
    }
    match spelling.strip_prefix('_') {
        Some(base) => Some((base.to_owned(), Some(0))),
        None => Some((spelling.to_owned(), None)),
    }
}

/// One layer or level; of two spellings of a name the fuller one stands.
fn layer(given: &Params, from: &str, predefined: bool, layer: usize, dotted: bool, found: &mut Found) -> Level {
    let mut level: Level = Vec::new();
    for (spelling, value) in given {
        let Some(name) = name(spelling, dotted) else {
            match spelling.strip_suffix("_token") {
                Some("") => {}
                Some(_) => found.push((spelling.clone(), Problem::Reserved)),
                None => found.push((spelling.clone(), Problem::BadName)),
            }
            continue;
        };
        let held = hold(value);
        level.push(Given { name, spelling: spelling.clone(), held, from: from.to_owned(), predefined, layer });
    }
    level.sort_by_key(|given| (is_short(&given.spelling), given.spelling.len(), given.spelling.starts_with('_')));
    first_of_each(level)
}

fn is_short(spelling: &str) -> bool {
    let last = if spelling.starts_with('_') { spelling } else { spelling.rsplit('.').next().unwrap_or(spelling) };
    name(last, false).is_some_and(|(base, hole)| hole.is_some() && last == format!("_{base}"))
}

/// Of several with one name, the first.
fn first_of_each(level: Level) -> Level {
    let mut seen = BTreeSet::new();
    level.into_iter().filter(|given| seen.insert(given.name.clone())).collect()
}

/// One level: what came overrides what is predefined, then modifiers whose target is here are applied and used up.
fn level(incoming: Level, predefined: Level, prefix: &str, used: &mut Vec<Given>, found: &mut Found) -> Level {
    let mut all = first_of_each(incoming.into_iter().chain(predefined).collect());
    let modifiers: Vec<Given> = all.iter().filter(|given| given.name.1.is_some() && !is_null(given)).cloned().collect();
    for modifier in modifiers {
        let number = modifier.name.1.expect("a modifier");
        let target = all.iter_mut().find(|given| given.name == (modifier.name.0.clone(), None));
        let Some(Given { held: Held::Text(target), .. }) = target else { continue };
        if !target.iter().any(|piece| matches!(piece, Piece::Hole(hole, _) if *hole == number)) {
            continue;
        }
        let insert = match &modifier.held {
            Held::Text(pieces) => Piece::Text(text(pieces)),
            Held::Other(Value::Array(_) | Value::Object(_)) => {
                let (member, param) = modifier.name.0.split_once('.').unwrap_or(("", &modifier.name.0));
                let dot = if member.is_empty() { "" } else { "." };
                found.push((format!("{prefix}{member}{dot}_{param}_{number}"), Problem::NotInsertable));
                Piece::Broken
            }
            Held::Other(scalar) => Piece::Text(scalar.to_string()),
        };
        for piece in target.iter_mut() {
            if matches!(piece, Piece::Hole(hole, _) if *hole == number) {
                *piece = insert.clone();
            }
        }
        all.retain(|given| given.name != modifier.name);
        used.push(modifier);
    }
    all
}

/// The layers of a call, the higher one standing.
fn call_level(call: &Call, redefined: Option<&str>, dotted: bool, found: &mut Found) -> Level {
    let mut all = layer(&call.body, "body", false, 0, dotted, found);
    if let Some(redefined) = redefined {
        all.extend(content_level(call, redefined, dotted));
        // A text body is of the body's layer, where the fuller spelling stands.
        all.sort_by_key(|given| (given.layer, is_short(&given.spelling), given.spelling.len()));
    }
    all.extend(layer(&call.query, "query", false, 2, dotted, found));
    first_of_each(all)
}

fn content_level(call: &Call, redefined: &str, dotted: bool) -> Level {
    let given = |text: &String, from: &str, layer| Given {
        name: name(redefined, dotted).expect("a name"),
        spelling: redefined.to_owned(),
        held: Held::Text(pieces(text)),
        from: from.to_owned(),
        predefined: false,
        layer,
    };
    let body = call.body_text.iter().map(|text| given(text, "body", 0));
    body.chain(call.content.iter().map(|text| given(text, "content", 1))).collect()
}

fn redefined(presets: &[Arc<Preset>]) -> Option<&str> {
    presets.iter().filter_map(|preset| preset.redefine_content.as_deref()).next()
}

/// Resolves a call by the letter.
pub(super) fn resolve(target: &Target, call: &Call, now: Timestamp) -> Verdict {
    let mut found = Found::new();
    let mut names_used = BTreeSet::new();
    let answers = match target {
        Target::Single(chain) => {
            let incoming = call_level(call, Some(redefined(&chain.presets).unwrap_or("content")), false, &mut found);
            vec![down(incoming, chain, "", now, &mut names_used, &mut found)]
        }
        Target::Group { presets, group, chains } => {
            by_member((presets.as_slice(), group, chains), call, now, &mut names_used, &mut found)
        }
    };
    if !found.is_empty() {
        return Err(shown(&found));
    }
    let ignored: BTreeSet<String> = answers.iter().flat_map(|answer| answer.ignored.clone()).collect();
    Ok((answers, &ignored - &names_used))
}

/// A Group: its front, the dealing, and every member's way down.
fn by_member(
    (presets, group, chains): (&[Arc<Preset>], &Group, &[Chain]),
    call: &Call,
    now: Timestamp,
    names_used: &mut BTreeSet<String>,
    found: &mut Found,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    let content = redefined(presets).or(group.redefine_content.as_deref());
    for (member, chain) in group.pushers.iter().zip(chains) {
        let own = redefined(&chain.presets).unwrap_or("content");
        let is_mapped = group.param_map.iter().any(|(key, _)| name(key, false) == name(own, false));
        let beside = content.is_none() && (is_mapped || own.contains('.'));
        let in_front = content.or(if beside { None } else { Some(own) });
        let front = front_of((presets, group), call, in_front, names_used, found);
        let mut plain = not_for(&front, &group.param_map);
        if beside {
            plain.extend(content_level(call, redefined(&chain.presets).unwrap_or("content"), false));
        }
        plain.sort_by_key(|given| given.layer);
        let mut incoming = dotted_for(&front, &member.name);
        incoming.extend(mapped_to(&front, &group.param_map, &member.name));
        incoming.extend(plain);
        let own = layer(&member.params, group.id.as_str(), true, 0, false, &mut Found::new());
        let prefix = format!("{}.", member.name);
        let mut used = Vec::new();
        let incoming = level(first_of_each(incoming), own, &prefix, &mut used, found);
        let mut answer = down(incoming, chain, &prefix, now, names_used, found);
        let same = |text: &String| name(text, false);
        answer
            .ignored
            .retain(|text| used.iter().all(|given| Some(&given.name) != same(text).as_ref() || given.name.1.is_none()));
        names_used.extend(used.into_iter().map(|given| given.spelling));
        answers.push(answer);
    }
    answers
}

/// The call and the Presets above the members. Each member asks; what is wrong is told once.
fn front_of(
    (presets, group): (&[Arc<Preset>], &Group),
    call: &Call,
    content: Option<&str>,
    names_used: &mut BTreeSet<String>,
    found: &mut Found,
) -> Level {
    let (mut used, mut wrong) = (Vec::new(), Found::new());
    let mut front = call_level(call, content, true, &mut wrong);
    for (at, preset) in presets.iter().enumerate() {
        let own = layer(&preset.params, preset.id.as_str(), true, 3 + at, true, &mut Found::new());
        front = level(front, own, "", &mut used, &mut wrong);
    }
    front = level(front, Vec::new(), "", &mut used, &mut wrong);
    names_used.extend(used.into_iter().map(|given| given.spelling));
    for given in &front {
        if let Some((member, _)) = given.name.0.split_once('.')
            && group.pushers.iter().all(|other| other.name != member)
        {
            wrong.push((given.spelling.clone(), Problem::UnknownMember));
        }
    }
    for problem in wrong {
        if !found.contains(&problem) {
            found.push(problem);
        }
    }
    front
}

/// Rule 1: what is addressed to this member.
fn dotted_for(front: &Level, member: &str) -> Level {
    let inner = |given: &Given| -> Option<Given> {
        let (to, base) = given.name.0.split_once('.')?;
        let name = (base.to_owned(), given.name.1);
        if to == member { Some(Given { name, ..given.clone() }) } else { None }
    };
    front.iter().filter_map(inner).map(seal).collect()
}

/// Rule 2: what the map sends to this member; the higher layer first, then the order in the map.
fn mapped_to(front: &Level, map: &[(String, Vec<String>)], member: &str) -> Level {
    let mut out = Vec::new();
    for (key, targets) in map {
        for given in front.iter().filter(|given| Some(&given.name) == name(key, false).as_ref()) {
            for target in targets {
                let (to, param) = target.split_once('.').expect("dotted");
                if to == member {
                    out.push(Given { name: name(param, false).expect("a name"), ..given.clone() });
                }
            }
        }
    }
    out.sort_by_key(|given| given.layer);
    out.into_iter().map(seal).collect()
}

/// Rule 3: everything else.
fn not_for(front: &Level, map: &[(String, Vec<String>)]) -> Level {
    let is_mapped = |given: &Given| map.iter().any(|(key, _)| name(key, false).as_ref() == Some(&given.name));
    front.iter().filter(|given| !given.name.0.contains('.') && !is_mapped(given)).cloned().map(seal).collect()
}

/// What a modifier holds is inserted as it is, so nothing in it counts as a placeholder.
fn seal(mut given: Given) -> Given {
    if given.name.1.is_some()
        && let Held::Text(held) = &given.held
    {
        given.held = Held::Text(vec![Piece::Text(text(held))]);
    }
    given
}

/// Down the Presets to the Service.
fn down(
    mut incoming: Level,
    chain: &Chain,
    prefix: &str,
    now: Timestamp,
    names_used: &mut BTreeSet<String>,
    found: &mut Found,
) -> Answer {
    let mut used = Vec::new();
    for preset in &chain.presets {
        let own = layer(&preset.params, preset.id.as_str(), true, 0, false, &mut Found::new());
        incoming = level(incoming, own, prefix, &mut used, found);
    }
    let kind = |name: &str| chain.service.params.iter().find(|spec| spec.name == name).map(|spec| spec.kind);
    incoming.retain(|given| {
        let textual = matches!(kind(&given.name.0), None | Some(ParamType::String | ParamType::Text));
        let empty = matches!(&given.held, Held::Text(held) if text(held).is_empty() && !is_broken(held))
            && given.name.1.is_none();
        !is_null(given) && (textual || !empty || given.name.0.contains('.'))
    });
    let mut defaults = Params::new();
    for spec in &chain.service.params {
        if let Some(default) = &spec.default {
            defaults.insert(spec.name.clone(), default.clone());
        }
    }
    let defaults = layer(&defaults, "service", true, 0, false, &mut Found::new());
    let all = level(incoming, defaults, prefix, &mut used, found);
    let answer = take(all, chain, prefix, now, names_used, &used, found);
    names_used.extend(used.into_iter().map(|given| given.spelling));
    answer
}

/// Types, defaults, and what is ignored.
fn take(
    all: Level,
    chain: &Chain,
    prefix: &str,
    now: Timestamp,
    names_used: &mut BTreeSet<String>,
    used: &[Given],
    found: &mut Found,
) -> Answer {
    let mut params = BTreeMap::new();
    let mut ignored = BTreeSet::new();
    let mut schedule = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for given in all.into_iter().filter(|given| !is_null(given)) {
        let (base, hole) = given.name.clone();
        let spec = chain.service.params.iter().find(|spec| spec.name == base);
        let reserved = base == "delay" || base == "at";
        if hole.is_some() {
            if used.iter().all(|other| other.name != given.name) {
                ignored.insert(given.spelling);
            }
            continue;
        }
        if !reserved && spec.is_none() && !chain.service.accepts_any {
            ignored.insert(given.spelling);
            continue;
        }
        if given.from != "service" {
            names_used.insert(given.spelling.clone());
        }
        seen.insert(base.clone());
        let (value, open) = match &given.held {
            Held::Text(pieces) => {
                let open: BTreeSet<u32> = pieces
                    .iter()
                    .filter_map(|p| if let Piece::Hole(hole, _) = p { Some(*hole) } else { None })
                    .collect();
                (Value::String(text(pieces)), open)
            }
            Held::Other(value) => (value.clone(), BTreeSet::new()),
        };
        if given.predefined && !open.is_empty() {
            found.extend(open.into_iter().map(|hole| (format!("{prefix}{base}"), Problem::Unfilled(hole))));
            continue;
        }
        if matches!(&given.held, Held::Text(pieces) if is_broken(pieces)) {
            continue;
        }
        match spec {
            _ if reserved => {
                schedule.insert(base, value);
            }
            None => {
                params.insert(base, (value, given.from));
            }
            Some(spec) => match convert(spec, &value) {
                Ok(Some(value)) => {
                    params.insert(base, (value, given.from));
                }
                Ok(None) if given.from == "service" => {}
                Ok(None) => {
                    seen.remove(&base);
                }
                Err(problem) => found.push((format!("{prefix}{base}"), problem)),
            },
        }
    }
    fill_in(&mut params, &seen, chain, prefix, found);
    let due = schedule::due(schedule.get("delay"), schedule.get("at"), now).unwrap_or_else(|problems| {
        found.extend(problems.into_iter().map(|p| (format!("{prefix}{}", p.param), p.problem)));
        now
    });
    Answer { params, ignored, due }
}

/// The defaults of what became nothing, and what is missing.
fn fill_in(
    params: &mut BTreeMap<String, (Value, String)>,
    seen: &BTreeSet<String>,
    chain: &Chain,
    prefix: &str,
    found: &mut Found,
) {
    for spec in chain.service.params.iter().filter(|spec| !seen.contains(&spec.name)) {
        // Filled with nothing: as if it were not there.
        match spec.default.as_ref().map(|default| (default, convert(spec, default))) {
            Some((Value::String(text), _)) if text.contains("<_") => {
                found.push((format!("{prefix}{}", spec.name), Problem::Unfilled(0)));
            }
            Some((_, Ok(Some(value)))) => {
                params.insert(spec.name.clone(), (value, "service".to_owned()));
            }
            _ if spec.required => found.push((format!("{prefix}{}", spec.name), Problem::Missing)),
            _ => {}
        }
    }
}
