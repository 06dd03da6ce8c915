//! Connections that are kept between uses. What sqlx has for this sends each connection after use on one more trip to the
//! database, which the next user waits for, and sets no limit to it: one that hangs would keep its place for ever.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{TryFutureExt, TryStreamExt};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{ConnectOptions, Connection, Database, Executor, PgConnection, Postgres, Sqlite, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{error::Elapsed, sleep, timeout};

use super::trouble::may_pass;

/// While a database refuses connections, as when it starts, it is asked again: after the first pause, and after ever longer
/// ones up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database whose connections are kept, and what each is asked in its own way.
pub trait Pooled: Database {
    /// Runs a statement that gives no rows and has no parameters.
    fn run(connection: &mut Self::Connection, sql: &'static str) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Ends a transaction if there is one.
    fn roll_back(connection: &mut Self::Connection) -> impl Future<Output = sqlx::Result<()>> + Send {
        Self::run(connection, "ROLLBACK")
    }
}

impl Pooled for Sqlite {
    fn run(connection: &mut SqliteConnection, sql: &'static str) -> impl Future<Output = sqlx::Result<()>> + Send {
        execute(connection, sqlx::query(sql))
    }

    async fn roll_back(connection: &mut SqliteConnection) -> sqlx::Result<()> {
        match Self::run(connection, "ROLLBACK").await {
            // When the disk is full SQLite has ended it by itself, and says that there is none.
            Err(sqlx::Error::Database(_)) => Ok(()),
            done => done,
        }
    }
}

impl Pooled for Postgres {
    fn run(connection: &mut PgConnection, sql: &'static str) -> impl Future<Output = sqlx::Result<()>> + Send {
        connection.execute(sql).map_ok(drop)
    }
}

/// What a connection is told before its first use.
pub(super) type Greeting<DB> = fn(&mut <DB as Database>::Connection) -> BoxFuture<'_, sqlx::Result<()>>;

/// How many connections there are, and how they are looked after.
pub(super) struct Care<DB: Pooled> {
    /// Most connections at a time.
    pub most: u32,
    /// How long to wait for one to be free, tried and opened.
    pub wait: Duration,
    /// For so long after its last use a connection is taken to be there.
    pub trusted_for: Duration,
    /// How long it may take to answer when it is tried.
    pub answers_in: Duration,
    /// From this age on it is replaced.
    pub lifetime: Duration,
    /// After so long in which the others sufficed it is closed.
    pub spare_for: Duration,
    pub greeting: Option<Greeting<DB>>,
}

/// Some connections, for one after the other in the order in which they come. Cheap to clone.
pub(super) struct Pool<DB: Pooled>(Arc<Inner<DB>>);

struct Inner<DB: Pooled> {
    options: Options<DB>,
    care: Care<DB>,
    places: Arc<Semaphore>,
    closed: AtomicBool,
    idle: Mutex<Vec<Idle<DB>>>,
}

struct Idle<DB: Pooled> {
    connection: DB::Connection,
    opened: Instant,
    used: Instant,
}

/// A connection in use. Unless it is kept, it is tried first, and replaced if it does not answer.
pub(super) struct Held<DB: Pooled> {
    /// Taken out only at the end.
    connection: Option<DB::Connection>,
    opened: Instant,
    /// Whether a transaction may be open, which nobody will end.
    unended: bool,
    pool: Pool<DB>,
    place: Option<OwnedSemaphorePermit>,
}

/// A connection in a transaction, which is rolled back unless it is committed.
pub struct Transaction<DB: Pooled>(Held<DB>);

impl<DB: Pooled> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Pooled> Pool<DB> {
    /// Opens nothing yet.
    pub(super) fn new(options: Options<DB>, care: Care<DB>) -> Self {
        let places = Arc::new(Semaphore::new(care.most as usize));
        Self(Arc::new(Inner { options, care, places, closed: AtomicBool::new(false), idle: Mutex::default() }))
    }

    /// Waits for its turn, and for a connection if none is kept.
    ///
    /// # Errors
    /// If it takes too long, no connection can be opened, or the pool is closed.
    pub(super) async fn take(&self) -> sqlx::Result<Held<DB>> {
        match self.take_at_once() {
            Some(held) => Ok(held),
            // Whoever waits in vain for a connection that hangs takes it along, so that the next one need not.
            None => timeout(self.0.care.wait, self.take_in_turn()).await.map_err(too_long)?,
        }
    }

    /// If there is one that need not be tried, and nobody waits.
    fn take_at_once(&self) -> Option<Held<DB>> {
        let place = self.0.places.clone().try_acquire_owned().ok()?;
        let mut idle = self.idle();
        let last = idle.pop_if(|idle| self.is_good(idle) && !self.is_closed())?;
        drop(idle);
        Some(self.held(last.connection, last.opened, place))
    }

    async fn take_in_turn(&self) -> sqlx::Result<Held<DB>> {
        let place = self.0.places.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        if self.is_closed() {
            return Err(sqlx::Error::PoolClosed);
        }
        while let Some(mut idle) = self.pop() {
            if idle.opened.elapsed() >= self.0.care.lifetime {
                tokio::spawn(close(idle.connection, self.0.care.answers_in));
            } else if self.is_good(&idle) || self.answers(&mut idle.connection, false).await {
                return Ok(self.held(idle.connection, idle.opened, place));
            }
        }
        Ok(self.held(self.connect().await?, Instant::now(), place))
    }

    /// Whether a connection can be used without being tried.
    fn is_good(&self, idle: &Idle<DB>) -> bool {
        idle.used.elapsed() < self.0.care.trusted_for && idle.opened.elapsed() < self.0.care.lifetime
    }

    fn held(&self, connection: DB::Connection, opened: Instant, place: OwnedSemaphorePermit) -> Held<DB> {
        Held { connection: Some(connection), opened, unended: false, pool: self.clone(), place: Some(place) }
    }

    /// For as long as it is refused for a reason that may pass.
    async fn connect(&self) -> sqlx::Result<DB::Connection> {
        let mut pause = AGAIN.0;
        loop {
            match self.connect_once().await {
                Err(error) if may_pass(&error) => {
                    tracing::debug!(%error, "no connection to the database yet");
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
                done => return done,
            }
        }
    }

    async fn connect_once(&self) -> sqlx::Result<DB::Connection> {
        let mut connection = self.0.options.connect().await?;
        if let Some(greet) = self.0.care.greeting {
            greet(&mut connection).await?;
        }
        Ok(connection)
    }

    /// Whether a connection can be used again. What was left of a transaction is rolled back with this.
    async fn answers(&self, connection: &mut DB::Connection, unended: bool) -> bool {
        let trial = async {
            match unended {
                true => DB::roll_back(connection).await,
                false => connection.ping().await,
            }
        };
        matches!(timeout(self.0.care.answers_in, trial).await, Ok(Ok(())))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<DB>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Idle<DB>> {
        self.idle().pop()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// Closes every connection, after what is under way; whoever waits is told.
    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        // It fails if another call has been faster.
        let _ = self.0.places.acquire_many(self.0.care.most).await;
        self.0.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for Idle { connection, .. } in idle {
            close(connection, self.0.care.answers_in).await;
        }
    }
}

fn too_long(_: Elapsed) -> sqlx::Error {
    sqlx::Error::PoolTimedOut
}

async fn close(connection: impl Connection, within: Duration) {
    // Nothing was left to do on it; at worst its other end finds out later.
    let _ = timeout(within, connection.close()).await;
}

impl<DB: Pooled> Held<DB> {
    /// Keeps it for the next one: what was done with it ended well, and is no transaction.
    pub(super) fn keep(mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut idle = self.pool.idle();
        idle.push(Idle { connection, opened: self.opened, used: Instant::now() });
        // The last one that was kept is used first, so the first is the one that was not needed for longest.
        let care = &self.pool.0.care;
        if idle.len() > 1 && idle[0].used.elapsed() >= care.spare_for {
            tokio::spawn(close(idle.remove(0).connection, care.answers_in));
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn begin(mut self, statement: &'static str) -> sqlx::Result<Transaction<DB>> {
        // From here on, so that it is rolled back if nobody waits for the answer any more.
        self.unended = true;
        DB::run(&mut self, statement).await?;
        Ok(Transaction(self))
    }
}

impl Held<Sqlite> {
    /// Runs a statement that gives no rows and is its own transaction, and keeps the connection.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn execute(mut self, query: Query<'_, Sqlite, SqliteArguments>) -> sqlx::Result<()> {
        execute(&mut self, query).await?;
        self.keep();
        Ok(())
    }
}

async fn execute(connection: &mut SqliteConnection, query: Query<'_, Sqlite, SqliteArguments>) -> sqlx::Result<()> {
    // What it came to is all that comes. To be told so, as when everything is read, would be another change of threads.
    let done = connection.fetch_many(query).try_next().await?;
    debug_assert!(done.is_none_or(|done| done.is_left()), "a row");
    Ok(())
}

impl<DB: Pooled> Drop for Held<DB> {
    fn drop(&mut self) {
        // Where there is no runtime any more, nobody waits for it either.
        let (Some(mut connection), Ok(runtime)) = (self.connection.take(), Handle::try_current()) else { return };
        let (pool, opened, unended, place) = (self.pool.clone(), self.opened, self.unended, self.place.take());
        runtime.spawn(async move {
            if pool.answers(&mut connection, unended).await {
                pool.idle().push(Idle { connection, opened, used: Instant::now() });
            }
            drop(place);
        });
    }
}

impl<DB: Pooled> Transaction<DB> {
    /// Makes the changes last.
    ///
    /// # Errors
    /// If the database refuses.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        DB::run(&mut self, "COMMIT").await?;
        self.0.keep();
        Ok(())
    }
}

impl<DB: Pooled> Deref for Held<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        // Both ends, `keep` and `drop`, take it for good.
        self.connection.as_ref().expect("a connection until the end")
    }
}

impl<DB: Pooled> DerefMut for Held<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.connection.as_mut().expect("a connection until the end")
    }
}

impl<DB: Pooled> Deref for Transaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<DB: Pooled> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::super::open::care_sqlite;
    use super::*;

    /// A pool of one connection to a database that is gone with it.
    fn pool() -> Pool<Sqlite> {
        Pool::new("sqlite::memory:".parse::<SqliteConnectOptions>().unwrap(), care_sqlite(1))
    }

    async fn write(pool: &Pool<Sqlite>, text: &'static str) -> sqlx::Result<()> {
        pool.take().await?.execute(sqlx::query(text)).await
    }

    async fn count(pool: &Pool<Sqlite>) -> i64 {
        let mut held = pool.take().await.unwrap();
        let (count,) = sqlx::query_as("SELECT COUNT(*) FROM note").fetch_one(&mut *held).await.unwrap();
        held.keep();
        count
    }

    #[tokio::test]
    async fn a_connection_stays_whatever_was_done_with_it_and_is_clean() {
        let pool = pool();
        write(&pool, "CREATE TABLE note (text TEXT NOT NULL)").await.unwrap();
        write(&pool, "INSERT INTO note VALUES ('one')").await.unwrap();
        write(&pool, "INSERT INTO note VALUES (NULL)").await.unwrap_err();
        drop(pool.take().await.unwrap());
        assert_eq!(count(&pool).await, 1);
        let mut tx = pool.take().await.unwrap().begin("BEGIN IMMEDIATE").await.unwrap();
        Sqlite::run(&mut tx, "INSERT INTO note VALUES ('two')").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = pool.take().await.unwrap().begin("BEGIN IMMEDIATE").await.unwrap();
        Sqlite::run(&mut tx, "INSERT INTO note VALUES ('three')").await.unwrap();
        drop(tx);
        assert_eq!(count(&pool).await, 2, "the last one was rolled back before anybody else came");
        // As SQLite does by itself when the disk is full.
        let mut tx = pool.take().await.unwrap().begin("BEGIN IMMEDIATE").await.unwrap();
        Sqlite::run(&mut tx, "ROLLBACK").await.unwrap();
        tx.commit().await.unwrap_err();
        write(&pool, "INSERT INTO note VALUES ('four')").await.unwrap();
        assert_eq!(count(&pool).await, 3);
    }

    #[tokio::test]
    async fn a_transaction_that_nobody_waits_for_any_more_is_rolled_back() {
        let pool = pool();
        write(&pool, "CREATE TABLE note (text TEXT)").await.unwrap();
        let begin = pool.take().await.unwrap().begin("BEGIN IMMEDIATE");
        // It is under way, or has begun already: another thread says so.
        drop(begin.now_or_never());
        write(&pool, "BEGIN IMMEDIATE").await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_keeps_no_place() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://ann@{}/fanfare?sslmode=disable", silent.local_addr().unwrap());
        let soon = Duration::from_millis(20);
        let (lifetime, spare_for) = (Duration::MAX, Duration::MAX);
        let care =
            Care { most: 1, wait: soon, trusted_for: soon, answers_in: soon, lifetime, spare_for, greeting: None };
        let pool = Pool::<Postgres>::new(url.parse().unwrap(), care);
        for _ in 0..2 {
            assert!(matches!(pool.take().await.map(drop), Err(sqlx::Error::PoolTimedOut)));
        }
        assert_eq!(pool.0.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn one_that_is_old_is_replaced() {
        let care = Care { lifetime: Duration::ZERO, ..care_sqlite(1) };
        let pool = Pool::new("sqlite::memory:".parse::<SqliteConnectOptions>().unwrap(), care);
        write(&pool, "CREATE TEMP TABLE note (text TEXT)").await.unwrap();
        write(&pool, "CREATE TEMP TABLE note (text TEXT)").await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_not_needed_any_more_is_closed() {
        let care = Care { spare_for: Duration::ZERO, ..care_sqlite(2) };
        let pool = Pool::new("sqlite::memory:".parse::<SqliteConnectOptions>().unwrap(), care);
        let (one, two) = (pool.take().await.unwrap(), pool.take().await.unwrap());
        one.keep();
        assert_eq!(pool.idle().len(), 1);
        two.keep();
        assert_eq!(pool.idle().len(), 1, "the other one suffices");
    }

    #[tokio::test]
    async fn closing_waits_for_whoever_uses_it_and_for_nobody_else() {
        let pool = pool();
        let used = pool.take().await.unwrap();
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.take().await.map(drop) }
        });
        tokio::task::yield_now().await;
        let closing = tokio::spawn({
            let pool = pool.clone();
            async move { pool.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        used.keep();
        timeout(Duration::from_secs(5), closing).await.unwrap().unwrap();
        assert!(matches!(waiting.await.unwrap(), Err(sqlx::Error::PoolClosed)));
        assert!(matches!(pool.take().await.map(drop), Err(sqlx::Error::PoolClosed)));
        assert!(pool.pop().is_none());
    }
}
