//! Section 3 of the specification, a test a sentence.

use super::fixture::*;
use super::*;
use crate::domain::params::{ParamSpec, ParamType};
use crate::domain::refusal::Problem;
use serde_json::json;

/// The worked example: p1 is built on A, p2 on B.
fn example() -> Target {
    let base = |id| chain(vec![preset(id, json!({}))], plain_service());
    let members =
        vec![("p1", json!({"title": "<_0> left"}), base("A")), ("p2", json!({"content": "<_0> left"}), base("B"))];
    let map = json!({"amount": ["p1._title", "p2._content"]});
    GroupOf { map, redefine: Some("amount"), ..GroupOf::new(members) }.target()
}

fn mapped(map: Value) -> Target {
    GroupOf { map, ..GroupOf::two() }.target()
}

#[test]
fn the_worked_example() {
    assert_eq!(
        sent_by_member(&example(), &content("10")),
        json!({"p1": {"title": "10 left"}, "p2": {"content": "10 left"}})
    );
    assert_eq!(ignored(&example(), &content("10")), [""; 0]);
    let call = query(json!({"p1._title": "9", "p2.content": "hello"}));
    assert_eq!(sent_by_member(&example(), &call), json!({"p1": {"title": "9 left"}, "p2": {"content": "hello"}}));
}

#[test]
fn the_parameters_of_a_member_are_the_groups() {
    let plan = plan(&example(), &content("10"));
    assert_eq!(sources(&plan.deliveries[0])["title"], json!("G"));
    assert_eq!(plan.deliveries[1].name.as_deref(), Some("p2"));
    assert_eq!(plan.strategy, Strategy::All);
}

#[test]
fn a_dotted_name_goes_to_that_member_alone() {
    let target = GroupOf::two().target();
    assert_eq!(sent_by_member(&target, &query(json!({"p1.title": "x"}))), json!({"p1": {"title": "x"}, "p2": {}}));
}

#[test]
fn dotted_beats_mapped_beats_plain_whatever_the_layer() {
    let target = mapped(json!({"amount": ["p1.title"]}));
    let call = |below: Value| Call { body: params(json!({"title": "plain"})), ..query(below) };
    let p1 = |call: &Call| sent_by_member(&target, call)["p1"]["title"].clone();
    assert_eq!(p1(&call(json!({}))), json!("plain"));
    assert_eq!(p1(&call(json!({"amount": "mapped"}))), json!("mapped"));
    assert_eq!(p1(&call(json!({"amount": "mapped", "p1.title": "dotted"}))), json!("dotted"));
    assert_eq!(sent_by_member(&target, &call(json!({"amount": "mapped"})))["p2"], json!({"title": "plain"}));
}

#[test]
fn a_mapped_name_does_not_go_under_its_own_name() {
    let any = || chain(Vec::new(), any_service());
    let members = vec![("p1", json!({}), any()), ("p2", json!({}), any())];
    let target = GroupOf { map: json!({"amount": ["p1.title"]}), ..GroupOf::new(members) }.target();
    assert_eq!(sent_by_member(&target, &query(json!({"amount": "5"}))), json!({"p1": {"title": "5"}, "p2": {}}));
}

#[test]
fn of_two_mapped_names_with_one_target_the_higher_layer_wins_then_the_map() {
    let target = mapped(json!({"a": ["p1.title"], "b": ["p1.title"]}));
    let p1 = |call: &Call| sent_by_member(&target, call)["p1"]["title"].clone();
    assert_eq!(p1(&query(json!({"b": "b", "a": "a"}))), json!("a"));
    assert_eq!(p1(&Call { body: params(json!({"b": "b"})), ..query(json!({"a": "a"})) }), json!("b"));
}

#[test]
fn any_other_name_goes_to_every_member() {
    let target = GroupOf::two().target();
    assert_eq!(
        sent_by_member(&target, &query(json!({"title": "x"}))),
        json!({"p1": {"title": "x"}, "p2": {"title": "x"}})
    );
}

#[test]
fn a_plain_modifier_fills_what_each_member_predefines() {
    let plain = || chain(vec![preset("base", json!({"title": "<_0> of the base"}))], plain_service());
    let members = vec![("p1", json!({"title": "<_0> of p1"}), plain()), ("p2", json!({}), plain())];
    let target = GroupOf::new(members).target();
    let call = query(json!({"_title": "x"}));
    assert_eq!(sent_by_member(&target, &call), json!({"p1": {"title": "x of p1"}, "p2": {"title": "x of the base"}}));
    let call = query(json!({"_title": "x", "p2._title_0": "y"}));
    assert_eq!(sent_by_member(&target, &call), json!({"p1": {"title": "x of p1"}, "p2": {"title": "y of the base"}}));
}

#[test]
fn the_group_is_a_level_where_modifiers_meet_their_targets() {
    let target = GroupOf::two().target();
    let call = query(json!({"title": "<_0> <_1>", "_title": "group", "p1._title_0": "late", "p1._title_1": "one"}));
    assert_eq!(sent_by_member(&target, &call), json!({"p1": {"title": "group one"}, "p2": {"title": "group <_1>"}}));
    assert_eq!(ignored(&target, &call), ["p1._title_0"]);
    let dotted = query(json!({"p1.title": "<_0>", "p1._title": "x", "title": "all"}));
    assert_eq!(sent_by_member(&target, &dotted), json!({"p1": {"title": "x"}, "p2": {"title": "all"}}));
}

#[test]
fn what_is_filled_before_dealing_is_inserted_as_text_by_a_mapped_modifier() {
    let plain = || chain(Vec::new(), plain_service());
    let members = vec![("p1", json!({"title": "<_0>!"}), plain()), ("p2", json!({}), plain())];
    let target = GroupOf { map: json!({"amount": ["p1._title", "p2.title"]}), ..GroupOf::new(members) }.target();
    let call = query(json!({"amount": "<_0> and <_1>", "_amount": "one", "p2._title_1": "two"}));
    assert_eq!(
        sent_by_member(&target, &call),
        json!({"p1": {"title": "one and <_1>!"}, "p2": {"title": "one and two"}})
    );
}

#[test]
fn a_member_stands_between_the_group_and_its_base() {
    let plain = || chain(vec![preset("base", json!({"title": "base", "content": "base"}))], plain_service());
    let front = vec![preset("front", json!({"tags": "front", "p2.tags": "to p2"}))];
    let members = vec![("p1", json!({"title": "own", "tags": "own"}), plain()), ("p2", json!({}), plain())];
    let target = GroupOf { front, ..GroupOf::new(members) }.target();
    assert_eq!(
        sent_by_member(&target, &Call::default()),
        json!({
            "p1": {"title": "own", "content": "base", "tags": ["front"]},
            "p2": {"title": "base", "content": "base", "tags": ["to p2"]},
        })
    );
    let null = body(json!({"p1.title": null, "tags": null}));
    assert_eq!(sent_by_member(&target, &null)["p1"], json!({"content": "base"}));
}

#[test]
fn a_preset_in_front_decides_what_content_stands_for_then_the_group_then_each_chain() {
    let to = |front: Vec<Preset>, redefine| {
        let ends = |name: &'static str| chain(vec![redefining("m", name)], plain_service());
        let members = vec![("p1", json!({}), ends("title")), ("p2", json!({}), chain(Vec::new(), plain_service()))];
        sent_by_member(&GroupOf { front, redefine, ..GroupOf::new(members) }.target(), &content("x"))
    };
    assert_eq!(to(vec![], None), json!({"p1": {"title": "x"}, "p2": {"content": "x"}}));
    assert_eq!(to(vec![], Some("tags")), json!({"p1": {"tags": ["x"]}, "p2": {"tags": ["x"]}}));
    assert_eq!(to(vec![redefining("a", "p2.title")], Some("tags")), json!({"p1": {}, "p2": {"title": "x"}}));
}

#[test]
fn content_that_the_chains_name_keeps_its_rank() {
    let target = GroupOf::two().target();
    let p1 = |call: &Call| sent_by_member(&target, call)["p1"]["content"].clone();
    assert_eq!(p1(&Call { content: Some("url".into()), ..query(json!({"content": "query"})) }), json!("url"));
    assert_eq!(p1(&Call { content: Some("url".into()), ..body(json!({"content": "body"})) }), json!("body"));
    assert_eq!(p1(&Call { content: Some("url".into()), ..query(json!({"p1.content": "dotted"})) }), json!("dotted"));
    assert_eq!(
        p1(&Call { content: Some("url".into()), body_text: Some("text".into()), ..Call::default() }),
        json!("text")
    );
}

#[test]
fn content_that_the_chains_name_comes_down_like_any_other_parameter_of_the_call() {
    let one = |front: Vec<Preset>, chain| GroupOf { front, ..GroupOf::new(vec![("p1", json!({}), chain)]) }.target();
    let plain = |front| one(front, chain(Vec::new(), plain_service()));
    let with = |text: &str, below: Value| Call { content: Some(text.into()), ..query(below) };
    let p1 = |target: &Target, call: &Call| sent_by_member(target, call)["p1"].clone();
    let at_once = plain(Vec::new());
    let above = plain(vec![preset("front", json!({"content": "X <_0>"}))]);
    // What it beats uses up no modifier, in the call and in front.
    for call in
        [with("hello <_0>", json!({"content": "H", "_content": "5"})), with("hello <_0>", json!({"_content": "5"}))]
    {
        assert_eq!(p1(&at_once, &call), json!({"content": "hello 5"}));
        assert_eq!(p1(&above, &call), json!({"content": "hello 5"}));
    }
    let text = Call { body_text: Some("hello <_0>".into()), ..query(json!({"content": "H", "_content": "5"})) };
    assert_eq!(p1(&at_once, &text), json!({"content": "hello 5"}));
    let idle = with("hello", json!({"content": "H", "_content": "5"}));
    assert_eq!(
        (p1(&at_once, &idle), ignored(&at_once, &idle)),
        (json!({"content": "hello"}), vec!["_content".to_owned()])
    );
    let list = Call { content: Some("hello".into()), ..body(json!({"_content": [1]})) };
    assert_eq!(p1(&above, &list), json!({"content": "hello"}));
    // As a modifier it stands above the query's.
    let member = Preset { redefine_content: Some("_content".into()), ..preset("m", json!({"content": "<_0>% left"})) };
    let call = with("7", json!({"_content": "9"}));
    let front = vec![preset("front", json!({"content": "PM <_0>"}))];
    assert_eq!(p1(&one(front, chain(vec![member], plain_service())), &call), json!({"content": "PM 7"}));
}

#[test]
fn content_under_a_name_that_the_group_maps_goes_to_the_member_all_the_same() {
    let target = mapped(json!({"content": ["p2.title"]}));
    assert_eq!(sent_by_member(&target, &content("x")), json!({"p1": {"content": "x"}, "p2": {"content": "x"}}));
}

#[test]
fn a_member_is_scheduled_by_itself() {
    let target = GroupOf::two().target();
    let due = |call: &Call| plan(&target, call).deliveries.iter().map(|d| d.due.0 - NOW.0).collect::<Vec<_>>();
    assert_eq!(due(&query(json!({"delay": "5", "p2.delay": "9"}))), [5_000, 9_000]);
    assert_eq!(due(&query(json!({"p1.at": "2611221200"}))), [71_969_500, 0]);
    let wrong = problems(&target, &query(json!({"delay": "5", "p2.delay": "x", "p1.at": "2611221200"})));
    assert_eq!(
        wrong,
        [
            ("p1.delay".to_owned(), Problem::DelayAndAt),
            ("p1.at".to_owned(), Problem::DelayAndAt),
            ("p2.delay".to_owned(), Problem::BadDelay),
        ]
    );
}

#[test]
fn a_modifier_of_a_dotted_name_can_be_spelled_either_way() {
    let front = vec![preset("front", json!({"p1.title": "<_0> of <_1>"}))];
    let target = GroupOf { front, ..GroupOf::two() }.target();
    let call = query(json!({"_p1.title": "3", "p1._title_1": "4"}));
    assert_eq!(sent_by_member(&target, &call), json!({"p1": {"title": "3 of 4"}, "p2": {}}));
    let both = query(json!({"_p1.title": "no", "p1._title": "3", "_p1.title_1": "4"}));
    assert_eq!(sent_by_member(&target, &both), json!({"p1": {"title": "3 of 4"}, "p2": {}}));
}

#[test]
fn an_unknown_member_in_a_dotted_name_is_an_error() {
    let target = GroupOf::two().target();
    let found = problems(
        &target,
        &query(json!({"p3.title": "x", "p4._title": "x", ".title": "x", "_p5.title": "x", "p1.": "x"})),
    );
    let names: Vec<_> = found.iter().map(|(param, problem)| (param.as_str(), problem.clone())).collect();
    assert_eq!(
        names,
        [
            ("p1.", Problem::BadName),
            (".title", Problem::UnknownMember),
            ("p3.title", Problem::UnknownMember),
            ("p4._title", Problem::UnknownMember),
            ("_p5.title", Problem::UnknownMember),
        ]
    );
    let front = vec![preset("front", json!({"p9.title": "x"}))];
    let found = problems(&GroupOf { front, ..GroupOf::two() }.target(), &Call::default());
    assert_eq!(found, [("p9.title".to_owned(), Problem::UnknownMember)]);
}

#[test]
fn problems_of_all_members_are_named_in_one_answer() {
    let needs = || ParamSpec { required: true, ..spec("key", ParamType::String) };
    let one = || chain(Vec::new(), service("s", vec![needs(), spec("level", ParamType::Integer)]));
    let target =
        GroupOf::new(vec![("p1", json!({"level": "<_0>"}), one()), ("p2", json!({"key": "k"}), one())]).target();
    assert_eq!(
        problems(&target, &query(json!({"p2.level": "x"}))),
        [
            ("p1.key".to_owned(), Problem::Missing),
            ("p1.level".to_owned(), Problem::Unfilled(0)),
            ("p2.level".to_owned(), Problem::NotA(ParamType::Integer)),
        ]
    );
    let list = body(json!({"_level": [1], "key": "k"}));
    assert_eq!(problems(&target, &list), [("p1._level_0".to_owned(), Problem::NotInsertable)]);
}

#[test]
fn a_name_is_ignored_by_the_push_only_if_no_member_uses_it() {
    let titled = chain(Vec::new(), service("s", vec![spec("title", ParamType::String)]));
    let levelled = chain(Vec::new(), service("s", vec![spec("level", ParamType::Integer)]));
    let members = vec![("p1", json!({"own": 1}), titled), ("p2", json!({}), levelled)];
    let map = json!({"amount": ["p1.nothing", "p2._nothing"]});
    let target = GroupOf { map, ..GroupOf::new(members) }.target();
    let call = query(json!({"title": "x", "level": "1", "titel": "x", "p1.level": "2", "amount": "3", "_title": "4"}));
    let plan = plan(&target, &call);
    assert_eq!(plan.ignored, ["_title", "amount", "own", "p1.level", "titel"]);
    assert_eq!(plan.deliveries[0].ignored, ["_title", "amount", "own", "p1.level", "titel"]);
    assert_eq!(plan.deliveries[1].ignored, ["_title", "amount", "titel", "title"]);
}

#[test]
fn a_token_addressed_to_a_member_is_an_error() {
    let target = GroupOf::two().target();
    let call = query(json!({"_token": "t"}));
    assert_eq!(sent_by_member(&target, &call), json!({"p1": {}, "p2": {}}));
    assert_eq!(ignored(&target, &call), [""; 0]);
    let dotted = json!({"_token": "t", "p1._token": "t", "p9._token": "t"});
    let expected = ["p1._token", "p9._token"].map(|name| (name.to_owned(), Problem::Reserved));
    for content in [None, Some("x".to_owned())] {
        let call = Call { body: params(dotted.clone()), content, ..query(dotted.clone()) };
        assert_eq!(problems(&target, &call), expected);
    }
}
