//! Moves a whole installation from one kind of database to the other. All of it arrives, counted table by table, or
//! nothing does: it is one transaction on the target. Changes no value, except that tasks which ran wait again.

mod rows;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::open::{care_sqlite, open};
use super::pool::Pool;
use super::seal::{Sealer, SecretKey};
use super::settings::{KEY_PROOF, WrongKey, proves};
use super::tables::{Table, in_order};
use super::trouble::broken;
use super::{Db, Location, Tx, file, on};
use crate::error::{Error, Result};

/// What has arrived.
#[derive(Debug)]
pub struct Moved {
    /// Every table with its number of rows.
    pub tables: Vec<(String, i64)>,
    /// Tasks that had been under way and now wait.
    pub resumed: u64,
}

/// The one table that a target may have rows in: what a first start writes down.
const SETTING: &str = "setting";
/// How often to look for others, and how many times, before they count as there.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 20;

/// Copies everything from one database to an empty one of the other kind. Both are brought up to date first. On SQLite
/// nobody else can use the source meanwhile; on PostgreSQL nobody can write to the source or the target.
///
/// # Errors
/// If a database cannot be reached or is in use, the key is not the source's, the target is not empty, or anything
/// fails on the way. The target holds none of it then.
pub async fn transfer(from: &Location, to: &Location, key: &SecretKey) -> anyhow::Result<Moved> {
    let sealer = Sealer::new(key);
    let source = open_source(from).await?;
    let mut reading = source.write().await.map_err(|error| in_use(from, error))?;
    ensure!(opens_under(&mut reading, &sealer).await?, WrongKey);
    // Ends without a change: migrating takes a transaction of its own.
    drop(reading);
    let target = open_target(to).await?;
    target.migrate().await.context("the target could not be migrated")?;
    let mut writing = target.write().await.map_err(broken)?;
    prepare_target(&mut writing, &sealer).await?;
    source.migrate().await.context("the source could not be migrated")?;
    let mut reading = source.write().await.map_err(|error| in_use(from, error))?;
    let moved = copy_all(&mut reading, &mut writing).await?;
    writing.commit().await.map_err(broken)?;
    drop(reading);
    if let Db::Postgres(pool) = &target
        && let Ok(mut held) = pool.take().await
    {
        // Its planner still takes the tables for empty, and would find out only later; nothing is lost if it does.
        let _ = sqlx::query("ANALYZE").execute(&mut *held).await;
    }
    source.close().await;
    target.close().await;
    Ok(moved)
}

/// Opens what is there, and that nobody else uses; makes nothing.
pub(super) async fn open_source(from: &Location) -> anyhow::Result<Db> {
    match from {
        Location::Sqlite { file, .. } => {
            if file::check(file).await?.is_none() {
                bail!("there is no database at {}", file.display());
            }
            alone_on(file).await
        }
        Location::Postgres { url, .. } => {
            let db = open(&one_connection_to(url)).await?.all;
            let mut tx = db.read().await.map_err(broken)?;
            let Tx::Postgres(conn) = &mut tx else { bail!("PostgreSQL is not what was opened") };
            // A server that runs would take in pushes until the end and after it; they would be left behind.
            others_on(conn).await?;
            drop(tx);
            Ok(db)
        }
    }
}

fn one_connection_to(url: &str) -> Location {
    Location::Postgres { url: url.to_owned(), max_connections: 1 }
}

/// Fails if anybody else is connected to this PostgreSQL database. Who has just left may take a moment to be gone.
pub(super) async fn others_on(conn: &mut PgConnection) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let (others,): (i64,) = sqlx::query_as(
            // Of other people's connections only a superuser sees the type; workers of the system have no user.
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
             AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
             AND COALESCE(backend_type, 'client backend') = 'client backend'",
        )
        .fetch_one(&mut *conn)
        .await?;
        if others == 0 {
            return Ok(());
        }
        tries += 1;
        ensure!(tries < LOOKS, "others are connected to the database ({others}); stop every server on it first");
        tokio::time::sleep(LOOK_EVERY).await;
        // Within a transaction it would go on saying the same.
        sqlx::query("SELECT pg_stat_clear_snapshot()").execute(&mut *conn).await?;
    }
}

async fn open_target(to: &Location) -> anyhow::Result<Db> {
    match to {
        Location::Sqlite { .. } => Ok(open(to).await?.all),
        Location::Postgres { url, .. } => {
            // A pool goes on trying for a while, and then says only that time is up. The URL stays out of the error.
            let options: PgConnectOptions =
                url.parse().map_err(|_| anyhow::anyhow!("the database URL is malformed"))?;
            let mut conn = options.connect().await.context("the target could not be reached")?;
            holds_nothing_else(&mut conn).await?;
            conn.close().await?;
            Ok(open(&one_connection_to(url)).await?.all)
        }
    }
}

/// Fails if a database holds something and was never one of this server: before anything is made in it.
async fn holds_nothing_else(conn: &mut PgConnection) -> anyhow::Result<()> {
    let other: Option<(String,)> = sqlx::query_as(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
         AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND to_regclass('_sqlx_migrations') IS NULL
         ORDER BY relname LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    match other {
        None => Ok(()),
        Some((name,)) => bail!("the target is not empty: it holds {name}; give it a database of its own"),
    }
}

/// An SQLite database with a lock that no other connection gets past, whichever program it is in.
async fn alone_on(file: &Path) -> anyhow::Result<Db> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(Duration::from_secs(1))
        .disable_statement_logging();
    let pool = Pool::new(options, care_sqlite(1));
    pool.take().await.map_err(|error| file::unreadable(file, error))?.keep();
    Ok(Db::Sqlite { writer: pool.clone(), readers: pool })
}

pub(super) fn in_use(from: &Location, error: Error) -> anyhow::Error {
    match from {
        Location::Sqlite { file, .. } => {
            broken(error).context(format!("{} is in use; stop the server first", file.display()))
        }
        Location::Postgres { .. } => broken(error),
    }
}

pub(super) async fn opens_under(tx: &mut Tx, sealer: &Sealer) -> anyhow::Result<bool> {
    let proof = tx.setting(KEY_PROOF).await.map_err(broken)?;
    Ok(proof.is_none_or(|proof| proves(sealer, &proof)))
}

/// Keeps whoever would write from these tables until the end. SQLite's file is locked as a whole.
async fn lock(tx: &mut Tx, tables: &[Table], mode: &str) -> anyhow::Result<()> {
    if let Tx::Postgres(tx) = tx {
        let names: Vec<String> = tables.iter().map(|table| format!("\"{}\"", table.name)).collect();
        let sql = format!("LOCK TABLE {} IN {mode} MODE", names.join(", "));
        sqlx::query(AssertSqlSafe(sql)).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Proves that the target is empty, and keeps it so until the end.
async fn prepare_target(target: &mut Tx, sealer: &Sealer) -> anyhow::Result<()> {
    let tables = target.tables().await?;
    lock(target, &tables, "SHARE ROW EXCLUSIVE").await?;
    for table in &tables {
        if table.name != SETTING && target.count(&table.name).await.map_err(broken)? > 0 {
            bail!("the target is not empty: its table {} has rows; give it a database of its own", table.name);
        }
    }
    // A server that runs on it would go on with its own key.
    ensure!(opens_under(target, sealer).await?, "the target has been started with another secret key");
    on!(target, conn => sqlx::query("DELETE FROM setting").execute(conn).await.map(drop))?;
    Ok(())
}

async fn copy_all(source: &mut Tx, target: &mut Tx) -> anyhow::Result<Moved> {
    let tables = source.tables().await?;
    let known = target.tables().await?;
    let references = source.references().await.map_err(broken)?;
    let mut moved = Moved { tables: Vec::with_capacity(tables.len()), resumed: 0 };
    lock(source, &tables, "SHARE").await?;
    for table in in_order(tables, &references)? {
        ensure!(known.contains(&table), "the table {} is not the same on both sides", table.name);
        let rows = copy_table(source, target, &table).await?;
        moved.tables.push((table.name, rows));
    }
    // Whoever ran them ran on the source.
    moved.resumed = on!(unlimited target, conn => sqlx::query(
        "UPDATE task SET state = 'waiting', worker = NULL, lease_until = NULL WHERE state = 'running'")
        .execute(conn).await.map(|done| done.rows_affected()))?;
    Ok(moved)
}

/// Copies one table and counts it on both sides.
async fn copy_table(source: &mut Tx, target: &mut Tx, table: &Table) -> anyhow::Result<i64> {
    let name = &table.name;
    rows::copy(source, target, table).await.with_context(|| format!("the table {name} could not be copied"))?;
    let there = source.count(name).await.map_err(broken)?;
    let here = target.count(name).await.map_err(broken)?;
    ensure!(there == here, "the table {name} has {there} rows, but {here} have arrived; nothing was kept");
    Ok(here)
}

impl Tx {
    async fn count(&mut self, table: &str) -> Result<i64> {
        let sql = format!("SELECT COUNT(*) FROM \"{table}\"");
        let (count,): (i64,) = on!(unlimited self, conn => sqlx::query_as(AssertSqlSafe(sql)).fetch_one(conn).await)?;
        Ok(count)
    }
}
