//! Records how attempts ended, in groups. What arrived must not be sent again, so it goes on until it is recorded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};

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

/// Where attempts tell how they ended.
#[derive(Clone)]
pub(super) struct Outcomes {
    sender: mpsc::Sender<Finish>,
    enough: Arc<Notify>,
}

/// What they told.
pub(super) struct Told {
    receiver: mpsc::Receiver<Finish>,
    enough: Arc<Notify>,
}

/// A way for outcomes, on which so many wait at most.
pub(super) fn outcomes(capacity: usize) -> (Outcomes, Told) {
    let (sender, receiver) = mpsc::channel(capacity);
    let enough = Arc::new(Notify::new());
    (Outcomes { sender, enough: enough.clone() }, Told { receiver, enough })
}

fn enough(capacity: usize) -> usize {
    ENOUGH.min(capacity)
}

impl Outcomes {
    /// Waits for room. Whoever records them is gone only at the end: then the lease ends and the task is tried again.
    pub(super) async fn send(&self, finish: Finish) {
        let _ = self.sender.send(finish).await;
        let most = self.sender.max_capacity();
        if most - self.sender.capacity() >= enough(most) {
            self.enough.notify_one();
        }
    }
}

impl Told {
    /// Waits until there are enough outcomes, but not after this time. Not each of them wakes.
    async fn gather(&self, until: Instant) {
        while self.receiver.len() < enough(self.receiver.max_capacity()) {
            if timeout_at(until, self.enough.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// Until the last sender is gone; `stuck` says while they cannot be recorded.
pub(super) async fn record_finishes(store: Store, name: Arc<str>, mut told: Told, stuck: watch::Sender<bool>) {
    let mut group = Vec::with_capacity(MOST_FINISHES);
    while told.receiver.recv_many(&mut group, MOST_FINISHES).await > 0 {
        let began = Instant::now();
        record_group(&store, &name, &group, &stuck).await;
        stuck.send_if_modified(std::mem::take);
        if group.len() > 1 {
            told.gather(began + GATHER).await;
        }
        group.clear();
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
