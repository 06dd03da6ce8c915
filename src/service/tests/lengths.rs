//! What is too long for a channel is cut, and what belongs to it is not: the link, and who is mentioned.

use serde_json::{Value, json};

use super::body;
use crate::service::{Catalogue, Service};

const URL: &str = "https://grafana.example.org/d/abc?orgId=1";

/// An embedded channel with a limit.
struct Channel {
    id: &'static str,
    /// What it cannot do without, and whom it mentions.
    needs: Value,
    /// Where a text stands.
    at: &'static str,
    /// How somebody is mentioned in it.
    mention: &'static str,
    limit: usize,
    measure: fn(&str) -> usize,
}

fn channels() -> Vec<Channel> {
    let channel = |id, needs, at, mention, limit, measure| Channel { id, needs, at, mention, limit, measure };
    let webhook = json!({ "webhook_url": "https://h/x" });
    let ding = json!({ "access_token": "t", "at_mobiles": ["13800000000"] });
    let feishu = json!({ "hook_id": "h", "at_all": true });
    vec![
        channel("telegram", json!({ "token": "t", "chat_id": "1" }), "/text", "", 4096, |text| {
            text.encode_utf16().count()
        }),
        channel("discord", webhook.clone(), "/content", "", 2000, |text| text.chars().count()),
        channel("slack", webhook, "/text", "", 40_000, |text| text.chars().count()),
        channel("wecom_bot", json!({ "key": "k" }), "/text/content", "", 2048, str::len),
        channel("dingtalk_bot", ding, "/text/content", "@13800000000", 17_000, in_json),
        channel("feishu_bot", feishu, "/content/text", "<at user_id=\"all\">all</at>", 18_000, in_json),
    ]
}

/// Bytes of a text in JSON, without its quotes.
fn in_json(text: &str) -> usize {
    json!(text).to_string().len() - 2
}

/// Texts of one sort that are too long for all of them.
fn long() -> [String; 4] {
    ["x".repeat(60_000), "磁盘💥".repeat(16_000), "\"\\\n".repeat(20_000), "\u{1}a".repeat(30_000)]
}

fn with(needed: &Value, more: &Value) -> Value {
    let all = [needed, more].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(all.map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[test]
fn a_long_text_keeps_its_title_its_link_and_its_mentions() {
    let catalogue = Catalogue::embedded().unwrap();
    for Channel { id, needs, at, mention, limit, measure } in channels() {
        for content in long() {
            let given = with(&needs, &json!({ "title": "Disk", "content": content, "url": URL }));
            let sent = sent(&catalogue.get(id).unwrap(), &given);
            let text = sent.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{id}: {sent}"));
            assert!(text.contains("Disk") && text.contains(URL) && text.contains(mention), "{id}: {text}");
            assert!(text.contains('…'), "{id}");
            assert!((limit * 9 / 10..=limit).contains(&measure(text)), "{id}: {}", measure(text));
        }
    }
}

#[test]
fn a_long_markdown_keeps_them_as_well() {
    let catalogue = Catalogue::embedded().unwrap();
    let needs = |id: &str| channels().into_iter().find(|channel| channel.id == id).unwrap().needs;
    for (id, more, at, mention, limit, spelled) in [
        ("wecom_bot", json!({ "mentioned_list": ["@all"] }), "/markdown/content", "<@@all>", 4096, false),
        ("dingtalk_bot", json!({}), "/markdown/text", "@13800000000", 17_000, true),
        ("feishu_bot", json!({}), "/card/elements/0/content", "<at id=all></at>", 17_000, true),
        ("discord", json!({}), "/content", "", 2000 * 4, false),
    ] {
        for content in long() {
            let more = with(&more, &json!({ "content": content, "url": URL, "format": "markdown" }));
            let given = with(&needs(id), &more);
            let sent = sent(&catalogue.get(id).unwrap(), &given);
            let text = sent.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{id}: {sent}"));
            assert!(text.contains(URL) && text.contains(mention), "{id}: {text}");
            let length = if spelled { in_json(text) } else { text.len() };
            assert!(length <= limit, "{id}: {length}");
        }
    }
}

#[test]
fn what_telegram_shows_is_never_too_long_and_never_cut_without_need() {
    let catalogue = Catalogue::embedded().unwrap();
    let telegram = catalogue.get("telegram").unwrap();
    let text = |given: Value| {
        let given = with(&json!({ "token": "t", "chat_id": "1" }), &given);
        sent(&telegram, &given)["text"].as_str().unwrap().to_owned()
    };
    let shown = |html: &str| {
        let tags = regex::Regex::new("<[^>]*>").unwrap();
        let entities = regex::Regex::new("&[a-z#0-9]+;").unwrap();
        entities.replace_all(&tags.replace_all(html, ""), "&").encode_utf16().count()
    };
    let list = (0..2000).map(|n| format!("{n}. **a<b** & _c_\n")).collect::<String>();
    for content in long().into_iter().chain([list, "<b>1 &amp; 2</b><br>".repeat(900), "1. a\n".repeat(900)]) {
        for format in ["markdown", "html"] {
            let html = text(json!({ "content": content, "format": format, "url": URL, "title": "T".repeat(300) }));
            assert!((3500..=4096).contains(&shown(&html)), "{format}: {}: {html}", shown(&html));
            assert!(html.contains(URL), "{html}");
            for tag in ["b", "i"] {
                let count = |mark: String| html.matches(&mark).count();
                assert_eq!(count(format!("<{tag}>")), count(format!("</{tag}>")), "{html}");
            }
        }
    }
    let fits = "满".repeat(4090);
    assert_eq!(text(json!({ "content": fits, "format": "markdown" })), fits);
}

/// The JSON that goes to a channel, whose defaults fill in.
fn sent(service: &Service, given: &Value) -> Value {
    let defaults = service.spec.params.iter().filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)));
    let given = with(&Value::Object(defaults.collect()), given);
    serde_json::from_str(&body(service, given)).unwrap()
}
