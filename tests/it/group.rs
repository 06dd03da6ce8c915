//! Groups: who of the members gets what.

use serde_json::{Value, json};

use crate::support::client::text;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::scene::Scene;
use crate::support::world::{World, both, webhook, with};

both!(
    the_worked_example,
    every_member_gets_what_is_addressed_to_none,
    a_dotted_name_beats_map_and_all,
    content_is_what_each_members_own_chain_says,
    a_members_own_parameters_stand_below_the_call,
    members_are_scheduled_on_their_own,
    only_what_no_member_takes_is_ignored,
    an_unknown_member_is_refused,
    faults_of_all_members_come_together,
    a_preset_on_a_group_addresses_members,
    one_member_that_fails_does_not_touch_the_others,
);

/// Two receivers, and whoever makes Groups of them.
struct Pair {
    scene: Scene,
    other: HttpSink,
}

impl Pair {
    async fn start() -> Self {
        Self { scene: Scene::start().await, other: HttpSink::start().await }
    }

    /// A Group of two members with these parameters of their own, and these fields.
    async fn group(&self, p1: Value, p2: Value, fields: Value) -> String {
        let members = json!([Scene::member("p1", &self.scene.sink, p1), Scene::member("p2", &self.other, p2)]);
        self.scene.ann.group(with(json!({ "pushers": members }), fields)).await
    }

    /// Pushes; what the two receivers then got.
    async fn push(&self, path: &str, body: Value) -> (Value, Value) {
        self.scene.ann.post(&format!("/push/{path}"), body).await.data();
        (self.scene.sink.next().await.json(), self.other.next().await.json())
    }
}

async fn the_worked_example() {
    let pair = Pair::start().await;
    let map = json!({ "amount": ["p1._title", "p2._content"] });
    let fields = json!({ "param_map": map, "redefine_content": "amount" });
    let (p1, p2) = (json!({ "title": "<_0> left" }), json!({ "content": "<_0> left" }));
    let group = pair.group(p1, p2, fields).await;
    let got = pair.push(&format!("{group}/10/"), json!({})).await;
    assert_eq!(got, (json!({ "title": "10 left" }), json!({ "content": "10 left" })));
    let got = pair.push(&format!("{group}/?p1._title=9&p2.content=hello"), json!({})).await;
    assert_eq!(got, (json!({ "title": "9 left" }), json!({ "content": "hello" })));
}

async fn every_member_gets_what_is_addressed_to_none() {
    let pair = Pair::start().await;
    let group = pair.group(json!({}), json!({}), json!({})).await;
    let pushed = pair.scene.ann.pushed(&group, json!({ "title": "t", "n": 1 })).await;
    pair.scene.world.settle().await;
    assert_eq!(pair.scene.sink.only_request().json(), json!({ "title": "t", "n": 1 }));
    assert_eq!(pair.other.only_request().json(), json!({ "title": "t", "n": 1 }));
    assert_eq!(pushed["task_id"], Value::Null);
    let tasks = pushed["tasks"].as_array().unwrap();
    let named: Vec<_> = tasks.iter().map(|task| (text(&task["name"]), text(&task["pusher_id"]))).collect();
    assert_eq!(named, [("p1".to_owned(), group.clone()), ("p2".to_owned(), group)]);
    assert_ne!(tasks[0]["task_id"], tasks[1]["task_id"]);
}

async fn a_dotted_name_beats_map_and_all() {
    let pair = Pair::start().await;
    let map = json!({ "word": ["p1.title", "p2.title"] });
    let group = pair.group(json!({}), json!({}), json!({ "param_map": map })).await;
    let path = format!("{group}/?p1.title=dotted");
    let got = pair.push(&path, json!({ "word": "mapped", "title": "all" })).await;
    assert_eq!(got, (json!({ "title": "dotted" }), json!({ "title": "mapped" })), "even from a lower layer");
}

async fn content_is_what_each_members_own_chain_says() {
    let pair = Pair::start().await;
    let fields = json!({ "redefine_content": "title" });
    let titled = pair.scene.ann.preset_with("webhook", webhook(&pair.scene.sink), fields).await;
    let members = json!([{ "name": "p1", "base_pusher": titled }, Scene::member("p2", &pair.other, json!({}))]);
    let group = pair.scene.ann.group(json!({ "pushers": members })).await;
    let got = pair.push(&format!("{group}/full/"), json!({})).await;
    assert_eq!(got, (json!({ "title": "full" }), json!({ "content": "full" })));
}

async fn a_members_own_parameters_stand_below_the_call() {
    let pair = Pair::start().await;
    let group = pair.group(json!({ "a": "own", "b": "own" }), json!({ "b": "other" }), json!({})).await;
    let got = pair.push(&group, json!({ "a": "call" })).await;
    assert_eq!(got, (json!({ "a": "call", "b": "own" }), json!({ "a": "call", "b": "other" })));
}

async fn members_are_scheduled_on_their_own() {
    let pair = Pair::start().await;
    let group = pair.group(json!({ "delay": 60 }), json!({}), json!({})).await;
    let pushed = pair.scene.ann.pushed(&group, json!({ "a": 1 })).await;
    assert_eq!(pair.scene.states(&pushed).await, ["waiting", "succeeded"]);
    let pushed = pair.scene.ann.pushed(&group, json!({ "p1.delay": 0, "p2.delay": 3600 })).await;
    assert_eq!(pair.scene.states(&pushed).await, ["succeeded", "waiting"]);
    let pushed = pair.scene.ann.pushed(&group, json!({ "delay": 3600, "p2.delay": 0 })).await;
    assert_eq!(pair.scene.states(&pushed).await, ["waiting", "succeeded"]);
}

async fn only_what_no_member_takes_is_ignored() {
    let pair = Pair::start().await;
    let ntfy = json!({ "name": "ntfy", "base_pusher": "ntfy", "params": { "server": pair.other.url(), "topic": "t" } });
    let gotify = json!({ "name": "gotify", "base_pusher": "gotify", "params": { "server": pair.other.url(), "app_token": "tttttttt" } });
    let group = pair.scene.ann.group(json!({ "pushers": [ntfy, gotify] })).await;
    let params = json!({ "content": "c", "tags": "only ntfy", "titel": "x", "ntfy.extra": 1, "gotify.tags": "x" });
    let pushed = pair.scene.ann.pushed(&group, params).await;
    assert_eq!(pushed["ignored"], json!(["gotify.tags", "ntfy.extra", "titel"]));
}

async fn an_unknown_member_is_refused() {
    let pair = Pair::start().await;
    let group = pair.group(json!({}), json!({}), json!({})).await;
    let refused = pair.scene.ann.push(&group, json!({ "p3.title": "x", "p4.delay": 1 })).await;
    assert_eq!(refused.refusal(), (422, "param_invalid"));
    assert_eq!(refused.faults(), [("p3.title", "param_invalid"), ("p4.delay", "param_invalid")]);
    pair.scene.nothing_arrived().await;
}

async fn faults_of_all_members_come_together() {
    let pair = Pair::start().await;
    let members = json!([
        { "name": "mail", "base_pusher": "email", "params": { "host": "127.0.0.1" } },
        { "name": "ntfy", "base_pusher": "ntfy" },
        Scene::member("fine", &pair.other, json!({})),
    ]);
    let group = pair.scene.ann.group(json!({ "pushers": members })).await;
    let refused =
        pair.scene.ann.push(&group, json!({ "content": "c", "mail.port": "many", "fine.delay": "soon" })).await;
    assert_eq!(refused.refusal(), (422, "param_invalid"));
    let mut faults = refused.faults();
    faults.sort_unstable();
    let expected = [
        ("fine.delay", "param_invalid"),
        ("mail.port", "param_invalid"),
        ("mail.to", "param_missing"),
        ("ntfy.topic", "param_missing"),
    ];
    assert_eq!(faults, expected);
    assert_eq!(pair.scene.world.tasks().await.len(), 0, "not even the member that is fine");
}

async fn a_preset_on_a_group_addresses_members() {
    let pair = Pair::start().await;
    let group = pair.group(json!({ "title": "<_0>" }), json!({}), json!({})).await;
    let fields = json!({ "redefine_content": "p1._title" });
    let preset = pair.scene.ann.preset_with(&group, json!({ "p2.title": "second" }), fields).await;
    let got = pair.push(&format!("{preset}/first/"), json!({})).await;
    assert_eq!(got, (json!({ "title": "first" }), json!({ "title": "second" })));
}

async fn one_member_that_fails_does_not_touch_the_others() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[])).await;
    let pair = Pair { scene, other: HttpSink::start().await };
    pair.scene.sink.script(vec![Play::status(500)]);
    let group = pair.group(json!({}), json!({}), json!({})).await;
    let pushed = pair.scene.ann.pushed(&group, json!({})).await;
    assert_eq!(pair.scene.states(&pushed).await, ["failed", "succeeded"]);
}
