//! A mail relay on loopback that records every mail and refuses, defers or hangs by script.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare::domain::delivery::{MailSecurity, Relay};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;
use super::mime::{Part, decode_words};

/// What goes otherwise than usual, once, when a command comes: `CONNECT` (the greeting), `EHLO`, `STARTTLS`, `AUTH`,
/// `MAIL`, `RCPT`, `DATA`, `END` (after the mail), `NOOP`, `QUIT`.
#[derive(Debug, Clone)]
pub struct Trouble {
    at: &'static str,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Say(String),
    Hang,
    Close,
    Wait(Duration),
}

impl Trouble {
    /// Replies this: `550 5.1.1 no such user`.
    pub fn say(at: &'static str, reply: &str) -> Self {
        Self { at, what: What::Say(reply.to_owned()) }
    }

    /// Never replies.
    pub fn hang(at: &'static str) -> Self {
        Self { at, what: What::Hang }
    }

    /// Hangs up.
    pub fn close(at: &'static str) -> Self {
        Self { at, what: What::Close }
    }

    /// Replies as usual, but later.
    pub fn wait(at: &'static str, wait: Duration) -> Self {
        Self { at, what: What::Wait(wait) }
    }
}

/// A mail as it came.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    /// The envelope.
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, with the doubled dots undone.
    pub data: String,
    pub encrypted: bool,
    /// The name that logged in.
    pub login: Option<String>,
}

impl ReceivedMail {
    /// The first header of this name (lower case), decoded.
    pub fn header(&self, name: &str) -> Option<String> {
        Part::parse(&self.data).header(name).map(decode_words)
    }

    pub fn subject(&self) -> String {
        self.header("subject").expect("a subject")
    }

    /// Content type and text of each part.
    pub fn parts(&self) -> Vec<(String, String)> {
        Part::parse(&self.data).leaves()
    }
}

#[derive(Default)]
struct State {
    troubles: Mutex<Vec<Trouble>>,
    /// Recipients that are always refused, and how.
    refused: Mutex<Vec<(String, String)>>,
    mails: Mutex<Vec<ReceivedMail>>,
    login: Mutex<Option<(String, String)>>,
    login_ways: Mutex<String>,
    always_wait: Mutex<Option<Duration>>,
    offers_starttls: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    peak: AtomicUsize,
    arrived: Notify,
}

/// The server; it ends with the test.
pub struct SmtpSink {
    address: SocketAddr,
    security: MailSecurity,
    state: Arc<State>,
}

impl SmtpSink {
    /// Listens on a free port of 127.0.0.1, in plain text.
    pub async fn start() -> Self {
        Self::listen(MailSecurity::None, None).await
    }

    /// The same with STARTTLS or TLS from the first byte; the relay is then called `localhost`.
    pub async fn start_tls(security: MailSecurity, acceptor: TlsAcceptor) -> Self {
        Self::listen(security, Some(acceptor)).await
    }

    async fn listen(security: MailSecurity, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        *state.login_ways.lock().expect("no panic while locked") = "PLAIN LOGIN".to_owned();
        state.offers_starttls.store(security == MailSecurity::StartTls, Ordering::SeqCst);
        tokio::spawn(accept(listener, security, tls, Arc::clone(&state)));
        Self { address, security, state }
    }

    /// How to reach it.
    pub fn relay(&self) -> Relay {
        let host = if self.security == MailSecurity::None { "127.0.0.1" } else { "localhost" };
        let credentials = self.state.login.lock().expect("no panic while locked").clone();
        Relay { host: host.to_owned(), port: self.address.port(), security: self.security, credentials, own: false }
    }

    /// Takes mail only after this login; `relay` then brings it.
    #[must_use]
    pub fn with_login(self, name: &str, password: &str) -> Self {
        *self.state.login.lock().expect("no panic while locked") = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Offers only these ways to log in, of `PLAIN` and `LOGIN`.
    #[must_use]
    pub fn with_login_ways(self, ways: &str) -> Self {
        *self.state.login_ways.lock().expect("no panic while locked") = ways.to_owned();
        self
    }

    /// Waits so long with every mail.
    pub fn slow(&self, wait: Duration) {
        *self.state.always_wait.lock().expect("no panic while locked") = Some(wait);
    }

    /// No longer offers STARTTLS.
    pub fn hide_starttls(&self) {
        self.state.offers_starttls.store(false, Ordering::SeqCst);
    }

    /// Adds to what goes otherwise; each entry happens once.
    pub fn script(&self, troubles: Vec<Trouble>) {
        self.state.troubles.lock().expect("no panic while locked").extend(troubles);
    }

    /// Takes no mail for this recipient, and replies this.
    pub fn refuse(&self, recipient: &str, reply: &str) {
        self.state.refused.lock().expect("no panic while locked").push((recipient.to_owned(), reply.to_owned()));
    }

    /// Takes mail for this recipient again.
    pub fn welcome(&self, recipient: &str) {
        self.state.refused.lock().expect("no panic while locked").retain(|(refused, _)| refused != recipient);
    }

    /// All mails that were taken.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.state.mails.lock().expect("no panic while locked").clone()
    }

    /// The one mail that was taken.
    pub fn only_mail(&self) -> ReceivedMail {
        let mut mails = self.mails();
        assert_eq!(mails.len(), 1, "expected one mail, got {mails:#?}");
        mails.remove(0)
    }

    /// Waits until so many mails were taken; hands back all of them.
    pub async fn expect(&self, count: usize) -> Vec<ReceivedMail> {
        let enough = async {
            loop {
                let arrived = self.state.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                let mails = self.mails();
                if mails.len() >= count {
                    return mails;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(PATIENCE, enough).await {
            Ok(mails) => mails,
            Err(_) => panic!("expected {count} mails, got only {:#?}", self.mails()),
        }
    }

    /// How many connections were opened in all.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many were open at the same time.
    pub fn peak_connections(&self) -> usize {
        self.state.peak.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, security: MailSecurity, tls: Option<TlsAcceptor>, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        state.connections.fetch_add(1, Ordering::SeqCst);
        let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
        state.peak.fetch_max(open, Ordering::SeqCst);
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A client that hangs up is the client's business.
            let _ = converse(stream, security, tls, &state).await;
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn converse(
    stream: tokio::net::TcpStream,
    security: MailSecurity,
    tls: Option<TlsAcceptor>,
    state: &State,
) -> io::Result<()> {
    match (security, tls) {
        (MailSecurity::Tls, Some(tls)) => {
            let stream = tls.accept(stream).await?;
            Session::new(stream, state, true).run(true).await.map(|_| ())
        }
        (MailSecurity::StartTls, Some(tls)) => {
            let Some(stream) = Session::new(stream, state, false).run(true).await? else { return Ok(()) };
            let stream = tls.accept(stream).await?;
            Session::new(stream, state, true).run(false).await.map(|_| ())
        }
        _ => Session::new(stream, state, false).run(true).await.map(|_| ()),
    }
}

struct Session<'a, S> {
    stream: BufReader<S>,
    state: &'a State,
    encrypted: bool,
    login: Option<String>,
    from: String,
    to: Vec<String>,
}

/// Where a command leads.
enum Next {
    Command,
    StartTls,
    Hangup,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(stream: S, state: &'a State, encrypted: bool) -> Self {
        let stream = BufReader::new(stream);
        Self { stream, state, encrypted, login: None, from: String::new(), to: Vec::new() }
    }

    /// Talks until one side hangs up, or hands the stream back for the client to begin TLS.
    async fn run(mut self, greet: bool) -> io::Result<Option<S>> {
        if greet && !self.reply("CONNECT", "220 sink ready").await? {
            return Ok(None);
        }
        while let Some(line) = self.line().await? {
            match self.command(&line).await? {
                Next::Command => {}
                Next::StartTls => return Ok(Some(self.stream.into_inner())),
                Next::Hangup => break,
            }
        }
        Ok(None)
    }

    async fn command(&mut self, line: &str) -> io::Result<Next> {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let must_login = self.login.is_none() && self.state.login.lock().expect("no panic while locked").is_some();
        let stays = match verb.as_str() {
            "EHLO" | "HELO" => {
                let offer = self.offer();
                self.reply("EHLO", &offer).await?
            }
            "STARTTLS" => {
                let what = self.trouble("STARTTLS");
                let usual = is_usual(what.as_ref());
                match self.act(what, "220 go ahead").await? {
                    true if usual => return Ok(Next::StartTls),
                    stays => stays,
                }
            }
            "AUTH" => self.authenticate(line).await?,
            "MAIL" if must_login => self.say("530 5.7.0 log in first").await?,
            "MAIL" => {
                self.from = address(line);
                self.to.clear();
                self.reply("MAIL", "250 2.1.0 sender ok").await?
            }
            "RCPT" => {
                let recipient = address(line);
                let refused = self.state.refused.lock().expect("no panic while locked").clone();
                match refused.into_iter().find(|(refused, _)| *refused == recipient) {
                    Some((_, reply)) => self.say(&reply).await?,
                    None => {
                        self.to.push(recipient);
                        self.reply("RCPT", "250 2.1.5 recipient ok").await?
                    }
                }
            }
            "RSET" => {
                self.to.clear();
                self.say("250 2.0.0 forgotten").await?
            }
            "DATA" => self.data().await?,
            "NOOP" => self.reply("NOOP", "250 2.0.0 ok").await?,
            "QUIT" => {
                self.reply("QUIT", "221 2.0.0 bye").await?;
                false
            }
            _ => self.say("502 5.5.1 unknown command").await?,
        };
        Ok(if stays { Next::Command } else { Next::Hangup })
    }

    fn offer(&self) -> String {
        let ways = self.state.login_ways.lock().expect("no panic while locked").clone();
        let starttls = !self.encrypted && self.state.offers_starttls.load(Ordering::SeqCst);
        let starttls = if starttls { "250-STARTTLS\r\n" } else { "" };
        format!("250-sink\r\n{starttls}250-8BITMIME\r\n250 AUTH {ways}")
    }

    async fn authenticate(&mut self, line: &str) -> io::Result<bool> {
        let words: Vec<&str> = line.split(' ').collect();
        let given = match words[..] {
            [_, way, first] if way.eq_ignore_ascii_case("PLAIN") => {
                let text = decoded(first);
                let fields: Vec<&str> = text.split('\0').collect();
                (fields.get(1).unwrap_or(&"").to_string(), fields.get(2).unwrap_or(&"").to_string())
            }
            [_, way] if way.eq_ignore_ascii_case("LOGIN") => {
                self.say("334 VXNlcm5hbWU6").await?;
                let name = decoded(&self.line().await?.unwrap_or_default());
                self.say("334 UGFzc3dvcmQ6").await?;
                (name, decoded(&self.line().await?.unwrap_or_default()))
            }
            _ => return self.say("504 5.5.4 unknown way to log in").await,
        };
        let right = self.state.login.lock().expect("no panic while locked").as_ref() == Some(&given);
        if !right {
            return self.reply("AUTH", "535 5.7.8 wrong name or password").await;
        }
        self.login = Some(given.0);
        self.reply("AUTH", "235 2.7.0 welcome").await
    }

    async fn data(&mut self) -> io::Result<bool> {
        let what = self.trouble("DATA");
        let usual = is_usual(what.as_ref());
        if !self.act(what, "354 go ahead").await? {
            return Ok(false);
        }
        if !usual {
            return Ok(true);
        }
        let mut data = String::new();
        while let Some(line) = self.line().await? {
            if line == "." {
                let wait = *self.state.always_wait.lock().expect("no panic while locked");
                if let Some(wait) = wait {
                    tokio::time::sleep(wait).await;
                }
                return self.end(data).await;
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
        }
        Ok(false)
    }

    /// A mail counts as taken when the reply to it says so.
    async fn end(&mut self, data: String) -> io::Result<bool> {
        let what = self.trouble("END");
        if is_usual(what.as_ref()) {
            let (from, to) = (self.from.clone(), self.to.clone());
            let mail = ReceivedMail { from, to, data, encrypted: self.encrypted, login: self.login.clone() };
            self.state.mails.lock().expect("no panic while locked").push(mail);
            self.state.arrived.notify_waiters();
        }
        self.act(what, "250 2.0.0 queued as 4711").await
    }

    fn trouble(&self, at: &str) -> Option<What> {
        let mut troubles = self.state.troubles.lock().expect("no panic while locked");
        let index = troubles.iter().position(|trouble| trouble.at == at)?;
        Some(troubles.remove(index).what)
    }

    async fn reply(&mut self, at: &str, usual: &str) -> io::Result<bool> {
        let what = self.trouble(at);
        self.act(what, usual).await
    }

    /// The usual reply, or what the script has instead; whether the connection stays open.
    async fn act(&mut self, what: Option<What>, usual: &str) -> io::Result<bool> {
        match what {
            None => self.say(usual).await,
            Some(What::Say(reply)) => self.say(&reply).await,
            Some(What::Hang) => std::future::pending().await,
            Some(What::Close) => Ok(false),
            Some(What::Wait(wait)) => {
                tokio::time::sleep(wait).await;
                self.say(usual).await
            }
        }
    }

    async fn say(&mut self, reply: &str) -> io::Result<bool> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        Ok(true)
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn is_usual(what: Option<&What>) -> bool {
    matches!(what, None | Some(What::Wait(_)))
}

fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}

fn decoded(base64: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(base64.trim()).unwrap_or_default()).into_owned()
}
