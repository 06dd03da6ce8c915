//! What another process writes into the file of SQLite, such as `fanfare admin` beside a running server: noticed within
//! `NOTICED_IN`. On PostgreSQL nodes tell each other (`herald.rs`).

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Db, News, directly};
use crate::error::Result;

const EVERY: Duration = Duration::from_millis(500);
/// Whatever is committed elsewhere is known after so long.
pub const NOTICED_IN: Duration = Duration::from_secs(1);

/// Tells of each time that somebody else has written, until the database is closed or nobody listens.
pub(super) async fn watch(db: Db, tell: mpsc::UnboundedSender<News>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    while !db.is_closed() {
        every.tick().await;
        // While it does not answer, nothing is read from it either.
        let Ok(version) = version(&db).await else { continue };
        if known.replace(version).is_some_and(|known| known != version) && tell.send(News::Elsewhere).is_err() {
            return;
        }
    }
}

/// A number that changes, on the connection that writes all of this process, with what others have written.
async fn version(db: &Db) -> Result<i64> {
    Ok(directly!(db, conn => sqlx::query_scalar("PRAGMA data_version").fetch_one(conn).await)?)
}
