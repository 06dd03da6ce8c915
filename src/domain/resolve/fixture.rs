//! Services, Presets, Groups and calls in a line each, for the tests of this folder.

use super::*;
use crate::domain::id::AccountId;
use crate::domain::params::{ParamSpec, ParamType};
use crate::domain::pusher::{Member, ParamMap};
use crate::domain::refusal::Problem;
use serde_json::json;

pub(super) const NOW: Timestamp = Timestamp(1_795_248_030_500);

pub(super) fn params(value: Value) -> Params {
    match value {
        Value::Object(params) => params,
        other => panic!("not an object: {other}"),
    }
}

pub(super) fn spec(name: &str, kind: ParamType) -> ParamSpec {
    ParamSpec::plain(name, kind)
}

pub(super) fn service(id: &str, params: Vec<ParamSpec>) -> ServiceSpec {
    ServiceSpec { id: id.into(), accepts_any: false, params }
}

/// Takes `title`, `content`, `level` (an integer, 3 if not given), `flag` and `tags`.
pub(super) fn plain_service() -> ServiceSpec {
    let level = ParamSpec { default: Some(json!(3)), ..spec("level", ParamType::Integer) };
    let flag = spec("flag", ParamType::Boolean);
    let tags = spec("tags", ParamType::List);
    service("plain", vec![spec("title", ParamType::String), spec("content", ParamType::Text), level, flag, tags])
}

pub(super) fn any_service() -> ServiceSpec {
    ServiceSpec { accepts_any: true, ..plain_service() }
}

pub(super) fn preset(id: &str, given: Value) -> Preset {
    Preset {
        id: PusherId::new(id),
        owner: AccountId::new("ann"),
        name: id.into(),
        base_pusher: PusherId::new("base"),
        params: params(given),
        redefine_content: None,
        protected: false,
        shared: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// A Preset without parameters that says what `:content` stands for.
pub(super) fn redefining(id: &str, name: &str) -> Preset {
    Preset { redefine_content: Some(name.into()), ..preset(id, json!({})) }
}

pub(super) fn chain(presets: Vec<Preset>, service: ServiceSpec) -> Chain {
    Chain { presets: presets.into_iter().map(Arc::new).collect(), service: Arc::new(service) }
}

pub(super) fn single(presets: Vec<Preset>) -> Target {
    Target::Single(chain(presets, plain_service()))
}

/// The Group `G`; each member has a name, its own parameters and a chain.
pub(super) struct GroupOf {
    pub front: Vec<Preset>,
    pub members: Vec<(&'static str, Value, Chain)>,
    pub map: Value,
    pub redefine: Option<&'static str>,
}

impl GroupOf {
    pub(super) fn new(members: Vec<(&'static str, Value, Chain)>) -> Self {
        Self { front: Vec::new(), members, map: json!({}), redefine: None }
    }

    /// p1 and p2, both the plain Service.
    pub(super) fn two() -> Self {
        let plain = || chain(Vec::new(), plain_service());
        Self::new(vec![("p1", json!({}), plain()), ("p2", json!({}), plain())])
    }

    pub(super) fn target(self) -> Target {
        let map = |(name, to): (String, Value)| (name, serde_json::from_value(to).expect("a list of targets"));
        let param_map: ParamMap = params(self.map).into_iter().map(map).collect();
        let member = |(name, own, _): &(&str, Value, Chain)| Member {
            name: (*name).into(),
            base_pusher: PusherId::new("base"),
            params: params(own.clone()),
        };
        let group = Group {
            id: PusherId::new("G"),
            owner: AccountId::new("ann"),
            name: "G".into(),
            pushers: self.members.iter().map(member).collect(),
            param_map,
            redefine_content: self.redefine.map(str::to_owned),
            strategy: Strategy::All,
            protected: false,
            shared: false,
            created_at: NOW,
            updated_at: NOW,
        };
        Target::Group {
            presets: self.front.into_iter().map(Arc::new).collect(),
            group: Arc::new(group),
            chains: self.members.into_iter().map(|(_, _, chain)| chain).collect(),
        }
    }
}

pub(super) fn body(given: Value) -> Call {
    Call { body: params(given), ..Call::default() }
}

pub(super) fn query(given: Value) -> Call {
    Call { query: params(given), ..Call::default() }
}

pub(super) fn content(text: &str) -> Call {
    Call { content: Some(text.into()), ..Call::default() }
}

pub(super) fn values(delivery: &Delivery) -> Value {
    Value::Object(delivery.clone().into_params())
}

/// Name and source of every parameter.
pub(super) fn sources(delivery: &Delivery) -> Value {
    delivery.params.iter().map(|(name, resolved)| (name.clone(), json!(resolved.from.as_str()))).collect()
}

pub(super) fn plan(target: &Target, call: &Call) -> Plan {
    resolve(target, call, NOW).expect("accepted")
}

/// The parameters of the only delivery, `level` (which has a default) left out unless it differs.
pub(super) fn sent(target: &Target, call: &Call) -> Value {
    let plan = plan(target, call);
    assert_eq!(plan.deliveries.len(), 1);
    without_default(values(&plan.deliveries[0]))
}

/// The parameters of every member, as [`sent`].
pub(super) fn sent_by_member(target: &Target, call: &Call) -> Value {
    let one = |delivery: &Delivery| (delivery.name.clone().expect("a member"), without_default(values(delivery)));
    plan(target, call).deliveries.iter().map(one).collect()
}

fn without_default(mut values: Value) -> Value {
    if values["level"] == json!(3)
        && let Some(values) = values.as_object_mut()
    {
        values.remove("level");
    }
    values
}

pub(super) fn ignored(target: &Target, call: &Call) -> Vec<String> {
    plan(target, call).ignored
}

pub(super) fn problems(target: &Target, call: &Call) -> Vec<(String, Problem)> {
    match resolve(target, call, NOW) {
        Err(Refusal::Params(problems)) => problems.into_iter().map(|p| (p.param, p.problem)).collect(),
        other => panic!("{other:?}"),
    }
}
