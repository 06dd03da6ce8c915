//! Limits hold for all nodes of a PostgreSQL together: those of accounts and Pushers and quotas exactly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::config::LimitsConfig;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::client::{Answer, Client};
use crate::support::database::on_postgres;
use crate::support::scene::Scene;
use crate::support::world::{World, webhook};

on_postgres!(
    limits_hold_for_all_nodes_together,
    pushes_at_the_same_moment_at_three_nodes_are_no_more_than_the_rate,
    pushes_at_the_same_moment_at_three_nodes_are_no_more_than_the_quota,
    what_a_node_was_granted_and_did_not_use_others_have,
);

async fn limits_hold_for_all_nodes_together() {
    let few = |limits: &mut LimitsConfig| (limits.per_pusher_per_minute, limits.daily_quota) = (10, 14);
    let scene = Scene::of(World::builder().limits(few)).await;
    let other = scene.world.another_node(Arc::default()).await;
    let (here, there) = (&scene.ann, other.here(&scene.ann));
    let second = here.preset("webhook", webhook(&scene.sink)).await;

    assert_eq!(here.accepted(&scene.hook, 7, "rate_limited").await, 7);
    let more = there.accepted(&scene.hook, 8, "rate_limited").await;
    // 10 at once, and one every six seconds.
    assert!((3..=4).contains(&more), "{more} of the three that were left");

    let left = here.accepted(&second, 5, "quota_exceeded").await;
    assert_eq!(left, 14 - 7 - more, "of the quota, what the other has not used");
    // What others were granted they may yet give back.
    let refused = there.push(&second, json!({})).await;
    assert_eq!(refused.code(), "quota_exceeded");
    assert!(wait(&refused) <= 2, "{refused:?}");
    let third = scene.world.another_node(Arc::default()).await;
    assert_eq!(third.here(here).push(&second, json!({})).await.code(), "quota_exceeded", "a new node knows");

    // A node on which nothing happens writes nothing.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    let told = last_told(&scene.world).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(last_told(&scene.world).await, told);
    assert!(told <= scene.world.clock_now().0);
    let refused = there.push(&second, json!({})).await;
    let tomorrow = 86_400 - scene.world.clock_now().0.rem_euclid(86_400_000) / 1000;
    assert!((tomorrow - 60..=tomorrow + 1).contains(&wait(&refused)), "nobody has any left: {refused:?}");

    for mut node in [scene.world, other, third] {
        node.stop().await;
    }
}

async fn pushes_at_the_same_moment_at_three_nodes_are_no_more_than_the_rate() {
    let three = Three::start(|limits| limits.per_pusher_per_minute = 120).await;
    let begun = Instant::now();
    let passed = three.accepted_at_once(20, "rate_limited").await;
    // One more every 500 ms.
    let refilled = usize::try_from(begun.elapsed().as_millis() / 500).unwrap() + 1;
    assert!((120..=120 + refilled).contains(&passed), "{passed} of 120 and {refilled}");
    three.stop().await;
}

async fn pushes_at_the_same_moment_at_three_nodes_are_no_more_than_the_quota() {
    let three = Three::start(|limits| limits.daily_quota = 180).await;
    let mut passed = three.accepted_at_once(20, "quota_exceeded").await;
    assert!((120..=180).contains(&passed), "{passed} of 180");
    // What a node holds that has no more to do, it gives back.
    let all = async {
        while passed < 180 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            passed += three.accepted_at_once(1, "quota_exceeded").await;
        }
        passed
    };
    assert_eq!(tokio::time::timeout(PATIENCE, all).await, Ok(180));
    assert_eq!(three.accepted_at_once(2, "quota_exceeded").await, 0);
    three.stop().await;
}

/// Three nodes, and somebody who pushes to one Pusher at all of them.
struct Three {
    scene: Scene,
    others: [World; 2],
    callers: [Client; 3],
}

impl Three {
    async fn start(few: impl FnOnce(&mut LimitsConfig)) -> Self {
        let scene = Scene::of(World::builder().limits(few)).await;
        let others = [scene.world.another_node(Arc::default()).await, scene.world.another_node(Arc::default()).await];
        let callers = [scene.ann.clone(), others[0].here(&scene.ann), others[1].here(&scene.ann)];
        Self { scene, others, callers }
    }

    /// How many pushes are accepted that four callers at each node make at the same time, so many one after another.
    async fn accepted_at_once(&self, each: usize, refusal: &str) -> usize {
        let callers = self.callers.iter().cycle().take(12);
        join_all(callers.map(|node| node.accepted(&self.scene.hook, each, refusal))).await.into_iter().sum()
    }

    async fn stop(self) {
        for mut node in self.others {
            node.stop().await;
        }
    }
}

async fn what_a_node_was_granted_and_did_not_use_others_have() {
    let few = |limits: &mut LimitsConfig| limits.daily_quota = 100;
    let scene = Scene::of(World::builder().limits(few)).await;
    let mut other = scene.world.another_node(Arc::default()).await;
    let (here, there) = (&scene.ann, other.here(&scene.ann));
    assert_eq!(there.accepted(&scene.hook, 23, "quota_exceeded").await, 23);
    other.stop().await;
    assert_eq!(here.accepted(&scene.hook, 80, "quota_exceeded").await, 77);
}

/// How many seconds somebody who was refused is to wait.
fn wait(refused: &Answer) -> i64 {
    refused.header("retry-after").expect("a wait").parse().expect("seconds")
}

/// When a node last told anything.
async fn last_told(world: &World) -> i64 {
    let mut conn = world.beside().await;
    let (at,): (i64,) = sqlx::query_as("SELECT MAX(told_at) FROM usage").fetch_one(&mut conn).await.unwrap();
    at
}
