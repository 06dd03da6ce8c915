use super::*;
use crate::domain::id::PusherId;
use crate::domain::refusal::{FieldFault, ParamProblem};

#[test]
fn the_heaviest_language_that_we_speak_wins() {
    let cases = [
        ("", Language::English),
        ("zh", Language::Chinese),
        ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
        ("en-GB,en;q=0.9,zh;q=0.8", Language::English),
        ("en;q=0.1, zh-Hans;q=0.2", Language::Chinese),
        ("fr, de;q=0.9, ZH;q=0.3", Language::Chinese),
        ("fr", Language::English),
        ("*, zh;q=0.5", Language::English),
        ("zh;q=0", Language::English),
        ("zh;q=7", Language::English),
        ("zh ; q=0.4 , en ; q=0.3", Language::Chinese),
        ("zh,en", Language::Chinese),
        ("zh_CN.UTF-8", Language::Chinese),
    ];
    for (header, expected) in cases {
        assert_eq!(Language::from_headers([header]), expected, "{header:?}");
        assert_eq!(Language::from_headers(header.split(',')), expected, "{header:?} on lines of its own");
    }
}

#[tokio::test]
async fn the_language_is_that_of_the_request_and_english_elsewhere() {
    assert_eq!(language(), Language::English);
    assert_eq!(speaking(Language::Chinese, async { language() }).await, Language::Chinese);
}

#[test]
fn every_refusal_has_a_text_in_both_languages() {
    let id = || PusherId::new("p");
    let refusals = [
        Refusal::Params(vec![ParamProblem { param: "title".into(), problem: Problem::Missing }]),
        Refusal::field("name", "empty"),
        Refusal::Fields { fields: vec![FieldFault { field: "name".into(), reason: "empty" }], params: Vec::new() },
        Refusal::BaseUnknown(id()),
        Refusal::Cycle(id()),
        Refusal::ChainTooDeep(8),
        Refusal::GroupInGroup(id()),
        Refusal::GroupEmpty,
        Refusal::GroupFull(5),
        Refusal::TooManyPushers(1000),
        Refusal::MemberNameTaken("a".into()),
        Refusal::PusherInUse { dependents: Vec::new(), others: 1 },
        Refusal::WouldBreak { dependents: Vec::new(), fields: Vec::new(), params: Vec::new() },
        Refusal::ProtectedNotShared,
        Refusal::BaseNotPublic(id()),
        Refusal::AddressIsFinal(id()),
        Refusal::SharedIsFinal,
        Refusal::WrongState("running"),
        Refusal::IdempotencyMismatch,
        Refusal::RegistrationClosed,
        Refusal::RegistrationNotOpen,
        Refusal::MailNotConfigured,
        Refusal::LastAdmin,
    ];
    for case in &refusals {
        let (english, chinese) = (refusal(Language::English, case), refusal(Language::Chinese, case));
        assert!(english.is_ascii() && !english.is_empty(), "{english}");
        assert!(!chinese.is_ascii(), "{chinese}");
    }
}

#[test]
fn several_problems_become_one_sentence() {
    let problems = [("title", &Problem::Missing), ("p1.sound", &Problem::NotOneOf(vec!["a".into(), "b".into()]))];
    assert_eq!(
        param_list(Language::English, problems.into_iter()),
        "title: is required; p1.sound: must be one of: a, b"
    );
    assert_eq!(param_list(Language::Chinese, problems.into_iter()), "title: 必填；p1.sound: 只能是以下之一：a、b");
}

#[test]
fn every_problem_has_a_text_in_both_languages() {
    let words = || vec!["a".to_owned()];
    let problems = [
        Problem::Missing,
        Problem::NotA(ParamType::Integer),
        Problem::NotOne(ParamType::String),
        Problem::TooLong(5),
        Problem::NotOneOf(words()),
        Problem::Below("1".into()),
        Problem::Above("9".into()),
        Problem::SchemeNotIn(words()),
        Problem::Entry(2, Box::new(Problem::NotA(ParamType::Email))),
        Problem::BadName,
        Problem::Reserved,
        Problem::Unfilled(3),
        Problem::UnknownMember,
        Problem::NotInsertable,
        Problem::HoldsNul,
        Problem::BadDelay,
        Problem::BadAt,
        Problem::AtInPast,
        Problem::AtTooFar,
        Problem::DelayAndAt,
        Problem::TooLarge(65_536),
        Problem::TooMany(64),
        Problem::BadKey,
    ];
    for case in &problems {
        let (english, chinese) = (problem(Language::English, case), problem(Language::Chinese, case));
        assert!(english.is_ascii() && english.len() > 3, "{english}");
        assert!(!chinese.is_ascii(), "{chinese}");
    }
}

#[test]
fn every_reason_that_a_field_is_refused_for_has_a_text_in_both_languages() {
    let rules = [
        include_str!("../domain/account.rs"),
        include_str!("../domain/invite.rs"),
        include_str!("../domain/pusher/valid.rs"),
        include_str!("../flow/enroll.rs"),
        include_str!("../flow/invite.rs"),
        include_str!("../flow/login.rs"),
        include_str!("../flow/tokens.rs"),
        include_str!("times.rs"),
    ];
    for reason in [
        "bad_name",
        "dotted",
        "duplicate",
        "empty",
        "expired",
        "invalid",
        "missing",
        "not_a_person",
        "not_a_time",
        "not_allowed",
        "not_dotted",
        "not_with_quantity",
        "other_address",
        "out_of_range",
        "reserved",
        "spent",
        "taken",
        "too_long",
        "too_many",
        "too_many_open",
        "too_short",
        "unknown",
        "unknown_member",
        "wrong",
    ] {
        let quoted = format!("\"{reason}\"");
        assert!(rules.iter().any(|text| text.contains(&quoted)), "nobody is refused for {reason}");
        let (english, chinese) =
            (field_reason(Language::English, "f", reason), field_reason(Language::Chinese, "f", reason));
        assert!(english.contains(' ') && english.is_ascii(), "{reason}: {english}");
        assert!(!chinese.is_ascii(), "{reason}: {chinese}");
    }
}

#[test]
fn what_a_field_must_be_is_said_by_its_name() {
    for (field, reason, said) in [
        ("pushers.0.name", "bad_name", "must be a letter a-z, then"),
        ("name", "invalid", "holds a control character"),
        ("param_map.a", "invalid", "must be a list of targets"),
        ("param_map.a", "empty", "must name at least one target"),
        ("param_map.name", "bad_name", "is not the name of a parameter"),
        ("param_map.a", "reserved", "is a reserved name"),
        ("redefine_content", "empty", "cannot be empty: leave it out or send null"),
        ("limit_email", "invalid", "must be a mail address"),
        ("which", "unknown", "must be auto, referer or admin"),
        ("name", "empty", "is required"),
    ] {
        let english = field_reason(Language::English, field, reason);
        assert!(english.starts_with(said), "{field} {reason}: {english}");
        assert!(!field_reason(Language::Chinese, field, reason).is_ascii(), "{field} {reason}");
    }
}
