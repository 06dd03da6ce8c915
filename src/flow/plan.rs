//! What a push would come to, with every rule about it checked: the step that a push and its preview share.

use super::{Caller, Engine};
use crate::domain::id::PusherId;
use crate::domain::pusher::Target;
use crate::domain::refusal::Refusal;
use crate::domain::resolve::{Call, Lent, Plan, lent, resolve};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::service::RenderError;

/// Resolves a call to the target of a Pusher whose chains have been followed. Whether the caller may push has been
/// checked.
///
/// # Errors
/// If parameters are at fault, a Pusher's secrets would go elsewhere than it sends them, or what comes out could
/// not be sent.
pub fn plan(
    engine: &Engine,
    caller: Option<&Caller>,
    (called, target): (&PusherId, &Target),
    call: &Call,
    now: Timestamp,
) -> Result<Plan> {
    let plan = resolve(target, call, now)?;
    if !keeps_lent_secrets(engine, target, &plan, caller, now)? {
        // Not whose they are: the id of what a Pusher is built on may be known to its owner alone.
        return Err(Refusal::AddressIsFinal(called.clone()).into());
    }
    check_sendable(engine, &plan)?;
    Ok(plan)
}

/// The refusal of a delivery, a member's if it has a name, of which no request or mail can be made.
pub fn not_renderable(member: Option<&str>, problem: &RenderError) -> Error {
    Error::Refused(Refusal::NotRenderable { member: member.map(str::to_owned), reason: problem.to_string() })
}

/// What could not be sent is told now, not found out when it is due: a mail to or by nobody, a header that cannot be set,
/// a key that signs nothing.
fn check_sendable(engine: &Engine, plan: &Plan) -> Result<()> {
    for delivery in &plan.deliveries {
        let service = engine.catalogue.get(&delivery.service.id).ok_or(Error::NotFound("service"))?;
        if service.checks(delivery.params.iter().map(|(name, _)| name.as_str())) {
            let checked = service.check(&delivery.to_params());
            checked.map_err(|problem| not_renderable(delivery.name.as_deref(), &problem))?;
        }
    }
    Ok(())
}

/// Whether what Pushers keep secret goes where they send it, whatever others than their owners ask for: else a `server`
/// of one's own would read the key.
fn keeps_lent_secrets(
    engine: &Engine,
    target: &Target,
    plan: &Plan,
    caller: Option<&Caller>,
    now: Timestamp,
) -> Result<bool> {
    let caller = caller.map(|caller| &caller.account.id);
    for (position, delivery) in plan.deliveries.iter().enumerate() {
        for Lent { own, .. } in lent(target, position, delivery, caller, now) {
            let service = engine.catalogue.get(&delivery.service.id).ok_or(Error::NotFound("service"))?;
            let place = service.place(&delivery.to_params()).ok();
            if place.is_none() || place != service.place(&own).ok() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
