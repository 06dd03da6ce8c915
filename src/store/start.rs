//! Tasks that start as they are recorded: there is a place for them and nothing else waits for it, so the commit that makes
//! them also claims them. Whatever does not fit in waits in the table and is claimed from there.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::queue::{Claimed, LARGE};
use super::{NewTask, Signal};
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
    /// Whether outcomes cannot be recorded at present: what started then would run again.
    pub stuck: watch::Receiver<bool>,
    /// Its other end hears when nothing of this is under way any more, and what was not taken can be handed back.
    pub held: mpsc::Sender<()>,
}

/// The tasks of one commit that start with it.
pub(super) struct Starts {
    intake: Intake,
    signal: Arc<Signal>,
    pub(super) now: Timestamp,
    tasks: Vec<Claimed>,
}

impl Starts {
    /// Makes those of these tasks `Running` that are due and for which the agenda has a place. They count as running from
    /// now on.
    pub(super) fn admit(tasks: &mut [NewTask], signal: &Arc<Signal>) -> Option<Self> {
        // The recorder has no clock; a moment ago somebody who has one made the last of these.
        let now = tasks.iter().map(|task| task.created_at).max()?;
        let fits =
            |task: &NewTask| task.state == TaskState::Waiting && task.run_at <= now && task.payload.len() <= LARGE;
        if !tasks.iter().any(fits) {
            return None;
        }
        let intake = signal.intake().filter(|intake| !*intake.stuck.borrow())?;
        let mut agenda = signal.agenda();
        let mut started = Vec::with_capacity(tasks.len());
        for task in tasks.iter_mut().filter(|task| fits(task)) {
            if agenda.admit(&task.lane, now.0) {
                task.state = TaskState::Running;
                started.push(Claimed::first(task));
            }
        }
        drop(agenda);
        (!started.is_empty()).then(|| Self { intake, signal: signal.clone(), now, tasks: started })
    }

    pub(super) fn worker(&self) -> &str {
        &self.intake.worker
    }

    pub(super) fn lease_until(&self) -> Timestamp {
        self.now.plus_ms(self.intake.lease_ms)
    }

    /// They are recorded: hands them to the workers. If these have gone meanwhile, they hand back what is theirs.
    pub(super) fn go(mut self) {
        for task in self.tasks.drain(..) {
            if let Err(refused) = self.intake.claims.try_send(task) {
                self.signal.ended(&refused.into_inner().lane);
            }
        }
    }
}

impl Drop for Starts {
    /// What does not go could not be recorded, or nobody knows whether it is: then its lease ends.
    fn drop(&mut self) {
        for task in &self.tasks {
            self.signal.ended(&task.lane);
        }
    }
}
