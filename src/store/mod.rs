//! The database: the only place that writes SQL.
//!
//! Every query is written once, in SQL that SQLite and PostgreSQL both take, and compiled twice with the native types
//! of each: `on!` expands a query body for whichever database the transaction `Tx` belongs to. Columns are TEXT,
//! BIGINT and BOOLEAN; times are milliseconds; structured values are JSON text that is read and written whole. A fork
//! by dialect is allowed only here, in `batch.rs` and in `queue.rs`, each with its
//! reason.
//!
//! SQLite has one writing connection, so writers queue instead of failing half-way, and several readers.

mod accounts;
mod batch;
mod invites;
mod leavers;
mod mails;
mod migrations;
mod pushers;
mod queue;
mod rows;
mod seal;
mod sessions;
mod settings;
mod signal;
mod tasks;
mod tokens;
mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

pub use self::accounts::NewAccount;
pub use self::mails::MailToken;
pub use self::pushers::{PusherKind, StoredPusher};
pub use self::queue::{Claim, Claimed, Finish, FinishState, Release};
pub use self::seal::{Sealer, SecretKey};
pub use self::sessions::Session;
pub use self::signal::Signal;
pub use self::tasks::{Attempt, NewTask, TaskCounts, TaskFilter, TaskRecord};
pub use self::tokens::TokenHash;
pub use self::users::{Roots, UserFilter, UserRecord};
use crate::domain::agenda::Limits;
use crate::error::{Error, Result};

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
    sealer: Arc<Sealer>,
    signal: Arc<Signal>,
    recorder: batch::Recorder,
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
/// database's thread instead of three. `Dialect` names the database in the body.
macro_rules! directly {
    ($db:expr, $conn:ident => $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite { writer, .. } => {
                #[allow(dead_code)]
                type Dialect = sqlx::Sqlite;
                let mut held = writer.acquire().await?;
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

impl Store {
    /// Opens the database, brings its schema up to date, and proves that the key is the one it was sealed with.
    ///
    /// # Errors
    /// If the database cannot be reached or migrated, or the key is another one.
    pub async fn open(location: &Location, key: &SecretKey, limits: Limits) -> anyhow::Result<Self> {
        let db = match location {
            Location::Sqlite { file, durable } => open_sqlite(file, *durable).await?,
            Location::Postgres { url, max_connections } => open_postgres(url, *max_connections).await?,
        };
        db.migrate().await.context("the database could not be migrated")?;
        let sealer = Arc::new(Sealer::new(key));
        let signal = Arc::new(Signal::new(limits));
        let recorder = batch::Recorder::start(db.clone(), signal.clone()).context("the writer could not start")?;
        let store = Self { db, sealer, signal, recorder };
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

    /// Whether the database answers.
    pub async fn is_alive(&self) -> bool {
        let Ok(mut tx) = self.read().await else { return false };
        on!(&mut tx, conn => sqlx::query("SELECT 1").execute(conn).await.is_ok())
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

impl Db {
    async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    async fn write(&self) -> Result<Tx> {
        Ok(match self {
            // IMMEDIATE takes the write lock now; a deferred transaction could fail when it first writes.
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let migrator = migrations::migrator();
        match self {
            Self::Sqlite { writer, .. } => migrator.run(writer).await?,
            Self::Postgres(pool) => migrator.run(pool).await?,
        }
        Ok(())
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
        .statement_cache_capacity(200)
        // A larger log between checkpoints: fewer pauses, at the price of some disk.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "memory")
        .disable_statement_logging();
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(BUSY)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await
        .with_context(|| format!("the database {} could not be opened", file.display()))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok(Db::Sqlite { writer, readers })
}

async fn open_postgres(url: &str, max_connections: u32) -> anyhow::Result<Db> {
    // The URL holds a password: errors must not repeat it.
    let options: PgConnectOptions = url.parse().map_err(|_| anyhow::anyhow!("the database URL is malformed"))?;
    let options = options.disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(BUSY)
        .connect_with(options)
        .await
        .context("PostgreSQL could not be reached")?;
    Ok(Db::Postgres(pool))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            // Nothing has changed and the cause may pass: the caller may come again.
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
                tracing::warn!(%error, "the database is not available");
                Self::Busy { retry_after: Duration::from_secs(5) }
            }
            other => Self::Broken(anyhow::Error::new(other).context("database")),
        }
    }
}
