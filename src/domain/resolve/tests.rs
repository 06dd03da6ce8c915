//! Section 2 of the specification, a test a sentence; the Groups of section 3 are in `group_tests`.

use super::fixture::*;
use super::*;
use crate::domain::params::{MAX_CONTENT, ParamSpec, ParamType};
use crate::domain::refusal::Problem;
use serde_json::json;

fn problem(param: &str, problem: Problem) -> Vec<(String, Problem)> {
    vec![(param.to_owned(), problem)]
}

/// A Preset that predefines every layer's favourite, so that only the order decides.
fn layered() -> (Target, Call) {
    let target = single(vec![preset("near", json!({"title": "near"})), preset("far", json!({"title": "far"}))]);
    let call = Call {
        body: params(json!({"content": "body"})),
        content: Some("url".into()),
        query: params(json!({"content": "query", "title": "query"})),
        body_text: None,
    };
    (target, call)
}

#[test]
fn the_higher_line_of_the_precedence_wins() {
    let (target, mut call) = layered();
    let now = |call: &Call| {
        let plan = plan(&target, call);
        (values(&plan.deliveries[0]), sources(&plan.deliveries[0]))
    };
    let (values, from) = now(&call);
    assert_eq!((&values["content"], &from["content"]), (&json!("body"), &json!("body")));
    assert_eq!((&values["title"], &from["title"]), (&json!("query"), &json!("query")));
    call.body.remove("content");
    let (values, from) = now(&call);
    assert_eq!((&values["content"], &from["content"]), (&json!("url"), &json!("content")));
    call.content = None;
    assert_eq!(now(&call).0["content"], json!("query"));
    call.query.clear();
    let (values, from) = now(&call);
    assert_eq!((&values["title"], &from["title"]), (&json!("near"), &json!("near")));
    assert_eq!((&values["level"], &from["level"]), (&json!(3), &json!("service")));
    assert_eq!(values["content"], json!(null));
}

#[test]
fn a_text_body_stands_for_content_with_the_precedence_of_the_body() {
    let target = single(vec![redefining("a", "title")]);
    let call = Call { body_text: Some("text".into()), content: Some("url".into()), ..query(json!({"title": "query"})) };
    let plan = plan(&target, &call);
    assert_eq!(sources(&plan.deliveries[0])["title"], json!("body"));
    assert_eq!(sent(&target, &call), json!({"title": "text"}));
}

#[test]
fn content_stands_for_what_the_nearest_pusher_says() {
    let to = |presets| sent(&single(presets), &content("x"));
    assert_eq!(to(vec![]), json!({"content": "x"}));
    assert_eq!(to(vec![preset("a", json!({}))]), json!({"content": "x"}));
    assert_eq!(to(vec![redefining("a", "title"), redefining("b", "tags")]), json!({"title": "x"}));
    assert_eq!(to(vec![preset("a", json!({})), redefining("b", "tags")]), json!({"tags": ["x"]}));
    let filled = Preset { params: params(json!({"title": "<_0>-<_1>", "_title": "a"})), ..redefining("a", "_title_1") };
    assert_eq!(to(vec![filled]), json!({"title": "a-x"}));
}

#[test]
fn empty_content_is_given_too() {
    let target = single(vec![preset("a", json!({"content": "predefined"}))]);
    assert_eq!(sent(&target, &content("")), json!({"content": ""}));
}

#[test]
fn a_modifier_fills_every_placeholder_of_its_number_and_no_other() {
    let target = single(vec![preset("a", json!({"title": "<_1>, <_0>, <_1>"}))]);
    let call = query(json!({"_title_1": "one", "_title": "zero"}));
    assert_eq!(sent(&target, &call), json!({"title": "one, zero, one"}));
    assert_eq!(ignored(&target, &call), [""; 0]);
}

#[test]
fn the_short_spelling_is_the_number_0_and_the_full_one_wins_within_a_layer() {
    let target = single(vec![preset("a", json!({"title": "<_0>"}))]);
    for (call, expected) in [
        (query(json!({"_title": "short"})), "short"),
        (query(json!({"_title_0": "full"})), "full"),
        (query(json!({"_title": "short", "_title_0": "full"})), "full"),
        (query(json!({"_title_0": "full", "_title": "short"})), "full"),
        (query(json!({"_title_00": "zeros", "_title": "short"})), "zeros"),
        (query(json!({"_title_00": "zeros", "_title_0": "full"})), "full"),
        (Call { body: params(json!({"_title": "body"})), ..query(json!({"_title_0": "query"})) }, "body"),
    ] {
        assert_eq!(sent(&target, &call), json!({"title": expected}), "{call:?}");
    }
}

#[test]
fn a_level_overrides_what_it_predefines_each_under_its_own_name() {
    let target = single(vec![preset("a", json!({"title": "<_0> of a", "_title": "preset"}))]);
    assert_eq!(sent(&target, &Call::default()), json!({"title": "preset of a"}));
    assert_eq!(sent(&target, &query(json!({"_title_0": "call"}))), json!({"title": "call of a"}));
    assert_eq!(sent(&target, &query(json!({"title": "call"}))), json!({"title": "call"}));
}

#[test]
fn a_modifier_also_applies_to_a_value_that_the_caller_sent() {
    let target = single(vec![preset("a", json!({"_title": "preset"}))]);
    assert_eq!(sent(&target, &query(json!({"title": "<_0>!"}))), json!({"title": "preset!"}));
    let call = Call { body: params(json!({"title": "<_0>!"})), ..query(json!({"_title": "query"})) };
    assert_eq!(sent(&target, &call), json!({"title": "query!"}));
}

#[test]
fn a_modifier_that_is_not_used_travels_on_to_the_next_level() {
    let target = single(vec![preset("a", json!({"content": "x"})), preset("b", json!({"title": "<_0> of b"}))]);
    assert_eq!(sent(&target, &query(json!({"_title": "call"}))), json!({"content": "x", "title": "call of b"}));

    let mut service = plain_service();
    service.params[0].default = Some(json!("<_0> of the service"));
    let target = Target::Single(chain(vec![preset("a", json!({"_title": "a"}))], service));
    assert_eq!(sent(&target, &Call::default()), json!({"title": "a of the service"}));
}

#[test]
fn a_modifier_is_used_up_and_one_below_it_is_not_reported() {
    let target = single(vec![
        preset("a", json!({"title": "<_0>", "_title": "a"})),
        preset("b", json!({"title": "<_0>", "_title_0": "b"})),
    ]);
    assert_eq!(sent(&target, &Call::default()), json!({"title": "a"}));
    assert_eq!(ignored(&target, &Call::default()), [""; 0]);
}

#[test]
fn what_is_inserted_stays_as_it_is_at_this_level_and_later_ones() {
    let target = single(vec![
        preset("a", json!({"title": "<_0> <_1>"})),
        preset("b", json!({"_title_1": "b", "_title_2": "c"})),
    ]);
    let call = query(json!({"_title": "<_1><_2><_0>"}));
    assert_eq!(sent(&target, &call), json!({"title": "<_1><_2><_0> b"}));
    assert_eq!(ignored(&target, &call), ["_title_2"]);
}

#[test]
fn numbers_and_booleans_are_inserted_in_their_json_spelling() {
    let target = single(vec![preset("a", json!({"title": "<_0> <_1> <_2>"}))]);
    let call = body(json!({"_title_0": 1.5, "_title_1": true, "_title_2": 10}));
    assert_eq!(sent(&target, &call), json!({"title": "1.5 true 10"}));
}

#[test]
fn lists_and_objects_cannot_be_inserted() {
    let target = single(vec![preset("a", json!({"title": "<_0>"}))]);
    for value in [json!([1]), json!({"a": 1})] {
        let call = body(json!({"_title": value}));
        assert_eq!(problems(&target, &call), problem("_title_0", Problem::NotInsertable));
    }
    // Nothing else is told because of it: neither that the value is missing, nor that it is of another type.
    let required = ParamSpec { required: true, ..spec("title", ParamType::String) };
    let strict = Target::Single(chain(vec![], service("strict", vec![required, spec("level", ParamType::Integer)])));
    let call = body(json!({"title": "<_0>", "level": "<_0><_1>", "_title": [1], "_level": [2], "_level_1": {"a": 3}}));
    let told = ["_level_0", "_level_1", "_title_0"].map(|name| (name.to_owned(), Problem::NotInsertable));
    assert_eq!(problems(&strict, &call), told);
    let unused = body(json!({"_title_7": [1], "_title": "x"}));
    assert_eq!(ignored(&target, &unused), ["_title_7"]);
}

#[test]
fn placeholders_stand_in_texts_only_not_inside_lists_and_objects() {
    let target = single(vec![preset("a", json!({"tags": ["<_0>"]}))]);
    let call = query(json!({"_tags": "x"}));
    assert_eq!(sent(&target, &call), json!({"tags": ["<_0>"]}));
    assert_eq!(ignored(&target, &call), ["_tags"]);
}

#[test]
fn a_filled_value_is_converted_like_any_other() {
    let target = single(vec![preset("a", json!({"level": "<_0>", "tags": "a,<_0>"}))]);
    assert_eq!(
        sent(&target, &query(json!({"_level": "7", "_tags": "b,c"}))),
        json!({"level": 7, "tags": ["a", "b", "c"]})
    );
    let call = query(json!({"_level": "many", "_tags": ""}));
    assert_eq!(problems(&target, &call), problem("level", Problem::NotA(ParamType::Integer)));
}

#[test]
fn a_placeholder_left_open_is_an_error_if_predefined_and_text_if_sent() {
    let target = single(vec![preset("a", json!({"title": "<_1> <_0> <_1>", "content": "<_0>", "_content": "x"}))]);
    let found = problems(&target, &Call::default());
    assert_eq!(found, [("title".to_owned(), Problem::Unfilled(0)), ("title".to_owned(), Problem::Unfilled(1))]);
    assert_eq!(
        Refusal::Params(vec![ParamProblem { param: "title".into(), problem: Problem::Unfilled(0) }]).code(),
        "placeholder_unfilled"
    );
    let call = query(json!({"title": "<_1> <_0>", "_title": "x"}));
    assert_eq!(sent(&target, &call), json!({"title": "<_1> x", "content": "x"}));

    let mut service = plain_service();
    service.params[0].default = Some(json!("<_3>"));
    let target = Target::Single(chain(Vec::new(), service));
    assert_eq!(problems(&target, &Call::default()), problem("title", Problem::Unfilled(3)));
    assert_eq!(sent(&target, &query(json!({"title": "t"}))), json!({"title": "t"}));
}

#[test]
fn a_modifier_that_found_no_hole_is_ignored_and_reported() {
    let target = single(vec![preset("a", json!({"title": "fixed"}))]);
    let call = query(json!({"_title": "x", "_title_4": "y", "_other": "z"}));
    assert_eq!(sent(&target, &call), json!({"title": "fixed"}));
    assert_eq!(ignored(&target, &call), ["_other", "_title", "_title_4"]);
}

#[test]
fn null_takes_a_parameter_or_a_modifier_away() {
    let target = single(vec![preset("a", json!({"title": "a", "level": 5, "content": "<_0>", "_content": "x"}))]);
    let call = body(json!({"title": null, "level": null}));
    assert_eq!(values(&plan(&target, &call).deliveries[0]), json!({"content": "x", "level": 3}));
    let above = Call { body: params(json!({"title": null})), ..query(json!({"title": "query"})) };
    assert_eq!(sent(&target, &above), json!({"content": "x", "level": 5}));
    assert_eq!(problems(&target, &body(json!({"_content": null}))), problem("content", Problem::Unfilled(0)));
    assert_eq!(ignored(&target, &body(json!({"titel": null, "_title_9": null}))), [""; 0]);
    let near = single(vec![preset("near", json!({"title": null})), preset("far", json!({"title": "far"}))]);
    assert_eq!(sent(&near, &Call::default()), json!({}));
}

#[test]
fn empty_text_counts_as_absent_for_what_is_not_text_and_overrides_for_text() {
    let target = single(vec![preset("a", json!({"title": "a", "level": 5}))]);
    assert_eq!(
        values(&plan(&target, &query(json!({"title": "", "level": ""}))).deliveries[0]),
        json!({"title": "", "level": 3})
    );
}

#[test]
fn what_placeholders_leave_empty_counts_as_absent_too() {
    let target = single(vec![preset("a", json!({"level": "<_0>", "_level": ""}))]);
    assert_eq!(values(&plan(&target, &Call::default()).deliveries[0]), json!({"level": 3}));

    // The default then stands at the Service's level, where modifiers that are left can fill it.
    let mut service = plain_service();
    service.params[2].default = Some(json!("<_0>"));
    let levels = vec![preset("a", json!({"level": "<_0>", "_level": ""})), preset("b", json!({"_level": "4"}))];
    let target = Target::Single(chain(levels, service));
    assert_eq!(values(&plan(&target, &Call::default()).deliveries[0]), json!({"level": 4}));
}

#[test]
fn everything_wrong_is_named_in_one_answer_in_the_order_of_the_service() {
    let needs = |name, kind| ParamSpec { required: true, ..spec(name, kind) };
    let service = service(
        "s",
        vec![
            needs("key", ParamType::String),
            spec("level", ParamType::Integer),
            needs("url", ParamType::Url),
            needs("title", ParamType::String),
        ],
    );
    let target = Target::Single(chain(Vec::new(), service));
    let found = problems(&target, &query(json!({"title": "", "level": "x", "url": "https://a/", "delay": "x"})));
    let codes: Vec<_> = found.iter().map(|(param, problem)| (param.as_str(), problem.code())).collect();
    assert_eq!(
        codes,
        [("delay", "param_invalid"), ("key", "param_missing"), ("level", "param_invalid"), ("title", "param_missing")]
    );
}

#[test]
fn query_and_form_values_are_converted_by_the_declared_type() {
    let call = query(json!({"title": "5", "level": "5", "flag": "yes", "tags": ["a", "b"]}));
    assert_eq!(sent(&single(vec![]), &call), json!({"title": "5", "level": 5, "flag": true, "tags": ["a", "b"]}));
    let repeated = query(json!({"title": ["a", "b"]}));
    assert_eq!(problems(&single(vec![]), &repeated), problem("title", Problem::NotOne(ParamType::String)));
}

#[test]
fn what_the_service_does_not_declare_is_not_sent_and_is_reported() {
    let target = single(vec![preset("a", json!({"sound": "x"}))]);
    let call = query(json!({"titel": "x", "content": "y", "a.b": "z"}));
    assert_eq!(sent(&target, &call), json!({"content": "y"}));
    assert_eq!(ignored(&target, &call), ["a.b", "sound", "titel"]);
    assert_eq!(plan(&target, &call).deliveries[0].ignored, ["a.b", "sound", "titel"]);
}

#[test]
fn a_service_that_accepts_anything_takes_the_rest_unchanged_but_nothing_reserved() {
    let target = Target::Single(chain(vec![preset("a", json!({"x": "<_0>!"}))], any_service()));
    let call =
        body(json!({"zz": [1], "Ä.b": 1.5, "content": 5, "delay": 0, "_x": "x", "_no": 1, "_token": "t", "n": null}));
    let plan = plan(&target, &call);
    let names: Vec<&str> = plan.deliveries[0].params.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content", "level", "x", "zz", "Ä.b"]);
    assert_eq!(values(&plan.deliveries[0]), json!({"content": "5", "level": 3, "x": "x!", "zz": [1], "Ä.b": 1.5}));
    assert_eq!(plan.ignored, ["_no"]);
    assert_eq!(problems(&target, &Call::default()), problem("x", Problem::Unfilled(0)));
}

#[test]
fn without_a_group_a_dot_is_an_ordinary_character() {
    let target = Target::Single(chain(Vec::new(), any_service()));
    assert_eq!(
        sent(&target, &query(json!({"p1.title": "x", "p1._title": "y"}))),
        json!({"p1.title": "x", "p1._title": "y"})
    );
}

#[test]
fn the_token_is_never_a_parameter() {
    let target = Target::Single(chain(vec![preset("a", json!({"token": "<_0>"}))], any_service()));
    let call = query(json!({"_token": "secret", "_token_0": "x"}));
    assert_eq!(sent(&target, &call), json!({"token": "x"}));
    assert_eq!(ignored(&target, &call), [""; 0]);
}

#[test]
fn delay_and_at_obey_the_precedence_and_never_reach_the_service() {
    let target = Target::Single(chain(vec![preset("a", json!({"delay": "<_0>", "_delay": 60}))], any_service()));
    let due = |call: &Call| plan(&target, call).deliveries[0].due.0 - NOW.0;
    assert_eq!(due(&Call::default()), 60_000);
    assert_eq!(due(&query(json!({"_delay": "5"}))), 5_000);
    assert_eq!(due(&query(json!({"delay": "7"}))), 7_000);
    assert_eq!(due(&body(json!({"delay": null}))), 0);
    assert_eq!(sent(&target, &query(json!({"delay": "7"}))), json!({}));
    let both = problems(&target, &query(json!({"at": "2611221200"})));
    assert_eq!(both, [("delay".to_owned(), Problem::DelayAndAt), ("at".to_owned(), Problem::DelayAndAt)]);
    assert!(resolve(&target, &body(json!({"at": "2611221200", "delay": null})), NOW).is_ok());
}

#[test]
fn names_and_sizes_of_a_call_are_checked_whether_declared_or_not() {
    let target = single(vec![]);
    let call = query(json!({"": "x", "_": "x", "a\nb": "x", "nul": "\u{0}", "deep": [{"a": "\u{0}"}]}));
    let found = problems(&target, &call);
    assert_eq!(
        found,
        [
            (String::new(), Problem::BadName),
            ("_".to_owned(), Problem::BadName),
            ("a\nb".to_owned(), Problem::BadName),
            ("deep".to_owned(), Problem::HoldsNul),
            ("nul".to_owned(), Problem::HoldsNul),
        ]
    );
    let long = content(&"x".repeat(MAX_CONTENT + 1));
    assert_eq!(problems(&target, &long), problem("content", Problem::TooLarge(MAX_CONTENT)));
    let many = |count: usize| (0..count).map(|n| (format!("a{n}"), json!("x"))).collect::<Value>();
    assert_eq!(ignored(&target, &query(many(64))).len(), 64);
}

#[test]
fn more_parameters_than_allowed_are_told_and_nothing_else() {
    let needs = ParamSpec { required: true, ..spec("title", ParamType::String) };
    let target = Target::Single(chain(Vec::new(), service("s", vec![needs])));
    let many = |count: usize, name: &str| {
        let Value::Object(mut params) = (0..count).map(|n| (format!("{name}{n}"), json!("x"))).collect() else {
            panic!()
        };
        params.insert("_token".to_owned(), json!("t"));
        params
    };
    for (body, query, layer) in [(65, 0, "body"), (0, 65, "query"), (40, 25, "query"), (65, 65, "body")] {
        let call = Call { body: many(body, "a"), query: many(query, "b"), ..Call::default() };
        assert_eq!(problems(&target, &call), problem(layer, Problem::TooMany(64)), "{body} {query}");
    }
    for (query, name) in [(24, "b"), (64, "a")] {
        let call = Call { body: many(40, "a"), query: many(query, name), ..Call::default() };
        assert_eq!(problems(&target, &call), problem("title", Problem::Missing), "a name counts once");
    }
    let call = Call { body: many(40, "a"), query: many(65, "a"), content: Some("x".into()), ..Call::default() };
    assert_eq!(problems(&target, &call), problem("query", Problem::TooMany(64)));
    let call = Call { body: many(64, "a"), content: Some("x".into()), ..Call::default() };
    assert_eq!(problems(&target, &call), problem("title", Problem::Missing));
}

#[test]
fn a_value_at_fault_is_not_reported_as_missing_as_well() {
    let needs = ParamSpec { required: true, ..spec("title", ParamType::String) };
    let target = Target::Single(chain(Vec::new(), service("s", vec![needs])));
    assert_eq!(problems(&target, &query(json!({"title": "\u{0}"}))), problem("title", Problem::HoldsNul));
}

#[test]
fn placeholders_cannot_make_a_short_text_huge() {
    let target = single(vec![preset("a", json!({"content": "<_0>".repeat(1000)}))]);
    let call = query(json!({"_content": "x".repeat(1000)}));
    assert_eq!(problems(&target, &call), problem("content", Problem::TooLarge(MAX_CONTENT)));
}
