//! A caller of the API, down to the bytes: what it sends is what it was told to send, and every answer is checked to be
//! an envelope, and its code one that the document tells.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use fanfare::api::codes::CODES;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// Where people log in.
pub const LOGIN: &str = "/account/user/login/";
/// The media types of bodies.
pub const JSON: &str = "application/json";
pub const FORM: &str = "application/x-www-form-urlencoded";
pub const TEXT: &str = "text/plain";

/// Somebody who calls, with a token or without. It follows the server over a restart.
#[derive(Clone)]
pub struct Client {
    address: Arc<Mutex<SocketAddr>>,
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Client {
    pub fn new(address: Arc<Mutex<SocketAddr>>, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// The same caller at another server.
    #[must_use]
    pub fn at(&self, address: Arc<Mutex<SocketAddr>>) -> Self {
        Self { address, token: self.token.clone() }
    }

    /// The same server, without a token.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        self.with_token(None)
    }

    /// The same server with this token.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { address: Arc::clone(&self.address), token: token.map(str::to_owned) }
    }

    /// The same account with a new API token of these scopes.
    pub async fn with_scopes(&self, scopes: &[&str]) -> Self {
        let made = self.post("/account/token/", json!({ "name": "n", "scopes": scopes })).await;
        self.with_token(Some(&text(&made.data()["token"])))
    }

    /// The token, for a test that sends it in another place.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("a client with a token")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, b"").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(JSON), body.to_string().as_bytes()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(JSON), body.to_string().as_bytes()).await
    }

    pub async fn delete_with(&self, path: &str, body: Value) -> Answer {
        self.send("DELETE", path, Some(JSON), body.to_string().as_bytes()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, b"").await
    }

    /// What a login with these answers; it has a `token` if they are right.
    pub async fn login(&self, email: &str, password: &str) -> Value {
        self.post(LOGIN, json!({ "email": email, "password": password })).await.into_data()
    }

    /// Pushes parameters in a JSON body.
    pub async fn push(&self, pusher: &str, params: Value) -> Answer {
        self.post(&format!("/push/{pusher}/"), params).await
    }

    /// Pushes what must be accepted; the answer's data.
    pub async fn pushed(&self, pusher: &str, params: Value) -> Value {
        self.push(pusher, params).await.into_data()
    }

    /// How many of so many pushes are accepted; the others must be refused with this code.
    pub async fn accepted(&self, pusher: &str, count: usize, refusal: &str) -> usize {
        let mut accepted = 0;
        for _ in 0..count {
            let answer = self.push(pusher, json!({})).await;
            assert!(answer.status == 200 || answer.refusal() == (429, refusal), "{}", answer.body);
            accepted += usize::from(answer.status == 200);
        }
        accepted
    }

    /// Makes a Preset; its id.
    pub async fn preset(&self, base: &str, params: Value) -> String {
        self.preset_with(base, params, json!({})).await
    }

    /// Makes a Preset with more fields, such as `redefine_content`; its id.
    pub async fn preset_with(&self, base: &str, params: Value, fields: Value) -> String {
        let mut preset = json!({ "name": "preset", "base_pusher": base, "params": params });
        for (field, value) in fields.as_object().expect("an object") {
            preset[field] = value.clone();
        }
        self.post("/preset/", preset).await.id()
    }

    /// Makes a Group of these fields; its id.
    pub async fn group(&self, mut group: Value) -> String {
        if group.get("name").is_none() {
            group["name"] = json!("group");
        }
        self.post("/group/", group).await.id()
    }

    /// Shares what must be shareable; `kind` is `preset` or `group`.
    pub async fn share(&self, kind: &str, id: &str) {
        self.try_share(kind, id).await.data();
    }

    pub async fn try_share(&self, kind: &str, id: &str) -> Answer {
        self.send("POST", &format!("/{kind}/{id}/share/"), None, b"").await
    }

    /// A task as its owner reads it, attempts included.
    pub async fn task(&self, id: &str) -> Value {
        self.get(&format!("/task/{id}/")).await.into_data()
    }

    /// One's own tasks, the newest first; at most 100.
    pub async fn tasks(&self) -> Vec<Value> {
        self.get("/task/?limit=100").await.items()
    }

    /// A whole list, page by page, of which there must be several; the path has a query.
    pub async fn pages(&self, path: &str) -> Vec<Value> {
        let mut page = self.get(path).await;
        assert!(page.data()["next_cursor"].is_string(), "{path} is one page: {}", page.body);
        let mut all = page.items();
        while let Some(cursor) = page.data()["next_cursor"].as_str() {
            page = self.get(&format!("{path}&cursor={cursor}")).await;
            all.extend(page.items());
        }
        all
    }

    /// Sends anything; the answer must be an envelope.
    pub async fn send(&self, method: &str, path: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
        self.send_with(method, path, content_type, &[], body).await
    }

    /// The same with more headers.
    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: fanfare\r\nconnection: close\r\n");
        if !body.is_empty() || method != "GET" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let own = [("content-type", content_type), ("authorization", authorization.as_deref())];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in own.chain(headers.iter().copied()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.raw([head.as_bytes(), body].concat()).await
    }

    /// Sends these bytes, which must ask to close the connection.
    pub async fn raw(&self, request: Vec<u8>) -> Answer {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let address = *self.address.lock().expect("no panic while locked");
        match tokio::time::timeout(PATIENCE, exchange(address, request)).await {
            Ok(answer) => parse(&answer, &line),
            Err(_) => panic!("no answer to {line}"),
        }
    }
}

/// Sends all and reads all, at the same time: a server may answer, and hang up, before it has read everything.
async fn exchange(address: SocketAddr, request: Vec<u8>) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.expect("a server");
    let (mut incoming, mut outgoing) = stream.into_split();
    let write = async {
        // What the server did not want to read is its business; the answer tells.
        let _ = outgoing.write_all(&request).await;
    };
    let read = async {
        let mut answer = Vec::new();
        let mut piece = [0; 16 * 1024];
        while let Ok(count @ 1..) = incoming.read(&mut piece).await {
            answer.extend_from_slice(&piece[..count]);
        }
        answer
    };
    tokio::join!(write, read).1
}

fn parse(answer: &[u8], request: &str) -> Answer {
    let text = std::str::from_utf8(answer).expect("a text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{request}: not JSON: {text}"));
    let answer = Answer { status: status.expect("a status"), headers, body };
    let keys: Vec<&String> = answer.body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["success", "code", "message", "data"], "{request}: not an envelope: {text}");
    assert_eq!(answer.body["success"] == true, answer.status == 200, "{request}: {text}");
    let is_told = CODES.iter().any(|(code, status, _)| (*code, *status) == (answer.code(), answer.status));
    assert!(answer.status == 200 || is_told, "{request}: no code that the document knows: {text}");
    answer
}

impl Answer {
    /// The data of a success.
    pub fn data(&self) -> &Value {
        assert_eq!((self.status, self.code()), (200, "0"), "{}", self.body);
        &self.body["data"]
    }

    /// The same, as one's own.
    pub fn into_data(mut self) -> Value {
        self.data();
        self.body["data"].take()
    }

    /// The `id` of what was made.
    pub fn id(&self) -> String {
        text(&self.data()["id"])
    }

    /// What a list holds.
    pub fn items(&self) -> Vec<Value> {
        self.data()["items"].as_array().expect("a list").clone()
    }

    /// The stable code; `0` for a success.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().expect("a code")
    }

    /// Status and code of a refusal.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    /// What is wrong with which parameter: name and code, in the order told.
    pub fn faults(&self) -> Vec<(&str, &str)> {
        let list = self.body["data"].as_array().unwrap_or_else(|| panic!("no list of faults: {}", self.body));
        list.iter().map(|fault| (fault["param"].as_str().unwrap(), fault["code"].as_str().unwrap())).collect()
    }

    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A JSON string as text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
