//! A server that people sign up at, its relay, and what a person does there.

use fanfare::config::Registration;
use serde_json::{Value, json};

use super::client::{Answer, Client, text};
use super::smtp_sink::{ReceivedMail, SmtpSink};
use super::world::{Builder, PASSWORD, World};

/// The server, its relay and its administrator.
pub struct House {
    pub world: World,
    pub relay: SmtpSink,
    pub admin: Client,
}

impl House {
    /// Invitations are needed.
    pub async fn start() -> Self {
        Self::of(World::builder()).await
    }

    /// Anybody may sign up.
    pub async fn open() -> Self {
        Self::of(World::builder().with(|config| config.registration = Registration::Open)).await
    }

    pub async fn of(builder: Builder) -> Self {
        let relay = SmtpSink::start().await;
        let world = builder.mail(&relay).start().await;
        let admin = world.admin().await;
        Self { world, relay, admin }
    }

    /// A code that an admin makes of this wish.
    pub async fn code(&self, wish: Value) -> String {
        let made = self.admin.post("/account/invite/admin/", wish).await.into_data();
        text(&made["codes"][0]["code"])
    }

    pub async fn sign_up(&self, code: &str, email: &str) -> Answer {
        self.sign_up_with(code, email, PASSWORD).await
    }

    pub async fn sign_up_with(&self, code: &str, email: &str, password: &str) -> Answer {
        let wish = json!({ "code": code, "email": email, "password": password });
        self.world.anonymous().post("/account/user/create/", wish).await
    }

    /// The mails that have come to an address once everything is at rest.
    pub async fn mails_to(&self, email: &str) -> Vec<ReceivedMail> {
        self.world.settle().await;
        self.relay.mails().into_iter().filter(|mail| mail.to == [email]).collect()
    }

    /// The path that the newest mail's link leads to.
    pub async fn link(&self, email: &str) -> String {
        let mails = self.mails_to(email).await;
        link_in(mails.last().unwrap_or_else(|| panic!("no mail to {email}")))
    }

    /// Asks for a reset of a password, for an address that somebody may have.
    pub async fn ask_reset(&self, email: &str) -> Answer {
        self.world.anonymous().post("/account/password/reset/", json!({ "email": email })).await
    }

    /// The token in the newest mail about a reset; one of a sign-up just before may arrive after it.
    pub async fn reset_token(&self, email: &str) -> String {
        let mails = self.mails_to(email).await;
        let mail = mails.iter().rfind(|mail| mail.subject() == "Reset your Fanfare password").expect("a mail");
        let (_, text) = &mail.parts()[0];
        text.lines().find(|line| line.len() == 43 && !line.contains(' ')).expect("a token").to_owned()
    }

    pub async fn reset(&self, token: &str, password: &str) -> Answer {
        let body = json!({ "token": token, "password": password });
        self.world.anonymous().post("/account/password/reset/confirm/", body).await
    }

    /// Signs up and follows the link; somebody who is logged in.
    pub async fn newcomer(&self, email: &str) -> Client {
        let code = self.code(json!({})).await;
        self.sign_up(&code, email).await.data();
        let link = self.link(email).await;
        self.world.anonymous().get(&link).await.data();
        self.login(email, PASSWORD).await.expect("the right password")
    }

    /// Logs in; nobody if it does not succeed.
    pub async fn login(&self, email: &str, password: &str) -> Option<Client> {
        let nobody = self.world.anonymous();
        let answer = nobody.login(email, password).await;
        answer.get("token").map(|token| nobody.with_token(Some(&text(token))))
    }

    /// How many uses a code has left, as its maker sees it.
    pub async fn left(&self, code: &str) -> i64 {
        let codes = self.admin.get("/account/invite/?all=true&limit=100").await.items();
        let found = codes.iter().find(|item| item["code"] == code).unwrap_or_else(|| panic!("no {code}: {codes:?}"));
        found["available_times"].as_i64().expect("a number")
    }
}

/// The path of the one link in a mail, which both parts must have.
pub fn link_in(mail: &ReceivedMail) -> String {
    let parts = mail.parts();
    let line = parts[0].1.lines().find(|line| line.starts_with("http")).expect("a link").to_owned();
    assert!(parts[1].1.contains(&format!("<a href=\"{line}\">")), "{}", parts[1].1);
    let (_, rest) = line.split_once("://").expect("an address");
    rest[rest.find('/').expect("a path")..].to_owned()
}
