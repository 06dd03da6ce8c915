//! Housekeeping: removes what has been kept long enough. Safe to run on several nodes at once.

use std::time::Duration;

use super::{Engine, enroll, usage, users};
use crate::domain::rate::day;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::{Store, Tx};

/// Rows removed in one commit, so that housekeeping never holds up pushes.
const STEP: i64 = 1000;
const DAY_MS: i64 = 86_400_000;

/// Codes are listed for so long after they ended.
const KEEP_CODES_MS: i64 = 30 * DAY_MS;

/// Removes tasks that ended long enough ago, tokens, codes and idempotency keys that have ended, what was used of limits
/// long ago, the oldest of the record of who did what, accounts that were not confirmed in time and what is left of those
/// that are gone; answers how many rows went.
///
/// # Errors
/// If the database fails.
pub async fn tidy(engine: &Engine) -> Result<u64> {
    let now = engine.clock.now();
    let mut gone = remove_ended_tokens(engine, now).await? + remove_old_usage(engine, now).await?;
    gone += enroll::remove_unconfirmed(engine, now).await?;
    gone += users::sweep_removed(engine, now).await?;
    let days = |kept: u32| now.plus_ms(-i64::from(kept) * DAY_MS);
    let (finished, audited) = (days(engine.keep_finished_days), days(engine.keep_audit_days));
    gone += in_steps(&engine.store, |mut tx| async move { Ok((tx.remove_expired_keys(now, STEP).await?, tx)) }).await?;
    gone +=
        in_steps(&engine.store, |mut tx| async move { Ok((tx.remove_audit_events(audited, STEP).await?, tx)) }).await?;
    gone += in_steps(&engine.store, |mut tx| async move { Ok((tx.remove_finished_tasks(finished, STEP).await?, tx)) })
        .await?;
    Ok(gone)
}

/// Takes steps, each with a commit of its own, until there is nothing left to do; answers how many rows they changed.
pub(super) async fn in_steps<F>(store: &Store, step: impl Fn(Tx) -> F) -> Result<u64>
where
    F: Future<Output = Result<(u64, Tx)>>,
{
    let mut all = 0;
    loop {
        let (changed, tx) = step(store.write().await?).await?;
        tx.commit().await?;
        all += changed;
        if changed == 0 {
            return Ok(all);
        }
    }
}

async fn remove_ended_tokens(engine: &Engine, now: Timestamp) -> Result<u64> {
    let mut tx = engine.store.write().await?;
    let mut removed = tx.remove_ended_tokens(now).await? + tx.remove_ended_api_tokens(now).await?;
    removed += tx.remove_ended_mail_tokens(now).await?;
    removed += tx.remove_ended_invites(now.plus_ms(-KEEP_CODES_MS)).await?;
    tx.commit().await?;
    Ok(removed)
}

async fn remove_old_usage(engine: &Engine, now: Timestamp) -> Result<u64> {
    let mut tx = engine.store.write().await?;
    let removed = tx.remove_usage(now.plus_ms(-usage::MEANINGFUL_MS), day(now) - 1).await?;
    tx.commit().await?;
    Ok(removed)
}

/// Tidies every hour, for as long as it is polled.
pub async fn tidy_forever(engine: &Engine) {
    let mut every = tokio::time::interval(Duration::from_secs(3600));
    loop {
        every.tick().await;
        match tidy(engine).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed {count} rows that were kept long enough"),
            Err(error) => tracing::warn!(?error, "housekeeping did not finish"),
        }
    }
}
