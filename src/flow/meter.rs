//! What a push counts for: the rates of the Pusher and of its owner, and the day's quota of whoever pays for its tasks.
//! Administrators pay nothing, unless a quota is set for them: limits are for other people's accounts.

use super::known::{known, unless_admin};
use super::pushers::owner;
use super::{Caller, Engine};
use crate::domain::id::{AccountId, PusherId};
use crate::domain::permission::Standing;
use crate::domain::pusher::Pusher;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Counts a push to somebody's Pusher: for the Pusher, and for its owner, whose tasks it makes. Whoever has a token was
/// counted where that was checked, and a shared Pusher is pushed to on the caller's account. A Service belongs to nobody.
///
/// # Errors
/// `Limited` if there have been too many.
pub async fn count(
    engine: &Engine,
    caller: Option<&Caller>,
    root: &Pusher,
    id: &PusherId,
    now: Timestamp,
) -> Result<()> {
    let Some(owner) = owner(root) else { return Ok(()) };
    let (limits, store) = (&engine.limits, &engine.store);
    let counted_before = caller.is_some_and(|caller| pays(engine, caller, root));
    let mut counted = limits.pusher(store, id, now).await;
    if counted.is_ok() && !counted_before {
        counted = limits.account(store, owner, now).await;
    }
    unless_admin(engine, owner, counted).await
}

/// Whose quota a push uses up whose tasks belong to `holder`.
pub fn payer(engine: &Engine, caller: Option<&Caller>, root: &Pusher, holder: &str) -> AccountId {
    match caller {
        Some(caller) if pays(engine, caller, root) => caller.account.id.clone(),
        _ => AccountId::new(holder),
    }
}

/// Whether a push goes on the caller's own account: nobody else owns the Pusher, or it is shared, and others use it as
/// they like.
fn pays(engine: &Engine, caller: &Caller, root: &Pusher) -> bool {
    owner(root).is_none_or(|owner| *owner == caller.account.id) || engine.standing(root) == Standing::Shared
}

/// Tasks that were counted; given back when this is dropped, unless they are kept.
pub struct Spent<'a> {
    engine: &'a Engine,
    payer: AccountId,
    tasks: usize,
}

impl<'a> Spent<'a> {
    /// Counts tasks.
    ///
    /// # Errors
    /// `Limited` if the day's quota has no room for all of them; if the database fails.
    pub async fn take(engine: &'a Engine, payer: AccountId, tasks: usize, now: Timestamp) -> Result<Self> {
        let terms = known(engine, &payer, now).await?;
        let tasks = engine.limits.quota(&engine.store, payer.as_str(), terms, tasks, now).await?;
        Ok(Self { engine, payer, tasks })
    }

    /// They were recorded.
    pub fn keep(mut self) {
        self.tasks = 0;
    }
}

impl Drop for Spent<'_> {
    fn drop(&mut self) {
        if self.tasks > 0 {
            self.engine.limits.give_back(self.payer.as_str(), self.tasks);
        }
    }
}
