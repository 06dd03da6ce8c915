//! What limits depend on of an account: whether it is an administrator's, and its own quota. It is read from the database
//! at most every few seconds, so that pushes read nothing; a change at another node is noticed within that time.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::Engine;
use crate::domain::account::Role;
use crate::domain::id::AccountId;
use crate::domain::rate::Terms;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::UserRecord;

/// How long what was read is believed.
const BELIEVED_MS: i64 = 5_000;
/// Most accounts that are kept; beyond it the cache starts afresh.
const MOST_KEPT: usize = 65_536;

/// What was last read of each account, and until when that is believed.
#[derive(Default)]
pub struct KnownAccounts {
    read: RwLock<Read>,
}

#[derive(Default)]
struct Read {
    accounts: HashMap<AccountId, (Terms, Timestamp)>,
    /// Counts what was forgotten, so that what was read before a change is not kept after it.
    changes: u64,
}

impl KnownAccounts {
    /// Forgets an account. Call it after the commit of a change of it.
    pub fn forget(&self, account: &AccountId) {
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        read.changes += 1;
        read.accounts.remove(account);
    }

    /// Forgets all of them: some have changed.
    pub fn forget_all(&self) {
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        read.changes += 1;
        read.accounts.clear();
    }

    /// What is believed of an account.
    fn get(&self, account: &AccountId, now: Timestamp) -> Option<Terms> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.accounts.get(account).filter(|(_, until)| now < *until).map(|(known, _)| *known)
    }

    /// Begins to read an account anew. Meanwhile all others go on believing what was read before.
    fn begin(&self, account: &AccountId, now: Timestamp) -> u64 {
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, until)) = read.accounts.get_mut(account) {
            *until = now.plus_ms(BELIEVED_MS);
        }
        read.changes
    }

    /// Keeps what was read since there had been so many changes.
    fn keep(&self, account: &AccountId, known: Terms, now: Timestamp, begun_at: u64) {
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        if read.changes != begun_at {
            return;
        }
        if read.accounts.len() >= MOST_KEPT {
            read.accounts.clear();
        }
        read.accounts.insert(account.clone(), (known, now.plus_ms(BELIEVED_MS)));
    }
}

/// What is known of an account, from the database if it was not asked a moment ago.
///
/// # Errors
/// If the database fails.
pub async fn known(engine: &Engine, account: &AccountId, now: Timestamp) -> Result<Terms> {
    let accounts = &engine.limits.known;
    if let Some(known) = accounts.get(account, now) {
        return Ok(known);
    }
    let begun_at = accounts.begin(account, now);
    let found = Box::pin(look_up(engine, account)).await.inspect_err(|error| engine.store.suspect_if_busy(error))?;
    accounts.keep(account, found, now, begun_at);
    Ok(found)
}

async fn look_up(engine: &Engine, account: &AccountId) -> Result<Terms> {
    let user = engine.store.read().await?.user(account).await?;
    let tasks = |quota: i64| u32::try_from(quota.max(0)).unwrap_or(u32::MAX);
    let terms = |user: UserRecord| Terms { is_admin: user.role == Role::Admin, quota: user.quota.map(tasks) };
    Ok(user.map(terms).unwrap_or_default())
}

/// What counting an account has come to, but for administrators, whom no rate limits: limits are for other people's
/// accounts. Costs nothing as long as nobody is limited.
///
/// # Errors
/// `Limited` if it was, and the account is no administrator's; if the database fails.
pub async fn unless_admin(engine: &Engine, account: &AccountId, counted: Result<()>) -> Result<()> {
    let Err(limited @ Error::Limited { .. }) = counted else { return counted };
    if known(engine, account, engine.clock.now()).await?.is_admin { Ok(()) } else { Err(limited) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn an_account_is_believed_for_a_while_and_read_anew_by_one() {
        let (accounts, ann) = (KnownAccounts::default(), AccountId::new("ann"));
        let five = Terms { is_admin: false, quota: Some(5) };
        assert_eq!(accounts.get(&ann, NOW), None);
        let begun = accounts.begin(&ann, NOW);
        accounts.keep(&ann, five, NOW, begun);
        let later = NOW.plus_ms(BELIEVED_MS);
        assert_eq!(accounts.get(&ann, later.plus_ms(-1)), Some(five));
        assert_eq!(accounts.get(&ann, later), None);
        let begun = accounts.begin(&ann, later);
        assert_eq!(accounts.get(&ann, later), Some(five), "for the others, while one reads");
        accounts.forget(&ann);
        accounts.keep(&ann, five, later, begun);
        assert_eq!(accounts.get(&ann, later), None, "it was read before the change");
    }
}
