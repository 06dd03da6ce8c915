//! What one node must know of the others: that a Pusher has changed, and what time they have agreed on. On SQLite there
//! are no others but `fanfare admin`, of which it is only known that it has written.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Engine;
use crate::error::Result;
use crate::store::News;

/// Differences smaller than this, in milliseconds, are left alone: they may be the network's.
const SMALL_MS: i64 = 20;

/// Takes in what the other nodes tell, until there is nothing more to come.
pub async fn follow_news(engine: Arc<Engine>, mut news: mpsc::UnboundedReceiver<News>) {
    while let Some(news) = news.recv().await {
        match news {
            News::Pusher(id) => engine.pushers.forget(&id),
            News::Round(began) => engine.pushers.trust_from(began),
            News::Lost => engine.pushers.distrust(),
            News::Elsewhere => {
                engine.pushers.forget_all();
                engine.callers.forget();
                engine.limits.known.forget_all();
            }
            News::Listening => {
                // Whatever happened while nobody listened.
                engine.pushers.distrust();
                if let Err(error) = engine.store.survey().await {
                    tracing::warn!(?error, "the lanes could not be surveyed");
                }
            }
        }
    }
}

/// Sets the clock by the database's, so that nodes agree on what is due and whose lease has ended.
///
/// # Errors
/// If the database fails.
pub async fn agree_on_time(engine: &Engine) -> Result<()> {
    let asked = engine.clock.now();
    let Some(theirs) = engine.store.time().await? else { return Ok(()) };
    let answered = engine.clock.now();
    let took = answered.0 - asked.0;
    let ahead = theirs.0 - (asked.0 + took / 2);
    if ahead.abs() > SMALL_MS.max(took) {
        tracing::info!(ahead, "the database's clock is {ahead} ms ahead; using it");
        engine.clock.correct(ahead);
    }
    Ok(())
}
