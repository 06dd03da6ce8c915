//! From a call to what the receiver sees.

use serde_json::json;

use crate::support::http_sink::HttpSink;
use crate::support::world::{World, both, webhook};

both!(a_push_arrives);

async fn a_push_arrives() {
    let world = World::start().await;
    let sink = HttpSink::start().await;
    let ann = world.user("ann").await;
    let preset = ann.preset("webhook", webhook(&sink)).await;
    ann.push(&preset, json!({ "content": "hello" })).await.data();
    world.settle().await;
    assert_eq!(sink.only_request().json(), json!({ "content": "hello" }));
}
