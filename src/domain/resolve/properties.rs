//! Properties of resolving, over Pushers and calls made at random from a small stock of names and values, and the
//! comparison with the second reading in `oracle`.

use super::fixture::*;
use super::{Call, Delivery, Resolved, Source, oracle, resolve};
use crate::domain::id::PusherId;
use crate::domain::params::{ParamSpec, ParamType, Params, ServiceSpec};
use crate::domain::pusher::{Chain, Preset, Target};
use crate::domain::refusal::Refusal;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const ORDINARY: [&str; 9] = ["title", "content", "level", "flag", "other", "amount", "delay", "a.b", "1"];
const MODIFIERS: [&str; 12] = [
    "_title",
    "_title_0",
    "_title_00",
    "_title_1",
    "_content",
    "_content_1",
    "_level",
    "_other",
    "_amount",
    "_delay",
    "_1",
    "_token",
];
const DOTTED: [&str; 12] = [
    "p1.title",
    "p2.title",
    "p1._title",
    "p1._title_0",
    "p2._title_1",
    "p2.content",
    "p1.amount",
    "p1._amount",
    "_p1.title",
    "_p2.content_1",
    "p2.level",
    "p1.delay",
];

fn name(dotted: bool) -> BoxedStrategy<String> {
    let of = |names: &'static [&'static str]| select(names).prop_map(str::to_owned);
    if dotted {
        prop_oneof![3 => of(&ORDINARY[..7]), 3 => of(&MODIFIERS), 3 => of(&DOTTED)].boxed()
    } else {
        prop_oneof![1 => of(&ORDINARY), 1 => of(&MODIFIERS)].boxed()
    }
}

fn text() -> impl Strategy<Value = String> {
    vec(select(&["a", "b c", "<_0>", "<_1>", "<_00>", "<_", ">", "5", "", "true", "é"][..]), 0..4)
        .prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => text().prop_map(Value::from),
        3 => select(&["<_0>", "<_0> left", "<_1><_0>", "5", "0"][..]).prop_map(Value::from),
        2 => (0..3_i64).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => select(vec![json!(["x", "<_0>"]), json!({"k": "<_0>"})]),
    ]
}

fn some_params(most: usize, dotted: bool) -> impl Strategy<Value = Params> {
    vec((name(dotted), value()), 0..=most).prop_map(|pairs| pairs.into_iter().collect())
}

fn predefined(most: usize, dotted: bool) -> impl Strategy<Value = Params> {
    some_params(most, dotted).prop_map(|params| params.into_iter().filter(|(name, _)| name != "_token").collect())
}

fn some_service() -> impl Strategy<Value = ServiceSpec> {
    let default = prop_oneof![Just(None), Just(Some(json!(3))), Just(Some(json!("<_0>")))];
    (any::<bool>(), default, prop::bool::weighted(0.2)).prop_map(|(accepts_any, default, required)| {
        let level = ParamSpec { default, ..spec("level", ParamType::Integer) };
        let text = ParamSpec { required, ..spec("content", ParamType::Text) };
        ServiceSpec { accepts_any, ..service("s", vec![spec("title", ParamType::String), text, level]) }
    })
}

fn some_presets(most: usize, dotted: bool) -> impl Strategy<Value = Vec<Preset>> {
    let redefine =
        option::weighted(0.3, name(dotted).prop_filter("not a content", |n| n != "_token" && !n.ends_with("delay")));
    vec((predefined(4, dotted), redefine), 0..=most).prop_map(|presets| {
        let one = |(at, (params, redefine_content))| Preset {
            params,
            redefine_content,
            ..preset(&format!("P{at}"), json!({}))
        };
        presets.into_iter().enumerate().map(one).collect()
    })
}

fn some_chain() -> impl Strategy<Value = Chain> {
    (some_presets(3, false), some_service()).prop_map(|(presets, service)| chain(presets, service))
}

fn some_single() -> impl Strategy<Value = Target> {
    some_chain().prop_map(Target::Single)
}

fn some_group() -> impl Strategy<Value = Target> {
    let maps = vec![
        json!({}),
        json!({"amount": ["p1._title", "p2._content"]}),
        json!({"amount": ["p1.title", "p1.other"], "_amount": ["p2.title"], "other": ["p1.title"]}),
        json!({"title": ["p2.title", "p2._title_1"], "_title_0": ["p1._title"]}),
    ];
    let redefine = option::of(select(&["amount", "_title", "p1.title", "p2._title_1", "content"][..]));
    let members = (predefined(3, false), some_chain(), predefined(3, false), some_chain());
    (some_presets(2, true), members, select(maps), redefine).prop_map(
        |(front, (own1, one, own2, two), map, redefine)| {
            let members = vec![("p1", Value::Object(own1), one), ("p2", Value::Object(own2), two)];
            GroupOf { front, members, map, redefine }.target()
        },
    )
}

fn some_call(dotted: bool) -> impl Strategy<Value = Call> {
    let layers = (some_params(5, dotted), some_params(5, dotted));
    (layers, option::weighted(0.2, text()), option::of(text())).prop_map(|((body, query), body_text, content)| Call {
        body,
        body_text,
        content,
        query,
    })
}

/// Both kinds of target with a call that suits.
fn some_push() -> impl Strategy<Value = (Target, Call)> {
    prop_oneof![(some_single(), some_call(false)), (some_group(), some_call(true))]
}

/// The real answer in the oracle's form.
fn verdict(target: &Target, call: &Call) -> oracle::Verdict {
    match resolve(target, call, NOW) {
        Ok(plan) => {
            let answer = |delivery: Delivery| oracle::Answer {
                params: delivery.params.into_iter().map(|(name, r)| (name, (r.value, r.from.to_string()))).collect(),
                ignored: delivery.ignored.into_iter().collect(),
                due: delivery.due,
            };
            Ok((plan.deliveries.into_iter().map(answer).collect(), plan.ignored.into_iter().collect()))
        }
        Err(Refusal::Params(problems)) => {
            let problems: Vec<_> = problems.into_iter().map(|p| (p.param, p.problem)).collect();
            Err(oracle::shown(&problems))
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// The values of every delivery, or the problems in their order.
fn outcome(target: &Target, call: &Call) -> Result<Vec<Vec<(String, Resolved)>>, Refusal> {
    resolve(target, call, NOW).map(|plan| plan.deliveries.into_iter().map(|delivery| delivery.params).collect())
}

fn reversed(params: &Params) -> Params {
    params.iter().rev().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn reversed_chain(chain: &Chain) -> Chain {
    let presets = chain.presets.iter().map(|p| Arc::new(Preset { params: reversed(&p.params), ..(**p).clone() }));
    Chain { presets: presets.collect(), service: Arc::clone(&chain.service) }
}

fn reversed_target(target: &Target) -> Target {
    match target {
        Target::Single(chain) => Target::Single(reversed_chain(chain)),
        Target::Group { presets, group, chains } => Target::Group {
            presets: presets
                .iter()
                .map(|p| Arc::new(Preset { params: reversed(&p.params), ..(**p).clone() }))
                .collect(),
            group: Arc::clone(group),
            chains: chains.iter().map(reversed_chain).collect(),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn two_readings_of_the_rules_agree((target, call) in some_push()) {
        prop_assert_eq!(verdict(&target, &call), oracle::resolve(&target, &call, NOW));
    }

    #[test]
    fn the_order_in_which_parameters_are_given_does_not_matter((target, call) in some_push()) {
        let other = Call { body: reversed(&call.body), query: reversed(&call.query), ..call.clone() };
        let turned = reversed_target(&target);
        prop_assert_eq!(outcome(&target, &call), outcome(&turned, &other));
        prop_assert_eq!(
            resolve(&target, &call, NOW).map(|plan| plan.ignored),
            resolve(&turned, &other, NOW).map(|plan| plan.ignored)
        );
    }

    #[test]
    fn what_comes_from_the_body_stands((target, mut call) in some_push()) {
        call.body.insert("title".into(), json!("from the body"));
        call.body.retain(|name, _| !name.contains('.'));
        call.query.retain(|name, _| !name.contains('.'));
        // A map or a Preset in front may well send the title elsewhere.
        let direct = match &target {
            Target::Single(_) => true,
            Target::Group { presets, group, .. } => {
                presets.is_empty() && group.param_map.is_empty() && group.redefine_content.is_none()
            }
        };
        if !direct {
            return Ok(());
        }
        if let Ok(plan) = resolve(&target, &call, NOW) {
            for delivery in plan.deliveries {
                let title = delivery.params.into_iter().find(|(name, _)| name == "title").map(|(_, title)| title);
                prop_assert_eq!(title, Some(Resolved { value: json!("from the body"), from: Source::Body }));
            }
        }
    }

    #[test]
    fn a_higher_layer_stands_above_a_lower_one(top in 0..6_usize, below in vec(any::<bool>(), 6)) {
        // 0 to 2 are the layers of the call, 3 and 4 Presets, 5 the Service.
        let gives = |place: usize| place == top || (place > top && below[place]);
        let title = |place: usize| if gives(place) { json!({"title": place.to_string()}) } else { json!({}) };
        let mut service = plain_service();
        service.params[0].default = gives(5).then(|| json!("5"));
        let near = Preset { redefine_content: Some("title".into()), ..preset("near", title(3)) };
        let target = Target::Single(chain(vec![near, preset("far", title(4))], service));
        let call = Call {
            body: params(title(0)), content: gives(1).then(|| "1".to_owned()), query: params(title(2)), body_text: None,
        };
        let plan = plan(&target, &call);
        let from = [Source::Body, Source::Content, Source::Query, Source::Pusher(PusherId::new("near")),
            Source::Pusher(PusherId::new("far")), Source::Service][top].clone();
        prop_assert_eq!(&plan.deliveries[0].params[0], &("title".to_owned(), Resolved { value: json!(top.to_string()), from }));
    }

    #[test]
    fn an_unrelated_parameter_changes_nothing_else((target, call) in some_push(), value in value()) {
        let mut other = call.clone();
        other.query.insert("zzz".into(), value);
        let strip = |outcome: Result<Vec<Vec<(String, Resolved)>>, Refusal>| {
            outcome.map(|all| all.into_iter().map(|mut params| { params.retain(|(name, _)| name != "zzz"); params }).collect::<Vec<_>>())
        };
        prop_assert_eq!(strip(outcome(&target, &call)), strip(outcome(&target, &other)));
    }

    #[test]
    fn what_is_inserted_is_never_scanned(zero in text(), one in text(), places in vec(0..4_usize, 3)) {
        let mut layers = [json!({}), json!({}), json!({}), json!({})];
        for (place, (name, text)) in places.iter().zip([("title", "<_0>|<_1>"), ("_title_0", &zero), ("_title_1", &one)]) {
            layers[*place][name] = json!(text);
        }
        let [body, query, near, far] = layers;
        let target = single(vec![preset("near", near), preset("far", far)]);
        let call = Call { body: params(body), query: params(query), ..Call::default() };
        let expected = format!("{zero}|{one}");
        prop_assert_eq!(&sent(&target, &call)["title"], &json!(expected));
        prop_assert!(ignored(&target, &call).is_empty());
    }

    #[test]
    fn presets_without_modifiers_are_as_one_preset_that_merges_them(presets in some_presets(4, false), service in some_service(), call in some_call(false)) {
        let ordinary = |params: &Params| -> Params {
            params.iter().filter(|(name, _)| !name.starts_with('_')).map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        let presets: Vec<Preset> =
            presets.into_iter().map(|p| Preset { params: ordinary(&p.params), redefine_content: None, ..p }).collect();
        let call = Call { body: ordinary(&call.body), query: ordinary(&call.query), ..call };
        let mut merged = Params::new();
        for preset in presets.iter().rev() {
            merged.extend(preset.params.clone());
        }
        let one = Target::Single(chain(vec![preset("one", Value::Object(merged))], service.clone()));
        let many = Target::Single(chain(presets, service));
        let values = |target| resolve(target, &call, NOW).map(|plan| (values(&plan.deliveries[0]), plan.ignored));
        prop_assert_eq!(values(&one), values(&many));
    }

    #[test]
    fn what_one_member_is_dealt_never_reaches_another(target in some_group(), call in some_call(true), extra in vec((select(&DOTTED[..]), value()), 1..4)) {
        let mut more = call.clone();
        for (name, value) in extra.into_iter().filter(|(name, _)| name.starts_with("p1.")) {
            more.body.insert(name.to_owned(), value);
        }
        let second = |call: &Call| -> Option<BTreeMap<String, Value>> {
            let plan = resolve(&target, call, NOW).ok()?;
            Some(plan.deliveries[1].clone().into_params().into_iter().collect())
        };
        if let (Some(before), Some(after)) = (second(&call), second(&more)) {
            prop_assert_eq!(before, after);
        }
    }
}
