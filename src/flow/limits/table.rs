//! Entries by key, of which there are never more than so many.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of a table, each behind a lock of its own.
pub(super) const SHARDS: usize = 16;
/// Most entries in one part: 65,536 in a table.
pub(super) const MOST_KEPT: usize = 4096;

pub(super) struct Table<K, V> {
    pub(super) shards: [Mutex<HashMap<K, V>>; SHARDS],
    /// Whoever asks the database for a grant has the turn of its shard.
    turns: [tokio::sync::Mutex<()>; SHARDS],
    hasher: RandomState,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            shards: [(); SHARDS].map(|()| Mutex::default()),
            turns: [(); SHARDS].map(|()| tokio::sync::Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    pub(super) fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, HashMap<K, V>> {
        lock(&self.shards[self.which(key)])
    }

    /// Waits until nobody else asks for something of the same part.
    pub(super) async fn turn<Q: Hash + ?Sized>(&self, key: &Q) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns[self.which(key)].lock().await
    }

    pub(super) fn each(&self, mut look: impl FnMut(&K, &mut V)) {
        for shard in &self.shards {
            lock(shard).iter_mut().for_each(|(key, value)| look(key, value));
        }
    }

    fn which<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The map hashes with keys of its own, so the same bits do not choose twice.
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }
}

pub(super) fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts stay usable whatever panicked beside them.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for one more: drops what says nothing any more, and if that is little, the quarter that was used least.
pub(super) fn make_room<K: Hash + Eq, V>(
    shard: &mut HashMap<K, V>,
    is_stale: impl Fn(&V) -> bool,
    use_of: impl Fn(&V) -> u64,
) {
    if shard.len() < MOST_KEPT {
        return;
    }
    shard.retain(|_, value| !is_stale(value));
    if shard.len() > MOST_KEPT * 3 / 4 {
        let mut uses: Vec<u64> = shard.values().map(&use_of).collect();
        let (_, least, _) = uses.select_nth_unstable(MOST_KEPT / 4);
        let (least, mut excess) = (*least, shard.len() - MOST_KEPT * 3 / 4);
        shard.retain(|_, value| {
            let goes = excess > 0 && use_of(value) <= least;
            excess -= usize::from(goes);
            !goes
        });
    }
}
