//! A secret is planted wherever a secret can be given, channels repeat it in every encoding, and then everything that the
//! server keeps, says or logs is searched for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use fanfare::store::backup;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::log::Log;
use crate::support::plain;
use crate::support::smtp_sink::SmtpSink;
use crate::support::world::{World, both, holds, webhook, with};

both!(a_planted_secret_is_found_nowhere);

/// No encoding but base64 and hexadecimal changes this; a mask would show nothing of it.
const MIDDLE: &str = "Pl4ntedS3cretThatNobodyReads";
/// Between what encodings change.
const SECRET: &str = "a+/\"é&Pl4ntedS3cretThatNobodyReads=%\\Z";
/// What is sent is no less private where it is kept, although its owner reads it.
const CONTENT: &str = "C0ntentThatNobodyElseReads";

/// A Service that puts its secret into every part of a request.
const EVERYWHERE: &str = r#"
id = "everywhere"
name = "Everywhere"
docs = "https://example.com/"
category = "web"
transport = "http"

[params]
server = { type = "url", required = true, accepts = ["http", "https"], help = "Where to" }
key = { type = "string", required = true, secret = true, help = "The secret" }
method = { type = "enum", enum = ["POST", "GET"], default = "POST", help = "Method" }
content = { type = "text", help = "The message" }

[request]
method = "{{method}}"
url = "{{server}}/in/{{key}}/path"
headers = { x-key = "Bearer {{key}}" }
query = { key = "{{key}}" }
json = '{{when (eq method "POST") (object key key content content)}}'
"#;

/// What must not be found: the secret as it is, in hexadecimal, and in base64 wherever in a text it begins.
fn needles(secret: &str) -> Vec<Vec<u8>> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut needles = vec![secret.to_owned(), hex.to_uppercase(), hex];
    for before in 0..3 {
        let bytes = ["..".as_bytes()[..before.min(2)].to_vec(), secret.as_bytes().to_vec()].concat();
        let standard = STANDARD_NO_PAD.encode(&bytes);
        let whole = &standard[(before * 8).div_ceil(6)..bytes.len() * 8 / 6];
        needles.push(whole.to_owned());
    }
    needles.into_iter().map(String::into_bytes).collect()
}

fn assert_absent(needles: &[Vec<u8>], place: &str, hay: &[u8]) {
    for needle in needles {
        if let Some(at) = hay.windows(needle.len()).position(|window| window == needle) {
            let around = &hay[at.saturating_sub(200)..hay.len().min(at + needle.len() + 100)];
            panic!("{place} shows {}: {}", String::from_utf8_lossy(needle), String::from_utf8_lossy(around));
        }
    }
}

/// What channels answer: the secret, as one repeats it that knows no better.
fn echoes() -> Vec<Play> {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut texts = vec![SECRET.to_owned(), hex.to_uppercase(), hex, percent.clone(), percent.replace('%', "%25")];
    texts.push(json!({ "you": { "sent": json!({ "key": SECRET }).to_string() } }).to_string());
    texts.push(SECRET.replace('&', "&amp;").replace('"', "&quot;"));
    for before in ["", "x", "xy"] {
        for after in ["", "z", "zz"] {
            let wrapped = format!("{before}{SECRET}{after}");
            texts.extend([STANDARD_NO_PAD.encode(&wrapped), URL_SAFE_NO_PAD.encode(&wrapped)]);
        }
    }
    let mut plays = Vec::new();
    for text in texts {
        plays.push(Play::json(200, &json!({ "echo": text }).to_string()));
        plays.push(Play::json(400, &json!({ "code": text, "error": text, "message": text }).to_string()));
        plays.push(Play::json(401, &text));
    }
    plays.push(Play::status(302).with_header("location", &format!("https://elsewhere.example/?next={percent}")));
    plays.push(Play::status(500).with_header("x-echo", &percent).with_header("retry-after", &percent));
    plays.push(Play::CloseEarly);
    plays.push(Play::CloseInBody(200));
    plays
}

/// Ann's installation with the secret in Presets and a Group, and what was pushed with it.
struct Planted {
    world: World,
    ann: Client,
    preset: String,
    group: String,
    tasks: Vec<String>,
    pushes: Vec<String>,
    said: Vec<Value>,
}

async fn plant(folder: &Arc<TempDir>) -> Planted {
    std::fs::create_dir(folder.path().join("services")).unwrap();
    std::fs::write(folder.path().join("services/everywhere.toml"), EVERYWHERE).unwrap();
    let world = World::builder().retry_waits_ms(&[]).start_in(Arc::clone(folder)).await;
    let sink = HttpSink::start().await;
    let ann = world.user("ann").await;
    let params = json!({ "server": sink.url(), "key": SECRET, "content": CONTENT });
    let preset = ann.preset("everywhere", params.clone()).await;
    let member = json!({ "name": "m", "base_pusher": "everywhere", "params": params });
    let group = ann.group(json!({ "pushers": [member] })).await;
    let mut planted = Planted { world, ann, preset, group, tasks: Vec::new(), pushes: Vec::new(), said: Vec::new() };
    for play in echoes() {
        for method in ["POST", "GET"] {
            sink.script(vec![play.clone()]);
            planted.push(&planted.preset.clone(), json!({ "method": method })).await;
        }
    }
    let direct = json!({ "server": sink.url(), "key": SECRET, "delay": 3600, "content": CONTENT });
    planted.push("everywhere", direct).await;
    planted.push(&planted.group.clone(), json!({ "delay": 3600 })).await;
    let signed = with(webhook(&sink), json!({ "secret": SECRET, "headers": { "x-key": SECRET }, "content": CONTENT }));
    sink.script(vec![Play::json(400, SECRET)]);
    planted.push("webhook", signed).await;
    let with_password = format!("http://ann:{MIDDLE}@127.0.0.1:{}/", sink.port());
    sink.script(vec![Play::json(400, &STANDARD_NO_PAD.encode(format!("ann:{MIDDLE}")))]);
    planted.push("everywhere", json!({ "server": with_password, "key": SECRET })).await;
    planted.refused().await;
    planted.mail().await;
    planted
}

impl Planted {
    async fn push(&mut self, pusher: &str, params: Value) {
        let pushed = self.ann.pushed(pusher, params).await;
        self.world.settle().await;
        self.pushes.push(text(&pushed["push_id"]));
        let ids = pushed["tasks"].as_array().map(|tasks| tasks.iter().map(|task| text(&task["task_id"])).collect());
        self.tasks.extend(ids.unwrap_or_else(|| vec![text(&pushed["task_id"])]));
        self.said.push(pushed);
    }

    /// Mail: a login with the password, which the relay repeats.
    async fn mail(&mut self) {
        let relay = SmtpSink::start().await.with_login("ann@example.org", "another");
        let params = json!({
            "host": "127.0.0.1", "port": relay.relay().port, "security": "none", "from": "push@example.org",
            "to": "bob@example.net", "username": "ann@example.org", "password": SECRET, "content": CONTENT,
        });
        self.push("email", params).await;
    }

    /// What is refused must not repeat it either; nor a preview.
    async fn refused(&mut self) {
        let path = format!("/pusher/{}/preview/", self.preset);
        for (path, params) in [
            (path, json!({ "content": CONTENT })),
            (format!("/push/{}/", self.preset), json!({ "key": { "deep": SECRET } })),
            (format!("/push/{}/", self.preset), json!({ "key": [SECRET], "server": "not a url" })),
            ("/push/everywhere/".to_owned(), json!({ "key": SECRET })),
            ("/push/email/".to_owned(), json!({ "password": SECRET })),
            ("/preset/".to_owned(), json!({ "name": "n", "base_pusher": "none", "params": { "key": SECRET } })),
            ("/group/".to_owned(), json!({ "name": "n", "pushers": [{ "params": { "key": SECRET } }] })),
        ] {
            self.said.push(self.ann.post(&path, params).await.body);
        }
        let broken = format!("{{\"key\": \"{MIDDLE}\", ");
        let path = format!("/push/{}/", self.preset);
        self.said.push(self.ann.send("POST", &path, Some("application/json"), broken.as_bytes()).await.body);
        let query = format!("/push/everywhere/?key={MIDDLE}&delay={MIDDLE}");
        self.said.push(self.ann.get(&query).await.body);
    }

    /// Every operation of the document that only reads, with what there is in the place of what it asks for.
    fn reads(&self) -> Vec<String> {
        let document: Value = serde_json::from_str(include_str!("../../openapi/openapi.json")).unwrap();
        let mut paths = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let acts = path.starts_with("/push/") || path.starts_with("/revoke/");
            if operations.get("get").is_none() || acts {
                continue;
            }
            for id in [&self.preset, &self.group].into_iter().chain(&self.tasks).chain(&self.pushes) {
                let mut filled = path.clone();
                while let Some((before, (_, after))) =
                    filled.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
                {
                    filled = format!("{before}{id}{after}");
                }
                paths.push(filled);
            }
        }
        paths.sort();
        paths.dedup();
        paths
    }
}

/// Where an owner reads back what they have set.
fn is_own(path: &str) -> bool {
    ["/preset/", "/group/", "/pusher/"].iter().any(|start| path.starts_with(start))
}

async fn a_planted_secret_is_found_nowhere() {
    let log = Log::begin();
    let folder = Arc::new(TempDir::new().unwrap());
    let mut planted = plant(&folder).await;
    let secret = needles(MIDDLE);
    for said in &planted.said {
        assert_absent(&secret, "an answer", said.to_string().as_bytes());
    }
    let reads = planted.reads();
    assert!(reads.len() > 100, "{reads:?}");
    let everyone =
        [("Ann", planted.ann.clone()), ("Bob", planted.world.user("bob").await), ("root", planted.world.admin().await)];
    for (who, client) in everyone.iter().chain([&("nobody", planted.world.anonymous())]) {
        for path in &reads {
            let answer = client.get(path).await;
            if *who == "Ann" && is_own(path) {
                continue;
            }
            assert_absent(&secret, &format!("{path} for {who}"), answer.body.to_string().as_bytes());
        }
    }
    let own = planted.ann.get(&format!("/preset/{}/", planted.preset)).await;
    assert_eq!(own.data()["params"]["key"], SECRET, "what is looked for is there");
    let task = planted.ann.task(&planted.tasks[0]).await;
    assert!(text(&task["attempt_log"][0]["response"]).contains("****"), "it was repeated, and masked: {task}");
    for path in ["/metrics", "/openapi.json", "/healthz", "/readyz", "/docs/"] {
        let page = plain::get(planted.world.address(), path).await;
        assert_absent(&secret, path, page.body.as_bytes());
    }
    kept(&mut planted, &secret).await;
    let lines = log.text();
    assert!(lines.contains("POST /push/{pusher_id}/ 200"), "the log is the right one");
    assert_absent(&secret, "the log", lines.as_bytes());
    assert_absent(&needles(CONTENT), "the log", lines.as_bytes());
}

/// The database, with what is not in its file yet, and a copy of it.
async fn kept(planted: &mut Planted, secret: &[Vec<u8>]) {
    let everything: Vec<Vec<u8>> = secret.iter().cloned().chain(needles(CONTENT)).collect();
    let preset = planted.preset.clone();
    let kept = planted.world.kept().await;
    assert!(holds(&kept, &preset), "it was looked at where the rows are");
    assert_absent(&everything, "the database in use", &kept);
    let file = planted.world.folder().join("fanfare.db");
    if file.exists() {
        let copy = planted.world.folder().join("copy");
        backup(&file, &copy, false, Arc::new(AtomicBool::new(false))).await.unwrap();
        let copy = std::fs::read(copy).unwrap();
        assert!(holds(&copy, &preset));
        assert_absent(&everything, "a backup", &copy);
    }
    planted.world.stop().await;
    assert_absent(&everything, "the database", &planted.world.kept().await);
}
