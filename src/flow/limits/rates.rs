//! One rate, and who has used how much of it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::table::{Table, make_room};
use super::{Counted, Told, limited};
use crate::domain::grant::Grant;
use crate::domain::rate::{Bucket, Rate};
use crate::domain::time::Timestamp;
use crate::error::{Error, Limit, Result};

/// Other nodes are told once so small a part of a rate has been used: so much is what a node may hold back.
const TOLD_PART: u32 = 32;
/// One node is granted at most such a part of a rate at a time.
const GRANTED_PART: u32 = 8;

pub(super) struct Rates<K> {
    pub(super) rate: Option<Rate>,
    pub(super) used: Table<K, Used>,
}

/// What one caller has used.
pub(super) struct Used {
    /// By what is known here: of a rate that nodes share by grants, what the database said last.
    bucket: Bucket,
    grant: Grant,
    /// Calls that this node let through since it began to count.
    passed: u32,
    /// Of these, how many it has told.
    told: u32,
}

impl<K: Hash + Eq> Rates<K> {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { rate: Rate::new(per_minute), used: Table::default() }
    }

    /// Counts a call by what is known here.
    pub(super) fn take<Q>(&self, key: &Q, now: Timestamp) -> Result<()>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(rate) = self.rate else { return Ok(()) };
        self.of(key, rate, now, |used| {
            used.bucket.take(rate, now).map_err(limit)?;
            // Whoever reads a number lower than before takes it for a new beginning.
            used.passed = used.passed.wrapping_add(1);
            Ok(())
        })
    }

    /// Counts a call out of what this node was granted, or says how many to ask for. A caller of whom it is known that
    /// they have to wait is refused without asking.
    pub(super) fn draw<Q>(&self, key: &Q, now: Timestamp) -> Result<Counted>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(rate) = self.rate else { return Ok(Counted::Here) };
        self.of(key, rate, now, |used| {
            if used.grant.take(1, now) {
                return Ok(Counted::Here);
            }
            used.bucket.room(rate, now).map_err(limit)?;
            Ok(Counted::Ask(used.grant.to_ask(1, rate.burst() / GRANTED_PART, now)))
        })
    }

    /// Counts a call out of so many that were granted, after which the database has this in its bucket.
    pub(super) fn granted<Q>(&self, key: &Q, granted: u32, bucket: Bucket, now: Timestamp)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(rate) = self.rate else { return };
        self.of(key, rate, now, |used| {
            used.bucket = bucket;
            used.grant.add(granted, now);
            used.grant.take(1, now);
        });
    }

    /// Nothing was granted, because the database has this in its bucket.
    pub(super) fn refused<Q>(&self, key: &Q, bucket: Bucket, now: Timestamp) -> Error
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(rate) = self.rate else { return limit(0) };
        self.of(key, rate, now, |used| {
            used.bucket = bucket;
            used.grant.refused();
            // What had no room a moment ago may have some now; others have asked as well.
            limit(used.bucket.room(rate, now).err().unwrap_or(1))
        })
    }

    /// Gives up what is left of grants that have ended, or of all, in units.
    pub(super) fn give_up(&self, unused: &mut Vec<Told>, all: bool, now: Timestamp, name: impl Fn(&K) -> String) {
        self.used.each(|key, used| {
            let count = used.grant.give_up(all, now);
            if count > 0 {
                used.bucket.give_back(count);
                unused.push(Told { day: 0, key: name(key), count: Rate::weight(count) });
            }
        });
    }

    /// Counts what another node has let through.
    pub(super) fn charge(&self, key: K, calls: u32, now: Timestamp) {
        let Some(rate) = self.rate else { return };
        let mut shard = self.used.shard(&key);
        Self::entry(&mut shard, key, rate, now).bucket.charge(rate, calls, now);
    }

    pub(super) fn tell(&self, told: &mut Vec<Told>, name: impl Fn(&K) -> String) {
        let Some(rate) = self.rate else { return };
        self.used.each(|key, used| {
            let untold = used.passed.wrapping_sub(used.told);
            if untold > 0 && untold.saturating_mul(TOLD_PART) >= rate.burst() {
                used.told = used.passed;
                told.push(Told { day: 0, key: name(key), count: used.passed.into() });
            }
        });
    }

    fn of<Q, T>(&self, key: &Q, rate: Rate, now: Timestamp, change: impl FnOnce(&mut Used) -> T) -> T
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut shard = self.used.shard(key);
        if let Some(used) = shard.get_mut(key) {
            return change(used);
        }
        change(Self::entry(&mut shard, key.to_owned(), rate, now))
    }

    fn entry(shard: &mut HashMap<K, Used>, key: K, rate: Rate, now: Timestamp) -> &mut Used {
        if !shard.contains_key(&key) {
            make_room(shard, |used| used.bucket.is_empty(rate, now), |used| used.bucket.level().unsigned_abs());
        }
        let unused = || Used { bucket: Bucket::new(now), grant: Grant::none(now), passed: 0, told: 0 };
        shard.entry(key).or_insert_with(unused)
    }
}

fn limit(ms: u64) -> Error {
    limited(Limit::Rate, ms)
}
