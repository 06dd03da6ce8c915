//! Makes, changes and removes Presets and Groups. What is stored always leads to its Services.

use std::collections::HashMap;
use std::sync::Arc;

use super::pushers::owner;
use super::revoke::revoke_tasks_of;
use super::{Caller, Engine};
use crate::domain::id::PusherId;
use crate::domain::permission::{Action, Relation, may};
use crate::domain::pusher::{Group, Preset, Pusher, Unfollowed, check_group, check_preset, follow};
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::store::{StoredPusher, Tx};

/// Most dependents, directly and through others, that a change of bases may touch: all are checked while nobody else
/// can edit.
const MOST_DEPENDENTS: i64 = 1000;
/// How many of them a refusal names.
const SHOWN_DEPENDENTS: usize = 100;

/// Checks and stores a new Pusher.
///
/// # Errors
/// If it is not valid, builds on what the caller may not build on, or the database fails.
pub async fn create(engine: &Engine, caller: &Caller, pusher: StoredPusher) -> Result<StoredPusher> {
    check_fields(&pusher)?;
    // One transaction from checking to writing: what it is built on cannot change or go meanwhile.
    let mut tx = engine.store.edit().await?;
    check_bases(engine, &mut tx, caller, &pusher).await?;
    check_chains(engine, &mut tx, &pusher, &[pusher.id().clone()]).await?;
    tx.insert_pusher(engine.store.sealer(), &pusher).await?;
    tx.commit().await?;
    Ok(pusher)
}

/// Replaces a Pusher's content. Tasks that wait keep what they resolved.
///
/// # Errors
/// As `create`; also if it is not there, is not the caller's, or is shared.
pub async fn change(
    engine: &Engine,
    caller: &Caller,
    id: &PusherId,
    edit: impl FnOnce(StoredPusher) -> Result<StoredPusher>,
) -> Result<StoredPusher> {
    // One transaction from reading to writing: two changes at once cannot undo each other.
    let mut tx = engine.store.edit().await?;
    let before = own(engine, &mut tx, caller, id).await?;
    if is_shared(&before) {
        return Err(Refusal::SharedIsFinal.into());
    }
    let after = edit(before.clone())?;
    check_fields(&after)?;
    if before.bases() != after.bases() {
        check_bases(engine, &mut tx, caller, &after).await?;
        let concerned = concerned_by(&mut tx, id).await?;
        check_chains(engine, &mut tx, &after, &concerned).await?;
    }
    tx.update_pusher(engine.store.sealer(), &after).await?;
    tx.commit().await?;
    engine.pushers.forget(id);
    Ok(after)
}

/// Removes a Pusher and revokes what waits because of it; answers how many tasks were revoked.
///
/// # Errors
/// If it is not there, is not the caller's, is shared, or others build on it.
pub async fn remove(engine: &Engine, caller: &Caller, id: &PusherId) -> Result<usize> {
    let mut tx = engine.store.edit().await?;
    let pusher = own(engine, &mut tx, caller, id).await?;
    let dependents = tx.dependents_of(id).await?;
    if !dependents.is_empty() {
        return Err(Refusal::PusherInUse(dependents).into());
    }
    if is_shared(&pusher) {
        return Err(Refusal::SharedIsFinal.into());
    }
    tx.delete_pusher(id).await?;
    tx.commit().await?;
    engine.pushers.forget(id);
    let revoked = revoke_tasks_of(engine, pusher.owner(), id).await?;
    if !engine.store.is_shared() {
        return Ok(revoked);
    }
    // Another node may have taken a push meanwhile, as long as it did not know.
    engine.pushers.until_known_everywhere().await;
    Ok(revoked + revoke_tasks_of(engine, pusher.owner(), id).await?)
}

/// The caller's own Pusher; anybody else's does not exist for the caller.
async fn own(engine: &Engine, tx: &mut Tx, caller: &Caller, id: &PusherId) -> Result<StoredPusher> {
    let found = tx.pusher(engine.store.sealer(), id).await?;
    found.filter(|pusher| *pusher.owner() == caller.account.id).ok_or(Error::NotFound("pusher"))
}

fn is_shared(pusher: &StoredPusher) -> bool {
    match pusher {
        StoredPusher::Preset(preset) => preset.shared,
        StoredPusher::Group(group) => group.shared,
    }
}

fn check_fields(pusher: &StoredPusher) -> Result<()> {
    match pusher {
        StoredPusher::Preset(preset) => check_preset(preset)?,
        StoredPusher::Group(group) => check_group(group)?,
    }
    Ok(())
}

/// Every base exists and may be built on.
async fn check_bases(engine: &Engine, tx: &mut Tx, caller: &Caller, pusher: &StoredPusher) -> Result<()> {
    for base in pusher.bases() {
        let unknown = || Refusal::BaseUnknown(base.clone());
        let found = load(engine, tx, &base).await?.ok_or_else(unknown)?;
        let relation = match Caller::relation(Some(caller), owner(&found)) {
            // An admin's own Pushers are built like anybody's.
            Relation::Admin => Relation::Stranger,
            other => other,
        };
        if !may(Action::BuildOn, relation, engine.standing(&found)) {
            return Err(unknown().into());
        }
    }
    Ok(())
}

/// With this Pusher as it is to be, each of these still leads to its Services.
async fn check_chains(engine: &Engine, tx: &mut Tx, pusher: &StoredPusher, roots: &[PusherId]) -> Result<()> {
    let mut loaded = HashMap::from([(pusher.id().clone(), as_pusher(pusher))]);
    for root in roots {
        loop {
            match follow(root, &|id| loaded.get(id).cloned()) {
                Ok(_) => break,
                Err(Unfollowed::Refused(refusal)) => return Err(refusal.into()),
                Err(Unfollowed::NotLoaded(id)) => {
                    let found = load(engine, tx, &id).await?.ok_or_else(|| Refusal::BaseUnknown(id.clone()))?;
                    loaded.insert(id, found);
                }
            }
        }
    }
    Ok(())
}

/// A Pusher as it stands in this transaction: the cache may hold what has just been replaced.
async fn load(engine: &Engine, tx: &mut Tx, id: &PusherId) -> Result<Option<Pusher>> {
    if let Some(service) = engine.catalogue.get(id.as_str()) {
        return Ok(Some(Pusher::Service(service.spec.clone())));
    }
    Ok(tx.pusher(engine.store.sealer(), id).await?.as_ref().map(as_pusher))
}

/// A Pusher and everything that builds on it, directly or not.
async fn concerned_by(tx: &mut Tx, id: &PusherId) -> Result<Vec<PusherId>> {
    let mut concerned = tx.all_dependents_of(id, MOST_DEPENDENTS + 1).await?;
    if concerned.len() > usize::try_from(MOST_DEPENDENTS).unwrap_or(usize::MAX) {
        concerned.truncate(SHOWN_DEPENDENTS);
        return Err(Refusal::PusherInUse(concerned).into());
    }
    concerned.push(id.clone());
    Ok(concerned)
}

fn as_pusher(pusher: &StoredPusher) -> Pusher {
    match pusher {
        StoredPusher::Preset(preset) => Pusher::Preset(Arc::new(Preset::clone(preset))),
        StoredPusher::Group(group) => Pusher::Group(Arc::new(Group::clone(group))),
    }
}
