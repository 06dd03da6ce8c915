//! Takes a push in: follow the chains, check, resolve, record. What is answered is durable.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::idempotency::Once;
use super::meter::{self, Spent};
use super::payload::Payload;
use super::plan::not_renderable;
use super::pushers::owner;
use super::revoke::revoke_if_gone;
use super::{Caller, Engine};
use crate::domain::agenda::lane;
use crate::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::permission::Action;
use crate::domain::pusher::{Pusher, Strategy};
use crate::domain::resolve::{Call, Delivery, unmarked_secrets};
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;
use crate::error::{AuthProblem, Error, Result};
use crate::store::{Column, NewTask, Recorded};

/// A push that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    pub push_id: PushId,
    pub tasks: Vec<AcceptedTask>,
    /// Names that no Service in the push takes.
    pub ignored: Vec<String>,
    /// Whether it was accepted before, and this is a call with the same key.
    #[serde(skip)]
    pub replayed: bool,
}

/// One of its tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedTask {
    pub task_id: TaskId,
    /// The member's name in a Group.
    pub name: Option<String>,
    pub state: TaskState,
    pub run_at: Timestamp,
}

/// The account that tasks of an anonymous push to an open Service belong to: nobody's.
const NOBODY: &str = "nobody";

/// Accepts a push: once this returns, its tasks are durable and a worker knows of them. With a key, a call that repeats
/// one before it is answered as that one was, whatever has changed since, and makes nothing; when the Pusher is gone, only
/// to whom its tasks belonged.
///
/// # Errors
/// If the Pusher is unknown or the caller may not push to it; if there have been too many pushes; if the key stands for
/// another call; if parameters are at fault, all of them at once; if the database cannot take the tasks now. Nothing is
/// recorded then.
pub async fn push(
    engine: &Engine,
    caller: Option<&Caller>,
    id: &PusherId,
    call: &Call,
    key: Option<&IdempotencyKey>,
) -> Result<Accepted> {
    engine.store.takes_pushes()?;
    let reading = engine.pushers.begin();
    let found = engine.pusher(id).await.inspect_err(|error| engine.store.suspect_if_busy(error));
    let Some(root) = found? else { return Box::pin(when_gone(engine, caller, id, call, key)).await };
    permit(engine, caller, &root)?;
    let now = engine.clock.now();
    meter::count(engine, caller, &root, id, now).await?;
    let holder = holder(caller, owner(&root));
    let once = key.map(|key| Once::new(holder, id, key, call, now));
    let pushed = async {
        let (accepted, tasks) = plan(engine, caller, holder, id, call, now).await?;
        let payer = meter::payer(engine, caller, &root, holder);
        let spent = Spent::take(engine, payer, tasks.len(), now).await?;
        Ok::<_, Error>((accepted, tasks, spent))
    };
    let (accepted, tasks, spent) = match (pushed.await, &once) {
        // What has changed since the first call must not refuse its repetition, which makes nothing.
        (Err(refused), Some(once)) => return Box::pin(once.first_answer(engine)).await?.ok_or(refused),
        (pushed, _) => pushed?,
    };
    let counters: Vec<_> = tasks.iter().map(|task| engine.metrics.service(&task.service)).collect();
    if let Some(once) = &once {
        let key = once.with_answer(engine, &accepted)?;
        if Box::pin(engine.store.record_once(tasks, key)).await? == Recorded::KeyTaken {
            // Should the key have ended meanwhile, it is free for whoever comes again.
            let ended = Error::Busy { retry_after: Duration::from_secs(1) };
            return Box::pin(once.first_answer(engine)).await?.ok_or(ended);
        }
    } else {
        engine.store.record(tasks).await?;
    }
    spent.keep();
    // A deletion may have looked for tasks to revoke after the Pusher was read here, and before these were there.
    if !engine.pushers.still_good(reading)
        && owner(&root).is_some()
        && let Err(error) = Box::pin(revoke_if_gone(engine, id, &accepted)).await
    {
        tracing::warn!(?error, push_id = %accepted.push_id, "whether the Pusher is still there could not be looked up");
    }
    engine.metrics.pushes_accepted.inc();
    for counter in counters {
        counter.accepted.inc();
    }
    Ok(accepted)
}

/// What a call to a Pusher that is not there is answered: if it repeats one of the time when it was there, as that one was.
///
/// Nothing is left that tells whose the Pusher was, and whether others could push to it. So the caller's own tasks are
/// looked at alone: whoever they belong to could push, and learns nothing new. To all others it never was there.
async fn when_gone(
    engine: &Engine,
    caller: Option<&Caller>,
    id: &PusherId,
    call: &Call,
    key: Option<&IdempotencyKey>,
) -> Result<Accepted> {
    let unknown = Error::NotFound("pusher");
    let Some(key) = key else { return Err(unknown) };
    let once = Once::new(holder(caller, None), id, key, call, engine.clock.now());
    once.first_answer(engine).await?.ok_or(unknown)
}

fn permit(engine: &Engine, caller: Option<&Caller>, root: &Pusher) -> Result<()> {
    if Caller::may(caller, Action::Push, owner(root), engine.standing(root)) {
        return Ok(());
    }
    Err(match caller {
        None => Error::Unauthorized(AuthProblem::Missing),
        Some(_) => Error::Forbidden,
    })
}

/// The account that the tasks belong to: the Pusher's owner, or the caller if it has none.
fn holder<'a>(caller: Option<&'a Caller>, owner: Option<&'a AccountId>) -> &'a str {
    match (owner, caller) {
        (Some(owner), _) => owner.as_str(),
        (None, Some(caller)) => caller.account.id.as_str(),
        (None, None) => NOBODY,
    }
}

/// What a call becomes now: the answer, and the tasks to record.
async fn plan(
    engine: &Engine,
    caller: Option<&Caller>,
    holder: &str,
    id: &PusherId,
    call: &Call,
    now: Timestamp,
) -> Result<(Accepted, Vec<NewTask>)> {
    let target = engine.target(id).await?;
    let plan = super::plan::plan(engine, caller, (id, &target), call, now)?;
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
        let secrets = unmarked_secrets(&target, position);
        tasks.push(NewTask { fallback, state, ..task(engine, holder, id, task_id, (delivery, secrets), now)? });
    }
    Ok((Accepted { push_id, tasks: accepted, ignored: plan.ignored, replayed: false }, tasks))
}

fn task(
    engine: &Engine,
    holder: &str,
    pusher_id: &PusherId,
    id: TaskId,
    (delivery, secrets): (Delivery, Vec<String>),
    now: Timestamp,
) -> Result<NewTask> {
    let service = engine.catalogue.get(&delivery.service.id).ok_or(Error::NotFound("service"))?;
    let (name, run_at) = (delivery.name.clone(), delivery.due);
    let params = delivery.into_params();
    // A request that cannot be made is told now, not found out when it is due.
    let host = service.destination(&params).map_err(|problem| not_renderable(name.as_deref(), &problem))?;
    let text = Payload { params, secrets }.write()?;
    Ok(NewTask {
        owner: AccountId::new(holder),
        pusher_id: pusher_id.clone(),
        service: service.spec.id.clone(),
        name,
        fallback: false,
        state: TaskState::Waiting,
        lane: lane(holder, &host),
        run_at,
        payload: engine.store.sealer().seal(Column::Payload, id.as_str(), &text),
        created_at: now,
        id,
    })
}
