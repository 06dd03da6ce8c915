//! Invitation codes over HTTP: who may make which, what they are good for, listing and withdrawing; proofs that a person
//! asks.

use std::collections::BTreeSet;

use fanfare::config::{Registration, Secret};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client, FORM, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::newcomer::House;
use crate::support::world::{World, both};

both!(
    what_an_admin_may_ask_for,
    what_a_user_may_ask_for,
    who_may_make_which,
    anybody_gets_a_code_for_their_address_where_registration_is_open,
    nobody_gets_themselves_a_code_where_it_is_not,
    codes_are_listed_and_withdrawn_by_who_made_them,
    a_user_has_only_so_many_unused_codes,
    a_form_makes_codes_as_well,
    a_proof_is_verified,
    without_a_verifier_nobody_gets_in,
);

const ADMIN: &str = "/account/invite/admin/";
const REFERER: &str = "/account/invite/referer/";
const AUTO: &str = "/account/invite/auto/";

/// Whether a code lasts so long, give or take what the test takes.
fn ends_in(world: &World, code: &Value, ms: i64) -> bool {
    let (end, latest) = (code["valid_to"].as_str().unwrap(), world.clock_now().plus_ms(ms));
    (latest.plus_ms(-20_000).rfc3339()..=latest.rfc3339()).contains(&end.to_owned())
}

fn codes(answer: &Answer) -> Vec<Value> {
    let data = answer.data();
    let codes = data["codes"].as_array().unwrap().clone();
    assert_eq!(data["quantity"], codes.len());
    codes
}

async fn what_an_admin_may_ask_for() {
    let world = World::start().await;
    let admin = world.admin().await;
    let one = codes(&admin.post(ADMIN, json!({})).await);
    assert_eq!((one.len(), &one[0]["available_times"], &one[0]["valid_to"]), (1, &json!(1), &Value::Null));
    let many = codes(&admin.post(ADMIN, json!({ "quantity": 100 })).await);
    let mut texts: Vec<&str> = many.iter().map(|code| code["code"].as_str().unwrap()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 100);
    let wish = json!({ "times": 7, "valid_time": 60, "source": "talk" });
    let seven = codes(&admin.post(ADMIN, wish).await);
    assert_eq!((seven.len(), &seven[0]["available_times"]), (1, &json!(7)));
    assert!(ends_in(&world, &seven[0], 60_000), "{seven:?}");
    let only = codes(&admin.post(ADMIN, json!({ "quantity": 5, "limit_email": "ann@example.com" })).await);
    assert_eq!(only.len(), 1, "one address is one code");
    for (wish, fault) in [
        (json!({ "times": 2, "quantity": 2 }), ("times", "not_with_quantity")),
        (json!({ "quantity": 0 }), ("quantity", "out_of_range")),
        (json!({ "quantity": 101 }), ("quantity", "out_of_range")),
        (json!({ "times": 1_000_001 }), ("times", "out_of_range")),
        (json!({ "valid_time": 0 }), ("valid_time", "out_of_range")),
        (json!({ "valid_time": i64::MAX }), ("valid_time", "out_of_range")),
        (json!({ "limit_email": "ann" }), ("limit_email", "invalid")),
        (json!({ "source": "x".repeat(65) }), ("source", "too_long")),
        (json!({ "quantity": "many" }), ("quantity", "param_invalid")),
        (json!({ "quantity": 1.5 }), ("quantity", "param_invalid")),
        (json!({ "amount": 1 }), ("amount", "unknown")),
    ] {
        let answer = admin.post(ADMIN, wish.clone()).await;
        assert_eq!((answer.status, answer.faults()), (422, vec![fault]), "{wish}");
    }
}

async fn what_a_user_may_ask_for() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    assert_eq!(codes(&ann.post(REFERER, json!({ "quantity": 3 })).await).len(), 3);
    assert_eq!(codes(&ann.post(REFERER, json!({ "quantity": 3, "limit_email": "b@example.com" })).await).len(), 1);
    for field in ["times", "valid_time"] {
        assert_eq!(ann.post(REFERER, json!({ field: 2 })).await.faults(), [(field, "not_allowed")]);
    }
    assert_eq!(ann.post(REFERER, json!({ "source": "x" })).await.faults(), [("source", "not_allowed")]);
}

async fn who_may_make_which() {
    let world = World::start().await;
    let (admin, ann, nobody) = (world.admin().await, world.user("ann").await, world.anonymous());
    assert_eq!(ann.post(ADMIN, json!({})).await.refusal(), (403, "forbidden"));
    for path in [ADMIN, REFERER] {
        assert_eq!(nobody.post(path, json!({})).await.refusal(), (401, "token_missing"));
    }
    assert_eq!(codes(&admin.post(REFERER, json!({})).await).len(), 1);
    assert_eq!(admin.post("/account/invite/other/", json!({})).await.faults(), [("which", "unknown")]);
}

async fn anybody_gets_a_code_for_their_address_where_registration_is_open() {
    let house = House::open().await;
    let nobody = house.world.anonymous();
    assert_eq!(nobody.post(AUTO, json!({})).await.faults(), [("limit_email", "missing")]);
    let wish = json!({ "limit_email": "Ann@Example.com" });
    let made = codes(&nobody.post(AUTO, wish.clone()).await);
    assert!(ends_in(&house.world, &made[0], 86_400_000), "{made:?}");
    assert_eq!(codes(&nobody.post(AUTO, wish.clone()).await), made, "asking again makes no other");
    let code = made[0]["code"].as_str().unwrap();
    assert_eq!(house.sign_up(code, "bob@example.com").await.faults(), [("code", "other_address")]);
    house.sign_up(code, "ann@example.com").await.data();
    assert_ne!(codes(&nobody.post(AUTO, wish).await), made, "that one is used up");
}

async fn nobody_gets_themselves_a_code_where_it_is_not() {
    let world = World::start().await;
    let answer = world.anonymous().post(AUTO, json!({ "limit_email": "ann@example.com" })).await;
    assert_eq!(answer.refusal(), (403, "registration_not_open"));
    let admin = world.admin().await;
    assert_eq!(admin.post(AUTO, json!({ "limit_email": "a@b" })).await.refusal(), (403, "registration_not_open"));
}

async fn listed(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/account/invite/{query}")).await.items()
}

async fn codes_are_listed_and_withdrawn_by_who_made_them() {
    let world = World::start().await;
    let (admin, ann, bob) = (world.admin().await, world.user("ann").await, world.user("bob").await);
    let anns = codes(&ann.post(REFERER, json!({ "quantity": 3 })).await);
    codes(&admin.post(ADMIN, json!({ "source": "x", "limit_email": "c@example.com" })).await);
    assert_eq!(listed(&ann, "").await.len(), 3);
    assert!(listed(&bob, "").await.is_empty());
    let of_admin = listed(&admin, "").await;
    let shown = json!({ "type": "admin", "made_by": "account-of-admin", "limit_email": "c@example.com", "times": 1,
        "available_times": 1, "source": "x", "valid_to": null });
    for (field, value) in shown.as_object().unwrap() {
        assert_eq!(&of_admin[0][field], value, "{field}");
    }
    assert_eq!(listed(&admin, "?all=true").await.len(), 4);
    assert_eq!(ann.get("/account/invite/?all=true").await.refusal(), (403, "forbidden"));
    let codes_of = |items: &[Value]| -> BTreeSet<String> { items.iter().map(|item| text(&item["code"])).collect() };
    let made = codes_of(&anns);
    let pages = ann.pages("/account/invite/?limit=2").await;
    assert_eq!((pages.len(), codes_of(&pages)), (3, made.clone()));
    let made: Vec<String> = made.into_iter().collect();
    let path = |n: usize| format!("/account/invite/{}/", made[n]);
    assert_eq!(bob.delete(&path(0)).await.refusal(), (404, "invite_not_found"));
    ann.delete(&path(0)).await.data();
    assert_eq!(ann.delete(&path(0)).await.refusal(), (404, "invite_not_found"));
    admin.delete(&path(1)).await.data();
    assert_eq!(listed(&ann, "").await.len(), 1);
    for path in ["/account/invite/x/", "/account/invite/%00/"] {
        assert_eq!(ann.delete(path).await.refusal(), (404, "invite_not_found"));
    }
    assert_eq!(ann.get("/account/invite/?cursor=eA").await.code(), "cursor_invalid");
}

async fn a_user_has_only_so_many_unused_codes() {
    let world = World::start().await;
    let (admin, ann) = (world.admin().await, world.user("ann").await);
    codes(&ann.post(REFERER, json!({ "quantity": 99 })).await);
    assert_eq!(ann.post(REFERER, json!({ "quantity": 2 })).await.faults(), [("quantity", "too_many_open")]);
    codes(&ann.post(REFERER, json!({})).await);
    assert_eq!(ann.post(REFERER, json!({})).await.faults(), [("quantity", "too_many_open")]);
    for _ in 0..2 {
        codes(&admin.post(REFERER, json!({ "quantity": 100 })).await);
    }
}

async fn a_form_makes_codes_as_well() {
    let world = World::start().await;
    let admin = world.admin().await;
    let made = admin.send("POST", ADMIN, Some(FORM), b"times=4&valid_time=60").await;
    assert_eq!(codes(&made)[0]["available_times"], 4);
}

/// An open server with a verifier that answers this.
async fn guarded(verifier: &HttpSink, plays: Vec<Play>) -> World {
    verifier.script(plays);
    let url = format!("{}/siteverify", verifier.url());
    let world = World::builder().allow(&[]).with(|config| {
        config.registration = Registration::Open;
        config.recaptcha.secret = Some(Secret::new("s3cret & more"));
        config.recaptcha.verify_url = url;
        config.recaptcha.action = Some("invite".to_owned());
    });
    world.start().await
}

async fn a_proof_is_verified() {
    let verifier = HttpSink::start().await;
    let said = |text: &str| Play::json(200, text);
    let world = guarded(
        &verifier,
        vec![
            said(r#"{"success":true,"score":0.9,"action":"invite"}"#),
            said(r#"{"success":true,"score":0.1,"action":"invite"}"#),
            said(r#"{"success":true,"score":0.9,"action":"login"}"#),
            said(r#"{"success":false,"error-codes":["timeout-or-duplicate"]}"#),
        ],
    )
    .await;
    let nobody = world.anonymous();
    let wish = |proof: &str| json!({ "limit_email": "ann@example.com", "recaptcha_response": proof });
    codes(&nobody.post(AUTO, wish("proof & more")).await);
    let asked = verifier.only_request();
    assert_eq!((&*asked.method, &*asked.target), ("POST", "/siteverify"));
    assert_eq!(String::from_utf8_lossy(&asked.body), "secret=s3cret%20%26%20more&response=proof%20%26%20more");
    for _ in 0..3 {
        let answer = nobody.post(AUTO, wish("proof")).await;
        assert_eq!(answer.faults(), [("recaptcha_response", "not_a_person")]);
    }
    for wish in [wish(""), json!({ "limit_email": "ann@example.com" })] {
        assert_eq!(nobody.post(AUTO, wish).await.faults(), [("recaptcha_response", "missing")]);
    }
    assert_eq!(verifier.requests().len(), 4, "nothing is asked without a proof");
}

async fn without_a_verifier_nobody_gets_in() {
    let verifier = HttpSink::start().await;
    let plays = vec![Play::CloseEarly, Play::json(200, r#"{"success":false,"error-codes":["invalid-input-secret"]}"#)];
    let world = guarded(&verifier, plays).await;
    let wish = json!({ "limit_email": "ann@example.com", "recaptcha_response": "proof" });
    for _ in 0..2 {
        let answer = world.anonymous().post(AUTO, wish.clone()).await;
        assert_eq!(answer.refusal(), (503, "busy"));
        assert!(!answer.body.to_string().contains("s3cret"), "{}", answer.body);
    }
    // The exemption is the server's own: a delivery does not reach the verifier's host.
    let ann = world.user("ann").await;
    let pushed = ann.pushed("webhook", json!({ "endpoint": format!("{}/hook", verifier.url()), "x": "y" })).await;
    world.settle().await;
    let task = ann.task(pushed["task_id"].as_str().unwrap()).await;
    assert_eq!(task["error"]["code"], "webhook:address_refused");
}
