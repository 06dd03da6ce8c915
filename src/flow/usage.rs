//! Exchanges with other nodes what has been used of rates and quotas, and keeps quotas over a restart. All in the
//! background: what it tells is at most an interval old, and so is what it knows. A node on which nothing happens
//! writes nothing.

use std::collections::HashMap;
use std::time::Duration;

use super::Engine;
use super::limits::Told;
use crate::domain::rate::day;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Usage;

/// How often it tells and listens.
const EVERY: Duration = Duration::from_millis(500);
/// What was told so recently is read: more than nodes' clocks can differ.
const RECENT_MS: i64 = 60_000;
/// What a node told of rates is remembered for so long after it was last read, and then tidied away.
pub(super) const KEPT_MS: i64 = 10 * 60_000;

/// What was last read of each thing that each other node counts.
pub struct Exchange {
    node: String,
    seen: HashMap<(i64, String, String), Seen>,
}

struct Seen {
    count: i64,
    at: Timestamp,
}

impl Exchange {
    /// Reads what is used already: of quotas, what was used on this day counts. Of rates it does not: how much of it is
    /// recent cannot be told.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn start(engine: &Engine, node: String) -> Result<Self> {
        let now = engine.clock.now();
        let mut exchange = Self { node, seen: HashMap::new() };
        let mut tx = engine.store.read().await?;
        for usage in tx.usage_of_day(day(now)).await? {
            exchange.hear(engine, usage, now);
        }
        for usage in tx.usage_since(&exchange.node, now.plus_ms(-RECENT_MS)).await? {
            if usage.day == 0 {
                exchange.seen.insert((0, usage.key, usage.node), Seen { count: usage.count, at: now });
            }
        }
        Ok(exchange)
    }

    /// Tells and listens, for as long as it is polled.
    pub async fn run(mut self, engine: &Engine) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = self.step(engine).await {
                tracing::warn!(?error, "what is used of the limits could not be exchanged");
            }
        }
    }

    async fn step(&mut self, engine: &Engine) -> Result<()> {
        tell(engine, &self.node).await?;
        if !engine.store.is_shared() {
            return Ok(());
        }
        let now = engine.clock.now();
        let told = engine.store.read().await?.usage_since(&self.node, now.plus_ms(-RECENT_MS)).await?;
        for usage in told {
            self.hear(engine, usage, now);
        }
        let today = day(now);
        self.seen.retain(|(day, ..), seen| if *day == 0 { now.0 - seen.at.0 < KEPT_MS } else { *day >= today - 1 });
        Ok(())
    }

    fn hear(&mut self, engine: &Engine, usage: Usage, now: Timestamp) {
        let Usage { day, key, node, count } = usage;
        let seen = self.seen.entry((day, key.clone(), node)).or_insert(Seen { count: 0, at: now });
        let more = match count - seen.count {
            // A rate began anew, because it had been forgotten as unused. A quota never does within a day.
            ..0 if day == 0 => count,
            more => more.max(0),
        };
        *seen = Seen { count: if day == 0 { count } else { count.max(seen.count) }, at: now };
        if more > 0 {
            engine.limits.charge(&Told { day, key, count: u32::try_from(more).unwrap_or(u32::MAX) }, now);
        }
    }
}

/// Tells what this node has used since it last told; writes nothing if that is nothing.
///
/// # Errors
/// If the database fails.
pub async fn tell(engine: &Engine, node: &str) -> Result<()> {
    let untold = engine.limits.untold(engine.store.is_shared());
    if untold.is_empty() {
        return Ok(());
    }
    let usage = untold.into_iter().map(|Told { day, key, count }| {
        let node = node.to_owned();
        Usage { day, key, node, count: count.into() }
    });
    engine.store.tell_usage(&usage.collect::<Vec<_>>(), engine.clock.now()).await
}
