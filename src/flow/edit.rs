//! Makes, changes, shares and removes Presets and Groups. What is stored always leads to its Services.

use std::collections::HashMap;

use super::login::still;
use super::pushers::{as_pusher, owner, standing};
use super::revoke::revoke_tasks_of;
use super::{Caller, Engine};
use crate::domain::audit::AuditAction;
use crate::domain::id::PusherId;
use crate::domain::permission::{Action, Standing};
use crate::domain::pusher::{MAX_PUSHERS, Pusher, Target, Unfollowed, check_group, check_preset, follow};
use crate::domain::refusal::{Dependent, Faults, Refusal};
use crate::domain::resolve::{check_dependent, check_predefined};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{PusherKind, StoredPusher, Tx};

/// Most dependents, directly and through others, that a change of bases may touch: all are checked while nobody else
/// can edit.
const MOST_DEPENDENTS: i64 = 1000;

/// Begins to change Pushers for a caller who still may.
async fn begin(engine: &Engine, caller: &Caller) -> Result<Tx> {
    let mut tx = engine.store.edit().await?;
    still(engine, &mut tx, caller).await?;
    Ok(tx)
}

/// Checks and stores a new Pusher.
///
/// # Errors
/// If it is not valid, builds on what the caller may not build on, is one too many, or the database fails.
pub async fn create(engine: &Engine, caller: &Caller, pusher: StoredPusher) -> Result<StoredPusher> {
    // One transaction from checking to writing: what it is built on cannot change or go meanwhile.
    let mut tx = begin(engine, caller).await?;
    let mut faults = field_faults(&pusher);
    if check_bases(engine, &mut tx, caller, &pusher, &mut faults).await? {
        let led = check_chains(engine, &mut tx, (None, &pusher), &[]).await;
        add_to(&mut faults, led)?;
    }
    faults.refuse_if_any()?;
    let most = i64::try_from(MAX_PUSHERS).unwrap_or(i64::MAX);
    if !caller.account.is_admin() && tx.count_pushers(&caller.account.id).await? >= most {
        return Err(Refusal::TooManyPushers(MAX_PUSHERS).into());
    }
    tx.insert_pusher(engine.store.sealer(), &pusher).await?;
    record(engine, &mut tx, caller, AuditAction::PusherMade, &pusher).await?;
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
    let mut tx = begin(engine, caller).await?;
    let before = allowed(engine, &mut tx, caller, Action::Change, id).await?;
    let after = edit(before.clone())?;
    let mut faults = field_faults(&after);
    let led = if before.bases() != after.bases() {
        match check_bases(engine, &mut tx, caller, &after, &mut faults).await? {
            true => {
                let concerned = concerned_by(&mut tx, caller, id).await?;
                check_chains(engine, &mut tx, (Some(&before), &after), &concerned).await
            }
            false => Ok(()),
        }
    } else {
        check_values_where_it_leads(engine, &mut tx, (&before, &after)).await
    };
    add_to(&mut faults, led)?;
    faults.refuse_if_any()?;
    check_dependents(engine, &mut tx, &before, &after).await?;
    tx.update_pusher(engine.store.sealer(), &after).await?;
    record(engine, &mut tx, caller, AuditAction::PusherChanged, &after).await?;
    tx.commit().await?;
    engine.pushers.forget(id);
    Ok(after)
}

/// Makes a Pusher public, for good.
///
/// # Errors
/// If it is not there, is not the caller's, is protected or shared already, or one of its bases is not public.
pub async fn share(
    engine: &Engine,
    caller: &Caller,
    id: &PusherId,
    kind: PusherKind,
    now: Timestamp,
) -> Result<StoredPusher> {
    let mut tx = begin(engine, caller).await?;
    let mut pusher = allowed(engine, &mut tx, caller, Action::Share, id).await?;
    if pusher.kind() != kind {
        return Err(Error::NotFound(kind.as_str()));
    }
    for base in pusher.bases() {
        let found = load(engine, &mut tx, &base).await?.ok_or_else(|| Refusal::BaseUnknown(base.clone()))?;
        if !matches!(engine.standing(&found), Standing::Service { .. } | Standing::Shared) {
            return Err(Refusal::BaseNotPublic(base).into());
        }
    }
    match &mut pusher {
        StoredPusher::Preset(preset) => (preset.shared, preset.updated_at) = (true, now),
        StoredPusher::Group(group) => (group.shared, group.updated_at) = (true, now),
    }
    tx.update_pusher(engine.store.sealer(), &pusher).await?;
    record(engine, &mut tx, caller, AuditAction::PusherShared, &pusher).await?;
    tx.commit().await?;
    engine.pushers.forget(id);
    Ok(pusher)
}

/// Removes a Pusher and revokes what waits because of it; answers how many tasks were revoked. With `force`, which is an
/// admin's, also if others build on it: they stay, and lead nowhere until they are given another base.
///
/// # Errors
/// If it is not there, the caller may not delete it, or others build on it.
pub async fn remove(engine: &Engine, caller: &Caller, id: &PusherId, kind: PusherKind, force: bool) -> Result<usize> {
    let is_admin = caller.account.is_admin();
    let mut tx = begin(engine, caller).await?;
    let pusher = allowed(engine, &mut tx, caller, Action::Delete, id).await?;
    if pusher.kind() != kind {
        return Err(Error::NotFound(kind.as_str()));
    }
    if force && !is_admin {
        return Err(Error::Forbidden);
    }
    let (dependents, others) = tx.dependents_of(id, (!is_admin).then_some(&caller.account.id)).await?;
    if !force && (!dependents.is_empty() || others > 0) {
        return Err(Refusal::PusherInUse { dependents, others }.into());
    }
    tx.delete_pusher(id).await?;
    record(engine, &mut tx, caller, AuditAction::PusherDeleted, &pusher).await?;
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

/// The Pusher, if the caller may do this with it.
///
/// # Errors
/// `NotFound` if the caller may not even see it; else why not.
async fn allowed(engine: &Engine, tx: &mut Tx, caller: &Caller, action: Action, id: &PusherId) -> Result<StoredPusher> {
    let found = tx.pusher(engine.store.sealer(), id).await?.ok_or(Error::NotFound("pusher"))?;
    let standing = standing(&found);
    let may = |action| Caller::may(Some(caller), action, Some(found.owner()), standing);
    if may(action) {
        return Ok(found);
    }
    let own = *found.owner() == caller.account.id;
    Err(match standing {
        _ if !may(Action::See) => Error::NotFound("pusher"),
        Standing::Shared if own => Refusal::SharedIsFinal.into(),
        Standing::Protected if own && action == Action::Share => Refusal::ProtectedNotShared.into(),
        _ => Error::Forbidden,
    })
}

/// Writes down what is done to a Pusher, in its owner's affairs.
async fn record(
    engine: &Engine,
    tx: &mut Tx,
    caller: &Caller,
    action: AuditAction,
    pusher: &StoredPusher,
) -> Result<()> {
    let event = engine.event(&caller.who(), action).concerning(pusher.owner());
    tx.audit(&event.to(pusher.id().as_str(), pusher.name())).await
}

/// What is wrong with a Pusher by itself.
fn field_faults(pusher: &StoredPusher) -> Faults {
    let mut faults = Faults::default();
    match pusher {
        StoredPusher::Preset(preset) => check_preset(preset, &mut faults),
        StoredPusher::Group(group) => check_group(group, &mut faults),
    }
    faults
}

/// Adds parameters that were refused to what else is wrong. Any other refusal is told by itself, when nothing else is.
fn add_to(faults: &mut Faults, checked: Result<()>) -> Result<()> {
    match checked {
        Err(Error::Refused(Refusal::Params(params))) => faults.extend(params),
        Err(Error::Refused(_)) if !faults.is_empty() => {}
        other => other?,
    }
    Ok(())
}

/// Whether every base exists and may be built on; adds those that do not.
async fn check_bases(
    engine: &Engine,
    tx: &mut Tx,
    caller: &Caller,
    pusher: &StoredPusher,
    faults: &mut Faults,
) -> Result<bool> {
    let mut unknown = Vec::new();
    for base in pusher.bases() {
        let found = load(engine, tx, &base).await?;
        let may = |found| Caller::may(Some(caller), Action::BuildOn, owner(found), engine.standing(found));
        if !found.as_ref().is_some_and(may) {
            unknown.push(base);
        }
    }
    let places = match pusher {
        StoredPusher::Preset(preset) => vec![("base_pusher".to_owned(), &preset.base_pusher)],
        StoredPusher::Group(group) => {
            let bases = group.pushers.iter().map(|member| &member.base_pusher).enumerate();
            bases.map(|(at, base)| (format!("pushers.{at}.base_pusher"), base)).collect()
        }
    };
    // Of one that is not named that is known already.
    for (place, base) in places.into_iter().filter(|(_, base)| !base.as_str().is_empty() && unknown.contains(base)) {
        faults.add_own(place, "unknown", Refusal::BaseUnknown(base.clone()));
    }
    Ok(unknown.is_empty())
}

/// A Pusher as it is to be leads to its Services, which take what it predefines; those that build on it still lead to
/// theirs. One of them that led nowhere before, because an admin has deleted what it is built on, may go on doing so.
async fn check_chains(
    engine: &Engine,
    tx: &mut Tx,
    (before, pusher): (Option<&StoredPusher>, &StoredPusher),
    dependents: &[PusherId],
) -> Result<()> {
    let mut loaded = itself(pusher);
    let target = followed(engine, tx, pusher.id(), &mut loaded).await?.map_err(Refusal::BaseUnknown)?;
    check_values(engine, (before, pusher), &target)?;
    for dependent in dependents {
        let _may_lead_nowhere = followed(engine, tx, dependent, &mut loaded).await?;
    }
    Ok(())
}

/// What a Pusher has come to predefine is taken where it leads, if it leads anywhere.
async fn check_values_where_it_leads(
    engine: &Engine,
    tx: &mut Tx,
    (before, after): (&StoredPusher, &StoredPusher),
) -> Result<()> {
    match followed(engine, tx, after.id(), &mut itself(after)).await? {
        Ok(target) => check_values(engine, (Some(before), after), &target),
        Err(_) => Ok(()),
    }
}

/// What a Pusher has come to predefine is taken where it leads.
fn check_values(
    engine: &Engine,
    (before, pusher): (Option<&StoredPusher>, &StoredPusher),
    target: &Target,
) -> Result<()> {
    let before = before.cloned().map(as_pusher);
    Ok(check_predefined(&as_pusher(pusher.clone()), before.as_ref(), target, engine.clock.now())?)
}

/// Nothing that builds on a Pusher comes to be refused whatever it is pushed with: the next alert would be the first to tell.
/// All of it is the owner's, or the Pusher would be shared and could not change.
async fn check_dependents(engine: &Engine, tx: &mut Tx, before: &StoredPusher, after: &StoredPusher) -> Result<()> {
    if resolves_alike(before, after) {
        return Ok(());
    }
    let (mut was, mut is) = (itself(before), itself(after));
    let (mut dependents, mut first) = (Vec::new(), None);
    for id in tx.all_dependents_of(after.id(), MOST_DEPENDENTS).await? {
        let Ok(led) = followed(engine, tx, &id, &mut was).await? else { continue };
        let Ok(leads) = followed(engine, tx, &id, &mut is).await? else { continue };
        let Some(dependent) = is.get(&id) else { continue };
        let faults = check_dependent(dependent, &led, &leads, engine.clock.now());
        if faults.is_empty() {
            continue;
        }
        let name = tx.pusher(engine.store.sealer(), &id).await?.map(|found| found.name().to_owned());
        dependents.push(Dependent { id, name: name.unwrap_or_default() });
        first.get_or_insert(faults);
    }
    match first {
        Some(Faults { fields, params, .. }) => Err(Refusal::WouldBreak { dependents, fields, params }.into()),
        None => Ok(()),
    }
}

/// Whether a change is of what only pushing straight to it shows, such as its name.
fn resolves_alike(before: &StoredPusher, after: &StoredPusher) -> bool {
    match (before, after) {
        (StoredPusher::Preset(before), StoredPusher::Preset(after)) => {
            before.base_pusher == after.base_pusher
                && before.params == after.params
                && before.redefine_content == after.redefine_content
        }
        (StoredPusher::Group(before), StoredPusher::Group(after)) => {
            before.pushers == after.pushers
                && before.param_map == after.param_map
                && before.redefine_content == after.redefine_content
        }
        _ => false,
    }
}

/// Where a Pusher leads, or the base that is not there.
type Found = std::result::Result<Target, PusherId>;

fn itself(pusher: &StoredPusher) -> HashMap<PusherId, Pusher> {
    HashMap::from([(pusher.id().clone(), as_pusher(pusher.clone()))])
}

/// Where a Pusher leads; `loaded` is taken for what stands in the database, and kept.
async fn followed(
    engine: &Engine,
    tx: &mut Tx,
    root: &PusherId,
    loaded: &mut HashMap<PusherId, Pusher>,
) -> Result<Found> {
    loop {
        match follow(root, &|id| loaded.get(id).cloned()) {
            Ok(target) => return Ok(Ok(target)),
            Err(Unfollowed::Refused(refusal)) => return Err(refusal.into()),
            Err(Unfollowed::NotLoaded(id)) => match load(engine, tx, &id).await? {
                Some(found) => drop(loaded.insert(id, found)),
                None => return Ok(Err(id)),
            },
        }
    }
}

/// A Pusher as it stands in this transaction: the cache may hold what has just been replaced.
async fn load(engine: &Engine, tx: &mut Tx, id: &PusherId) -> Result<Option<Pusher>> {
    if let Some(service) = engine.catalogue.get(id.as_str()) {
        return Ok(Some(Pusher::Service(service.spec.clone())));
    }
    Ok(tx.pusher(engine.store.sealer(), id).await?.map(as_pusher))
}

/// Everything that builds on a Pusher, directly or not.
async fn concerned_by(tx: &mut Tx, caller: &Caller, id: &PusherId) -> Result<Vec<PusherId>> {
    let concerned = tx.all_dependents_of(id, MOST_DEPENDENTS + 1).await?;
    if concerned.len() > usize::try_from(MOST_DEPENDENTS).unwrap_or(usize::MAX) {
        let (dependents, others) = tx.dependents_of(id, Some(&caller.account.id)).await?;
        return Err(Refusal::PusherInUse { dependents, others }.into());
    }
    Ok(concerned)
}
