//! From a Pusher's id to everything that a push to it needs, through a cache in front of the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Engine;
use crate::domain::id::{AccountId, PusherId};
use crate::domain::params::Params;
use crate::domain::permission::Standing;
use crate::domain::pusher::{Pusher, Target, Unfollowed, follow};
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::store::StoredPusher;

/// Most Pushers that are kept, and most bytes of them; beyond it the cache starts afresh.
const MOST_CACHED: usize = 10_000;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a value or a name takes besides its text, about.
const ENTRY_BYTES: usize = 64;

#[derive(Default)]
struct Known {
    pushers: HashMap<PusherId, Pusher>,
    /// What they take, about.
    bytes: usize,
}

/// How long after a round through the database a node takes what it knows for true. Until then another node's change may
/// have escaped it, so no deletion is answered before.
const TRUST: Duration = Duration::from_millis(400);
/// Time left at which the next round is asked for.
const RENEW: Duration = Duration::from_millis(250);

/// Presets and Groups as last read.
pub struct PusherCache {
    known: RwLock<Known>,
    /// Counts changes, so that what was read before a change is not kept after it.
    changes: AtomicU64,
    /// Among nodes, until when what is known is as good as true; `None` on a node that is alone.
    trusted: Option<Mutex<Instant>>,
}

/// Until when what was read must be recorded; later, it must be looked at again.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    changes: u64,
    until: Option<Instant>,
}

impl PusherCache {
    /// An empty cache; `shared` if other nodes may change what is in it.
    pub fn new(shared: bool) -> Self {
        let trusted = shared.then(|| Mutex::new(Instant::now()));
        Self { known: RwLock::default(), changes: AtomicU64::new(0), trusted }
    }

    /// Begins to read: what is known now may be used and what is found may be recorded while `still_good`.
    pub fn begin(&self) -> Reading {
        let until = self.trusted_until().map(|until| {
            let now = Instant::now();
            // What is not trusted is read from the database, and true at that time.
            if until > now { until } else { now + TRUST }
        });
        Reading { changes: self.changes(), until }
    }

    /// Whether nothing can have gone since this reading without that whoever removed it has seen what was recorded.
    pub fn still_good(&self, reading: Reading) -> bool {
        reading.changes == self.changes() && reading.until.is_none_or(|until| Instant::now() < until)
    }

    /// Everything that was committed before this is known.
    pub fn trust_from(&self, began: Instant) {
        if let Some(trusted) = &self.trusted {
            let mut until = trusted.lock().unwrap_or_else(PoisonError::into_inner);
            *until = (*until).max(began + TRUST);
        }
    }

    /// Forgets everything: some of it has changed.
    pub fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// Forgets everything, and trusts nothing until the next round.
    pub fn distrust(&self) {
        if let Some(trusted) = &self.trusted {
            *trusted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            self.forget_all();
        }
    }

    /// Waits until no node can act on what it knew before now. Nothing tells when that is so, but time.
    pub async fn until_known_everywhere(&self) {
        if self.trusted.is_some() {
            tokio::time::sleep(TRUST).await;
        }
    }

    fn trusted_until(&self) -> Option<Instant> {
        self.trusted.as_ref().map(|trusted| *trusted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets a Pusher that has changed or gone. Call it after the commit.
    pub fn forget(&self, id: &PusherId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = known.pushers.remove(id) {
            known.bytes = known.bytes.saturating_sub(weight(&gone));
        }
    }

    /// Rises with every change that was forgotten here.
    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn get(&self, id: &PusherId) -> Option<Pusher> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).pushers.get(id).cloned()
    }

    fn keep(&self, id: &PusherId, pusher: &Pusher, read_at_change: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if self.changes.load(Ordering::SeqCst) != read_at_change {
            return;
        }
        let bytes = weight(pusher);
        if known.pushers.len() >= MOST_CACHED || known.bytes + bytes > MOST_BYTES {
            *known = Known::default();
        }
        known.bytes += bytes;
        if let Some(other) = known.pushers.insert(id.clone(), pusher.clone()) {
            known.bytes = known.bytes.saturating_sub(weight(&other));
        }
    }
}

/// What a Pusher takes in memory, about.
fn weight(pusher: &Pusher) -> usize {
    let own = match pusher {
        Pusher::Service(_) => 0,
        Pusher::Preset(preset) => params_weight(&preset.params),
        Pusher::Group(group) => {
            let members = group.pushers.iter().map(|member| ENTRY_BYTES + params_weight(&member.params));
            let targets = group.param_map.iter().flat_map(|(_, targets)| targets);
            members.sum::<usize>() + targets.map(|target| ENTRY_BYTES + target.len()).sum::<usize>()
        }
    };
    8 * ENTRY_BYTES + own
}

fn params_weight(params: &Params) -> usize {
    params.iter().map(|(name, value)| ENTRY_BYTES + name.len() + value_weight(value)).sum()
}

fn value_weight(value: &Value) -> usize {
    ENTRY_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(value_weight).sum(),
            Value::Object(fields) => params_weight(fields),
            _ => 0,
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

/// A Preset or Group as one of all kinds of Pushers.
pub fn as_pusher(stored: StoredPusher) -> Pusher {
    match stored {
        StoredPusher::Preset(preset) => Pusher::Preset(Arc::new(preset)),
        StoredPusher::Group(group) => Pusher::Group(Arc::new(group)),
    }
}

/// How open a Preset or Group is.
pub fn standing(stored: &StoredPusher) -> Standing {
    match stored {
        StoredPusher::Preset(preset) => Standing::of(preset.protected, preset.shared),
        StoredPusher::Group(group) => Standing::of(group.protected, group.shared),
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
        let read_at_change = self.pushers.changes();
        // Boxed, as it is seldom done: each push would carry its state about.
        let Some(stored) = Box::pin(self.pushable(id)).await? else { return Ok(None) };
        let pusher = as_pusher(stored);
        self.pushers.keep(id, &pusher, read_at_change);
        Ok(Some(pusher))
    }

    /// The Preset or Group with this id as it stands in the database, unless its owner is shut out: then their Pushers
    /// are too.
    pub(super) async fn pushable(&self, id: &PusherId) -> Result<Option<StoredPusher>> {
        let mut tx = self.store.read().await?;
        let Some(stored) = tx.pusher(self.store.sealer(), id).await? else { return Ok(None) };
        let owner = tx.account(stored.owner()).await?;
        Ok(owner.filter(|owner| !owner.disabled).map(|_| stored))
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
                    let unknown = || match id == *root {
                        // It went since the caller looked it up.
                        true => Error::NotFound("pusher"),
                        false => Error::Refused(Refusal::BaseUnknown(id.clone())),
                    };
                    let pusher = self.pusher(&id).await?.ok_or_else(unknown)?;
                    loaded.insert(id, pusher);
                }
            }
        }
    }

    /// How open a Pusher is.
    pub fn standing(&self, pusher: &Pusher) -> Standing {
        match pusher {
            Pusher::Service(spec) => {
                Standing::Service { open: self.catalogue.get(&spec.id).is_some_and(|service| service.open) }
            }
            Pusher::Preset(preset) => Standing::of(preset.protected, preset.shared),
            Pusher::Group(group) => Standing::of(group.protected, group.shared),
        }
    }

    fn known_pusher(&self, id: &PusherId) -> Option<Pusher> {
        if let Some(service) = self.catalogue.get(id.as_str()) {
            return Some(Pusher::Service(service.spec.clone()));
        }
        if let Some(until) = self.pushers.trusted_until() {
            let left = until.saturating_duration_since(Instant::now());
            if left < RENEW {
                self.store.ask_round();
            }
            if left.is_zero() {
                return None;
            }
        }
        self.pushers.get(id)
    }
}
