//! Paging: every list comes whole, newest first, whatever is added meanwhile.

use fanfare::api::page::encode_cursor;
use serde_json::{Value, json};

use crate::support::client::{Client, text};
use crate::support::scene::Scene;
use crate::support::world::both;

both!(
    presets_page,
    groups_page,
    pushers_page,
    tasks_page,
    limits_outside_the_bounds_are_refused,
    a_cursor_that_was_not_given_out_is_refused,
    services_page,
);

const COUNT: usize = 45;

/// Adds one item to the list under test.
async fn add(scene: &Scene, list: &str, turn: usize) {
    match (list, turn % 2) {
        ("/task/", _) => drop(scene.push(json!({ "delay": 3600 })).await),
        ("/preset/", _) | ("/pusher/", 0) => drop(scene.ann.preset(&scene.hook, json!({})).await),
        _ => drop(scene.ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await),
    }
}

async fn page(client: &Client, list: &str, limit: usize, cursor: &str) -> (Vec<Value>, String) {
    let data = client.get(&format!("{list}?limit={limit}&cursor={cursor}")).await.into_data();
    let next = data["next_cursor"].as_str().unwrap_or_default().to_owned();
    (data["items"].as_array().unwrap().clone(), next)
}

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| text(item.get("id").unwrap_or(&item["task_id"]))).collect()
}

async fn every_item_comes_once(list: &str) {
    let scene = Scene::start().await;
    for turn in 0..COUNT {
        // Some share a moment, some do not.
        scene.world.clock.advance(i64::from(turn % 3 == 0));
        add(&scene, list, turn).await;
    }
    let (whole, more) = page(&scene.ann, list, 100, "").await;
    assert_eq!(more, "");
    assert!(whole.windows(2).all(|pair| text(&pair[0]["created_at"]) >= text(&pair[1]["created_at"])), "newest first");
    for limit in [1, 7, 15, 20, 44] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let (items, next) = page(&scene.ann, list, limit, &cursor).await;
            assert!(items.len() == limit || next.is_empty(), "only the last page is short");
            seen.extend(items);
            if next.is_empty() {
                break;
            }
            if limit == 20 {
                add(&scene, list, 0).await;
            }
            cursor = next;
        }
        let known = if limit > 20 { seen.split_off(seen.len().min(2)) } else { seen };
        let known = ids(&known);
        let expected = ids(&whole);
        if limit <= 20 {
            assert_eq!(known, expected, "{limit} a page");
        } else {
            assert_eq!(known, expected, "new ones stand before all others");
        }
    }
    assert_eq!(page(&scene.ann, list, 20, "").await.0.len(), 20);
    assert_eq!(scene.ann.get(list).await.items().len(), 20, "if nobody says");
}

async fn presets_page() {
    every_item_comes_once("/preset/").await;
}

async fn groups_page() {
    every_item_comes_once("/group/").await;
}

async fn pushers_page() {
    every_item_comes_once("/pusher/").await;
}

async fn tasks_page() {
    every_item_comes_once("/task/").await;
}

const LISTS: [&str; 5] = ["/preset/", "/group/", "/pusher/", "/task/", "/service/"];

async fn limits_outside_the_bounds_are_refused() {
    let scene = Scene::start().await;
    for list in LISTS {
        for limit in ["0", "101", "-1", "1.5", "abc", "", "4294967296"] {
            let answer = scene.ann.get(&format!("{list}?limit={limit}")).await;
            assert_eq!(answer.refusal(), (422, "param_invalid"), "{list} {limit}");
            assert_eq!(answer.faults(), [("limit", "param_invalid")], "{list} {limit}");
        }
        for limit in ["1", "100"] {
            scene.ann.get(&format!("{list}?limit={limit}")).await.data();
        }
    }
}

async fn a_cursor_that_was_not_given_out_is_refused() {
    let scene = Scene::start().await;
    for list in LISTS {
        // "-", "1.", "x.y", and what is no base64url at all.
        for cursor in ["LQ", "MS4", "eC55", "a", "%25%25%25", "_w", &"A".repeat(600)] {
            let answer = scene.ann.get(&format!("{list}?cursor={cursor}")).await;
            assert_eq!(answer.refusal(), (422, "cursor_invalid"), "{list} {cursor}");
            assert_eq!(answer.faults(), [("cursor", "cursor_invalid")], "{list} {cursor}");
        }
    }
}

async fn services_page() {
    let scene = Scene::start().await;
    let (whole, more) = page(&scene.ann, "/service/", 100, "").await;
    assert!(whole.len() >= 12 && more.is_empty() && ids(&whole).is_sorted());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (items, next) = page(&scene.ann, "/service/", 5, &cursor).await;
        assert!(items.len() == 5 || next.is_empty());
        seen.extend(items);
        if next.is_empty() {
            break;
        }
        cursor = next;
    }
    assert_eq!(seen, whole);
    // The page goes on behind the last one seen, whether or not that is still there.
    let (rest, _) = page(&scene.world.anonymous(), "/service/", 100, &encode_cursor("e")).await;
    assert_eq!(ids(&rest), ids(&whole).into_iter().filter(|id| id.as_str() > "e").collect::<Vec<_>>());
}
