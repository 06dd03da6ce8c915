//! Presets, Groups and Services that cannot be: each is refused with its code, and nothing is made.

use std::sync::Arc;

use fanfare::app::{App, SystemClock};
use fanfare::config::Config;
use fanfare::domain::time::Clock;
use serde_json::{Value, json};

use crate::support::client::JSON;
use crate::support::scene::Scene;
use crate::support::world::both;

both!(
    a_preset_that_cannot_be,
    a_group_that_cannot_be,
    members_that_cannot_be_added,
    all_that_is_wrong_is_told_at_once,
    what_is_predefined_and_no_service_takes,
    a_time_that_has_passed_since_does_not_stand_in_the_way_of_other_changes,
    a_cycle_of_presets,
    a_chain_that_is_too_deep,
    what_belongs_to_others_does_not_exist,
    a_body_of_the_wrong_shape,
);

async fn a_preset_that_cannot_be() {
    let scene = Scene::start().await;
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("p{n}"), json!(n))).collect();
    for (change, status, code) in [
        (json!({ "name": "" }), 422, "field_invalid"),
        (json!({ "name": "  " }), 422, "field_invalid"),
        (json!({ "name": "n".repeat(101) }), 422, "field_invalid"),
        (json!({ "name": "a\0b" }), 422, "field_invalid"),
        (json!({ "base_pusher": "nothing" }), 422, "base_unknown"),
        (json!({ "base_pusher": "" }), 422, "field_invalid"),
        (json!({ "redefine_content": "" }), 422, "field_invalid"),
        (json!({ "redefine_content": "_token" }), 422, "field_invalid"),
        (json!({ "redefine_content": "delay" }), 422, "field_invalid"),
        (json!({ "params": { "a": "x\0y" } }), 422, "param_invalid"),
        (json!({ "params": { "_token": "t" } }), 422, "param_invalid"),
        (json!({ "params": { "": 1 } }), 422, "param_invalid"),
        (json!({ "params": many }), 422, "param_invalid"),
    ] {
        let mut preset = json!({ "name": "p", "base_pusher": "webhook" });
        preset.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let made = scene.ann.post("/preset/", preset).await;
        assert_eq!(made.refusal(), (status, code), "{change:.80}: {}", made.body);
        let changed = scene.ann.patch(&format!("/preset/{}/", scene.hook), change.clone()).await;
        assert_eq!(changed.refusal(), (status, code), "{change:.80}: {}", changed.body);
    }
    let presets = scene.ann.get("/preset/").await.into_data();
    assert_eq!(presets["items"].as_array().unwrap().len(), 1);
    scene.push(json!({ "still": "well" })).await;
    assert_eq!(scene.arrived().await, json!({ "still": "well" }));
}

fn member(name: &str, base: &str) -> Value {
    json!({ "name": name, "base_pusher": base })
}

async fn a_group_that_cannot_be() {
    let scene = Scene::start().await;
    let inner = scene.ann.group(json!({ "pushers": [member("m", "webhook")] })).await;
    let over_group = scene.ann.preset(&inner, json!({})).await;
    let lost = json!({ "name": "p", "base_pusher": inner, "redefine_content": "x.title" });
    assert_eq!(scene.ann.post("/preset/", lost).await.refusal(), (422, "field_invalid"));
    let m = || member("m", "webhook");
    let six: Vec<Value> = (0..6).map(|n| member(&format!("m{n}"), "webhook")).collect();
    let mapped = |map: Value| json!({ "pushers": [m()], "param_map": map });
    for (group, status, code) in [
        (json!({ "pushers": [] }), 422, "group_empty"),
        (json!({ "pushers": six }), 422, "group_full"),
        (json!({ "pushers": [m(), m()] }), 409, "member_name_taken"),
        (json!({ "pushers": [member("M", "webhook")] }), 422, "field_invalid"),
        (json!({ "pushers": [member("a.b", "webhook")] }), 422, "field_invalid"),
        (json!({ "pushers": [member("", "webhook")] }), 422, "field_invalid"),
        (json!({ "pushers": [member("m", "nothing")] }), 422, "base_unknown"),
        (json!({ "pushers": [member("m", &inner)] }), 422, "group_in_group"),
        (json!({ "pushers": [member("m", &over_group)] }), 422, "group_in_group"),
        (mapped(json!({ "a": ["x.title"] })), 422, "field_invalid"),
        (mapped(json!({ "a": ["title"] })), 422, "field_invalid"),
        (mapped(json!({ "a": [] })), 422, "field_invalid"),
        (mapped(json!({ "a": "m.title" })), 422, "field_invalid"),
        (mapped(json!({ "_token": ["m.title"] })), 422, "field_invalid"),
        (json!({ "pushers": [m()], "redefine_content": "x.title" }), 422, "field_invalid"),
        (json!({ "pushers": [m()], "strategy": "sometimes" }), 422, "param_invalid"),
        (
            json!({ "pushers": [{ "name": "m", "base_pusher": "webhook", "params": { "a": "\0" } }] }),
            422,
            "param_invalid",
        ),
    ] {
        let mut named = group.clone();
        named["name"] = json!("g");
        let made = scene.ann.post("/group/", named).await;
        assert_eq!(made.refusal(), (status, code), "{group:.120}: {}", made.body);
    }
    let groups = scene.ann.get("/group/").await.into_data();
    assert_eq!(groups["items"].as_array().unwrap().len(), 1);
}

async fn members_that_cannot_be_added() {
    let scene = Scene::start().await;
    let five: Vec<Value> = (0..5).map(|n| member(&format!("m{n}"), "webhook")).collect();
    let group = scene.ann.group(json!({ "pushers": five })).await;
    let path = format!("/group/{group}/pusher/");
    let sixth = scene.ann.post(&path, member("m5", "webhook")).await;
    assert_eq!(sixth.refusal(), (422, "group_full"));
    scene.ann.delete(&format!("{path}m4/")).await.data();
    let taken = scene.ann.post(&path, member("m0", "webhook")).await;
    assert_eq!(taken.refusal(), (409, "member_name_taken"));
    let inside = scene.ann.post(&path, member("m4", &group)).await;
    assert!(["group_in_group", "pusher_cycle"].contains(&inside.code()), "{}", inside.body);
    let unknown = scene.ann.delete(&format!("{path}m9/")).await;
    assert_eq!(unknown.refusal().0, 404);
    for name in ["m0", "m1", "m2"] {
        scene.ann.delete(&format!("{path}{name}/")).await.data();
    }
    let last = scene.ann.delete(&format!("{path}m3/")).await;
    assert_eq!(last.refusal(), (422, "group_empty"));
}

async fn all_that_is_wrong_is_told_at_once() {
    let scene = Scene::start().await;
    let hidden = scene.world.user("bob").await.preset("webhook", json!({})).await;
    let told = |faults: &[(&str, &str)]| {
        faults.iter().map(|(place, code)| ((*place).to_owned(), (*code).to_owned())).collect::<Vec<_>>()
    };
    let faults = async |path: &str, body: Value| told(&scene.ann.post(path, body).await.faults());
    let preset = json!({ "name": "", "base_pusher": "bark", "redefine_content": "at",
        "params": { "_token": "x", "delay": "soon", "priority": 9 } });
    let wrong = [("name", "empty"), ("redefine_content", "reserved"), ("_token", "param_invalid")];
    let values = [("delay", "param_invalid"), ("priority", "param_invalid")];
    assert_eq!(faults("/preset/", preset).await, told(&[&wrong[..], &values[..]].concat()));
    let preset = json!({ "name": "", "base_pusher": hidden });
    assert_eq!(faults("/preset/", preset).await, told(&[("name", "empty"), ("base_pusher", "unknown")]));

    let odd = json!({ "name": "c", "base_pusher": "webhook", "params": { "method": "zz" } });
    let group = json!({ "name": "g", "pushers": [member("a", "yy"), odd, member("b", "zz"), member("a", "webhook")] });
    let places =
        [("pushers.3.name", "duplicate"), ("pushers.0.base_pusher", "unknown"), ("pushers.2.base_pusher", "unknown")];
    assert_eq!(faults("/group/", group).await, told(&places), "where no base is there, values are not looked at");
    let many: Vec<Value> = (0..6).map(|_| member("a", "webhook")).collect();
    let found = faults("/group/", json!({ "name": "g", "pushers": many })).await;
    assert_eq!((found.len(), &*found[0].0, &*found[0].1), (6, "pushers", "too_many"));

    // One fault that has a code of its own goes by that, as often as it is there.
    let twice = json!({ "name": "g", "pushers": [member("a", "zz"), member("b", "zz")] });
    assert_eq!(scene.ann.post("/group/", twice).await.refusal(), (422, "base_unknown"));
    let group = scene.ann.group(json!({ "pushers": [member("a", "webhook")] })).await;
    let added = scene.ann.post(&format!("/group/{group}/pusher/"), member("A", "zz")).await;
    assert_eq!(added.faults(), [("name", "bad_name"), ("base_pusher", "unknown")]);
}

async fn what_is_predefined_and_no_service_takes() {
    let scene = Scene::start().await;
    let bark = scene.ann.preset("bark", json!({ "device_key": "k", "priority": "<_0>" })).await;
    for (params, faults) in [
        (json!({ "priority": 9, "title": "t" }), vec![("priority", "param_invalid")]),
        (json!({ "delay": "soon", "call": "maybe" }), vec![("delay", "param_invalid"), ("call", "param_invalid")]),
        (json!({ "at": "2001010000" }), vec![("at", "at_in_past")]),
    ] {
        let fields = json!({ "name": "p", "base_pusher": bark, "params": params });
        let made = scene.ann.post("/preset/", fields.clone()).await;
        assert_eq!((made.refusal().0, made.faults()), (422, faults.clone()), "{params}");
        let changed = scene.ann.patch(&format!("/preset/{bark}/"), json!({ "params": params })).await;
        assert_eq!((changed.refusal().0, changed.faults()), (422, faults.clone()), "{params}");
        let member = json!({ "name": "m", "base_pusher": bark, "params": params });
        let group = scene.ann.post("/group/", json!({ "name": "g", "pushers": [member] })).await;
        let of_member: Vec<String> = faults.iter().map(|(param, _)| format!("m.{param}")).collect();
        assert_eq!(group.faults().into_iter().map(|(param, _)| param).collect::<Vec<_>>(), of_member);
    }
    // What a call fills in is not judged, whatever else is missing.
    scene.ann.preset(&bark, json!({ "volume": "<_0>", "delay": "<_0>" })).await;
}

async fn a_time_that_has_passed_since_does_not_stand_in_the_way_of_other_changes() {
    let scene = Scene::start().await;
    let soon = scene.world.clock.now().plus_ms(3_600_000).rfc3339();
    let once = scene.ann.preset("bark", json!({ "device_key": "k", "at": soon })).await;
    scene.world.clock.advance(7_200_000);
    let path = format!("/preset/{once}/");
    assert_eq!(scene.ann.patch(&path, json!({ "name": "past" })).await.data()["name"], "past");
    let key = json!({ "params": { "device_key": "other", "at": soon } });
    assert_eq!(scene.ann.patch(&path, key).await.data()["params"]["at"], soon);
    let other = json!({ "params": { "device_key": "other", "at": "2601010000" } });
    assert_eq!(scene.ann.patch(&path, other).await.faults(), [("at", "at_in_past")]);
}

async fn a_cycle_of_presets() {
    let scene = Scene::start().await;
    let ann = &scene.ann;
    let low = ann.preset(&scene.hook, json!({})).await;
    let middle = ann.preset(&low, json!({})).await;
    let high = ann.preset(&middle, json!({})).await;
    for base in [&high, &middle, &low] {
        let changed = ann.patch(&format!("/preset/{low}/"), json!({ "base_pusher": base })).await;
        assert_eq!(changed.refusal(), (422, "pusher_cycle"), "{}", changed.body);
    }
    let group = ann.group(json!({ "pushers": [member("m", &high)] })).await;
    let changed = ann.patch(&format!("/preset/{low}/"), json!({ "base_pusher": group })).await;
    assert!(["pusher_cycle", "group_in_group"].contains(&changed.code()), "{}", changed.body);
    ann.pushed(&high, json!({ "still": "well" })).await;
    assert_eq!(scene.arrived().await, json!({ "still": "well" }));
}

async fn a_chain_that_is_too_deep() {
    let scene = Scene::start().await;
    let mut top = scene.hook.clone();
    // The Service and `hook` are two of eight.
    for _ in 0..6 {
        top = scene.ann.preset(&top, json!({})).await;
    }
    let ninth = scene.ann.post("/preset/", json!({ "name": "p", "base_pusher": top })).await;
    assert_eq!(ninth.refusal(), (422, "chain_too_deep"));
    let longer = scene.ann.preset("webhook", json!({})).await;
    let longer = scene.ann.preset(&longer, json!({})).await;
    let below = scene.ann.patch(&format!("/preset/{}/", scene.hook), json!({ "base_pusher": longer })).await;
    assert_eq!(below.refusal(), (422, "chain_too_deep"), "what builds on it would be");
    scene.ann.pushed(&top, json!({ "deep": 8 })).await;
    assert_eq!(scene.arrived().await, json!({ "deep": 8 }));
}

async fn what_belongs_to_others_does_not_exist() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let hook = format!("/preset/{}/", scene.hook);
    for answer in [
        bob.get(&hook).await,
        bob.patch(&hook, json!({ "name": "mine" })).await,
        bob.delete(&hook).await,
        bob.get(&format!("/pusher/{}/", scene.hook)).await,
        bob.post(&format!("/pusher/{}/preview/", scene.hook), json!({})).await,
    ] {
        assert_eq!(answer.refusal().0, 404, "{}", answer.body);
    }
    let built = bob.post("/preset/", json!({ "name": "p", "base_pusher": scene.hook })).await;
    assert_eq!(built.refusal(), (422, "base_unknown"));
    assert_eq!(scene.ann.get(&hook).await.data()["name"], "preset");
}

async fn a_body_of_the_wrong_shape() {
    let scene = Scene::start().await;
    for (body, status, code) in [
        ("", 422, "param_missing"),
        ("{", 400, "body_invalid"),
        ("[]", 422, "param_invalid"),
        ("{\"name\":\"\u{0}\"}", 400, "body_invalid"),
        ("{}", 422, "param_missing"),
        (r#"{"name":"p"}"#, 422, "param_missing"),
        (r#"{"name":{"p":1},"base_pusher":"webhook"}"#, 422, "param_invalid"),
        (r#"{"name":"p","base_pusher":["webhook"]}"#, 422, "param_invalid"),
        (r#"{"name":"p","base_pusher":"webhook","params":[1]}"#, 422, "param_invalid"),
        (r#"{"name":"p","base_pusher":"webhook","protected":"maybe"}"#, 422, "param_invalid"),
        (r#"{"name":"p","base_pusher":"webhook","parms":{}}"#, 422, "field_invalid"),
        (r#"{"name":"p","base_pusher":"webhook","id":"mine"}"#, 422, "field_invalid"),
    ] {
        let answer = scene.ann.send("POST", "/preset/", Some(JSON), body.as_bytes()).await;
        assert_eq!(answer.refusal(), (status, code), "{body}: {}", answer.body);
    }
    let answer = scene.ann.send("POST", "/preset/", Some("text/plain"), b"name").await;
    assert_eq!(answer.refusal(), (415, "media_type_unsupported"));
}

#[tokio::test]
async fn a_service_that_recurses_stops_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..config };
    let nested = format!("{}{}", "{{#if content}}".repeat(9), "{{/if}}".repeat(9));
    for (leaf, reason) in [
        ("{{> self}}", "partial"),
        ("{{#*inline \"self\"}}{{> self}}{{/inline}}{{> self}}", "decorator"),
        ("{{{content}}}", "{{{"),
        (&nested, "nest"),
        ("{{nothing}}", "nothing"),
    ] {
        let file = format!(
            "id = \"loop\"\nname = \"Loop\"\ntransport = \"http\"\ncategory = \"web\"\n\
             docs = \"https://example.com/\"\n[params]\ncontent = {{ type = \"text\" }}\n\
             [request]\nurl = \"https://example.com/\"\njson = '''{leaf}'''\n"
        );
        std::fs::write(services.join("loop.toml"), file).unwrap();
        let Err(error) = App::start(&config, Arc::new(SystemClock::default())).await else {
            panic!("started with {leaf}")
        };
        let told = format!("{error:#}");
        assert!(told.contains("loop.toml"), "{told}");
        assert!(told.contains(reason), "{leaf}: {told}");
    }
}
