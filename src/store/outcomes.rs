//! How attempts ended, recorded in groups, and what the end of a step means for the next ones of its Group.
//!
//! A finish counts only for the worker and the attempt that the task was claimed for: a worker that lost its lease changes
//! nothing.

use super::queue::Release;
use super::rows::Kind::{Number, Text};
use super::rows::{Cell, Rows};
use super::tasks::bounds;
use super::{Db, Store, Tx, directly, on};
use crate::domain::id::{PushId, TaskId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// Most steps of `fallback` Groups in one commit: each takes several statements, and claims wait for the writer meanwhile.
const MOST_STEPS: usize = 32;

/// How an attempt ended, to be recorded.
#[derive(Debug, Clone)]
pub struct Finish {
    pub id: TaskId,
    pub attempt: i64,
    pub fallback: bool,
    pub lane: String,
    pub state: FinishState,
    pub now: Timestamp,
    /// The whole log, this attempt included, as JSON.
    pub attempt_log: String,
}

impl Finish {
    /// In place of an outcome that the database does not take: failed, with nothing in it that came from outside.
    #[must_use]
    pub fn unrecordable(&self) -> Self {
        let (code, message) = ("outcome_unrecordable", "the outcome could not be recorded");
        let state = FinishState::Failed { code: code.to_owned(), message: message.to_owned() };
        Self { state, attempt_log: "[]".to_owned(), ..self.clone() }
    }
}

/// What a task becomes after an attempt.
#[derive(Debug, Clone)]
pub enum FinishState {
    Succeeded,
    Failed {
        code: String,
        message: String,
    },
    /// Waits for another attempt.
    Again {
        run_at: Timestamp,
        code: String,
        message: String,
    },
}

/// The columns that a finish sets.
struct FinishRow {
    state: &'static str,
    run_at: Option<i64>,
    finished_at: Option<i64>,
    code: Option<String>,
    message: Option<String>,
}

impl FinishRow {
    fn of(finish: &Finish) -> Self {
        let now = Some(finish.now.0);
        // A channel may answer with NUL, and PostgreSQL takes that in no text.
        let plain = |text: &String| Some(text.replace('\0', "\u{FFFD}"));
        let problem = |code: &String, message: &String| (plain(code), plain(message));
        let (state, run_at, finished_at, (code, message)) = match &finish.state {
            FinishState::Succeeded => ("succeeded", None, now, (None, None)),
            FinishState::Failed { code, message } => ("failed", None, now, problem(code, message)),
            FinishState::Again { run_at, code, message } => ("waiting", Some(run_at.0), None, problem(code, message)),
        };
        Self { state, run_at, finished_at, code, message }
    }
}

/// Only what runs has a worker. The state does not stand here: it would lead PostgreSQL to `task_lease`, in which it reads
/// past whatever has ended since it was last vacuumed, and that for every row.
macro_rules! finish {
    ($of_worker:literal) => {
        Rows::new(
            "WITH done (id, attempt, state, run_at, finished_at, error_code, error_message, attempt_log) AS (",
            [Text, Number, Text, Number, Number, Text, Text, Text],
            concat!(
                ") UPDATE task SET state = done.state, run_at = COALESCE(done.run_at, task.run_at),
                 finished_at = done.finished_at, error_code = done.error_code, error_message = done.error_message,
                 attempt_log = done.attempt_log, worker = NULL, lease_until = NULL
                 FROM done WHERE task.id = done.id AND task.attempt = done.attempt AND ",
                $of_worker
            ),
        )
    };
}

static FINISH_SQLITE: Rows<8> = finish!("task.worker = {next}");
// The fork: only PostgreSQL chooses its way by what it expects to find. The ids again leave it the primary key, however
// empty it takes the table to be; CASE hides how few rows it takes to have this worker, or it compares each row of `done` with
// each of the table's that it found, instead of by hash.
static FINISH_POSTGRES: Rows<8> =
    finish!("task.id = ANY($1::TEXT[]) AND CASE WHEN task.worker = {next} THEN TRUE ELSE FALSE END");

fn row(finish: &&Finish) -> [Cell; 8] {
    let FinishRow { state, run_at, finished_at, code, message } = FinishRow::of(finish);
    let (id, log) = (finish.id.as_str().to_owned(), finish.attempt_log.clone());
    let (run_at, finished_at) = (Cell::from(run_at), Cell::from(finished_at));
    [id.into(), finish.attempt.into(), state.into(), run_at, finished_at, code.into(), message.into(), log.into()]
}

impl Store {
    /// Records how attempts ended. Those whose lease was lost change nothing.
    ///
    /// # Errors
    /// If the database fails. What was recorded already is recorded again to no effect if the call is repeated.
    pub async fn finish(&self, worker: &str, finishes: &[Finish]) -> Result<()> {
        let mut sorted: Vec<&Finish> = finishes.iter().collect();
        // In one order, as everybody who changes several: nobody waits in a circle.
        sorted.sort_by(|one, other| one.id.cmp(&other.id));
        let (steps, single): (Vec<&Finish>, Vec<&Finish>) = sorted.into_iter().partition(|finish| finish.fallback);
        if single.len() > self.db.most_rows() {
            self.finish_groups(worker, &single).await?;
        } else if !single.is_empty() {
            self.finish_group(worker, &single).await?;
        }
        for steps in steps.chunks(MOST_STEPS) {
            self.finish_steps(worker, steps).await?;
        }
        let again = finishes.iter().filter_map(|finish| match &finish.state {
            FinishState::Again { run_at, .. } => Some((finish.lane.as_str(), run_at.0)),
            FinishState::Succeeded | FinishState::Failed { .. } => None,
        });
        self.signal.announce(again);
        self.wrote(finishes.len());
        Ok(())
    }

    /// Tasks that nothing else depends on: all in one statement.
    async fn finish_group(&self, worker: &str, finishes: &[&Finish]) -> Result<()> {
        let (rows, worker) = (finishes.iter().map(row), worker.to_owned());
        directly!(execute on &self.db, self.finishing().query::<Dialect>(rows).bind(worker))?;
        Ok(())
    }

    /// As many as there are, in one commit.
    async fn finish_groups(&self, worker: &str, finishes: &[&Finish]) -> Result<()> {
        let mut tx = self.write().await?;
        for group in finishes.chunks(self.db.most_rows()) {
            let (rows, worker) = (group.iter().map(row), worker.to_owned());
            on!(&mut tx, conn => {
                self.finishing().query::<Db>(rows).bind(worker).execute(conn).await.map(drop)
            })?;
        }
        tx.commit().await
    }

    fn finishing(&self) -> &'static Rows<8> {
        match self.db {
            Db::Sqlite { .. } => &FINISH_SQLITE,
            Db::Postgres(_) => &FINISH_POSTGRES,
        }
    }

    /// Steps of `fallback` Groups, and what each means for the next ones, in one transaction.
    async fn finish_steps(&self, worker: &str, steps: &[&Finish]) -> Result<()> {
        let mut tx = self.write().await?;
        let mut released = Vec::new();
        for step in steps {
            tx.alone_with(&push_of(&step.id)?).await?;
            let late = matches!(step.state, FinishState::Again { .. }) && tx.is_overtaken(&step.id).await?;
            if tx.finish(worker, step).await? {
                released.extend(tx.after_step(step, late).await?);
            }
        }
        tx.commit().await?;
        self.signal.announce(released.iter().map(|release| (release.lane.as_str(), release.run_at)));
        Ok(())
    }
}

impl Tx {
    /// Records one finish; `false` if the lease was lost.
    async fn finish(&mut self, worker: &str, finish: &Finish) -> Result<bool> {
        let row = FinishRow::of(finish);
        let changed = on!(self, conn => sqlx::query(
            "UPDATE task SET state = $1, run_at = COALESCE($2, run_at), finished_at = $3, error_code = $4,
             error_message = $5, attempt_log = $6, worker = NULL, lease_until = NULL
             WHERE id = $7 AND worker = $8 AND attempt = $9")
            .bind(row.state)
            .bind(row.run_at)
            .bind(row.finished_at)
            .bind(row.code)
            .bind(row.message)
            .bind(finish.attempt_log.clone())
            .bind(finish.id.as_str().to_owned())
            .bind(worker.to_owned())
            .bind(finish.attempt)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Whether a step before this one, tried again by hand, has succeeded while this one was being tried.
    async fn is_overtaken(&mut self, id: &TaskId) -> Result<bool> {
        let (first, _) = bounds(&push_of(id)?);
        let (count,): (i64,) = on!(self, conn => sqlx::query_as(
            "SELECT COUNT(*) FROM task WHERE id >= $1 AND id < $2 AND state = 'succeeded'
             AND finished_at >= (SELECT run_at FROM task WHERE id = $2)")
            .bind(first).bind(id.as_str().to_owned()).fetch_one(conn).await)?;
        Ok(count > 0)
    }

    /// What the end of a step means for the others: a success skips them, a failure starts the next unless another one is
    /// under way, whose own end decides. A step that comes too `late` is not tried again.
    async fn after_step(&mut self, finish: &Finish, late: bool) -> Result<Option<Release>> {
        match &finish.state {
            FinishState::Again { .. } => {
                if late {
                    self.skip(finish.id.as_str().to_owned(), finish.now).await?;
                }
                Ok(None)
            }
            FinishState::Succeeded => {
                let push = push_of(&finish.id)?;
                self.skip_others(&push, Some(&finish.id), finish.now).await?;
                Ok(None)
            }
            FinishState::Failed { .. } if self.others_go_on(&finish.id).await? => Ok(None),
            FinishState::Failed { .. } => self.start_next_held(&finish.id, finish.now).await,
        }
    }

    /// Whether another step of the same push waits or runs.
    ///
    /// # Errors
    /// If the id is none of a push, or the database fails.
    pub async fn others_go_on(&mut self, id: &TaskId) -> Result<bool> {
        let (first, end) = bounds(&push_of(id)?);
        let (count,): (i64,) = on!(self, conn => sqlx::query_as(
            "SELECT COUNT(*) FROM task WHERE id >= $1 AND id < $2 AND id <> $3 AND state IN ('waiting', 'running')")
            .bind(first).bind(end).bind(id.as_str().to_owned()).fetch_one(conn).await)?;
        Ok(count > 0)
    }

    /// Starts the next held step after a task of a `fallback` Group; a step with a later time of its own keeps it.
    async fn start_next_held(&mut self, id: &TaskId, now: Timestamp) -> Result<Option<Release>> {
        let (_, end) = bounds(&push_of(id)?);
        loop {
            let next: Option<(String, String, i64)> = on!(&mut *self, conn => sqlx::query_as(
                "SELECT id, lane, run_at FROM task WHERE id > $1 AND id < $2 AND state = 'held' ORDER BY id LIMIT 1")
                .bind(id.as_str().to_owned()).bind(end.clone()).fetch_optional(conn).await)?;
            let Some((next, lane, run_at)) = next else { return Ok(None) };
            let run_at = run_at.max(now.0);
            let started = on!(&mut *self, conn => sqlx::query(
                "UPDATE task SET state = 'waiting', run_at = $1 WHERE id = $2 AND state = 'held'")
                .bind(run_at).bind(next).execute(conn).await.map(|done| done.rows_affected()))?;
            // If it was revoked since it was read, with its Pusher, it is the turn of the one after.
            if started == 1 {
                return Ok(Some(Release { lane, run_at }));
            }
        }
    }
}

fn push_of(id: &TaskId) -> Result<PushId> {
    id.push().ok_or_else(|| Error::Broken(anyhow::anyhow!("task id {id} has no push")))
}
