use super::*;
use crate::api::messages::{Language, speaking};
use crate::domain::id::PusherId;
use crate::domain::scope::Scope;

async fn body_of(response: Response) -> Value {
    response.into_body().into_json().await.unwrap()
}

fn id() -> PusherId {
    PusherId::new("p")
}

#[test]
fn every_error_has_its_status_and_code() {
    let second = Duration::from_secs(1);
    let missing = || ParamProblem { param: "title".into(), problem: Problem::Missing };
    let cases: Vec<(Error, u16, &str)> = vec![
        (Refusal::Params(vec![missing()]).into(), 422, "param_missing"),
        (Refusal::field("name", "empty").into(), 422, "field_invalid"),
        (Refusal::BaseUnknown(id()).into(), 422, "base_unknown"),
        (Refusal::Cycle(id()).into(), 422, "pusher_cycle"),
        (Refusal::ChainTooDeep(8).into(), 422, "chain_too_deep"),
        (Refusal::GroupInGroup(id()).into(), 422, "group_in_group"),
        (Refusal::GroupEmpty.into(), 422, "group_empty"),
        (Refusal::GroupFull(5).into(), 422, "group_full"),
        (Refusal::TooManyPushers(1000).into(), 409, "too_many_pushers"),
        (Refusal::MemberNameTaken("a".into()).into(), 409, "member_name_taken"),
        (Refusal::PusherInUse { dependents: Vec::new(), others: 1 }.into(), 409, "pusher_in_use"),
        (Refusal::ProtectedNotShared.into(), 409, "protected_not_shared"),
        (Refusal::BaseNotPublic(id()).into(), 409, "base_not_public"),
        (Refusal::AddressIsFinal(id()).into(), 422, "address_is_final"),
        (Error::ScopeMissing(Scope::Manage), 403, "scope_missing"),
        (Refusal::SharedIsFinal.into(), 409, "shared_is_final"),
        (Refusal::WrongState("running").into(), 409, "wrong_state"),
        (Refusal::IdempotencyMismatch.into(), 422, "idempotency_mismatch"),
        (Error::NotFound("task"), 404, "task_not_found"),
        (AuthProblem::Missing.into(), 401, "token_missing"),
        (AuthProblem::Invalid.into(), 401, "token_invalid"),
        (AuthProblem::Expired.into(), 401, "token_expired"),
        (Error::Forbidden, 403, "forbidden"),
        (Error::Limited { limit: Limit::Rate, retry_after: second }, 429, "rate_limited"),
        (Error::Limited { limit: Limit::Quota, retry_after: second }, 429, "quota_exceeded"),
        (Error::Limited { limit: Limit::Attempts, retry_after: second }, 429, "too_many_attempts"),
        (Error::Busy { retry_after: second }, 503, "busy"),
        (anyhow::anyhow!("disk gone").into(), 500, "broken"),
    ];
    for (error, status, code) in cases {
        let told = ApiError::from(error);
        assert_eq!((told.status().as_u16(), told.code()), (status, code));
    }
}

#[tokio::test]
async fn parameters_at_fault_are_listed_in_the_language_asked_for() {
    let refusal = || {
        Refusal::Params(vec![
            ParamProblem { param: "title".into(), problem: Problem::Missing },
            ParamProblem { param: "at".into(), problem: Problem::AtInPast },
        ])
    };
    let english = body_of(ApiError::from(refusal()).into_response()).await;
    assert_eq!(
        english,
        json!({
            "success": false,
            "code": "param_invalid",
            "message": "title: is required; at: the time has passed",
            "data": [
                { "param": "title", "problem": "is required", "code": "param_missing" },
                { "param": "at", "problem": "the time has passed", "code": "at_in_past" },
            ],
        })
    );
    let chinese = speaking(Language::Chinese, async { ApiError::from(refusal()).into_response() }).await;
    assert_eq!(body_of(chinese).await["data"][1]["problem"], "时间已过");
}

#[tokio::test]
async fn dependents_are_listed() {
    let dependents = vec![Dependent { id: id(), name: "n".to_owned() }];
    let answer = body_of(ApiError::from(Refusal::PusherInUse { dependents, others: 2 }).into_response()).await;
    assert_eq!(answer["data"], json!({ "dependents": [{ "id": "p", "name": "n" }], "others": 2 }));
}

#[tokio::test]
async fn what_broke_stays_inside() {
    let response = ApiError::from(Error::from(anyhow::anyhow!("password=hunter2"))).into_response();
    let text = response.into_body().into_string().await.unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let id = serde_json::from_str::<Value>(&text).unwrap()["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 8);
    assert!(text.contains(&format!("as {id}.")));
}

#[test]
fn waiting_times_are_rounded_up_and_told_in_a_header() {
    let cases = [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")];
    for (ms, header) in cases {
        let response = ApiError::from(Error::Busy { retry_after: Duration::from_millis(ms) }).into_response();
        assert_eq!(response.header("retry-after"), Some(header));
    }
}

#[tokio::test]
async fn success_has_the_same_shape() {
    let response = Reply(vec![1, 2]).into_response();
    assert_eq!(response.content_type(), Some("application/json; charset=utf-8"));
    let body = body_of(response).await;
    assert_eq!(body, json!({ "success": true, "code": "0", "message": "OK", "data": [1, 2] }));
}

#[test]
fn a_request_without_a_token_is_told_which_kind() {
    let response = ApiError::from(Error::from(AuthProblem::Missing)).into_response();
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
}
