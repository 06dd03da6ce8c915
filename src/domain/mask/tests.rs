//! Nothing of a secret is left, and enough to tell two apart.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn spec(name: &str, kind: ParamType, secret: bool) -> ParamSpec {
    ParamSpec { secret, ..ParamSpec::plain(name, kind) }
}

fn redactor(kind: ParamType, value: Value) -> Redactor {
    let params = vec![spec("key", kind, true), spec("title", ParamType::String, false)];
    let service = ServiceSpec { id: "s".into(), accepts_any: false, params };
    let mut given = Params::from_iter([("title".to_owned(), json!("a title in clear"))]);
    given.insert("key".into(), value);
    Redactor::new(&service, &given, [])
}

#[test]
fn both_ends_of_a_long_secret_are_shown() {
    for (secret, shown) in [
        ("F8QabcdefghijklVvue", "F8Q****vue"),
        ("", "****"),
        ("short", "****"),
        ("elevenchars", "****"),
        ("twelve chars", "tw****rs"),
        ("密密密密密密密密密密密密密密密密密密", "密密密****密密密"),
    ] {
        assert_eq!(mask(secret), shown, "{secret}");
    }
}

#[test]
fn a_masked_url_is_a_url() {
    for (secret, shown) in [
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/****"),
        ("https://user:pass@example.org:8443/x?access_token=1", "https://example.org:8443/****"),
        ("http://[::1]:80/key", "http://[::1]/****"),
        ("not a url at all, no", "not**** no"),
        ("mailto:someone@example.org", "mai****org"),
    ] {
        assert_eq!(mask_url(secret), shown, "{secret}");
    }
    assert!(Url::parse(&mask_url("https://hooks.slack.com/a")).is_ok());
}

#[test]
fn only_secret_values_are_masked_whatever_their_type() {
    let masked = |kind, value: Value| mask_value(&spec("p", kind, true), &value);
    assert_eq!(masked(ParamType::String, json!("F8QabcdefghijklVvue")), json!("F8Q****vue"));
    assert_eq!(masked(ParamType::Url, json!("https://a.org/key")), json!("https://a.org/****"));
    assert_eq!(masked(ParamType::Integer, json!(123_456)), json!("****"));
    assert_eq!(
        masked(ParamType::Object, json!({"Authorization": "Bearer x", "n": null})),
        json!({"Authorization": "****", "n": null})
    );
    assert_eq!(masked(ParamType::List, json!(["+4912345", ["x"]])), json!(["****", ["****"]]));
    assert_eq!(mask_value(&spec("p", ParamType::String, false), &json!("in clear")), json!("in clear"));
}

#[test]
fn of_an_address_that_is_no_secret_the_password_is_masked() {
    let endpoint = spec("endpoint", ParamType::Url, false);
    for (given, shown) in [
        ("https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("https://example.com/@ann", "https://example.com/@ann"),
        ("https://ann@example.com", "https://ann@example.com"),
        ("https://ann:pass@example.com:8443/a?b=c", "https://ann:****@example.com:8443/a?b=c"),
        ("https://:pass@example.com/", "https://:****@example.com/"),
        ("https://ann:<_0>@example.com/", "https://ann:****@example.com/"),
        ("https://ann:pass@<_0>/", "htt****0>/"),
    ] {
        assert_eq!(mask_value(&endpoint, &json!(given)), shown);
    }
}

#[test]
fn every_form_of_a_secret_is_struck_out() {
    let secret = "s3cr+t/ke\"y é?";
    let redactor = redactor(ParamType::String, json!(secret));
    for form in [
        secret.to_owned(),
        "s3cr%2Bt%2Fke%22y%20%C3%A9%3F".to_owned(),
        "s3cr%2bt%2fke%22y%20%c3%a9%3f".to_owned(),
        "s3cr%2Bt%2Fke%22y+%C3%A9%3F".to_owned(),
        "s3cr+t/ke\\\"y é?".to_owned(),
        "s3cr+t\\/ke\\\"y é?".to_owned(),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ] {
        let masked = mask(secret);
        assert_eq!(redactor.redact(&format!("[{form}] and {form}")), format!("[{masked}] and {masked}"), "{form}");
    }
    assert_eq!(redactor.redact("a title in clear"), "a title in clear");
    let quoted = self::redactor(ParamType::String, json!("abc\""));
    assert_eq!(quoted.redact(r#"{"k":"abc\""}"#), r#"{"k":"****"}"#);
}

#[test]
fn a_secret_is_struck_out_of_what_other_programs_make_of_it() {
    let secret = "s3cr<t> \"k'y\"&more/=";
    let redactor = redactor(ParamType::String, json!(secret));
    let json = json!(secret).to_string();
    let twice = json!(json).to_string();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = utf8_percent_encode(secret, UNRESERVED).to_string();
    for form in [
        twice[3..twice.len() - 3].to_owned(),
        "s3cr&lt;t&gt; &quot;k&#39;y&quot;&amp;more/=".to_owned(),
        hex.to_uppercase(),
        hex,
        percent.replace('%', "%25"),
    ] {
        assert_eq!(redactor.redact(&format!("[{form}]")), format!("[{}]", mask(secret)), "{form}");
    }
    let basic = STANDARD.encode(format!("ann:{secret}"));
    assert!(redactor.redact(&format!("Basic {basic}")).len() <= "Basic YW5u********".len() + 4);
}

#[test]
fn a_secret_is_struck_out_as_other_libraries_write_it() {
    let secret = "p:a@s/s<w>&r'd\"+é`";
    let redactor = redactor(ParamType::String, json!(secret));
    for form in [
        r#"p:a@s/s\u003cw\u003e\u0026r'd\"+é`"#,
        r#"p:a@s/s\u003Cw\u003E\u0026r\u0027d\u0022\u002B\u00E9\u0060"#,
        r#"p:a@s\/s\u003Cw\u003E\u0026r\u0027d\u0022\u002B\u00e9\u0060"#,
        "p:a@s%2Fs%3Cw%3E%26r%27d%22%2B%C3%A9%60",
        "p:a@s%2fs%3cw%3e%26r%27d%22%2b%c3%a9%60",
    ] {
        assert_eq!(redactor.redact(&format!("<{form}>")), format!("<{}>", mask(secret)), "{form}");
    }
    let path = self::redactor(ParamType::String, json!("a:b c!d$e*f(g)h~i"));
    assert_eq!(path.redact("/p/a:b%20c%21d%24e%2Af%28g%29h~i/x"), format!("/p/{}/x", mask("a:b c!d$e*f(g)h~i")));
    assert_eq!(path.redact("?k=a%3Ab+c%21d%24e*f%28g%29h%7Ei"), format!("?k={}", mask("a:b c!d$e*f(g)h~i")));
}

#[test]
fn a_token_is_struck_out_without_what_stands_around_it() {
    let redactor = redactor(ParamType::String, json!("Bearer tk_0123456789abc; application/x-www-form-urlencoded"));
    let told = "tk_0123456789abc is wrong; urlencoded, Bearer and x-www-form-urlencoded are not";
    assert_eq!(redactor.redact(told), "**** is wrong; urlencoded, Bearer and x-www-form-urlencoded are not");
    let redactor = self::redactor(ParamType::Url, json!("https://hooks.example-12345.com/services/T0123456789AB"));
    assert_eq!(redactor.redact("T0123456789AB at hooks.example-12345.com"), "**** at hooks.example-12345.com");
}

#[test]
fn a_password_in_an_address_that_is_no_secret_is_struck_out() {
    let params = vec![spec("endpoint", ParamType::Url, false)];
    let service = ServiceSpec { id: "s".into(), accepts_any: false, params };
    let given = Params::from_iter([("endpoint".to_owned(), json!("https://ann:hunter%202@example.org/path"))]);
    let redactor = Redactor::new(&service, &given, []);
    assert_eq!(redactor.redact("/path of ann with hunter 2, hunter%202"), "/path of ann with ****, ****");
    assert!(!redactor.redact(&STANDARD.encode("ann:hunter 2")).contains("aHVudGVy"));
}

#[test]
fn a_secret_url_is_struck_out_without_its_host_too() {
    let redactor = redactor(ParamType::Url, json!("https://hooks.slack.com/services/T0/xyz?k=1"));
    assert_eq!(
        redactor.redact("POST https://hooks.slack.com/services/T0/xyz?k=1 failed"),
        "POST https://hooks.slack.com/**** failed"
    );
    assert_eq!(redactor.redact("no /services/T0/xyz?k=1 here"), "no /**** here");
    assert_eq!(redactor.redact("https://hooks.slack.com/ is up"), "https://hooks.slack.com/ is up");
}

#[test]
fn secrets_inside_lists_and_objects_and_the_longest_first() {
    let redactor = redactor(ParamType::Object, json!({"a": ["abcd", "abcdefgh"], "n": 123_456, "x": "abc"}));
    assert_eq!(redactor.redact("abcd abcdefgh 123456 abc"), "**** **** **** abc");
}

proptest! {
    #[test]
    fn no_base64_around_a_secret_gives_it_away(
        secret in "[a-zA-Z0-9/+ é]{8,40}", before in "[a-z]{0,7}", after in "[a-z]{0,7}", engine in 0usize..4,
    ) {
        let engine = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD][engine];
        let redactor = redactor(ParamType::String, json!(secret));
        let encoded = engine.encode(format!("{before}{secret}{after}"));
        let redacted = redactor.redact(&encoded);
        // What is left are the neighbours, and at most two letters at each edge of the secret.
        let left: usize = redacted.replace(STARS, "").chars().count();
        prop_assert!(redacted.contains(STARS), "{} in {}", redacted, encoded);
        prop_assert!(left <= (before.len() + after.len()) * 4 / 3 + 10, "{} in {}", redacted, encoded);
    }

    #[test]
    fn a_mask_shows_at_most_a_third(secret in "\\PC{0,60}") {
        let shown = mask(&secret).chars().count() - STARS.len();
        prop_assert!(shown * 3 <= secret.chars().count());
    }

    #[test]
    fn what_was_secret_is_not_in_the_text_afterwards(secret in "[a-z/+ \"é]{4,30}", before in "[A-Z]{0,9}", after in "[A-Z]{0,9}") {
        let redactor = redactor(ParamType::String, json!(secret));
        let redacted = redactor.redact(&format!("{before}{secret}{after}"));
        prop_assert_eq!(redacted, format!("{before}{}{after}", mask(&secret)));
    }
}
