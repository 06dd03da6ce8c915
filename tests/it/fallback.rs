//! Groups that try one member after the other.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::text;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::scene::Scene;
use crate::support::world::both;

both!(
    the_first_that_succeeds_ends_it,
    the_next_starts_when_one_has_failed_for_good,
    a_step_that_succeeds_when_tried_again_by_hand_ends_those_after_it,
    a_step_tried_again_by_hand_leaves_the_turn_to_the_one_under_way,
    revoking_one_of_two_that_are_under_way_leaves_the_turn_to_the_other,
    a_step_that_is_overtaken_while_it_runs_is_not_tried_again,
    when_all_fail_all_have_failed,
    revoking_the_step_under_way_skips_those_held,
    revoking_a_held_step_leaves_it_out,
    revoking_the_push_revokes_those_held_as_well,
    a_held_step_keeps_a_later_time_of_its_own,
    a_group_of_one_is_not_held_up,
    the_steps_survive_a_restart,
);

/// Three members: each posts its name, to a sink of its own.
struct Steps {
    scene: Scene,
    sinks: [HttpSink; 3],
    group: String,
}

impl Steps {
    async fn start() -> Self {
        let scene = Scene::start().await;
        let sinks = [HttpSink::start().await, HttpSink::start().await, HttpSink::start().await];
        let members = ["a", "b", "c"].iter().zip(&sinks);
        let members: Vec<Value> = members.map(|(name, sink)| Scene::member(name, sink, json!({}))).collect();
        let group = scene.ann.group(json!({ "pushers": members, "strategy": "fallback" })).await;
        Self { scene, sinks, group }
    }

    /// These members answer 400.
    fn fail(&self, members: &[usize]) {
        for &member in members {
            self.sinks[member].script(vec![Play::status(400)]);
        }
    }

    async fn push(&self, params: Value) -> Value {
        self.scene.ann.pushed(&self.group, params).await
    }

    fn arrived(&self) -> [usize; 3] {
        [0, 1, 2].map(|member| self.sinks[member].requests().len())
    }

    /// Tries a step again by hand.
    async fn retry(&self, pushed: &Value, step: usize) {
        let path = format!("/task/{}/retry/", text(&pushed["tasks"][step]["task_id"]));
        self.scene.ann.post(&path, json!({})).await.data();
    }

    async fn revoke(&self, pushed: &Value, step: usize) -> Value {
        let path = format!("/revoke/task/{}/", text(&pushed["tasks"][step]["task_id"]));
        self.scene.ann.get(&path).await.into_data()["state"].take()
    }
}

async fn the_first_that_succeeds_ends_it() {
    let steps = Steps::start().await;
    let pushed = steps.push(json!({ "content": "c" })).await;
    let told: Vec<String> = pushed["tasks"].as_array().unwrap().iter().map(|task| text(&task["state"])).collect();
    assert_eq!(told, ["waiting", "held", "held"]);
    assert_eq!(steps.scene.states(&pushed).await, ["succeeded", "skipped", "skipped"]);
    assert_eq!(steps.arrived(), [1, 0, 0]);
}

async fn the_next_starts_when_one_has_failed_for_good() {
    let steps = Steps::start().await;
    steps.sinks[0].script(vec![Play::status(503), Play::status(503), Play::status(503)]);
    let pushed = steps.push(json!({ "content": "c" })).await;
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "succeeded", "skipped"]);
    assert_eq!(steps.arrived(), [3, 1, 0]);
    let last = steps.sinks[0].requests()[2].at;
    assert!(steps.sinks[1].only_request().at > last, "only after the last retry");
    assert_eq!(steps.sinks[1].only_request().json(), json!({ "content": "c" }));
}

async fn a_step_that_succeeds_when_tried_again_by_hand_ends_those_after_it() {
    let steps = Steps::start().await;
    steps.fail(&[0]);
    let pushed = steps.push(json!({ "b.delay": 3600 })).await;
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "waiting", "held"]);
    steps.retry(&pushed, 0).await;
    assert_eq!(steps.scene.states(&pushed).await, ["succeeded", "skipped", "skipped"]);
    steps.scene.world.forward(3_600_000);
    steps.scene.world.settle().await;
    assert_eq!(steps.arrived(), [2, 0, 0]);
}

/// The first has failed, the second waits for an hour, the third is held.
async fn with_the_second_waiting() -> (Steps, Value) {
    let steps = Steps::start().await;
    steps.fail(&[0]);
    let pushed = steps.push(json!({ "b.delay": 3600 })).await;
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "waiting", "held"]);
    (steps, pushed)
}

async fn a_step_tried_again_by_hand_leaves_the_turn_to_the_one_under_way() {
    let (steps, pushed) = with_the_second_waiting().await;
    steps.fail(&[0]);
    steps.retry(&pushed, 0).await;
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "waiting", "held"]);
    steps.scene.world.forward(3_600_000);
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "succeeded", "skipped"]);
    assert_eq!(steps.arrived(), [2, 1, 0]);
}

async fn revoking_one_of_two_that_are_under_way_leaves_the_turn_to_the_other() {
    let (steps, pushed) = with_the_second_waiting().await;
    steps.sinks[0].next().await;
    steps.sinks[0].script(vec![Play::status(400).after(Duration::from_millis(500))]);
    steps.retry(&pushed, 0).await;
    steps.sinks[0].next().await;
    assert_eq!(steps.revoke(&pushed, 1).await, "revoked");
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "revoked", "succeeded"]);
    assert_eq!(steps.arrived(), [2, 0, 1]);
}

async fn a_step_that_is_overtaken_while_it_runs_is_not_tried_again() {
    let steps = Steps::start().await;
    steps.fail(&[0]);
    steps.sinks[1].script(vec![Play::status(503).after(Duration::from_millis(1000))]);
    let pushed = steps.push(json!({})).await;
    steps.sinks[1].next().await;
    steps.retry(&pushed, 0).await;
    assert_eq!(steps.scene.states(&pushed).await, ["succeeded", "skipped", "skipped"]);
    assert_eq!(steps.arrived(), [2, 1, 0]);
}

async fn when_all_fail_all_have_failed() {
    let steps = Steps::start().await;
    steps.fail(&[0, 1, 2]);
    let pushed = steps.push(json!({})).await;
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "failed", "failed"]);
    assert_eq!(steps.arrived(), [1, 1, 1]);
}

async fn revoking_the_step_under_way_skips_those_held() {
    let steps = Steps::start().await;
    let pushed = steps.push(json!({ "a.delay": 3600 })).await;
    assert_eq!(steps.scene.states(&pushed).await, ["waiting", "held", "held"]);
    assert_eq!(steps.revoke(&pushed, 0).await, "revoked");
    assert_eq!(steps.scene.states(&pushed).await, ["revoked", "skipped", "skipped"]);
    steps.scene.world.forward(3_600_000);
    steps.scene.world.settle().await;
    assert_eq!(steps.arrived(), [0, 0, 0]);
}

async fn revoking_a_held_step_leaves_it_out() {
    let steps = Steps::start().await;
    steps.fail(&[0]);
    let pushed = steps.push(json!({ "a.delay": 3600 })).await;
    assert_eq!(steps.revoke(&pushed, 1).await, "revoked");
    steps.scene.world.forward(3_600_000);
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "revoked", "succeeded"]);
    assert_eq!(steps.arrived(), [1, 0, 1]);
}

async fn revoking_the_push_revokes_those_held_as_well() {
    let steps = Steps::start().await;
    let pushed = steps.push(json!({ "a.delay": 3600 })).await;
    steps.scene.ann.get(&format!("/revoke/push/{}/", text(&pushed["push_id"]))).await.data();
    assert_eq!(steps.scene.states(&pushed).await, ["revoked", "revoked", "revoked"]);
}

async fn a_held_step_keeps_a_later_time_of_its_own() {
    let steps = Steps::start().await;
    steps.fail(&[0]);
    let pushed = steps.push(json!({ "b.delay": 3600 })).await;
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "waiting", "held"]);
    steps.scene.world.forward(3_600_000);
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "succeeded", "skipped"]);
}

async fn a_group_of_one_is_not_held_up() {
    let steps = Steps::start().await;
    let member = Scene::member("only", &steps.sinks[0], json!({}));
    let group = steps.scene.ann.group(json!({ "pushers": [member], "strategy": "fallback" })).await;
    let pushed = steps.scene.ann.pushed(&group, json!({})).await;
    assert_eq!(steps.scene.states(&pushed).await, ["succeeded"]);
}

async fn the_steps_survive_a_restart() {
    let mut steps = Steps::start().await;
    steps.fail(&[0, 1]);
    let pushed = steps.push(json!({ "delay": 3600 })).await;
    steps.scene.world.restart().await;
    steps.scene.world.forward(3_600_000);
    assert_eq!(steps.scene.states(&pushed).await, ["failed", "failed", "succeeded"]);
}
