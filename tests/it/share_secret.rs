//! The secrets of a shared Pusher: used by everybody, read by its owner alone, and sent nowhere but where it sends them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::client::{Answer, Client, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::scene::Scene;
use crate::support::world::{World, both, task_id, webhook, with};

both!(
    nobody_but_the_owner_reads_a_shared_preset_s_secret,
    nobody_but_the_owner_reads_a_shared_group_s_secret,
    a_token_that_only_reads_sees_masks,
    what_is_built_on_a_secret_does_not_show_it,
    a_channel_that_repeats_the_secret_tells_nobody,
    a_channel_that_repeats_another_member_s_secret_tells_nobody,
    a_password_in_an_address_is_shown_to_its_owner_alone,
    a_secret_is_sent_nowhere_else,
    who_has_no_more_than_an_id_cannot_have_the_secret_sent_to_himself,
    a_secret_in_a_group_is_sent_nowhere_else,
    a_secret_that_fills_a_placeholder_is_sent_nowhere_else,
    a_secret_of_one_member_is_sent_nowhere_else_by_another,
    a_password_is_not_sent_in_clear_for_a_stranger,
    an_owner_sends_their_own_secret_wherever_they_like,
    a_private_preset_shows_an_admin_masks,
);

/// Found in no answer to anybody but its owner.
const SECRET: &str = "Pl4nted-secret-0f-ann";

fn shows(answer: &Answer) -> bool {
    answer.body.to_string().contains(SECRET) || answer.body.to_string().contains("nted-secret")
}

/// Ann's shared Preset, which sends a secret header to the sink.
async fn lent(scene: &Scene) -> String {
    let params = with(webhook(&scene.sink), json!({ "headers": { "x-key": SECRET }, "_content": "filled" }));
    let id = scene.ann.preset("webhook", params).await;
    scene.ann.share("preset", &id).await;
    id
}

async fn strangers(world: &World) -> [Client; 3] {
    [world.anonymous(), world.user("bob").await, world.admin().await]
}

async fn nobody_but_the_owner_reads_a_shared_preset_s_secret() {
    let scene = Scene::start().await;
    let id = lent(&scene).await;
    let masked = json!({ "x-key": "Pl4****ann" });
    for client in strangers(&scene.world).await {
        for path in [format!("/preset/{id}/"), format!("/pusher/{id}/"), "/preset/shared/".to_owned()] {
            let answer = client.get(&path).await;
            let seen = answer.data().pointer("/items/0").unwrap_or(answer.data());
            assert_eq!((&seen["id"], &seen["params"]["headers"]), (&json!(id), &masked), "{path}");
            assert_eq!(seen["params"]["_content"], "filled");
            assert!(!shows(&answer));
        }
    }
    for path in
        [format!("/preset/{id}/"), format!("/pusher/{id}/"), "/preset/".to_owned(), "/preset/shared/".to_owned()]
    {
        assert!(shows(&scene.ann.get(&path).await), "{path}");
    }
}

async fn nobody_but_the_owner_reads_a_shared_group_s_secret() {
    let scene = Scene::start().await;
    let params = with(webhook(&scene.sink), json!({ "headers": { "x-key": SECRET }, "secret": SECRET }));
    let pushers = json!([{ "name": "m", "base_pusher": "webhook", "params": params }]);
    let group = scene.ann.group(json!({ "pushers": pushers, "param_map": { "key": ["m.secret"] } })).await;
    scene.ann.share("group", &group).await;
    let above = scene.ann.preset(&group, json!({ "m.secret": SECRET, "key": SECRET, "_secret": SECRET })).await;
    scene.ann.share("preset", &above).await;
    for client in strangers(&scene.world).await {
        for path in [
            format!("/group/{group}/"),
            "/group/shared/".to_owned(),
            format!("/preset/{above}/"),
            format!("/pusher/{above}/"),
        ] {
            let answer = client.get(&path).await;
            assert!(answer.data().to_string().contains("Pl4****ann") && !shows(&answer), "{}", answer.body);
        }
    }
    assert!(shows(&scene.ann.get(&format!("/group/{group}/")).await));
}

async fn a_token_that_only_reads_sees_masks() {
    let scene = Scene::start().await;
    let id = scene.ann.preset("webhook", json!({ "secret": SECRET })).await;
    let (reads, all) = (scene.ann.with_scopes(&["read"]).await, scene.ann.with_scopes(&["read", "manage"]).await);
    for path in [format!("/preset/{id}/"), format!("/pusher/{id}/"), "/preset/".to_owned(), "/pusher/".to_owned()] {
        let answer = reads.get(&path).await;
        assert!(answer.data().to_string().contains("Pl4****ann") && !shows(&answer), "{path}");
        assert!(shows(&all.get(&path).await), "{path}");
    }
}

async fn what_is_built_on_a_secret_does_not_show_it() {
    let scene = Scene::start().await;
    let id = lent(&scene).await;
    let bob = scene.world.user("bob").await;
    let own = bob.preset(&id, json!({ "title": "t" })).await;
    let member = json!({ "name": "m", "base_pusher": own, "params": {} });
    let group = bob.group(json!({ "pushers": [member] })).await;
    for pusher in [&id, &own, &group] {
        let preview = bob.post(&format!("/pusher/{pusher}/preview/"), json!({ "content": "c" })).await;
        assert!(preview.data().to_string().contains("Pl4****ann") && !shows(&preview), "{}", preview.body);
        let broken = bob.post(&format!("/pusher/{pusher}/preview/"), json!({ "method": "x", "delay": "y" })).await;
        assert!(broken.status == 422 && !shows(&broken), "{}", broken.body);
        let pushed = bob.push(pusher, json!({ "content": "c" })).await;
        assert!(pushed.status == 200 && !shows(&pushed));
        assert_eq!(scene.sink.next().await.header("x-key"), Some(SECRET), "it is used");
    }
    scene.world.settle().await;
    for path in [format!("/preset/{own}/"), format!("/group/{group}/"), "/task/".to_owned(), "/pusher/".to_owned()] {
        let answer = bob.get(&path).await;
        assert!(answer.status == 200 && !shows(&answer), "{path}");
    }
}

async fn a_channel_that_repeats_the_secret_tells_nobody() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[])).await;
    let id = lent(&scene).await;
    let bob = scene.world.user("bob").await;
    let own = bob.preset(&id, json!({})).await;
    let echo = json!({ "error": format!("bad key {SECRET}") }).to_string();
    for status in [200, 400] {
        scene.sink.script(vec![Play::json(status, &echo)]);
        let task = task_id(&bob.pushed(&own, json!({ "content": "c" })).await);
        scene.world.settle().await;
        for client in [&bob, &scene.world.admin().await] {
            let answer = client.get(&format!("/task/{task}/")).await;
            assert!(answer.data()["attempt_log"].to_string().contains("Pl4****ann"), "{}", answer.body);
            assert!(!shows(&answer));
        }
    }
}

async fn a_channel_that_repeats_another_member_s_secret_tells_nobody() {
    let scene = Scene::of(World::builder().retry_waits_ms(&[])).await;
    let bob = scene.world.user("bob").await;
    let other = HttpSink::start().await;
    let members = json!([
        { "name": "n", "base_pusher": "ntfy", "params": { "topic": "t", "server": other.url() } },
        { "name": "w", "base_pusher": "webhook", "params": webhook(&scene.sink) },
    ]);
    let map = json!({ "key": ["n.token", "w._auth_1"] });
    let group = scene.ann.group(json!({ "pushers": members, "param_map": map })).await;
    scene.ann.share("group", &group).await;
    for predefined in [json!({ "token": SECRET }), json!({ "key": SECRET, "w.auth": "Key <_1>" })] {
        let id = scene.ann.preset(&group, predefined).await;
        scene.ann.share("preset", &id).await;
        let own = bob.preset(&id, json!({})).await;
        for status in [200, 400] {
            let echo = json!({ "message": format!("bad key {SECRET}, in full: Key {SECRET}") }).to_string();
            scene.sink.script(vec![Play::json(status, &echo)]);
            let pushed = bob.pushed(&own, json!({ "content": "c" })).await;
            scene.world.settle().await;
            let task = text(&pushed["tasks"][1]["task_id"]).to_owned();
            let answer = bob.get(&format!("/task/{task}/")).await;
            assert!(answer.data()["attempt_log"].to_string().contains("bad key ****"), "{}", answer.body);
            assert!(!shows(&answer), "{}", answer.body);
        }
    }
}

async fn a_password_in_an_address_is_shown_to_its_owner_alone() {
    let scene = Scene::start().await;
    let endpoint = scene.sink.url().replace("://", &format!("://ann:{SECRET}@"));
    let id = scene.ann.preset("webhook", json!({ "endpoint": endpoint })).await;
    scene.ann.share("preset", &id).await;
    assert!(shows(&scene.ann.get(&format!("/preset/{id}/")).await));
    for client in strangers(&scene.world).await {
        let answer = client.get(&format!("/preset/{id}/")).await;
        assert!(
            text(&answer.data()["params"]["endpoint"]).starts_with("http://ann:****@127.0.0.1:"),
            "{}",
            answer.body
        );
        assert!(!shows(&answer));
    }
    for client in [&scene.ann, &scene.world.user("bob").await] {
        let answer = client.post(&format!("/pusher/{id}/preview/"), json!({ "content": "x" })).await;
        assert!(text(&answer.data()["tasks"][0]["request"]["url"]).starts_with("http://ann:****@"), "{}", answer.body);
        assert!(!shows(&answer));
    }
    scene.ann.pushed(&id, json!({ "content": "x" })).await;
    let arrived = scene.sink.next().await;
    let credentials = STANDARD.encode(format!("ann:{SECRET}"));
    assert_eq!(arrived.header("authorization"), Some(&*format!("Basic {credentials}")));
}

async fn a_secret_is_sent_nowhere_else() {
    let scene = Scene::start().await;
    let id = lent(&scene).await;
    let bob = scene.world.user("bob").await;
    let thief = HttpSink::start().await;
    let elsewhere = [webhook(&thief), json!({ "endpoint": format!("{}/other", scene.sink.url()) })];
    for params in &elsewhere {
        let own = bob.preset(&id, params.clone()).await;
        let above = bob.preset(&own, json!({})).await;
        let member = json!({ "name": "m", "base_pusher": id, "params": params });
        let group = bob.group(json!({ "pushers": [member] })).await;
        for answer in [
            bob.push(&id, params.clone()).await,
            bob.push(&own, json!({})).await,
            bob.anonymous().push(&above, json!({})).await,
            bob.push(&group, json!({})).await,
            bob.post(&format!("/pusher/{own}/preview/"), json!({})).await,
        ] {
            assert_eq!(answer.refusal(), (422, "address_is_final"), "{}", answer.body);
            assert!(!shows(&answer));
        }
        // With a secret of one's own in its place it is one's own business.
        let mine = with(params.clone(), json!({ "headers": { "x-key": "bob's" } }));
        bob.pushed(&own, with(mine, json!({ "delay": 3600 }))).await;
    }
    scene.nothing_arrived().await;
    assert!(thief.requests().is_empty());
    bob.pushed(&id, with(webhook(&scene.sink), json!({ "content": "c" }))).await;
    assert_eq!(scene.sink.next().await.header("x-key"), Some(SECRET), "the same address is no other");
}

async fn who_has_no_more_than_an_id_cannot_have_the_secret_sent_to_himself() {
    let scene = Scene::start().await;
    let thief = HttpSink::start().await;
    let bob = scene.world.user("bob").await;
    let bark = scene.ann.preset("bark", json!({ "server": scene.sink.url(), "device_key": SECRET })).await;
    let hook = scene.ann.preset("webhook", with(webhook(&scene.sink), json!({ "headers": { "x-key": SECRET } }))).await;
    let above = scene.ann.preset(&bark, json!({ "title": "t" })).await;
    let member = json!([{ "name": "m", "base_pusher": bark }]);
    let group = scene.ann.group(json!({ "pushers": member })).await;
    for (id, elsewhere) in [
        (&bark, json!({ "server": thief.url() })),
        (&hook, json!({ "endpoint": thief.url() })),
        (&above, json!({ "server": thief.url() })),
        (&group, json!({ "m.server": thief.url() })),
        (&group, json!({ "server": thief.url() })),
    ] {
        for stranger in [&scene.ann.anonymous(), &bob] {
            let answer = stranger.push(id, with(elsewhere.clone(), json!({ "content": "c" }))).await;
            assert_eq!(answer.refusal(), (422, "address_is_final"), "{}", answer.body);
            let told = answer.body.to_string();
            assert!(told.contains(id) && (*id == bark || !told.contains(&bark)), "no other id than theirs: {told}");
            assert_eq!(stranger.push(id, json!({ "content": "c" })).await.status, 200, "pushing they may");
        }
        scene.ann.pushed(id, with(elsewhere, json!({ "content": "hers" }))).await;
    }
    scene.world.settle().await;
    assert_eq!((scene.sink.requests().len(), thief.requests().len()), (10, 5));
    assert!(thief.requests().iter().all(|request| request.text().contains("hers")));
}

async fn a_secret_in_a_group_is_sent_nowhere_else() {
    let scene = Scene::start().await;
    let member = |name: &str| {
        let params = with(webhook(&scene.sink), json!({ "headers": { "x-key": SECRET }, "title": "<_0>" }));
        json!({ "name": name, "base_pusher": "webhook", "params": params })
    };
    let group = scene.ann.group(json!({ "pushers": [member("a"), member("b")] })).await;
    scene.ann.share("group", &group).await;
    // An address with a hole is nobody's to fill.
    let hole = json!({ "endpoint": "http://127.0.0.1:<_0>/", "headers": { "x-key": SECRET } });
    let holed = scene.ann.preset("webhook", hole).await;
    scene.ann.share("preset", &holed).await;
    let bob = scene.world.user("bob").await;
    let thief = HttpSink::start().await;
    let there = format!("{}/hook", thief.url());
    for answer in [
        bob.push(&group, json!({ "endpoint": there, "_title": "t" })).await,
        bob.push(&group, json!({ "b.endpoint": there, "_title": "t" })).await,
        bob.push(&holed, json!({ "_endpoint": thief.port().to_string() })).await,
    ] {
        assert_eq!(answer.refusal(), (422, "address_is_final"), "{}", answer.body);
    }
    bob.pushed(&group, json!({ "_title": "t" })).await;
    for _ in 0..2 {
        assert_eq!(scene.sink.next().await.header("x-key"), Some(SECRET));
    }
    assert!(thief.requests().is_empty());
}

async fn a_password_is_not_sent_in_clear_for_a_stranger() {
    let scene = Scene::start().await;
    let params = json!({
        "host": "127.0.0.1", "port": scene.sink.port(), "security": "tls", "username": "ann", "password": SECRET,
        "from": "ann@example.com", "to": "ann@example.com",
    });
    let id = scene.ann.preset("email", params).await;
    scene.ann.share("preset", &id).await;
    let bob = scene.world.user("bob").await;
    for change in [json!({ "security": "none" }), json!({ "host": "127.0.0.2" }), json!({ "port": 9 })] {
        let refused = bob.push(&id, with(change, json!({ "content": "c" }))).await;
        assert_eq!(refused.refusal(), (422, "address_is_final"), "{}", refused.body);
    }
    bob.pushed(&id, json!({ "to": "bob@example.com", "content": "c", "delay": 3600 })).await;
}

async fn an_owner_sends_their_own_secret_wherever_they_like() {
    let scene = Scene::start().await;
    let id = lent(&scene).await;
    let other = HttpSink::start().await;
    let own = scene.ann.preset(&id, webhook(&other)).await;
    // Whoever pushes to it: the address is the owner's. Another one is not.
    for client in [&scene.ann, &scene.ann.anonymous(), &scene.world.user("bob").await] {
        client.pushed(&own, json!({ "content": "c" })).await;
        assert_eq!(other.next().await.header("x-key"), Some(SECRET));
    }
    for client in [scene.ann.anonymous(), scene.world.user("bob").await] {
        let refused = client.push(&own, webhook(&scene.sink)).await;
        assert_eq!(refused.refusal(), (422, "address_is_final"));
    }
    scene.ann.pushed(&own, webhook(&scene.sink)).await;
    assert_eq!(scene.sink.next().await.header("x-key"), Some(SECRET));
    scene.ann.pushed(&id, webhook(&other)).await;
    assert_eq!(other.next().await.header("x-key"), Some(SECRET));
}

async fn a_private_preset_shows_an_admin_masks() {
    let scene = Scene::start().await;
    let id = scene.ann.preset("webhook", json!({ "secret": SECRET })).await;
    let seen = scene.world.admin().await.get(&format!("/preset/{id}/")).await;
    assert_eq!(seen.data()["params"]["secret"], "Pl4****ann");
}

async fn a_secret_that_fills_a_placeholder_is_sent_nowhere_else() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let thief = HttpSink::start().await;
    let share = async |base: &str, params| {
        let id = scene.ann.preset(base, params).await;
        scene.ann.share("preset", &id).await;
        id
    };
    let at_once =
        share("bark", json!({ "server": scene.sink.url(), "device_key": "<_0>", "_device_key": SECRET })).await;
    let below = share("bark", json!({ "server": scene.sink.url(), "device_key": "<_0>" })).await;
    let above = share(&below, json!({ "_device_key": SECRET })).await;
    for id in [at_once, above] {
        bob.pushed(&id, json!({ "content": "x" })).await;
        let elsewhere = json!({ "server": thief.url(), "device_key": "<_0>", "content": "x" });
        let own = bob.preset(&id, elsewhere.clone()).await;
        for answer in [
            bob.push(&id, elsewhere.clone()).await,
            bob.push(&own, json!({})).await,
            bob.post(&format!("/pusher/{id}/preview/"), elsewhere).await,
        ] {
            assert_eq!(answer.refusal(), (422, "address_is_final"), "{}", answer.body);
            assert!(!shows(&answer));
        }
        for around in ["<_0>AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA<_0>"] {
            let given = json!({ "device_key": around, "content": "x" });
            let answer = bob.post(&format!("/pusher/{id}/preview/"), given).await;
            let text = answer.data().to_string();
            assert!(!text.contains(&SECRET[..3]) && !text.contains(&SECRET[SECRET.len() - 3..]), "{text}");
        }
    }
}

async fn a_secret_of_one_member_is_sent_nowhere_else_by_another() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let thief = HttpSink::start().await;
    let group = |map: serde_json::Value| {
        let ntfy = json!({ "topic": "t", "server": scene.sink.url(), "token": "<_0>" });
        let members = json!([
            { "name": "n", "base_pusher": "ntfy", "params": ntfy },
            { "name": "w", "base_pusher": "webhook", "params": webhook(&scene.sink) },
        ]);
        json!({ "pushers": members, "param_map": map })
    };
    let lets_in = |params: serde_json::Value| json!({ "content": "x", "w.token": params });
    for (map, predefined, given) in [
        (json!({}), json!({ "token": SECRET }), json!({ "content": "x" })),
        (json!({ "key": ["n.token", "w.auth"] }), json!({ "key": SECRET }), json!({ "content": "x" })),
        (json!({}), json!({ "_token_0": SECRET }), lets_in(json!("<_0>"))),
        (
            json!({ "key": ["n.token", "w.auth"] }),
            json!({ "_key_0": SECRET }),
            json!({ "content": "x", "key": "<_0>" }),
        ),
    ] {
        let base = scene.ann.group(group(map)).await;
        scene.ann.share("group", &base).await;
        let id = scene.ann.preset(&base, predefined).await;
        scene.ann.share("preset", &id).await;
        let preview = bob.post(&format!("/pusher/{id}/preview/"), given.clone()).await;
        assert!(preview.data()["tasks"].is_array() && !shows(&preview), "{}", preview.body);
        let elsewhere = with(given, json!({ "w.endpoint": thief.url() }));
        for answer in [
            bob.push(&id, elsewhere.clone()).await,
            bob.push(&bob.preset(&id, elsewhere.clone()).await, json!({})).await,
        ] {
            assert_eq!(answer.refusal(), (422, "address_is_final"), "{}", answer.body);
        }
        assert!(scene.ann.push(&id, elsewhere).await.status < 300, "her own secret she may send anywhere");
    }
}
