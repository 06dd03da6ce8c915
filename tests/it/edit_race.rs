//! Two changes at once: whatever their order, what is left leads to its Services.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::PATIENCE;
use crate::support::client::{Answer, Client};
use crate::support::world::{World, both};

both!(
    a_base_goes_or_is_built_on_but_not_both,
    a_base_that_goes_is_not_moved_to,
    two_changes_make_no_circle,
    a_base_becomes_a_group_or_a_member_but_not_both,
    of_seven_members_added_at_once_five_are_taken,
    changes_of_different_fields_are_all_kept,
    a_push_to_what_goes_leaves_nothing_that_waits,
    a_push_to_who_is_disabled_leaves_nothing_that_waits,
    a_deletion_is_finished_though_the_caller_hangs_up,
);

const TURNS: usize = 25;

/// Whether it was done; if not, it was refused by a rule.
fn done(answer: &Answer) -> bool {
    assert!(matches!(answer.status, 200 | 409 | 422), "{}", answer.body);
    answer.status == 200
}

async fn ann() -> (World, Client) {
    let world = World::start().await;
    let ann = world.user("ann").await;
    (world, ann)
}

async fn a_base_goes_or_is_built_on_but_not_both() {
    let (_world, ann) = ann().await;
    for _ in 0..TURNS {
        let base = ann.preset("webhook", json!({})).await;
        let path = format!("/preset/{base}/");
        let built = ann.post("/preset/", json!({ "name": "n", "base_pusher": base }));
        let (built, gone) = tokio::join!(built, ann.delete(&path));
        assert!(done(&built) != done(&gone), "{} {}", built.body, gone.body);
    }
}

async fn a_base_that_goes_is_not_moved_to() {
    let (_world, ann) = ann().await;
    for _ in 0..TURNS {
        let [base, moving] = [ann.preset("webhook", json!({})).await, ann.preset("webhook", json!({})).await];
        let (path, moving) = (format!("/preset/{base}/"), format!("/preset/{moving}/"));
        let (gone, moved) = tokio::join!(ann.delete(&path), ann.patch(&moving, json!({ "base_pusher": base })));
        assert!(done(&moved) != done(&gone), "{} {}", moved.body, gone.body);
    }
}

async fn two_changes_make_no_circle() {
    let (_world, ann) = ann().await;
    for _ in 0..TURNS {
        let [one, other] = [ann.preset("webhook", json!({})).await, ann.preset("webhook", json!({})).await];
        let (first, second) = (format!("/preset/{one}/"), format!("/preset/{other}/"));
        let change = |base: &str| json!({ "base_pusher": base });
        let (first, second) = tokio::join!(ann.patch(&first, change(&other)), ann.patch(&second, change(&one)));
        assert!(done(&first) != done(&second), "{} {}", first.body, second.body);
    }
}

async fn a_base_becomes_a_group_or_a_member_but_not_both() {
    let (_world, ann) = ann().await;
    let group = ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await;
    for _ in 0..TURNS {
        let preset = ann.preset("webhook", json!({})).await;
        let path = format!("/preset/{preset}/");
        let moved = ann.patch(&path, json!({ "base_pusher": group }));
        let made = json!({ "name": "g", "pushers": [{ "name": "m", "base_pusher": preset }] });
        let (moved, made) = tokio::join!(moved, ann.post("/group/", made));
        assert!(done(&moved) != done(&made), "{} {}", moved.body, made.body);
    }
}

async fn of_seven_members_added_at_once_five_are_taken() {
    let (_world, ann) = ann().await;
    let group = ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await;
    let path = format!("/group/{group}/pusher/");
    let mut adding = tokio::task::JoinSet::new();
    for n in 0..7 {
        let (ann, path) = (ann.clone(), path.clone());
        adding
            .spawn(async move { ann.post(&path, json!({ "name": format!("m{n}"), "base_pusher": "webhook" })).await });
    }
    let taken = adding.join_all().await.iter().filter(|answer| done(answer)).count();
    assert_eq!(taken, 4, "beside the one that was there");
    assert_eq!(ann.get(&format!("/group/{group}/")).await.data()["pushers"].as_array().unwrap().len(), 5);
}

async fn changes_of_different_fields_are_all_kept() {
    let (_world, ann) = ann().await;
    for turn in 0..TURNS {
        let id = ann.preset("webhook", json!({})).await;
        let path = format!("/preset/{id}/");
        let params = json!({ "turn": turn });
        let (name, other, redefined) = tokio::join!(
            ann.patch(&path, json!({ "name": "new" })),
            ann.patch(&path, json!({ "params": params })),
            ann.patch(&path, json!({ "redefine_content": "title" })),
        );
        assert!(done(&name) && done(&other) && done(&redefined));
        let kept = ann.get(&path).await.into_data();
        assert_eq!((&kept["name"], &kept["params"]), (&json!("new"), &params));
        assert_eq!(kept["redefine_content"], "title");
    }
}

async fn a_push_to_what_goes_leaves_nothing_that_waits() {
    let (_world, ann) = ann().await;
    for _ in 0..TURNS {
        let id = ann.preset("webhook", json!({ "endpoint": "http://127.0.0.1:9" })).await;
        let pushing = six_pushes(&ann, &id);
        ann.delete(&format!("/preset/{id}/")).await.data();
        let answers = pushing.join_all().await;
        assert!(answers.iter().all(|status| matches!(status, 200 | 404)), "{answers:?}");
        assert_eq!(ann.get("/task/?state=waiting").await.data()["items"], json!([]), "{answers:?}");
    }
}

async fn a_push_to_who_is_disabled_leaves_nothing_that_waits() {
    let (world, ann) = ann().await;
    let (admin, nobody) = (world.admin().await, world.anonymous());
    let id = ann.preset("webhook", json!({ "endpoint": "http://127.0.0.1:9" })).await;
    for _ in 0..TURNS {
        let pushing = six_pushes(&nobody, &id);
        admin.patch("/account/user/account-of-ann/", json!({ "disabled": true })).await.data();
        let answers = pushing.join_all().await;
        assert!(answers.iter().all(|status| matches!(status, 200 | 404)), "{answers:?}");
        assert_eq!(admin.get("/task/?all=true&state=waiting").await.data()["items"], json!([]), "{answers:?}");
        admin.patch("/account/user/account-of-ann/", json!({ "disabled": false })).await.data();
    }
}

/// Pushes under way, for later; each answers its status.
fn six_pushes(client: &Client, id: &str) -> JoinSet<u16> {
    let push = |_| {
        let (client, id) = (client.clone(), id.to_owned());
        async move { client.push(&id, json!({ "delay": 3600 })).await.status }
    };
    (0..6).map(push).collect()
}

/// Sends a request and hangs up at once, without waiting for the answer.
async fn send_and_hang_up(address: SocketAddr, method: &str, path: &str, token: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: fanfare\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
}

async fn a_deletion_is_finished_though_the_caller_hangs_up() {
    let (world, ann) = ann().await;
    let preset = ann.preset("webhook", json!({ "endpoint": "http://127.0.0.1:9" })).await;
    for _ in 0..3 {
        ann.pushed(&preset, json!({ "delay": 3600 })).await;
    }
    let path = format!("/preset/{preset}/");
    // While somebody else edits the deletion cannot go on.
    let busy = world.engine().store.edit().await.unwrap();
    send_and_hang_up(world.address(), "DELETE", &path, ann.token()).await;
    for _ in 0..50 {
        ann.get(&path).await.data();
    }
    drop(busy);
    let deadline = Instant::now() + PATIENCE;
    while ann.get(&path).await.status == 200 {
        assert!(Instant::now() < deadline, "it is not gone");
    }
    while !ann.get("/task/?state=waiting").await.items().is_empty() {
        assert!(Instant::now() < deadline, "it is gone, and tasks still wait because of it");
    }
}
