//! What most tests begin with: a server, a receiver, and somebody who has a Preset that leads from one to the other.

use serde_json::{Value, json};

use super::client::{Client, text};
use super::http_sink::{HttpSink, Recorded};
use super::world::{Builder, World, webhook};

/// A server, a receiver, and Ann with her Preset `hook` on `webhook`.
pub struct Scene {
    pub world: World,
    pub sink: HttpSink,
    pub ann: Client,
    pub hook: String,
}

impl Scene {
    pub async fn start() -> Self {
        Self::of(World::builder()).await
    }

    pub async fn of(builder: Builder) -> Self {
        let world = builder.start().await;
        let sink = HttpSink::start().await;
        let ann = world.user("ann").await;
        let hook = ann.preset("webhook", webhook(&sink)).await;
        Self { world, sink, ann, hook }
    }

    /// Pushes to `hook`; the answer's data.
    pub async fn push(&self, params: Value) -> Value {
        self.ann.pushed(&self.hook, params).await
    }

    /// Pushes to `hook`; the id of its task.
    pub async fn task(&self, params: Value) -> String {
        text(&self.push(params).await["task_id"])
    }

    /// The one request that has arrived once everything is at rest.
    pub async fn only_request(&self) -> Recorded {
        self.world.settle().await;
        self.sink.only_request()
    }

    /// The JSON of that request.
    pub async fn arrived(&self) -> Value {
        self.only_request().await.json()
    }

    /// Everything that has arrived has arrived, and it is nothing.
    pub async fn nothing_arrived(&self) {
        self.world.settle().await;
        assert_eq!(self.sink.requests().len(), 0, "{:#?}", self.sink.requests());
    }

    /// What a task is, once everything is at rest.
    pub async fn state(&self, task: &str) -> String {
        self.world.settle().await;
        text(&self.ann.task(task).await["state"])
    }

    /// What all tasks of a push are, in the push's order, once everything is at rest.
    pub async fn states(&self, pushed: &Value) -> Vec<String> {
        self.world.settle().await;
        let mut states = Vec::new();
        for task in pushed["tasks"].as_array().expect("tasks") {
            states.push(text(&self.ann.task(&text(&task["task_id"])).await["state"]));
        }
        states
    }

    /// A member of a Group that posts to a sink, with parameters of its own.
    pub fn member(name: &str, sink: &HttpSink, params: Value) -> Value {
        let params = super::world::with(webhook(sink), params);
        json!({ "name": name, "base_pusher": "webhook", "params": params })
    }
}
