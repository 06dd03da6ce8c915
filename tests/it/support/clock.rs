//! The machine's clock, moved by a test's hand.

use std::sync::atomic::{AtomicI64, Ordering};

use fanfare::app::SystemClock;
use fanfare::domain::time::{Clock, Timestamp};

/// Runs with the machine's clock, so many milliseconds ahead of it.
#[derive(Debug, Default)]
pub struct TestClock {
    ahead_ms: AtomicI64,
    /// Whether the server may put it right.
    obeys: bool,
}

impl TestClock {
    /// A clock that goes wrong by so many milliseconds until somebody puts it right.
    pub fn wrong_by(ahead_ms: i64) -> Self {
        Self { ahead_ms: ahead_ms.into(), obeys: true }
    }

    /// Moves on by so many milliseconds. Who sleeps does not notice: `World::forward` wakes the server as well.
    pub fn advance(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock::default().now().plus_ms(self.ahead_ms.load(Ordering::SeqCst))
    }

    fn correct(&self, ms: i64) {
        if self.obeys {
            self.advance(ms);
        }
    }
}
