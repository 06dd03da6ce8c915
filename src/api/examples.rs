//! Examples of requests and answers, as the document shows them: one line an operation. poem-openapi has no place for
//! them. A test holds each against its schema.

use std::time::Duration;

use serde_json::{Value, json};

use super::document::each_operation;
use super::envelope::{ApiError, JSON, success};
use super::input::FORM;
use super::page::MAX_LIMIT;
use crate::domain::refusal::{ParamProblem, Problem, Refusal};
use crate::error::{AuthProblem, Error, Limit};

const PRESET: &str = "7enxm3atk2wb6kye5fdnbcvhkj";
const GROUP: &str = "5bk9r53wasf2dpymvf0bd7r63m";
const PUSH: &str = "01m808xdza2m0xgr5az6wzdexq";
const TASK: &str = "01m808xdza2m0xgr5az6wzdexq0";
const TOKEN: &str = "01m80a1p3vx9dv2m6hq1y0rj8k";
const ACCOUNT: &str = "01m7zq5t8c2a4wn0bk3gyd6e9x";
const KEY: &str = "F8QabcdefghijklVvue";
const MASKED: &str = "F8Q****vue";
const CODE: &str = "7K2M-9QXD-04TW-BHV3";
const MADE_AT: &str = "2026-11-21T08:00:00.000Z";
const DUE_AT: &str = "2026-11-21T08:10:00.000Z";
const CURSOR: &str = "MDFtODA5MHZ2MzYxaHc4ZGUyamo0aDhwcncx";

/// Writes the examples into a finished document: of the request, of the success, of a failure.
pub fn add(document: &mut Value) {
    let schemas = json!({ "components": document["components"].clone() });
    each_operation(document, |path, operation| {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        add_request(operation, &id);
        if let Some(data) = answer(&id) {
            set(operation, "/responses/200/content/application~1json", success(&data));
        }
        let failure = failure(&schemas, operation, path).body();
        set(operation, "/responses/4XX/content/application~1json", failure);
        let mismatch = ApiError::from(Refusal::IdempotencyMismatch).body();
        set(operation, "/responses/422/content/application~1json", mismatch);
        let limited = Error::Limited { limit: Limit::Rate, retry_after: Duration::from_secs(6) };
        set(operation, "/responses/429/content/application~1json", ApiError::from(limited).body());
        let busy = Error::Busy { retry_after: Duration::from_secs(1) };
        set(operation, "/responses/5XX/content/application~1json", ApiError::from(busy).body());
    });
}

fn add_request(operation: &mut Value, id: &str) {
    let Some(body) = request(id) else { return };
    for (media, kind) in operation["requestBody"]["content"].as_object_mut().into_iter().flatten() {
        match media.as_str() {
            JSON => kind["example"] = body.clone(),
            FORM if is_flat(&body) => kind["example"] = body.clone(),
            "text/plain" => kind["example"] = json!("/data has 7% left"),
            _ => {}
        }
    }
}

fn set(operation: &mut Value, pointer: &str, example: Value) {
    if let Some(media) = operation.pointer_mut(pointer) {
        media["example"] = example;
    }
}

/// Whether a form can say it.
fn is_flat(body: &Value) -> bool {
    body.as_object().is_some_and(|fields| fields.values().all(|value| !value.is_object() && !value.is_array()))
}

/// The failure that a caller of an operation meets first.
fn failure(document: &Value, operation: &Value, path: &str) -> ApiError {
    let missing = |name: &str| ParamProblem { param: name.to_owned(), problem: Problem::Missing };
    if path.starts_with("/push/") || path.ends_with("/preview/") {
        return Refusal::Params(vec![missing("endpoint")]).into();
    }
    if let Some(fields) = fields_of_body(document, operation) {
        return match fields["required"][0].as_str() {
            Some(field) => Refusal::Params(vec![missing(field)]).into(),
            None if fields["properties"].get("name").is_some() => ApiError::field("name", "too_long"),
            None if fields["properties"].get("quota").is_some() => ApiError::field("quota", "out_of_range"),
            None => ApiError::field("quantity", "out_of_range"),
        };
    }
    if operation["security"].as_array().is_some_and(|ways| !ways.is_empty() && !ways.contains(&json!({}))) {
        return Error::Unauthorized(AuthProblem::Missing).into();
    }
    match path {
        list if !list.contains('{') => ApiError::limit_invalid(0, MAX_LIMIT),
        path if path.starts_with("/preset/") => Error::NotFound("preset").into(),
        path if path.starts_with("/group/") => Error::NotFound("group").into(),
        path if path.starts_with("/pusher/") => Error::NotFound("pusher").into(),
        path if path.starts_with("/account/") => Error::NotFound("confirm_token").into(),
        _ => Error::NotFound("service").into(),
    }
}

/// The schema of an operation's body, if it has one of its own.
fn fields_of_body<'a>(document: &'a Value, operation: &Value) -> Option<&'a Value> {
    let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?.as_str()?;
    document.pointer(schema.trim_start_matches('#'))
}

/// An example of what the operation takes in its body.
fn request(id: &str) -> Option<Value> {
    Some(match id {
        "login" => json!({ "email": "ann@example.org", "password": "correct horse battery" }),
        "signUp" => json!({ "code": CODE, "email": "ann@example.org", "password": "correct horse battery" }),
        "confirmAgain" | "askReset" => json!({ "email": "ann@example.org" }),
        "changeAccount" => json!({ "email": "ann@example.net", "password": "correct horse battery" }),
        "deleteAccount" => json!({ "password": "correct horse battery" }),
        "changePassword" => json!({ "old_password": "correct horse battery", "password": "staple correct horse" }),
        "resetPassword" => json!({
            "token": "nAn3fz6XsFaa8jZX2hwQoI_f7biNyOeJEDgUkOgqhUw", "password": "staple correct horse",
        }),
        "invite" => json!({ "times": 5, "valid_time": 604_800, "source": "newsletter" }),
        "changeUser" => json!({ "disabled": true, "quota": 500 }),
        "createPreset" => json!({
            "name": "disk", "base_pusher": "bark",
            "params": { "device_key": KEY, "title": "Disk <_0>", "content": "<_0>% left" },
            "redefine_content": "_content",
        }),
        "changePreset" => json!({ "name": "disks", "redefine_content": null }),
        "createGroup" => json!({
            "name": "everywhere", "pushers": members(), "param_map": { "amount": ["p1._title", "p2._content"] },
            "redefine_content": "amount", "strategy": "all",
        }),
        "changeGroup" => json!({ "strategy": "fallback" }),
        "addMember" => json!({ "name": "p3", "base_pusher": "ntfy", "params": { "topic": "disks" } }),
        "changeMember" => json!({ "params": { "title": "<_0> GB left" } }),
        "createToken" => json!({
            "name": "backup script", "scopes": ["push"], "expires_at": "2035-01-01T00:00:00Z",
        }),
        "push" | "pushContent" | "previewPush" => json!({ "_title": "/data", "content": "7% left", "delay": 600 }),
        _ => return None,
    })
}

/// An example of the data that the operation answers.
fn answer(id: &str) -> Option<Value> {
    Some(match id {
        "login" => json!({
            "isLogin": true, "isRegistered": true, "token": "ff_nAn3fz6XsFaa8jZX2hwQoI_f7biNyOeJEDgUkOgqhUw",
        }),
        "logout" | "confirmAgain" | "askReset" | "resetPassword" | "changeAccount" | "endSession"
        | "withdrawInvite" => {
            json!({})
        }
        "signUp" => json!({ "confirm_by": "2026-11-22T08:00:00.000Z", "mail": true }),
        "confirm" => json!({ "email": "ann@example.org" }),
        "getAccount" => account(),
        "deleteAccount" | "deleteUser" => json!({ "revoked_tasks": 2 }),
        "changePassword" => json!({ "ended_sessions": 1 }),
        "listSessions" => page(&session()),
        "invite" => json!({
            "quantity": 1, "codes": [{ "code": CODE, "available_times": 5, "valid_to": "2026-11-28T08:00:00.000Z" }],
        }),
        "listInvites" => page(&json!({
            "code": CODE, "type": "admin", "made_by": ACCOUNT, "limit_email": null, "times": 5, "available_times": 3,
            "valid_to": "2026-11-28T08:00:00.000Z", "source": "newsletter", "created_at": MADE_AT,
        })),
        "listUsers" => page(&user()),
        "getUser" | "changeUser" => user(),
        "listPresets" => page(&preset()),
        "listSharedPresets" => page(&shared(preset(), MASKED)),
        "sharePreset" => shared(preset(), KEY),
        "listSharedGroups" => page(&shared(group(), KEY)),
        "shareGroup" => shared(group(), KEY),
        "listTokens" => page(&token()),
        "createToken" => {
            let mut token = token();
            token["last_used_at"] = Value::Null;
            token["token"] = json!("ffk_Jq0pN1yBv0cQy3h2zH8mVn5sT4wXaE7dLrK9uGiPoRs");
            token
        }
        "deleteToken" => json!({}),
        "listAudit" => page(&json!({
            "id": PUSH, "at": MADE_AT, "action": "token_made", "actor_id": ACCOUNT, "account_id": ACCOUNT,
            "token_id": null, "origin": "192.0.2.7", "target": TOKEN, "name": "backup script",
        })),
        "createPreset" | "getPreset" | "changePreset" => preset(),
        "deletePreset" | "deleteGroup" => json!({ "revoked_tasks": 2 }),
        "listGroups" => page(&group()),
        "createGroup" | "getGroup" | "changeGroup" | "addMember" | "changeMember" | "removeMember" => group(),
        "listPushers" => page(&preset()),
        "getPusher" | "getService" => service(),
        "listServices" => json!({ "items": [service()], "next_cursor": null }),
        "push" | "pushContent" | "pushGet" | "pushContentGet" => json!({
            "push_id": PUSH, "task_id": TASK, "ignored": ["priorty"],
            "tasks": [{ "task_id": TASK, "name": null, "pusher_id": PRESET, "state": "waiting", "run_at": DUE_AT }],
        }),
        "previewPush" => json!({ "tasks": [previewed()] }),
        "revokeTask" => json!({ "state": "revoked" }),
        "revokePush" => json!({ "tasks": [{ "task_id": TASK, "state": "revoked" }] }),
        "listTasks" => page(&failed_task()),
        "getTask" => with_log(failed_task()),
        "retryTask" => with_log(waiting_again(failed_task())),
        _ => return None,
    })
}

fn page(item: &Value) -> Value {
    json!({ "items": [item], "next_cursor": CURSOR })
}

fn preset() -> Value {
    json!({
        "id": PRESET, "kind": "preset", "name": "disk", "base_pusher": "bark",
        "params": { "device_key": KEY, "title": "Disk <_0>", "content": "<_0>% left" },
        "redefine_content": "_content", "protected": false, "shared": false,
        "created_at": MADE_AT, "updated_at": MADE_AT,
    })
}

fn shared(mut pusher: Value, key: &str) -> Value {
    pusher["shared"] = json!(true);
    if pusher["kind"] == "preset" {
        pusher["params"]["device_key"] = json!(key);
    }
    pusher
}

fn token() -> Value {
    json!({
        "id": TOKEN, "name": "backup script", "scopes": ["push"], "created_at": MADE_AT, "last_used_at": DUE_AT,
        "expires_at": "2035-01-01T00:00:00.000Z",
    })
}

fn account() -> Value {
    json!({
        "id": ACCOUNT, "email": "ann@example.org", "role": "user", "created_at": MADE_AT, "confirmed_at": DUE_AT,
        "quota": null,
    })
}

fn user() -> Value {
    json!({
        "id": ACCOUNT, "email": "ann@example.org", "role": "user", "created_at": MADE_AT, "confirmed_at": DUE_AT,
        "disabled_at": null, "invited_by": "01m7xq2r6vd4n8k0w3s5t9y1za", "invite_code": CODE, "source": "newsletter",
        "quota": 500,
    })
}

fn session() -> Value {
    json!({
        "id": "3w8fz0c7kq5r1m2n9d4e6g8h0j", "current": true, "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "created_at": MADE_AT, "last_used_at": DUE_AT, "expires_at": "2026-12-21T08:10:00.000Z",
    })
}

fn members() -> Value {
    json!([
        { "name": "p1", "base_pusher": PRESET, "params": { "title": "<_0> left" } },
        { "name": "p2", "base_pusher": "ntfy", "params": { "topic": "disks", "content": "<_0> left" } },
    ])
}

fn group() -> Value {
    json!({
        "id": GROUP, "kind": "group", "name": "everywhere", "pushers": members(),
        "param_map": { "amount": ["p1._title", "p2._content"] }, "redefine_content": "amount", "strategy": "all",
        "protected": false, "shared": false, "created_at": MADE_AT, "updated_at": MADE_AT,
    })
}

fn service() -> Value {
    let param = |name: &str, kind: &str, required: bool, secret: bool, help: &str, help_zh: &str| {
        json!({
            "name": name, "type": kind, "required": required, "secret": secret, "default": null, "enum": [],
            "items": null, "max_length": null, "min": null, "max": null, "help": help, "help_zh": help_zh,
        })
    };
    json!({
        "id": "gotify", "kind": "service", "name": "Gotify", "name_zh": "Gotify", "category": "push",
        "docs": "https://gotify.net/docs/pushmsg", "transport": "http", "accepts_any": false,
        "params": [
            param("app_token", "string", true, true, "Token of the application", "应用令牌"),
            param("server", "url", true, false, "Address of the Gotify server", "Gotify 服务器地址"),
            param("content", "text", true, false, "The message", "消息内容"),
        ],
    })
}

fn previewed() -> Value {
    json!({
        "name": null, "service": "bark",
        "params": {
            "device_key": { "value": MASKED, "from": PRESET },
            "title": { "value": "Disk /data", "from": PRESET },
            "content": { "value": "7% left", "from": "body" },
        },
        "ignored": [], "run_at": DUE_AT,
        "request": {
            "method": "POST", "url": "https://api.day.app/push",
            "headers": { "content-type": "application/json", "idempotency-key": TASK },
            "body": { "device_key": MASKED, "title": "Disk /data", "body": "7% left" },
        },
    })
}

fn failed_task() -> Value {
    json!({
        "task_id": TASK, "push_id": PUSH, "pusher_id": PRESET, "service": "bark", "name": null, "state": "failed",
        "run_at": DUE_AT, "created_at": MADE_AT, "started_at": DUE_AT, "finished_at": "2026-11-21T08:10:00.120Z",
        "attempts": 1, "error": { "code": "bark:device_not_found", "message": "failed to get device token" },
    })
}

fn waiting_again(mut task: Value) -> Value {
    task["state"] = json!("waiting");
    task["finished_at"] = Value::Null;
    task["error"] = Value::Null;
    task["run_at"] = json!("2026-11-21T09:00:00.000Z");
    task
}

fn with_log(mut task: Value) -> Value {
    task["attempt_log"] = json!([{
        "at": DUE_AT, "duration_ms": 120, "outcome": "never", "code": "bark:device_not_found", "status": 400,
        "response": "{\"code\":400,\"message\":\"failed to get device token\",\"timestamp\":1795248600}",
    }]);
    task
}
