//! What is committed together: whole pushes, with and without keys, and the statements that insert them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sqlx::query::Query;
use tokio::sync::oneshot;

use super::idempotency::{self, NewKey, Recorded};
use super::rows::Kind::{Flag, Number, Text};
use super::rows::{Bulk, Cell, MOST_ROWS, Rows};
use super::start::Starts;
use super::tasks::NewTask;
use super::{Db, Signal, Tx, directly, on};
use crate::domain::task::TaskState;
use crate::error::Result;

static INSERT: Rows<11> = Rows::new(
    "INSERT INTO task (id, owner, pusher_id, service, name, fallback, state, lane, run_at, payload, created_at) ",
    [Text, Text, Text, Text, Text, Flag, Text, Text, Number, Text, Number],
    "",
);
/// The same where some of them run at once.
static INSERT_STARTED: Rows<15> = Rows::new(
    "INSERT INTO task (id, owner, pusher_id, service, name, fallback, state, lane, run_at, payload, created_at,
     attempt, worker, lease_until, started_at) ",
    [Text, Text, Text, Text, Text, Flag, Text, Text, Number, Text, Number, Number, Text, Number, Number],
    "",
);

/// A push that waits for its commit.
pub(super) struct Entry {
    pub tasks: Vec<NewTask>,
    pub key: Option<NewKey>,
    pub done: Done,
    pub room: Room,
    /// When it began to wait.
    pub since: Instant,
}

/// The bytes that an entry takes in the queue, until it is committed or gone.
pub(super) struct Room {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    /// So many bytes, which have been counted already.
    pub(super) fn new(queued: Arc<AtomicUsize>, bytes: usize) -> Self {
        Self { queued, bytes }
    }

    /// No bytes.
    pub(super) fn none() -> Self {
        Self::new(Arc::default(), 0)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where a caller waits; nothing means that the database did not take the push.
pub(super) type Done = oneshot::Sender<Option<Recorded>>;

/// A push with a key, and what became of it.
struct Keyed {
    key: NewKey,
    tasks: Vec<NewTask>,
    done: Done,
    recorded: Recorded,
}

/// What is committed together.
pub(super) struct Group {
    /// The tasks of pushes without a key.
    tasks: Vec<NewTask>,
    /// Who waits for these.
    callers: Vec<Done>,
    keyed: Vec<Keyed>,
    rooms: Vec<Room>,
}

impl Group {
    /// As many whole pushes as one statement takes, and at least one: a push is never split between two commits.
    pub(super) fn next(waiting: &mut VecDeque<Entry>) -> Self {
        let (tasks, callers) = (Vec::with_capacity(MOST_ROWS), Vec::with_capacity(waiting.len()));
        let mut group = Self { tasks, callers, keyed: Vec::new(), rooms: Vec::new() };
        let mut count = 0;
        while let Some(Entry { tasks, key, done, room, .. }) = waiting.pop_front_if(|entry| {
            count == 0 || (count + entry.tasks.len() <= MOST_ROWS && group.keyed.len() < MOST_ROWS)
        }) {
            count += tasks.len();
            group.rooms.push(room);
            match key {
                None => {
                    group.tasks.extend(tasks);
                    group.callers.push(done);
                }
                Some(key) => group.keyed.push(Keyed { key, tasks, done, recorded: Recorded::KeyTaken }),
            }
        }
        group
    }

    /// How many pushes it holds.
    pub(super) fn len(&self) -> usize {
        self.callers.len() + self.keyed.len()
    }

    /// Has tasks run at once that can; those of pushes with a key are not known to be new.
    pub(super) fn admit(&mut self, signal: &Arc<Signal>) -> Option<Starts> {
        Starts::admit(&mut self.tasks, signal)
    }

    /// Each lane with a task that waits, and when its first one is due.
    pub(super) fn due(&self) -> HashMap<String, i64> {
        let mut lanes: HashMap<String, i64> = HashMap::new();
        let all = self.tasks.iter().chain(self.keyed.iter().flat_map(|push| &push.tasks));
        for task in all.filter(|task| task.state == TaskState::Waiting) {
            match lanes.get_mut(&task.lane) {
                Some(first) => *first = (*first).min(task.run_at.0),
                None => {
                    lanes.insert(task.lane.clone(), task.run_at.0);
                }
            }
        }
        lanes
    }

    /// Inserts everything in one commit, except the pushes whose key is taken.
    pub(super) async fn insert(&mut self, db: &Db, starts: Option<&Starts>) -> Result<()> {
        let tasks = std::mem::take(&mut self.tasks);
        if self.keyed.is_empty() {
            return match tasks.is_empty() {
                // Somebody wants to know whether it can be done at all.
                true => db.try_write().await,
                false => insert(db, tasks, starts).await,
            };
        }
        let mut tx = db.write().await?;
        let tasks = take_keys(&mut tx, tasks, &mut self.keyed).await?;
        insert_within(&mut tx, tasks, starts).await?;
        tx.commit().await
    }

    /// Tells everybody what became of it. A caller that went away does not need the answer.
    pub(super) fn answer(self, committed: bool) {
        for caller in self.callers {
            let _ = caller.send(committed.then_some(Recorded::Fresh));
        }
        for push in self.keyed {
            let _ = push.done.send(committed.then_some(push.recorded));
        }
    }
}

/// A row of `INSERT`.
fn row(task: NewTask) -> [Cell; 11] {
    [
        task.id.into_string().into(),
        task.owner.into_string().into(),
        task.pusher_id.into_string().into(),
        task.service.into(),
        task.name.into(),
        task.fallback.into(),
        task.state.as_str().into(),
        task.lane.into(),
        task.run_at.0.into(),
        task.payload.into(),
        task.created_at.0.into(),
    ]
}

/// A row of `INSERT_STARTED`.
fn row_started(task: NewTask, starts: &Starts) -> [Cell; 15] {
    let runs = task.state == TaskState::Running;
    let [a, b, c, d, e, f, g, h, i, j, k] = row(task);
    let attempt = i64::from(runs).into();
    let worker = runs.then(|| starts.worker().to_owned()).into();
    let (lease_until, started_at) = (runs.then(|| starts.lease_until().0), runs.then_some(starts.now.0));
    [a, b, c, d, e, f, g, h, i, j, k, attempt, worker, lease_until.into(), started_at.into()]
}

/// The statement for these tasks.
fn insertion<DB: Bulk>(
    tasks: impl ExactSizeIterator<Item = NewTask>,
    starts: Option<&Starts>,
) -> Query<'static, DB, DB::Arguments> {
    match starts {
        None => INSERT.query::<DB>(tasks.map(row)),
        Some(starts) => INSERT_STARTED.query::<DB>(tasks.map(|task| row_started(task, starts))),
    }
}

impl Tx {
    /// Records a task together with what else this transaction does. Tell the signal after the commit.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_task(&mut self, task: NewTask) -> Result<()> {
        insert_within(self, vec![task], None).await
    }
}

/// Adds to `tasks` those of the pushes whose key was free.
async fn take_keys(tx: &mut Tx, mut tasks: Vec<NewTask>, keyed: &mut [Keyed]) -> Result<Vec<NewTask>> {
    let mut free = idempotency::take(tx, keys_in_order(keyed)).await?;
    for push in keyed {
        // Only the first push of a key finds it.
        if free.remove(&push.key.hash) {
            tasks.append(&mut push.tasks);
            push.recorded = Recorded::Fresh;
        }
    }
    Ok(tasks)
}

/// Puts pushes in the order of their keys; answers each key once, that of the push that arrived first.
fn keys_in_order(keyed: &mut [Keyed]) -> Vec<NewKey> {
    // A stable sort: what arrived first stays before the others of its key.
    keyed.sort_by(|one, other| one.key.hash.cmp(&other.key.hash));
    let mut keys: Vec<NewKey> = keyed.iter().map(|push| push.key.clone()).collect();
    keys.dedup_by(|later, first| later.hash == first.hash);
    keys
}

/// Inserts all or nothing, in one commit: one statement that is its own transaction, as far as the rows fit into one.
async fn insert(db: &Db, tasks: Vec<NewTask>, starts: Option<&Starts>) -> Result<()> {
    if tasks.len() > MOST_ROWS {
        let mut tx = db.write().await?;
        insert_within(&mut tx, tasks, starts).await?;
        return tx.commit().await;
    }
    directly!(execute on db, insertion::<Dialect>(tasks.into_iter(), starts))?;
    Ok(())
}

async fn insert_within(tx: &mut Tx, tasks: Vec<NewTask>, starts: Option<&Starts>) -> Result<()> {
    let mut tasks = tasks.into_iter();
    while tasks.len() > 0 {
        on!(&mut *tx, conn => {
            insertion::<Db>(tasks.by_ref().take(MOST_ROWS), starts).execute(conn).await.map(drop)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::PusherId;
    use crate::domain::idempotency::IdempotencyKey;
    use crate::domain::time::Timestamp;
    use crate::store::KeyHash;

    /// A push whose answer is its number.
    fn keyed(number: usize, key: &str) -> Keyed {
        let key = IdempotencyKey::parse(key).unwrap();
        let hash = KeyHash::of("ann", &PusherId::new("pusher"), &key);
        let (created_at, expires_at) = (Timestamp(0), Timestamp(1));
        let key = NewKey { hash, answer: number.to_string(), created_at, expires_at };
        Keyed { key, tasks: Vec::new(), done: oneshot::channel().0, recorded: Recorded::KeyTaken }
    }

    /// Two nodes that took the same keys in different orders would wait for each other for ever.
    #[test]
    fn keys_come_once_and_in_one_order_whatever_order_pushes_came_in() {
        let names = ["d", "a", "c", "a", "b", "d", "a"];
        let mut pushes: Vec<_> = names.iter().enumerate().map(|(number, key)| keyed(number, key)).collect();
        let keys = keys_in_order(&mut pushes);
        let hashes: Vec<_> = keys.iter().map(|key| &key.hash).collect();
        assert!(hashes.is_sorted_by(|one, next| one < next));
        let mut answers: Vec<_> = keys.iter().map(|key| &*key.answer).collect();
        answers.sort_unstable();
        assert_eq!(answers, ["0", "1", "2", "4"], "the first push of each key");
        let mut backwards: Vec<_> = names.iter().rev().map(|key| keyed(0, key)).collect();
        let again = keys_in_order(&mut backwards);
        assert!(again.iter().map(|key| &key.hash).eq(hashes));
    }
}
