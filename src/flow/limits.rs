//! Who has used how much of the rates and of the day's quota.
//!
//! Where one node is alone, all is counted in its memory, and `flow/usage.rs` keeps quotas over a restart. Where several
//! share a database, rates of accounts and Pushers and the quotas are theirs together, exactly: a node asks the database
//! for a few calls or tasks at a time, and counts out of that (`ask.rs`). Addresses, which are looked at before anything
//! else is done for a request, never wait for the database; nodes tell each other of them in the background.
//!
//! Each table holds a bounded number of callers. When it is full, those that have used least are forgotten, so whoever
//! comes from ever new addresses displaces others like it and not those who press hardest.

mod ask;
mod quotas;
mod rates;
mod table;

use std::time::Duration;

use self::quotas::Quotas;
use self::rates::Rates;
use self::table::Table;
use super::known::KnownAccounts;
use crate::domain::id::AccountId;
use crate::domain::rate::day;
use crate::domain::time::Timestamp;
use crate::error::{Error, Limit, Result};

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

/// What a node tells others, or its own next start: what is counted, and how much of it in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// For quotas the day, 0 for rates.
    pub day: i64,
    pub key: String,
    pub count: i64,
}

/// Everything that is counted.
pub struct Limits {
    addresses: Rates<u64>,
    accounts: Rates<String>,
    pushers: Rates<String>,
    quotas: Quotas,
    /// Whether other nodes may count the same.
    is_shared: bool,
    /// What counting depends on of the accounts.
    pub(super) known: KnownAccounts,
}

impl Limits {
    /// Nothing is used so far. `is_shared` says whether other nodes may count the same, by a database that all share.
    pub fn new(allowed: Allowed, is_shared: bool) -> Self {
        Self {
            addresses: Rates::new(allowed.per_address),
            accounts: Rates::new(allowed.per_account),
            pushers: Rates::new(allowed.per_pusher),
            quotas: Quotas { quota: allowed.daily_quota, spent: Table::default() },
            is_shared,
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

    /// Forgets what is known of an account. Call it after the commit of a change of it.
    pub fn forget(&self, account: &AccountId) {
        self.known.forget(account);
    }

    /// Takes back tasks that were counted and then not recorded.
    pub fn give_back(&self, account: &str, tasks: usize) {
        self.quotas.give_back(account, u32::try_from(tasks).unwrap_or(u32::MAX), self.is_shared);
    }

    /// What other nodes, or a later start of this one, do not know yet.
    pub fn untold(&self) -> Vec<Told> {
        let mut told = Vec::new();
        if self.is_shared {
            self.addresses.tell(&mut told, |key| format!("a:{key:x}"));
        } else {
            self.quotas.tell(&mut told);
        }
        told
    }

    /// Counts what another node, or an earlier start of this one, has let through.
    pub fn charge(&self, told: &Told, now: Timestamp) {
        let count = u32::try_from(told.count).unwrap_or(u32::MAX);
        match told.key.split_once(':') {
            Some(("a", key)) => {
                if let Ok(key) = u64::from_str_radix(key, 16) {
                    self.addresses.charge(key, count, now);
                }
            }
            Some(("q", key)) if told.day == day(now) => self.quotas.charge(key, count, now),
            _ => {}
        }
    }
}

/// Whether something was counted without asking the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Here,
    /// It is to be asked for so many.
    Ask(u32),
}

fn limited(limit: Limit, ms: u64) -> Error {
    Error::Limited { limit, retry_after: Duration::from_millis(ms) }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
