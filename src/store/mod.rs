//! The database: the only place that writes SQL.
//!
//! Every query is written once, in SQL that SQLite and PostgreSQL both take, and compiled twice with the native types
//! of each: `on!` expands a query body for whichever database the transaction `Tx` belongs to. Columns are TEXT,
//! BIGINT and BOOLEAN; times are milliseconds; structured values are JSON text that is read and written whole. A fork
//! by dialect is allowed only here and in `open.rs`, `pool.rs`, `herald.rs`, `migrations.rs`, `rows.rs`, `turns.rs`,
//! `queue.rs`, `outcomes.rs`, `tables.rs`, `transfer.rs` and `rotate.rs`, each with its reason.
//!
//! SQLite has one writing connection, so writers queue instead of failing half-way, and several readers. PostgreSQL is
//! used at READ COMMITTED: what is checked in one statement may have changed by the next, so either the change itself
//! has the condition, or the transaction has taken its turn (`turns.rs`).

mod accounts;
mod api_tokens;
mod audit;
mod backup;
mod batch;
mod checkpoint;
mod file;
mod group;
mod herald;
mod idempotency;
mod invites;
mod leavers;
mod mails;
mod migrations;
mod open;
mod outcomes;
mod pool;
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
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::{Postgres, Sqlite};
use tokio::sync::Mutex;

pub use self::accounts::NewAccount;
pub use self::audit::AuditFilter;
pub use self::backup::{Backup, backup};
use self::checkpoint::Checkpoints;
pub use self::file::holds_database;
use self::herald::Herald;
pub use self::herald::News;
pub use self::idempotency::{KeyHash, NewKey, Recorded};
pub use self::mails::MailToken;
use self::open::Opened;
pub use self::outcomes::{Finish, FinishState};
use self::pool::Pool;
pub use self::pool::Transaction;
pub use self::pushers::{PusherKind, StoredPusher};
pub use self::queue::{Claim, Claimed, Release};
pub use self::rotate::{Rotated, must_open, rotate};
pub use self::seal::{Column, Sealer, SecretKey};
pub use self::sessions::Session;
pub use self::settings::WrongKey;
pub use self::signal::Signal;
pub use self::start::Intake;
pub use self::tasks::{Attempt, NewTask, TaskCounts, TaskFilter, TaskRecord};
pub use self::tokens::TokenHash;
pub use self::transfer::{Moved, transfer};
use self::trouble::in_time;
pub use self::usage::{ALL, Draw, Usage};
pub use self::users::{Roots, UserFilter, UserRecord};
pub use self::watch::NOTICED_IN;
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

/// The open pools. SQLite has one writer.
#[derive(Clone)]
enum Db {
    Sqlite { writer: Pool<Sqlite>, readers: Pool<Sqlite> },
    Postgres(Pool<Postgres>),
}

/// The database, open and migrated. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    /// What the recorder writes through.
    recording: Db,
    /// On PostgreSQL.
    herald: Option<Arc<Herald>>,
    sealer: Arc<Sealer>,
    signal: Arc<Signal>,
    recorder: batch::Recorder,
    /// On SQLite.
    checkpoints: Option<Checkpoints>,
    /// When it was last tried whether the database takes writes, and what came of it.
    tried: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// A transaction. After any error, drop it: on PostgreSQL it is dead, and its commit would answer Ok and roll back.
pub enum Tx {
    Sqlite(Transaction<Sqlite>),
    Postgres(Transaction<Postgres>),
}

/// Expands one query body once per database, each with its own native types. `Db` names the database in the body. On
/// PostgreSQL, whose other end may vanish without a word, each statement has a limit of time, unless it is `unlimited`.
macro_rules! on {
    ($tx:expr, $conn:ident => $body:expr) => {
        $crate::store::on!(either $tx, $conn => $body, $crate::store::trouble::in_time(async { $body }).await)
    };
    (unlimited $tx:expr, $conn:ident => $body:expr) => {
        $crate::store::on!(either $tx, $conn => $body, $body)
    };
    (either $tx:expr, $conn:ident => $on_sqlite:expr, $on_postgres:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                #[allow(dead_code)]
                type Db = sqlx::Sqlite;
                let $conn = &mut **tx;
                $on_sqlite
            }
            $crate::store::Tx::Postgres(tx) => {
                #[allow(dead_code)]
                type Db = sqlx::Postgres;
                let $conn = &mut **tx;
                $on_postgres
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
        match $db {
            $crate::store::Db::Sqlite { writer, .. } => $crate::store::directly!(sqlx::Sqlite, writer, $conn => $body),
            $crate::store::Db::Postgres(pool) => {
                $crate::store::directly!(sqlx::Postgres, pool, $conn => $crate::store::trouble::in_time(async { $body }).await)
            }
        }
    };
    (readers of $db:expr, $conn:ident => $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite { readers, .. } => {
                $crate::store::directly!(sqlx::Sqlite, readers, $conn => $body)
            }
            db => $crate::store::directly!(db, $conn => $body),
        }
    };
    // The same for a query that gives no rows.
    (execute on $db:expr, $query:expr) => {
        match $db {
            $crate::store::Db::Sqlite { writer, .. } => {
                #[allow(dead_code)]
                type Dialect = sqlx::Sqlite;
                writer.take().await?.execute($query).await
            }
            db => $crate::store::directly!(db, conn => $query.execute(conn).await.map(drop)),
        }
    };
    ($dialect:ty, $pool:expr, $conn:ident => $body:expr) => {{
        #[allow(dead_code)]
        type Dialect = $dialect;
        let mut held = $pool.take().await?;
        let $conn = &mut *held;
        let done = $body;
        if done.is_ok() {
            held.keep();
        }
        done
    }};
}
pub(in crate::store) use directly;

/// How long it may take to try whether the database takes writes, and how long the answer stands.
const TRIED_IN: Duration = Duration::from_secs(3);
const TRIED_FOR: Duration = Duration::from_secs(1);

impl Store {
    /// Opens the database, brings its schema up to date, and proves that the key is the one it was sealed with.
    ///
    /// # Errors
    /// If the database cannot be reached or migrated, or the key is another one.
    pub async fn open(location: &Location, key: &SecretKey, limits: Limits) -> anyhow::Result<Self> {
        let Opened { all: db, recording, herald, checkpoints } = open::open(location).await?;
        db.migrate().await.context("the database could not be migrated")?;
        let sealer = Arc::new(Sealer::new(key));
        let signal = Arc::new(Signal::new(limits, matches!(db, Db::Postgres(_))));
        let recorder = batch::Recorder::start(recording.clone(), signal.clone(), checkpoints.clone())
            .context("the writer could not start")?;
        let tried = Arc::default();
        let herald = herald.map(Arc::new);
        let store = Self { db, recording, herald, sealer, signal, recorder, checkpoints, tried };
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

    /// So many rows of the queue were changed.
    fn wrote(&self, rows: usize) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.wrote(rows);
        }
    }

    async fn reads(&self) -> bool {
        let Ok(mut tx) = self.read().await else { return false };
        on!(&mut tx, conn => sqlx::query("SELECT 1").execute(conn).await.map(drop)).is_ok()
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        self.tell_the_rest().await;
        if let Some(herald) = &self.herald {
            herald.close();
        }
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.close().await;
        }
        self.recording.close().await;
        self.db.close().await;
    }
}

impl Db {
    async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.take().await?.begin("BEGIN").await?),
            Self::Postgres(pool) => Tx::Postgres(in_time(pool.take().await?.begin("BEGIN READ ONLY")).await?),
        })
    }

    async fn write(&self) -> Result<Tx> {
        // The level that everything here is written for, whatever the server's default.
        const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
        Ok(match self {
            // IMMEDIATE takes the write lock now; a deferred transaction could fail when it first writes.
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.take().await?.begin("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(in_time(pool.take().await?.begin(BEGIN)).await?),
        })
    }

    /// Most rows that one statement takes (`rows.rs`).
    fn most_rows(&self) -> usize {
        match self {
            Self::Sqlite { .. } => rows::MOST_ROWS,
            Self::Postgres(_) => usize::MAX,
        }
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
            Self::Sqlite { writer, .. } => {
                let mut held = writer.take().await?;
                migrations::for_sqlite().run(&mut *held).await?;
                held.keep();
            }
            Self::Postgres(pool) => {
                let mut held = pool.take().await?;
                migrations::for_postgres().run(&mut *held).await?;
                held.keep();
            }
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Sqlite { writer, .. } => writer.is_closed(),
            Self::Postgres(pool) => pool.is_closed(),
        }
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
            Self::Postgres(tx) => in_time(tx.commit()).await?,
        }
        Ok(())
    }
}
