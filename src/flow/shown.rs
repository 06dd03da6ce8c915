//! What a caller may see of somebody's Preset or Group: whether it exists, and its secrets or only their masks.

use super::pushers::standing;
use super::{Caller, Engine};
use crate::domain::id::PusherId;
use crate::domain::permission::Action;
use crate::domain::scope::Scope;
use crate::domain::shown::{group_for_others, params_of_preset};
use crate::error::{AuthProblem, Error, Result};
use crate::store::StoredPusher;

/// The Preset or Group with this id as the caller, if there is one, may see it.
///
/// # Errors
/// If there is none that the caller may see: `NotFound`, or without a caller `Unauthorized`, whether it exists or not.
pub async fn seen(engine: &Engine, caller: Option<&Caller>, id: &PusherId) -> Result<StoredPusher> {
    let hidden = || match caller {
        Some(_) => Error::NotFound("pusher"),
        None => AuthProblem::Missing.into(),
    };
    let found = engine.store.read().await?.pusher(engine.store.sealer(), id).await?.ok_or_else(hidden)?;
    if !Caller::may(caller, Action::See, Some(found.owner()), standing(&found)) {
        return Err(hidden());
    }
    shown(engine, caller, found).await
}

/// A Pusher that the caller may see, with its secrets masked unless they are the caller's own. Reading them in clear
/// takes more than reading: a token needs `manage` as well.
///
/// # Errors
/// If the database fails.
pub async fn shown(engine: &Engine, caller: Option<&Caller>, pusher: StoredPusher) -> Result<StoredPusher> {
    let may_read = caller.is_some_and(|caller| caller.scopes().has(Scope::Manage));
    if may_read && Caller::may(caller, Action::SeeSecrets, Some(pusher.owner()), standing(&pusher)) {
        return Ok(pusher);
    }
    let target = match engine.target(pusher.id()).await {
        Ok(target) => Some(target),
        // It leads nowhere at present, or its owner is shut out.
        Err(Error::Refused(_) | Error::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(match pusher {
        StoredPusher::Preset(mut preset) => {
            preset.params = params_of_preset(&preset, target.as_ref());
            StoredPusher::Preset(preset)
        }
        StoredPusher::Group(group) => StoredPusher::Group(group_for_others(&group, target.as_ref())),
    })
}
