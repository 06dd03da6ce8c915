//! Seals everything anew under another key: all of it in one transaction, or nothing. Works only on a database that
//! nobody else uses, since whoever has the old key in memory would go on sealing with it. Stores no key anywhere.

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Sqlite};

use super::pool::Pool;
use super::seal::{Column, Sealer, SecretKey};
use super::settings::{KEY_PROOF, WrongKey};
use super::transfer::{in_use, open_source, opens_under, others_on};
use super::trouble::broken;
use super::{Db, Location, Tx, on};

/// Rows at a time: what is in memory, and in one statement.
const BATCH: usize = 64;

/// What was sealed anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Each table with the number of its texts.
    pub tables: Vec<(&'static str, u64)>,
    /// Texts that the old key does not open either, as table and id; they stay as they are.
    pub unreadable: Vec<String>,
    /// The new key was in force already: an earlier change had got so far.
    pub already: bool,
}

/// Changes the key of a database from `old` to `new`. Killed at any instant, it leaves the database under one of the two,
/// whole. The database is brought up to date first.
///
/// # Errors
/// If the database is not there or in use, neither key is its own, or it fails. Nothing has changed then.
pub async fn rotate(at: &Location, old: &SecretKey, new: &SecretKey) -> anyhow::Result<Rotated> {
    let db = open_source(at).await?;
    let (old, new) = (Sealer::new(old), Sealer::new(new));
    // Before anything is changed.
    let mut tx = db.write().await.map_err(|error| in_use(at, error))?;
    let stands = opens_under(&mut tx, &old).await?;
    let already = !stands && opens_under(&mut tx, &new).await?;
    drop(tx);
    ensure!(stands || already, WrongKey);
    if already {
        db.close().await;
        return Ok(Rotated { already, ..Rotated::default() });
    }
    db.migrate().await.context("the database could not be migrated")?;
    let mut tx = db.write().await.map_err(|error| in_use(at, error))?;
    shut_out(&mut tx).await?;
    ensure!(opens_under(&mut tx, &old).await?, WrongKey);
    let mut done = Rotated::default();
    for column in Column::ALL {
        let count = reseal(&mut tx, column, &old, &new, &mut done.unreadable).await;
        let table = column.names().0;
        done.tables.push((table, count.with_context(|| format!("the table {table} could not be sealed anew"))?));
    }
    tx.commit().await.map_err(broken)?;
    forget(&db).await;
    db.close().await;
    Ok(done)
}

/// Refuses keys of which none is the database's.
///
/// # Errors
/// If it is not there or in use, or none is its own.
pub async fn must_open(at: &Location, keys: impl Iterator<Item = &SecretKey>) -> anyhow::Result<()> {
    let db = open_source(at).await?;
    let mut tx = db.write().await.map_err(|error| in_use(at, error))?;
    let mut opens = false;
    for key in keys {
        opens = opens || opens_under(&mut tx, &Sealer::new(key)).await?;
    }
    drop(tx);
    db.close().await;
    ensure!(opens, WrongKey);
    Ok(())
}

/// Keeps everybody out until the end. The fork: SQLite's file is locked as a whole. On PostgreSQL whoever connects from
/// now on waits, and then reads the new proof; whoever came before is counted.
async fn shut_out(tx: &mut Tx) -> anyhow::Result<()> {
    let tables: Vec<&str> = Column::ALL.iter().map(|column| column.names().0).collect();
    if let Tx::Postgres(conn) = tx {
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
        sqlx::query("SET LOCAL lock_timeout = '5s'").execute(&mut **conn).await?;
        sqlx::query(AssertSqlSafe(lock)).execute(&mut **conn).await.context("others use the database")?;
        others_on(conn).await?;
    }
    Ok(())
}

/// Seals one column anew; how many texts it held.
async fn reseal(
    tx: &mut Tx,
    column: Column,
    old: &Sealer,
    new: &Sealer,
    unreadable: &mut Vec<String>,
) -> anyhow::Result<u64> {
    let (table, place, text) = column.names();
    let select = format!("SELECT {place}, {text} FROM {table} WHERE {place} > $1 ORDER BY {place} LIMIT {BATCH}");
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let select = select.clone();
        let rows: Vec<(String, String)> =
            on!(&mut *tx, conn => sqlx::query_as(AssertSqlSafe(select)).bind(after).fetch_all(conn).await)?;
        let Some((last, _)) = rows.last() else { return Ok(count) };
        after = last.clone();
        let mut sealed = Vec::with_capacity(rows.len());
        for (id, text) in rows {
            if column == Column::KeyProof && id != KEY_PROOF {
                // Other settings stand in clear.
                continue;
            }
            match old.open(&id, &text) {
                Ok(plain) => sealed.push((new.seal(column, &id, &plain), id)),
                Err(_) => unreadable.push(format!("{table} {id}")),
            }
        }
        count += sealed.len() as u64;
        update(tx, column, sealed).await?;
    }
}

async fn update(tx: &mut Tx, column: Column, sealed: Vec<(String, String)>) -> anyhow::Result<()> {
    let (table, place, text) = column.names();
    if sealed.is_empty() {
        return Ok(());
    }
    let rows: Vec<String> = (0..sealed.len()).map(|at| format!("(${}, ${})", at * 2 + 1, at * 2 + 2)).collect();
    let sql = format!(
        "WITH anew (id, sealed) AS (VALUES {}) UPDATE {table} SET {text} = anew.sealed FROM anew
         WHERE {table}.{place} = anew.id",
        rows.join(", ")
    );
    let count = sealed.len() as u64;
    let changed = on!(tx, conn => {
        let mut query = sqlx::query::<Db>(AssertSqlSafe(sql));
        for (sealed, id) in sealed {
            query = query.bind(id).bind(sealed);
        }
        query.execute(conn).await.map(|done| done.rows_affected())
    })?;
    ensure!(changed == count, "{changed} of {count} rows changed");
    Ok(())
}

/// Writes the SQLite file anew, so that nothing that the old key opens is left in free pages. Only tidying: what fails here
/// has harmed nothing.
async fn forget(db: &Db) {
    if let Db::Sqlite { writer, .. } = db
        && let Err(error) = vacuum(writer).await
    {
        tracing::warn!(%error, "what was sealed with the old key may still be in unused parts of the file");
    }
}

async fn vacuum(writer: &Pool<Sqlite>) -> sqlx::Result<()> {
    writer.take().await?.execute(sqlx::query("VACUUM")).await
}
