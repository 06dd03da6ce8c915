//! The safety nets, at intervals: takes over what dead workers left, surveys the lanes, agrees with the database on the
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::TAKE_OVER_EVERY;
use crate::flow::Engine;
use crate::flow::nodes::agree_on_time;

/// How many rounds pass between surveys of the lanes, among nodes and alone.
const SURVEY_SHARED: u32 = 2;
const SURVEY_ALONE: u32 = 12;
/// For so long after the database could not be written to, no lease counts as ended: its holder, here or on another
/// node, first gets to record what ended meanwhile.
const AFTER_OUTAGE: Duration = Duration::from_secs(10);

pub(super) async fn sweep(engine: Arc<Engine>, recording: watch::Receiver<bool>, mut stopping: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(TAKE_OVER_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds: u32 = 0;
    let mut leases_stand_until = None;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stopping.changed() => return,
        }
        let mut well = !*recording.borrow();
        if well && leases_stand_until.is_none_or(|until| until <= Instant::now()) {
            match engine.store.take_over(engine.clock.now()).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "took over {count} tasks whose worker was gone"),
                Err(error) => {
                    tracing::warn!(?error, "leases could not be checked");
                    well = false;
                }
            }
        }
        if let Err(error) = agree_on_time(&engine).await {
            tracing::warn!(?error, "the database's time could not be asked for");
        }
        if !well {
            leases_stand_until = Some(Instant::now() + AFTER_OUTAGE);
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
