//! Tasks that start as they are recorded: there is a place for them and nothing else waits for it, so the commit that makes
//! them also claims them. Whatever does not fit in waits in the table and is claimed from there.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::queue::{Claimed, LARGE, put_off};
use super::{Db, NewTask, Signal};
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;

/// Where this node's workers take tasks from.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The name that they claim by.
    pub worker: Arc<str>,
    /// How long a claim holds, in milliseconds.
    pub lease_ms: i64,
    /// Has room for as many tasks as may run.
    pub claims: mpsc::Sender<Claimed>,
}

/// The tasks of one commit that start with it.
pub(super) struct Starts {
    intake: Intake,
    pub(super) now: Timestamp,
    tasks: Vec<Claimed>,
}

impl Starts {
    /// Makes those of these tasks `Running` that are due and for which the agenda has a place. They count as running from
    /// now on.
    pub(super) fn admit(tasks: &mut [NewTask], signal: &Signal) -> Option<Self> {
        // The recorder has no clock; a moment ago somebody who has one made the last of these.
        let now = tasks.iter().map(|task| task.created_at).max()?;
        let fits =
            |task: &NewTask| task.state == TaskState::Waiting && task.run_at <= now && task.payload.len() <= LARGE;
        if !tasks.iter().any(fits) {
            return None;
        }
        let intake = signal.intake()?;
        let mut agenda = signal.agenda();
        let mut started = Vec::with_capacity(tasks.len());
        for task in tasks.iter_mut().filter(|task| fits(task)) {
            if agenda.admit(&task.lane, now.0) {
                task.state = TaskState::Running;
                started.push(Claimed::first(task));
            }
        }
        (!started.is_empty()).then_some(Self { intake, now, tasks: started })
    }

    pub(super) fn worker(&self) -> &str {
        &self.intake.worker
    }

    pub(super) fn lease_until(&self) -> Timestamp {
        self.now.plus_ms(self.intake.lease_ms)
    }

    /// They are recorded: hands them to the workers. If these have gone meanwhile they wait again.
    pub(super) async fn go(self, db: &Db, signal: &Signal) {
        for task in self.tasks {
            let Err(refused) = self.intake.claims.try_send(task) else { continue };
            let task = refused.into_inner();
            signal.ended(&task.lane);
            if let Err(error) = put_off(db, signal, &self.intake.worker, &task, task.run_at).await {
                tracing::warn!(?error, task_id = %task.id, "a task could not be given back; its lease will end");
            }
        }
    }

    /// They could not be recorded, or nobody knows whether they are: then their lease ends.
    pub(super) fn give_up(self, signal: &Signal) {
        for task in self.tasks {
            signal.ended(&task.lane);
        }
    }
}
