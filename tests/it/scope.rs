//! Scopes: every operation of the document, called with every token, does what the document says.

use serde_json::{Value, json};

use fanfare::api::scopes::{Access, access};

use crate::support::client::text;
use crate::support::scene::Scene;
use crate::support::world::{World, both};

both!(
    every_operation_asks_for_the_scope_that_the_document_names,
    a_push_token_pushes_and_takes_back_and_nothing_else,
    a_token_is_looked_at_before_the_body,
);

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Method, path and operation of everything in the document.
fn operations() -> Vec<(String, String, Value)> {
    let document: Value = serde_json::from_str(&fanfare::api::document_text()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                all.push((method.to_uppercase(), path.clone(), operation.clone()));
            }
        }
    }
    all
}

fn filled(path: &str) -> String {
    let fill = |segment: &str| if segment.starts_with('{') { "x0".to_owned() } else { segment.to_owned() };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[test]
fn the_table_of_scopes_names_every_operation_and_no_other() {
    let operations = operations();
    for (method, path, operation) in &operations {
        let id = operation["operationId"].as_str().unwrap();
        let Some(asked) = access(id) else {
            panic!("{method} {path} ({id}) is missing in the table of api/scopes.rs");
        };
        let ways = operation["security"].as_array().unwrap();
        let scope = operation.get("x-required-scope").and_then(Value::as_str);
        let told = operation["description"].as_str().unwrap();
        match asked {
            Access::Public => assert!(ways.is_empty() && scope.is_none(), "{id}"),
            Access::Open(needed) | Access::Needs(needed) => {
                assert_eq!(scope, Some(needed.as_str()), "{id}");
                assert!(told.contains(&format!("the scope `{}`", needed.as_str())), "{id}: {told}");
                assert_eq!(ways.contains(&json!({})), matches!(asked, Access::Open(_)), "{id}");
                assert!(ways.len() >= 3, "{id}");
            }
        }
    }
    // The other way round: what the table names is there.
    let source = include_str!("../../src/api/scopes.rs");
    let table = source.split("Some(match operation {").nth(1).unwrap().split("_ => return None").next().unwrap();
    for id in table.split('"').skip(1).step_by(2) {
        assert!(operations.iter().any(|(.., operation)| operation["operationId"] == id), "{id} is no operation");
    }
}

async fn every_operation_asks_for_the_scope_that_the_document_names() {
    let world = World::start().await;
    // Each call by an account of its own: some end the session, or more.
    let mut accounts = 0;
    let mut somebody = async || {
        accounts += 1;
        world.user(&format!("user{accounts}")).await
    };
    for held in ["push", "read", "manage"] {
        for (method, path, operation) in operations() {
            let client = somebody().await.with_scopes(&[held]).await;
            let needed = operation.get("x-required-scope").and_then(Value::as_str);
            let answer = client.send(&method, &filled(&path), None, b"").await;
            let refused = answer.refusal() == (403, "scope_missing");
            assert_eq!(refused, needed.is_some_and(|needed| needed != held), "{held} {method} {path} {}", answer.body);
            if refused {
                assert_eq!(answer.body["data"], json!({ "scope": needed }));
                let told = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", needed.unwrap());
                assert_eq!(answer.header("www-authenticate"), Some(&*told));
            }
        }
    }
    for (method, path, _) in operations() {
        let answer = somebody().await.send(&method, &filled(&path), None, b"").await;
        assert_ne!(answer.code(), "scope_missing", "a session may do everything: {method} {path}");
    }
}

async fn a_push_token_pushes_and_takes_back_and_nothing_else() {
    let scene = Scene::start().await;
    let script = scene.ann.with_scopes(&["push"]).await;
    let protected = scene.ann.preset_with(&scene.hook, json!({}), json!({ "protected": true })).await;
    let task = text(&script.pushed(&protected, json!({ "delay": 3600 })).await["task_id"]);
    assert_eq!(script.get(&format!("/revoke/task/{task}/")).await.data(), &json!({ "state": "revoked" }));
    for path in [format!("/preset/{protected}/"), format!("/task/{task}/"), "/pusher/".to_owned(), "/audit/".to_owned()]
    {
        assert_eq!(script.get(&path).await.refusal(), (403, "scope_missing"), "{path}");
    }
    let reader = scene.ann.with_scopes(&["read"]).await;
    assert_eq!(reader.push(&scene.hook, json!({})).await.refusal(), (403, "scope_missing"));
    scene.nothing_arrived().await;
    let chinese = [("accept-language", "zh")];
    let told = script.send_with("GET", "/task/", None, &chinese, b"").await;
    assert_eq!(told.body["message"], "令牌缺少 read 权限。");
}

async fn a_token_is_looked_at_before_the_body() {
    let world = World::start().await;
    let wrong = world.anonymous().with_token(Some("ff_guessed"));
    for (method, path, operation) in operations() {
        let needs = operation["security"].as_array().is_some_and(|ways| !ways.is_empty() && !ways.contains(&json!({})));
        if needs && operation.get("requestBody").is_some() {
            let broken = [(Some("application/json"), &b"{"[..]), (Some("text/html"), b"x"), (None, b"")];
            for (content_type, body) in broken {
                let answer = world.anonymous().send(&method, &filled(&path), content_type, body).await;
                assert_eq!(answer.refusal(), (401, "token_missing"), "{method} {path}");
                let answer = wrong.send(&method, &filled(&path), content_type, body).await;
                assert_eq!(answer.refusal(), (401, "token_invalid"), "{method} {path}");
            }
        }
    }
}
