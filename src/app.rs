//! The running server: opens what it needs, serves, and stops without losing anything.

mod descriptors;
mod joining;
mod key;
pub mod offline;
pub mod rotation;

use std::fs::{File, TryLockError};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ipnet::IpNet;
use poem::Server;
use poem::listener::{Acceptor, Listener, TcpAcceptor, TcpListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::api::address::{Gate, counted};
use crate::api::closing::Closing;
use crate::api::connections::Connections;
use crate::config::{Config, Synchronous};
use crate::domain::account::{Role, email_key};
use crate::domain::agenda::Limits;
use crate::domain::delivery::Relay;
use crate::domain::refusal::Refusal;
use crate::domain::relay::parse_relay_url;
use crate::domain::retry::RetrySchedule;
use crate::domain::time::{Clock, Timestamp};
use crate::flow::callers::CallerCache;
use crate::flow::door::Door;
use crate::flow::limits::{Allowed, Limits as Usage};
use crate::flow::pushers::PusherCache;
use crate::flow::usage::{self, Exchange};
use crate::flow::{Engine, login, nodes, tidy};
use crate::jobs::{TAKE_OVER_EVERY, Workers};
use crate::metrics::Metrics;
use crate::send::guard::Allow;
use crate::send::{Sender, SenderConfig};
use crate::service::Catalogue;
use crate::store::{Location, SecretKey, Store, WrongKey};
use crate::{api, jobs};

/// How long open connections may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(20);
/// Requests at a time on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// Tasks under way at a time whose parameters are large (32 KiB and more, sealed).
const MOST_LARGE: usize = 16;
/// The embedded database in the data folder.
const DATABASE: &str = "fanfare.db";

/// The machine's clock, or what was put right of it.
#[derive(Debug, Default)]
pub struct SystemClock {
    ahead_ms: AtomicI64,
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).plus_ms(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn correct(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// What is finer than the settings, which count whole seconds.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// When another attempt follows.
    pub retries: RetrySchedule,
    /// Time for a whole attempt.
    pub attempt_timeout: Duration,
    /// How long a claim holds.
    pub lease: Duration,
    /// Time for running attempts to end when the server stops.
    pub stop_grace: Duration,
}

impl Tuning {
    /// Exactly what the settings say.
    pub fn of(config: &Config) -> Self {
        let retries = RetrySchedule { waits: config.delivery.retry_waits(), ..RetrySchedule::default() };
        // A lease that has ended is noticed at the next look.
        let lease = config.delivery.take_over().saturating_sub(TAKE_OVER_EVERY);
        Self { retries, attempt_timeout: config.delivery.attempt_timeout(), lease, stop_grace: jobs::GRACE }
    }
}

/// A server that runs.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it works with.
    pub engine: Arc<Engine>,
    workers: Workers,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    tidying: JoinHandle<()>,
    exchanging: JoinHandle<()>,
    /// By which other nodes know this one.
    name: String,
    // Held until the end: no other process works on this folder meanwhile.
    _lock: Option<File>,
}

impl App {
    /// Opens everything and starts serving; returns when requests are answered.
    ///
    /// # Errors
    /// If the settings, the Services, the database or the address do not allow it; the text says which and why.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Self::start_with(config, clock, Tuning::of(config)).await
    }

    /// As `start`, with the times in `tuning` in place of the settings'.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_with(config: &Config, clock: Arc<dyn Clock>, tuning: Tuning) -> anyhow::Result<Self> {
        let lock = prepare_data_dir(config)?;
        let config = &descriptors::fit(config);
        let stop_grace = tuning.stop_grace;
        let engine = Arc::new(open(config, clock, tuning).await?);
        if matches!(location(config), Location::Sqlite { .. }) {
            // The lock proves that whoever had claimed something is gone.
            let found = engine.store.take_over(Timestamp(i64::MAX)).await.map_err(broken)?;
            if found > 0 {
                tracing::info!(found, "{found} tasks were under way when the server last ended; they run again");
            }
        }
        nodes::agree_on_time(&engine).await.map_err(broken)?;
        create_first_admin(config, &engine).await?;
        let acceptor = TcpListener::bind(config.listen)
            .into_acceptor()
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let local = acceptor.local_addr();
        let address = local.iter().find_map(|at| at.as_socket_addr().copied()).unwrap_or(config.listen);
        let base = config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        engine.base_url.get_or_init(|| base);
        joining::tell(config);
        let name = format!("node-{}", crate::domain::id::unguessable(rand::random()));
        tokio::spawn(nodes::follow_news(engine.clone(), engine.store.join(&name)));
        let exchange = Exchange::start(&engine, name.clone()).await.map_err(broken)?;
        let workers = Workers::start(engine.clone(), name.clone(), stop_grace);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = serve(config, &engine, acceptor, stopped);
        let tidying = tokio::spawn({
            let engine = engine.clone();
            async move { tidy::tidy_forever(&engine).await }
        });
        let exchanging = tokio::spawn({
            let engine = engine.clone();
            async move { exchange.run(&engine).await }
        });
        Ok(Self { address, engine, workers, stop, serving, tidying, exchanging, name, _lock: lock })
    }

    /// Stops: takes no more requests, lets what runs end, hands the rest back, closes the database.
    ///
    /// # Errors
    /// If serving had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        // A server that has ended already needs no signal.
        let _ = self.stop.send(());
        self.tidying.abort();
        let (served, ()) = tokio::join!(self.serving, self.workers.stop());
        self.exchanging.abort();
        if let Err(error) = usage::end(&self.engine, &self.name).await {
            tracing::warn!(?error, "what was used of quotas in the last moment could not be kept");
        }
        self.engine.store.close().await;
        served.context("serving broke off")?.context("serving failed")
    }
}

/// Answers requests until it is to stop, and then until those under way have ended.
fn serve(
    config: &Config,
    engine: &Arc<Engine>,
    acceptor: TcpAcceptor,
    stopped: oneshot::Receiver<()>,
) -> JoinHandle<std::io::Result<()>> {
    let most_bytes = config.limits.body_bytes();
    let (proxies, count_loopback) = (networks(&config.trusted_proxies), config.limits.count_loopback);
    let gate = Gate::new(engine.clone(), proxies.clone(), count_loopback, most_bytes);
    let closing = Arc::new(Closing::default());
    let endpoint = api::endpoint(engine.clone(), most_bytes, gate, closing.clone());
    let ends = closing.clone();
    let stopped = async move {
        let _ = stopped.await;
        ends.begin();
    };
    let counted = move |peer| counted(peer, &proxies, count_loopback);
    let acceptor = Connections::new(acceptor, config.limits.connections, counted, closing);
    let server = Server::new_with_acceptor(acceptor).http2_max_concurrent_streams(STREAMS);
    tokio::spawn(server.run_with_graceful_shutdown(endpoint, stopped, Some(GRACE)))
}

/// Opens the database under the right key.
///
/// # Errors
/// If the key, the folder or the database does not allow it.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let limits = Limits { total: config.delivery.concurrency, per_host: config.delivery.per_host };
    let location = location(config);
    let present = key::present_key(config)?;
    let had_key = present.is_some();
    let key = match present {
        Some(key) => key,
        None => key::new_key(config, &location).await?,
    };
    match Store::open(&location, &key, limits).await {
        Err(refused) if !had_key && refused.is::<WrongKey>() => Err(refused.context(key::take_back(config)?)),
        Err(refused) => {
            let open = async |key: &SecretKey| Store::open(&location, key, limits).await;
            rotation::finish(config, refused, open).await
        }
        opened => opened,
    }
}

/// The Services: embedded ones and those in the data folder.
///
/// # Errors
/// If a definition is broken: every one, with path, line and reason.
pub fn load_catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    let folder = config.data_dir.join("services");
    ensure!(!folder.exists() || folder.is_dir(), "{} is not a folder", folder.display());
    load_services(folder.is_dir().then_some(folder.as_path()))
}

/// The embedded Services and those in a folder.
///
/// # Errors
/// As `load_catalogue`.
pub fn load_services(folder: Option<&Path>) -> anyhow::Result<Catalogue> {
    Catalogue::load(folder).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// Checks the settings that only whoever uses them understands.
///
/// # Errors
/// If one cannot be used; the text names it.
pub fn check_settings(config: &Config) -> anyhow::Result<()> {
    reachable(config)?;
    own_relay(config)?;
    if let Some(key) = &config.secret_key {
        key::parse(key)?;
    }
    Ok(())
}

fn reachable(config: &Config) -> anyhow::Result<Allow> {
    Allow::parse(&config.delivery.allow.join(",")).map_err(|reason| anyhow::anyhow!("delivery.allow: {reason}"))
}

fn own_relay(config: &Config) -> anyhow::Result<Option<Relay>> {
    let Some(url) = &config.mail.url else { return Ok(None) };
    parse_relay_url(url.expose()).map(Some).map_err(|reason| anyhow::anyhow!("mail.url {reason}"))
}

async fn open(config: &Config, clock: Arc<dyn Clock>, tuning: Tuning) -> anyhow::Result<Engine> {
    let catalogue = Arc::new(load_catalogue(config)?);
    let (allow, own_relay) = (reachable(config)?, own_relay(config)?);
    let mail = own_relay.as_ref().map(|relay| joining::own_mail(config, relay));
    let sender = Sender::new(SenderConfig {
        own_hosts: joining::own_hosts(config),
        allow,
        connect_timeout: config.delivery.connect_timeout(),
        attempt_timeout: tuning.attempt_timeout,
        idle_per_host: config.delivery.per_host,
        idle: config.delivery.concurrency,
        ..SenderConfig::default()
    })?;
    let store = open_store(config).await?;
    let pushers = PusherCache::new(store.is_shared());
    let limits = Usage::new(allowed(config), store.is_shared());
    Ok(Engine {
        store,
        clock,
        catalogue,
        sender,
        pushers,
        limits,
        callers: CallerCache::default(),
        retries: tuning.retries,
        metrics: Arc::new(Metrics::new()),
        concurrency: config.delivery.concurrency,
        large: Semaphore::new(MOST_LARGE),
        lease: tuning.lease,
        working: AtomicBool::new(false),
        keep_finished_days: config.delivery.keep_finished_days,
        keep_audit_days: config.audit.keep_days,
        registration: joining::registration(config),
        mail,
        captcha: joining::captcha(config),
        door: Door::default(),
        base_url: OnceLock::new(),
    })
}

fn allowed(config: &Config) -> Allowed {
    Allowed {
        per_address: config.limits.per_address_per_minute,
        per_account: config.limits.per_account_per_minute,
        per_pusher: config.limits.per_pusher_per_minute,
        daily_quota: config.limits.daily_quota,
    }
}

/// Networks, and addresses as networks of one; the settings have been checked.
fn networks(entries: &[String]) -> Vec<IpNet> {
    let network = |entry: &String| entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from)).ok();
    entries.iter().filter_map(network).collect()
}

fn location(config: &Config) -> Location {
    match &config.database_url {
        Some(url) => location_of(config, url.expose()),
        None => sqlite(config, &config.data_dir.join(DATABASE)),
    }
}

fn location_of(config: &Config, url: &str) -> Location {
    if url.starts_with("postgres") {
        return Location::Postgres { url: url.to_owned(), max_connections: config.database.max_connections };
    }
    sqlite(config, Path::new(url.trim_start_matches("sqlite:").trim_start_matches("//")))
}

fn sqlite(config: &Config, file: &Path) -> Location {
    Location::Sqlite { file: file.to_owned(), durable: config.database.synchronous == Synchronous::Full }
}

/// Makes the data folder, and takes an embedded database for this process alone.
fn prepare_data_dir(config: &Config) -> anyhow::Result<Option<File>> {
    let folder = &config.data_dir;
    make_data_folder(folder)?;
    let Location::Sqlite { file, .. } = location(config) else { return Ok(None) };
    let called = if config.database_url.is_some() { &file } else { folder };
    Ok(Some(lock_database(&file, called)?))
}

/// Makes the folder, if it is not there, for its owner alone: it holds the database and the key.
///
/// # Errors
/// If it cannot be made.
pub fn make_data_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("cannot make the data folder {}", folder.display()))
}

/// Takes a database file for this process, by a lock beside where it lies, whatever it is `called` and whoever is given it.
fn lock_database(file: &Path, called: &Path) -> anyhow::Result<File> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let path = match real.file_name().is_some_and(|name| name == DATABASE) {
        true => real.with_file_name("lock"),
        false => real.with_added_extension("lock"),
    };
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another fanfare runs on {}", called.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Makes the administrator that the settings name, unless there is one: whoever was removed does not come back with the
/// next start.
async fn create_first_admin(config: &Config, engine: &Engine) -> anyhow::Result<()> {
    let (Some(email), Some(password)) = (&config.admin_email, &config.admin_password) else { return Ok(()) };
    if let Some(key) = email_key(email) {
        let mut tx = engine.store.read().await.map_err(broken)?;
        // Hashing a password takes longer than all the rest of a start, and 19 MiB.
        if tx.account_by_email(&key).await.map_err(broken)?.is_some() {
            return Ok(());
        }
        if tx.admins().await.map_err(broken)? > 0 {
            tracing::info!("there is an administrator already: admin_email is not made one");
            return Ok(());
        }
    }
    let password = password.expose().to_owned();
    let made = login::create_account(&engine.store, engine.clock.now(), email, password, Role::Admin).await;
    match made {
        Ok(Some(account)) => tracing::info!(email = %account.email, "made the administrator {}", account.email),
        Ok(None) => {}
        Err(error) => return Err(not_acceptable("admin_", &error).unwrap_or_else(|| broken(error))),
    }
    Ok(())
}

/// What somebody is told at the terminal whose fields are refused; their names begin with this.
pub(crate) fn not_acceptable(begin: &str, error: &crate::error::Error) -> Option<anyhow::Error> {
    let crate::error::Error::Refused(Refusal::Fields { fields, .. }) = error else { return None };
    let told =
        fields.iter().map(|at| format!("{begin}{} is not acceptable: {}", at.field, at.reason.replace('_', " ")));
    Some(anyhow::anyhow!("{}", told.collect::<Vec<_>>().join("; ")))
}

pub(crate) fn broken(error: crate::error::Error) -> anyhow::Error {
    match error {
        crate::error::Error::Broken(cause) => cause,
        crate::error::Error::Busy { .. } => anyhow::anyhow!(
            "the database does not answer, or takes no writes: it may be locked, read-only, or its disk full"
        ),
        other => anyhow::anyhow!("{other:?}"),
    }
}
