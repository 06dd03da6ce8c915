//! Which account has used how much of its day's quota.

use super::table::{Table, make_room};
use super::{Counted, Told, limited};
use crate::domain::grant::Grant;
use crate::domain::rate::{Spent, day};
use crate::domain::time::Timestamp;
use crate::error::{Error, Limit, Result};

/// One node is granted at most such a part of what is left of a quota at a time.
const GRANTED_PART: u64 = 8;
/// How long it is believed how much is used, and so that a quota is used up: others may give back what they were granted.
const BELIEVED_MS: i64 = 1000;
/// How long others may take to give back what they were granted and do not use: a grant's time, and that of the task that
/// looks for those that have ended.
const MAY_COME_BACK_MS: i64 = 2000;

pub(super) struct Quotas {
    /// Everybody's who has none of their own; 0 is no limit.
    pub(super) quota: u32,
    pub(super) spent: Table<String, Daily>,
}

pub(super) struct Daily {
    /// By all nodes, with what others were granted; where they share it, as the database said last.
    spent: Spent,
    /// When the database said so.
    asked_at: Option<Timestamp>,
    /// When any node was last granted something, as the database said.
    granted_at: Option<Timestamp>,
    grant: Grant,
    /// By this node, and of that what it has told.
    own: u32,
    told: u32,
}

impl Daily {
    fn new(now: Timestamp) -> Self {
        Self { spent: Spent::new(now), asked_at: None, granted_at: None, grant: Grant::none(now), own: 0, told: 0 }
    }

    /// There is no room: none before the next day, or perhaps as soon as others have given back what they do not use.
    fn refusal(&self, now: Timestamp) -> Error {
        let comes_back = self.granted_at.map_or(0, |at| at.0 + MAY_COME_BACK_MS - now.0).min(MAY_COME_BACK_MS);
        let next_day = self.spent.until_the_next(now);
        limit(u64::try_from(comes_back).ok().filter(|ms| *ms > 0).map_or(next_day, |ms| ms.min(next_day)))
    }
}

impl Quotas {
    /// Counts tasks by what is known here.
    pub(super) fn take(&self, account: &str, quota: u32, tasks: u32, now: Timestamp) -> Result<()> {
        self.change(account, now, |daily| {
            daily.spent.take(quota, tasks, now).map_err(limit)?;
            daily.own = daily.own.saturating_add(tasks);
            Ok(())
        })
    }

    /// Counts tasks out of what this node was granted, or says how many to ask for. Of whom it is known that too little
    /// is left is refused without asking.
    pub(super) fn draw(&self, account: &str, quota: u32, tasks: u32, now: Timestamp) -> Result<Counted> {
        self.change(account, now, |daily| {
            // A quota that has become smaller holds for what was granted as well.
            let used = daily.spent.used().saturating_sub(daily.grant.left().into());
            let is_known = daily.asked_at.is_some_and(|at| (0..BELIEVED_MS).contains(&(now.0 - at.0)));
            if tasks > quota {
                return Err(limit(daily.spent.until_the_next(now)));
            }
            if is_known && used + u64::from(tasks) > quota.into() {
                return Err(daily.refusal(now));
            }
            if daily.grant.take(tasks, now) {
                return Ok(Counted::Here);
            }
            let left = u64::from(quota).saturating_sub(daily.spent.used());
            let most = u32::try_from(left / GRANTED_PART).unwrap_or(u32::MAX);
            Ok(Counted::Ask(daily.grant.to_ask(tasks, most, now)))
        })
    }

    /// Counts tasks out of so many that were granted, after which the database has so many counted.
    pub(super) fn granted(&self, account: &str, (granted, tasks): (u32, u32), used: u64, now: Timestamp) {
        self.change(account, now, |daily| {
            daily.spent.set(used, now);
            daily.asked_at = Some(now);
            daily.grant.add(granted, now);
            daily.grant.take(tasks, now);
        });
    }

    /// Nothing was granted, because the database has so many counted, the last of them at that time.
    pub(super) fn refused(&self, account: &str, (used, granted_at): (u64, Timestamp), now: Timestamp) -> Error {
        self.change(account, now, |daily| {
            daily.spent.set(used, now);
            daily.asked_at = Some(now);
            daily.granted_at = Some(granted_at);
            daily.grant.refused();
            daily.refusal(now)
        })
    }

    /// Takes back tasks that were not recorded. Those of a grant go to the database once it has ended.
    pub(super) fn give_back(&self, account: &str, tasks: u32, is_shared: bool) {
        if let Some(daily) = self.spent.shard(account).get_mut(account) {
            if is_shared {
                daily.grant.put_back(tasks);
            } else {
                daily.spent.give_back(tasks);
                daily.own = daily.own.saturating_sub(tasks);
            }
        }
    }

    /// Gives up what is left of grants that have ended, or of all.
    pub(super) fn give_up(&self, unused: &mut Vec<Told>, all: bool, now: Timestamp) {
        self.spent.each(|account, daily| {
            let count = daily.grant.give_up(all, now);
            if count > 0 {
                daily.spent.give_back(count);
                unused.push(Told { day: daily.spent.day(), key: format!("q:{account}"), count: count.into() });
            }
        });
    }

    /// Counts what an earlier start of this node has let through.
    pub(super) fn charge(&self, account: &str, count: u32, now: Timestamp) {
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

    pub(super) fn tell(&self, told: &mut Vec<Told>) {
        self.spent.each(|account, daily| {
            if daily.own > daily.told {
                daily.told = daily.own;
                told.push(Told { day: daily.spent.day(), key: format!("q:{account}"), count: daily.own.into() });
            }
        });
    }
}

fn limit(ms: u64) -> Error {
    limited(Limit::Quota, ms)
}
