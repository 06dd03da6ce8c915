//! Wakes the claimer: tells which lanes have something due and when, as soon as it is committed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::herald::Outbox;
use super::start::Intake;
use crate::domain::agenda::{Agenda, Limits};

/// The agenda of this node and the bell beside it.
pub struct Signal {
    agenda: Mutex<Agenda>,
    bell: Notify,
    outbox: Arc<Outbox>,
    /// Whether there may be other nodes to tell.
    shared: bool,
    intake: Mutex<Option<Intake>>,
}

impl Signal {
    /// An empty agenda; `shared` if there may be other nodes to tell.
    pub fn new(limits: Limits, shared: bool) -> Self {
        let agenda = Mutex::new(Agenda::new(limits));
        Self { agenda, bell: Notify::new(), outbox: Arc::default(), shared, intake: Mutex::default() }
    }

    /// From now on tasks may start as they are recorded; with `None` all of them wait to be claimed.
    pub fn set_intake(&self, intake: Option<Intake>) {
        *self.intake.lock().unwrap_or_else(PoisonError::into_inner) = intake;
    }

    pub(super) fn intake(&self) -> Option<Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What goes to the other nodes.
    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// As `note`, for what has just been committed here: the other nodes are told as well.
    pub fn announce<'a>(&self, waiting: impl IntoIterator<Item = (&'a str, i64)> + Clone) {
        if self.shared {
            self.outbox.lanes(waiting.clone());
        }
        self.note(waiting);
    }

    /// The agenda. Held for moments only, never across an await.
    pub fn agenda(&self) -> MutexGuard<'_, Agenda> {
        // The agenda holds hints and counts that stay usable whatever panicked beside it.
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tasks wait in these lanes from these times on; only this node is told.
    pub fn note<'a>(&self, waiting: impl IntoIterator<Item = (&'a str, i64)>) {
        self.tell(waiting, Agenda::note);
    }

    fn tell<'a>(
        &self,
        waiting: impl IntoIterator<Item = (&'a str, i64)>,
        tell: impl Fn(&mut Agenda, &str, i64) -> bool,
    ) {
        let mut agenda = self.agenda();
        let mut news = false;
        for (lane, run_at) in waiting {
            news |= tell(&mut agenda, lane, run_at);
        }
        drop(agenda);
        if news {
            self.bell.notify_one();
        }
    }

    /// As `note`, for lanes that are not to be tried before `until`.
    pub fn defer<'a>(&self, waiting: impl IntoIterator<Item = (&'a str, i64)>, until: i64) {
        self.tell(waiting, |agenda, lane, run_at| agenda.defer(lane, run_at, until));
    }

    /// A task of this lane no longer runs.
    pub fn ended(&self, lane: &str) {
        self.agenda().ended(lane);
        self.bell.notify_one();
    }

    /// Waits until there is news since the last call.
    pub async fn news(&self) {
        self.bell.notified().await;
    }
}
