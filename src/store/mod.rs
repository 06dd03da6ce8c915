//! The database: the only place that writes SQL.
//!
//! Every query is written once, in SQL that SQLite and PostgreSQL both take, and compiled twice with the native types
//! of each: `on!` expands a query body for whichever database the transaction `Tx` belongs to. Columns are TEXT,
//! BIGINT and BOOLEAN; times are milliseconds; structured values are JSON text that is read and written whole. A fork
//! by dialect is allowed only here and in `migrations.rs`, `rows.rs`, `turns.rs`, `queue.rs`, `tables.rs`,
//! `transfer.rs` and `rotate.rs`, each with its reason.
//!
//! SQLite has one writing connection, so writers queue instead of failing half-way, and several readers. PostgreSQL is
//! used at READ COMMITTED: what is checked in one statement may have changed by the next, so either the change itself
//! has the condition, or the transaction has taken its turn (`turns.rs`).

mod accounts;
mod api_tokens;
mod audit;
mod backup;
mod batch;
mod file;
mod group;
mod herald;
mod idempotency;
mod invites;
mod leavers;
mod mails;
mod migrations;
mod pushers;
mod queue;
mod rotate;
mod rows;
mod seal;
mod sessions;
mod settings;
mod shared;
mod signal;
mod start;
mod tables;
mod tasks;
mod tokens;
mod transfer;
mod trouble;
mod turns;
mod usage;
mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

pub use self::accounts::NewAccount;
pub use self::audit::AuditFilter;
pub use self::backup::{Backup, backup};
pub use self::file::holds_database;
pub use self::herald::News;
pub use self::idempotency::{KeyHash, NewKey, Recorded};
pub use self::mails::MailToken;
pub use self::pushers::{PusherKind, StoredPusher};
pub use self::queue::{Claim, Claimed, Finish, FinishState, Release};
pub use self::rotate::{Rotated, rotate};
pub use self::seal::{Column, Sealer, SecretKey};
pub use self::sessions::Session;
pub use self::settings::WrongKey;
pub use self::signal::Signal;
pub use self::start::Intake;
pub use self::tasks::{Attempt, NewTask, TaskCounts, TaskFilter, TaskRecord};
pub use self::tokens::TokenHash;
pub use self::transfer::{Moved, transfer};
pub use self::usage::Usage;
pub use self::users::{Roots, UserFilter, UserRecord};
use crate::domain::agenda::Limits;
use crate::domain::id::unguessable;
use crate::error::Result;

/// Which database, and where.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file of SQLite; its folder must exist.
    Sqlite {
        /// The database file.
        file: PathBuf,
        /// Whether a commit waits until the disk has it (`synchronous = FULL`) or only until the next checkpoint does.
        durable: bool,
    },
    /// A `postgres://` URL.
    Postgres {
        /// The URL, password included.
        url: String,
        /// Most connections this node opens.
        max_connections: u32,
    },
}

/// The open pools.
#[derive(Clone)]
enum Db {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

/// The database, open and migrated. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    /// What the recorder writes through.
    recording: Db,
    /// What the other nodes are heard through.
    listening: Db,
    sealer: Arc<Sealer>,
    signal: Arc<Signal>,
    recorder: batch::Recorder,
    /// When it was last tried whether the database takes writes, and what came of it.
    tried: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// A transaction. After any error, drop it: on PostgreSQL it is dead, and its commit would answer Ok and roll back.
pub enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Expands one query body once per database, each with its own native types. `Db` names the database in the body.
macro_rules! on {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                #[allow(dead_code)]
                type Db = sqlx::Sqlite;
                let $conn = &mut **tx;
                $body
            }
            $crate::store::Tx::Postgres(tx) => {
                #[allow(dead_code)]
                type Db = sqlx::Postgres;
                let $conn = &mut **tx;
                $body
            }
        }
    };
}
pub(in crate::store) use on;

/// As `on!`, for a single statement that is its own transaction: without BEGIN and COMMIT it is one round trip to the
/// database instead of three. `Dialect` names the database in the body. `readers of` a database does not wait for the
/// writer's turn.
macro_rules! directly {
    ($db:expr, $conn:ident => $body:expr) => {
        $crate::store::directly!(writer of $db, $conn => $body)
    };
    ($pool:ident of $db:expr, $conn:ident => $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite { $pool, .. } => {
                #[allow(dead_code)]
                type Dialect = sqlx::Sqlite;
                let mut held = $pool.acquire().await?;
                let $conn = &mut *held;
                $body
            }
            $crate::store::Db::Postgres(pool) => {
                #[allow(dead_code)]
                type Dialect = sqlx::Postgres;
                let mut held = pool.acquire().await?;
                let $conn = &mut *held;
                $body
            }
        }
    };
}
pub(in crate::store) use directly;

const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(10);
/// Texts that each connection keeps prepared: those over many rows (`rows.rs`) alone are more than a hundred.
const PREPARED: usize = 200;
/// How long to wait for a connection to PostgreSQL: while it is gone, so long waits whoever needs it. At the start, when
/// it may be starting as well, it is tried so many times.
const CONNECT: Duration = Duration::from_secs(2);
const CONNECT_TRIES: u32 = 5;
/// For so long after its last use a connection to PostgreSQL is taken to be there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// From so many connections on the recorder has two.
const SPARE_FROM: u32 = 8;
/// What each session on PostgreSQL is told. A node that freezes in the middle of a transaction gives up its locks, and its
/// turn. Plans are made anew for each call, at some 0.2 ms: one made while the table of tasks was nearly empty reads all of
/// it, and PostgreSQL would keep it for minutes after the table has grown. Compiling them would cost more than it saves.
const SESSION: &str = "SELECT set_config('idle_in_transaction_session_timeout', '30s', false),
    set_config('plan_cache_mode', $1, false), set_config('jit', 'off', false)";
const ANEW: &str = "force_custom_plan";
/// For the recorder, whose inserts can be planned in one way only.
const KEPT: &str = "auto";
/// The log of SQLite is cut back to this after it had to grow, as behind a long read.
const LOG_KEPT: &str = "67108864";
/// How long it may take to try whether the database takes writes, and how long the answer stands.
const TRIED_IN: Duration = Duration::from_secs(3);
const TRIED_FOR: Duration = Duration::from_secs(1);

impl Store {
    /// Opens the database, brings its schema up to date, and proves that the key is the one it was sealed with.
    ///
    /// # Errors
    /// If the database cannot be reached or migrated, or the key is another one.
    pub async fn open(location: &Location, key: &SecretKey, limits: Limits) -> anyhow::Result<Self> {
        let [db, recording, listening] = match location {
            Location::Sqlite { file, durable } => {
                file::check(file).await?;
                let db = open_sqlite(file, *durable).await?;
                [db.clone(), db.clone(), db]
            }
            Location::Postgres { url, max_connections } => open_postgres(url, *max_connections).await?,
        };
        db.migrate().await.context("the database could not be migrated")?;
        let sealer = Arc::new(Sealer::new(key));
        let signal = Arc::new(Signal::new(limits, matches!(db, Db::Postgres(_))));
        let recorder =
            batch::Recorder::start(recording.clone(), signal.clone()).context("the writer could not start")?;
        let store = Self { db, recording, listening, sealer, signal, recorder, tried: Arc::default() };
        store.prove_key().await?;
        Ok(store)
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// If no connection is free in time.
    pub async fn read(&self) -> Result<Tx> {
        self.db.read().await
    }

    /// Begins a transaction that may write. On SQLite it holds the only writer from the start.
    ///
    /// # Errors
    /// If no connection is free in time.
    pub async fn write(&self) -> Result<Tx> {
        self.db.write().await
    }

    /// What seals and opens secrets.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// What wakes this node's claimer.
    pub fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Whether the database answers and takes writes; the latter is tried at most once a second.
    pub async fn is_alive(&self) -> bool {
        if self.recorder.refuses() || !tokio::time::timeout(TRIED_IN, self.reads()).await.unwrap_or(false) {
            return false;
        }
        let mut tried = self.tried.lock().await;
        match *tried {
            Some((at, well)) if at.elapsed() < TRIED_FOR => well,
            _ => {
                let well = self.db.try_write().await.is_ok();
                *tried = Some((Instant::now(), well));
                well
            }
        }
    }

    async fn reads(&self) -> bool {
        let Ok(mut tx) = self.read().await else { return false };
        on!(&mut tx, conn => sqlx::query("SELECT 1").execute(conn).await.is_ok())
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        self.tell_the_rest().await;
        self.listening.close().await;
        self.recording.close().await;
        self.db.close().await;
    }
}

impl Db {
    async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin_with("BEGIN READ ONLY").await?),
        })
    }

    async fn write(&self) -> Result<Tx> {
        Ok(match self {
            // IMMEDIATE takes the write lock now; a deferred transaction could fail when it first writes.
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            // The level that everything here is written for, whatever the server's default.
            Self::Postgres(pool) => Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?),
        })
    }

    /// Writes something that means nothing. The value must be a new one: SQLite leaves a page alone that stays as it is.
    async fn try_write(&self) -> Result<()> {
        let work = async {
            directly!(self, conn => sqlx::query(
                "INSERT INTO setting (name, value) VALUES ('tried', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                .bind(unguessable(rand::random())).execute(conn).await.map(drop))?;
            Ok(())
        };
        match tokio::time::timeout(TRIED_IN, work).await {
            Ok(tried) => tried,
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        }
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite { writer, .. } => migrations::for_sqlite().run(writer).await?,
            Self::Postgres(pool) => migrations::for_postgres().run(pool).await?,
        }
        Ok(())
    }

    async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes the changes last.
    ///
    /// # Errors
    /// If the database refuses; nothing has changed then.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

async fn open_sqlite(file: &std::path::Path, durable: bool) -> anyhow::Result<Db> {
    let synchronous = if durable { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY)
        .statement_cache_capacity(PREPARED)
        // A larger log between checkpoints: fewer pauses, at the price of some disk.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "memory")
        .pragma("journal_size_limit", LOG_KEPT)
        .disable_statement_logging();
    // When the disk is full SQLite rolls back by itself, which the connection does not notice: it takes itself to be in a
    // transaction for ever, and must go.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(BUSY)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_with(options.clone())
        .await
        .map_err(|error| file::unreadable(file, error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok(Db::Sqlite { writer, readers })
}

/// The pool for everything, one for the recorder, which must not wait behind requests and has a runtime of its own that a
/// connection is bound to, and one connection to hear the other nodes. The recorder takes two in turn: the pool tries each
/// after use, and the next group need not wait for that.
async fn open_postgres(url: &str, max_connections: u32) -> anyhow::Result<[Db; 3]> {
    // The URL holds a password: errors must not repeat it.
    let options: PgConnectOptions = url.parse().map_err(|_| anyhow::anyhow!("the database URL is malformed"))?;
    let options = options.disable_statement_logging().statement_cache_capacity(PREPARED);
    let pool = |most: u32, plans: &'static str| {
        PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(CONNECT)
            .after_connect(move |conn, _| {
                Box::pin(async move { sqlx::query(SESSION).bind(plans).execute(conn).await.map(drop) })
            })
            // Tried before use only if it may have been lost unnoticed: it is a round trip.
            .test_before_acquire(false)
            .before_acquire(|conn, meta| {
                Box::pin(async move {
                    if meta.idle_for >= TRUSTED_FOR {
                        conn.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone())
    };
    let recording = if max_connections >= SPARE_FROM { 2 } else { 1 };
    let all = pool(max_connections.saturating_sub(1 + recording).max(1), ANEW);
    let mut tries = 1;
    while let Err(error) = all.acquire().await {
        if tries == CONNECT_TRIES || !matches!(error, sqlx::Error::PoolTimedOut) {
            return Err(error).context("PostgreSQL could not be reached");
        }
        tries += 1;
    }
    Ok([Db::Postgres(all), Db::Postgres(pool(recording, KEPT)), Db::Postgres(pool(1, KEPT))])
}
