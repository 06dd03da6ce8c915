//! The end of the server, as its connections see it: requests that are being answered are answered, and one that has not
//! come in whole by then gets little time to. Somebody who never sends the rest of it would hold up every restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether the server ends, and how many requests are being answered.
#[derive(Debug, Default)]
pub struct Closing {
    begun: AtomicBool,
    answering: AtomicUsize,
}

impl Closing {
    /// From here on the server ends.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered, on whatever connection.
    pub fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    /// Counts a request that is there in whole, until it is answered.
    pub fn answer(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Answering(Arc<Closing>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}
