//! The safety nets, at intervals: takes over what dead workers left, surveys the lanes, agrees with the database on the
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::TAKE_OVER_EVERY;
use crate::domain::time::Timestamp;
use crate::flow::Engine;
use crate::flow::nodes::agree_on_time;

/// How many rounds pass between surveys of the lanes, among nodes and alone.
const SURVEY_SHARED: u32 = 2;
const SURVEY_ALONE: u32 = 12;
/// For so long after the database could not be written to, no lease counts as ended: its holder, here or on another
/// node, first gets to record what ended meanwhile.
const AFTER_OUTAGE: Duration = Duration::from_secs(10);

/// How much further than the time that has passed the clock may go between two looks.
const CLOCK_MARGIN_MS: i64 = 2000;

/// When it was last looked, by the processor's time and by the clock.
struct Look {
    at: Instant,
    clock: Timestamp,
}

impl Look {
    /// Whether time has gone on as usual since the last look. It has not when the process was stopped, or the machine
    /// asleep, or somebody has put the clock forward: leases have ended then whose holder is here and well.
    fn is_usual(&mut self, now: Self) -> bool {
        let last = std::mem::replace(self, now);
        let passed = self.at.duration_since(last.at);
        let by_clock = self.clock.0.saturating_sub(last.clock.0);
        let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        passed <= 2 * TAKE_OVER_EVERY && by_clock <= passed_ms.saturating_add(CLOCK_MARGIN_MS)
    }
}

pub(super) async fn sweep(engine: Arc<Engine>, recording: watch::Receiver<bool>, mut stopping: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(TAKE_OVER_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds: u32 = 0;
    let mut leases_stand_until = Instant::now();
    let look = || Look { at: Instant::now(), clock: engine.clock.now() };
    let mut last = look();
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stopping.changed() => return,
        }
        // Before leases are held against the clock.
        if let Err(error) = agree_on_time(&engine).await {
            tracing::warn!(?error, "the database's time could not be asked for");
        }
        if !last.is_usual(look()) {
            tracing::info!("this process or machine was stopped, or the clock was put forward: leases count from now");
            leases_stand_until = leases_stand_until.max(Instant::now() + engine.lease);
        }
        let mut well = !*recording.borrow();
        if well && leases_stand_until <= Instant::now() {
            match engine.store.take_over(engine.clock.now()).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "took over {count} tasks whose worker was gone"),
                Err(error) => {
                    tracing::warn!(?error, "leases could not be checked");
                    well = false;
                }
            }
        }
        if !well {
            leases_stand_until = leases_stand_until.max(Instant::now() + AFTER_OUTAGE);
            rounds = 0;
        }
        // The first round tells the agenda what waited before this process began, or what it was not told in an outage;
        // a node that died may not have told the others what it took in last.
        let every = if engine.store.is_shared() { SURVEY_SHARED } else { SURVEY_ALONE };
        if rounds.is_multiple_of(every)
            && let Err(error) = engine.store.survey().await
        {
            tracing::warn!(?error, "the lanes could not be surveyed");
            continue;
        }
        rounds = rounds.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_and_a_clock_that_is_put_forward_are_noticed_once() {
        let began = Instant::now();
        let mut last = Look { at: began, clock: Timestamp(1_000_000) };
        for (seconds, clock_ms, usual) in [
            (5, 5_000, true),
            (10, 10_100, true),
            (18, 18_000, true),
            (58, 58_000, false),
            (63, 63_000, true),
            (68, 108_000, false),
            (73, 113_000, true),
            (78, 20_000, true),
            (83, 25_000, true),
        ] {
            let now = Look { at: began + Duration::from_secs(seconds), clock: Timestamp(1_000_000 + clock_ms) };
            assert_eq!(last.is_usual(now), usual, "{seconds} s");
        }
    }
}
