//! Chains and their ends, and what a Preset or Group may say of itself.

use super::*;
use crate::domain::refusal::{Faults, FieldFault, ParamProblem, Problem};
use serde_json::{Value, json};
use std::collections::HashMap;

fn id(text: &str) -> PusherId {
    PusherId::new(text)
}

fn params(value: Value) -> Params {
    match value {
        Value::Object(params) => params,
        other => panic!("not an object: {other}"),
    }
}

fn preset(name: &str, base: &str) -> Preset {
    Preset {
        id: id(name),
        owner: AccountId::new("ann"),
        name: name.to_owned(),
        base_pusher: id(base),
        params: Params::new(),
        redefine_content: None,
        protected: false,
        shared: false,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

fn group(name: &str, bases: &[&str]) -> Group {
    let member =
        |(at, base): (usize, &&str)| Member { name: format!("p{at}"), base_pusher: id(base), params: Params::new() };
    Group {
        id: id(name),
        owner: AccountId::new("ann"),
        name: name.to_owned(),
        pushers: bases.iter().enumerate().map(member).collect(),
        param_map: Vec::new(),
        redefine_content: None,
        strategy: Strategy::All,
        protected: false,
        shared: false,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

/// Follows `root` where `bases` says who is built on whom: `a>b` is a Preset, `g>x,y` a Group, others are Services.
fn followed(root: &str, bases: &[&str]) -> Result<Target, Unfollowed> {
    let service = || Pusher::Service(Arc::new(ServiceSpec { id: "s".into(), accepts_any: false, params: Vec::new() }));
    let mut all = HashMap::from([(id("s"), service())]);
    for text in bases {
        let (name, base) = text.split_once('>').expect("name>base");
        let pusher = if name.starts_with('g') {
            Pusher::Group(Arc::new(group(name, &base.split(',').filter(|b| !b.is_empty()).collect::<Vec<_>>())))
        } else {
            Pusher::Preset(Arc::new(preset(name, base)))
        };
        all.insert(id(name), pusher);
    }
    follow(&id(root), &|id| all.get(id).cloned())
}

fn refusal(root: &str, bases: &[&str]) -> Refusal {
    match followed(root, bases).expect_err("not followed") {
        Unfollowed::Refused(refusal) => refusal,
        Unfollowed::NotLoaded(id) => panic!("{id} is not loaded"),
    }
}

#[test]
fn a_chain_ends_in_its_service() {
    let Ok(Target::Single(chain)) = followed("a", &["a>b", "b>s"]) else { panic!("no chain") };
    assert_eq!(chain.presets.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(chain.service.id, "s");
    assert!(matches!(followed("s", &[]), Ok(Target::Single(chain)) if chain.presets.is_empty()));
}

#[test]
fn a_group_has_a_chain_for_each_member() {
    let Ok(Target::Group { presets, group, chains }) = followed("a", &["a>g", "g>s,b,b", "b>s"]) else {
        panic!("no group")
    };
    assert_eq!((presets.len(), group.id.as_str()), (1, "g"));
    assert_eq!(chains.iter().map(|c| c.presets.len()).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(followed("x", &[]).err(), Some(Unfollowed::NotLoaded(id("x"))));
    assert_eq!(followed("g", &["g>s,a", "a>x"]).err(), Some(Unfollowed::NotLoaded(id("x"))));
}

#[test]
fn circles_are_refused() {
    assert_eq!(refusal("a", &["a>a"]), Refusal::Cycle(id("a")));
    assert_eq!(refusal("a", &["a>b", "b>c", "c>b"]), Refusal::Cycle(id("b")));
    assert_eq!(refusal("g", &["g>a", "a>g"]), Refusal::Cycle(id("g")));
}

#[test]
fn a_chain_has_at_most_eight_pushers_both_ends_included() {
    let long = ["a1>a2", "a2>a3", "a3>a4", "a4>a5", "a5>a6", "a6>a7", "a7>s", "a0>a1"];
    assert!(followed("a1", &long).is_ok());
    assert_eq!(refusal("a0", &long), Refusal::ChainTooDeep(8));
    let through = |member| ["a>b", "b>g", member, "c>d", "d>e", "e>f", "f>s"];
    assert!(followed("a", &through("g>s,c")).is_ok());
    let through = ["a>b", "b>g", "g>s,c", "c>d", "d>e", "e>f", "f>h", "h>s"];
    assert_eq!(refusal("a", &through), Refusal::ChainTooDeep(8));
}

#[test]
fn a_group_has_one_to_five_members_and_no_group_however_deep() {
    assert_eq!(refusal("g", &["g>"]), Refusal::GroupEmpty);
    assert!(followed("g", &["g>s,s,s,s,s"]).is_ok());
    assert_eq!(refusal("g", &["g>s,s,s,s,s,s"]), Refusal::GroupFull(5));
    assert_eq!(refusal("g", &["g>g2", "g2>s"]), Refusal::GroupInGroup(id("g2")));
    assert_eq!(refusal("g", &["g>s,a", "a>b", "b>g2", "g2>s"]), Refusal::GroupInGroup(id("g2")));
}

fn check_preset(preset: &Preset) -> Result<(), Refusal> {
    let mut faults = Faults::default();
    super::check_preset(preset, &mut faults);
    faults.refuse_if_any()
}

fn check_group(group: &Group) -> Result<(), Refusal> {
    let mut faults = Faults::default();
    super::check_group(group, &mut faults);
    faults.refuse_if_any()
}

#[test]
fn the_fields_of_a_preset() {
    let with_name = |name: &str| check_preset(&Preset { name: name.to_owned(), ..preset("a", "s") });
    assert_eq!(with_name(&"é".repeat(100)), Ok(()));
    assert_eq!(with_name(" "), field("name", "empty"));
    assert_eq!(with_name(&"é".repeat(101)), field("name", "too_long"));
    assert_eq!(with_name("a\nb"), field("name", "invalid"));

    let redefine = |name: &str| check_preset(&Preset { redefine_content: Some(name.to_owned()), ..preset("a", "s") });
    for name in ["title", "_title_1", "p1.title", "p1._title", "X-Any"] {
        assert_eq!(redefine(name), Ok(()), "{name}");
    }
    for (name, reason) in [
        ("", "empty"),
        ("delay", "reserved"),
        ("at", "reserved"),
        ("p1.at", "reserved"),
        ("_token", "reserved"),
        ("p1._token", "reserved"),
        ("_", "bad_name"),
        ("a\n", "bad_name"),
    ] {
        assert_eq!(redefine(name), field("redefine_content", reason), "{name}");
    }
}

#[test]
fn predefined_parameters() {
    let check = |value| check_preset(&Preset { params: params(value), ..preset("a", "s") });
    assert_eq!(
        check(json!({"title": "<_0>", "_title": 1, "delay": 5, "p1._title": "x", "tags": ["a"], "u": null})),
        Ok(())
    );
    let found = check(json!({"_token": "x", "": 1, "_": 1, "t": "a\0", "l": ["a\0"], "p1._token": 1}));
    let Err(Refusal::Params(problems)) = found else { panic!("{found:?}") };
    let problems: Vec<_> = problems.into_iter().map(|p| (p.param, p.problem)).collect();
    assert_eq!(
        problems,
        [
            ("_token".to_owned(), Problem::Reserved),
            (String::new(), Problem::BadName),
            ("_".to_owned(), Problem::BadName),
            ("t".to_owned(), Problem::HoldsNul),
            ("l".to_owned(), Problem::HoldsNul),
            ("p1._token".to_owned(), Problem::Reserved),
        ]
    );
    let many = |count: usize| (0..count).map(|n| (format!("a{n}"), json!(1))).collect::<Params>();
    assert_eq!(check(Value::Object(many(64))), Ok(()));
    assert!(check(Value::Object(many(65))).is_err());
}

#[test]
fn the_members_of_a_group() {
    let mut taken = group("g", &["s", "s"]);
    taken.pushers[1].name = "p0".into();
    assert_eq!(check_group(&taken), Err(Refusal::MemberNameTaken("p0".into())));
    taken.name = String::new();
    taken.pushers[0].base_pusher = id("");
    let Err(Refusal::Fields { fields, .. }) = check_group(&taken) else { panic!("{taken:?}") };
    let told: Vec<_> = fields.iter().map(|fault| (fault.field.as_str(), fault.reason)).collect();
    let base = ("pushers.0.base_pusher", "empty");
    assert_eq!(told, [("name", "empty"), base, ("pushers.1.name", "duplicate")], "with others, by its place");
    for name in ["", "P1", "1p", "_p", "p.1", "é", &"a".repeat(65)] {
        let mut bad = group("g", &["s"]);
        bad.pushers[0].name = name.to_owned();
        assert_eq!(check_group(&bad), field("pushers.0.name", "bad_name"), "{name}");
    }
    let mut bad = group("g", &["s", "s"]);
    bad.pushers[1].params = params(json!({"_token": 1}));
    let problem = ParamProblem { param: "p1._token".into(), problem: Problem::Reserved };
    assert_eq!(check_group(&bad), Err(Refusal::Params(vec![problem])));
    assert_eq!(check_group(&group("g", &[])), Err(Refusal::GroupEmpty));
    assert_eq!(check_group(&group("g", &["s"; 6])), Err(Refusal::GroupFull(5)));
}

#[test]
fn the_map_of_a_group() {
    let with_map = |map: &[(&str, &[&str])]| {
        let map = map.iter().map(|(name, to)| ((*name).to_owned(), to.iter().map(|t| (*t).to_owned()).collect()));
        check_group(&Group { param_map: map.collect(), ..group("g", &["s", "s"]) })
    };
    assert_eq!(with_map(&[("amount", &["p0._title", "p1.content"]), ("_x_1", &["p0.delay"])]), Ok(()));
    for (map, reason) in [
        (&[("p0.title", &["p1.title"] as &[&str])] as &[(&str, &[&str])], "dotted"),
        (&[("_token", &["p1.title"])], "reserved"),
        (&[("_", &["p1.title"])], "bad_name"),
        (&[("a", &[])], "empty"),
        (&[("_a", &["p1.a"]), ("_a_0", &["p1.b"])], "duplicate"),
        (&[("a", &["title"])], "not_dotted"),
        (&[("a", &["p9.title"])], "unknown_member"),
        (&[("a", &["p1._token"])], "reserved"),
        (&[("a", &["p1._"])], "bad_name"),
    ] {
        let last = format!("param_map.{}", map[map.len() - 1].0);
        assert_eq!(with_map(map), field(&last, reason), "{map:?}");
    }
}

#[test]
fn what_content_stands_for_in_a_group() {
    let redefine = |name: &str| check_group(&Group { redefine_content: Some(name.to_owned()), ..group("g", &["s"]) });
    for name in ["amount", "_title", "p0.title", "p0._title_1"] {
        assert_eq!(redefine(name), Ok(()), "{name}");
    }
    assert_eq!(redefine("p9.title"), field("redefine_content", "unknown_member"));
    assert_eq!(redefine("p0.delay"), field("redefine_content", "reserved"));
}

#[test]
fn all_that_is_wrong_with_a_group_is_told() {
    let mut bad = group("g", &["s", "s"]);
    bad.name = String::new();
    bad.pushers[0].name = "P".to_owned();
    bad.pushers[1].params = params(json!({ "_token": 1 }));
    bad.param_map = vec![("a".into(), vec!["p9.x".into()]), ("b".into(), vec!["p1.x".into()]), ("c".into(), vec![])];
    bad.redefine_content = Some("at".to_owned());
    let Err(Refusal::Fields { fields, params }) = check_group(&bad) else { panic!("{bad:?}") };
    let fields: Vec<_> = fields.iter().map(|fault| (&*fault.field, fault.reason)).collect();
    let expected = [
        ("name", "empty"),
        ("pushers.0.name", "bad_name"),
        ("param_map.a", "unknown_member"),
        ("param_map.c", "empty"),
        ("redefine_content", "reserved"),
    ];
    assert_eq!(fields, expected);
    assert_eq!(params, [ParamProblem { param: "p1._token".into(), problem: Problem::Reserved }]);
}

/// One field is at fault, and nothing else.
fn field(field: &str, reason: &'static str) -> Result<(), Refusal> {
    Err(Refusal::Fields { fields: vec![FieldFault { field: field.to_owned(), reason }], params: Vec::new() })
}
