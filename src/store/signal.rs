//! Wakes the claimer: tells which lanes have something due and when, as soon as it is committed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::agenda::{Agenda, Limits};

/// The agenda of this node and the bell beside it.
pub struct Signal {
    agenda: Mutex<Agenda>,
    bell: Notify,
}

impl Signal {
    /// An empty agenda.
    pub fn new(limits: Limits) -> Self {
        Self { agenda: Mutex::new(Agenda::new(limits)), bell: Notify::new() }
    }

    /// The agenda. Held for moments only, never across an await.
    pub fn agenda(&self) -> MutexGuard<'_, Agenda> {
        // The agenda holds hints and counts that stay usable whatever panicked beside it.
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tasks wait in these lanes from these times on.
    pub fn note<'a>(&self, waiting: impl IntoIterator<Item = (&'a str, i64)>) {
        let mut agenda = self.agenda();
        let mut news = false;
        for (lane, run_at) in waiting {
            news |= agenda.note(lane, run_at);
        }
        drop(agenda);
        if news {
            self.bell.notify_one();
        }
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
