//! From an invitation to an account: signing up, the mail, confirming, and what becomes of those who do not.

use fanfare::config::Registration;
use fanfare::flow::tidy::tidy;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::text;
use crate::support::newcomer::{House, link_in};
use crate::support::plain;
use crate::support::smtp_sink::Trouble;
use crate::support::world::{PASSWORD, World, both};

both!(
    an_invited_person_signs_up_confirms_and_logs_in,
    the_mail_speaks_the_language_of_the_request,
    two_hundred_at_once_on_a_code_for_five_make_five_accounts,
    an_account_that_is_not_confirmed_in_a_day_goes_and_its_code_is_good_again,
    who_comes_too_late_begins_anew_before_housekeeping_does,
    nobody_has_mails_sent_to_everybody_with_codes_of_their_own,
    housekeeping_on_many_nodes_gives_a_use_back_once,
    a_code_that_is_no_good_is_refused,
    a_code_for_an_address_is_for_no_other,
    a_code_of_somebody_who_is_shut_out_lets_nobody_in,
    an_address_that_has_an_account_gets_the_same_answer_and_a_mail,
    each_mail_confirms_the_password_that_was_given_for_it,
    of_two_passwords_for_one_address_none_comes_into_force_by_itself,
    the_mail_can_be_sent_again_three_times_an_hour,
    a_relay_that_is_down_for_a_while_loses_nothing,
    an_admin_confirms_by_hand,
    without_a_relay_an_admin_must_confirm,
    nobody_signs_up_where_registration_is_closed,
    what_does_not_fit_is_told_by_field,
    a_token_that_is_none_confirms_nothing,
    how_an_account_came_to_be_is_kept,
);

const DAY_MS: i64 = 86_400_000;
const ANN: &str = "ann@example.com";

async fn an_invited_person_signs_up_confirms_and_logs_in() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    let signed_up = house.sign_up(&code.to_lowercase().replace('-', ""), " Ann@Example.com ").await.into_data();
    assert_eq!(signed_up["mail"], true);
    assert!(house.login(ANN, PASSWORD).await.is_none(), "not confirmed yet");
    let mails = house.mails_to(ANN).await;
    assert_eq!((mails.len(), &*mails[0].from), (1, "push@example.org"));
    let kinds: Vec<String> = mails[0].parts().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["text/plain", "text/html"]);
    assert!(mails[0].parts()[0].1.contains(&format!("http://{}/", house.world.address())));
    let link = link_in(&mails[0]);
    let anyone = house.world.anonymous();
    assert_eq!(plain::ask(house.world.address(), "HEAD", &link, &[]).await.status, 405);
    assert!(house.login(ANN, PASSWORD).await.is_none(), "who only looks whether the link is good does not follow it");
    for _ in 0..2 {
        assert_eq!(anyone.get(&link).await.data(), &json!({ "email": ANN }), "programs follow links too");
    }
    let ann = house.login(ANN, PASSWORD).await.expect("a session");
    assert_eq!(ann.get("/account/user/").await.data()["email"], ANN);
    assert_eq!(ann.tasks().await, [Value::Null; 0], "the server's mails are nobody's tasks");
    assert_eq!(house.sign_up(&code, "bob@example.com").await.faults(), [("code", "spent")]);
}

async fn the_mail_speaks_the_language_of_the_request() {
    let house =
        House::of(World::builder().with(|config| config.public_url = Some("https://push.example.org".into()))).await;
    let code = house.code(json!({})).await;
    let body = json!({ "code": code, "email": ANN, "password": PASSWORD }).to_string();
    let headers = [("accept-language", "zh-CN,zh;q=0.9")];
    let anyone = house.world.anonymous();
    let json = Some("application/json");
    anyone.send_with("POST", "/account/user/create/", json, &headers, body.as_bytes()).await.data();
    let mail = &house.mails_to(ANN).await[0];
    assert_eq!(mail.subject(), "激活您的 Fanfare 账号");
    assert!(mail.parts().iter().all(|(_, text)| text.contains("https://push.example.org/account/user/confirm/")));
}

async fn two_hundred_at_once_on_a_code_for_five_make_five_accounts() {
    let house = House::start().await;
    let code = house.code(json!({ "times": 5 })).await;
    let emails: Vec<String> = (0..200).map(|n| format!("user{n}@example.com")).collect();
    let answers = join_all(emails.iter().map(|email| house.sign_up(&code, email))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 5);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.faults(), [("code", "spent")], "{}", answer.body);
    }
    assert_eq!(house.left(&code).await, 0);
    let made = house.admin.get("/account/user/all/?confirmed=false&limit=100").await.items();
    assert_eq!(made.len(), 5);
    house.world.settle().await;
    assert_eq!(house.relay.mails().len(), 5);
}

async fn an_account_that_is_not_confirmed_in_a_day_goes_and_its_code_is_good_again() {
    let house = House::start().await;
    let code = house.code(json!({ "times": 2 })).await;
    house.sign_up(&code, ANN).await.data();
    house.sign_up(&code, "bob@example.com").await.data();
    let (late, in_time) = (house.link(ANN).await, house.link("bob@example.com").await);
    house.world.anonymous().get(&in_time).await.data();
    house.world.forward(DAY_MS - 60_000);
    tidy(house.world.engine()).await.unwrap();
    assert_eq!(house.left(&code).await, 0, "not yet");
    house.world.forward(60_000);
    assert_eq!(house.world.anonymous().get(&late).await.refusal(), (404, "confirm_token_not_found"));
    for _ in 0..2 {
        tidy(house.world.engine()).await.unwrap();
        assert_eq!(house.left(&code).await, 1, "given back once");
    }
    assert_eq!(house.world.anonymous().get(&late).await.refusal(), (404, "confirm_token_not_found"));
    let answer = house.world.anonymous().login(ANN, PASSWORD).await;
    assert_eq!(answer, json!({ "isLogin": false, "isRegistered": false }));
    house.sign_up(&code, ANN).await.data();
    assert!(house.login("bob@example.com", PASSWORD).await.is_some(), "who confirmed stays");
}

async fn who_comes_too_late_begins_anew_before_housekeeping_does() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    house.world.settle().await;
    house.world.forward(DAY_MS);
    house.world.anonymous().post("/account/user/confirm/", json!({ "email": ANN })).await.data();
    assert_eq!(house.mails_to(ANN).await.len(), 1, "no link that would lead nowhere");
    house.sign_up(&code, ANN).await.data();
    assert_eq!(house.left(&code).await, 0);
    let link = house.link(ANN).await;
    house.world.anonymous().get(&link).await.data();
    tidy(house.world.engine()).await.unwrap();
    assert!(house.login(ANN, PASSWORD).await.is_some());
}

async fn nobody_has_mails_sent_to_everybody_with_codes_of_their_own() {
    let house = House::open().await;
    let nobody = house.world.anonymous();
    for n in 0..60 {
        let address = json!({ "email": format!("user{n}@example.com") });
        nobody.post("/account/user/confirm/", address).await.data();
    }
    let made = nobody.post("/account/invite/auto/", json!({ "limit_email": ANN })).await.into_data();
    let own = made["codes"][0]["code"].as_str().unwrap().to_owned();
    assert_eq!(house.sign_up(&own, ANN).await.refusal(), (429, "rate_limited"));
    let given = house.code(json!({})).await;
    house.sign_up(&given, ANN).await.data();
}

async fn housekeeping_on_many_nodes_gives_a_use_back_once() {
    let house = House::start().await;
    let code = house.code(json!({ "times": 3 })).await;
    house.sign_up(&code, ANN).await.data();
    house.sign_up(&code, "bob@example.com").await.data();
    house.world.settle().await;
    house.world.forward(DAY_MS);
    let engine = house.world.engine();
    for done in join_all((0..8).map(|_| tidy(engine))).await {
        done.unwrap();
    }
    assert_eq!(house.left(&code).await, 3);
}

async fn a_code_that_is_no_good_is_refused() {
    let house = House::start().await;
    let (short, gone) = (house.code(json!({ "valid_time": 60 })).await, house.code(json!({})).await);
    house.admin.delete(&format!("/account/invite/{gone}/")).await.data();
    house.world.clock.advance(60_000);
    for (code, reason) in [
        ("", "unknown"),
        ("nonsense", "unknown"),
        ("0000-0000-0000-0000", "unknown"),
        (&gone, "unknown"),
        (&short, "expired"),
    ] {
        assert_eq!(house.sign_up(code, ANN).await.faults(), [("code", reason)], "{code}");
    }
    house.world.settle().await;
    assert!(house.relay.mails().is_empty());
}

async fn a_code_of_somebody_who_is_shut_out_lets_nobody_in() {
    let house = House::start().await;
    let bob = house.world.user("bob").await;
    let made = bob.post("/account/invite/referer/", json!({})).await.into_data();
    let code = text(&made["codes"][0]["code"]);
    let path = format!("/account/user/{}/", text(&bob.get("/account/user/").await.data()["id"]));
    house.admin.patch(&path, json!({ "disabled": true })).await.data();
    assert_eq!(house.sign_up(&code, ANN).await.faults(), [("code", "not_allowed")]);
    house.admin.patch(&path, json!({ "disabled": false })).await.data();
    house.sign_up(&code, ANN).await.data();
}

async fn a_code_for_an_address_is_for_no_other() {
    let house = House::start().await;
    let code = house.code(json!({ "limit_email": " ANN@example.com" })).await;
    assert_eq!(house.sign_up(&code, "bob@example.com").await.faults(), [("code", "other_address")]);
    house.sign_up(&code, "Ann@Example.COM").await.data();
}

async fn an_address_that_has_an_account_gets_the_same_answer_and_a_mail() {
    let house = House::start().await;
    let ann = house.newcomer(ANN).await;
    let code = house.code(json!({ "times": 2 })).await;
    let mut answers = Vec::new();
    for email in [ANN, "bob@example.com"] {
        let mut answer = house.sign_up_with(&code, email, "another password").await;
        let time = answer.body["data"]["confirm_by"].take();
        answers.push((answer.status, answer.body, time.as_str().unwrap().len()));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(house.left(&code).await, 1, "only the new account took a use");
    assert_eq!(house.mails_to(ANN).await.last().unwrap().subject(), "You have a Fanfare account already");
    assert!(house.login(ANN, "another password").await.is_none());
    ann.get("/account/user/").await.data();
    for _ in 0..5 {
        house.sign_up(&code, ANN).await.data();
    }
    assert_eq!(house.mails_to(ANN).await.len(), 1 + 3, "nobody's mailbox is filled this way");
}

async fn each_mail_confirms_the_password_that_was_given_for_it() {
    let house = House::start().await;
    let (first, second) = (house.code(json!({})).await, house.code(json!({})).await);
    house.sign_up_with(&first, ANN, "of the stranger").await.data();
    house.sign_up_with(&second, ANN, "of the owner").await.data();
    let owners = house.link(ANN).await;
    house.sign_up_with(&first, ANN, "of the stranger").await.data();
    assert_eq!(house.mails_to(ANN).await.len(), 3);
    house.world.anonymous().get(&owners).await.data();
    assert!(house.login(ANN, "of the stranger").await.is_none());
    assert!(house.login(ANN, "of the owner").await.is_some());
    assert_eq!((house.left(&first).await, house.left(&second).await), (0, 1), "one account, one use");
}

async fn of_two_passwords_for_one_address_none_comes_into_force_by_itself() {
    let house = House::start().await;
    let code = house.code(json!({ "times": 9 })).await;
    let force = async |email: &str| house.admin.get(&format!("/account/user/confirm/force/?email={email}")).await;
    for (email, passwords) in [
        ("ann@example.com", ["of the owner", "of the stranger"]),
        ("bob@example.com", ["of the stranger", "of the owner"]),
    ] {
        for password in passwords {
            house.sign_up_with(&code, email, password).await.data();
        }
        force(email).await.data();
        for password in passwords {
            assert!(house.login(email, password).await.is_none(), "{email}: {password}");
        }
        house.ask_reset(email).await.data();
        let token = house.reset_token(email).await;
        house.reset(&token, PASSWORD).await.data();
        assert!(house.login(email, PASSWORD).await.is_some());
    }
    // Whoever sends the form twice is the same person.
    for _ in 0..2 {
        house.sign_up(&code, "cid@example.com").await.data();
    }
    force("cid@example.com").await.data();
    assert!(house.login("cid@example.com", PASSWORD).await.is_some());
}

async fn the_mail_can_be_sent_again_three_times_an_hour() {
    let house = House::start().await;
    let again = |email: &'static str| {
        let anyone = house.world.anonymous();
        async move { anyone.post("/account/user/confirm/", json!({ "email": email })).await.into_data() }
    };
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    for _ in 0..5 {
        assert_eq!(again(ANN).await, again("nobody@example.com").await);
    }
    assert_eq!(house.mails_to(ANN).await.len(), 4);
    assert_eq!(house.mails_to("nobody@example.com").await.len(), 0);
    house.world.forward(3_600_000);
    again(ANN).await;
    assert_eq!(house.mails_to(ANN).await.len(), 5);
    let link = house.link(ANN).await;
    house.world.anonymous().get(&link).await.data();
    house.world.forward(3_600_000);
    again(ANN).await;
    assert_eq!(house.mails_to(ANN).await.len(), 5, "there is nothing to confirm any more");
}

async fn a_relay_that_is_down_for_a_while_loses_nothing() {
    let house = House::start().await;
    house.relay.script(vec![Trouble::close("CONNECT"), Trouble::say("END", "451 4.3.0 later")]);
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    let link = house.link(ANN).await;
    house.world.anonymous().get(&link).await.data();
    let failing = house.code(json!({})).await;
    house.relay.script(vec![Trouble::say("RCPT", "550 5.1.1 no such user")]);
    house.sign_up(&failing, "typo@example.com").await.data();
    assert!(house.mails_to("typo@example.com").await.is_empty());
    let tasks = house.admin.get("/task/?all=true&state=failed").await.into_data();
    assert_eq!(tasks["items"][0]["error"]["code"], "mail:relay_refused", "an administrator sees it: {tasks}");
}

async fn an_admin_confirms_by_hand() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    let force = format!("/account/user/confirm/force/?email={ANN}");
    let bob = house.world.user("bob").await;
    assert_eq!(house.world.anonymous().get(&force).await.refusal(), (401, "token_missing"));
    assert_eq!(bob.get(&force).await.refusal(), (403, "forbidden"));
    assert_eq!(house.admin.get("/account/user/confirm/force/").await.faults(), [("email", "param_missing")]);
    let unknown = house.admin.get("/account/user/confirm/force/?email=x@example.com").await;
    assert_eq!(unknown.refusal(), (404, "account_not_found"));
    assert_eq!(house.admin.get(&force).await.data(), &json!({ "email": ANN }));
    assert!(house.login(ANN, PASSWORD).await.is_some());
}

async fn without_a_relay_an_admin_must_confirm() {
    let world = World::start().await;
    let admin = world.admin().await;
    let made = admin.post("/account/invite/admin/", json!({})).await.into_data();
    let wish = json!({ "code": made["codes"][0]["code"], "email": ANN, "password": PASSWORD });
    assert_eq!(world.anonymous().post("/account/user/create/", wish).await.data()["mail"], false);
    for path in ["/account/user/confirm/", "/account/password/reset/"] {
        let answer = world.anonymous().post(path, json!({ "email": ANN })).await;
        assert_eq!(answer.refusal(), (503, "mail_not_configured"), "{path}");
    }
    admin.get(&format!("/account/user/confirm/force/?email={ANN}")).await.data();
    assert_eq!(world.anonymous().login(ANN, PASSWORD).await["isLogin"], true);
}

async fn nobody_signs_up_where_registration_is_closed() {
    let house = House::of(World::builder().with(|config| config.registration = Registration::Closed)).await;
    let refused = (403, "registration_closed");
    assert_eq!(house.sign_up("0000-0000-0000-0000", ANN).await.refusal(), refused);
    let bob = house.world.user("bob").await;
    for (client, kind) in [(&house.admin, "admin"), (&house.admin, "referer"), (&bob, "referer")] {
        assert_eq!(client.post(&format!("/account/invite/{kind}/"), json!({})).await.refusal(), refused, "{kind}");
    }
    let auto = house.world.anonymous().post("/account/invite/auto/", json!({ "limit_email": ANN })).await;
    assert_eq!(auto.refusal(), refused);
}

async fn what_does_not_fit_is_told_by_field() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    for (email, password, fault) in [
        ("ann", PASSWORD, ("email", "invalid")),
        (ANN, "short", ("password", "too_short")),
        ("", PASSWORD, ("email", "invalid")),
    ] {
        assert_eq!(house.sign_up_with(&code, email, password).await.faults(), [fault]);
    }
    let all = house.sign_up_with("no code", "ann", "short").await;
    assert_eq!(all.faults(), [("email", "invalid"), ("password", "too_short"), ("code", "unknown")]);
    let empty = house.world.anonymous().post("/account/user/create/", json!({})).await;
    let missing = ["code", "email", "password"].map(|field| (field, "param_missing"));
    assert_eq!(empty.faults(), missing);
    let taken = json!({ "code": code, "email": ANN, "password": PASSWORD, "role": "admin" });
    assert_eq!(house.world.anonymous().post("/account/user/create/", taken).await.faults(), [("role", "unknown")]);
    assert_eq!(house.left(&code).await, 1);
}

async fn a_token_that_is_none_confirms_nothing() {
    let house = House::start().await;
    let code = house.code(json!({})).await;
    house.sign_up(&code, ANN).await.data();
    let link = house.link(ANN).await;
    let half = &link[..link.len() - 5];
    for path in [half, "/account/user/confirm/0/", "/account/user/confirm/%00/", "/account/user/confirm/FORCE/"] {
        assert_eq!(house.world.anonymous().get(path).await.refusal(), (404, "confirm_token_not_found"), "{path}");
    }
    assert!(house.login(ANN, PASSWORD).await.is_none());
}

async fn how_an_account_came_to_be_is_kept() {
    let house = House::start().await;
    let code = house.code(json!({ "source": "a talk" })).await;
    house.sign_up(&code, ANN).await.data();
    let link = house.link(ANN).await;
    house.world.anonymous().get(&link).await.data();
    let ann = house.login(ANN, PASSWORD).await.unwrap();
    let made = ann.post("/account/invite/referer/", json!({})).await.into_data();
    house.sign_up(made["codes"][0]["code"].as_str().unwrap(), "bob@example.com").await.data();
    let of = |email: &str| {
        let (admin, path) = (&house.admin, format!("/account/user/all/?email={email}"));
        async move { admin.get(&path).await.into_data()["items"][0].clone() }
    };
    let (ann, bob) = (of(ANN).await, of("bob@").await);
    assert_eq!(
        (&ann["source"], &ann["invite_code"], &ann["invited_by"]),
        (&json!("a talk"), &json!(code), &json!("account-of-admin"))
    );
    assert_eq!((&bob["invited_by"], &bob["source"]), (&ann["id"], &Value::Null));
}
