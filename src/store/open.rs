//! Opens the pools of either database, with what each connection is told.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool};

use super::checkpoint::Checkpoints;
use super::kept::Kept;
use super::{Db, Location, file};

const READERS: u32 = 4;
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// Texts that each connection keeps prepared: those over many rows (`rows.rs`) alone are more than a hundred.
const PREPARED: usize = 200;
/// How long to wait for a connection to PostgreSQL: while it is gone, so long waits whoever needs it. At the start, when
/// it may be starting as well, it is tried so many times.
const CONNECT: Duration = Duration::from_secs(2);
const CONNECT_TRIES: u32 = 5;
/// For so long after its last use a connection to PostgreSQL is taken to be there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long a connection to PostgreSQL may take to answer after use.
const ANSWERS_IN: Duration = Duration::from_secs(2);
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
/// Pages in the log of SQLite from which on the writer itself moves them to the file and begins the log anew.
const MOST_LOG: &str = "8000";
/// The log of SQLite is cut back to this after it had to grow, as behind a long read.
const LOG_KEPT: &str = "67108864";

/// The database, from several sides.
pub(super) struct Opened {
    pub all: Db,
    /// What the recorder writes through.
    pub recording: Db,
    /// What claims, and what outcomes, are written through.
    pub claiming: Db,
    pub finishing: Db,
    /// What the other nodes are heard through.
    pub listening: Db,
    pub checkpoints: Option<Checkpoints>,
}

/// # Errors
/// If the database cannot be reached.
pub(super) async fn open(location: &Location) -> anyhow::Result<Opened> {
    match location {
        Location::Sqlite { file, durable } => {
            file::check(file).await?;
            let (db, checkpoints) = open_sqlite(file, *durable).await?;
            let [recording, claiming, finishing, listening] = [(); 4].map(|()| db.clone());
            Ok(Opened { all: db, recording, claiming, finishing, listening, checkpoints: Some(checkpoints) })
        }
        Location::Postgres { url, max_connections } => open_postgres(url, *max_connections).await,
    }
}

async fn open_sqlite(file: &Path, durable: bool) -> anyhow::Result<(Db, Checkpoints)> {
    let synchronous = if durable { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY)
        .statement_cache_capacity(PREPARED)
        // Hardly anything is left to do then, see `checkpoint.rs`.
        .pragma("wal_autocheckpoint", MOST_LOG)
        .pragma("temp_store", "memory")
        .pragma("journal_size_limit", LOG_KEPT)
        .disable_statement_logging();
    // When the disk is full SQLite rolls back by itself, which the connection does not notice: it takes itself to be in a
    // transaction for ever, and must go.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(BUSY)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_with(options.clone())
        .await
        .map_err(|error| file::unreadable(file, error))?;
    let checkpoints = Checkpoints::start(options.clone());
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok((Db::Sqlite { writer: Kept::new(writer, Duration::MAX), readers }, checkpoints))
}

/// The pool for everything, one for the recorder, which must not wait behind requests and has a runtime of its own that a
/// connection is bound to, and one connection to hear the other nodes. The recorder takes two in turn: the pool tries each
/// after use, and the next group need not wait for that.
async fn open_postgres(url: &str, max_connections: u32) -> anyhow::Result<Opened> {
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
            // The pool tries a connection after use, and would wait for one that hangs for ever; its place would be gone.
            .after_release(|conn, _| {
                Box::pin(async move {
                    match tokio::time::timeout(ANSWERS_IN, conn.ping()).await {
                        Ok(answered) => answered.map(|()| true),
                        Err(_) => Err(sqlx::Error::PoolTimedOut),
                    }
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
    let shared = |pool: &PgPool| Db::Postgres { pool: pool.clone(), kept: None };
    let keeping = |pool: &PgPool| match max_connections >= SPARE_FROM {
        true => Db::Postgres { pool: pool.clone(), kept: Some(Kept::new(pool.clone(), TRUSTED_FOR)) },
        false => shared(pool),
    };
    Ok(Opened {
        recording: keeping(&pool(recording, KEPT)),
        claiming: keeping(&all),
        finishing: keeping(&all),
        listening: shared(&pool(1, KEPT)),
        all: shared(&all),
        checkpoints: None,
    })
}
