//! Who has used how much of the rates and of the day's quota, in memory. It never waits for the database:
//! `flow/usage.rs` exchanges what is counted here with other nodes, in the background.
//!
//! Each table holds a bounded number of callers. When it is full, those that have used least are forgotten, so whoever
//! comes from ever new addresses displaces others like it and not those who press hardest.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::known::KnownAccounts;
use crate::domain::id::{AccountId, PusherId};
use crate::domain::rate::{Bucket, Rate, Spent, Terms, day};
use crate::domain::time::Timestamp;
use crate::error::{Error, Limit, Result};

/// Parts of a table, each behind a lock of its own.
const SHARDS: usize = 16;
/// Most callers in one part: 65,536 in a table.
const MOST_KEPT: usize = 4096;
/// Other nodes are told once so small a part of a rate has been used: so much is what a node may hold back.
const TOLD_PART: u32 = 32;

/// What is allowed; 0 is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// Requests a minute from one address.
    pub per_address: u32,
    /// Requests a minute by one account.
    pub per_account: u32,
    /// Pushes a minute to one Preset or Group.
    pub per_pusher: u32,
    /// Tasks a day of one account, unless another number is set for it.
    pub daily_quota: u32,
}

/// What a node tells others: what is counted, and how much of it in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// For quotas the day, 0 for rates.
    pub day: i64,
    pub key: String,
    pub count: u32,
}

/// Everything that is counted.
pub struct Limits {
    addresses: Rates<u64>,
    accounts: Rates<String>,
    pushers: Rates<String>,
    quotas: Quotas,
    /// What counting depends on of the accounts.
    pub(super) known: KnownAccounts,
}

impl Limits {
    /// Nothing is used so far.
    pub fn new(allowed: Allowed) -> Self {
        Self {
            addresses: Rates::new(allowed.per_address),
            accounts: Rates::new(allowed.per_account),
            pushers: Rates::new(allowed.per_pusher),
            quotas: Quotas { quota: allowed.daily_quota, spent: Table::default() },
            known: KnownAccounts::default(),
        }
    }

    /// Counts a request from an address, given as a number that stands for it.
    ///
    /// # Errors
    /// `Limited` if it has had too many.
    pub fn address(&self, address: u64, now: Timestamp) -> Result<()> {
        self.addresses.take(&address, now)
    }

    /// Counts a request by an account, or a push that becomes its tasks.
    ///
    /// # Errors
    /// `Limited` if it has had too many.
    pub fn account(&self, id: &AccountId, now: Timestamp) -> Result<()> {
        self.accounts.take(id.as_str(), now)
    }

    /// Counts a push to a Preset or Group.
    ///
    /// # Errors
    /// `Limited` if it has had too many.
    pub fn pusher(&self, id: &PusherId, now: Timestamp) -> Result<()> {
        self.pushers.take(id.as_str(), now)
    }

    /// Counts tasks of an account with these terms; answers how many were counted: none if nothing limits it.
    ///
    /// # Errors
    /// `Limited` if the day's quota has no room for all of them.
    pub fn quota(&self, account: &str, terms: Terms, tasks: usize, now: Timestamp) -> Result<usize> {
        match terms.daily(self.quotas.quota) {
            Some(quota) => self.quotas.take(account, quota, tasks, now).map(|()| tasks),
            None => Ok(0),
        }
    }

    /// Forgets what is known of an account. Call it after the commit of a change of it.
    pub fn forget(&self, account: &AccountId) {
        self.known.forget(account);
    }

    /// Takes back tasks that were counted and then not recorded.
    pub fn give_back(&self, account: &str, tasks: usize) {
        self.quotas.give_back(account, tasks);
    }

    /// What other nodes, or a later start of this one, do not know yet. Rates only if there are other nodes.
    pub fn untold(&self, is_shared: bool) -> Vec<Told> {
        let mut told = Vec::new();
        if is_shared {
            self.addresses.tell(&mut told, |key| format!("a:{key:x}"));
            self.accounts.tell(&mut told, |key| format!("c:{key}"));
            self.pushers.tell(&mut told, |key| format!("p:{key}"));
        }
        self.quotas.tell(&mut told);
        told
    }

    /// Counts what another node has let through.
    pub fn charge(&self, told: &Told, now: Timestamp) {
        match told.key.split_once(':') {
            Some(("a", key)) => {
                if let Ok(key) = u64::from_str_radix(key, 16) {
                    self.addresses.charge(key, told.count, now);
                }
            }
            Some(("c", key)) => self.accounts.charge(key.to_owned(), told.count, now),
            Some(("p", key)) => self.pushers.charge(key.to_owned(), told.count, now),
            Some(("q", key)) if told.day == day(now) => self.quotas.charge(key, told.count, now),
            _ => {}
        }
    }
}

/// Entries by key, in parts behind locks of their own.
struct Table<K, V> {
    shards: [Mutex<HashMap<K, V>>; SHARDS],
    hasher: RandomState,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { shards: [(); SHARDS].map(|()| Mutex::default()), hasher: RandomState::new() }
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, HashMap<K, V>> {
        // The map hashes with keys of its own, so the same bits do not choose twice.
        let which = self.hasher.hash_one(key) % SHARDS as u64;
        lock(&self.shards[usize::try_from(which).unwrap_or(0)])
    }

    fn each(&self, mut look: impl FnMut(&K, &mut V)) {
        for shard in &self.shards {
            lock(shard).iter_mut().for_each(|(key, value)| look(key, value));
        }
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts stay usable whatever panicked beside them.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for one more: drops what says nothing any more, and if that is little, the quarter that was used least.
fn make_room<K: Hash + Eq, V>(shard: &mut HashMap<K, V>, is_stale: impl Fn(&V) -> bool, use_of: impl Fn(&V) -> u64) {
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

/// One rate, and who has used how much of it.
struct Rates<K> {
    rate: Option<Rate>,
    used: Table<K, Used>,
}

struct Used {
    bucket: Bucket,
    /// Calls that this node let through since it began to count.
    passed: u32,
    /// Of these, how many it has told.
    told: u32,
}

impl<K: Hash + Eq> Rates<K> {
    fn new(per_minute: u32) -> Self {
        Self { rate: Rate::new(per_minute), used: Table::default() }
    }

    fn take<Q>(&self, key: &Q, now: Timestamp) -> Result<()>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut shard = self.used.shard(key);
        if let Some(used) = shard.get_mut(key) {
            return used.take(rate, now);
        }
        Self::entry(&mut shard, key.to_owned(), rate, now).take(rate, now)
    }

    fn charge(&self, key: K, calls: u32, now: Timestamp) {
        let Some(rate) = self.rate else { return };
        let mut shard = self.used.shard(&key);
        Self::entry(&mut shard, key, rate, now).bucket.charge(rate, calls, now);
    }

    fn entry(shard: &mut HashMap<K, Used>, key: K, rate: Rate, now: Timestamp) -> &mut Used {
        if !shard.contains_key(&key) {
            make_room(shard, |used| used.bucket.is_empty(rate, now), |used| used.bucket.level().unsigned_abs());
        }
        shard.entry(key).or_insert_with(|| Used { bucket: Bucket::new(now), passed: 0, told: 0 })
    }

    fn tell(&self, told: &mut Vec<Told>, name: impl Fn(&K) -> String) {
        let Some(rate) = self.rate else { return };
        self.used.each(|key, used| {
            let untold = used.passed.wrapping_sub(used.told);
            if untold > 0 && untold.saturating_mul(TOLD_PART) >= rate.burst() {
                used.told = used.passed;
                told.push(Told { day: 0, key: name(key), count: used.passed });
            }
        });
    }
}

impl Used {
    fn take(&mut self, rate: Rate, now: Timestamp) -> Result<()> {
        let limited = |ms| Error::Limited { limit: Limit::Rate, retry_after: Duration::from_millis(ms) };
        self.bucket.take(rate, now).map_err(limited)?;
        // Whoever reads a number lower than before takes it for a new beginning.
        self.passed = self.passed.wrapping_add(1);
        Ok(())
    }
}

/// Which account has used how much of its day's quota.
struct Quotas {
    /// Everybody's who has none of their own; 0 is no limit.
    quota: u32,
    spent: Table<String, Daily>,
}

struct Daily {
    /// By all nodes.
    spent: Spent,
    /// By this node, and of that what it has told.
    own: u32,
    told: u32,
}

impl Daily {
    fn new(now: Timestamp) -> Self {
        Self { spent: Spent::new(now), own: 0, told: 0 }
    }
}

impl Quotas {
    fn take(&self, account: &str, quota: u32, tasks: usize, now: Timestamp) -> Result<()> {
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        let limited = |ms| Error::Limited { limit: Limit::Quota, retry_after: Duration::from_millis(ms) };
        self.change(account, now, |daily| {
            daily.spent.take(quota, tasks, now).map_err(limited)?;
            daily.own = daily.own.saturating_add(tasks);
            Ok(())
        })
    }

    fn give_back(&self, account: &str, tasks: usize) {
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        if let Some(daily) = self.spent.shard(account).get_mut(account) {
            daily.spent.give_back(tasks);
            daily.own = daily.own.saturating_sub(tasks);
        }
    }

    fn charge(&self, account: &str, count: u32, now: Timestamp) {
        self.change(account, now, |daily| daily.spent.charge(count.into(), now));
    }

    fn change<T>(&self, account: &str, now: Timestamp, change: impl FnOnce(&mut Daily) -> T) -> T {
        let mut shard = self.spent.shard(account);
        if let Some(daily) = shard.get_mut(account) {
            if daily.spent.day() < day(now) {
                *daily = Daily::new(now);
            }
            return change(daily);
        }
        make_room(&mut shard, |daily| daily.spent.day() < day(now), |daily| daily.spent.used());
        change(shard.entry(account.to_owned()).or_insert_with(|| Daily::new(now)))
    }

    fn tell(&self, told: &mut Vec<Told>) {
        self.spent.each(|account, daily| {
            if daily.own > daily.told {
                daily.told = daily.own;
                told.push(Told { day: daily.spent.day(), key: format!("q:{account}"), count: daily.own });
            }
        });
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
