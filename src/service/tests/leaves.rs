//! What becomes of leaves, addresses, headers and bodies.

use serde_json::json;

use super::{ENV, HEAD, body, params, request, service};
use crate::service::Service;

const PARAMS: &str = "[params]\nserver = { type = \"url\" }\na = { type = \"text\" }\nn = { type = \"integer\" }\nb = { type = \"boolean\" }\nl = { type = \"list\" }\no = { type = \"object\" }\n";

fn with(rest: &str) -> Service {
    service(&format!("{PARAMS}{rest}"))
}

#[test]
fn a_leaf_that_is_one_expression_keeps_its_type() {
    let service = with(
        "[request]\nurl = \"http://h/\"\n[request.json]\nn = \"{{n}}\"\nb = \"{{ b }}\"\nl = \"{{l}}\"\no = \"{{o}}\"\nh = \"{{int a}}\"\nt = \"{{n}}!\"\nc = [1, \"x\", true]\n",
    );
    let given = json!({"n": 3, "b": false, "l": ["x", 1], "o": {"k": null}, "a": "7"});
    assert_eq!(
        body(&service, given),
        r#"{"n":3,"b":false,"l":["x",1],"o":{"k":null},"h":7,"t":"3!","c":[1,"x",true]}"#
    );
}

#[test]
fn what_comes_out_empty_is_left_out_with_what_it_empties() {
    let service = with(
        "[request]\nurl = \"http://h/\"\nkeep = [\"json.k\", \"json.kl\"]\n[request.json]\nx = \"{{a}}\"\ny = { z = [\"{{a}}\", \"{{n}}\"] }\nk = \"{{a}}\"\nkl = \"{{l}}\"\ne = \"\"\nem = []\no = \"{{o}}\"\nv = [{ image = \"{{a}}\" }]\nf = \"{{b}}\"\n",
    );
    assert_eq!(
        body(&service, json!({"a": "", "l": [], "o": {}, "b": false})),
        r#"{"k":"","kl":[],"e":"","em":[],"f":false}"#
    );
    assert_eq!(body(&service, json!({})), r#"{"k":"","kl":"","e":"","em":[]}"#);
}

#[test]
fn a_default_stands_for_what_is_absent_or_null() {
    let service = service(
        "[params]\na = { type = \"string\", default = \"d\" }\n[request]\nurl = \"http://h/\"\ntext = \"{{a}}{{#if a}}!{{else}}?{{/if}}\"\n",
    );
    assert_eq!(body(&service, json!({})), "d!");
    assert_eq!(body(&service, json!({"a": null})), "d!");
    assert_eq!(body(&service, json!({"a": ""})), "?");
}

#[test]
fn blocks_choose() {
    let service = with(
        "[request]\nurl = \"http://h/\"\ntext = '{{#if (eq n 1)}}one{{else if (eq n 2)}}two{{else}}many{{/if}}{{#unless a}} none{{/unless}}'\n",
    );
    assert_eq!(body(&service, json!({"n": 1})), "one none");
    assert_eq!(body(&service, json!({"n": 2, "a": "x"})), "two");
    assert_eq!(body(&service, json!({"n": 3, "a": "x"})), "many");
}

#[test]
fn a_request_without_a_body_has_no_content_type() {
    let service = with("[request]\nmethod = \"GET\"\nurl = \"http://h/\"\njson = { a = \"{{a}}\" }\n");
    let request = request(&service, json!({})).unwrap();
    assert_eq!((request.body.len(), request.headers), (0, vec![("idempotency-key".into(), "task-1".into())]));
}

#[test]
fn two_full_bodies_are_an_error() {
    let service = with("[request]\nurl = \"http://h/\"\ntext = \"{{a}}\"\nform = { n = \"{{n}}\" }\n");
    assert_eq!(body(&service, json!({"n": 1})), "n=1");
    assert_eq!(body(&service, json!({"a": "x"})), "x");
    assert_eq!(
        request(&service, json!({"a": "x", "n": 1})).unwrap_err().to_string(),
        "request: more than one body came out"
    );
}

#[test]
fn values_in_an_address_stay_in_their_place() {
    let service = with(
        "[request]\nmethod = \"GET\"\nurl = \"{{server}}/a/{{a}}/z?q={{default n a}}\"\n[request.query]\nl = \"{{l}}\"\n",
    );
    for (given, expected) in [
        (json!({"server": "https://H.example/", "a": "b"}), "https://h.example/a/b/z?q=b"),
        (
            json!({"server": "https://h/p/", "a": "x/../y?z#f%2F"}),
            "https://h/p/a/x%2F..%2Fy%3Fz%23f%252F/z?q=x%2F..%2Fy%3Fz%23f%252F",
        ),
        (
            json!({"server": "https://h", "a": "a&b=c +", "l": ["1&2", "é"]}),
            "https://h/a/a%26b%3Dc%20%2B/z?q=a%26b%3Dc%20%2B&l=1%262&l=%C3%A9",
        ),
        (json!({"server": "https://h", "a": "..."}), "https://h/a/.../z?q=..."),
        (json!({"server": "https://h", "a": "@evil.com:1\\\\"}), "https://h/a/@evil.com:1%5C%5C/z?q=@evil.com:1%5C%5C"),
    ] {
        assert_eq!(request(&service, given).unwrap().url, expected);
    }
    for (given, reason) in [
        (json!({"server": "https://h", "a": ".."}), "a segment of the path is `.` or `..`"),
        (json!({"server": "https://h", "a": "."}), "a segment of the path is `.` or `..`"),
        (json!({"server": "https://h"}), "a value in the address is empty"),
        (json!({"a": "x"}), "the base address is empty"),
        (
            json!({"server": "https://h/?x=1", "a": "x"}),
            "the base address holds a query or a fragment, and more is to follow it",
        ),
        (json!({"server": "file:///etc", "a": "x"}), "is not an http or https address with a host"),
        (json!({"server": "nonsense", "a": "x"}), "does not come out as a URL"),
    ] {
        let error = request(&service, given).unwrap_err();
        assert_eq!((error.leaf.as_str(), error.reason.as_ref()), ("request.url", reason));
    }
}

#[test]
fn a_host_cannot_be_left() {
    let service = with("[request]\nurl = \"https://{{a}}.example.com/x\"\n");
    assert_eq!(request(&service, json!({"a": "ok"})).unwrap().url, "https://ok.example.com/x");
    for hostile in ["evil.com/", "evil.com#", "evil.com?", "a@evil.com:80/", "evil.com\\", "a:b@c"] {
        assert!(request(&service, json!({"a": hostile})).is_err(), "{hostile}");
    }
}

#[test]
fn the_query_that_is_there_stays_as_it_is() {
    let service = with("[request]\nmethod = \"GET\"\nurl = \"{{server}}\"\nquery = { a = \"{{a}}\" }\n");
    for (server, expected) in [
        ("http://h", "http://h/?a=%26"),
        ("http://h/?", "http://h/?a=%26"),
        ("http://h/?x=%2f+%20&y", "http://h/?x=%2f+%20&y&a=%26"),
        ("http://h/p#frag", "http://h/p?a=%26"),
    ] {
        assert_eq!(request(&service, json!({"server": server, "a": "&"})).unwrap().url, expected);
    }
}

#[test]
fn header_values_stay_on_their_line_and_names_are_checked() {
    let service = with("[request]\nurl = \"http://h/\"\nheaders = \"{{o}}\"\ntext = \"x\"\n");
    let made = request(
        &service,
        json!({"o": {"X-A": "a\r\nB: c\u{0}", "x-a": " 你 ", "Content-Type": "t/p", "Idempotency-Key": "mine"}}),
    );
    let expected = [("x-a", "你"), ("content-type", "t/p"), ("idempotency-key", "task-1")];
    assert_eq!(made.unwrap().headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for name in ["a b", "a\r\nb", "é", "", "Host", "Content-Length", "transfer-encoding"] {
        let error = request(&service, json!({"o": {name: "geheim"}})).unwrap_err();
        assert_eq!(error.leaf, "request.headers");
        assert!(!error.to_string().contains("geheim"));
    }
}

#[test]
fn a_method_from_a_parameter_is_checked() {
    let service = with("[request]\nmethod = \"{{a}}\"\nurl = \"http://h/\"\n");
    assert_eq!(request(&service, json!({"a": "put"})).unwrap().method, "PUT");
    for hostile in ["CONNECT", "GET / HTTP/1.1\r\nX: y", ""] {
        assert_eq!(request(&service, json!({"a": hostile})).unwrap_err().leaf, "request.method");
    }
}

#[test]
fn destinations_are_host_and_port_in_lower_case() {
    let service = with("[request]\nurl = \"{{server}}/x\"\njson = { a = \"{{int a}}\" }\n");
    for (server, expected) in [
        ("https://API.Example.com", "api.example.com:443"),
        ("http://h:8080/y", "h:8080"),
        ("http://[::1]", "[::1]:80"),
    ] {
        // A leaf outside the address is not looked at: `a` is no number.
        assert_eq!(service.destination(&params(json!({"server": server, "a": "x"}))).as_deref(), Ok(expected));
    }
    let mail = "[params]\nh = { type = \"string\" }\n[mail]\nhost = \"{{h}}\"\nport = \"587\"\nsecurity = \"starttls\"\nfrom = \"a@b\"\nto = \"c@d\"\nsubject = \"s\"\ntext = \"t\"\n";
    let mail = Service::parse("m.toml", &format!("{}{mail}", HEAD.replace("\"http\"", "\"smtp\""))).unwrap();
    assert_eq!(mail.destination(&params(json!({"h": "SMTP.Example.com"}))).as_deref(), Ok("smtp.example.com:587"));
    assert_eq!(mail.destination(&params(json!({"h": "a b"}))).unwrap_err().leaf, "mail.host");
    assert_eq!(mail.render(&params(json!({"h": ""})), &ENV).unwrap_err().leaf, "mail.host");
}

#[test]
fn a_signature_is_left_out_without_a_key_and_refused_with_a_broken_one() {
    let service = with(
        "[request]\nurl = \"http://h/\"\ntext = \"x\"\n[request.sign]\nwith = \"standard_webhooks\"\nkey = \"{{a}}\"\n",
    );
    assert_eq!(request(&service, json!({})).unwrap().headers.len(), 2);
    let signed = request(&service, json!({"a": "raw key"})).unwrap().headers;
    let value = |name: &str| signed.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
    assert_eq!(value("webhook-id"), Some("task-1"));
    assert_eq!(value("webhook-timestamp"), Some("1795248000"));
    assert_eq!(value("webhook-signature"), Some("v1,voONXlX6bHTim1RJFpJYTlOprdyRChMzCoEtfnlWUvI="));
    for (key, reason) in
        [("whsec_g*heim", "what follows `whsec_` is not base64"), ("whsec_", "`whsec_` has no key behind it")]
    {
        let error = request(&service, json!({"a": key})).unwrap_err().to_string();
        assert_eq!(error, format!("request.sign.key: {reason}"));
    }
}
