use std::sync::Arc;

use serde_json::json;

use super::super::id::{AccountId, PusherId};
use super::super::params::{ParamSpec, ParamType};
use super::super::pusher::{Member, Strategy};
use super::super::time::Timestamp;
use super::*;
use crate::domain::pusher::Chain;

const KEY: &str = "0123456789abcdefghij";
const MASKED: &str = "012****hij";

fn params(value: Value) -> Params {
    let Value::Object(params) = value else { panic!("not an object: {value}") };
    params
}

fn spec(name: &str, secret: bool) -> ParamSpec {
    ParamSpec { secret, ..ParamSpec::plain(name, ParamType::String) }
}

/// A Service with a secret of this name, and `title`.
fn chain(secret: &str, accepts_any: bool) -> Chain {
    let params = vec![spec("title", false), spec(secret, true)];
    Chain { presets: Vec::new(), service: Arc::new(ServiceSpec { id: "s".to_owned(), accepts_any, params }) }
}

fn preset(given: Value) -> Preset {
    Preset {
        id: PusherId::new("p"),
        owner: AccountId::new("ann"),
        name: "n".to_owned(),
        base_pusher: PusherId::new("s"),
        params: params(given),
        redefine_content: None,
        protected: false,
        shared: true,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

/// A Group with the members `a` (secret `key`) and `b` (secret `pass`).
fn group() -> (Group, Vec<Chain>) {
    let member = |name: &str, given: Value| Member {
        name: name.to_owned(),
        base_pusher: PusherId::new("s"),
        params: params(given),
    };
    let group = Group {
        id: PusherId::new("g"),
        owner: AccountId::new("ann"),
        name: "n".to_owned(),
        pushers: vec![
            member("a", json!({ "key": KEY, "_key_1": KEY, "title": KEY, "pass": KEY })),
            member("b", json!({ "pass": KEY, "key": KEY })),
        ],
        param_map: vec![
            ("amount".to_owned(), vec!["a.title".to_owned(), "b._pass".to_owned()]),
            ("_word".to_owned(), vec!["b.pass".to_owned()]),
            ("plain".to_owned(), vec!["a.title".to_owned()]),
        ],
        redefine_content: None,
        strategy: Strategy::All,
        protected: false,
        shared: true,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    (group, vec![chain("key", true), chain("pass", false)])
}

#[test]
fn of_a_preset_its_secrets_are_masked_and_what_fills_them() {
    let given = preset(json!({ "key": KEY, "_key": KEY, "_key_07": KEY, "title": KEY, "_title": KEY, "delay": 5 }));
    let single = |accepts_any| Target::Single(chain("key", accepts_any));
    let expected = json!({
        "key": MASKED, "_key": MASKED, "_key_07": MASKED, "title": KEY, "_title": KEY, "delay": 5,
    });
    assert_eq!(Value::Object(params_of_preset(&given, Some(&single(false)))), expected);
    assert_eq!(Value::Object(params_of_preset(&given, Some(&single(true)))), expected);
}

#[test]
fn what_may_be_a_password_in_an_address_is_not_shown() {
    let endpoint = ParamSpec::plain("endpoint", ParamType::Url);
    let service = ServiceSpec { id: "s".to_owned(), accepts_any: false, params: vec![endpoint] };
    let target = Target::Single(Chain { presets: Vec::new(), service: Arc::new(service) });
    let given =
        preset(json!({ "endpoint": "https://ann:pass@h/<_0><_1>", "_endpoint": "ann:pass", "_endpoint_1": "/path" }));
    let shown =
        json!({ "endpoint": "https://ann:****@h/%3C_0%3E%3C_1%3E", "_endpoint": "****", "_endpoint_1": "/path" });
    assert_eq!(Value::Object(params_of_preset(&given, Some(&target))), shown);
}

#[test]
fn what_no_service_knows_may_be_a_secret() {
    let given = preset(json!({ "kye": KEY, "n": 5, "list": [KEY] }));
    let hidden = json!({ "kye": MASKED, "n": "****", "list": [MASKED] });
    assert_eq!(Value::Object(params_of_preset(&given, Some(&Target::Single(chain("key", false))))), hidden);
    assert_eq!(Value::Object(params_of_preset(&given, None)), hidden);
    assert_eq!(params_of_preset(&given, Some(&Target::Single(chain("key", true)))), given.params);
}

#[test]
fn in_front_of_a_group_a_name_is_followed_to_every_member_it_reaches() {
    let (group, chains) = group();
    let target = Target::Group { presets: Vec::new(), group: Arc::new(group), chains };
    let given = preset(json!({
        "a.key": KEY, "a._key_1": KEY, "a.pass": KEY, "b.pass": KEY, "b.key": KEY, "b.title": KEY, "c.title": KEY,
        "key": KEY, "pass": KEY, "title": KEY, "amount": KEY, "_amount": KEY, "_word": KEY, "plain": KEY,
    }));
    let shown = params_of_preset(&given, Some(&target));
    let clear: Vec<&str> = shown.iter().filter(|(_, value)| *value == KEY).map(|(name, _)| &**name).collect();
    assert_eq!(clear, ["a.pass", "b.title", "title", "plain"]);
    assert!(shown.values().all(|value| value == KEY || value == MASKED), "{shown:?}");
}

#[test]
fn of_a_group_the_members_secrets_are_masked() {
    let (group, chains) = group();
    let target = Target::Group { presets: Vec::new(), group: Arc::new(group.clone()), chains };
    let shown = group_for_others(&group, Some(&target));
    let of = |at: usize| Value::Object(shown.pushers[at].params.clone());
    assert_eq!(of(0), json!({ "key": MASKED, "_key_1": MASKED, "title": KEY, "pass": KEY }));
    assert_eq!(of(1), json!({ "pass": MASKED, "key": MASKED }));
    let unknown = group_for_others(&group, None);
    assert!(unknown.pushers.iter().all(|member| member.params.values().all(|value| value == MASKED)));
}
