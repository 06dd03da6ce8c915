//! Groups and their members: made, read, changed and deleted by their owner, and always dealing to Services.

use serde_json::{Value, json};

use crate::support::client::{Answer, Client, text};
use crate::support::scene::Scene;
use crate::support::world::{World, both};

both!(
    what_is_made_is_read_again,
    each_field_can_be_changed_by_itself,
    a_member_is_added_changed_and_removed,
    a_changed_member_is_pushed_to,
    five_members_are_enough_and_one_has_to_stay,
    a_member_that_is_not_there_is_told,
    member_names_are_unique_and_plain,
    missing_fields_are_all_told,
    wrong_types_are_told_by_field,
    a_group_can_be_made_with_a_form,
    what_is_wrong_with_one_member_is_told_as_its_request_calls_it,
    names_that_nobody_knows_are_refused,
    a_map_that_does_not_fit_says_why,
    redefine_content_can_be_dotted_if_the_member_is_there,
    parameters_of_members_are_told_with_the_member,
    another_accounts_group_does_not_exist,
    a_group_is_no_member_however_deep,
    a_members_base_cannot_become_a_group,
    the_group_counts_as_one_of_the_chain,
    deleting_a_group_revokes_what_waits,
    a_group_that_others_build_on_stays,
    a_change_that_would_break_what_is_built_on_it_is_refused,
    a_preset_is_no_group,
);

fn member(name: &str, base: &str) -> Value {
    json!({ "name": name, "base_pusher": base, "params": {} })
}

/// A server, Ann, and the path of her Group with the members `p1` and `p2`.
async fn pair() -> (World, Client, String) {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let id = ann.group(json!({ "pushers": [member("p1", "webhook"), member("p2", "ntfy")] })).await;
    (world, ann, format!("/group/{id}/"))
}

fn names(group: &Value) -> Vec<&str> {
    group["pushers"].as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap()).collect()
}

/// Makes a Group of these fields, and changes the one at `path` to them: both are refused alike.
async fn refused_alike(ann: &Client, path: &str, fields: &Value) -> Answer {
    let mut whole = json!({ "name": "g", "pushers": [member("p1", "webhook")] });
    whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let made = ann.post("/group/", whole).await;
    let changed = ann.patch(path, fields.clone()).await;
    assert_eq!(made.refusal(), changed.refusal(), "{fields} {} {}", made.body, changed.body);
    assert_eq!(made.body["data"], changed.body["data"], "{fields}");
    made
}

async fn what_is_made_is_read_again() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let made = ann
        .post(
            "/group/",
            json!({
                "name": "Alle", "strategy": "fallback", "redefine_content": "amount", "protected": true,
                "pushers": [
                    { "name": "p1", "base_pusher": "webhook", "params": { "title": "<_0> left" } },
                    { "name": "p2", "base_pusher": "ntfy" },
                ],
                "param_map": { "amount": ["p1._title", "p2.content"], "_b_1": ["p2.title"] },
            }),
        )
        .await
        .into_data();
    let (id, at) = (text(&made["id"]), text(&made["created_at"]));
    let expected = json!({
        "id": id, "kind": "group", "name": "Alle",
        "pushers": [
            { "name": "p1", "base_pusher": "webhook", "params": { "title": "<_0> left" } },
            { "name": "p2", "base_pusher": "ntfy", "params": {} },
        ],
        "param_map": { "amount": ["p1._title", "p2.content"], "_b_1": ["p2.title"] },
        "redefine_content": "amount", "strategy": "fallback", "protected": true, "shared": false,
        "created_at": at, "updated_at": at,
    });
    assert_eq!(made.to_string(), expected.to_string(), "also in this order");
    for path in [format!("/group/{id}/"), format!("/pusher/{id}/")] {
        assert_eq!(*ann.get(&path).await.data(), expected, "{path}");
    }
    for list in ["/group/", "/pusher/"] {
        assert_eq!(ann.get(list).await.data()["items"], json!([expected]), "{list}");
    }
    assert_eq!(ann.get("/preset/").await.data()["items"], json!([]));
}

async fn each_field_can_be_changed_by_itself() {
    let (world, ann, path) = pair().await;
    let mut known = ann.get(&path).await.into_data();
    for change in [
        json!({ "name": "another" }),
        json!({ "param_map": { "amount": ["p1.a", "p2.b"] } }),
        json!({ "redefine_content": "amount" }),
        json!({ "redefine_content": null }),
        json!({ "param_map": {} }),
        json!({ "strategy": "fallback" }),
        json!({ "strategy": "all", "protected": true }),
        json!({ "pushers": [member("only", "slack")] }),
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

async fn a_member_is_added_changed_and_removed() {
    let (_world, ann, path) = pair().await;
    let added = ann.post(&format!("{path}pusher/"), json!({ "name": "p0", "base_pusher": "slack" })).await.into_data();
    assert_eq!(names(&added), ["p1", "p2", "p0"], "at the end");
    let change = json!({ "name": "first", "base_pusher": "bark", "params": { "a": 1 } });
    let changed = ann.patch(&format!("{path}pusher/p1/"), change.clone()).await.into_data();
    assert_eq!(changed["pushers"][0], change);
    let changed = ann.patch(&format!("{path}pusher/first/"), json!({ "params": {} })).await.into_data();
    assert_eq!(changed["pushers"][0], member("first", "bark"), "what is not named stays");
    let removed = ann.delete(&format!("{path}pusher/p2/")).await.into_data();
    assert_eq!(names(&removed), ["first", "p0"]);
    assert_eq!(ann.get(&path).await.into_data(), removed);
}

async fn a_changed_member_is_pushed_to() {
    let scene = Scene::start().await;
    let group = scene.ann.group(json!({ "pushers": [Scene::member("p1", &scene.sink, json!({ "n": 1 }))] })).await;
    scene.ann.pushed(&group, json!({})).await;
    assert_eq!(scene.sink.next().await.json(), json!({ "n": 1 }));
    let params = Scene::member("p1", &scene.sink, json!({ "n": 2 }))["params"].take();
    scene.ann.patch(&format!("/group/{group}/pusher/p1/"), json!({ "params": params })).await.data();
    scene.ann.pushed(&group, json!({})).await;
    assert_eq!(scene.sink.next().await.json(), json!({ "n": 2 }));
}

async fn five_members_are_enough_and_one_has_to_stay() {
    let (_world, ann, path) = pair().await;
    for n in 3..=5 {
        ann.post(&format!("{path}pusher/"), member(&format!("p{n}"), "webhook")).await.data();
    }
    let sixth = ann.post(&format!("{path}pusher/"), member("p6", "webhook")).await;
    assert_eq!(sixth.refusal(), (422, "group_full"));
    let six: Vec<Value> = (0..6).map(|n| member(&format!("m{n}"), "webhook")).collect();
    assert_eq!(refused_alike(&ann, &path, &json!({ "pushers": six })).await.refusal(), (422, "group_full"));
    assert_eq!(refused_alike(&ann, &path, &json!({ "pushers": [] })).await.refusal(), (422, "group_empty"));
    for name in ["p5", "p1", "p3", "p2"] {
        ann.delete(&format!("{path}pusher/{name}/")).await.data();
    }
    assert_eq!(ann.delete(&format!("{path}pusher/p4/")).await.refusal(), (422, "group_empty"));
    assert_eq!(names(ann.get(&path).await.data()), ["p4"]);
}

async fn a_member_that_is_not_there_is_told() {
    let (_world, ann, path) = pair().await;
    for name in ["p3", "P1", "p1%20", "%70%32%00"] {
        let member = format!("{path}pusher/{name}/");
        assert_eq!(ann.delete(&member).await.refusal(), (404, "member_not_found"), "{name}");
        assert_eq!(ann.patch(&member, json!({})).await.refusal(), (404, "member_not_found"), "{name}");
    }
    assert_eq!(names(ann.get(&path).await.data()), ["p1", "p2"]);
}

async fn member_names_are_unique_and_plain() {
    let (_world, ann, path) = pair().await;
    let twice = ann.post(&format!("{path}pusher/"), member("p2", "webhook")).await;
    assert_eq!(twice.refusal(), (409, "member_name_taken"));
    let twice = ann.patch(&format!("{path}pusher/p1/"), json!({ "name": "p2" })).await;
    assert_eq!(twice.refusal(), (409, "member_name_taken"));
    let twice = json!({ "pushers": [member("a", "webhook"), member("a", "ntfy")] });
    assert_eq!(refused_alike(&ann, &path, &twice).await.refusal(), (409, "member_name_taken"));
    let long = "a".repeat(65);
    for bad in ["", "P1", "1p", "_p", "p.1", "p 1", "p-1", "é", "a\u{0}", &long] {
        let pushers = json!({ "pushers": [member(bad, "webhook")] });
        let answer = refused_alike(&ann, &path, &pushers).await;
        assert_eq!(
            (answer.refusal(), answer.faults()),
            ((422, "field_invalid"), vec![("pushers.0.name", "bad_name")]),
            "{bad}"
        );
        let answer = ann.patch(&format!("{path}pusher/p1/"), json!({ "name": bad })).await;
        assert_eq!(answer.refusal(), (422, "field_invalid"), "{bad}");
    }
    ann.patch(&format!("{path}pusher/p1/"), json!({ "name": "a".repeat(64) })).await.data();
}

async fn missing_fields_are_all_told() {
    let (_world, ann, path) = pair().await;
    for (target, body, missing) in [
        ("/group/", json!({}), vec!["name", "pushers"]),
        (
            "/group/",
            json!({ "name": "g", "pushers": [{}, { "name": "a" }] }),
            vec!["pushers.0.name", "pushers.0.base_pusher", "pushers.1.base_pusher"],
        ),
        (&*format!("{path}pusher/"), json!({ "params": {} }), vec!["name", "base_pusher"]),
    ] {
        let answer = ann.post(target, body.clone()).await;
        assert_eq!(answer.refusal(), (422, "param_missing"), "{body}");
        let expected: Vec<_> = missing.into_iter().map(|field| (field, "param_missing")).collect();
        assert_eq!(answer.faults(), expected, "{body}");
    }
}

async fn wrong_types_are_told_by_field() {
    let (_world, ann, path) = pair().await;
    for (fields, at) in [
        (json!({ "name": 7 }), "name"),
        (json!({ "pushers": {} }), "pushers"),
        (json!({ "pushers": "webhook" }), "pushers"),
        (json!({ "pushers": ["webhook"] }), "pushers.0"),
        (json!({ "pushers": [{ "name": 1, "base_pusher": "webhook" }] }), "pushers.0.name"),
        (json!({ "pushers": [{ "name": "a", "base_pusher": "webhook", "params": [] }] }), "pushers.0.params"),
        (json!({ "param_map": [] }), "param_map"),
        (json!({ "strategy": "any" }), "strategy"),
        (json!({ "strategy": "Fallback" }), "strategy"),
        (json!({ "redefine_content": {} }), "redefine_content"),
        (json!({ "protected": "perhaps" }), "protected"),
    ] {
        let answer = refused_alike(&ann, &path, &fields).await;
        assert_eq!(answer.refusal(), (422, "param_invalid"), "{fields}");
        assert_eq!(answer.faults(), [(at, "param_invalid")], "{fields}");
    }
    let answer = ann.patch(&format!("{path}pusher/p1/"), json!({ "params": "x" })).await;
    assert_eq!(answer.faults(), [("params", "param_invalid")]);
}

async fn a_group_can_be_made_with_a_form() {
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    let (_world, ann, _) = pair().await;
    let [one, two] =
        [r#"{"name":"a","base_pusher":"webhook"}"#, r#"{"name":"b","base_pusher":"ntfy","params":{"topic":"x"}}"#];
    for pushers in [format!("pushers=[{one},{two}]"), format!("pushers={one}&pushers={two}")] {
        let form = format!("name=g&strategy=fallback&param_map={{\"c\":[\"a.content\"]}}&{pushers}");
        let answer = ann.send("POST", "/group/", FORM, form.as_bytes()).await;
        let group = answer.data();
        let names: Vec<&Value> = group["pushers"].as_array().unwrap().iter().map(|member| &member["name"]).collect();
        assert_eq!((json!(names), &group["strategy"]), (json!(["a", "b"]), &json!("fallback")), "{form}");
        assert_eq!(group["pushers"][1]["params"], json!({ "topic": "x" }));
    }
    let answer = ann.send("POST", "/group/", FORM, b"name=g&pushers=a,b").await;
    assert_eq!(answer.faults(), [("pushers.0", "param_invalid"), ("pushers.1", "param_invalid")]);
}

async fn what_is_wrong_with_one_member_is_told_as_its_request_calls_it() {
    let (_world, ann, path) = pair().await;
    let wrong = json!({ "name": "A b", "base_pusher": "webhook", "params": { "_token": "x" } });
    let answer = ann.post(&format!("{path}pusher/"), wrong.clone()).await;
    assert_eq!(answer.faults(), [("name", "bad_name"), ("_token", "param_invalid")]);
    let answer = ann.patch(&format!("{path}pusher/p2/"), wrong).await;
    assert_eq!(answer.faults(), [("name", "bad_name"), ("_token", "param_invalid")]);
}

async fn names_that_nobody_knows_are_refused() {
    let (_world, ann, path) = pair().await;
    for (fields, unknown) in [
        (json!({ "members": [] }), "members"),
        (json!({ "id": "x" }), "id"),
        (json!({ "pushers": [{ "name": "a", "base_pusher": "webhook", "parms": {} }] }), "pushers.0.parms"),
    ] {
        assert_eq!(refused_alike(&ann, &path, &fields).await.faults(), [(unknown, "unknown")], "{fields}");
    }
    let mut odd = member("p3", "webhook");
    odd["position"] = json!(0);
    assert_eq!(ann.post(&format!("{path}pusher/"), odd).await.faults(), [("position", "unknown")]);
    let odd = json!({ "redefine_content": "x" });
    assert_eq!(ann.patch(&format!("{path}pusher/p1/"), odd).await.faults(), [("redefine_content", "unknown")]);
}

async fn a_map_that_does_not_fit_says_why() {
    let (_world, ann, path) = pair().await;
    let fields = json!({ "pushers": [member("p1", "webhook"), member("p2", "ntfy")] });
    for (map, reason) in [
        (json!({ "a": "p1.x" }), "invalid"),
        (json!({ "a": [1] }), "invalid"),
        (json!({ "a": null }), "invalid"),
        (json!({ "a": [] }), "empty"),
        (json!({ "a": ["x"] }), "not_dotted"),
        (json!({ "a": ["p1.x", "p3.x"] }), "unknown_member"),
        (json!({ "a": ["p1."] }), "bad_name"),
        (json!({ "a": ["p1._token"] }), "reserved"),
        (json!({ "p1.a": ["p2.a"] }), "dotted"),
        (json!({ "_token": ["p2.a"] }), "reserved"),
        (json!({ "": ["p2.a"] }), "bad_name"),
        (json!({ "_a": ["p1.a"], "_a_0": ["p2.a"] }), "duplicate"),
    ] {
        let mut fields = fields.clone();
        fields["param_map"] = map.clone();
        let answer = refused_alike(&ann, &path, &fields).await;
        let at = format!("param_map.{}", map.as_object().unwrap().keys().next_back().unwrap());
        assert_eq!((answer.refusal(), answer.faults()), ((422, "field_invalid"), vec![(&*at, reason)]), "{map}");
    }
    ann.patch(&path, json!({ "param_map": { "a": ["p2.x"] } })).await.data();
    let orphaned = ann.delete(&format!("{path}pusher/p2/")).await;
    assert_eq!(orphaned.faults(), [("param_map.a", "unknown_member")], "a member that is mapped to stays");
    let orphaned = ann.patch(&format!("{path}pusher/p2/"), json!({ "name": "p3" })).await;
    assert_eq!(orphaned.faults(), [("param_map.a", "unknown_member")]);
}

async fn redefine_content_can_be_dotted_if_the_member_is_there() {
    let (_world, ann, path) = pair().await;
    for good in ["p1.title", "p2._content_1", "title", "_title"] {
        ann.patch(&path, json!({ "redefine_content": good })).await.data();
    }
    for (bad, reason) in [("p3.title", "unknown_member"), ("p1.delay", "reserved"), ("", "empty")] {
        let answer = ann.patch(&path, json!({ "redefine_content": bad })).await;
        assert_eq!(answer.faults(), [("redefine_content", reason)], "{bad}");
    }
}

async fn parameters_of_members_are_told_with_the_member() {
    let (_world, ann, path) = pair().await;
    let mut faulty = json!({ "pushers": [member("p1", "webhook"), member("p2", "ntfy")] });
    faulty["pushers"][0]["params"] = json!({ "_token": "x", "fine": 1 });
    faulty["pushers"][1]["params"] = json!({ "content": "\u{0}" });
    let answer = refused_alike(&ann, &path, &faulty).await;
    assert_eq!(answer.refusal(), (422, "param_invalid"));
    assert_eq!(answer.faults(), [("p1._token", "param_invalid"), ("p2.content", "param_invalid")]);
}

async fn another_accounts_group_does_not_exist() {
    let (world, ann, path) = pair().await;
    let bob = world.user("bob").await;
    let id = path.split('/').nth(2).unwrap();
    for answer in [
        bob.get(&path).await,
        bob.get(&format!("/pusher/{id}/")).await,
        bob.patch(&path, json!({ "name": "mine" })).await,
        bob.delete(&path).await,
        bob.post(&format!("{path}pusher/"), member("p3", "webhook")).await,
        bob.patch(&format!("{path}pusher/p1/"), json!({})).await,
        bob.delete(&format!("{path}pusher/p1/")).await,
    ] {
        assert_eq!(answer.refusal(), (404, "pusher_not_found"));
    }
    let built = bob.post("/preset/", json!({ "name": "n", "base_pusher": id })).await;
    assert_eq!(built.refusal(), (422, "base_unknown"));
    let anns = ann.preset("webhook", json!({})).await;
    let bobs = bob.group(json!({ "pushers": [member("m", "webhook")] })).await;
    let lent = bob.post(&format!("/group/{bobs}/pusher/"), member("p3", &anns)).await;
    assert_eq!(lent.refusal(), (422, "base_unknown"));
    assert_eq!(bob.anonymous().get(&path).await.refusal(), (401, "token_missing"));
    assert_eq!(names(ann.get(&path).await.data()), ["p1", "p2"]);
}

async fn a_group_is_no_member_however_deep() {
    let (_world, ann, path) = pair().await;
    let group = path.split('/').nth(2).unwrap();
    let preset = ann.preset(group, json!({})).await;
    let above = ann.preset(&preset, json!({})).await;
    let other = ann.group(json!({ "pushers": [member("m", "webhook")] })).await;
    for base in [group, &preset, &above] {
        let made = ann.post("/group/", json!({ "name": "g", "pushers": [member("m", base)] })).await;
        assert_eq!(made.refusal(), (422, "group_in_group"), "{base}");
        let added = ann.post(&format!("/group/{other}/pusher/"), member("n", base)).await;
        assert_eq!(added.refusal(), (422, "group_in_group"), "{base}");
        let changed = ann.patch(&format!("/group/{other}/pusher/m/"), json!({ "base_pusher": base })).await;
        assert_eq!(changed.refusal(), (422, "group_in_group"), "{base}");
        // Into itself it is a circle just as well.
        let itself = ann.post(&format!("{path}pusher/"), member("n", base)).await;
        assert!(["group_in_group", "pusher_cycle"].contains(&itself.code()), "{}", itself.body);
    }
}

async fn a_members_base_cannot_become_a_group() {
    let (_world, ann, path) = pair().await;
    let low = ann.preset("webhook", json!({})).await;
    let high = ann.preset(&low, json!({})).await;
    ann.post(&format!("{path}pusher/"), member("p3", &high)).await.data();
    let other = ann.group(json!({ "pushers": [member("m", "webhook")] })).await;
    let via = ann.preset(&other, json!({})).await;
    for preset in [&low, &high] {
        for base in [&other, &via] {
            let answer = ann.patch(&format!("/preset/{preset}/"), json!({ "base_pusher": base })).await;
            assert_eq!(answer.refusal(), (422, "group_in_group"));
        }
    }
    ann.delete(&format!("{path}pusher/p3/")).await.data();
    ann.patch(&format!("/preset/{low}/"), json!({ "base_pusher": other })).await.data();
}

async fn the_group_counts_as_one_of_the_chain() {
    let (_world, ann, _) = pair().await;
    let mut base = "webhook".to_owned();
    for _ in 0..5 {
        base = ann.preset(&base, json!({})).await;
    }
    // A Preset, the Group, five Presets and the Service: eight.
    let group = ann.group(json!({ "pushers": [member("m", &base)] })).await;
    let top = ann.preset(&group, json!({})).await;
    let ninth = ann.post("/preset/", json!({ "name": "n", "base_pusher": top })).await;
    assert_eq!(ninth.refusal(), (422, "chain_too_deep"));
    let longer = ann.preset(&base, json!({})).await;
    let answer = ann.patch(&format!("/group/{group}/pusher/m/"), json!({ "base_pusher": longer })).await;
    assert_eq!(answer.refusal(), (422, "chain_too_deep"), "the Preset above would be too far up");
}

async fn deleting_a_group_revokes_what_waits() {
    let scene = Scene::start().await;
    let members = ["p1", "p2", "p3"].map(|name| Scene::member(name, &scene.sink, json!({})));
    let group = scene.ann.group(json!({ "pushers": members, "strategy": "fallback" })).await;
    let pushed = scene.ann.pushed(&group, json!({ "delay": 60 })).await;
    let gone = scene.ann.delete(&format!("/group/{group}/")).await.into_data();
    assert_eq!(gone, json!({ "revoked_tasks": 3 }), "held ones, too");
    scene.world.forward(61_000);
    assert_eq!(scene.states(&pushed).await, ["revoked"; 3]);
    scene.nothing_arrived().await;
}

async fn a_group_that_others_build_on_stays() {
    let (_world, ann, path) = pair().await;
    let group = path.split('/').nth(2).unwrap();
    let preset = ann.preset(group, json!({})).await;
    let refused = ann.delete(&path).await;
    assert_eq!(refused.refusal(), (409, "pusher_in_use"));
    assert_eq!(refused.body["data"], json!({ "dependents": [{ "id": preset, "name": "preset" }], "others": 0 }));
    ann.delete(&format!("/preset/{preset}/")).await.data();
    ann.delete(&path).await.data();
    assert_eq!(ann.get(&path).await.refusal(), (404, "pusher_not_found"));
}

/// Or the next alert would be the first to tell.
async fn a_change_that_would_break_what_is_built_on_it_is_refused() {
    let (_world, ann, path) = pair().await;
    let group = path.split('/').nth(2).unwrap();
    ann.preset(group, json!({ "title": "<_0>" })).await;
    let between = ann.preset(group, json!({})).await;
    let built = ann.preset(&between, json!({ "p1.title": "t" })).await;
    let listed = json!({ "dependents": [{ "id": built, "name": "preset" }], "others": 0 });
    for refused in [
        ann.patch(&format!("{path}pusher/p1/"), json!({ "name": "first" })).await,
        ann.delete(&format!("{path}pusher/p1/")).await,
        ann.patch(&path, json!({ "pushers": [member("p2", "ntfy")] })).await,
    ] {
        assert_eq!(refused.refusal(), (409, "pusher_in_use"));
        assert_eq!(refused.body["data"], listed);
        let told = refused.body["message"].as_str().unwrap();
        assert!(
            told.ends_with("would no longer fit: p1.title: addresses a member that the group does not have"),
            "{told}"
        );
    }
    ann.patch(&path, json!({ "name": "other", "pushers": [member("p3", "bark"), member("p1", "webhook")] }))
        .await
        .data();
    ann.patch(&format!("/preset/{built}/"), json!({ "params": {} })).await.data();
    ann.patch(&format!("{path}pusher/p1/"), json!({ "name": "first" })).await.data();
}

async fn a_preset_is_no_group() {
    let (_world, ann, _) = pair().await;
    let path = format!("/group/{}/", ann.preset("webhook", json!({})).await);
    for answer in [
        ann.get(&path).await,
        ann.patch(&path, json!({ "name": "x" })).await,
        ann.delete(&path).await,
        ann.post(&format!("{path}pusher/"), member("p1", "webhook")).await,
        ann.delete(&format!("{path}pusher/p1/")).await,
    ] {
        assert_eq!(answer.refusal(), (404, "group_not_found"));
    }
}
