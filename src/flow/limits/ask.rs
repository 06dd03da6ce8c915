//! Counts accounts, Pushers and quotas: in memory, or where nodes share a database, out of what it grants.
//!
//! What cannot be asked for, because the database does not answer, is no reason to refuse a request: its rate is counted by
//! what is known here. Tasks wait for the database anyway, so their quota does.

use super::rates::Rates;
use super::{Counted, Limits, Told};
use crate::domain::id::{AccountId, PusherId};
use crate::domain::rate::{Bucket, Rate, Terms, day};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::{ALL, Draw, Store, Usage};

impl Limits {
    /// Counts a request by an account, or a push that becomes its tasks.
    ///
    /// # Errors
    /// `Limited` if it has had too many.
    pub async fn account(&self, store: &Store, id: &AccountId, now: Timestamp) -> Result<()> {
        self.rate(store, &self.accounts, ("c", id.as_str()), now).await
    }

    /// Counts a push to a Preset or Group.
    ///
    /// # Errors
    /// `Limited` if it has had too many.
    pub async fn pusher(&self, store: &Store, id: &PusherId, now: Timestamp) -> Result<()> {
        self.rate(store, &self.pushers, ("p", id.as_str()), now).await
    }

    async fn rate(
        &self,
        store: &Store,
        rates: &Rates<String>,
        (kind, key): (&str, &str),
        now: Timestamp,
    ) -> Result<()> {
        let Some(rate) = rates.rate.filter(|_| self.is_shared) else { return rates.take(key, now) };
        match rates.draw(key, now)? {
            Counted::Here => Ok(()),
            // Who is away keeps nobody waiting.
            Counted::Ask(_) if store.takes_pushes().is_err() => rates.take(key, now),
            Counted::Ask(_) => Box::pin(ask_for_calls(store, (rates, rate), (kind, key), now)).await,
        }
    }

    /// Counts tasks of an account with these terms; answers how many were counted: none if nothing limits it.
    ///
    /// # Errors
    /// `Limited` if the day's quota has no room for all of them; if the database fails.
    pub async fn quota(
        &self,
        store: &Store,
        account: &str,
        terms: Terms,
        tasks: usize,
        now: Timestamp,
    ) -> Result<usize> {
        let Some(quota) = terms.daily(self.quotas.quota) else { return Ok(0) };
        let count = u32::try_from(tasks).unwrap_or(u32::MAX);
        if !self.is_shared {
            return self.quotas.take(account, quota, count, now).map(|()| tasks);
        }
        if let Counted::Ask(_) = self.quotas.draw(account, quota, count, now)? {
            Box::pin(self.ask_for_tasks(store, account, (quota, count), now)).await?;
        }
        Ok(tasks)
    }

    async fn ask_for_tasks(
        &self,
        store: &Store,
        account: &str,
        (quota, count): (u32, u32),
        now: Timestamp,
    ) -> Result<()> {
        let _turn = self.quotas.spent.turn(account).await;
        let Counted::Ask(many) = self.quotas.draw(account, quota, count, now)? else { return Ok(()) };
        let (day, key) = (day(now), format!("q:{account}"));
        for asked in [many, count] {
            let taken = store.take_of_quota(day, &key, asked, quota, now).await;
            if let Some(used) = taken.inspect_err(|error| store.suspect_if_busy(error))? {
                self.quotas.granted(account, (asked, count), used, now);
                return Ok(());
            }
            if asked == count {
                break;
            }
        }
        let used = store.used_of_quota(day, &key).await?;
        Err(self.quotas.refused(account, used, now))
    }

    /// Gives the database what is left of grants that have ended, or of all.
    ///
    /// # Errors
    /// If the database fails. What was not given back then counts as used.
    pub async fn give_up(&self, store: &Store, all: bool, now: Timestamp) -> Result<()> {
        let mut unused = Vec::new();
        self.accounts.give_up(&mut unused, all, now, |key| format!("c:{key}"));
        self.pushers.give_up(&mut unused, all, now, |key| format!("p:{key}"));
        self.quotas.give_up(&mut unused, all, now);
        if unused.is_empty() {
            return Ok(());
        }
        let unused = unused.into_iter().map(|Told { day, key, count }| Usage { day, key, node: ALL.to_owned(), count });
        store.give_back(&unused.collect::<Vec<_>>(), now).await
    }
}

async fn ask_for_calls(
    store: &Store,
    (rates, rate): (&Rates<String>, Rate),
    (kind, key): (&str, &str),
    now: Timestamp,
) -> Result<()> {
    // One asks, and the others may have what they need by what it gets.
    let _turn = rates.used.turn(key).await;
    let Counted::Ask(many) = rates.draw(key, now)? else { return Ok(()) };
    let stored = format!("{kind}:{key}");
    for asked in [many, 1] {
        let draw = Draw { units: Rate::weight(asked), room: rate.room(), leak: rate.leak() };
        match store.take_of_rate(&stored, draw, now).await {
            Ok(Some((level, at))) => {
                rates.granted(key, asked, Bucket::filled(level, at), now);
                return Ok(());
            }
            Ok(None) if asked > 1 => {}
            Ok(None) => break,
            Err(error) => {
                store.suspect_if_busy(&error);
                return rates.take(key, now);
            }
        }
    }
    match store.used_of_rate(&stored).await {
        Ok((level, at)) => Err(rates.refused(key, Bucket::filled(level, at), now)),
        Err(_) => rates.take(key, now),
    }
}
