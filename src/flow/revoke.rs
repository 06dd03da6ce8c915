//! Takes tasks back. Whether it worked is decided by one atomic change in the database.

use super::meter::Spent;
use super::push::Accepted;
use super::{Caller, Engine};
use crate::domain::audit::AuditAction;
use crate::domain::id::{AccountId, PushId, PusherId, TaskId};
use crate::domain::task::TaskState;
use crate::error::{Error, Result};
use crate::store::{Claimed, TaskFilter, TaskRecord, Tx};

/// Most tasks looked at in one step when a Pusher goes.
const STEP: i64 = 500;

/// Revokes a task that still waits; answers what the task is now, or `None` if it is none of the caller's business.
///
/// # Errors
/// If the database fails.
pub async fn revoke_task(engine: &Engine, caller: &Caller, id: &TaskId) -> Result<Option<TaskState>> {
    let Some(push) = id.push() else { return Ok(None) };
    let mut tx = engine.store.write().await?;
    tx.alone_with(&push).await?;
    let Some(task) = tx.task(id).await? else { return Ok(None) };
    if !concerns(caller, &task) {
        return Ok(None);
    }
    let now = engine.clock.now();
    let revoked = tx.revoke_task(id, now).await?;
    // Without a step that is under way nothing would ever start the held ones. It may have been running when it was
    // read, and come back since; held it stays, until somebody has the push to himself.
    if revoked && task.fallback && task.state != TaskState::Held && !tx.others_go_on(id).await? {
        tx.skip_others(&push, None, now).await?;
    }
    let state = tx.task(id).await?.map(|task| task.state);
    if revoked {
        record(engine, &mut tx, caller, AuditAction::TaskRevoked, &task).await?;
    }
    tx.commit().await?;
    if revoked {
        engine.metrics.service(&task.service).revoked.inc();
    }
    Ok(state)
}

/// Revokes what still waits of a push; answers each task's state now, or `None` if it is none of the caller's business.
///
/// # Errors
/// If the database fails.
pub async fn revoke_push(engine: &Engine, caller: &Caller, push: &PushId) -> Result<Option<Vec<(TaskId, TaskState)>>> {
    let mut tx = engine.store.write().await?;
    tx.alone_with(push).await?;
    let of_push = TaskFilter { push_id: Some(push.clone()), ..TaskFilter::default() };
    let most = i64::try_from(crate::domain::pusher::MAX_MEMBERS).unwrap_or(i64::MAX);
    let mut tasks = tx.tasks(&of_push, most).await?;
    // In the order of their ids, as everybody who changes several: nobody waits in a circle.
    tasks.reverse();
    if tasks.is_empty() || !tasks.iter().all(|task| concerns(caller, task)) {
        return Ok(None);
    }
    let now = engine.clock.now();
    let mut revoked = Vec::new();
    for task in &tasks {
        if tx.revoke_task(&task.id, now).await? {
            record(engine, &mut tx, caller, AuditAction::TaskRevoked, task).await?;
            revoked.push(&task.service);
        }
    }
    let mut states: Vec<_> = tx.tasks(&of_push, most).await?.into_iter().map(|task| (task.id, task.state)).collect();
    states.reverse();
    tx.commit().await?;
    for service in revoked {
        engine.metrics.service(service).revoked.inc();
    }
    Ok(Some(states))
}

/// Revokes every task that waits because of a Pusher; answers how many.
///
/// # Errors
/// If the database fails.
pub async fn revoke_tasks_of(engine: &Engine, owner: &AccountId, pusher: &PusherId) -> Result<usize> {
    let mut after = String::new();
    let mut count = 0;
    loop {
        // Read apart from the writes: an account may have a million tasks of other Pushers to pass over.
        let tasks = engine.store.read().await?.revocable_tasks(owner, pusher, &after, STEP).await?;
        let Some((last, _)) = tasks.last() else { break };
        after = last.as_str().to_owned();
        let mut tx = engine.store.write().await?;
        let mut revoked = Vec::with_capacity(tasks.len());
        for (id, service) in &tasks {
            if tx.revoke_task(id, engine.clock.now()).await? {
                revoked.push(service);
            }
        }
        tx.commit().await?;
        count += revoked.len();
        for service in revoked {
            engine.metrics.service(service).revoked.inc();
        }
    }
    Ok(count)
}

/// For a push that was recorded while a Pusher went or its owner was shut out: if it was this one, revokes what waits
/// of the push, as if it had come just before. What waits besides is for whoever removes the Pusher to revoke, and to count.
///
/// # Errors
/// If the database fails.
pub async fn revoke_if_gone(engine: &Engine, pusher: &PusherId, accepted: &Accepted) -> Result<()> {
    if engine.pushable(pusher).await?.is_some() {
        return Ok(());
    }
    let mut tx = engine.store.write().await?;
    for task in &accepted.tasks {
        tx.revoke_task(&task.task_id, engine.clock.now()).await?;
    }
    tx.commit().await
}

/// Revokes a task that a worker has claimed once more, if its Pusher went, or its owner was shut out, while it was being
/// tried before: what waited was revoked then, and what ran could not be. Answers whether it did.
///
/// # Errors
/// If the database fails.
pub async fn revoke_orphan(engine: &Engine, worker: &str, task: &Claimed) -> Result<bool> {
    if !engine.store.read().await?.is_orphan(&task.id).await? {
        return Ok(false);
    }
    let now = engine.clock.now();
    let mut tx = engine.store.write().await?;
    let push = task.id.push().filter(|_| task.fallback);
    if let Some(push) = &push {
        tx.alone_with(push).await?;
    }
    if tx.revoke_claimed(worker, task, now).await? {
        // As with any step that is revoked: nothing would ever start the held ones.
        if let Some(push) = &push
            && !tx.others_go_on(&task.id).await?
        {
            tx.skip_others(push, None, now).await?;
        }
        engine.metrics.service(&task.service).revoked.inc();
    }
    tx.commit().await?;
    Ok(true)
}

/// Runs a failed task again, with its back-off at the beginning. It counts like a new one.
///
/// # Errors
/// If the task is not the caller's or has not failed, its owner's quota is used up, or the database fails.
pub async fn retry_task(engine: &Engine, caller: &Caller, id: &TaskId) -> Result<TaskRecord> {
    let now = engine.clock.now();
    let found = engine.store.read().await?.task(id).await?.filter(|task| concerns(caller, task));
    let task = found.ok_or(Error::NotFound("task"))?;
    // Given back unless it is kept.
    let spent = Spent::take(engine, task.owner.clone(), 1, now).await?;
    let mut tx = engine.store.write().await?;
    if let Some(push) = id.push() {
        tx.alone_with(&push).await?;
    }
    let retried = tx.retry_task(id, now).await?;
    // Read after the change: it may not be what it was before.
    let task = tx.task(&task.id).await?.ok_or(Error::NotFound("task"))?;
    if !retried {
        return Err(Error::Refused(crate::domain::refusal::Refusal::WrongState(task.state.as_str())));
    }
    record(engine, &mut tx, caller, AuditAction::TaskRetried, &task).await?;
    tx.commit().await?;
    spent.keep();
    engine.store.signal().announce([(task.lane.as_str(), now.0)]);
    Ok(task)
}

/// Writes down what an admin does to somebody's task; what one does to one's own is everyday.
async fn record(engine: &Engine, tx: &mut Tx, caller: &Caller, action: AuditAction, task: &TaskRecord) -> Result<()> {
    if caller.account.id == task.owner {
        return Ok(());
    }
    tx.audit(&engine.event(&caller.who(), action).concerning(&task.owner).to(task.id.as_str(), "")).await
}

/// Whether a task is the caller's, or the caller is an admin.
pub fn concerns(caller: &Caller, task: &TaskRecord) -> bool {
    caller.account.is_admin() || caller.account.id == task.owner
}
