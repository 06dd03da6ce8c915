//! Tasks as their owners see them: recorded, read, listed, revoked, retried by hand, removed when old.

use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;

use super::rows::from_row;
use super::trouble::in_time;
use super::{Claimed, NewKey, Recorded, Store, Tx, on};
use crate::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// A task about to be recorded.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub id: TaskId,
    /// Who may read and revoke it.
    pub owner: AccountId,
    /// The Pusher that was called.
    pub pusher_id: PusherId,
    /// The Service that it goes through.
    pub service: String,
    /// The member's name in a Group.
    pub name: Option<String>,
    /// Whether it is a step of a `fallback` Group.
    pub fallback: bool,
    /// `Waiting`, or `Held` behind another step.
    pub state: TaskState,
    /// Account and destination host.
    pub lane: String,
    /// When it becomes due.
    pub run_at: Timestamp,
    /// Resolved parameters, sealed for `id`.
    pub payload: String,
    pub created_at: Timestamp,
}

/// One attempt at delivering, as it is kept and shown. Secrets are masked before it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    pub duration_ms: i64,
    /// `sent`, `later`, `never` or `interrupted`.
    pub outcome: String,
    /// The stable code of the error, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The channel's HTTP status or SMTP reply code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the channel's answer, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Of a mail that not all got: who did, by marks that tell no address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<String>,
}

/// A task as it stands.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    pub id: TaskId,
    pub owner: AccountId,
    pub pusher_id: PusherId,
    pub service: String,
    pub name: Option<String>,
    pub fallback: bool,
    pub state: TaskState,
    pub lane: String,
    pub run_at: Timestamp,
    pub payload: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub error: Option<(String, String)>,
    pub attempts: Vec<Attempt>,
}

/// Which tasks to list. All that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub owner: Option<AccountId>,
    pub state: Option<TaskState>,
    pub pusher_id: Option<PusherId>,
    pub push_id: Option<PushId>,
    /// Made at this time or later.
    pub since: Option<Timestamp>,
    /// Made before this time.
    pub until: Option<Timestamp>,
    /// Only tasks older than this one.
    pub before: Option<TaskId>,
}

/// How many tasks there are in the states that matter for operating.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCounts {
    pub waiting: i64,
    pub running: i64,
}

const COLUMNS: &str = "SELECT id, owner, pusher_id, service, name, fallback, state, lane, run_at, payload, created_at, \
    started_at, finished_at, error_code, error_message, attempt_log FROM task WHERE ";

from_row!(TaskRecord, |row| {
    let state: String = row.try_get("state")?;
    let code: Option<String> = row.try_get("error_code")?;
    let message: Option<String> = row.try_get("error_message")?;
    let time = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(Timestamp));
    Ok(Self {
        id: TaskId::new(row.try_get::<String, _>("id")?),
        owner: AccountId::new(row.try_get::<String, _>("owner")?),
        pusher_id: PusherId::new(row.try_get::<String, _>("pusher_id")?),
        service: row.try_get("service")?,
        name: row.try_get("name")?,
        fallback: row.try_get("fallback")?,
        state: TaskState::parse(&state)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown task state {state}").into()))?,
        lane: row.try_get("lane")?,
        run_at: Timestamp(row.try_get("run_at")?),
        payload: row.try_get("payload")?,
        created_at: Timestamp(row.try_get("created_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
        error: code.map(|code| (code, message.unwrap_or_default())),
        attempts: serde_json::from_str(&row.try_get::<String, _>("attempt_log")?)
            .map_err(|e| sqlx::Error::Decode(e.into()))?,
    })
});

impl Store {
    /// Whether pushes can be recorded at present, as far as is known.
    ///
    /// # Errors
    /// `Busy` if not.
    pub fn takes_pushes(&self) -> Result<()> {
        self.recorder.check()
    }

    /// For what a push looked up: if the database does not answer, the next pushes need not find out for themselves.
    pub fn suspect_if_busy(&self, error: &Error) {
        if matches!(error, Error::Busy { .. }) {
            self.recorder.suspect();
        }
    }

    /// Records the tasks of one push; returns once they are durable.
    ///
    /// # Errors
    /// `Busy` if the database cannot take them now; nothing was recorded then.
    pub async fn record(&self, tasks: Vec<NewTask>) -> Result<()> {
        self.recorder.record(tasks, None).await.map(drop)
    }

    /// Records the tasks of a push together with its key, or nothing if the key is taken; of pushes with the same key,
    /// on this node and others, one is recorded. What was recorded is durable.
    ///
    /// # Errors
    /// As `record`; the key is free then.
    pub async fn record_once(&self, tasks: Vec<NewTask>, key: NewKey) -> Result<Recorded> {
        self.recorder.record(tasks, Some(key)).await
    }
}

impl Tx {
    /// The task with this id.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn task(&mut self, id: &TaskId) -> Result<Option<TaskRecord>> {
        Ok(on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("id = ").push_bind(id.as_str().to_owned());
            query.build_query_as().fetch_optional(conn).await
        })?)
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tasks(&mut self, filter: &TaskFilter, limit: i64) -> Result<Vec<TaskRecord>> {
        Ok(on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("id > ").push_bind(filter.since.map(|at| time_ordered(at.0, 0)).unwrap_or_default());
            if let Some(owner) = &filter.owner {
                query.push(" AND owner = ").push_bind(owner.as_str().to_owned());
            }
            if let Some(state) = filter.state {
                query.push(" AND state = ").push_bind(state.as_str());
            }
            if let Some(pusher) = &filter.pusher_id {
                query.push(" AND pusher_id = ").push_bind(pusher.as_str().to_owned());
            }
            if let Some(push) = &filter.push_id {
                let (first, end) = bounds(push);
                query.push(" AND id >= ").push_bind(first).push(" AND id < ").push_bind(end);
            }
            if let Some(until) = filter.until {
                query.push(" AND id < ").push_bind(time_ordered(until.0, 0));
            }
            if let Some(before) = &filter.before {
                query.push(" AND id < ").push_bind(before.as_str().to_owned());
            }
            query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
            query.build_query_as().fetch_all(conn).await
        })?)
    }

    /// Revokes a task if it still waits or is held: one atomic change, so no worker has it afterwards.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revoke_task(&mut self, id: &TaskId, now: Timestamp) -> Result<bool> {
        if self.revoke_now(id, now).await? {
            return Ok(true);
        }
        // An attempt may have failed in this moment, and left the task waiting for the next one.
        Ok(self.hold(id).await? && self.revoke_now(id, now).await?)
    }

    async fn revoke_now(&mut self, id: &TaskId, now: Timestamp) -> Result<bool> {
        let revoked = on!(self, conn => sqlx::query(
            "UPDATE task SET state = 'revoked', finished_at = $1 WHERE id = $2 AND state IN ('waiting', 'held')")
            .bind(now.0).bind(id.as_str().to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(revoked == 1)
    }

    /// Whether the Pusher that a task was pushed to is gone, or whoever it belongs to is shut out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_orphan(&mut self, id: &TaskId) -> Result<bool> {
        let row: Option<(bool,)> = on!(self, conn => sqlx::query_as(
            "SELECT (pusher_id <> service AND NOT EXISTS (SELECT 1 FROM pusher WHERE pusher.id = task.pusher_id))
             OR EXISTS (SELECT 1 FROM account WHERE account.id = task.owner AND account.disabled_at IS NOT NULL)
             FROM task WHERE id = $1")
            .bind(id.as_str().to_owned()).fetch_optional(conn).await)?;
        Ok(row.is_some_and(|(is_orphan,)| is_orphan))
    }

    /// Revokes a task that this worker holds, as if it had not been claimed; `false` if the lease was lost.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revoke_claimed(&mut self, worker: &str, task: &Claimed, now: Timestamp) -> Result<bool> {
        let revoked = on!(self, conn => sqlx::query(
            "UPDATE task SET state = 'revoked', finished_at = $1, worker = NULL, lease_until = NULL,
             attempt = attempt - 1 WHERE id = $2 AND worker = $3 AND attempt = $4")
            .bind(now.0).bind(task.id.as_str().to_owned()).bind(worker.to_owned()).bind(task.attempt)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(revoked == 1)
    }

    /// Has nobody else change a task until this transaction ends; whether anybody could have meanwhile. The fork: on
    /// SQLite there is one writer at a time.
    async fn hold(&mut self, id: &TaskId) -> Result<bool> {
        let Self::Postgres(tx) = self else { return Ok(false) };
        let held = sqlx::query("SELECT 1 FROM task WHERE id = $1 FOR UPDATE").bind(id.as_str().to_owned());
        in_time(held.execute(&mut **tx)).await?;
        Ok(true)
    }

    /// Ends the held steps of a push as skipped, and those after `done` that wait: steps that were started because that
    /// one had failed, before it was tried again by hand. Answers how many there were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn skip_others(&mut self, push: &PushId, done: Option<&TaskId>, now: Timestamp) -> Result<u64> {
        let (first, end) = bounds(push);
        let done = done.map_or(end.as_str(), TaskId::as_str).to_owned();
        let others: Vec<(String,)> = on!(&mut *self, conn => sqlx::query_as(
            "SELECT id FROM task WHERE id >= $1 AND id < $2 AND (state = 'held' OR (state = 'waiting' AND id > $3))
             ORDER BY id")
            .bind(first).bind(end).bind(done).fetch_all(conn).await)?;
        let mut skipped = 0;
        // One by one in the order of their ids, as everybody who changes several: nobody waits in a circle.
        for (id,) in others {
            skipped += self.skip(id, now).await?;
        }
        Ok(skipped)
    }

    /// Skips a step that has not been started; answers 1, or 0 if it is none.
    pub(super) async fn skip(&mut self, id: String, now: Timestamp) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query(
            "UPDATE task SET state = 'skipped', finished_at = $1 WHERE id = $2 AND state IN ('held', 'waiting')")
            .bind(now.0).bind(id).execute(conn).await.map(|done| done.rows_affected()))?)
    }

    /// An account's tasks that came through one Pusher and can still be revoked, after `after`, oldest first: their ids
    /// and Services.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revocable_tasks(
        &mut self,
        owner: &AccountId,
        pusher: &PusherId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(TaskId, String)>> {
        let rows: Vec<(String, String)> = on!(self, conn => sqlx::query_as(
            "SELECT id, service FROM task WHERE owner = $1 AND id > $2 AND pusher_id = $3 AND state IN ('waiting', 'held')
             ORDER BY id LIMIT $4")
            .bind(owner.as_str().to_owned()).bind(after.to_owned()).bind(pusher.as_str().to_owned()).bind(limit)
            .fetch_all(conn).await)?;
        Ok(rows.into_iter().map(|(id, service)| (TaskId::new(id), service)).collect())
    }

    /// Puts a failed task back to waiting with its back-off at the beginning; `false` if it has not failed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn retry_task(&mut self, id: &TaskId, now: Timestamp) -> Result<bool> {
        let changed = on!(self, conn => sqlx::query(
            "UPDATE task SET state = 'waiting', run_at = $1, attempt_base = attempt, finished_at = NULL, error_code = NULL,
             error_message = NULL WHERE id = $2 AND state = 'failed'")
            .bind(now.0).bind(id.as_str().to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Removes up to `limit` tasks that ended before a time; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_finished_tasks(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query(
            // Told twice: what is retried by hand between being found and being removed stays.
            "DELETE FROM task WHERE id IN (SELECT id FROM task WHERE finished_at IS NOT NULL AND finished_at < $1
             ORDER BY finished_at, id LIMIT $2) AND finished_at < $1")
            .bind(before.0).bind(limit).execute(conn).await.map(|done| done.rows_affected()))?)
    }

    /// How many tasks wait and run.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_tasks(&mut self) -> Result<TaskCounts> {
        // The states stand in the text, so that each count reads a partial index and not the table.
        let (waiting, running): (i64, i64) = on!(self, conn => sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM task WHERE state = 'waiting'),
                    (SELECT COUNT(*) FROM task WHERE state = 'running')")
            .fetch_one(conn).await)
        .map_err(Error::from)?;
        Ok(TaskCounts { waiting, running })
    }
}

/// Ids from the first (included) to the last (excluded) that a push's tasks can have; none for what is no push's id,
/// such as the beginning of one.
pub(super) fn bounds(push: &PushId) -> (String, String) {
    if push.as_str().len() != PushId::LEN {
        return Default::default();
    }
    // `:` follows `9`.
    (format!("{push}0"), format!("{push}:"))
}
