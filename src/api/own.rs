//! What the operations on Presets, on Groups and on Pushers of any kind share: pages of one's own and of what is public.

use poem_openapi::Object;
use poem_openapi::types::{ParseFromJSON, ToJSON};

use super::envelope::{ApiError, Reply};
use super::page::{Page, PageQuery, position, time_and_key};
use crate::domain::id::PusherId;
use crate::domain::time::Timestamp;
use crate::flow::shown::shown;
use crate::flow::{Caller, Engine};
use crate::store::{PusherKind, StoredPusher};

/// Longest text to search for, in characters.
const LONGEST_SEARCH: usize = 100;

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
    let before = list_position(page)?;
    let mut tx = engine.store.read().await?;
    let rows = tx.pushers_of(engine.store.sealer(), &caller.account.id, kind, before, page.rows()).await?;
    drop(tx);
    page_of(engine, Some(caller), page, rows, view).await
}

/// A page of what is shared, of one kind; with a text, of what has it in its name or its base.
///
/// # Errors
/// If the cursor is not one of this list's, or the text is too long.
pub async fn shared_page<T: ParseFromJSON + ToJSON>(
    engine: &Engine,
    caller: Option<&Caller>,
    page: &PageQuery,
    kind: PusherKind,
    text: Option<&str>,
    view: impl Fn(StoredPusher) -> Option<T>,
) -> Result<Reply<Page<T>>, ApiError> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.chars().count() > LONGEST_SEARCH => return Err(ApiError::field("q", "too_long")),
        Some(text) if text.contains('\0') => return Err(ApiError::field("q", "invalid")),
        _ => {}
    }
    let before = list_position(page)?;
    let mut tx = engine.store.read().await?;
    let rows = tx.shared_pushers(engine.store.sealer(), kind, text, before, page.rows()).await?;
    drop(tx);
    page_of(engine, caller, page, rows, view).await
}

async fn page_of<T: ParseFromJSON + ToJSON>(
    engine: &Engine,
    caller: Option<&Caller>,
    page: &PageQuery,
    rows: Vec<StoredPusher>,
    view: impl Fn(StoredPusher) -> Option<T>,
) -> Result<Reply<Page<T>>, ApiError> {
    let mut keyed = Vec::with_capacity(rows.len());
    for pusher in rows {
        let key = position(pusher.created_at(), pusher.id());
        keyed.extend(view(shown(engine, caller, pusher).await?).map(|shown| (key, shown)));
    }
    Ok(Reply(page.page(keyed, |(key, _)| key.clone(), |(_, shown)| shown)))
}

/// Where a page of Pushers ended.
fn list_position(page: &PageQuery) -> Result<Option<(Timestamp, PusherId)>, ApiError> {
    match time_and_key(page)? {
        Some((_, id)) if id.len() != PusherId::LEN => Err(ApiError::cursor_invalid()),
        before => Ok(before.map(|(at, id)| (at, PusherId::new(id)))),
    }
}
