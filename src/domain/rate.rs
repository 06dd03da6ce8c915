//! How much is too much: so many calls a minute, so many tasks a day. Decides by whole numbers and a time that is handed
//! in; remembers nothing of its own.
//!
//! A rate is a bucket that leaks: each call pours in `MINUTE_MS` units, and every millisecond `per_minute` units run out.
//! In units nothing is ever rounded, so the count is exact however the calls fall.

use super::time::Timestamp;

/// What one call weighs, in units.
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// A clock may lag so far behind what it said before, as between two threads, without being believed.
const SKEW_MS: i64 = 1000;
/// Nothing counts higher, so that no product overflows.
const MOST: u32 = 1_000_000_000;

/// So many calls a minute. As many may come at once; after that, as they run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: i64,
}

impl Rate {
    /// A rate; `None` for 0, which stands for no limit.
    pub fn new(per_minute: u32) -> Option<Self> {
        (per_minute > 0).then(|| Self { per_minute: per_minute.min(MOST).into() })
    }

    /// The most calls at once.
    pub fn burst(self) -> u32 {
        u32::try_from(self.per_minute).unwrap_or(MOST)
    }

    /// The units that a bucket holds.
    pub fn room(self) -> i64 {
        self.per_minute * MINUTE_MS
    }

    /// The units that run out of a bucket in a millisecond.
    pub fn leak(self) -> i64 {
        self.per_minute
    }

    /// The units that so many calls pour into it.
    pub fn weight(calls: u32) -> i64 {
        i64::from(calls.min(MOST)) * MINUTE_MS
    }
}

/// What one caller has used of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    level: i64,
    at: i64,
}

impl Bucket {
    /// One that is empty.
    pub fn new(now: Timestamp) -> Self {
        Self { level: 0, at: now.0 }
    }

    /// One that was so full, in units.
    pub fn filled(level: i64, at: Timestamp) -> Self {
        Self { level, at: at.0 }
    }

    /// Counts a call, if there is room for it.
    ///
    /// # Errors
    /// If not: the milliseconds after which there will be.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        self.room(rate, now)?;
        self.level += MINUTE_MS;
        Ok(())
    }

    /// Whether there is room for a call.
    ///
    /// # Errors
    /// If not: the milliseconds after which there will be.
    pub fn room(&mut self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        self.leak(rate, now);
        let over = self.level + MINUTE_MS - rate.room();
        if over <= 0 {
            return Ok(());
        }
        let wait = (over + rate.per_minute - 1) / rate.per_minute + (self.at - now.0).max(0);
        Err(wait.unsigned_abs())
    }

    /// Counts calls that another node has let through already. They can fill the bucket twice over and no more, so that
    /// nobody waits longer than two minutes.
    pub fn charge(&mut self, rate: Rate, calls: u32, now: Timestamp) {
        self.leak(rate, now);
        let calls = i64::from(calls.min(MOST));
        self.level = (self.level + calls * MINUTE_MS).min(2 * rate.room());
    }

    /// Takes back calls that were counted and did not come.
    pub fn give_back(&mut self, calls: u32) {
        self.level = (self.level - Rate::weight(calls)).max(0);
    }

    /// Whether it has run empty: then it says nothing that a new one would not.
    pub fn is_empty(&self, rate: Rate, now: Timestamp) -> bool {
        let mut later = *self;
        later.leak(rate, now);
        later.level == 0
    }

    /// How full it was when last used; to choose which to forget.
    pub fn level(&self) -> i64 {
        self.level
    }

    fn leak(&mut self, rate: Rate, now: Timestamp) {
        let passed = now.0.saturating_sub(self.at);
        if passed >= 0 {
            self.level = (self.level - passed.min(2 * MINUTE_MS) * rate.per_minute).max(0);
            self.at = now.0;
        } else if passed < -SKEW_MS {
            // The clock was set back. What has been used stays used, and runs out from here.
            self.at = now.0;
        }
    }
}

/// What of an account decides how much it may do. Of one that is not there, what holds for everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    pub is_admin: bool,
    /// Tasks a day, if not as many as everybody's; 0 is none at all.
    pub quota: Option<u32>,
}

impl Terms {
    /// The tasks that the account may have in a day; `None` if nothing limits them. What was set for the account holds, for
    /// an administrator's as well; else administrators are free, and for others `configured` holds, where 0 is no limit.
    pub fn daily(self, configured: u32) -> Option<u32> {
        let usual = (!self.is_admin && configured > 0).then_some(configured);
        self.quota.or(usual)
    }
}

/// What one account has used of a day's quota. Days are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    day: i64,
    used: u64,
}

/// The day of a time, counted from 1970.
pub fn day(now: Timestamp) -> i64 {
    now.0.div_euclid(DAY_MS)
}

impl Spent {
    /// Nothing so far.
    pub fn new(now: Timestamp) -> Self {
        Self { day: day(now), used: 0 }
    }

    /// The day it counts for.
    pub fn day(&self) -> i64 {
        self.day
    }

    /// Counts so many, if the quota has room for all of them.
    ///
    /// # Errors
    /// If not: the milliseconds until the next day.
    pub fn take(&mut self, quota: u32, count: u32, now: Timestamp) -> Result<(), u64> {
        self.turn(now);
        if self.used + u64::from(count) <= u64::from(quota) {
            self.used += u64::from(count);
            return Ok(());
        }
        Err(self.until_the_next(now))
    }

    /// The milliseconds until the next day.
    pub fn until_the_next(&self, now: Timestamp) -> u64 {
        (self.day + 1).saturating_mul(DAY_MS).saturating_sub(now.0).max(1).unsigned_abs()
    }

    /// Takes in how much is used in all, as others have counted it.
    pub fn set(&mut self, used: u64, now: Timestamp) {
        self.turn(now);
        self.used = used;
    }

    /// Counts what was used elsewhere, room or not.
    pub fn charge(&mut self, count: u64, now: Timestamp) {
        self.turn(now);
        self.used = self.used.saturating_add(count);
    }

    /// Takes back what was counted and then not used.
    pub fn give_back(&mut self, count: u32) {
        self.used = self.used.saturating_sub(u64::from(count));
    }

    /// How much is used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// A new day begins with nothing used. A clock that goes back begins none.
    fn turn(&mut self, now: Timestamp) {
        if day(now) > self.day {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
