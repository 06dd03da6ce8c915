//! Group commit: pushes that arrive together share one transaction, so that a durable answer costs a fraction of a
//! flush to disk.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpoints;
use super::group::{Entry, Group, Room};
use super::idempotency::{NewKey, Recorded};
use super::rows::MOST_ROWS;
use super::tasks::NewTask;
use super::trouble::in_time;
use super::{Db, Signal};
use crate::error::{Error, Result};

/// Most pushes that may queue for a commit before callers are turned away, and most bytes of their tasks. One push is
/// taken however large it is.
const MOST_QUEUED: usize = 8192;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a task takes besides its payload, about.
const TASK_BYTES: usize = 512;
/// Longest that a push queues; then it gets as much time again for its commit.
const MOST_WAIT: Duration = Duration::from_secs(10);
/// When a push may come again that the database could not take.
const UNTIL_BETTER: Duration = Duration::from_secs(5);

/// Hands tasks to the one writer that commits them in groups.
#[derive(Clone)]
pub(super) struct Recorder {
    entries: mpsc::Sender<Entry>,
    /// Whether the database does not take writes at present, so that nobody need wait to find out.
    refuses: Arc<AtomicBool>,
    /// Bytes of the tasks that queue.
    queued: Arc<AtomicUsize>,
}

impl Recorder {
    /// Starts the writer; it ends when the last handle is gone. It has a thread of its own: among the requests it would
    /// wait for its turn behind those that it has just answered, while the database has nothing to do.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(db: Db, signal: Arc<Signal>, checkpoints: Option<Checkpoints>) -> std::io::Result<Self> {
        let (entries, arrived) = mpsc::channel(MOST_QUEUED);
        let refuses = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut writer = Writer { db, signal, checkpoints, refuses: refuses.clone(), arrived };
        let write = move || go_on_after_panics(|| runtime.block_on(writer.write_groups()));
        std::thread::Builder::new().name("recorder".to_owned()).spawn(write)?;
        Ok(Self { entries, refuses, queued: Arc::default() })
    }

    /// Returns once the tasks are durable, unless the push's key is taken.
    pub(super) async fn record(&self, tasks: Vec<NewTask>, key: Option<NewKey>) -> Result<Recorded> {
        if tasks.is_empty() && key.is_none() {
            return Ok(Recorded::Fresh);
        }
        self.check()?;
        let (done, committed) = oneshot::channel();
        let busy = || Error::Busy { retry_after: Duration::from_secs(1) };
        let room = self.room(&tasks).ok_or_else(busy)?;
        let since = Instant::now();
        self.entries.try_send(Entry { tasks, key, done, room, since }).map_err(|_| busy())?;
        // Without a timer of its own, which costs more than looking at the clock: the writer sees to it.
        match committed.await {
            Ok(Some(recorded)) => Ok(recorded),
            // In the last case it is not known whether they are recorded.
            Ok(None) | Err(_) => Err(Error::Busy { retry_after: UNTIL_BETTER }),
        }
    }

    fn room(&self, tasks: &[NewTask]) -> Option<Room> {
        let bytes = tasks.iter().map(|task| task.payload.len() + TASK_BYTES).sum();
        let before = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let room = Room::new(self.queued.clone(), bytes);
        (before == 0 || before + bytes <= MOST_BYTES).then_some(room)
    }

    /// An error if nothing can be recorded at present.
    pub(super) fn check(&self) -> Result<()> {
        if self.refuses() { Err(Error::Busy { retry_after: UNTIL_BETTER }) } else { Ok(()) }
    }

    /// Somebody found the database gone: refuses until a write has succeeded, beginning with one that is tried now.
    pub(super) fn suspect(&self) {
        let (done, _) = oneshot::channel();
        if !self.refuses.swap(true, Ordering::Relaxed) {
            // With a full queue there is enough to try.
            let (tasks, room, since) = (Vec::new(), Room::none(), Instant::now());
            let _ = self.entries.try_send(Entry { tasks, key: None, done, room, since });
        }
    }

    /// Whether the last group could not be recorded and nothing has been written since.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }
}

/// Refuses those that have queued for too long, which stand in front.
fn refuse_late(waiting: &mut VecDeque<Entry>) {
    let now = Instant::now();
    while let Some(entry) = waiting.pop_front_if(|entry| now.duration_since(entry.since) >= MOST_WAIT) {
        let _ = entry.done.send(None);
    }
}

/// Runs the work again after each panic; those whom it was about to answer are told that it is busy.
fn go_on_after_panics(mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
        tracing::error!("the recorder panicked; it goes on with the next pushes");
    }
}

/// The one writer.
struct Writer {
    db: Db,
    signal: Arc<Signal>,
    checkpoints: Option<Checkpoints>,
    refuses: Arc<AtomicBool>,
    arrived: mpsc::Receiver<Entry>,
}

impl Writer {
    async fn write_groups(&mut self) {
        // After a panic this may be left over.
        self.refuses.store(false, Ordering::Relaxed);
        let mut waiting = VecDeque::with_capacity(MOST_ROWS);
        let mut fresh = Vec::with_capacity(MOST_ROWS);
        loop {
            // What was left over goes first; only an empty table waits for more.
            if waiting.is_empty() && self.arrived.recv_many(&mut fresh, MOST_ROWS).await == 0 {
                return;
            }
            waiting.extend(fresh.drain(..));
            while waiting.len() < MOST_ROWS
                && let Ok(entry) = self.arrived.try_recv()
            {
                waiting.push_back(entry);
            }
            refuse_late(&mut waiting);
            self.write(Group::next(&mut waiting)).await;
            if self.refuses.load(Ordering::Relaxed) {
                self.refuse_until_better(&mut waiting).await;
            }
        }
    }

    /// Commits a group, tells everybody what became of it, and starts what starts with it.
    async fn write(&self, mut group: Group) {
        let starts = group.admit(&self.signal);
        let due = group.due();
        let due = || due.iter().map(|(lane, run_at)| (lane.as_str(), *run_at));
        let committed = in_time(group.insert(&self.db, starts.as_ref())).await;
        match &committed {
            Ok(()) => {
                self.refuses.store(false, Ordering::Relaxed);
                self.signal.announce(due());
                if let Some(checkpoints) = &self.checkpoints {
                    checkpoints.wrote(group.len());
                }
                if let Some(starts) = starts {
                    starts.go();
                }
            }
            Err(error) => {
                // They may be there even if the answer was lost; the agenda takes hints.
                self.signal.note(due());
                match error {
                    Error::Busy { .. } => self.refuses.store(true, Ordering::Relaxed),
                    _ => {
                        let pushes = group.len();
                        tracing::error!(?error, pushes, "pushes could not be recorded and were refused");
                    }
                }
            }
        }
        group.answer(committed.is_ok());
    }

    /// Refuses whoever has queued, until a write succeeds or nobody can come any more.
    async fn refuse_until_better(&mut self, waiting: &mut VecDeque<Entry>) {
        tracing::error!("the database takes no writes: pushes are refused until it does");
        let mut pause = Duration::from_millis(100);
        loop {
            while let Some(entry) = waiting.pop_front().or_else(|| self.arrived.try_recv().ok()) {
                let _ = entry.done.send(None);
            }
            if self.arrived.is_closed() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            if self.db.try_write().await.is_ok() {
                self.refuses.store(false, Ordering::Relaxed);
                tracing::info!("the database takes writes again");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_queued_for_too_long_is_refused() {
        let entry = |since| {
            let (done, told) = oneshot::channel();
            (Entry { tasks: Vec::new(), key: None, done, room: Room::none(), since }, told)
        };
        let now = Instant::now();
        let (late, refused) = entry(now.checked_sub(MOST_WAIT).unwrap());
        let (early, mut waits) = entry(now);
        let mut waiting = VecDeque::from([late, early]);
        refuse_late(&mut waiting);
        assert_eq!((refused.await, waiting.len()), (Ok(None), 1));
        assert!(waits.try_recv().is_err(), "this one is still there");
    }

    #[test]
    fn a_panic_is_not_the_end() {
        let mut turns = 0;
        go_on_after_panics(|| {
            turns += 1;
            assert!(turns > 2, "a panic on purpose");
        });
        assert_eq!(turns, 3);
    }
}
