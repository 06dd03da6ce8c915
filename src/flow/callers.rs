//! Whom tokens belong to, kept for a moment, so that a series of calls with one token does not read the database for
//! each. Only what stands is kept: a token that is refused is looked up again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::domain::account::{Account, ApiToken};
use crate::domain::time::Timestamp;
use crate::store::TokenHash;

/// How long another node, or the command line, may go unnoticed.
const KEPT: Duration = Duration::from_secs(1);
/// After this long nobody who has gone is taken for a caller at any node, and what was taken of them is recorded.
pub const GONE_EVERYWHERE: Duration = Duration::from_millis(1500);
/// Most tokens that are kept; beyond it the cache starts afresh.
const MOST_CACHED: usize = 10_000;

/// Who holds a token.
#[derive(Debug, Clone)]
pub struct Holder {
    pub account: Account,
    /// The API token, if it is not a session.
    pub token: Option<ApiToken>,
    pub last_used_at: Option<Timestamp>,
    /// From this time on it is not taken.
    pub expires_at: Option<Timestamp>,
}

/// The holders as last read.
#[derive(Default)]
pub struct CallerCache {
    known: RwLock<HashMap<TokenHash, (Instant, Arc<Holder>)>>,
    /// Counts changes, so that what was read before a change is not kept after it.
    changes: AtomicU64,
}

impl CallerCache {
    /// Forgets everybody, after the commit of whatever changes an account, a session or a token. The API does so at the end
    /// of every request that is no read and no push.
    pub fn forget(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Rises whenever everybody is forgotten.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The holder of a token that stands, unless it was read too long ago.
    pub fn get(&self, hash: &TokenHash, now: Timestamp) -> Option<Arc<Holder>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (read, holder) = known.get(hash)?;
        let stands = holder.expires_at.is_none_or(|end| now < end);
        (stands && read.elapsed() < KEPT).then(|| holder.clone())
    }

    /// Keeps a holder that was read when there had been so many changes.
    pub fn keep(&self, hash: &TokenHash, holder: &Arc<Holder>, read_at_change: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if self.changes() != read_at_change {
            return;
        }
        if known.len() >= MOST_CACHED {
            known.clear();
        }
        known.insert(hash.clone(), (Instant::now(), holder.clone()));
    }

    /// The last use of a token is about to be written. Told before, so that of many calls at once one writes it.
    pub fn touched(&self, hash: &TokenHash, now: Timestamp) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, holder)) = known.get_mut(hash) {
            Arc::make_mut(holder).last_used_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Role;
    use crate::domain::id::AccountId;

    fn holder(expires_at: Option<i64>) -> Arc<Holder> {
        let account = Account {
            id: AccountId::new("ann"),
            email: "ann@example.com".to_owned(),
            role: Role::User,
            confirmed: true,
            disabled: false,
            created_at: Timestamp(0),
        };
        Arc::new(Holder { account, token: None, last_used_at: None, expires_at: expires_at.map(Timestamp) })
    }

    #[test]
    fn what_is_kept_is_found_until_it_ends_or_something_changes() {
        let (cache, hash, other) = (CallerCache::default(), TokenHash::of("a"), TokenHash::of("b"));
        cache.keep(&hash, &holder(Some(100)), 0);
        cache.keep(&other, &holder(None), 0);
        assert!(cache.get(&hash, Timestamp(99)).is_some() && cache.get(&other, Timestamp(i64::MAX)).is_some());
        assert!(cache.get(&hash, Timestamp(100)).is_none(), "it has ended");
        cache.touched(&other, Timestamp(7));
        let last_used_at = |hash| cache.get(hash, Timestamp(0)).map(|holder| holder.last_used_at);
        assert_eq!((last_used_at(&hash), last_used_at(&other)), (Some(None), Some(Some(Timestamp(7)))));
        cache.forget();
        assert!(cache.get(&hash, Timestamp(0)).is_none() && cache.get(&other, Timestamp(0)).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (cache, hash) = (CallerCache::default(), TokenHash::of("a"));
        let read_at_change = cache.changes();
        cache.forget();
        cache.keep(&hash, &holder(None), read_at_change);
        assert!(cache.get(&hash, Timestamp(0)).is_none());
        cache.keep(&hash, &holder(None), cache.changes());
        assert!(cache.get(&hash, Timestamp(0)).is_some());
    }
}
