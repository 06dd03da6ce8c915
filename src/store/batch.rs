//! Group commit: pushes that arrive together share one transaction, so that a durable answer costs a fraction of a
//! flush to disk.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::rows::{MOST_ROWS, Rows};
use super::tasks::NewTask;
use super::trouble::in_time;
use super::{Db, Signal, directly, on};
use crate::domain::task::TaskState;
use crate::error::{Error, Result};

/// Most pushes that may queue for a commit before callers are turned away.
const MOST_QUEUED: usize = 8192;
/// Longest that a push waits for its commit.
const MOST_WAIT: Duration = Duration::from_secs(10);
/// When a push may come again that the database could not take.
const UNTIL_BETTER: Duration = Duration::from_secs(5);

static INSERT: Rows = Rows::new(
    "INSERT INTO task (id, owner, pusher_id, service, name, fallback, state, lane, run_at, payload, \
     created_at) VALUES ",
    &[""; 11],
    "",
);

struct Entry {
    tasks: Vec<NewTask>,
    done: oneshot::Sender<bool>,
}

/// Hands tasks to the one writer that commits them in groups.
#[derive(Clone)]
pub(super) struct Recorder {
    entries: mpsc::Sender<Entry>,
    /// Whether the database does not take writes at present, so that nobody need wait to find out.
    refuses: Arc<AtomicBool>,
}

impl Recorder {
    /// Starts the writer; it ends when the last handle is gone. It has a thread of its own: among the requests it would
    /// wait for its turn behind those that it has just answered, while the database has nothing to do.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(db: Db, signal: Arc<Signal>) -> std::io::Result<Self> {
        let (entries, arrived) = mpsc::channel(MOST_QUEUED);
        let refuses = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut writer = Writer { db, signal, refuses: refuses.clone(), arrived };
        let write = move || go_on_after_panics(|| runtime.block_on(writer.write_groups()));
        std::thread::Builder::new().name("recorder".to_owned()).spawn(write)?;
        Ok(Self { entries, refuses })
    }

    /// Returns once the tasks are durable.
    pub(super) async fn record(&self, tasks: Vec<NewTask>) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        if self.refuses() {
            return Err(Error::Busy { retry_after: UNTIL_BETTER });
        }
        let (done, committed) = oneshot::channel();
        self.entries
            .try_send(Entry { tasks, done })
            .map_err(|_| Error::Busy { retry_after: Duration::from_secs(1) })?;
        match tokio::time::timeout(MOST_WAIT, committed).await {
            Ok(Ok(true)) => Ok(()),
            // In the last two cases it is not known whether they are recorded.
            Ok(Ok(false) | Err(_)) | Err(_) => Err(Error::Busy { retry_after: UNTIL_BETTER }),
        }
    }

    /// Whether the last group could not be recorded and nothing has been written since.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
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
            let (tasks, callers) = next_group(&mut waiting);
            let due = earliest(&tasks);
            let committed = in_time(insert(&self.db, tasks)).await;
            // They may be there even if the answer was lost; the agenda takes hints.
            self.signal.note(due.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
            match &committed {
                Ok(()) => {}
                Err(Error::Busy { .. }) => self.refuses.store(true, Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(?error, pushes = callers.len(), "pushes could not be recorded and were refused");
                }
            }
            for caller in callers {
                // A caller that went away does not need the answer.
                let _ = caller.send(committed.is_ok());
            }
            if self.refuses.load(Ordering::Relaxed) {
                self.refuse_until_better(&mut waiting).await;
            }
        }
    }

    /// Refuses whoever has queued, until a write succeeds or nobody can come any more.
    async fn refuse_until_better(&mut self, waiting: &mut VecDeque<Entry>) {
        tracing::error!("the database takes no writes: pushes are refused until it does");
        let mut pause = Duration::from_millis(100);
        loop {
            while let Some(entry) = waiting.pop_front().or_else(|| self.arrived.try_recv().ok()) {
                let _ = entry.done.send(false);
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

/// As many whole pushes as one statement takes, and at least one: a push is never split between two commits.
fn next_group(waiting: &mut VecDeque<Entry>) -> (Vec<NewTask>, Vec<oneshot::Sender<bool>>) {
    let (mut tasks, mut callers) = (Vec::with_capacity(MOST_ROWS), Vec::with_capacity(waiting.len()));
    while let Some(entry) =
        waiting.pop_front_if(|entry| tasks.is_empty() || tasks.len() + entry.tasks.len() <= MOST_ROWS)
    {
        tasks.extend(entry.tasks);
        callers.push(entry.done);
    }
    (tasks, callers)
}

/// Each lane with a task that waits, and when its first one is due.
fn earliest(tasks: &[NewTask]) -> HashMap<String, i64> {
    let mut lanes: HashMap<String, i64> = HashMap::new();
    for task in tasks.iter().filter(|task| task.state == TaskState::Waiting) {
        match lanes.get_mut(&task.lane) {
            Some(first) => *first = (*first).min(task.run_at.0),
            None => {
                lanes.insert(task.lane.clone(), task.run_at.0);
            }
        }
    }
    lanes
}

/// Binds the columns of one task.
macro_rules! bind_task {
    ($query:expr, $task:expr) => {{
        let task = $task;
        $query
            .bind(task.id.into_string())
            .bind(task.owner.into_string())
            .bind(task.pusher_id.into_string())
            .bind(task.service)
            .bind(task.name)
            .bind(task.fallback)
            .bind(task.state.as_str())
            .bind(task.lane)
            .bind(task.run_at.0)
            .bind(task.payload)
            .bind(task.created_at.0)
    }};
}

/// Inserts all or nothing, in one commit: one statement that is its own transaction, as far as the rows fit into one.
async fn insert(db: &Db, tasks: Vec<NewTask>) -> Result<()> {
    if tasks.len() > MOST_ROWS {
        return insert_many(db, tasks).await;
    }
    let text = INSERT.text(db, tasks.len());
    directly!(db, conn => {
        let mut query = sqlx::query::<Dialect>(text);
        for task in tasks {
            query = bind_task!(query, task);
        }
        query.execute(conn).await.map(drop)
    })?;
    Ok(())
}

async fn insert_many(db: &Db, tasks: Vec<NewTask>) -> Result<()> {
    let mut tx = db.write().await?;
    let mut left = tasks.len();
    let mut tasks = tasks.into_iter();
    while left > 0 {
        let rows = left.min(MOST_ROWS);
        let text = INSERT.text(db, rows);
        on!(&mut tx, conn => {
            let mut query = sqlx::query::<Db>(text);
            for task in tasks.by_ref().take(rows) {
                query = bind_task!(query, task);
            }
            query.execute(conn).await.map(drop)
        })?;
        left -= rows;
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

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
