//! Limits hold for all nodes of a PostgreSQL together, within about a second.

use std::sync::Arc;
use std::time::Duration;

use fanfare::config::LimitsConfig;
use serde_json::json;

use crate::support::database::on_postgres;
use crate::support::scene::Scene;
use crate::support::world::{World, webhook};

on_postgres!(limits_hold_for_all_nodes_together);

/// One exchange and some more.
const SOON: Duration = Duration::from_millis(1200);

async fn limits_hold_for_all_nodes_together() {
    let few = |limits: &mut LimitsConfig| (limits.per_pusher_per_minute, limits.daily_quota) = (10, 14);
    let scene = Scene::of(World::builder().limits(few)).await;
    let other = scene.world.another_node(Arc::default()).await;
    let (here, there) = (&scene.ann, other.here(&scene.ann));
    let second = here.preset("webhook", webhook(&scene.sink)).await;

    assert_eq!(here.accepted(&scene.hook, 7, "rate_limited").await, 7);
    tokio::time::sleep(SOON).await;
    let more = there.accepted(&scene.hook, 8, "rate_limited").await;
    // 10 at once, and one every six seconds.
    assert!((3..=4).contains(&more), "{more} of the three that were left");
    let used = 7 + more;

    tokio::time::sleep(SOON).await;
    let left = here.accepted(&second, 5, "quota_exceeded").await;
    assert_eq!(left, 14 - used, "of the quota, what the other has not used");
    tokio::time::sleep(SOON).await;
    assert_eq!(there.push(&second, json!({})).await.code(), "quota_exceeded");

    let third = scene.world.another_node(Arc::default()).await;
    assert_eq!(third.here(here).push(&second, json!({})).await.code(), "quota_exceeded", "a new node knows");

    // A node on which nothing happens writes nothing.
    tokio::time::sleep(SOON).await;
    let told = last_told(&scene.world).await;
    tokio::time::sleep(SOON).await;
    assert_eq!(last_told(&scene.world).await, told);
    assert!(told <= scene.world.clock_now().0);

    for mut node in [scene.world, other, third] {
        node.stop().await;
    }
}

/// When a node last told anything.
async fn last_told(world: &World) -> i64 {
    let mut conn = world.beside().await;
    let (at,): (i64,) = sqlx::query_as("SELECT MAX(told_at) FROM usage").fetch_one(&mut conn).await.unwrap();
    at
}
