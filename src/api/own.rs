//! What the operations on Presets, on Groups and on Pushers of any kind share: one's own, and only one's own.

use poem_openapi::Object;
use poem_openapi::types::{ParseFromJSON, ToJSON};

use super::envelope::{ApiError, Reply};
use super::page::{Page, PageQuery};
use crate::domain::id::PusherId;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::{Caller, Engine};
use crate::store::{PusherKind, StoredPusher};

/// What deleting a Pusher did.
#[derive(Debug, Object)]
pub struct Removed {
    /// How many waiting tasks were revoked with it.
    pub revoked_tasks: u64,
}

impl Removed {
    /// So many tasks went with it.
    pub fn of(revoked_tasks: usize) -> Self {
        Self { revoked_tasks: u64::try_from(revoked_tasks).unwrap_or(u64::MAX) }
    }
}

/// The caller's own Preset or Group; anybody else's does not exist for the caller.
///
/// # Errors
/// 404 if there is none.
pub async fn own_pusher(engine: &Engine, caller: &Caller, id: &PusherId) -> Result<StoredPusher, ApiError> {
    let found = engine.store.read().await?.pusher(engine.store.sealer(), id).await?;
    Ok(found.filter(|pusher| *pusher.owner() == caller.account.id).ok_or(Error::NotFound("pusher"))?)
}

/// A page of the caller's own Pushers.
///
/// # Errors
/// If the cursor is not one of this list's.
pub async fn own_page<T: ParseFromJSON + ToJSON>(
    engine: &Engine,
    caller: &Caller,
    page: &PageQuery,
    kind: Option<PusherKind>,
    view: impl Fn(StoredPusher) -> Option<T>,
) -> Result<Reply<Page<T>>, ApiError> {
    let before = match &page.after {
        Some(key) => Some(list_position(key).ok_or_else(ApiError::cursor_invalid)?),
        None => None,
    };
    let mut tx = engine.store.read().await?;
    let rows = tx.pushers_of(engine.store.sealer(), &caller.account.id, kind, before, page.rows()).await?;
    let keyed = rows.into_iter().filter_map(|pusher| {
        let key = format!("{}.{}", pusher.created_at().0, pusher.id());
        view(pusher).map(|shown| (key, shown))
    });
    Ok(Reply(page.page(keyed.collect(), |(key, _)| key.clone(), |(_, shown)| shown)))
}

/// Where a page of Pushers ended: `created_at.id`.
fn list_position(key: &str) -> Option<(Timestamp, PusherId)> {
    let (at, id) = key.split_once('.')?;
    (id.len() == PusherId::LEN).then_some((Timestamp(at.parse().ok()?), PusherId::new(id)))
}
