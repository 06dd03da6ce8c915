//! When the database cannot do what is asked: which failures may pass by themselves, and how loudly they are told.
//! Repeats nothing by itself.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::error::Error;

/// When a caller may come again after the database was gone or full.
const GONE: Duration = Duration::from_secs(5);
/// When a caller may come again after others were in the way.
const CROWDED: Duration = Duration::from_secs(1);
/// Most time that a statement may take before it is given up. What became of it is not known then.
const PATIENCE: Duration = Duration::from_secs(10);
/// A failure that goes on is told once in this time.
const TOLD_EVERY: Duration = Duration::from_secs(5);

static TOLD: Seldom = Seldom::new();

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match passing(&error) {
            Some(retry_after) => {
                if let Some(since) = TOLD.say(Instant::now()) {
                    tracing::warn!(%error, since, "the database is not available: {error}{}", more(since));
                }
                Self::Busy { retry_after }
            }
            None => Self::Broken(anyhow::Error::new(error).context("database")),
        }
    }
}

/// A failure as it ends a start or a command.
pub(super) fn broken(error: Error) -> anyhow::Error {
    match error {
        Error::Broken(cause) => cause,
        other => anyhow::anyhow!("the database did not answer: {other:?}"),
    }
}

/// Whether it may go better, as when the database is just starting.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    passing(error).is_some()
}

/// When it may go better, if the failure lies not in what was asked but in the database's state.
fn passing(error: &sqlx::Error) -> Option<Duration> {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_) => Some(GONE),
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                return postgres(error.code());
            }
            let code = error.try_downcast_ref::<SqliteError>().and_then(|_| error.code()?.parse().ok());
            code.and_then(sqlite)
        }
        _ => None,
    }
}

/// By SQLSTATE. Classes: 08 connection, 53 resources (disk full among them), 57P being shut down or started, 58 the
/// system. 25006 is a server that only reads, as after a switch to another one; 57014 a statement's time limit.
fn postgres(code: &str) -> Option<Duration> {
    match code {
        "40001" | "40P01" | "55P03" | "57014" => Some(CROWDED),
        "25006" => Some(GONE),
        _ if ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class)) => Some(GONE),
        _ => None,
    }
}

/// By SQLite's result code, of which the lowest byte is the kind.
fn sqlite(code: i32) -> Option<Duration> {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NO_MEMORY: i32 = 7;
    const READ_ONLY: i32 = 8;
    const INPUT_OUTPUT: i32 = 10;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    const PROTOCOL: i32 = 15;
    match code & 0xff {
        BUSY | LOCKED | PROTOCOL => Some(CROWDED),
        NO_MEMORY | READ_ONLY | INPUT_OUTPUT | FULL | CANNOT_OPEN => Some(GONE),
        _ => None,
    }
}

/// Gives up after a while: a connection whose other end has vanished would be waited for until the system notices. The
/// error is one that may pass; the work may have been done all the same.
pub(super) fn in_time<T, E: From<sqlx::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    let late = |_| Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")).into());
    tokio::time::timeout(PATIENCE, work).map(move |done| done.unwrap_or_else(late))
}

/// Lets one of many equal messages through at intervals, and counts the others.
pub(super) struct Seldom(Mutex<Option<(Instant, u64)>>);

impl Seldom {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// How many were held back since the last one that was let through, if this one may be told.
    pub(super) fn say(&self, now: Instant) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((at, held_back)) if now.duration_since(*at) < TOLD_EVERY => {
                *held_back += 1;
                None
            }
            told => {
                let held_back = told.map_or(0, |(_, held_back)| held_back);
                *told = Some((now, 0));
                Some(held_back)
            }
        }
    }
}

/// How a message tells of those held back.
pub(super) fn more(held_back: u64) -> String {
    if held_back == 0 { String::new() } else { format!(" (and {held_back} times more since this was last told)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_is_wrong() {
        for code in ["08006", "53100", "53300", "57P01", "57P02", "57P03", "58030", "25006", "40001", "40P01"] {
            assert!(postgres(code).is_some(), "{code}");
        }
        for code in ["23505", "42601", "42P01", "22021", "28P01", "XX001"] {
            assert_eq!(postgres(code), None, "{code}");
        }
        // Extended codes as well: FULL, IOERR_WRITE, IOERR_FSYNC, READONLY_DBMOVED, CANTOPEN_ISDIR, BUSY_SNAPSHOT.
        for code in [13, 778, 1034, 1032, 526, 517] {
            assert!(sqlite(code).is_some(), "{code}");
        }
        // ERROR, CORRUPT, CONSTRAINT_UNIQUE, NOTADB.
        for code in [1, 11, 2067, 26] {
            assert_eq!(sqlite(code), None, "{code}");
        }
    }

    #[test]
    fn a_failure_that_goes_on_is_told_now_and_then() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        assert_eq!(seldom.say(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(seldom.say(start + TOLD_EVERY / 2), None);
        }
        assert_eq!(seldom.say(start + TOLD_EVERY), Some(1000));
        assert_eq!(seldom.say(start + TOLD_EVERY * 2), Some(0));
    }
}
