//! Sharing, deleting, changing and building at once: whatever their order, what is public leads to what is public.

use serde_json::json;

use crate::support::client::{Answer, Client};
use crate::support::world::{World, both};

both!(
    a_preset_is_shared_or_changed_first_but_never_both_ways,
    a_base_is_deleted_or_what_builds_on_it_is_shared,
    a_shared_base_goes_or_is_built_on_by_a_stranger,
    a_base_is_moved_to_something_private_or_shared,
    of_many_who_share_at_once_one_does,
);

const TURNS: usize = 15;

/// Whether it was done; if not, it was refused by a rule.
fn done(answer: &Answer) -> bool {
    assert!(matches!(answer.status, 200 | 404 | 409 | 422), "{}", answer.body);
    answer.status == 200
}

async fn cast() -> (World, Client, Client, Client) {
    let world = World::start().await;
    let (ann, bob, admin) = (world.user("ann").await, world.user("bob").await, world.admin().await);
    (world, ann, bob, admin)
}

async fn a_preset_is_shared_or_changed_first_but_never_both_ways() {
    let (_world, ann, ..) = cast().await;
    for _ in 0..TURNS {
        let id = ann.preset("webhook", json!({})).await;
        let path = format!("/preset/{id}/");
        let (shared, protected) =
            tokio::join!(ann.try_share("preset", &id), ann.patch(&path, json!({ "protected": true })));
        assert!(done(&shared) != done(&protected), "{} {}", shared.body, protected.body);
        let kept = ann.get(&path).await.into_data();
        assert_eq!(kept["shared"], !kept["protected"].as_bool().unwrap());
    }
}

async fn a_base_is_deleted_or_what_builds_on_it_is_shared() {
    let (_world, ann, _, admin) = cast().await;
    for _ in 0..TURNS {
        let base = ann.preset("webhook", json!({})).await;
        ann.share("preset", &base).await;
        let path = format!("/preset/{base}/?force=true");
        let above = ann.preset(&base, json!({})).await;
        let (shared, gone) = tokio::join!(ann.try_share("preset", &above), admin.delete(&path));
        assert!(done(&gone), "{}", gone.body);
        // Shared before it went, or refused because it is gone.
        assert!(done(&shared) || shared.code() == "base_unknown", "{}", shared.body);
    }
}

async fn a_shared_base_goes_or_is_built_on_by_a_stranger() {
    let (_world, ann, bob, admin) = cast().await;
    for _ in 0..TURNS {
        let base = ann.preset("webhook", json!({})).await;
        ann.share("preset", &base).await;
        let path = format!("/preset/{base}/");
        let built = bob.post("/preset/", json!({ "name": "n", "base_pusher": base }));
        let (built, gone) = tokio::join!(built, admin.delete(&path));
        assert!(done(&built) != done(&gone), "{} {}", built.body, gone.body);
    }
}

async fn a_base_is_moved_to_something_private_or_shared() {
    let (_world, ann, ..) = cast().await;
    let private = ann.preset("webhook", json!({})).await;
    for _ in 0..TURNS {
        let id = ann.preset("webhook", json!({})).await;
        let path = format!("/preset/{id}/");
        let (shared, moved) =
            tokio::join!(ann.try_share("preset", &id), ann.patch(&path, json!({ "base_pusher": private })));
        assert!(done(&shared) != done(&moved), "{} {}", shared.body, moved.body);
    }
}

async fn of_many_who_share_at_once_one_does() {
    let (_world, ann, ..) = cast().await;
    let id = ann.preset("webhook", json!({})).await;
    let mut sharing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (ann, id) = (ann.clone(), id.clone());
        sharing.spawn(async move { done(&ann.try_share("preset", &id).await) });
    }
    assert_eq!(sharing.join_all().await.into_iter().filter(|shared| *shared).count(), 1);
    assert_eq!(ann.get("/audit/?action=pusher_shared").await.items().len(), 1);
}
