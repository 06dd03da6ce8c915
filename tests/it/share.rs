//! Sharing: under which conditions, what it makes final, who finds it, what is built on it.

use serde_json::{Value, json};

use crate::support::client::{Answer, Client, text};
use crate::support::http_sink::HttpSink;
use crate::support::scene::Scene;
use crate::support::world::{World, both, task_id, webhook};

both!(
    everything_that_a_shared_pusher_builds_on_is_public,
    what_is_shared_is_final,
    a_preset_is_not_shared_as_a_group,
    shared_ones_are_found_by_name_and_base,
    shared_ones_are_listed_in_pages,
    a_search_is_taken_literally,
    who_is_shut_out_does_not_take_the_list_along,
    others_build_on_a_shared_preset_and_own_their_tasks,
    tasks_of_a_push_to_somebodys_shared_preset_are_the_owners,
    dependents_are_named_to_whom_they_concern,
    the_middle_of_a_chain_stays,
    an_admin_can_force_a_deletion,
    what_lost_its_base_can_be_given_another,
    a_deletion_revokes_what_waits_and_leaves_what_was_resolved,
);

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| text(&item["id"])).collect()
}

async fn everything_that_a_shared_pusher_builds_on_is_public() {
    let scene = Scene::start().await;
    let above = scene.ann.preset(&scene.hook, json!({})).await;
    let pushers = json!([{ "name": "w", "base_pusher": "webhook" }, { "name": "h", "base_pusher": scene.hook }]);
    let group = scene.ann.group(json!({ "pushers": pushers })).await;
    for (kind, id) in [("preset", &above), ("group", &group)] {
        let refused = scene.ann.try_share(kind, id).await;
        assert_eq!(refused.refusal(), (409, "base_not_public"));
        assert_eq!(refused.body["data"], json!({ "base_pusher": scene.hook }));
        assert_eq!(scene.ann.get(&format!("/{kind}/{id}/")).await.data()["shared"], false);
    }
    for (kind, id) in [("preset", &scene.hook), ("preset", &above), ("group", &group)] {
        let shared = scene.ann.try_share(kind, id).await;
        assert_eq!((&shared.data()["shared"], &shared.data()["id"]), (&json!(true), &json!(id)));
    }
    let only_services = scene.ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await;
    scene.ann.share("group", &only_services).await;
    // A Preset on a shared Group is as good.
    let on_group = scene.ann.preset(&group, json!({})).await;
    scene.ann.share("preset", &on_group).await;
}

async fn what_is_shared_is_final() {
    let scene = Scene::start().await;
    let pushers = json!([{ "name": "m", "base_pusher": "webhook" }]);
    let group = scene.ann.group(json!({ "pushers": pushers })).await;
    scene.ann.share("preset", &scene.hook).await;
    scene.ann.share("group", &group).await;
    let (preset, group) = (format!("/preset/{}/", scene.hook), format!("/group/{group}/"));
    let [before, before_group] = [scene.ann.get(&preset).await.into_data(), scene.ann.get(&group).await.into_data()];
    let member = json!({ "name": "n", "base_pusher": "webhook" });
    for refused in [
        scene.ann.patch(&preset, json!({ "name": "x" })).await,
        scene.ann.patch(&preset, json!({ "protected": true })).await,
        scene.ann.patch(&preset, json!({})).await,
        scene.ann.delete(&preset).await,
        scene.ann.patch(&group, json!({ "strategy": "fallback" })).await,
        scene.ann.post(&format!("{group}pusher/"), member).await,
        scene.ann.patch(&format!("{group}pusher/m/"), json!({ "params": {} })).await,
        scene.ann.delete(&format!("{group}pusher/m/")).await,
        scene.ann.delete(&group).await,
        scene.ann.try_share("preset", &scene.hook).await,
    ] {
        assert_eq!(refused.refusal(), (409, "shared_is_final"), "{}", refused.body);
    }
    assert_eq!(scene.ann.get(&preset).await.into_data(), before);
    assert_eq!(scene.ann.get(&group).await.into_data(), before_group);
    let admin = scene.world.admin().await;
    assert_eq!(admin.patch(&preset, json!({ "name": "x" })).await.refusal(), (403, "forbidden"));
    for path in [&preset, &group] {
        admin.delete(path).await.data();
        assert_eq!(scene.ann.get(path).await.refusal(), (404, "pusher_not_found"));
    }
}

async fn a_preset_is_not_shared_as_a_group() {
    let scene = Scene::start().await;
    assert_eq!(scene.ann.try_share("group", &scene.hook).await.refusal(), (404, "group_not_found"));
    let deleted = scene.ann.delete(&format!("/group/{}/", scene.hook)).await;
    assert_eq!(deleted.refusal(), (404, "group_not_found"));
    assert_eq!(scene.ann.get(&format!("/preset/{}/", scene.hook)).await.data()["shared"], false);
}

async fn named(ann: &Client, base: &str, name: &str) -> String {
    let id = ann.preset_with(base, json!({}), json!({ "name": name })).await;
    ann.share("preset", &id).await;
    id
}

async fn shared_ones_are_found_by_name_and_base() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let disk = named(&ann, "bark", "Disk watch").await;
    let mail = named(&ann, "ntfy", "磁盘已满").await;
    let above = named(&ann, &disk, "weekly").await;
    let hidden = ann.preset_with("bark", json!({}), json!({ "name": "Disk hidden" })).await;
    let pushers = json!([{ "name": "m", "base_pusher": "bark" }]);
    let group = ann.group(json!({ "name": "everywhere", "pushers": pushers })).await;
    ann.share("group", &group).await;
    let anyone = world.anonymous();
    let all: Vec<&str> = vec![&disk, &mail, &above];
    for (q, expected) in [
        ("", all),
        ("disk", vec![&*disk, &above]),
        ("DISK+W", vec![&disk, &above]),
        ("weekly", vec![&above]),
        ("bark", vec![&disk]),
        ("NTFY", vec![&mail]),
        ("%E7%A3%81%E7%9B%98", vec![&mail]),
        (&disk, vec![&above]),
        ("nothing", vec![]),
    ] {
        let mut found = ids(&anyone.get(&format!("/preset/shared/?q={q}")).await.items());
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{q}");
        assert!(!found.contains(&hidden));
    }
    for q in ["bark", "EVERY"] {
        assert_eq!(ids(&anyone.get(&format!("/group/shared/?q={q}")).await.items()).concat(), group);
    }
    assert!(ids(&anyone.get("/group/shared/?q=disk").await.items()).is_empty());
}

async fn shared_ones_are_listed_in_pages() {
    let world = World::start().await;
    let [ann, bob] = [world.user("ann").await, world.user("bob").await];
    let mut made = Vec::new();
    for n in 0..5 {
        world.clock.advance(i64::from(n > 1));
        made.push(named(if n % 2 == 0 { &ann } else { &bob }, "webhook", &format!("n{n}")).await);
    }
    let mut found = ids(&bob.pages("/preset/shared/?limit=2").await);
    assert_eq!(found[..3], [&*made[4], &made[3], &made[2]]);
    found.sort_unstable();
    made.sort_unstable();
    assert_eq!(found, made);
    for cursor in ["x", "MQ", "AAAA"] {
        let refused = bob.get(&format!("/preset/shared/?cursor={cursor}")).await;
        assert_eq!(refused.refusal(), (422, "cursor_invalid"));
    }
}

async fn a_search_is_taken_literally() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let percent = named(&ann, "webhook", "50% off!").await;
    let under = named(&ann, "webhook", "a_b\\c").await;
    for (q, expected) in [
        ("%25", vec![&percent]),
        ("_", vec![&under]),
        ("%5C", vec![&under]),
        ("!", vec![&percent]),
        ("0%25%20OFF!", vec![&percent]),
        ("a%25b", vec![]),
        ("'", vec![]),
    ] {
        let found = ids(&ann.get(&format!("/preset/shared/?q={q}")).await.items());
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{q}");
    }
    for (q, code) in [("%00", "invalid"), (&*"x".repeat(101), "too_long")] {
        let refused = ann.get(&format!("/preset/shared/?q={q}")).await;
        assert_eq!((refused.refusal(), refused.faults()), ((422, "field_invalid"), vec![("q", code)]));
    }
}

async fn who_is_shut_out_does_not_take_the_list_along() {
    let scene = Scene::start().await;
    let [bob, admin] = [scene.world.user("bob").await, scene.world.admin().await];
    let his =
        bob.preset("webhook", json!({ "endpoint": scene.sink.url(), "secret": "whsec_c2VjcmV0IG9mIGJvYg==" })).await;
    scene.ann.share("preset", &scene.hook).await;
    bob.share("preset", &his).await;
    let account = text(&bob.get("/account/user/").await.data()["id"]);
    admin.patch(&format!("/account/user/{account}/"), json!({ "disabled": true })).await.data();
    for client in [&scene.world.anonymous(), &scene.ann, &admin] {
        let listed = client.get("/preset/shared/").await.into_data();
        assert!(ids(listed["items"].as_array().unwrap()).contains(&scene.hook), "{listed}");
        assert!(!listed.to_string().contains("c2VjcmV0IG9mIGJvYg"), "{listed}");
    }
    assert_eq!(admin.get(&format!("/preset/{his}/")).await.data()["id"], json!(his));
}

async fn others_build_on_a_shared_preset_and_own_their_tasks() {
    let scene = Scene::start().await;
    scene.ann.share("preset", &scene.hook).await;
    let bob = scene.world.user("bob").await;
    let own = bob.preset(&scene.hook, json!({ "title": "bob's" })).await;
    let task = task_id(&bob.anonymous().pushed(&own, json!({ "content": "c" })).await);
    assert_eq!(scene.arrived().await, json!({ "title": "bob's", "content": "c" }));
    assert_eq!(bob.task(&task).await["state"], "succeeded");
    assert_eq!(scene.ann.get(&format!("/task/{task}/")).await.refusal(), (404, "task_not_found"));
    let stays = bob.get(&format!("/preset/{own}/")).await.into_data();
    assert_eq!((&stays["base_pusher"], &stays["shared"]), (&json!(scene.hook), &json!(false)));
}

async fn tasks_of_a_push_to_somebodys_shared_preset_are_the_owners() {
    let scene = Scene::start().await;
    scene.ann.share("preset", &scene.hook).await;
    let bob = scene.world.user("bob").await;
    assert_eq!(bob.anonymous().push(&scene.hook, json!({})).await.refusal(), (401, "token_missing"));
    let task = task_id(&bob.pushed(&scene.hook, json!({ "content": "c", "delay": 3600 })).await);
    assert_eq!(bob.get(&format!("/task/{task}/")).await.refusal(), (404, "task_not_found"));
    assert_eq!(bob.get(&format!("/revoke/task/{task}/")).await.data(), &json!({ "state": null }));
    assert_eq!(scene.ann.task(&task).await["state"], "waiting");
}

async fn dependents_are_named_to_whom_they_concern() {
    let scene = Scene::start().await;
    scene.ann.share("preset", &scene.hook).await;
    let [bob, admin] = [scene.world.user("bob").await, scene.world.admin().await];
    let private = bob.preset_with(&scene.hook, json!({}), json!({ "name": "private" })).await;
    let public = bob.preset_with(&scene.hook, json!({}), json!({ "name": "public" })).await;
    bob.share("preset", &public).await;
    let path = format!("/preset/{}/", scene.hook);
    let shown = |answer: &Answer| {
        assert_eq!(answer.refusal(), (409, "pusher_in_use"));
        let mut names: Vec<String> =
            answer.body["data"]["dependents"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
        names.sort_unstable();
        (names, answer.body["data"]["others"].clone())
    };
    let all = vec!["private".to_owned(), "public".to_owned()];
    assert_eq!(shown(&admin.delete(&path).await), (all, json!(0)));
    // Whoever owns the base learns no id that would let them push to somebody's Preset.
    let own = scene.ann.delete(&path).await;
    assert_eq!(own.refusal(), (409, "shared_is_final"));
    assert!(!own.body.to_string().contains(&private));
    let mut tx = scene.world.engine().store.read().await.unwrap();
    let ann = fanfare::domain::id::AccountId::new("account-of-ann");
    let (seen, others) = tx.dependents_of(&fanfare::domain::id::PusherId::new(&scene.hook), Some(&ann)).await.unwrap();
    assert_eq!((seen.len(), seen[0].id.as_str(), others), (1, &*public, 1));
}

async fn the_middle_of_a_chain_stays() {
    let scene = Scene::start().await;
    let middle = scene.ann.preset(&scene.hook, json!({})).await;
    let top = scene.ann.preset(&middle, json!({})).await;
    for (kept, because) in [(&scene.hook, &middle), (&middle, &top)] {
        let refused = scene.ann.delete(&format!("/preset/{kept}/")).await;
        assert_eq!(refused.refusal(), (409, "pusher_in_use"));
        let named = json!({ "dependents": [{ "id": because, "name": "preset" }], "others": 0 });
        assert_eq!(refused.body["data"], named);
    }
    scene.ann.pushed(&top, json!({ "content": "c" })).await;
    assert_eq!(scene.arrived().await, json!({ "content": "c" }));
    for id in [&top, &middle, &scene.hook] {
        scene.ann.delete(&format!("/preset/{id}/")).await.data();
    }
}

async fn an_admin_can_force_a_deletion() {
    let scene = Scene::start().await;
    scene.ann.share("preset", &scene.hook).await;
    let [bob, admin] = [scene.world.user("bob").await, scene.world.admin().await];
    let own = bob.preset(&scene.hook, json!({})).await;
    let path = format!("/preset/{}/", scene.hook);
    assert_eq!(admin.delete(&path).await.refusal(), (409, "pusher_in_use"));
    assert_eq!(admin.delete(&format!("{path}?force=false")).await.refusal(), (409, "pusher_in_use"));
    let mine = bob.preset("webhook", json!({})).await;
    assert_eq!(bob.delete(&format!("/preset/{mine}/?force=true")).await.refusal(), (403, "forbidden"));
    admin.delete(&format!("{path}?force=true")).await.data();
    // What builds on it stays its owner's, and says what is wrong.
    assert_eq!(bob.get(&format!("/preset/{own}/")).await.data()["base_pusher"], scene.hook);
    assert_eq!(bob.push(&own, json!({})).await.refusal(), (422, "base_unknown"));
    assert_eq!(bob.push(&scene.hook, json!({})).await.refusal(), (404, "pusher_not_found"));
    scene.nothing_arrived().await;
    bob.patch(&format!("/preset/{own}/"), json!({ "name": "lost" })).await.data();
    bob.delete(&format!("/preset/{own}/")).await.data();
}

async fn what_lost_its_base_can_be_given_another() {
    let scene = Scene::start().await;
    scene.ann.share("preset", &scene.hook).await;
    let [bob, admin] = [scene.world.user("bob").await, scene.world.admin().await];
    let lost = [bob.preset(&scene.hook, json!({})).await, bob.preset(&scene.hook, json!({})).await];
    let member = |at: usize| json!({ "name": format!("m{at}"), "base_pusher": lost[at] });
    let group = bob.group(json!({ "pushers": [member(0), member(1)] })).await;
    admin.delete(&format!("/preset/{}/?force=true", scene.hook)).await.data();
    assert_eq!(bob.push(&group, json!({})).await.refusal(), (422, "base_unknown"));
    let sink = HttpSink::start().await;
    for id in &lost {
        // One after the other: meanwhile the Group still leads nowhere.
        let change = json!({ "base_pusher": "webhook", "params": webhook(&sink) });
        bob.patch(&format!("/preset/{id}/"), change).await.data();
    }
    bob.pushed(&group, json!({ "content": "c" })).await;
    for _ in 0..2 {
        assert_eq!(sink.next().await.json(), json!({ "content": "c" }));
    }
}

async fn a_deletion_revokes_what_waits_and_leaves_what_was_resolved() {
    let scene = Scene::start().await;
    scene.ann.share("preset", &scene.hook).await;
    let [bob, admin] = [scene.world.user("bob").await, scene.world.admin().await];
    let own = bob.preset(&scene.hook, json!({})).await;
    let direct = task_id(&bob.pushed(&scene.hook, json!({ "content": "direct", "delay": 60 })).await);
    let through = task_id(&bob.pushed(&own, json!({ "content": "through", "delay": 60 })).await);
    let gone = admin.delete(&format!("/preset/{}/?force=true", scene.hook)).await;
    assert_eq!(gone.data(), &json!({ "revoked_tasks": 1 }));
    scene.world.forward(60_000);
    assert_eq!(scene.sink.next().await.json(), json!({ "content": "through" }));
    scene.world.settle().await;
    assert_eq!(bob.task(&through).await["state"], "succeeded");
    assert_eq!(scene.ann.task(&direct).await["state"], "revoked");
    scene.sink.only_request();
}
