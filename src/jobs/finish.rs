//! Records how attempts ended, in groups. What arrived must not be sent again, so it goes on until it is recorded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::MOST_FINISHES;
use crate::error::Error;
use crate::store::{Finish, Store};

/// How often outcomes are refused, for a reason that does not pass, before each is tried alone.
const MOST_REFUSALS: u32 = 3;
/// Least time between two groups under load, unless there are enough outcomes for one before: each is a flush to disk, and
/// the writer's turn.
const GATHER: Duration = Duration::from_millis(5);
/// So many are: with more, claims wait too long for the writer, and the workers for claims.
const ENOUGH: usize = 96;
/// How often it is looked whether there are enough, instead of being woken by each outcome.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Until the last sender is gone; `stuck` says while they cannot be recorded.
pub(super) async fn record_finishes(
    store: Store,
    name: Arc<str>,
    mut finished: mpsc::Receiver<Finish>,
    stuck: watch::Sender<bool>,
) {
    let mut group = Vec::with_capacity(MOST_FINISHES);
    while finished.recv_many(&mut group, MOST_FINISHES).await > 0 {
        let began = Instant::now();
        record_group(&store, &name, &group, &stuck).await;
        stuck.send_if_modified(std::mem::take);
        if group.len() > 1 {
            gather(&finished, began + GATHER).await;
        }
        group.clear();
    }
}

/// Waits until there are enough outcomes, but not after this time.
async fn gather(finished: &mpsc::Receiver<Finish>, until: Instant) {
    while finished.len() < ENOUGH && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns once the outcomes are recorded, however long that takes: what arrived must not be sent again. Only an outcome
/// that the database does not take as such is given up, so that it does not stop all others.
async fn record_group(store: &Store, name: &str, group: &[Finish], stuck: &watch::Sender<bool>) {
    let mut pause = Duration::from_millis(100);
    let mut refused = 0;
    while let Err(error) = store.finish(name, group).await {
        stuck.send_replace(true);
        refused += u32::from(!matches!(error, Error::Busy { .. }));
        if refused > MOST_REFUSALS {
            return record_apart(store, name, group, stuck).await;
        }
        tracing::warn!(?error, count = group.len(), "{} outcomes could not be recorded yet", group.len());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Finds the outcome in a group that cannot be recorded, and has its task fail with nothing but a code.
async fn record_apart(store: &Store, name: &str, group: &[Finish], stuck: &watch::Sender<bool>) {
    if let [finish] = group {
        tracing::error!(task_id = %finish.id, "the outcome of task {} cannot be recorded; it counts as failed", finish.id);
        let plain = finish.unrecordable();
        if let Err(error) = store.finish(name, &[plain]).await {
            tracing::error!(?error, task_id = %finish.id, "nor can that; task {} runs again", finish.id);
        }
        return;
    }
    for finish in group {
        Box::pin(record_group(store, name, std::slice::from_ref(finish), stuck)).await;
    }
}
