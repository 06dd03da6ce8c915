//! Tasks as their owners read them: filtered, paged, and nobody else's business.

use serde_json::json;

use crate::support::client::{Client, text};
use crate::support::http_sink::Play;
use crate::support::scene::Scene;
use crate::support::world::{both, task_id};

both!(
    tasks_are_listed_newest_first,
    a_list_is_filtered_by_state,
    a_list_is_filtered_by_pusher,
    a_list_is_filtered_by_push,
    the_beginning_of_a_pushs_id_is_no_push,
    a_list_is_filtered_by_time,
    filters_narrow_each_other,
    a_filtered_list_pages_too,
    filters_that_will_not_do_are_told,
    another_accounts_task_does_not_exist,
    an_admin_sees_everybodys_when_asked_to,
    all_means_nothing_to_others,
    the_attempt_log_comes_with_a_single_task_alone,
    a_task_outlives_its_pusher,
);

async fn list(client: &Client, query: &str) -> Vec<String> {
    client.get(&format!("/task/?limit=100&{query}")).await.items().iter().map(|task| text(&task["task_id"])).collect()
}

async fn tasks_are_listed_newest_first() {
    let scene = Scene::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        scene.world.clock.advance(2);
        made.push(scene.task(json!({ "delay": 60 })).await);
    }
    made.reverse();
    assert_eq!(list(&scene.ann, "").await, made);
}

async fn a_list_is_filtered_by_state() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(200), Play::status(400)]);
    let succeeded = scene.task(json!({})).await;
    scene.world.settle().await;
    let failed = scene.task(json!({})).await;
    scene.world.settle().await;
    let waiting = scene.task(json!({ "delay": 60 })).await;
    let revoked = scene.task(json!({ "delay": 60 })).await;
    scene.ann.get(&format!("/revoke/task/{revoked}/")).await.data();
    let members = ["p1", "p2"].map(|name| Scene::member(name, &scene.sink, json!({})));
    let group = scene.ann.group(json!({ "pushers": members, "strategy": "fallback" })).await;
    let pushed = scene.ann.pushed(&group, json!({})).await;
    scene.world.settle().await;
    let [first, skipped] = [0, 1].map(|at| text(&pushed["tasks"][at]["task_id"]));
    let delayed = scene.ann.pushed(&group, json!({ "delay": 60 })).await;
    let [second, held] = [0, 1].map(|at| text(&delayed["tasks"][at]["task_id"]));
    for (state, expected) in [
        ("succeeded", vec![first, succeeded]),
        ("failed", vec![failed]),
        ("waiting", vec![second, waiting]),
        ("held", vec![held]),
        ("revoked", vec![revoked]),
        ("skipped", vec![skipped]),
        ("running", vec![]),
    ] {
        assert_eq!(list(&scene.ann, &format!("state={state}")).await, expected, "{state}");
    }
}

async fn a_list_is_filtered_by_pusher() {
    let scene = Scene::start().await;
    let above = scene.ann.preset(&scene.hook, json!({})).await;
    let direct = scene.task(json!({ "delay": 60 })).await;
    let via = task_id(&scene.ann.pushed(&above, json!({ "delay": 60 })).await);
    assert_eq!(list(&scene.ann, &format!("pusher_id={}", scene.hook)).await, [direct]);
    assert_eq!(list(&scene.ann, &format!("pusher_id={above}")).await, [via]);
    assert_eq!(list(&scene.ann, "pusher_id=webhook").await, [] as [&str; 0], "the one that was called counts");
}

async fn a_list_is_filtered_by_push() {
    let scene = Scene::start().await;
    let members = ["p1", "p2", "p3"].map(|name| Scene::member(name, &scene.sink, json!({})));
    let group = scene.ann.group(json!({ "pushers": members })).await;
    let pushed = scene.ann.pushed(&group, json!({ "delay": 60 })).await;
    scene.task(json!({ "delay": 60 })).await;
    let mut expected: Vec<_> = (0..3).map(|at| text(&pushed["tasks"][at]["task_id"])).collect();
    expected.reverse();
    assert_eq!(list(&scene.ann, &format!("push_id={}", text(&pushed["push_id"]))).await, expected);
}

async fn the_beginning_of_a_pushs_id_is_no_push() {
    let scene = Scene::start().await;
    let mut pushes = Vec::new();
    for _ in 0..20 {
        pushes.push(text(&scene.push(json!({ "delay": 60 })).await["push_id"]));
    }
    for push in pushes {
        for length in 1..push.len() {
            let part = &push[..length];
            assert_eq!(list(&scene.ann, &format!("push_id={part}")).await, [] as [&str; 0], "{part}");
            let revoked = scene.ann.get(&format!("/revoke/push/{part}/")).await.into_data();
            assert_eq!(revoked, json!({ "tasks": [] }), "{part}");
        }
    }
    assert_eq!(list(&scene.ann, "state=revoked").await, [] as [&str; 0]);
}

async fn a_list_is_filtered_by_time() {
    let scene = Scene::start().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        scene.world.clock.advance(1000);
        let task = scene.task(json!({ "delay": 60 })).await;
        let at = text(&scene.ann.task(&task).await["created_at"]);
        made.push((task, at));
    }
    let [(first, _), (second, at), (third, last)] = <[_; 3]>::try_from(made).unwrap();
    for (query, expected) in [
        (format!("since={at}"), vec![&third, &second]),
        (format!("until={at}"), vec![&first]),
        (format!("since={at}&until={last}"), vec![&second]),
        (format!("since={last}&until={at}"), vec![]),
        ("since=1970-01-01T00:00:00Z".to_owned(), vec![&third, &second, &first]),
        ("until=2999-01-01T00:00:00%2B08:00".to_owned(), vec![&third, &second, &first]),
        ("since=2999-01-01T00:00:00Z".to_owned(), vec![]),
        ("until=1960-01-01T00:00:00Z".to_owned(), vec![]),
        ("since=1960-01-01T00:00:00Z".to_owned(), vec![&third, &second, &first]),
    ] {
        assert_eq!(list(&scene.ann, &query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

async fn filters_narrow_each_other() {
    let scene = Scene::start().await;
    let above = scene.ann.preset(&scene.hook, json!({})).await;
    scene.task(json!({ "delay": 60 })).await;
    let sent = task_id(&scene.ann.pushed(&above, json!({})).await);
    scene.world.settle().await;
    let waiting = task_id(&scene.ann.pushed(&above, json!({ "delay": 60 })).await);
    assert_eq!(list(&scene.ann, &format!("pusher_id={above}&state=waiting")).await, [waiting]);
    assert_eq!(list(&scene.ann, &format!("pusher_id={above}&state=succeeded")).await, [sent]);
    assert_eq!(list(&scene.ann, &format!("pusher_id={}&state=succeeded", scene.hook)).await, [] as [&str; 0]);
}

async fn a_filtered_list_pages_too() {
    let scene = Scene::start().await;
    let mut expected = Vec::new();
    for turn in 0..12 {
        let task = scene.task(json!({ "delay": 60 })).await;
        if turn % 2 == 0 {
            expected.push(task);
        } else {
            scene.ann.get(&format!("/revoke/task/{task}/")).await.data();
        }
    }
    let mut whole = list(&scene.ann, "state=waiting").await;
    let pages = scene.ann.pages("/task/?state=waiting&limit=4").await;
    assert_eq!(pages.iter().map(|task| text(&task["task_id"])).collect::<Vec<_>>(), whole);
    whole.sort_unstable();
    expected.sort_unstable();
    assert_eq!(whole, expected);
}

async fn filters_that_will_not_do_are_told() {
    let scene = Scene::start().await;
    for (query, param, code) in [
        ("state=asleep", "state", "param_invalid"),
        ("state=Waiting", "state", "param_invalid"),
        ("state=", "state", "param_invalid"),
        ("all=perhaps", "all", "param_invalid"),
        ("since=yesterday", "since", "field_invalid"),
        ("since=", "since", "field_invalid"),
        ("until=2026-11-21", "until", "field_invalid"),
        ("until=2026-11-21T08:00:00", "until", "field_invalid"),
        ("until=1732176000", "until", "field_invalid"),
    ] {
        let answer = scene.ann.get(&format!("/task/?{query}")).await;
        assert_eq!(answer.refusal(), (422, code), "{query}");
        assert_eq!(answer.faults()[0].0, param, "{query}");
    }
}

async fn another_accounts_task_does_not_exist() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    let task = scene.task(json!({ "delay": 60 })).await;
    let unknown = "0".repeat(27);
    for id in [&*task, &unknown, "x", "%00", &task[..26]] {
        assert_eq!(bob.get(&format!("/task/{id}/")).await.refusal(), (404, "task_not_found"), "{id}");
        let retried = bob.post(&format!("/task/{id}/retry/"), json!({})).await;
        assert_eq!(retried.refusal(), (404, "task_not_found"), "{id}");
    }
    for query in [String::new(), format!("pusher_id={}", scene.hook), format!("push_id={}", &task[..26])] {
        assert_eq!(list(&bob, &query).await, [] as [&str; 0], "{query}");
    }
    let anyone = bob.anonymous();
    for path in ["/task/".to_owned(), format!("/task/{task}/")] {
        assert_eq!(anyone.get(&path).await.refusal(), (401, "token_missing"), "{path}");
    }
    scene.ann.task(&task).await;
}

async fn an_admin_sees_everybodys_when_asked_to() {
    let scene = Scene::start().await;
    let admin = scene.world.admin().await;
    let anns = scene.task(json!({ "delay": 60 })).await;
    scene.world.clock.advance(2);
    let params = json!({ "endpoint": scene.sink.url(), "delay": 60 });
    let own = task_id(&admin.pushed("webhook", params).await);
    assert_eq!(list(&admin, "").await, [&*own]);
    assert_eq!(list(&admin, "all=false").await, [&*own]);
    assert_eq!(list(&admin, "all=true").await, [&*own, &anns]);
    assert_eq!(list(&admin, &format!("all=true&pusher_id={}", scene.hook)).await, [&*anns]);
    assert_eq!(admin.task(&anns).await["task_id"], json!(anns));
}

async fn all_means_nothing_to_others() {
    let scene = Scene::start().await;
    let bob = scene.world.user("bob").await;
    scene.task(json!({ "delay": 60 })).await;
    assert_eq!(list(&bob, "all=true").await, [] as [&str; 0]);
}

async fn the_attempt_log_comes_with_a_single_task_alone() {
    let scene = Scene::start().await;
    scene.sink.script(vec![Play::status(503), Play::status(503), Play::json(200, r#"{"fine":true}"#)]);
    let task = scene.task(json!({})).await;
    scene.world.settle().await;
    let listed = scene.ann.get("/task/").await.into_data()["items"][0].take();
    let mut read = scene.ann.task(&task).await;
    let log = read.as_object_mut().unwrap().remove("attempt_log").unwrap();
    assert_eq!(listed, read, "but for the log they are the same");
    assert_eq!(listed["attempts"], 3);
    let told: Vec<_> = log.as_array().unwrap().iter().map(|at| (text(&at["outcome"]), at["status"].clone())).collect();
    let [later, sent] = [("later".to_owned(), json!(503)), ("sent".to_owned(), json!(200))];
    assert_eq!(told, [later.clone(), later, sent]);
    assert_eq!(log[2]["response"], r#"{"fine":true}"#);
    assert_eq!(scene.ann.task(&scene.task(json!({ "delay": 60 })).await).await["attempt_log"], json!([]));
}

async fn a_task_outlives_its_pusher() {
    let scene = Scene::start().await;
    let task = scene.task(json!({})).await;
    scene.world.settle().await;
    scene.ann.delete(&format!("/preset/{}/", scene.hook)).await.data();
    let read = scene.ann.task(&task).await;
    assert_eq!((&read["state"], &read["pusher_id"]), (&json!("succeeded"), &json!(scene.hook)));
}
