//! How wrong passwords slow down whoever tries them, without shutting out whoever owns the account.
//!
//! No turn is ever shared between addresses: whoever comes from an address that has not tried yet is heard at once, so
//! nobody elsewhere can use up the owner's turn. What is counted:
//! - wrong passwords for one account from one address: after a few, each doubles the wait, up to five minutes;
//! - wrong passwords for all accounts from one address, likewise and more generously, unless this account has been
//!   logged in to from there: a stranger behind the same router does not slow its owner;
//! - wrong passwords for one account from everywhere: they do not make anybody wait, but leave addresses from which
//!   nobody has logged in yet a single try before the waits begin. An attack from many addresses gets one guess from
//!   each, and its victim, coming from a new address, one as well.
//!
//! An attempt counts as wrong when it begins, so that many at once are counted too; a right one is taken off again.
//! Attempts that are refused do not count. Sessions are no matter here: whoever has one keeps it.

use std::collections::HashMap;
use std::hash::Hash;

use super::time::Timestamp;

/// Wrong passwords before waits begin: for an account from an address, the same while the account is under attack, and
/// from an address for all accounts.
const FREE: u32 = 5;
const FREE_UNDER_ATTACK: u32 = 1;
const FREE_BY_SOURCE: u32 = 20;
/// Wrong passwords for an account from everywhere that are an attack.
const ATTACK: u32 = 50;
/// Time in which one wrong password is forgotten.
const FORGET_PAIR_MS: i64 = 600_000;
const FORGET_SOURCE_MS: i64 = 30_000;
const FORGET_ACCOUNT_MS: i64 = 60_000;
const LONGEST_WAIT_MS: i64 = 300_000;
/// Entries of each kind that are kept.
const MOST: usize = 20_000;

/// IPv4 addresses as IPv6 writes them, `::ffff:10.0.0.1`: what stands before the last 32 bits.
const MAPPED: u128 = 0xffff;

/// Where somebody comes from, as far as they cannot change it at will: an IPv4 address, the first half of an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(Option<u128>);

impl Source {
    /// Whence an address comes, by the bits of its IPv6 form; those that have none are one.
    pub fn of_bits(address: Option<u128>) -> Self {
        let lasting = |bits: u128| if bits >> 32 == MAPPED { bits } else { bits & !u128::from(u64::MAX) };
        Self(address.map(lasting))
    }

    /// A text that stands for it.
    pub fn as_key(self) -> String {
        self.0.map(|bits| format!("{bits:x}")).unwrap_or_default()
    }
}

/// Wrong passwords, some of them forgotten since.
#[derive(Debug, Clone, Copy)]
struct Count {
    wrong: u32,
    last: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    count: Count,
    /// Whether a right password came from there.
    known: bool,
}

impl Count {
    fn new(now: Timestamp) -> Self {
        Self { wrong: 0, last: now }
    }

    /// How many are remembered.
    fn remembered(self, forget_ms: i64, now: Timestamp) -> u32 {
        let forgotten = (now.0 - self.last.0).max(0) / forget_ms;
        self.wrong.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    /// Milliseconds until another attempt, if that is not now.
    fn wait(self, free: u32, forget_ms: i64, now: Timestamp) -> Option<i64> {
        let beyond = self.remembered(forget_ms, now).checked_sub(free)?;
        let wait = 1000_i64.checked_shl(beyond.min(20)).unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS);
        // A clock that was set back must not make anybody wait longer than that.
        Some((self.last.0 + wait - now.0).min(LONGEST_WAIT_MS)).filter(|left| *left > 0)
    }

    fn add(&mut self, forget_ms: i64, now: Timestamp) {
        *self = Self { wrong: self.remembered(forget_ms, now).saturating_add(1), last: now };
    }

    fn take_off(&mut self) {
        self.wrong = self.wrong.saturating_sub(1);
    }
}

/// What one node remembers.
#[derive(Debug, Default)]
pub struct Attempts {
    pairs: HashMap<(String, Source), Pair>,
    sources: HashMap<Source, Count>,
    accounts: HashMap<String, Count>,
}

impl Attempts {
    /// Lets an attempt at an account's password begin, and counts it as wrong until `succeeded`.
    ///
    /// # Errors
    /// How many milliseconds to wait.
    pub fn begin(&mut self, account: &str, source: Source, now: Timestamp) -> Result<(), i64> {
        let key = (account.to_owned(), source);
        let pair = self.pairs.get(&key).copied();
        let known = pair.is_some_and(|pair| pair.known);
        let attacked = self.accounts.get(account).is_some_and(|all| all.remembered(FORGET_ACCOUNT_MS, now) >= ATTACK);
        let free = if attacked && !known { FREE_UNDER_ATTACK } else { FREE };
        let for_pair = pair.and_then(|pair| pair.count.wait(free, FORGET_PAIR_MS, now));
        let for_source = self.sources.get(&source).filter(|_| !known);
        let for_source = for_source.and_then(|count| count.wait(FREE_BY_SOURCE, FORGET_SOURCE_MS, now));
        if let Some(wait) = for_pair.max(for_source) {
            return Err(wait);
        }
        make_room(&mut self.pairs, |pair| (pair.known, pair.count.last));
        make_room(&mut self.sources, |count| (false, count.last));
        make_room(&mut self.accounts, |count| (false, count.last));
        let fresh = Pair { count: Count::new(now), known: false };
        self.pairs.entry(key).or_insert(fresh).count.add(FORGET_PAIR_MS, now);
        self.sources.entry(source).or_insert(Count::new(now)).add(FORGET_SOURCE_MS, now);
        self.accounts.entry(account.to_owned()).or_insert(Count::new(now)).add(FORGET_ACCOUNT_MS, now);
        Ok(())
    }

    /// An attempt that began was right.
    pub fn succeeded(&mut self, account: &str, source: Source, now: Timestamp) {
        let pair = Pair { count: Count::new(now), known: true };
        self.pairs.insert((account.to_owned(), source), pair);
        // Only what this attempt added: otherwise anybody could clear the way with an account of their own.
        if let Some(count) = self.sources.get_mut(&source) {
            count.take_off();
        }
        if let Some(count) = self.accounts.get_mut(account) {
            count.take_off();
        }
    }
}

/// Drops the older half when there are too many; what is worth more goes last.
fn make_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>, worth: impl Fn(&V) -> (bool, Timestamp)) {
    if map.len() < MOST {
        return;
    }
    let mut all: Vec<_> = map.values().map(&worth).collect();
    let (_, middle, _) = all.select_nth_unstable(MOST / 2);
    let middle = *middle;
    map.retain(|_, value| worth(value) > middle);
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
