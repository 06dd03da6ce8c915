//! A connection that stays out of its pool between uses. A pool tries each connection after use, and gives it to nobody
//! meanwhile: one more trip to the database for each write, which the next one waits for.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Database, Executor, Pool, SqlSafeStr, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

/// How long to wait for a turn.
const TURN: Duration = Duration::from_secs(10);

/// One connection of a pool, for one after the other, in the order in which they came. Cheap to clone.
pub(super) struct Kept<DB: Database> {
    pool: Pool<DB>,
    /// For so long after its last use it is taken to be there.
    trusted_for: Duration,
    slot: Arc<Mutex<Slot<DB>>>,
}

struct Slot<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    used: Instant,
}

/// A connection in use. Unless it is kept, it goes back to the pool, which tries it.
pub(super) struct Held<'a, DB: Database> {
    connection: PoolConnection<DB>,
    kept: &'a Kept<DB>,
    slot: MutexGuard<'a, Slot<DB>>,
}

impl<DB: Database> Clone for Kept<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), trusted_for: self.trusted_for, slot: self.slot.clone() }
    }
}

impl<DB: Database> Kept<DB> {
    /// Keeps a connection for so long after its last use; with no time at all, never.
    pub(super) fn new(pool: Pool<DB>, trusted_for: Duration) -> Self {
        Self { pool, trusted_for, slot: Arc::new(Mutex::new(Slot { connection: None, used: Instant::now() })) }
    }

    /// The pool that the connection is of.
    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Waits for its turn, and for a connection if none is kept.
    pub(super) async fn take(&self) -> sqlx::Result<Held<'_, DB>> {
        let mut slot = match self.slot.try_lock() {
            Ok(slot) => slot,
            Err(_) => tokio::time::timeout(TURN, self.slot.lock()).await.map_err(|_| sqlx::Error::PoolTimedOut)?,
        };
        if slot.used.elapsed() >= self.trusted_for {
            // The pool tries it.
            slot.connection = None;
        }
        let connection = match slot.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        Ok(Held { connection, kept: self, slot })
    }

    /// Closes the pool, after what is under way.
    pub(super) async fn close(&self) {
        // From here on nothing is kept any more.
        let closed = self.pool.close();
        drop(self.slot.lock().await.connection.take());
        closed.await;
    }
}

impl<DB: Database> Held<'_, DB> {
    /// Keeps it for the next one: what was done with it ended well, and is no transaction.
    pub(super) fn keep(mut self) {
        if !self.kept.pool.is_closed() && !self.kept.trusted_for.is_zero() {
            self.slot.used = Instant::now();
            self.slot.connection = Some(self.connection);
        }
    }

    /// Begins a transaction, which gives it back to the pool at its end.
    pub(super) async fn begin(self, statement: &'static str) -> sqlx::Result<Transaction<'static, DB>> {
        let Self { connection, slot, .. } = self;
        drop(slot);
        Transaction::begin(connection, Some(statement.into_sql_str())).await
    }
}

impl Held<'_, Sqlite> {
    /// Runs a statement that gives no rows and is its own transaction, and keeps the connection.
    pub(super) async fn execute(mut self, query: Query<'_, Sqlite, SqliteArguments>) -> sqlx::Result<()> {
        // What it came to is all that comes. To be told so, as when everything is read, would be another change of threads.
        let done = self.connection.fetch_many(query).try_next().await?;
        debug_assert!(done.is_none_or(|done| done.is_left()), "a row");
        self.keep();
        Ok(())
    }
}

impl<DB: Database> Deref for Held<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<DB: Database> DerefMut for Held<'_, DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl<DB: Database> Drop for Slot<DB> {
    /// The last one may go where there is no runtime, which a connection needs to get back to its pool.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    /// A pool of one connection, and how often it got that back.
    async fn pool() -> (Pool<Sqlite>, Arc<AtomicUsize>) {
        let back = Arc::<AtomicUsize>::default();
        let count = back.clone();
        let options = SqlitePoolOptions::new().max_connections(1).after_release(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(true) })
        });
        let pool = options.connect("sqlite::memory:").await.unwrap();
        // It was tried when it was opened; whoever has it now knows that this is over.
        drop(pool.acquire().await.unwrap().detach());
        back.store(0, Ordering::SeqCst);
        (pool, back)
    }

    async fn write(kept: &Kept<Sqlite>, text: &'static str) -> sqlx::Result<()> {
        kept.take().await?.execute(sqlx::query(text)).await
    }

    #[tokio::test]
    async fn it_goes_back_to_its_pool_only_after_what_did_not_end_well() {
        let (pool, back) = pool().await;
        let kept = Kept::new(pool, Duration::MAX);
        write(&kept, "CREATE TABLE note (text TEXT NOT NULL)").await.unwrap();
        write(&kept, "INSERT INTO note VALUES ('one')").await.unwrap();
        assert_eq!(back.load(Ordering::SeqCst), 0);
        write(&kept, "INSERT INTO note VALUES (NULL)").await.unwrap_err();
        write(&kept, "INSERT INTO note VALUES ('two')").await.unwrap();
        assert_eq!(back.load(Ordering::SeqCst), 1, "after the one that failed");
        let tx = kept.take().await.unwrap().begin("BEGIN IMMEDIATE").await.unwrap();
        tx.commit().await.unwrap();
        let mut held = kept.take().await.unwrap();
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM note").fetch_one(&mut *held).await.unwrap();
        assert_eq!((count, back.load(Ordering::SeqCst)), (2, 2), "and after the transaction");
    }

    #[tokio::test]
    async fn one_that_is_not_trusted_any_more_is_tried_by_its_pool() {
        let (pool, back) = pool().await;
        let kept = Kept::new(pool, Duration::ZERO);
        for _ in 0..3 {
            write(&kept, "SELECT 1 WHERE FALSE").await.unwrap();
        }
        drop(kept.take().await.unwrap());
        drop(kept.take().await.unwrap());
        assert!(back.load(Ordering::SeqCst) >= 4);
    }

    #[tokio::test]
    async fn closing_waits_for_whoever_uses_it_and_for_nobody_else() {
        let (pool, _) = pool().await;
        let kept = Kept::new(pool, Duration::MAX);
        write(&kept, "CREATE TABLE note (text TEXT)").await.unwrap();
        let used = kept.take().await.unwrap();
        let closing = tokio::spawn({
            let kept = kept.clone();
            async move { kept.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        used.keep();
        tokio::time::timeout(Duration::from_secs(5), closing).await.unwrap().unwrap();
        assert!(matches!(kept.take().await.map(drop), Err(sqlx::Error::PoolClosed)));
    }
}
