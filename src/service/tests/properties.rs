//! Whatever a parameter holds, the request keeps its shape.

use std::sync::LazyLock;

use ::url::Url;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ENV, request, service};
use crate::domain::delivery::{Outgoing, Request};
use crate::domain::params::{ParamType, Params};
use crate::service::{Catalogue, Service};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// The kinds and keys of a value, without its texts.
fn shape(value: &Value) -> Value {
    match value {
        // Slack is told whether a text holds signs.
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), if key == "mrkdwn" { "boolean".into() } else { shape(value) }))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        other => other.clone(),
    }
}

/// All of a request that parameters must not change.
fn outline(request: &Request) -> (String, String, usize, Vec<String>, Vec<String>, Value) {
    let url = Url::parse(&request.url).unwrap();
    let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let headers = request.headers.iter().map(|(name, value)| {
        assert!(!value.chars().any(char::is_control), "{name}: {value:?}");
        name.clone()
    });
    (
        request.method.clone(),
        format!("{}{}{:?}", url.scheme(), url.authority(), url.fragment()),
        url.path().split('/').count(),
        url.query_pairs().map(|(name, _)| name.into_owned()).collect(),
        headers.collect(),
        shape(&body),
    )
}

/// Every text that a Service takes set to `x` and what `fill` gives.
fn filled(service: &Service, format: &str, fill: &str) -> Params {
    let mut params = Params::new();
    for spec in &service.spec.params {
        let value = match spec.kind {
            ParamType::String | ParamType::Text => json!(format!("x{fill}")),
            ParamType::List => json!([format!("x{fill}"), "y"]),
            ParamType::Integer => json!(1),
            ParamType::Boolean => json!(true),
            ParamType::Url if spec.required || spec.name == "server" => json!("https://h.example/p"),
            ParamType::Enum if spec.name == "format" => json!(format),
            _ => continue,
        };
        params.insert(spec.name.clone(), value);
    }
    params
}

fn rendered(service: &Service, params: &Params) -> Request {
    match service.render(params, &ENV).unwrap() {
        Outgoing::Http(request) => request,
        Outgoing::Mail(_) => panic!("a mail"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_changes_the_shape_of_a_channels_request(
        fill in "(?s).{0,40}|[\"\\\\/?#&=%{}<>\r\n.@:|*_`\\[\\]()-]{1,40}",
        format in prop::sample::select(vec!["text", "markdown", "html"]),
    ) {
        for id in ["bark", "ntfy", "gotify", "telegram", "discord", "slack", "wecom_bot", "dingtalk_bot", "feishu_bot", "serverchan"] {
            let service = CATALOGUE.get(id).unwrap();
            let plain = rendered(&service, &filled(&service, format, "y"));
            let hostile = rendered(&service, &filled(&service, format, &fill));
            prop_assert_eq!(outline(&plain), outline(&hostile), "{} with {:?}", id, fill);
        }
    }

    #[test]
    fn every_place_holds_exactly_the_value(value in "(?s).{1,40}|[./%?#&+ ]{1,6}") {
        let service = service(
            "[params]\na = { type = \"text\" }\n[request]\nmethod = \"{{#if a}}PUT{{/if}}\"\nurl = \"http://h/p/x{{a}}/end\"\n[request.query]\nq = \"{{a}}\"\nr = \"<{{a}}>\"\n[request.headers]\nx-a = \"{{a}}\"\n[request.json]\na = \"{{a}}\"\nb = [{ c = \"<{{a}}>\" }]\n",
        );
        let request = request(&service, json!({"a": value})).unwrap();
        let url = Url::parse(&request.url).unwrap();
        let segments: Vec<String> = url.path_segments().unwrap()
            .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8().unwrap().into_owned())
            .collect();
        prop_assert_eq!(segments, ["p".to_owned(), format!("x{value}"), "end".to_owned()]);
        let query: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        prop_assert_eq!(query, [("q".to_owned(), value.clone()), ("r".to_owned(), format!("<{value}>"))]);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        prop_assert_eq!(body, json!({"a": value, "b": [{"c": format!("<{value}>")}]}));
        let header = request.headers.iter().find(|(name, _)| name == "x-a").map(|(_, value)| value.clone());
        let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        prop_assert_eq!(header.unwrap(), line.trim());
    }

    #[test]
    fn a_form_holds_exactly_the_values(name in "(?s).{1,10}", value in "(?s).{0,40}") {
        let service = service("accepts_any = true\n[request]\nurl = \"http://h/\"\nform = \"{{extra}}\"\n");
        let request = request(&service, json!({&name: &value})).unwrap();
        let pairs: Vec<_> = ::url::form_urlencoded::parse(&request.body).into_owned().collect();
        prop_assert_eq!(pairs, [(name, value)]);
    }

    #[test]
    fn any_text_is_either_compiled_or_refused(source in "[{}()#/~>&*!@\"' a-z]{0,80}") {
        let _ = crate::service::template::Leaf::compile(
            &source,
            crate::service::template::Names { params: &[], accepts_any: true },
        );
    }
}
