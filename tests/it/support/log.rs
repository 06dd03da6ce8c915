//! What is logged on a test's thread, at every level. A test's server runs on it, unless the test says otherwise.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::{Dispatch, Level};

/// The log, from `begin` until this goes out of scope.
pub struct Log {
    lines: Lines,
    _here: tracing::subscriber::DefaultGuard,
    _second: Dispatch,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn begin() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(move || writer.clone());
        let _here = tracing::subscriber::set_default(subscriber.finish());
        // As long as there is only one subscriber, whichever thread comes by a place in the code first decides whether
        // that place is logged, and the other tests' threads have none.
        let _second = Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
        Self { lines, _here, _second }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock().expect("no panic while locked")).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic while locked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
