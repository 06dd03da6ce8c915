//! Group commit: pushes that arrive together share one transaction, so that a durable answer costs a fraction of a
//! flush to disk.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::rows::{MOST_ROWS, Rows};
use super::tasks::NewTask;
use super::{Db, Signal, directly, on};
use crate::domain::task::TaskState;
use crate::error::{Error, Result};

/// Most pushes that may queue for a commit before callers are turned away, and most bytes of their tasks. One push is
/// taken however large it is.
const MOST_QUEUED: usize = 8192;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a task takes besides its payload, about.
const TASK_BYTES: usize = 512;

static INSERT: Rows = Rows::new(
    "INSERT INTO task (id, owner, pusher_id, service, name, fallback, state, lane, run_at, payload, \
     created_at) VALUES ",
    &[""; 11],
    "",
);

struct Entry {
    tasks: Vec<NewTask>,
    done: oneshot::Sender<bool>,
    _room: Room,
}

/// The bytes that an entry counts, until its tasks are with the database.
struct Room {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Hands tasks to the one writer that commits them in groups.
#[derive(Clone)]
pub(super) struct Recorder {
    entries: mpsc::Sender<Entry>,
    /// Bytes of the tasks that queue.
    queued: Arc<AtomicUsize>,
}

impl Recorder {
    /// Starts the writer; it ends when the last handle is gone. It has a thread of its own: among the requests it would
    /// wait for its turn behind those that it has just answered, while the database has nothing to do.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(db: Db, signal: Arc<Signal>) -> std::io::Result<Self> {
        let (entries, arrived) = mpsc::channel(MOST_QUEUED);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let write = move || runtime.block_on(write_groups(db, signal, arrived));
        std::thread::Builder::new().name("recorder".to_owned()).spawn(write)?;
        Ok(Self { entries, queued: Arc::default() })
    }

    /// Returns once the tasks are durable.
    pub(super) async fn record(&self, tasks: Vec<NewTask>) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        let (done, committed) = oneshot::channel();
        let busy = || Error::Busy { retry_after: Duration::from_secs(1) };
        let room = self.room(&tasks).ok_or_else(busy)?;
        self.entries.try_send(Entry { tasks, done, _room: room }).map_err(|_| busy())?;
        match committed.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(busy()),
        }
    }

    fn room(&self, tasks: &[NewTask]) -> Option<Room> {
        let bytes = tasks.iter().map(|task| task.payload.len() + TASK_BYTES).sum();
        let before = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { queued: self.queued.clone(), bytes };
        (before == 0 || before + bytes <= MOST_BYTES).then_some(room)
    }
}

async fn write_groups(db: Db, signal: Arc<Signal>, mut arrived: mpsc::Receiver<Entry>) {
    let mut waiting = VecDeque::with_capacity(MOST_ROWS);
    let mut fresh = Vec::with_capacity(MOST_ROWS);
    loop {
        // What was left over goes first; only an empty table waits for more.
        if waiting.is_empty() && arrived.recv_many(&mut fresh, MOST_ROWS).await == 0 {
            return;
        }
        waiting.extend(fresh.drain(..));
        while waiting.len() < MOST_ROWS
            && let Ok(entry) = arrived.try_recv()
        {
            waiting.push_back(entry);
        }
        let (tasks, callers) = next_group(&mut waiting);
        let due = earliest(&tasks);
        let committed = match insert(&db, tasks).await {
            Ok(()) => {
                signal.note(due.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
                true
            }
            Err(error) => {
                tracing::error!(?error, pushes = callers.len(), "pushes could not be recorded and were refused");
                false
            }
        };
        for caller in callers {
            // A caller that went away does not need the answer.
            let _ = caller.send(committed);
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
