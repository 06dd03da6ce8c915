//! Takes a push in: follow the chains, check, resolve, record. What is answered is durable.

use super::plan::plan;
use super::pushers::owner;
use super::{Caller, Engine};
use crate::domain::agenda::lane;
use crate::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use crate::domain::permission::Action;
use crate::domain::pusher::Strategy;
use crate::domain::refusal::Refusal;
use crate::domain::resolve::{Call, Delivery};
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;
use crate::error::{AuthProblem, Error, Result};
use crate::store::NewTask;

/// A push that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub push_id: PushId,
    pub tasks: Vec<AcceptedTask>,
    /// Names that no Service in the push takes.
    pub ignored: Vec<String>,
}

/// One of its tasks.
#[derive(Debug, Clone)]
pub struct AcceptedTask {
    pub task_id: TaskId,
    /// The member's name in a Group.
    pub name: Option<String>,
    pub state: TaskState,
    pub run_at: Timestamp,
}

/// The account that tasks of an anonymous push to an open Service belong to: nobody's.
const NOBODY: &str = "nobody";

/// Accepts a push: once this returns, its tasks are durable and a worker knows of them.
///
/// # Errors
/// If the Pusher is unknown or the caller may not push to it; if parameters are at fault, all of them at once; if the
/// database cannot take the tasks now. Nothing is recorded then.
pub async fn push(engine: &Engine, caller: Option<&Caller>, id: &PusherId, call: &Call) -> Result<Accepted> {
    let root = engine.pusher(id).await?.ok_or(Error::NotFound("pusher"))?;
    if !Caller::may(caller, Action::Push, owner(&root), engine.standing(&root)) {
        return Err(match caller {
            None => Error::Unauthorized(AuthProblem::Missing),
            Some(_) => Error::Forbidden,
        });
    }
    let now = engine.clock.now();
    let plan = plan(engine, caller, id, call, now).await?;
    let holder = match (owner(&root), caller) {
        (Some(owner), _) => owner.as_str(),
        (None, Some(caller)) => caller.account.id.as_str(),
        (None, None) => NOBODY,
    };
    let push_id = PushId::new(time_ordered(now.0, rand::random()));
    let fallback = plan.strategy == Strategy::Fallback && plan.deliveries.len() > 1;
    let mut tasks = Vec::with_capacity(plan.deliveries.len());
    let mut accepted = Vec::with_capacity(plan.deliveries.len());
    for (position, delivery) in plan.deliveries.into_iter().enumerate() {
        let held = fallback && position > 0;
        let task_id = TaskId::of(&push_id, position);
        let state = if held { TaskState::Held } else { TaskState::Waiting };
        accepted.push(AcceptedTask {
            task_id: task_id.clone(),
            name: delivery.name.clone(),
            state,
            run_at: delivery.due,
        });
        tasks.push(NewTask { fallback, state, ..task(engine, holder, id, task_id, delivery, now)? });
    }
    let counters: Vec<_> = tasks.iter().map(|task| engine.metrics.service(&task.service)).collect();
    engine.store.record(tasks).await?;
    engine.metrics.pushes_accepted.inc();
    for counter in counters {
        counter.accepted.inc();
    }
    Ok(Accepted { push_id, tasks: accepted, ignored: plan.ignored })
}

fn task(
    engine: &Engine,
    holder: &str,
    pusher_id: &PusherId,
    id: TaskId,
    delivery: Delivery,
    now: Timestamp,
) -> Result<NewTask> {
    let service = engine.catalogue.get(&delivery.service.id).ok_or(Error::NotFound("service"))?;
    let (name, run_at) = (delivery.name.clone(), delivery.due);
    let params = delivery.into_params();
    // A request that cannot be made is told now, not found out when it is due.
    let host = service.destination(&params).map_err(|problem| {
        Error::Refused(Refusal::NotRenderable { member: name.clone(), reason: problem.to_string() })
    })?;
    let text = serde_json::to_string(&params).map_err(|e| Error::Broken(e.into()))?;
    Ok(NewTask {
        owner: AccountId::new(holder),
        pusher_id: pusher_id.clone(),
        service: service.spec.id.clone(),
        name,
        fallback: false,
        state: TaskState::Waiting,
        lane: lane(holder, &host),
        run_at,
        payload: engine.store.sealer().seal(id.as_str(), &text),
        created_at: now,
        id,
    })
}
