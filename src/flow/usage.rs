//! What limits do in the background: nodes that share a database tell each other how much addresses have used, and give
//! back what they were granted of quotas and did not need; a node that is alone keeps quotas over a restart. What is told
//! is at most an interval old. A node on which nothing happens writes nothing.

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
/// What a node told of addresses is remembered for so long after it was last read.
const KEPT_MS: i64 = 10 * 60_000;
/// What was counted of rates, and of mails in an hour, is tidied away after so long.
pub(super) const MEANINGFUL_MS: i64 = 2 * 3_600_000;

/// What was last read of each address that each other node counts.
pub struct Exchange {
    node: String,
    seen: HashMap<(String, String), Seen>,
}

struct Seen {
    count: i64,
    at: Timestamp,
}

impl Exchange {
    /// Reads what is used already. Where nodes share a database, quotas are counted there; else what was used on this day
    /// counts. Of rates it does not: how much of it is recent cannot be told.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn start(engine: &Engine, node: String) -> Result<Self> {
        let now = engine.clock.now();
        let mut seen = HashMap::new();
        let mut tx = engine.store.read().await?;
        if engine.store.is_shared() {
            for Usage { key, node, count, .. } in tx.usage_since(&node, now.plus_ms(-RECENT_MS)).await? {
                seen.insert((key, node), Seen { count, at: now });
            }
        } else {
            for usage in tx.usage_of_day(day(now)).await? {
                charge(engine, usage, now);
            }
        }
        Ok(Self { node, seen })
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
        engine.limits.give_up(&engine.store, false, now).await?;
        let told = engine.store.read().await?.usage_since(&self.node, now.plus_ms(-RECENT_MS)).await?;
        for usage in told {
            self.hear(engine, usage, now);
        }
        self.seen.retain(|_, seen| now.0 - seen.at.0 < KEPT_MS);
        Ok(())
    }

    fn hear(&mut self, engine: &Engine, usage: Usage, now: Timestamp) {
        let seen = self.seen.entry((usage.key.clone(), usage.node.clone())).or_insert(Seen { count: 0, at: now });
        // Fewer than before: it began anew, because the address had been forgotten as unused.
        let more = if usage.count < seen.count { usage.count } else { usage.count - seen.count };
        *seen = Seen { count: usage.count, at: now };
        charge(engine, Usage { count: more, ..usage }, now);
    }
}

fn charge(engine: &Engine, Usage { day, key, count, .. }: Usage, now: Timestamp) {
    if count > 0 {
        engine.limits.charge(&Told { day, key, count }, now);
    }
}

/// Tells all that nobody else knows, and gives back what this node could still have used: it takes no more requests.
///
/// # Errors
/// If the database fails.
pub async fn end(engine: &Engine, node: &str) -> Result<()> {
    tell(engine, node).await?;
    engine.limits.give_up(&engine.store, true, engine.clock.now()).await
}

/// Tells what this node has used since it last told; writes nothing if that is nothing.
async fn tell(engine: &Engine, node: &str) -> Result<()> {
    let untold = engine.limits.untold();
    if untold.is_empty() {
        return Ok(());
    }
    let usage = untold.into_iter().map(|Told { day, key, count }| {
        let node = node.to_owned();
        Usage { day, key, node, count }
    });
    engine.store.tell_usage(&usage.collect::<Vec<_>>(), engine.clock.now()).await
}
