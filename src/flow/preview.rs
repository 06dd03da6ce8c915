//! What a push would become, without sending: every parameter with where it came from, and the exact request.
//! Secrets are masked before rendering, so nothing derived from one (a signature, an encoded form) shows it either.

use std::collections::BTreeSet;

use serde_json::Value;

use super::plan::{not_renderable, plan};
use super::{Caller, Engine};
use crate::domain::delivery::Outgoing;
use crate::domain::id::{PusherId, time_ordered};
use crate::domain::mask::{blank, mask_value};
use crate::domain::params::Params;
use crate::domain::resolve::{Call, Delivery, Resolved, hidden_secrets};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::service::RenderEnv;

/// One task as it would be.
#[derive(Debug, Clone)]
pub struct Previewed {
    pub name: Option<String>,
    pub service: String,
    /// In the order of the Service's declaration, secrets masked.
    pub params: Vec<(String, Resolved)>,
    pub ignored: Vec<String>,
    pub run_at: Timestamp,
    pub outgoing: Outgoing,
}

/// Resolves and renders a call. Who may see the Pusher has been checked.
///
/// # Errors
/// As a push.
pub async fn preview(engine: &Engine, caller: &Caller, id: &PusherId, call: &Call) -> Result<Vec<Previewed>> {
    let now = engine.clock.now();
    let target = engine.target(id).await?;
    let plan = plan(engine, Some(caller), (id, &target), call, now)?;
    let deliveries = plan.deliveries.into_iter().enumerate();
    deliveries.map(|(at, delivery)| one(engine, delivery, &hidden_secrets(&target, at), now)).collect()
}

/// One delivery; `hidden` are parameters of which nothing may be shown.
fn one(engine: &Engine, delivery: Delivery, hidden: &BTreeSet<String>, now: Timestamp) -> Result<Previewed> {
    let service = engine.catalogue.get(&delivery.service.id).ok_or(Error::NotFound("service"))?;
    let mask = |name: &str, value: &Value| match service.spec.param(name) {
        _ if hidden.contains(name) => blank(value),
        Some(spec) => mask_value(spec, value),
        None => value.clone(),
    };
    let params: Vec<(String, Resolved)> = delivery
        .params
        .iter()
        .map(|(name, given)| {
            let value = mask(name, &given.value);
            (name.clone(), Resolved { value, from: given.from.clone() })
        })
        .collect();
    let shown: Params = params.iter().map(|(name, given)| (name.clone(), given.value.clone())).collect();
    let delivery_id = format!("{}0", time_ordered(now.0, 0));
    let env = RenderEnv { now, delivery_id: &delivery_id, random: 0 };
    let rendered = service.render(&shown, &env);
    let outgoing = rendered.map_err(|problem| not_renderable(delivery.name.as_deref(), &problem))?;
    Ok(Previewed {
        name: delivery.name,
        service: service.spec.id.clone(),
        params,
        ignored: delivery.ignored,
        run_at: delivery.due,
        outgoing,
    })
}
