//! Whatever comes in: each fault gets a stable code, and nothing is queued.

use serde_json::{Value, json};

use crate::support::client::{Answer, FORM, JSON, TEXT};
use crate::support::scene::Scene;
use crate::support::world::both;

both!(
    a_body_that_is_not_what_it_says,
    bytes_that_are_no_text,
    a_body_that_is_too_large,
    a_body_without_a_length_that_is_too_large,
    a_body_where_none_is_read,
    parameters_that_cannot_be,
    requests_that_cannot_be_read,
    a_member_takes_no_token,
    too_many_parameters,
    parameters_that_do_not_fit_their_service,
    headers_and_keys_that_cannot_be_used,
    many_faults_come_in_one_answer,
    a_schedule_that_cannot_be,
    paths_and_methods_that_are_not_there,
    lists_that_cannot_be,
);

/// Nothing of all this became a task.
async fn nothing_was_queued(scene: &Scene) {
    scene.nothing_arrived().await;
    assert!(scene.world.tasks().await.is_empty());
}

fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.refusal(), (status, code), "{what}: {}", answer.body);
    let message = answer.body["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{what}");
}

async fn a_body_that_is_not_what_it_says() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    for (content_type, body, status, code) in [
        (Some(JSON), r#"{"content":"#, 400, "body_invalid"),
        (Some(JSON), r#"{"content":"c"} and more"#, 400, "body_invalid"),
        (Some(JSON), "{'content':'c'}", 400, "body_invalid"),
        (Some(JSON), &deep, 400, "body_invalid"),
        (Some(JSON), "[1]", 422, "param_invalid"),
        (Some(JSON), "\"content\"", 422, "param_invalid"),
        (Some(JSON), "null", 422, "param_invalid"),
        (Some(JSON), " ", 400, "body_invalid"),
        (Some(FORM), r#"{"content":"c""#, 400, "body_invalid"),
        (Some(JSON), "content=c", 400, "body_invalid"),
        (Some("application/xml"), "<a/>", 415, "media_type_unsupported"),
        (Some("multipart/form-data; boundary=x"), "--x--", 415, "media_type_unsupported"),
        (Some("nonsense"), "c", 415, "media_type_unsupported"),
        (None, "c", 415, "media_type_unsupported"),
    ] {
        let answer = scene.ann.send("POST", &path, content_type, body.as_bytes()).await;
        assert_refused(&answer, status, code, &format!("{content_type:?} {body}"));
    }
    for coding in ["gzip", "br", "identity, gzip"] {
        let headers = [("content-encoding", coding)];
        let answer = scene.ann.send_with("POST", &path, Some(JSON), &headers, br#"{"content":"c"}"#).await;
        assert_refused(&answer, 415, "media_type_unsupported", coding);
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
    nothing_was_queued(&scene).await;
    for coding in ["Identity", "", " identity, identity "] {
        let headers = [("content-encoding", coding)];
        let answer = scene.ann.send_with("POST", &path, Some(JSON), &headers, br#"{"content":"c"}"#).await;
        assert_eq!(answer.status, 200, "{coding:?} {answer:?}");
    }
}

async fn bytes_that_are_no_text() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    for (content_type, body) in [
        (JSON, &b"{\"content\":\"\xff\"}"[..]),
        (JSON, b"{\"\xc3\x28\":1}"),
        (JSON, br#"{"content":"\ud800"}"#),
        (FORM, b"content=\xff"),
        (FORM, b"content=%ff"),
        (FORM, b"content=%ED%A0%80"),
        (TEXT, b"\xff\xfe"),
    ] {
        let answer = scene.ann.send("POST", &path, Some(content_type), body).await;
        assert_refused(&answer, 400, "body_invalid", &String::from_utf8_lossy(body));
    }
    for wrong in ["?content=%ff", "?%C3=1", "%ff/", "%C3%28"] {
        let answer = scene.ann.get(&format!("{path}{wrong}")).await;
        assert_refused(&answer, 400, "request_invalid", wrong);
    }
    nothing_was_queued(&scene).await;
}

async fn a_body_that_is_too_large() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    for size in [256 * 1024 + 1, 10 * 1024 * 1024] {
        let answer = scene.ann.send("POST", &path, Some(TEXT), &vec![b'x'; size]).await;
        assert_refused(&answer, 413, "body_too_large", &size.to_string());
        assert_eq!(answer.body["data"], json!({ "limit": 256 * 1024 }));
    }
    nothing_was_queued(&scene).await;
    // 64 KiB of content in a body of 256 KiB is the most.
    let most = json!({ "content": "x".repeat(64 * 1024), "more": ["y".repeat(64 * 1024), "z".repeat(64 * 1024)] });
    scene.push(most.clone()).await;
    assert_eq!(scene.arrived().await, most);
}

async fn a_body_without_a_length_that_is_too_large() {
    let scene = Scene::start().await;
    let mut request = format!("POST /push/{}/ HTTP/1.1\r\nhost: fanfare\r\nconnection: close\r\n", scene.hook);
    request.push_str("content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut request = request.into_bytes();
    for _ in 0..160 {
        request.extend_from_slice(b"10000\r\n");
        request.extend_from_slice(&[b'x'; 0x10000]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_refused(&scene.ann.raw(request).await, 413, "body_too_large", "chunked");
    nothing_was_queued(&scene).await;
}

async fn a_body_where_none_is_read() {
    let scene = Scene::start().await;
    let push = format!("/push/{}", scene.hook);
    for path in [format!("{push}/"), format!("{push}/disk%20full/")] {
        for (content_type, body) in [(JSON, r#"{"content":"c"}"#), (FORM, "content=c"), (TEXT, "c")] {
            let answer = scene.ann.send("GET", &path, Some(content_type), body.as_bytes()).await;
            assert_refused(&answer, 400, "body_invalid", &path);
        }
    }
    nothing_was_queued(&scene).await;
    scene.ann.send("GET", &format!("{push}/?content=c"), Some(JSON), b"").await.data();
    scene.arrived().await;
}

async fn parameters_that_cannot_be() {
    let scene = Scene::start().await;
    let path = format!("/push/{}/", scene.hook);
    let long = "n".repeat(65);
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("p{n}"), json!(n))).collect();
    for (body, param) in [
        (json!({ "a": "x\0y" }), "a"),
        (json!({ "a": ["x", { "b": "\0" }] }), "a"),
        (json!({ "a": { "x\0": 1 } }), "a"),
        (json!({ "a\0b": 1 }), "a\0b"),
        (json!({ "": 1 }), ""),
        (json!({ "_": 1 }), "_"),
        (json!({ long.as_str(): 1 }), &long),
        (json!({ "content": "x".repeat(64 * 1024 + 1) }), "content"),
        (Value::Object(many), "body"),
    ] {
        let answer = scene.ann.post(&path, body.clone()).await;
        assert_refused(&answer, 422, "param_invalid", &format!("{body:.80}"));
        assert_eq!(answer.faults(), [(param, "param_invalid")]);
    }
    for (method, wrong, body) in
        [("GET", "%00/", ""), ("GET", "a%00b", ""), ("GET", "?content=%00", ""), ("POST", "", "a\0b")]
    {
        let answer = scene.ann.send(method, &format!("{path}{wrong}"), Some(TEXT), body.as_bytes()).await;
        assert_refused(&answer, 422, "param_invalid", wrong);
        assert_eq!(answer.faults(), [("content", "param_invalid")]);
    }
    nothing_was_queued(&scene).await;
}

async fn requests_that_cannot_be_read() {
    let scene = Scene::start().await;
    let headers = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let hook = &scene.hook;
    for (request, status, code) in [
        (format!("GET /push/{hook}/?title=<_0> HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(), 400, "request_invalid"),
        (format!("GET /push/{hook}/a b/ HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(), 400, "request_invalid"),
        (b"GET /push/\xe9/ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 400, "request_invalid"),
        (b"nonsense\r\n\r\n".to_vec(), 400, "request_invalid"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)).into_bytes(), 414, "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", headers(200)).into_bytes(), 431, "headers_too_large"),
    ] {
        assert_refused(
            &scene.ann.raw(request.clone()).await,
            status,
            code,
            &String::from_utf8_lossy(&request[..40.min(request.len())]),
        );
    }
    nothing_was_queued(&scene).await;
}

async fn a_member_takes_no_token() {
    let scene = Scene::start().await;
    let group = scene.ann.group(json!({ "pushers": [Scene::member("p1", &scene.sink, json!({}))] })).await;
    for name in ["p1._token", "p2._token"] {
        for (language, problem) in [("en", "is a reserved name, not a parameter"), ("zh", "是保留名，不是参数")]
        {
            let body = json!({ name: "ff_secret", "content": "c" }).to_string();
            let (path, headers) = (format!("/push/{group}/"), [("accept-language", language)]);
            let answer = scene.ann.send_with("POST", &path, Some(JSON), &headers, body.as_bytes()).await;
            assert_refused(&answer, 422, "param_invalid", name);
            assert_eq!(answer.faults(), [(name, "param_invalid")]);
            assert_eq!(answer.body["data"][0]["problem"], problem);
            assert!(!answer.body.to_string().contains("ff_secret"), "{}", answer.body);
        }
    }
    nothing_was_queued(&scene).await;
    // Elsewhere a dot is an ordinary character, and who takes anything takes that.
    scene.push(json!({ "p1._token": "x" })).await;
    assert_eq!(scene.arrived().await, json!({ "p1._token": "x" }));
}

async fn too_many_parameters() {
    let scene = Scene::start().await;
    let some = |from: usize, to: usize| (from..to).map(|n| (format!("p{n}"), json!(n)));
    let body = |from, to| Value::Object(some(from, to).collect());
    let query = |from, to| some(from, to).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    for (query, body, param) in [
        (String::new(), body(0, 65), "body"),
        (query(0, 65), json!({}), "query"),
        (query(30, 65), body(0, 40), "query"),
    ] {
        let path = format!("/push/webhook/?{query}");
        for (language, problem) in [("en", "more than 64 parameters in all"), ("zh", "参数总数超过 64 个")] {
            let headers = [("accept-language", language)];
            let answer = scene.ann.send_with("POST", &path, Some(JSON), &headers, body.to_string().as_bytes()).await;
            assert_refused(&answer, 422, "param_invalid", &path);
            // That the endpoint is not there either would be no news.
            assert_eq!(answer.faults(), [(param, "param_invalid")], "{path}");
            assert_eq!(answer.body["data"][0]["problem"], problem);
        }
    }
    nothing_was_queued(&scene).await;
    // A name counts once, the token and the text in the path not at all.
    let token = scene.ann.token();
    let mut most = body(0, 64);
    most["_token"] = json!(token);
    let path = format!("/push/{}/text/?_token={token}&{}", scene.hook, query(30, 64));
    scene.ann.post(&path, most).await.data();
    let mut expected = body(0, 64);
    expected["content"] = json!("text");
    assert_eq!(scene.arrived().await, expected);
}

async fn parameters_that_do_not_fit_their_service() {
    let scene = Scene::start().await;
    for (service, params, code, param) in [
        ("webhook", json!({}), "param_missing", "endpoint"),
        ("webhook", json!({ "endpoint": null }), "param_missing", "endpoint"),
        ("webhook", json!({ "endpoint": "" }), "param_missing", "endpoint"),
        ("webhook", json!({ "endpoint": "127.0.0.1" }), "param_invalid", "endpoint"),
        ("webhook", json!({ "endpoint": "ftp://127.0.0.1/" }), "param_invalid", "endpoint"),
        ("webhook", json!({ "endpoint": "http://" }), "param_invalid", "endpoint"),
        ("webhook", json!({ "endpoint": ["http://127.0.0.1/"] }), "param_invalid", "endpoint"),
        ("webhook", json!({ "endpoint": "http://127.0.0.1/", "method": "CONNECT" }), "param_invalid", "method"),
        ("webhook", json!({ "endpoint": "http://127.0.0.1/", "headers": "x" }), "param_invalid", "headers"),
        ("webhook", json!({ "endpoint": "http://127.0.0.1/", "headers": [1] }), "param_invalid", "headers"),
        ("ntfy", json!({ "topic": "t" }), "param_missing", "content"),
        ("ntfy", json!({ "topic": "t", "content": "" }), "param_missing", "content"),
        ("ntfy", json!({ "topic": "t", "content": {} }), "param_invalid", "content"),
        ("ntfy", json!({ "topic": "t", "content": "c", "priority": 6 }), "param_invalid", "priority"),
        ("ntfy", json!({ "topic": "t", "content": "c", "priority": 2.5 }), "param_invalid", "priority"),
        ("ntfy", json!({ "topic": "t", "content": "c", "format": "pdf" }), "param_invalid", "format"),
        ("ntfy", json!({ "topic": "t".repeat(65), "content": "c" }), "param_invalid", "topic"),
        (
            "ntfy",
            json!({ "topic": "t", "content": "c", "title": "<_0>", "_title_0": [1] }),
            "param_invalid",
            "_title_0",
        ),
        ("email", json!({ "host": "h", "from": "nobody", "to": "a@b.c", "content": "c" }), "param_invalid", "from"),
    ] {
        let answer = scene.ann.push(service, params.clone()).await;
        assert_refused(&answer, 422, code, &format!("{service} {params}"));
        assert_eq!(answer.faults(), [(param, code)], "{service} {params}");
    }
    nothing_was_queued(&scene).await;
}

/// Which was found out when the task was due.
async fn headers_and_keys_that_cannot_be_used() {
    let scene = Scene::start().await;
    let preset = &scene.hook;
    for (params, told) in [
        (json!({ "headers": { "a": 1, "b c": "x" } }), "`b…` is not the name of a header (parameter `headers`)"),
        (json!({ "headers": { "Host": "x" } }), "`Host` is a header that cannot be set (parameter `headers`)"),
        (json!({ "headers": { "Proxy-Authorization": "x" } }), "`Proxy-Authorization` is a header that cannot be set"),
        (json!({ "secret": "whsec_no*base64" }), "what follows `whsec_` is not base64 (parameter `secret`)"),
    ] {
        let pushed = scene.ann.push(preset, params.clone()).await;
        assert_refused(&pushed, 422, "not_renderable", &params.to_string());
        assert!(pushed.body["message"].as_str().unwrap().contains(told), "{}", pushed.body);
        let previewed = scene.ann.post(&format!("/pusher/{preset}/preview/"), params).await;
        assert_eq!(previewed.body, pushed.body);
    }
    nothing_was_queued(&scene).await;
    scene.ann.pushed(preset, json!({ "headers": { "X-A": "1" }, "secret": "any text" })).await;
    assert_eq!(scene.sink.next().await.header("x-a"), Some("1"));
}

async fn many_faults_come_in_one_answer() {
    let scene = Scene::start().await;
    let params = json!({ "content": "c\0", "priority": "high", "delay": "soon", "url": "x", "titel": "ignored" });
    let answer = scene.ann.push("ntfy", params).await;
    assert_refused(&answer, 422, "param_invalid", "many");
    let mut faults = answer.faults();
    faults.sort_unstable();
    let invalid = |param| (param, "param_invalid");
    let expected =
        [invalid("content"), invalid("delay"), invalid("priority"), ("topic", "param_missing"), invalid("url")];
    assert_eq!(faults, expected);
    for fault in answer.body["data"].as_array().unwrap() {
        assert!(fault["problem"].as_str().is_some_and(|text| !text.is_empty()), "{fault}");
    }
    let headers = [("accept-language", "zh-CN,zh;q=0.9,en;q=0.8")];
    let chinese = scene.ann.send_with("POST", "/push/ntfy/", Some(JSON), &headers, b"{}").await;
    assert_refused(&chinese, 422, "param_missing", "the code is the same in every language");
    assert_eq!(chinese.body["data"][0]["problem"], "必填");
    nothing_was_queued(&scene).await;
}

async fn a_schedule_that_cannot_be() {
    let scene = Scene::start().await;
    for (query, code) in [
        ("delay=-1", "param_invalid"),
        ("delay=1.5", "param_invalid"),
        ("delay=86401", "param_invalid"),
        ("delay=soon", "param_invalid"),
        ("delay=1&delay=2", "param_invalid"),
        ("delay=99999999999999999999", "param_invalid"),
        ("at=later", "param_invalid"),
        ("at=2613320000", "param_invalid"),
        ("at=0101010000", "at_in_past"),
        ("at=2001-01-01T00:00:00Z", "at_in_past"),
        ("at=9912312359", "at_too_far"),
        ("at=9999-12-31T23:59:59Z", "at_too_far"),
        ("delay=1&at=9912312359", "param_invalid"),
    ] {
        let answer = scene.ann.get(&format!("/push/{}/?{query}", scene.hook)).await;
        assert_refused(&answer, 422, code, query);
    }
    nothing_was_queued(&scene).await;
}

async fn paths_and_methods_that_are_not_there() {
    let scene = Scene::start().await;
    let hook = &scene.hook;
    for (method, path, status, code) in [
        ("GET", "/nothing/".to_owned(), 404, "path_not_found"),
        ("GET", "/".to_owned(), 404, "path_not_found"),
        ("GET", "/push/".to_owned(), 404, "path_not_found"),
        ("POST", format!("/push/{hook}/a/b/"), 404, "path_not_found"),
        ("GET", format!("/push/{hook}x/"), 404, "pusher_not_found"),
        ("GET", "/push/no-such-pusher/".to_owned(), 404, "pusher_not_found"),
        ("PUT", format!("/push/{hook}/"), 405, "method_not_allowed"),
        ("DELETE", format!("/push/{hook}/full/"), 405, "method_not_allowed"),
        ("POST", "/revoke/task/x/".to_owned(), 405, "method_not_allowed"),
        ("GET", "/task/x/".to_owned(), 404, "task_not_found"),
        ("GET", "/task/x/retry/".to_owned(), 405, "method_not_allowed"),
    ] {
        let answer = scene.ann.send(method, &path, None, b"").await;
        assert_refused(&answer, status, code, &format!("{method} {path}"));
    }
    nothing_was_queued(&scene).await;
}

async fn lists_that_cannot_be() {
    let scene = Scene::start().await;
    for (path, code) in [
        ("/task/?limit=0", "param_invalid"),
        ("/task/?limit=101", "param_invalid"),
        ("/task/?limit=many", "param_invalid"),
        ("/task/?limit=-1", "param_invalid"),
        ("/task/?cursor=%F0%9F%92%A5", "cursor_invalid"),
        ("/task/?state=sleeping", "param_invalid"),
        ("/task/?since=yesterday", "field_invalid"),
        ("/preset/?cursor=Zm9v", "cursor_invalid"),
        ("/task/?status=failed", "field_invalid"),
        ("/task/?state=failed&state=waiting", "field_invalid"),
        ("/service/?Limit=5", "field_invalid"),
    ] {
        assert_refused(&scene.ann.get(path).await, 422, code, path);
    }
    for (path, said) in [
        ("/task/?limit=many", "limit: must be a whole number"),
        ("/task/?all=1", "all: must be true or false"),
        ("/task/?pusher=p&limit=5&limit=6&x=&_=1", "pusher: is not known; limit: is there twice; x: is not known"),
        ("/preset/x/?_token=&forse=true", "forse: is not known"),
        ("/preset/x/?force=", "force: must be true or false"),
        ("/task/?state=sleeping", "state: must be one of: waiting, held, running, succeeded, failed, revoked, skipped"),
        ("/push/x/disk/full/", "There is no such path; a slash in the content is written %2F."),
        ("/pushes/x/disk/full/", "There is no such path."),
    ] {
        let method = if path.contains("/x/?") { "DELETE" } else { "GET" };
        let answer = scene.ann.send(method, path, None, b"").await;
        assert_eq!(answer.body["message"], said, "{path}");
    }
}
