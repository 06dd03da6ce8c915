//! The queue on the task table: claims with a lease, hand-back and take-over.
//!
//! A claim makes a task `running` in the database before any worker sees it, so whoever revokes it before that wins,
//! and whoever comes later is told that it runs.

use super::rows::{Kind, MOST_ROWS, Rows, read};
use super::{Db, NewTask, Store, directly, on};
use crate::domain::agenda::Ask;
use crate::domain::id::TaskId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// From how many bytes on sealed parameters are read only when there is room for them. Stands in the claims as well.
pub(super) const LARGE: usize = 32_768;

/// A task that this worker now holds.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: TaskId,
    pub service: String,
    pub fallback: bool,
    pub lane: String,
    pub run_at: Timestamp,
    /// Sealed parameters. Empty if they are large: so many tasks are claimed at a time that these are read only when
    /// there is room for them (`payload`).
    pub payload: String,
    /// This attempt's number since the task was made, from 1; fences the finish.
    pub attempt: i64,
    /// Attempts begun before the task was last retried by hand.
    pub attempt_base: i64,
    /// What is known of earlier attempts, as JSON.
    pub attempt_log: String,
}

impl Claimed {
    /// Whether it was tried before, and nobody asked for this attempt by hand.
    pub fn is_repeated(&self) -> bool {
        self.attempt > self.attempt_base + 1
    }

    /// A task that is claimed as it is recorded.
    pub(super) fn first(task: &NewTask) -> Self {
        Self {
            id: task.id.clone(),
            service: task.service.clone(),
            fallback: task.fallback,
            lane: task.lane.clone(),
            run_at: task.run_at,
            payload: task.payload.clone(),
            attempt: 1,
            attempt_base: 0,
            attempt_log: "[]".to_owned(),
        }
    }

    fn of(lane: &str, row: Row) -> Self {
        let (id, service, fallback, run_at, payload, attempt, attempt_base, attempt_log) = row;
        let (id, lane, run_at) = (TaskId::new(id), lane.to_owned(), Timestamp(run_at));
        Self { id, service, fallback, lane, run_at, payload, attempt, attempt_base, attempt_log }
    }
}

/// What a claim reads, in its order. Each column more is a copy on SQLite's thread.
type Row = (String, String, bool, i64, String, i64, i64, String);

/// What one lane gave.
#[derive(Debug)]
pub struct Claim {
    pub lane: String,
    pub tasks: Vec<Claimed>,
}

impl Claim {
    fn new(lane: &str, rows: Vec<Row>) -> Self {
        let mut tasks: Vec<Claimed> = rows.into_iter().map(|row| Claimed::of(lane, row)).collect();
        // RETURNING has no order of its own.
        tasks.sort_by(|a, b| (a.run_at, &a.id).cmp(&(b.run_at, &b.id)));
        Self { lane: lane.to_owned(), tasks }
    }
}

/// A lane that has a task waiting from this time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub lane: String,
    pub run_at: i64,
}

static NEXT_DUES: Rows<2> = Rows::new(
    "WITH asked (lane, since) AS (",
    [Kind::Text, Kind::Number],
    ") SELECT lane, (SELECT MIN(run_at) FROM task
     WHERE state = 'waiting' AND task.lane = asked.lane AND run_at >= asked.since) FROM asked",
);

/// A claim of those that this condition names.
macro_rules! claiming {
    ($which:literal) => {
        concat!(
            "UPDATE task SET state = 'running', worker = $1, lease_until = $2, attempt = attempt + 1,
             started_at = COALESCE(started_at, $3) WHERE ",
            $which,
            " RETURNING id, service, fallback, run_at, CASE WHEN LENGTH(payload) <= 32768 THEN payload ELSE '' END,
             attempt, attempt_base, attempt_log"
        )
    };
}

/// The index of what is due leads straight to the rows; by their ids each would be looked up once more.
const CLAIM_SQLITE: &str = claiming!(
    "rowid IN (SELECT rowid FROM task WHERE state = 'waiting' AND lane = $4 AND run_at BETWEEN $6 AND $3
     ORDER BY run_at, id LIMIT $5)"
);
// The fork: only PostgreSQL has several claimers at once, and only it knows SKIP LOCKED, without which they would wait
// for each other. ANY(ARRAY(…)) keeps the planner from joining against a scan of the whole table.
const CLAIM_POSTGRES: &str = claiming!(
    "id = ANY(ARRAY(SELECT id FROM task WHERE state = 'waiting' AND lane = $4 AND run_at BETWEEN $6 AND $3
     ORDER BY run_at, id LIMIT $5 FOR UPDATE SKIP LOCKED))"
);

const TAKE_OVER_SQLITE: &str = "UPDATE task SET state = 'waiting', worker = NULL, lease_until = NULL
    WHERE state = 'running' AND lease_until < $1 RETURNING lane, run_at";

// The fork: several nodes look for ended leases at the same time, and must not wait for each other, nor for a worker that
// finishes after all.
const TAKE_OVER_POSTGRES: &str = "UPDATE task SET state = 'waiting', worker = NULL, lease_until = NULL
    WHERE id = ANY(ARRAY(SELECT id FROM task WHERE state = 'running' AND lease_until < $1 FOR UPDATE SKIP LOCKED))
    RETURNING lane, run_at";

impl Store {
    /// Claims what is asked for and due; answers one claim for each.
    ///
    /// # Errors
    /// If the database fails. What it claims all the same, and cannot say, waits again when the lease ends.
    pub async fn claim(
        &self,
        worker: &str,
        asks: &[Ask],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let claims = self.claim_lanes(worker, asks, now, lease_until).await?;
        self.wrote(claims.iter().map(|claim| claim.tasks.len()).sum());
        Ok(claims)
    }

    async fn claim_lanes(
        &self,
        worker: &str,
        asks: &[Ask],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Vec<Claim>> {
        let sql = match self.db {
            Db::Sqlite { .. } => CLAIM_SQLITE,
            Db::Postgres(_) => CLAIM_POSTGRES,
        };
        macro_rules! claim {
            ($ask:expr, $conn:expr) => {
                sqlx::query_as(sql)
                    .bind(worker.to_owned())
                    .bind(lease_until.0)
                    .bind(now.0)
                    .bind($ask.lane.clone())
                    .bind($ask.most)
                    .bind(self.from($ask.since))
                    .fetch_all($conn)
                    .await
            };
        }
        let mut claims = Vec::with_capacity(asks.len());
        if let [ask] = asks {
            let rows: Vec<Row> = directly!(&self.db, conn => claim!(ask, conn))?;
            claims.push(Claim::new(&ask.lane, rows));
            return Ok(claims);
        }
        let mut tx = self.write().await?;
        for ask in asks {
            let rows: Vec<Row> = on!(&mut tx, conn => claim!(ask, conn))?;
            claims.push(Claim::new(&ask.lane, rows));
        }
        tx.commit().await?;
        Ok(claims)
    }

    /// From when on to look for what is due, if it is known since when. The fork: PostgreSQL keeps what has gone in its index
    /// until the next vacuum, and reads past all of it where a lane begins: claims became slower with each task claimed.
    /// SQLite takes it out at once, and need not rely on what was told.
    fn from(&self, since: i64) -> i64 {
        match self.db {
            Db::Sqlite { .. } => i64::MIN,
            Db::Postgres(_) => since,
        }
    }

    /// The sealed parameters of a task, however large.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn payload(&self, id: &TaskId) -> Result<Option<String>> {
        let row: Option<(String,)> = directly!(readers of &self.db, conn => sqlx::query_as(
            "SELECT payload FROM task WHERE id = $1")
            .bind(id.as_str().to_owned()).fetch_optional(conn).await)?;
        Ok(row.map(|(payload,)| payload))
    }

    /// Puts a task that this worker holds back until a time, as if it had not been claimed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn put_off(&self, worker: &str, task: &Claimed, run_at: Timestamp) -> Result<()> {
        let changed = directly!(&self.db, conn => sqlx::query(
            "UPDATE task SET state = 'waiting', worker = NULL, lease_until = NULL, attempt = attempt - 1, run_at = $1
             WHERE id = $2 AND worker = $3 AND attempt = $4")
            .bind(run_at.0).bind(task.id.as_str().to_owned()).bind(worker.to_owned()).bind(task.attempt)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        if changed == 1 {
            self.signal.note([(task.lane.as_str(), run_at.0)]);
        }
        Ok(())
    }

    /// When the next waiting task of each of these lanes is due, of those from a time on; a lane without any is left out.
    /// Reads beside the writer, whose turn pushes wait for.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn next_dues(&self, lanes: &[(String, i64)]) -> Result<Vec<(String, i64)>> {
        let mut dues = Vec::with_capacity(lanes.len());
        for some in lanes.chunks(MOST_ROWS) {
            let rows = some.iter().map(|(lane, since)| [lane.clone().into(), self.from(*since).into()]);
            let found: Vec<(String, Option<i64>)> = directly!(readers of &self.db, conn => {
                NEXT_DUES.query::<Dialect>(rows).fetch_all(conn).await.and_then(|rows| read(&rows))
            })?;
            dues.extend(found.into_iter().filter_map(|(lane, due)| Some((lane, due?))));
        }
        Ok(dues)
    }

    /// Gives back everything that this worker still holds, as if it had not been claimed; answers each task's lane and
    /// when it is due. The other nodes are told.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn hand_back(&self, worker: &str) -> Result<Vec<Release>> {
        let rows: Vec<(String, i64)> = directly!(&self.db, conn => sqlx::query_as(
            "UPDATE task SET state = 'waiting', worker = NULL, lease_until = NULL, attempt = attempt - 1
             WHERE state = 'running' AND worker = $1 RETURNING lane, run_at")
            .bind(worker.to_owned()).fetch_all(conn).await)?;
        self.signal.announce(rows.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
        Ok(rows.into_iter().map(|(lane, run_at)| Release { lane, run_at }).collect())
    }

    /// Takes over what dead workers left: tasks whose lease has ended wait again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_over(&self, now: Timestamp) -> Result<usize> {
        let sql = match self.db {
            Db::Sqlite { .. } => TAKE_OVER_SQLITE,
            Db::Postgres(_) => TAKE_OVER_POSTGRES,
        };
        let rows: Vec<(String, i64)> =
            directly!(&self.db, conn => sqlx::query_as(sql).bind(now.0).fetch_all(conn).await)?;
        self.signal.announce(rows.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
        Ok(rows.len())
    }

    /// Tells the agenda of every lane with a waiting task, and when its next one is due. Steps from lane to lane in the
    /// index, so that a million tasks of few lanes cost little.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn survey(&self) -> Result<()> {
        let rows = self.lanes().await?;
        self.signal.note(rows.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
        Ok(())
    }

    /// Every lane with a waiting task, and when its next one is due.
    async fn lanes(&self) -> Result<Vec<(String, i64)>> {
        let mut tx = self.read().await?;
        Ok(on!(&mut tx, conn => sqlx::query_as(
            "WITH RECURSIVE step (lane) AS (
                SELECT (SELECT lane FROM task WHERE state = 'waiting' ORDER BY lane LIMIT 1)
                UNION ALL
                SELECT (SELECT lane FROM task WHERE state = 'waiting' AND lane > step.lane ORDER BY lane LIMIT 1)
                FROM step WHERE step.lane IS NOT NULL
             )
             SELECT lane, (SELECT MIN(run_at) FROM task WHERE state = 'waiting' AND task.lane = step.lane)
             FROM step WHERE lane IS NOT NULL")
            .fetch_all(conn).await)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_leave_out_what_is_large() {
        for claim in [CLAIM_SQLITE, CLAIM_POSTGRES] {
            assert!(claim.contains(&format!("LENGTH(payload) <= {LARGE} THEN payload")), "{claim}");
        }
    }
}
