//! What a Preset or Group may predefine.

use super::fixture::*;
use super::predefined::check_predefined;
use super::*;
use crate::domain::params::ParamType;
use crate::domain::pusher::Pusher;
use crate::domain::refusal::Problem;
use proptest::prelude::{Just, prop, prop_assert, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;
use serde_json::json;

fn told(pusher: &Pusher, target: &Target) -> Vec<(String, Problem)> {
    match check_predefined(pusher, None, target, NOW) {
        Ok(()) => Vec::new(),
        Err(Refusal::Params(problems)) => problems.into_iter().map(|found| (found.param, found.problem)).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

/// What is told of the first of these Presets.
fn of_first(presets: Vec<Preset>) -> Vec<(String, Problem)> {
    told(&Pusher::Preset(Arc::new(presets[0].clone())), &single(presets))
}

fn of_params(given: Value) -> Vec<(String, Problem)> {
    of_first(vec![preset("p", given)])
}

fn not_an_integer(param: &str) -> (String, Problem) {
    (param.to_owned(), Problem::NotA(ParamType::Integer))
}

#[test]
fn what_no_service_takes_is_told_by_name() {
    assert_eq!(
        of_params(json!({"level": "high", "title": "t", "flag": "maybe"})),
        [not_an_integer("level"), ("flag".into(), Problem::NotA(ParamType::Boolean)),]
    );
    assert_eq!(of_params(json!({"delay": "soon"})), [("delay".into(), Problem::BadDelay)]);
    assert_eq!(of_params(json!({"at": "2601010000"})), [("at".into(), Problem::AtInPast)]);
    let both = [("delay".into(), Problem::DelayAndAt), ("at".into(), Problem::DelayAndAt)];
    assert_eq!(of_params(json!({"delay": 5, "at": "2611240000"})), both);
}

#[test]
fn what_a_call_can_fill_in_is_not() {
    for given in [
        json!({}),
        json!({"level": "<_0>"}),
        json!({"level": "<_0>", "_level": "high"}),
        json!({"level": ""}),
        json!({"level": null}),
        json!({"delay": "<_1>"}),
        json!({"delay": "60", "level": "4", "flag": "yes", "tags": "a,b", "unknown": {"a": [1]}}),
    ] {
        assert_eq!(of_params(given.clone()), [], "{given}");
    }
}

#[test]
fn faults_of_what_it_is_built_on_are_not_its_own() {
    let below = || preset("below", json!({"level": "high", "delay": 60}));
    assert_eq!(of_first(vec![preset("p", json!({"title": "t"})), below()]), []);
    // Together with its base's, its own cannot be.
    let both = of_first(vec![preset("p", json!({"at": "2611240000"})), below()]);
    assert_eq!(both, [("at".to_owned(), Problem::DelayAndAt)]);
}

#[test]
fn in_a_group_the_member_is_named() {
    let plain = || chain(Vec::new(), plain_service());
    let members = vec![("p1", json!({"level": "x", "delay": 1}), plain()), ("p2", json!({"delay": -1}), plain())];
    let target = GroupOf::new(members).target();
    let Target::Group { group, .. } = &target else { panic!("a Group") };
    let group = Pusher::Group(Arc::clone(group));
    assert_eq!(told(&group, &target), [not_an_integer("p1.level"), ("p2.delay".into(), Problem::BadDelay)]);
}

#[test]
fn in_front_of_a_group_names_are_followed_to_the_members() {
    let front = preset("front", json!({"level": "x", "p2.flag": "maybe", "amount": "many", "title": "t"}));
    let target =
        GroupOf { front: vec![front.clone()], map: json!({"amount": ["p1.level"]}), ..GroupOf::two() }.target();
    assert_eq!(
        told(&Pusher::Preset(Arc::new(front)), &target),
        [not_an_integer("level"), ("p2.flag".into(), Problem::NotA(ParamType::Boolean)), not_an_integer("amount")]
    );
}

#[test]
fn what_stood_before_is_not_judged_anew() {
    let before = Pusher::Preset(Arc::new(preset("p", json!({"level": "x", "flag": "maybe", "title": "t"}))));
    let after = preset("p", json!({"level": "x", "flag": "perhaps", "title": "other"}));
    let told =
        |before| check_predefined(&Pusher::Preset(Arc::new(after.clone())), before, &single(vec![after.clone()]), NOW);
    let flag = ParamProblem { param: "flag".into(), problem: Problem::NotA(ParamType::Boolean) };
    assert_eq!(told(Some(&before)), Err(Refusal::Params(vec![flag])));
    // On another base it is.
    let Pusher::Preset(elsewhere) = &before else { panic!("a Preset") };
    let elsewhere = Preset { base_pusher: PusherId::new("elsewhere"), ..Preset::clone(elsewhere) };
    assert!(matches!(told(Some(&Pusher::Preset(Arc::new(elsewhere)))), Err(Refusal::Params(all)) if all.len() == 2));
}

#[test]
fn of_a_group_new_and_changed_members_are() {
    let plain = || chain(Vec::new(), plain_service());
    let group = |members: Vec<(&'static str, Value)>| {
        GroupOf::new(members.into_iter().map(|(name, own)| (name, own, plain())).collect()).target()
    };
    let of = |target: &Target| match target {
        Target::Group { group, .. } => Pusher::Group(Arc::clone(group)),
        Target::Single(_) => panic!("a Group"),
    };
    let stale = json!({"level": "x"});
    let before = of(&group(vec![("p1", stale.clone()), ("p2", json!({}))]));
    for (members, told) in [
        (vec![("p1", stale.clone())], None),
        (vec![("renamed", stale.clone()), ("p2", json!({"title": "t"}))], None),
        (vec![("p1", json!({"level": "x", "title": "t"})), ("p2", json!({}))], None),
        (vec![("p1", json!({"level": "y"}))], Some("p1.level")),
        (vec![("p1", stale.clone()), ("p3", json!({"level": "y"}))], Some("p3.level")),
    ] {
        let target = group(members);
        let found = match check_predefined(&of(&target), Some(&before), &target, NOW) {
            Ok(()) => None,
            Err(Refusal::Params(problems)) => Some(problems[0].param.clone()),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found.as_deref(), told);
    }
}

#[test]
fn content_goes_to_members_that_are_there() {
    for (name, is_lost) in
        [("p1.title", false), ("p2._title_1", false), ("title", false), ("p3.title", true), ("_p3.title", true)]
    {
        let front = Preset { redefine_content: Some(name.into()), ..preset("front", json!({})) };
        let target = GroupOf { front: vec![front.clone()], ..GroupOf::two() }.target();
        let front = Pusher::Preset(Arc::new(front));
        assert_eq!(check_predefined(&front, None, &target, NOW).is_err(), is_lost, "{name}");
        assert_eq!(check_predefined(&front, Some(&front), &target, NOW), Ok(()), "{name}: it stood there");
    }
}

fn value() -> impl Generator<Value = Value> {
    prop_oneof![
        Just(json!(4)),
        Just(json!("x")),
        Just(json!("<_0>")),
        Just(json!(["a", 1])),
        Just(json!(true)),
        Just(json!("")),
        Just(Value::Null),
        Just(json!(-1)),
    ]
}

fn some_params() -> impl Generator<Value = Params> {
    let name = prop::sample::select(vec!["title", "level", "flag", "tags", "delay", "at", "_level", "_title_1"]);
    prop::collection::btree_map(name, value(), 0..5)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    /// A push with nothing of what is refused is refused, too; and what is told is the Pusher's own, once.
    #[test]
    fn nothing_is_refused_that_could_be_pushed(own in some_params(), below in some_params()) {
        let presets = vec![preset("p", Value::Object(own.clone())), preset("below", Value::Object(below))];
        let told = of_first(presets.clone());
        let pushed = resolve(&single(presets), &Call::default(), NOW);
        prop_assert!(told.is_empty() || pushed.is_err());
        prop_assert!(told.iter().all(|(name, _)| own.contains_key(name)));
        prop_assert!(told.iter().enumerate().all(|(at, found)| !told[..at].contains(found)));
    }
}
