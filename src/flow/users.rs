//! What admins do with accounts, and how accounts end. Never without an admin who can log in.
//!
//! An account goes with all that is its own: Pushers, tokens, sessions, codes, tasks. While Pushers of others are built on
//! its shared ones it cannot go; what is shared and unused goes with it.

use super::audit::{event_at, operator};
use super::callers::GONE_EVERYWHERE;
use super::door::Visitor;
use super::login::{Proof, prove, still};
use super::tidy::in_steps;
use super::{Caller, Engine};
use crate::domain::account::Role;
use crate::domain::audit::{AuditAction, Who};
use crate::domain::id::AccountId;
use crate::domain::refusal::Refusal;
use crate::domain::time::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::store::{NOTICED_IN, Store, Tx, UserRecord};

/// Tasks touched in one commit.
const STEP: i64 = 500;
/// How long tasks are looked for that came while their account went.
const LINGER_MS: i64 = 3_600_000;

/// What an admin changes of an account; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub role: Option<Role>,
    pub disabled: Option<bool>,
    /// Tasks a day; `Some(None)` for as many as everybody's.
    pub quota: Option<Option<i64>>,
}

/// Changes what only admins change. Who is disabled has no session any more, their Pushers take no pushes, and nothing of
/// theirs waits.
///
/// # Errors
/// `Forbidden` unless the caller is an admin; if the account is not there, or is the last admin.
pub async fn change(engine: &Engine, caller: &Caller, id: &AccountId, change: &UserChange) -> Result<UserRecord> {
    caller.must_be_admin()?;
    let mut tx = engine.store.write().await?;
    tx.alone_with_admins().await?;
    still_beside(engine, &mut tx, caller, id).await?;
    let user = set_standing(tx, engine.clock.now(), &caller.who(), id, change).await?;
    engine.limits.forget(id);
    if change.disabled == Some(true) {
        for pusher in engine.store.read().await?.pusher_ids_of(id).await? {
            engine.pushers.forget(&pusher);
        }
        revoke_everywhere(engine, id).await?;
    }
    Ok(user)
}

/// Shuts an account out, or lets it in again, as `change` does, for whoever has access to the machine. Servers may run on
/// the database.
///
/// # Errors
/// If the account is not there, or is the last admin.
pub async fn set_disabled(store: &Store, clock: &dyn Clock, id: &AccountId, disabled: bool) -> Result<UserRecord> {
    let change = UserChange { disabled: Some(disabled), ..UserChange::default() };
    let mut tx = store.write().await?;
    tx.alone_with_admins().await?;
    tx.alone_with_account(id).await?;
    let user = set_standing(tx, clock.now(), &operator(), id, &change).await?;
    if disabled {
        revoke_all(store, clock, id).await?;
        // Servers may have taken pushes as long as they did not know. Nothing tells when they do, but time.
        tokio::time::sleep(NOTICED_IN).await;
        revoke_all(store, clock, id).await?;
    }
    Ok(user)
}

/// Makes sure of a caller who acts on an account, in the one order in which two accounts are taken.
async fn still_beside(engine: &Engine, tx: &mut Tx, caller: &Caller, id: &AccountId) -> Result<()> {
    let mut both = [&caller.account.id, id];
    both.sort_unstable();
    for account in both {
        tx.alone_with_account(account).await?;
    }
    still(engine, tx, caller).await
}

/// In a transaction that has the admins and the account to itself.
async fn set_standing(
    mut tx: Tx,
    now: Timestamp,
    who: &Who,
    id: &AccountId,
    change: &UserChange,
) -> Result<UserRecord> {
    let before = tx.user(id).await?.ok_or(Error::NotFound("account"))?;
    let role = change.role.unwrap_or(before.role);
    let disabled_at = match change.disabled {
        None => before.disabled_at,
        Some(true) => Some(before.disabled_at.unwrap_or(now)),
        Some(false) => None,
    };
    let steps_back = is_acting_admin(&before) && (role != Role::Admin || disabled_at.is_some());
    if steps_back && tx.other_admins(id).await? == 0 {
        return Err(Refusal::LastAdmin.into());
    }
    tx.set_standing(id, role, disabled_at, change.quota.unwrap_or(before.quota)).await?;
    if disabled_at.is_some() {
        tx.end_sessions(id, None).await?;
        tx.drop_mail_tokens(id).await?;
    }
    for pusher in tx.pusher_ids_of(id).await? {
        tx.tell_changed(&pusher).await?;
    }
    let after = tx.user(id).await?.ok_or(Error::NotFound("account"))?;
    for (action, what) in changes(&before, &after) {
        tx.audit(&event_at(now, who, action).to_account(id, &what)).await?;
    }
    tx.commit().await?;
    Ok(after)
}

/// What has changed, for the record.
fn changes(before: &UserRecord, after: &UserRecord) -> Vec<(AuditAction, String)> {
    let mut changes = Vec::new();
    if before.role != after.role {
        changes.push((AuditAction::AccountChanged, format!("role={}", after.role.as_str())));
    }
    if before.quota != after.quota {
        let quota = after.quota.map_or("null".to_owned(), |quota| quota.to_string());
        changes.push((AuditAction::AccountChanged, format!("quota={quota}")));
    }
    match (before.disabled_at, after.disabled_at) {
        (None, Some(_)) => changes.push((AuditAction::AccountDisabled, String::new())),
        (Some(_), None) => changes.push((AuditAction::AccountEnabled, String::new())),
        _ => {}
    }
    changes
}

/// The caller leaves, and takes all along; answers how many tasks were revoked.
///
/// # Errors
/// If the password is wrong, others build on the caller's Pushers, or the caller is the last admin.
pub async fn leave(engine: &Engine, caller: &Caller, password: String, visitor: &Visitor) -> Result<u64> {
    let proof = prove(engine, caller, ("password", password), visitor).await?;
    remove(engine, caller, &caller.account.id, Some(&proof)).await
}

/// An admin removes an account; answers how many tasks were revoked.
///
/// # Errors
/// `Forbidden` unless the caller is an admin; otherwise as `leave`.
pub async fn expel(engine: &Engine, caller: &Caller, id: &AccountId) -> Result<u64> {
    caller.must_be_admin()?;
    remove(engine, caller, id, None).await
}

/// Who removes their own account proves who they are; an admin removes anybody's, and is told who depends on it.
async fn remove(engine: &Engine, caller: &Caller, id: &AccountId, proof: Option<&Proof>) -> Result<u64> {
    let sees_all = proof.is_none();
    let mut tx = engine.store.edit().await?;
    tx.alone_with_admins().await?;
    still_beside(engine, &mut tx, caller, id).await?;
    if let Some(proof) = proof
        && !proof.holds(&mut tx, id).await?
    {
        return Err(Refusal::field("password", "wrong").into());
    }
    let user = tx.user(id).await?.ok_or(Error::NotFound("account"))?;
    if is_acting_admin(&user) && tx.other_admins(id).await? == 0 {
        return Err(Refusal::LastAdmin.into());
    }
    let dependents = tx.foreign_dependents(id).await?;
    if !dependents.is_empty() {
        let hidden = if sees_all { 0 } else { dependents.len() };
        let others = u64::try_from(hidden).unwrap_or(u64::MAX);
        let dependents = if sees_all { dependents } else { Vec::new() };
        return Err(Refusal::PusherInUse { dependents, others }.into());
    }
    let pushers = tx.pusher_ids_of(id).await?;
    for pusher in &pushers {
        tx.delete_pusher(pusher).await?;
    }
    if user.confirmed_at.is_none() {
        // It never was one: the code it came by is good again.
        tx.remove_unconfirmed(id).await?;
    } else {
        tx.remove_account(id, engine.clock.now()).await?;
    }
    tx.audit(&engine.event(&caller.who(), AuditAction::AccountDeleted).to_account(id, "")).await?;
    tx.commit().await?;
    for pusher in &pushers {
        engine.pushers.forget(pusher);
    }
    // At once: what follows takes its time.
    engine.callers.forget();
    let revoked = revoke_everywhere(engine, id).await?;
    remove_tasks(engine, id).await?;
    Ok(revoked)
}

/// Removes what came or ran while its account went; answers how many accounts have left nothing. Safe on several nodes.
///
/// # Errors
/// If the database fails.
pub async fn sweep_removed(engine: &Engine, now: Timestamp) -> Result<u64> {
    let gone = engine.store.read().await?.removed_accounts(STEP).await?;
    let mut done = 0;
    for (id, at) in gone {
        revoke_all(&engine.store, &*engine.clock, &id).await?;
        remove_tasks(engine, &id).await?;
        if now.0 - at.0 >= LINGER_MS && !engine.store.read().await?.has_tasks(&id).await? {
            let mut tx = engine.store.write().await?;
            tx.forget_removed(&id).await?;
            tx.commit().await?;
            done += 1;
        }
    }
    Ok(done)
}

/// Revokes what waits of an account whose Pushers no longer take any; answers how many tasks that were.
async fn revoke_everywhere(engine: &Engine, id: &AccountId) -> Result<u64> {
    let revoke = || revoke_all(&engine.store, &*engine.clock, id);
    let revoked = revoke().await?;
    if !engine.store.is_shared() {
        return Ok(revoked);
    }
    // Another node may have taken pushes meanwhile, as long as it did not know. Nothing tells when it does, but time.
    tokio::time::sleep(GONE_EVERYWHERE).await;
    Ok(revoked + revoke().await?)
}

async fn revoke_all(store: &Store, clock: &dyn Clock, id: &AccountId) -> Result<u64> {
    in_steps(store, |mut tx| async move { Ok((tx.revoke_some_of(id, clock.now(), STEP).await?, tx)) }).await
}

async fn remove_tasks(engine: &Engine, id: &AccountId) -> Result<u64> {
    in_steps(&engine.store, |mut tx| async move { Ok((tx.remove_some_of(id, STEP).await?, tx)) }).await
}

fn is_acting_admin(user: &UserRecord) -> bool {
    user.role == Role::Admin && user.confirmed_at.is_some() && user.disabled_at.is_none()
}
