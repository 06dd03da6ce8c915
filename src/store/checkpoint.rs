//! Moves what is committed from SQLite's log to its file beside the writer, which would stop for that otherwise: some ten
//! milliseconds, several times a second under load, in which nothing is recorded.
//!
//! The log begins anew only when all of it has been moved, which the writer sees to now and then; it finds little to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// After so many changed rows: some thousand pages.
const ROWS: usize = 1000;
/// How long the connection is kept when there is nothing to do.
const KEPT: Duration = Duration::from_secs(10);

/// Counts what is written, and has it moved when it is much. Ends with its last clone.
#[derive(Clone)]
pub(super) struct Checkpoints(Arc<Counted>);

struct Counted {
    log: Arc<Log>,
    pool: SqlitePool,
    mover: AbortHandle,
}

#[derive(Default)]
struct Log {
    rows: AtomicUsize,
    much: Notify,
}

impl Checkpoints {
    /// Opens nothing yet.
    pub(super) fn start(options: SqliteConnectOptions) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(KEPT)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let log = Arc::new(Log::default());
        let mover = tokio::spawn(move_along(log.clone(), pool.clone())).abort_handle();
        Self(Arc::new(Counted { log, pool, mover }))
    }

    /// So many rows were changed.
    pub(super) fn wrote(&self, rows: usize) {
        if self.0.log.rows.fetch_add(rows, Ordering::Relaxed) + rows >= ROWS {
            self.0.log.much.notify_one();
        }
    }

    pub(super) async fn close(&self) {
        self.0.mover.abort();
        self.0.pool.close().await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.mover.abort();
    }
}

async fn move_along(log: Arc<Log>, pool: SqlitePool) {
    loop {
        log.much.notified().await;
        log.rows.store(0, Ordering::Relaxed);
        // PASSIVE waits for nobody, and nobody for it.
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&pool).await {
            tracing::debug!(%error, "the log could not be moved to the file now; the writer will do it");
        }
    }
}
