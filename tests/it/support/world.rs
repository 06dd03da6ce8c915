//! A whole server in this process, on a free port and a folder of its own, that delivers to loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanfare::app::{App, Tuning};
use fanfare::config::{Config, LimitsConfig, Secret, Synchronous};
use fanfare::domain::account::{Account, Role};
use fanfare::domain::id::{AccountId, unguessable};
use fanfare::domain::retry::RetrySchedule;
use fanfare::domain::task::TaskState;
use fanfare::domain::time::{Clock, Timestamp};
use fanfare::flow::Engine;
use fanfare::flow::login::create_account;
use fanfare::store::{NewAccount, TaskFilter, TaskRecord, TokenHash};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PATIENCE;
use super::client::{Client, text};
use super::clock::TestClock;
pub use super::database::Database;
pub(crate) use super::database::both;
use super::database::{CONNECTIONS, Fresh};
use super::http_sink::HttpSink;
use super::smtp_sink::SmtpSink;

/// How long a session lasts that a test begins with.
const SESSION_MS: i64 = 30 * 86_400_000;
/// The password of an account that can log in.
pub const PASSWORD: &str = "correct horse battery";
/// Time for one attempt where it must end for the test to go on.
pub const HASTY: Duration = Duration::from_millis(300);

/// What can be set of a server.
#[must_use]
pub struct Builder {
    config: Config,
    tuning: Tuning,
    clock: Arc<TestClock>,
}

/// The running server.
pub struct World {
    pub clock: Arc<TestClock>,
    config: Config,
    tuning: Tuning,
    app: Option<App>,
    address: Arc<Mutex<SocketAddr>>,
    folder: Arc<TempDir>,
    /// None if it is a file in the folder.
    database: Option<Arc<Fresh>>,
}

impl Builder {
    /// Waits before further attempts, in milliseconds, exactly; by default 20 and 20.
    pub fn retry_waits_ms(mut self, waits: &[u64]) -> Self {
        self.tuning.retries.waits = waits.iter().copied().map(Duration::from_millis).collect();
        self
    }

    /// Time for a whole attempt; by default long enough for a busy machine.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.tuning.attempt_timeout = limit;
        self
    }

    /// Time for attempts to end when the server stops.
    pub fn stop_grace(mut self, limit: Duration) -> Self {
        self.tuning.stop_grace = limit;
        self
    }

    /// How long a claim holds; by default 15 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.tuning.lease = lease;
        self
    }

    /// An attempt is given up after 300 ms.
    pub fn hasty(self) -> Self {
        self.attempt_timeout(HASTY)
    }

    /// Deliveries at a time.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.config.delivery.concurrency = most;
        self
    }

    /// Deliveries at a time to one host.
    pub fn per_host(mut self, most: usize) -> Self {
        self.config.delivery.per_host = most;
        self
    }

    /// Largest body of a request, in KiB.
    pub fn body_kib(mut self, most: usize) -> Self {
        self.config.limits.body_kib = most;
        self
    }

    /// Rates, quotas and whatever else can be set of limits.
    pub fn limits(mut self, set: impl FnOnce(&mut LimitsConfig)) -> Self {
        set(&mut self.config.limits);
        self
    }

    /// Proxies whose word is taken.
    pub fn trusted_proxies(mut self, networks: &[&str]) -> Self {
        self.config.trusted_proxies = networks.iter().map(|&network| network.to_owned()).collect();
        self
    }

    /// Which private addresses deliveries may reach; by default 127.0.0.1.
    pub fn allow(mut self, hosts: &[&str]) -> Self {
        self.config.delivery.allow = hosts.iter().map(|&host| host.to_owned()).collect();
        self
    }

    /// Settings that only a few tests need.
    pub fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    /// The server's own mails go to this relay.
    pub fn mail(self, sink: &SmtpSink) -> Self {
        let url = format!("smtp://127.0.0.1:{}", sink.relay().port);
        self.with(|config| {
            config.mail.url = Some(Secret::new(url));
            config.mail.from = Some("Fanfare <push@example.org>".to_owned());
        })
    }

    pub fn clock(mut self, clock: Arc<TestClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts on a new, empty folder.
    pub async fn start(self) -> World {
        self.start_in(Arc::new(TempDir::new().expect("a folder"))).await
    }

    /// Starts on a folder that holds something already, with a new database.
    pub async fn start_in(mut self, folder: Arc<TempDir>) -> World {
        self.config.data_dir = folder.path().to_owned();
        let database = match Database::of_this_test() {
            Database::Sqlite => None,
            Database::Postgres => Some(Arc::new(Fresh::new().await)),
        };
        self.config.database_url = database.as_ref().map(|database| Secret::new(database.url.clone()));
        let Self { config, tuning, clock } = self;
        let address = Arc::new(Mutex::new(config.listen));
        let mut world = World { clock, config, tuning, app: None, address, folder, database };
        world.begin().await;
        world
    }
}

impl World {
    /// A server with what suits most tests.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> Builder {
        let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        config.delivery.allow = vec!["127.0.0.1".to_owned()];
        // Where tests come from.
        config.limits.count_loopback = true;
        // Nobody pulls the plug during a test.
        config.database.synchronous = Synchronous::Normal;
        config.database.max_connections = CONNECTIONS;
        let waits = vec![Duration::from_millis(20); 2];
        let retries = RetrySchedule { waits, jitter_percent: 0, ..RetrySchedule::default() };
        let tuning = Tuning {
            retries,
            attempt_timeout: Duration::from_secs(5),
            lease: Duration::from_secs(15),
            stop_grace: Duration::from_secs(20),
        };
        Builder { config, tuning, clock: Arc::default() }
    }

    /// Starts again after `stop`, on the same folder; clients follow.
    pub async fn begin(&mut self) {
        let app = App::start_with(&self.config, self.clock.clone(), self.tuning.clone()).await.expect("a server");
        *self.address.lock().expect("no panic while locked") = app.address;
        self.app = Some(app);
    }

    /// Another node on the same database, with a folder and a clock of its own.
    pub async fn another_node(&self, clock: Arc<TestClock>) -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        std::fs::copy(self.folder().join("secret.key"), folder.path().join("secret.key")).expect("the key file");
        let config = Config { data_dir: folder.path().to_owned(), ..self.config.clone() };
        let address = Arc::new(Mutex::new(config.listen));
        let (tuning, database) = (self.tuning.clone(), self.database.clone());
        let mut world = Self { clock, config, tuning, app: None, address, folder, database };
        world.begin().await;
        world
    }

    /// The same caller at this node.
    pub fn here(&self, caller: &Client) -> Client {
        caller.at(Arc::clone(&self.address))
    }

    /// Why a second server cannot start on the same folder meanwhile.
    pub async fn second_on_the_same_folder(&self) -> String {
        match App::start_with(&self.config, self.clock.clone(), self.tuning.clone()).await {
            Ok(_) => panic!("two servers on one folder"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// Stops as a server stops that is asked to.
    pub async fn stop(&mut self) {
        self.app.take().expect("a running server").stop().await.expect("a clean end");
    }

    /// Stops, and starts again on the same folder; clients follow.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.begin().await;
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.app.as_ref().expect("a running server").engine
    }

    /// The time as the server sees it.
    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn address(&self) -> SocketAddr {
        *self.address.lock().expect("no panic while locked")
    }

    /// Where the server keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Cuts the connections on which nodes hear each other.
    pub async fn cut_off_listeners(&self) {
        let mut conn = self.beside().await;
        let cut = sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        );
        let cut = cut.execute(&mut conn).await.expect("an answer").rows_affected();
        assert!(cut > 0, "nobody listened");
    }

    /// Waits until so many nodes listen.
    pub async fn wait_for_listeners(&self, count: i64) {
        let mut conn = self.beside().await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (there,): (i64,) = sqlx::query_as(
                "SELECT COUNT(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'",
            )
            .fetch_one(&mut conn)
            .await
            .expect("an answer");
            if there == count {
                return;
            }
            assert!(Instant::now() < deadline, "{there} listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A connection to the PostgreSQL database beside the servers.
    pub async fn beside(&self) -> sqlx::PgConnection {
        self.database.as_ref().expect("PostgreSQL").connect().await
    }

    /// Everything that the database holds, wherever it lies.
    pub async fn kept(&self) -> Vec<u8> {
        if let Some(database) = &self.database {
            return database.dump().await;
        }
        let files = std::fs::read_dir(self.folder()).expect("a folder").map(|entry| entry.expect("a file").path());
        let files = files.filter(|path| path.display().to_string().contains("fanfare.db"));
        files.flat_map(|path| std::fs::read(path).expect("a file")).collect()
    }

    /// An account of this name with a session, made when it is asked for first. Nobody can log in to it: hashing a
    /// password takes longer than most tests.
    pub async fn user(&self, name: &str) -> Client {
        self.account(name, Role::User).await
    }

    /// The administrator, likewise.
    pub async fn admin(&self) -> Client {
        self.account("admin", Role::Admin).await
    }

    /// Nobody.
    pub fn anonymous(&self) -> Client {
        Client::new(Arc::clone(&self.address), None)
    }

    /// An account with `PASSWORD`, for tests that log in; its mail address.
    pub async fn registered(&self, name: &str, role: Role) -> String {
        let email = format!("{name}@example.com");
        let engine = self.engine();
        let made = create_account(&engine.store, engine.clock.now(), &email, PASSWORD.to_owned(), role).await;
        made.expect("an account").expect("a new address");
        email
    }

    /// Makes an account, unless it is there: confirmed, with no password, and changed by `set`; its id.
    pub async fn add(&self, name: &str, set: impl FnOnce(&mut NewAccount)) -> AccountId {
        let email = format!("{name}@example.com");
        let id = AccountId::new(format!("account-of-{name}"));
        let account = Account {
            id: id.clone(),
            email: email.clone(),
            role: Role::User,
            confirmed: true,
            disabled: false,
            created_at: self.clock.now(),
        };
        let mut new = NewAccount { account, email_key: email, password_hash: "none".to_owned() };
        set(&mut new);
        let mut tx = self.engine().store.write().await.expect("a database");
        tx.insert_account(&new).await.expect("an account");
        tx.commit().await.expect("a commit");
        id
    }

    /// Somebody in this role, likewise.
    pub async fn account(&self, name: &str, role: Role) -> Client {
        let now = self.clock.now();
        let id = self.add(name, |new| new.account.role = role).await;
        let token = format!("ff_{}", unguessable(rand::random()));
        let mut tx = self.engine().store.write().await.expect("a database");
        tx.insert_token(&TokenHash::of(&token), &id, now, now.plus_ms(SESSION_MS)).await.expect("a token");
        tx.insert_session(&unguessable(rand::random()), &TokenHash::of(&token), None).await.expect("a session");
        tx.commit().await.expect("a commit");
        Client::new(Arc::clone(&self.address), Some(token))
    }

    /// Moves the clock on and lets the server notice.
    pub fn forward(&self, ms: i64) {
        self.clock.advance(ms);
        // A lane that holds nothing: news that makes the claimer look at the clock.
        self.engine().store.signal().note([("clock@test", 0)]);
    }

    /// Waits until nothing runs and nothing is due soon; a task that is due later than a test would wait for counts as
    /// at rest. Fails with the list of what is still under way.
    pub async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let busy = self.under_way().await;
            if busy.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still under way: {busy:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn under_way(&self) -> Vec<String> {
        let soon = self.clock.now().plus_ms(i64::try_from(PATIENCE.as_millis()).expect("a short time"));
        // One query for all states: a task on its way from one to another is never missed.
        let tasks = self.tasks().await.into_iter().filter(|task| match task.state {
            TaskState::Running => true,
            TaskState::Waiting => task.run_at < soon,
            _ => false,
        });
        tasks
            .map(|task| format!("{} {} due {} {:?}", task.id, task.state.as_str(), task.run_at.rfc3339(), task.error))
            .collect()
    }

    /// Everybody's tasks, the newest first.
    pub async fn tasks(&self) -> Vec<TaskRecord> {
        let tx = self.engine().store.read().await;
        tx.expect("a database").tasks(&TaskFilter::default(), 10_000).await.expect("tasks")
    }
}

/// What a `webhook` needs to reach a sink; the sink sees the rest of the parameters as JSON at `/hook`.
pub fn webhook(sink: &HttpSink) -> Value {
    json!({ "endpoint": format!("{}/hook", sink.url()) })
}

/// Whether a text stands somewhere in what is kept.
pub fn holds(kept: &[u8], text: &str) -> bool {
    kept.windows(text.len()).any(|part| part == text.as_bytes())
}

/// The same parameters and more.
pub fn with(mut params: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("not an object: {more}") };
    params.as_object_mut().expect("an object").extend(more);
    params
}

/// The one task of a push, by the answer's data.
pub fn task_id(pushed: &Value) -> String {
    text(&pushed["task_id"])
}
