//! Group commit: pushes that arrive together share one transaction, so that a durable answer costs a fraction of a
//! flush to disk.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::tasks::NewTask;
use super::{Db, Signal, Tx, on};
use crate::domain::task::TaskState;
use crate::error::{Error, Result};

/// Most pushes in one commit, and most that may queue for the next ones before callers are turned away.
const MOST_IN_COMMIT: usize = 512;
const MOST_QUEUED: usize = 8192;

/// Most rows in one statement. There is one text for each number of rows, so each is prepared once and a usual group
/// is one statement.
const MOST_ROWS: usize = 64;
const COLUMNS: usize = 12;
/// How often the writer looks whether more requests have come meanwhile before it begins a commit.
const LOOKS: usize = 2;

static INSERTS: [OnceLock<(String, String)>; MOST_ROWS] = [const { OnceLock::new() }; MOST_ROWS];

struct Entry {
    tasks: Vec<NewTask>,
    done: oneshot::Sender<bool>,
}

/// Hands tasks to the one writer that commits them in groups.
#[derive(Clone)]
pub(super) struct Recorder {
    entries: mpsc::Sender<Entry>,
}

impl Recorder {
    /// Starts the writer; it ends when the last handle is gone.
    pub(super) fn start(db: Db, signal: Arc<Signal>) -> Self {
        let (entries, arrived) = mpsc::channel(MOST_QUEUED);
        tokio::spawn(write_groups(db, signal, arrived));
        Self { entries }
    }

    /// Returns once the tasks are durable.
    pub(super) async fn record(&self, tasks: Vec<NewTask>) -> Result<()> {
        let (done, committed) = oneshot::channel();
        let busy = || Error::Busy { retry_after: Duration::from_secs(1) };
        self.entries.try_send(Entry { tasks, done }).map_err(|_| busy())?;
        match committed.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(busy()),
        }
    }
}

async fn write_groups(db: Db, signal: Arc<Signal>, mut arrived: mpsc::Receiver<Entry>) {
    let mut group = Vec::with_capacity(MOST_IN_COMMIT);
    let mut callers = Vec::with_capacity(MOST_IN_COMMIT);
    while arrived.recv_many(&mut group, MOST_IN_COMMIT).await > 0 {
        gather(&mut arrived, &mut group).await;
        let mut tasks = Vec::with_capacity(group.len());
        for entry in group.drain(..) {
            tasks.extend(entry.tasks);
            callers.push(entry.done);
        }
        let waiting = earliest(&tasks);
        let committed = match commit(&db, tasks).await {
            Ok(()) => {
                signal.note(waiting.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
                true
            }
            Err(error) => {
                tracing::error!(?error, pushes = callers.len(), "pushes could not be recorded and were refused");
                false
            }
        };
        for caller in callers.drain(..) {
            // A caller that went away does not need the answer.
            let _ = caller.send(committed);
        }
    }
}

/// Lets requests that are being read just now join the group: a commit for the first of them alone would make the
/// others wait for the next. Gives way to them, and goes on as soon as no more come; idle, that costs microseconds.
async fn gather(arrived: &mut mpsc::Receiver<Entry>, group: &mut Vec<Entry>) {
    let mut looks = 0;
    while looks < LOOKS && group.len() < MOST_IN_COMMIT {
        tokio::task::yield_now().await;
        looks += 1;
        while group.len() < MOST_IN_COMMIT
            && let Ok(entry) = arrived.try_recv()
        {
            group.push(entry);
            looks = 0;
        }
    }
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

async fn commit(db: &Db, tasks: Vec<NewTask>) -> Result<()> {
    let mut tx = db.write().await?;
    let mut left = tasks.len();
    let mut tasks = tasks.into_iter();
    while left > 0 {
        let rows = left.min(MOST_ROWS);
        let (question_marks, numbered) = INSERTS[rows - 1].get_or_init(|| insert_texts(rows));
        let text: &'static str = match db {
            Db::Sqlite { .. } => question_marks,
            Db::Postgres(_) => numbered,
        };
        insert(&mut tx, text, tasks.by_ref().take(rows)).await?;
        left -= rows;
    }
    tx.commit().await
}

async fn insert(tx: &mut Tx, sql: &'static str, tasks: impl Iterator<Item = NewTask>) -> Result<()> {
    on!(tx, conn => {
        let mut query = sqlx::query::<Db>(sql);
        for task in tasks {
            query = query
                .bind(task.id.into_string())
                .bind(task.owner.into_string())
                .bind(task.pusher_id.into_string())
                .bind(task.service)
                .bind(task.name)
                .bind(task.position)
                .bind(task.fallback)
                .bind(task.state.as_str())
                .bind(task.lane)
                .bind(task.run_at.0)
                .bind(task.payload)
                .bind(task.created_at.0);
        }
        query.execute(conn).await.map(drop)
    })?;
    Ok(())
}

/// The statement for so many rows, for SQLite and for PostgreSQL. The fork: SQLite looks a numbered mark up by name for
/// every value that is bound, a plain `?` it does not.
fn insert_texts(rows: usize) -> (String, String) {
    (insert_text(rows, |_| "?".to_owned()), insert_text(rows, |at| format!("${at}")))
}

fn insert_text(rows: usize, mark: impl Fn(usize) -> String) -> String {
    let row = |at: usize| {
        let marks: Vec<String> = (1..=COLUMNS).map(|column| mark(at * COLUMNS + column)).collect();
        format!("({})", marks.join(", "))
    };
    let values: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO task (id, owner, pusher_id, service, name, position, fallback, state, lane, run_at, payload, \
         created_at) VALUES {}",
        values.join(", ")
    )
}
