//! Opens the pools of either database, with what each connection is told.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Postgres, Sqlite};

use super::checkpoint::Checkpoints;
use super::herald::Herald;
use super::pool::{Care, Pool};
use super::trouble::may_pass;
use super::{Db, Location, file};
use crate::domain::stock::MOST_AHEAD;

const READERS: u32 = 4;
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// Texts that each connection keeps prepared: those over many rows (`rows.rs`) alone are more than a hundred.
const PREPARED: usize = 200;
/// Rows that SQLite may be ahead of whoever reads them: more than a claim of one lane usually gives.
const ROWS: usize = 2 * MOST_AHEAD;
/// How long to wait for a connection to PostgreSQL: while it is gone, so long waits whoever needs it. At the start, when
/// it may be starting as well, it is tried so many times.
const CONNECT: Duration = Duration::from_secs(2);
const CONNECT_TRIES: u32 = 5;
/// For so long after its last use a connection to PostgreSQL is taken to be there.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long a connection to PostgreSQL may take to answer when it is tried.
const ANSWERS_IN: Duration = Duration::from_secs(2);
/// At this age a connection to PostgreSQL is replaced: its other end gathers memory, and its name may mean another server.
const LIFETIME: Duration = Duration::from_secs(1800);
/// A connection to PostgreSQL that was not needed for so long is closed.
const SPARE_FOR: Duration = Duration::from_secs(600);
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
    /// On PostgreSQL.
    pub herald: Option<Herald>,
    /// On SQLite.
    pub checkpoints: Option<Checkpoints>,
}

/// # Errors
/// If the database cannot be reached.
pub(super) async fn open(location: &Location) -> anyhow::Result<Opened> {
    match location {
        Location::Sqlite { file, durable } => {
            file::check(file).await?;
            file::make(file)?;
            let (db, checkpoints) = open_sqlite(file, *durable).await?;
            Ok(Opened { recording: db.clone(), all: db, herald: None, checkpoints: Some(checkpoints) })
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
        // Or the thread of SQLite waits in the middle of a claim for whoever reads it.
        .row_buffer_size(ROWS)
        // Hardly anything is left to do then, see `checkpoint.rs`.
        .pragma("wal_autocheckpoint", MOST_LOG)
        .pragma("temp_store", "memory")
        .pragma("journal_size_limit", LOG_KEPT)
        .disable_statement_logging();
    let writer = Pool::new(options.clone(), care_sqlite(1));
    writer.take().await.map_err(|error| file::unreadable(file, error))?.keep();
    let checkpoints = Checkpoints::start(options.clone());
    let readers = Pool::new(options.read_only(true).create_if_missing(false), care_sqlite(READERS));
    Ok((Db::Sqlite { writer, readers }, checkpoints))
}

/// A file does not go away, and nobody waits longer for a turn than for others' locks.
pub(super) fn care_sqlite(most: u32) -> Care<Sqlite> {
    let for_ever = Duration::MAX;
    Care {
        most,
        wait: BUSY,
        trusted_for: for_ever,
        answers_in: BUSY,
        lifetime: for_ever,
        spare_for: for_ever,
        greeting: None,
    }
}

/// A pool for everything, one for the recorder, which must not wait behind requests and has a runtime of its own that a
/// connection is bound to, and one connection to hear the other nodes.
async fn open_postgres(url: &str, max_connections: u32) -> anyhow::Result<Opened> {
    // The URL holds a password: errors must not repeat it.
    let options: PgConnectOptions = url.parse().map_err(|_| anyhow::anyhow!("the database URL is malformed"))?;
    let options = options.disable_statement_logging().statement_cache_capacity(PREPARED);
    let care = |most| Care::<Postgres> {
        most,
        wait: CONNECT,
        trusted_for: TRUSTED_FOR,
        answers_in: ANSWERS_IN,
        lifetime: LIFETIME,
        spare_for: SPARE_FOR,
        greeting: Some(|connection| greet(connection, ANEW).boxed()),
    };
    let all = Pool::new(options.clone(), care(max_connections.saturating_sub(2).max(1)));
    let mut tries = 1;
    loop {
        match all.take().await {
            Ok(held) => break held.keep(),
            Err(error) if tries < CONNECT_TRIES && may_pass(&error) => tries += 1,
            Err(error) => return Err(error).context("PostgreSQL could not be reached"),
        }
    }
    let recording = Care { greeting: Some(|connection| greet(connection, KEPT).boxed()), ..care(1) };
    Ok(Opened {
        recording: Db::Postgres(Pool::new(options.clone(), recording)),
        herald: Some(Herald::new(options)),
        all: Db::Postgres(all),
        checkpoints: None,
    })
}

async fn greet(connection: &mut PgConnection, plans: &'static str) -> sqlx::Result<()> {
    sqlx::query(SESSION).bind(plans).execute(connection).await.map(drop)
}
