//! `fanfare services`, for those who write Services: listed, shown, checked, and rendered without sending.

use serde_json::{Value, json};

use crate::support::program::{Ended, Program};

const PAGER: &str = r#"id = "pager"
name = "Pager"
docs = "https://example.com/"
category = "push"
transport = "http"

[params]
content = { type = "text", required = true, help = "What", help_zh = "内容" }

[request]
url = "https://example.com/page"

[request.json]
text = "{{content}}"
"#;

fn printed(ended: Ended) -> String {
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    ended.out
}

fn refused(ended: Ended) -> String {
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
    ended.err
}

/// A program with this Service in its data folder.
fn with_service(text: &str) -> Program {
    let program = Program::new();
    let folder = program.folder().join("data/services");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("pager.toml"), text).unwrap();
    program
}

#[tokio::test]
async fn services_are_listed() {
    let list = printed(with_service(PAGER).run(&["services", "list"]).await);
    let ids: Vec<&str> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(ids.is_sorted() && ids.contains(&"pager") && ids.contains(&"webhook"), "{list}");
    let line = list.lines().find(|line| line.starts_with("pager ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["pager", "push", "Pager"]);
}

#[tokio::test]
async fn a_service_is_shown_with_its_parameters() {
    let program = Program::new();
    let shown = printed(program.run(&["services", "show", "webhook"]).await);
    assert!(shown.starts_with("Webhook (webhook) https://www.standardwebhooks.com/\n"), "{shown}");
    assert!(shown.contains("endpoint             url, required\n"), "{shown}");
    assert!(shown.contains("secret               string, secret\n"), "{shown}");
    assert!(shown.contains("enum, default \"POST\", one of POST, GET, PUT, PATCH, DELETE\n"), "{shown}");
    assert!(shown.ends_with("and any other parameter\n"), "{shown}");
    let unknown = refused(program.run(&["services", "show", "nowhere"]).await);
    assert_eq!(unknown, "fanfare: there is no Service nowhere; `fanfare services list` shows all\n");
}

#[tokio::test]
async fn services_are_checked_with_their_examples() {
    let program = Program::new();
    let embedded = printed(program.run(&["services", "check"]).await);
    let count: usize = embedded.strip_suffix(" Services are in order\n").unwrap().parse().unwrap();
    assert!(count >= 12, "{embedded}");
    let example = |id: &str| {
        format!(
            "\n[[examples]]\nname = \"{id}\"\nparams = {{ content = \"{id}\" }}\n[examples.request]\nmethod = \"POST\"\n\
            url = \"https://example.com/page\"\njson = {{ text = \"a\" }}\n\
            headers = {{ content-type = \"application/json\", idempotency-key = \"example\" }}\n"
        )
    };
    let wrong = with_service(&format!("{PAGER}{}{}", example("a"), example("b")));
    for args in [&["services", "check"][..], &["services", "check", "data/services"]] {
        let told = refused(wrong.run(args).await);
        let told = told.replace("./data/", "data/");
        assert_eq!(
            told,
            "fanfare: data/services/pager.toml:25: example \"b\": json is {\"text\":\"b\"}, not {\"text\":\"a\"}\n"
        );
    }
    let without = refused(with_service(PAGER).run(&["services", "check"]).await);
    assert_eq!(without, "fanfare: ./data/services/pager.toml: 0 examples, at least 2 are needed\n");
    let broken = with_service(&PAGER.replace("{{content}}", "{{contents}}"));
    for args in [&["services", "check"][..], &["services", "list"], &["services", "check", "data/services"]] {
        let told = refused(broken.run(args).await);
        assert!(told.contains("data/services/pager.toml:14: ") && told.contains("contents"), "{told}");
    }
}

async fn rendered(program: &Program, args: &[&str]) -> Value {
    let args = [&["services", "render"][..], args, &["--json"]].concat();
    serde_json::from_str(&printed(program.run(&args).await)).unwrap()
}

#[tokio::test]
async fn a_request_is_rendered_without_sending() {
    let program = Program::new();
    let params = ["webhook", "-p", "endpoint=https://example.com/hook?a=b", "--param", "content=a=b 磁盘", "-p", "n="];
    let json = rendered(&program, &params).await;
    let id = json["requests"][0]["headers"]["idempotency-key"].clone();
    assert_eq!(
        json,
        json!({
            "requests": [{
                "method": "POST", "url": "https://example.com/hook?a=b",
                "headers": { "content-type": "application/json", "idempotency-key": id },
                "body": { "content": "a=b 磁盘", "n": "" },
            }],
            "ignored": [],
        })
    );
    let text = printed(program.run(&[&["services", "render"][..], &params].concat()).await);
    assert!(text.starts_with("POST https://example.com/hook?a=b\n"), "{text}");
    assert!(
        text.contains("\ncontent-type: application/json\n") && text.contains("\"content\": \"a=b 磁盘\""),
        "{text}"
    );
    let names = ["ntfy", "-p", "topic=t", "-p", "content=c", "-p", "priority=4", "-p", "colour=red"];
    let json = rendered(&program, &names).await;
    assert_eq!((&json["requests"][0]["body"]["priority"], &json["ignored"]), (&json!(4), &json!(["colour"])));
    assert_eq!(std::fs::read_dir(program.folder()).unwrap().count(), 0, "and makes nothing");
}

#[tokio::test]
async fn a_parameter_that_is_repeated_is_a_list() {
    let program = Program::new();
    let args = ["webhook", "-p", "endpoint=https://example.com/", "-p", "a=1", "-p", "a=2", "-p", "b=3"];
    let request = rendered(&program, &args).await;
    assert_eq!(request["requests"][0]["body"], json!({ "a": ["1", "2"], "b": "3" }));
    let shown = printed(program.run(&["services", "show", "ntfy"]).await);
    assert!(shown.contains("integer, at least 1, at most 5"), "{shown}");
}

#[tokio::test]
async fn a_service_of_ones_own_is_rendered() {
    let json = rendered(&with_service(PAGER), &["pager", "-p", "content=hi"]).await;
    let request = &json["requests"][0];
    assert_eq!((&request["url"], &request["body"]), (&json!("https://example.com/page"), &json!({ "text": "hi" })));
}

#[tokio::test]
async fn what_cannot_be_rendered_says_why() {
    let program = Program::new();
    for (args, told) in [
        (&["ntfy"][..], "fanfare: topic: is required; content: is required (param_missing)\n"),
        (
            &["ntfy", "-p", "topic=t", "-p", "content=c", "-p", "priority=9"],
            "fanfare: priority: must be at most 5 (param_invalid)\n",
        ),
        (&["ntfy", "-p", "topic"], "fanfare: topic: write name=value\n"),
        (&["nowhere"], "fanfare: there is no Service nowhere; `fanfare services list` shows all\n"),
    ] {
        for json in [&[][..], &["--json"]] {
            assert_eq!(refused(program.run(&[&["services", "render"], args, json].concat()).await), told);
        }
    }
}
