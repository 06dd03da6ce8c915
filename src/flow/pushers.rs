//! From a Pusher's id to everything that a push to it needs, through a cache in front of the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Engine;
use crate::domain::id::{AccountId, PusherId};
use crate::domain::permission::Standing;
use crate::domain::pusher::{Pusher, Target, Unfollowed, follow};
use crate::error::{Error, Result};
use crate::store::StoredPusher;

/// Most Pushers that are kept; beyond it the cache starts afresh.
const MOST_CACHED: usize = 10_000;

/// Presets and Groups as last read.
#[derive(Default)]
pub struct PusherCache {
    known: RwLock<HashMap<PusherId, Pusher>>,
    /// Counts changes, so that what was read before a change is not kept after it.
    changes: AtomicU64,
}

impl PusherCache {
    /// Forgets a Pusher that has changed or gone. Call it after the commit.
    pub fn forget(&self, id: &PusherId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn get(&self, id: &PusherId) -> Option<Pusher> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn keep(&self, id: &PusherId, pusher: &Pusher, read_at_change: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::SeqCst) != read_at_change {
            return;
        }
        if known.len() >= MOST_CACHED {
            known.clear();
        }
        known.insert(id.clone(), pusher.clone());
    }
}

/// The owner of a Pusher; Services have none.
pub fn owner(pusher: &Pusher) -> Option<&AccountId> {
    match pusher {
        Pusher::Service(_) => None,
        Pusher::Preset(preset) => Some(&preset.owner),
        Pusher::Group(group) => Some(&group.owner),
    }
}

impl Engine {
    /// The Pusher with this id, of any kind.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn pusher(&self, id: &PusherId) -> Result<Option<Pusher>> {
        if let Some(pusher) = self.known_pusher(id) {
            return Ok(Some(pusher));
        }
        let read_at_change = self.pushers.changes.load(Ordering::SeqCst);
        let mut tx = self.store.read().await?;
        let Some(stored) = tx.pusher(self.store.sealer(), id).await? else { return Ok(None) };
        // Whoever is shut out, their Pushers are too.
        if tx.account(stored.owner()).await?.is_none_or(|owner| owner.disabled) {
            return Ok(None);
        }
        let pusher = match stored {
            StoredPusher::Preset(preset) => Pusher::Preset(Arc::new(preset)),
            StoredPusher::Group(group) => Pusher::Group(Arc::new(group)),
        };
        self.pushers.keep(id, &pusher, read_at_change);
        Ok(Some(pusher))
    }

    /// Follows the chains from a Pusher down to its Services.
    ///
    /// # Errors
    /// If a base is missing, the chains are not as they must be, or the database fails.
    pub async fn target(&self, root: &PusherId) -> Result<Target> {
        let mut loaded: HashMap<PusherId, Pusher> = HashMap::new();
        loop {
            let find = |id: &PusherId| loaded.get(id).cloned().or_else(|| self.known_pusher(id));
            match follow(root, &find) {
                Ok(target) => return Ok(target),
                Err(Unfollowed::Refused(refusal)) => return Err(Error::Refused(refusal)),
                Err(Unfollowed::NotLoaded(id)) => {
                    let base_unknown = || Error::Refused(crate::domain::refusal::Refusal::BaseUnknown(id.clone()));
                    let pusher = self.pusher(&id).await?.ok_or_else(base_unknown)?;
                    loaded.insert(id, pusher);
                }
            }
        }
    }

    /// How open a Pusher is.
    pub fn standing(&self, pusher: &Pusher) -> Standing {
        let (protected, shared) = match pusher {
            Pusher::Service(spec) => {
                let open = self.catalogue.get(&spec.id).is_some_and(|service| service.open);
                return Standing::Service { open };
            }
            Pusher::Preset(preset) => (preset.protected, preset.shared),
            Pusher::Group(group) => (group.protected, group.shared),
        };
        match (protected, shared) {
            (true, _) => Standing::Protected,
            (false, true) => Standing::Shared,
            (false, false) => Standing::Private,
        }
    }

    fn known_pusher(&self, id: &PusherId) -> Option<Pusher> {
        if let Some(service) = self.catalogue.get(id.as_str()) {
            return Some(Pusher::Service(service.spec.clone()));
        }
        self.pushers.get(id)
    }
}
