//! Presets: made, read, changed and deleted by their owner alone, and never left without a way to a Service.

use fanfare::domain::id::PusherId;
use fanfare::domain::pusher::Preset;
use fanfare::store::StoredPusher;
use serde_json::{Value, json};

use crate::support::client::{FORM, text};
use crate::support::scene::Scene;
use crate::support::world::{World, both};

both!(
    what_is_made_is_read_again,
    a_form_makes_one_as_well,
    each_field_can_be_changed_by_itself,
    null_takes_redefine_content_away,
    a_change_shows_at_the_next_push,
    what_is_deleted_is_gone,
    deleting_revokes_what_waits_and_says_how_many,
    missing_fields_are_all_told,
    wrong_types_are_told_by_field,
    names_that_nobody_knows_are_refused,
    names_and_parameters_that_will_not_do,
    another_accounts_preset_does_not_exist,
    an_admin_reads_and_deletes_but_neither_changes_nor_builds,
    a_base_that_is_not_there_is_told,
    what_others_build_on_cannot_be_deleted,
    a_base_keeps_taking_what_is_predefined_on_it,
    nobody_fills_the_disk_with_presets,
    a_circle_is_refused,
    eight_in_a_chain_are_enough,
    a_chain_cannot_grow_too_long_from_below,
    a_group_is_no_preset,
);

async fn what_is_made_is_read_again() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let params = json!({ "endpoint": "http://127.0.0.1:9", "title": "<_0> 磁盘", "list": [1, { "a": null }] });
    let made = ann
        .post(
            "/preset/",
            json!({ "name": "Disk 💥", "base_pusher": "webhook", "params": params,
            "redefine_content": "_title", "protected": true }),
        )
        .await
        .into_data();
    let (id, at) = (text(&made["id"]), text(&made["created_at"]));
    assert!(id.len() == 26 && id.starts_with(|first: char| first.is_ascii_digit()), "{id}");
    let expected = json!({
        "id": id, "kind": "preset", "name": "Disk 💥", "base_pusher": "webhook", "params": params,
        "redefine_content": "_title", "protected": true, "shared": false, "created_at": at, "updated_at": at,
    });
    assert_eq!(made.to_string(), expected.to_string(), "also in this order");
    for path in [format!("/preset/{id}/"), format!("/pusher/{id}/"), format!("/preset/{id}")] {
        assert_eq!(*ann.get(&path).await.data(), expected, "{path}");
    }
    assert_eq!(ann.get("/preset/").await.data()["items"], json!([expected]));
    assert_eq!(ann.get("/pusher/").await.data()["items"], json!([expected]));
    assert_eq!(ann.get("/group/").await.data()["items"], json!([]));
}

async fn a_form_makes_one_as_well() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let form = b"name=by+form&base_pusher=webhook&protected=on&params=%7B%22a%22%3A1%7D";
    let made = ann.send("POST", "/preset/", Some(FORM), form).await.into_data();
    assert_eq!((&made["name"], &made["protected"]), (&json!("by form"), &json!(true)));
    assert_eq!((&made["params"], &made["redefine_content"]), (&json!({ "a": 1 }), &Value::Null));
}

async fn each_field_can_be_changed_by_itself() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let base = ann.preset("webhook", json!({})).await;
    let id = ann.preset("webhook", json!({ "a": 1, "b": 2 })).await;
    let path = format!("/preset/{id}/");
    let mut known = ann.get(&path).await.into_data();
    for change in [
        json!({ "name": "another" }),
        json!({ "base_pusher": base }),
        json!({ "base_pusher": "ntfy" }),
        json!({ "params": { "c": 3 } }),
        json!({ "params": {} }),
        json!({ "redefine_content": "title" }),
        json!({ "protected": true }),
        json!({ "protected": false, "name": "both" }),
        json!({}),
    ] {
        world.clock.advance(1000);
        let changed = ann.patch(&path, change.clone()).await.into_data();
        for (field, value) in change.as_object().unwrap() {
            known[field] = value.clone();
        }
        assert!(text(&changed["updated_at"]) > text(&known["updated_at"]), "{change}");
        known["updated_at"] = changed["updated_at"].clone();
        assert_eq!(changed, known, "{change}");
        assert_eq!(ann.get(&path).await.into_data(), known, "{change}");
    }
}

async fn null_takes_redefine_content_away() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let id = ann.preset_with("webhook", json!({}), json!({ "redefine_content": "title" })).await;
    let path = format!("/preset/{id}/");
    let kept = ann.patch(&path, json!({ "name": "n" })).await.into_data();
    assert_eq!(kept["redefine_content"], "title");
    let gone = ann.patch(&path, json!({ "redefine_content": null })).await.into_data();
    assert_eq!(gone["redefine_content"], Value::Null);
    // For the other fields null says nothing.
    let same = ann.patch(&path, json!({ "name": null, "params": null, "protected": null })).await.into_data();
    assert_eq!((&same["name"], &same["protected"]), (&json!("n"), &json!(false)));
}

async fn a_change_shows_at_the_next_push() {
    let scene = Scene::start().await;
    let near = scene.ann.preset(&scene.hook, json!({ "near": 1 })).await;
    scene.ann.pushed(&near, json!({})).await;
    assert_eq!(scene.sink.next().await.json(), json!({ "near": 1 }));
    let mut params = scene.ann.get(&format!("/preset/{}/", scene.hook)).await.into_data()["params"].take();
    params["far"] = json!(2);
    scene.ann.patch(&format!("/preset/{}/", scene.hook), json!({ "params": params })).await.data();
    scene.ann.pushed(&near, json!({})).await;
    assert_eq!(scene.sink.next().await.json(), json!({ "near": 1, "far": 2 }));
}

async fn what_is_deleted_is_gone() {
    let scene = Scene::start().await;
    let path = format!("/preset/{}/", scene.hook);
    assert_eq!(*scene.ann.delete(&path).await.data(), json!({ "revoked_tasks": 0 }));
    for answer in [
        scene.ann.get(&path).await,
        scene.ann.delete(&path).await,
        scene.ann.patch(&path, json!({ "name": "x" })).await,
        scene.ann.push(&scene.hook, json!({})).await,
    ] {
        assert_eq!(answer.refusal(), (404, "pusher_not_found"));
    }
    assert_eq!(scene.ann.get("/preset/").await.data()["items"], json!([]));
}

async fn deleting_revokes_what_waits_and_says_how_many() {
    let scene = Scene::start().await;
    let other = scene.ann.preset("webhook", json!({ "endpoint": scene.sink.url() })).await;
    scene.push(json!({})).await;
    scene.sink.expect(1).await;
    scene.world.settle().await;
    for _ in 0..3 {
        scene.push(json!({ "delay": 60 })).await;
    }
    let kept = scene.ann.pushed(&other, json!({ "delay": 60 })).await;
    let gone = scene.ann.delete(&format!("/preset/{}/", scene.hook)).await.into_data();
    assert_eq!(gone, json!({ "revoked_tasks": 3 }));
    scene.world.forward(61_000);
    scene.sink.expect(2).await;
    assert_eq!(scene.state(&text(&kept["task_id"])).await, "succeeded");
    assert_eq!(scene.sink.requests().len(), 2);
}

async fn missing_fields_are_all_told() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    for (body, missing) in [
        (json!({}), vec!["name", "base_pusher"]),
        (json!({ "name": "n" }), vec!["base_pusher"]),
        (json!({ "base_pusher": "webhook", "name": null }), vec!["name"]),
    ] {
        let answer = ann.post("/preset/", body.clone()).await;
        assert_eq!(answer.refusal(), (422, "param_missing"), "{body}");
        let expected: Vec<_> = missing.into_iter().map(|field| (field, "param_missing")).collect();
        assert_eq!(answer.faults(), expected, "{body}");
    }
    assert_eq!(ann.get("/preset/").await.data()["items"], json!([]));
}

async fn wrong_types_are_told_by_field() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let id = ann.preset("webhook", json!({})).await;
    let fits = json!({ "name": "n", "base_pusher": "webhook" });
    for (field, value) in [
        ("name", json!(["n"])),
        ("name", json!({})),
        ("base_pusher", json!(["webhook"])),
        ("base_pusher", json!(true)),
        ("params", json!([])),
        ("params", json!("a=1")),
        ("params", json!(1)),
        ("redefine_content", json!(["title"])),
        ("protected", json!("maybe")),
        ("protected", json!(1)),
    ] {
        let mut body = fits.clone();
        body[field] = value.clone();
        for answer in
            [ann.post("/preset/", body).await, ann.patch(&format!("/preset/{id}/"), json!({ field: value })).await]
        {
            assert_eq!(answer.refusal(), (422, "param_invalid"), "{field} {value} {}", answer.body);
            assert_eq!(answer.faults(), [(field, "param_invalid")], "{field} {value}");
        }
    }
    let both = ann.post("/preset/", json!({ "name": [], "protected": "x", "base_pusher": "webhook" })).await;
    assert_eq!(both.faults(), [("name", "param_invalid"), ("protected", "param_invalid")]);
}

async fn names_that_nobody_knows_are_refused() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let id = ann.preset("webhook", json!({})).await;
    for unknown in ["id", "shared", "kind", "created_at", "nmae", "redefineContent"] {
        let body = json!({ "name": "n", "base_pusher": "webhook", unknown: "x" });
        for answer in
            [ann.post("/preset/", body).await, ann.patch(&format!("/preset/{id}/"), json!({ unknown: "x" })).await]
        {
            assert_eq!(answer.status, 422, "{unknown}");
            assert_eq!(answer.faults()[0].0, unknown);
        }
    }
}

async fn names_and_parameters_that_will_not_do() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let id = ann.preset("webhook", json!({})).await;
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("p{n}"), json!(n))).collect();
    for (change, code, faults) in [
        (json!({ "name": "" }), "field_invalid", vec![("name", "empty")]),
        (json!({ "name": " \t" }), "field_invalid", vec![("name", "empty")]),
        (json!({ "name": "é".repeat(101) }), "field_invalid", vec![("name", "too_long")]),
        (json!({ "name": "a\u{0}b" }), "field_invalid", vec![("name", "invalid")]),
        (json!({ "redefine_content": "" }), "field_invalid", vec![("redefine_content", "empty")]),
        (json!({ "redefine_content": "delay" }), "field_invalid", vec![("redefine_content", "reserved")]),
        (json!({ "redefine_content": "_token" }), "field_invalid", vec![("redefine_content", "reserved")]),
        (
            json!({ "params": { "_token": "x", "a\n": 1, "ok": 1 } }),
            "param_invalid",
            vec![("_token", "param_invalid"), ("a\n", "param_invalid")],
        ),
        (
            json!({ "params": { "a": "x\u{0}y", "b": { "deep": ["\u{0}"] } } }),
            "param_invalid",
            vec![("a", "param_invalid"), ("b", "param_invalid")],
        ),
        (json!({ "params": many }), "param_invalid", vec![("params", "param_invalid")]),
    ] {
        let mut body = json!({ "name": "n", "base_pusher": "webhook" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        for answer in [ann.post("/preset/", body).await, ann.patch(&format!("/preset/{id}/"), change.clone()).await] {
            assert_eq!(answer.refusal(), (422, code), "{change} {}", answer.body);
            assert_eq!(answer.faults(), faults, "{change}");
        }
    }
    ann.preset_with("webhook", json!({}), json!({ "name": "é".repeat(100) })).await;
}

async fn another_accounts_preset_does_not_exist() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let path = format!("/preset/{}/", scene.hook);
    for answer in [
        bob.get(&path).await,
        bob.get(&format!("/pusher/{}/", scene.hook)).await,
        bob.patch(&path, json!({ "name": "mine now" })).await,
        bob.delete(&path).await,
        bob.get("/preset/0000000000000000000000000a/").await,
    ] {
        assert_eq!(answer.refusal(), (404, "pusher_not_found"));
    }
    let unknown = bob.post("/preset/", json!({ "name": "n", "base_pusher": "0000000000000000000000000a" })).await;
    let foreign = bob.post("/preset/", json!({ "name": "n", "base_pusher": scene.hook })).await;
    assert_eq!(foreign.refusal(), (422, "base_unknown"));
    assert_eq!(foreign.refusal(), unknown.refusal(), "not even that it exists is told");
    let own = bob.preset("webhook", json!({})).await;
    let moved = bob.patch(&format!("/preset/{own}/"), json!({ "base_pusher": scene.hook })).await;
    assert_eq!(moved.refusal(), (422, "base_unknown"));
    assert_eq!(bob.get("/preset/").await.items().len(), 1);
    for answer in [bob.anonymous().get(&path).await, bob.anonymous().delete(&path).await] {
        assert_eq!(answer.refusal(), (401, "token_missing"));
    }
    scene.ann.get(&path).await.data();
}

async fn an_admin_reads_and_deletes_but_neither_changes_nor_builds() {
    let scene = Scene::start().await;
    let admin = scene.world.admin().await;
    let path = format!("/preset/{}/", scene.hook);
    assert_eq!(admin.get(&path).await.data()["id"], scene.hook);
    assert_eq!(admin.patch(&path, json!({ "name": "x" })).await.refusal(), (403, "forbidden"));
    let built = admin.post("/preset/", json!({ "name": "n", "base_pusher": scene.hook })).await;
    assert_eq!(built.refusal(), (422, "base_unknown"));
    admin.delete(&path).await.data();
    assert_eq!(scene.ann.get(&path).await.refusal(), (404, "pusher_not_found"));
}

async fn a_base_that_is_not_there_is_told() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let id = ann.preset("webhook", json!({})).await;
    for base in ["nowhere", "Webhook", "webhook/", "0000000000000000000000000a", "磁盘", "../x"] {
        let made = ann.post("/preset/", json!({ "name": "n", "base_pusher": base })).await;
        assert_eq!(made.refusal(), (422, "base_unknown"), "{base}");
        let moved = ann.patch(&format!("/preset/{id}/"), json!({ "base_pusher": base })).await;
        assert_eq!(moved.refusal(), (422, "base_unknown"), "{base}");
    }
}

async fn what_others_build_on_cannot_be_deleted() {
    let scene = Scene::start().await;
    let above = scene.ann.preset(&scene.hook, json!({})).await;
    let member = json!({ "name": "m", "base_pusher": scene.hook });
    let group = scene.ann.group(json!({ "pushers": [member] })).await;
    let path = format!("/preset/{}/", scene.hook);
    let refused = scene.ann.delete(&path).await;
    assert_eq!(refused.refusal(), (409, "pusher_in_use"));
    let mut dependents = [(above.clone(), "preset"), (group.clone(), "group")];
    dependents.sort_unstable();
    let dependents = dependents.map(|(id, name)| json!({ "id": id, "name": name }));
    assert_eq!(refused.body["data"], json!({ "dependents": dependents, "others": 0 }));
    scene.ann.delete(&format!("/preset/{above}/")).await.data();
    assert_eq!(
        scene.ann.delete(&path).await.body["data"],
        json!({ "dependents": [{ "id": group, "name": "group" }], "others": 0 })
    );
    scene.ann.delete(&format!("/group/{group}/")).await.data();
    scene.ann.delete(&path).await.data();
}

async fn a_base_keeps_taking_what_is_predefined_on_it() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let base = ann.preset("webhook", json!({})).await;
    let built = ann.preset(&base, json!({ "priority": "loud", "colour": "red" })).await;
    let path = format!("/preset/{base}/");
    let refused = ann.patch(&path, json!({ "base_pusher": "ntfy", "params": {} })).await;
    assert_eq!(refused.refusal(), (409, "pusher_in_use"));
    assert_eq!(refused.body["data"]["dependents"], json!([{ "id": built, "name": "preset" }]));
    let told = refused.body["message"].as_str().unwrap();
    assert!(told.ends_with("would no longer fit: priority: must be a whole number"), "{told}");
    ann.patch(&format!("/preset/{built}/"), json!({ "params": { "priority": 5 } })).await.data();
    ann.patch(&path, json!({ "base_pusher": "ntfy", "params": {} })).await.data();
}

async fn nobody_fills_the_disk_with_presets() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let one = ann.preset("webhook", json!({})).await;
    let store = &world.engine().store;
    let mut tx = store.edit().await.unwrap();
    let Some(StoredPusher::Preset(first)) = tx.pusher(store.sealer(), &PusherId::new(one.clone())).await.unwrap()
    else {
        panic!("the one just made")
    };
    for number in 1..1000 {
        let another = Preset { id: PusherId::new(format!("p{number}")), ..first.clone() };
        tx.insert_pusher(store.sealer(), &StoredPusher::Preset(another)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let more = json!({ "name": "more", "base_pusher": "webhook" });
    assert_eq!(ann.post("/preset/", more.clone()).await.refusal(), (409, "too_many_pushers"));
    let group = json!({ "name": "more", "pushers": [{ "name": "a", "base_pusher": "webhook" }] });
    assert_eq!(ann.post("/group/", group).await.refusal(), (409, "too_many_pushers"));
    world.user("bob").await.post("/preset/", more.clone()).await.data();
    ann.delete(&format!("/preset/{one}/")).await.data();
    ann.post("/preset/", more).await.data();
}

async fn a_circle_is_refused() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let first = ann.preset("webhook", json!({})).await;
    let second = ann.preset(&first, json!({})).await;
    let third = ann.preset(&second, json!({})).await;
    for base in [&first, &second, &third] {
        let answer = ann.patch(&format!("/preset/{first}/"), json!({ "base_pusher": base })).await;
        assert_eq!(answer.refusal(), (422, "pusher_cycle"), "{base}");
    }
    let group = ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": third }] })).await;
    let answer = ann.patch(&format!("/preset/{first}/"), json!({ "base_pusher": group })).await;
    assert!(["pusher_cycle", "group_in_group"].contains(&answer.code()), "{}", answer.body);
    assert_eq!(ann.get(&format!("/preset/{first}/")).await.data()["base_pusher"], "webhook");
}

async fn eight_in_a_chain_are_enough() {
    let scene = Scene::start().await;
    let mut top = scene.hook.clone();
    // With the Service and `hook` the last of these is the eighth.
    for _ in 0..6 {
        top = scene.ann.preset(&top, json!({})).await;
    }
    scene.ann.pushed(&top, json!({ "content": "deep" })).await;
    assert_eq!(scene.arrived().await, json!({ "content": "deep" }));
    let ninth = scene.ann.post("/preset/", json!({ "name": "n", "base_pusher": top })).await;
    assert_eq!(ninth.refusal(), (422, "chain_too_deep"));
}

async fn a_chain_cannot_grow_too_long_from_below() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let bottom = ann.preset("webhook", json!({})).await;
    let mut top = bottom.clone();
    for _ in 0..6 {
        top = ann.preset(&top, json!({})).await;
    }
    let longer = ann.preset("webhook", json!({})).await;
    let answer = ann.patch(&format!("/preset/{bottom}/"), json!({ "base_pusher": longer })).await;
    assert_eq!(answer.refusal(), (422, "chain_too_deep"));
    ann.delete(&format!("/preset/{top}/")).await.data();
    ann.patch(&format!("/preset/{bottom}/"), json!({ "base_pusher": longer })).await.data();
}

async fn a_group_is_no_preset() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let group = ann.group(json!({ "pushers": [{ "name": "m", "base_pusher": "webhook" }] })).await;
    let path = format!("/preset/{group}/");
    for answer in [ann.get(&path).await, ann.patch(&path, json!({ "name": "x" })).await, ann.delete(&path).await] {
        assert_eq!(answer.refusal(), (404, "preset_not_found"));
    }
    ann.get(&format!("/group/{group}/")).await.data();
}
