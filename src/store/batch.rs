//! Group commit: pushes that arrive together share one transaction, so that a durable answer costs a fraction of a
//! flush to disk.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::tasks::NewTask;
use super::{Db, Signal, Tx, on};
use crate::domain::task::TaskState;
use crate::error::{Error, Result};

/// Most pushes in one commit, and most that may queue for the next ones before callers are turned away.
const MOST_IN_COMMIT: usize = 512;
const MOST_QUEUED: usize = 8192;

/// Rows per statement. Only these few texts exist, so each is prepared once.
const ROWS: [usize; 4] = [64, 16, 4, 1];
const COLUMNS: usize = 12;

static INSERTS: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| ROWS.map(insert_text));

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
    while arrived.recv_many(&mut group, MOST_IN_COMMIT).await > 0 {
        let committed = match commit(&db, &group).await {
            Ok(()) => {
                let waiting =
                    group.iter().flat_map(|entry| &entry.tasks).filter(|task| task.state == TaskState::Waiting);
                signal.note(waiting.map(|task| (task.lane.as_str(), task.run_at.0)));
                true
            }
            Err(error) => {
                tracing::error!(?error, pushes = group.len(), "pushes could not be recorded and were refused");
                false
            }
        };
        for entry in group.drain(..) {
            // A caller that went away does not need the answer.
            let _ = entry.done.send(committed);
        }
    }
}

async fn commit(db: &Db, group: &[Entry]) -> Result<()> {
    let tasks: Vec<&NewTask> = group.iter().flat_map(|entry| &entry.tasks).collect();
    let mut tx = db.write().await?;
    let mut rest = tasks.as_slice();
    while !rest.is_empty() {
        let size = ROWS.iter().position(|rows| *rows <= rest.len()).unwrap_or(ROWS.len() - 1);
        let (chunk, later) = rest.split_at(ROWS[size].min(rest.len()));
        insert(&mut tx, &INSERTS[size], chunk).await?;
        rest = later;
    }
    tx.commit().await
}

async fn insert(tx: &mut Tx, sql: &'static str, tasks: &[&NewTask]) -> Result<()> {
    on!(tx, conn => {
        let mut query = sqlx::query::<Db>(sql);
        for task in tasks {
            query = query
                .bind(task.id.as_str().to_owned())
                .bind(task.owner.as_str().to_owned())
                .bind(task.pusher_id.as_str().to_owned())
                .bind(task.service.clone())
                .bind(task.name.clone())
                .bind(task.position)
                .bind(task.fallback)
                .bind(task.state.as_str())
                .bind(task.lane.clone())
                .bind(task.run_at.0)
                .bind(task.payload.clone())
                .bind(task.created_at.0);
        }
        query.execute(conn).await.map(drop)
    })?;
    Ok(())
}

fn insert_text(rows: usize) -> String {
    let row = |at: usize| {
        let marks: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", at * COLUMNS + column)).collect();
        format!("({})", marks.join(", "))
    };
    let values: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO task (id, owner, pusher_id, service, name, position, fallback, state, lane, run_at, payload, \
         created_at) VALUES {}",
        values.join(", ")
    )
}
