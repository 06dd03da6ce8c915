//! Tasks as their owners see them.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use super::page::{Page, PageQuery};
use super::times::time;
use crate::domain::account::Role;
use crate::domain::id::{PushId, PusherId, TaskId};
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::{Caller, Engine, revoke};
use crate::store::{Attempt, TaskFilter, TaskRecord};

/// Where a task stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Held,
    Running,
    Succeeded,
    Failed,
    Revoked,
    Skipped,
}

impl State {
    fn domain(self) -> TaskState {
        match self {
            Self::Waiting => TaskState::Waiting,
            Self::Held => TaskState::Held,
            Self::Running => TaskState::Running,
            Self::Succeeded => TaskState::Succeeded,
            Self::Failed => TaskState::Failed,
            Self::Revoked => TaskState::Revoked,
            Self::Skipped => TaskState::Skipped,
        }
    }
}

/// One delivery through one Service.
#[derive(Debug, Object)]
#[oai(rename = "Task")]
pub struct TaskView {
    pub task_id: String,
    pub push_id: String,
    /// The Pusher that was called.
    pub pusher_id: String,
    /// The Service that it goes through.
    pub service: String,
    /// The member's name in a Group.
    pub name: Option<String>,
    /// `waiting`, `held`, `running`, `succeeded`, `failed`, `revoked` or `skipped`.
    pub state: String,
    /// When it is or was due.
    pub run_at: String,
    pub created_at: String,
    /// When the first attempt began.
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    /// How many attempts have ended.
    pub attempts: u32,
    /// What went wrong last.
    pub error: Option<TaskError>,
    /// Every attempt; only when one task is read.
    #[oai(skip_serializing_if_is_none)]
    pub attempt_log: Option<Vec<AttemptView>>,
}

/// What went wrong.
#[derive(Debug, Object)]
pub struct TaskError {
    /// A stable code that begins with the Service's id.
    pub code: String,
    /// For people.
    pub message: String,
}

/// One attempt at delivering.
#[derive(Debug, Object)]
#[oai(rename = "Attempt")]
pub struct AttemptView {
    /// When it began.
    pub at: String,
    pub duration_ms: i64,
    /// `sent`, `later` (another attempt follows, unless there have been too many), `never`, or `interrupted` (the server
    /// died or stopped meanwhile).
    pub outcome: String,
    /// The stable code of the error.
    pub code: Option<String>,
    /// The channel's HTTP status or SMTP reply code.
    pub status: Option<u16>,
    /// The beginning of the channel's answer, secrets masked.
    pub response: Option<String>,
}

fn attempt_view(attempt: Attempt) -> AttemptView {
    AttemptView {
        at: attempt.at.rfc3339(),
        duration_ms: attempt.duration_ms,
        outcome: attempt.outcome,
        code: attempt.code,
        status: attempt.status,
        response: attempt.response,
    }
}

impl TaskView {
    fn brief(task: TaskRecord) -> Self {
        Self::new(task, false)
    }

    fn new(task: TaskRecord, with_log: bool) -> Self {
        let rfc3339 = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
        Self {
            push_id: task.id.push().map(|push| push.to_string()).unwrap_or_default(),
            task_id: task.id.to_string(),
            pusher_id: task.pusher_id.to_string(),
            service: task.service,
            name: task.name,
            state: task.state.as_str().to_owned(),
            run_at: task.run_at.rfc3339(),
            created_at: task.created_at.rfc3339(),
            started_at: rfc3339(task.started_at),
            finished_at: rfc3339(task.finished_at),
            attempts: u32::try_from(task.attempts.len()).unwrap_or(u32::MAX),
            error: task.error.map(|(code, message)| TaskError { code, message }),
            attempt_log: with_log.then(|| task.attempts.into_iter().map(attempt_view).collect()),
        }
    }
}

/// The task operations.
pub struct TaskApi;

#[OpenApi(tag = "Tag::Task")]
impl TaskApi {
    /// List your tasks, newest first
    ///
    /// All that is given must hold. An admin sees everybody's with `all=true`.
    #[oai(path = "/task", method = "get", operation_id = "listTasks")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Only tasks in this state.
        state: Query<Option<State>>,
        /// Only tasks pushed to this Pusher.
        pusher_id: Query<Option<String>>,
        /// Only tasks of this push.
        push_id: Query<Option<String>>,
        /// Only tasks made at this time or later, RFC 3339.
        since: Query<Option<String>>,
        /// Only tasks made before this time, RFC 3339.
        until: Query<Option<String>>,
        /// Everybody's tasks; for admins.
        all: Query<Option<bool>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<TaskView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        let everybody = all.0.unwrap_or(false) && caller.account.role == Role::Admin;
        let filter = TaskFilter {
            owner: (!everybody).then(|| caller.account.id.clone()),
            state: state.0.map(State::domain),
            pusher_id: pusher_id.0.map(PusherId::new),
            push_id: push_id.0.map(PushId::new),
            since: time("since", since.0.as_deref())?,
            until: time("until", until.0.as_deref())?,
            before: page.after.as_deref().map(list_position).transpose()?,
        };
        let tasks = engine.store.read().await?.tasks(&filter, page.rows()).await?;
        Ok(Reply(page.page(tasks, |task| task.id.to_string(), TaskView::brief)))
    }

    /// Read one task
    ///
    /// With every attempt that was made.
    #[oai(path = "/task/:task_id", method = "get", operation_id = "getTask")]
    async fn get(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The task's id.
        task_id: Path<String>,
    ) -> Result<Reply<TaskView>, ApiError> {
        let caller = auth.caller()?;
        let task = own_task(&engine, &caller, TaskId::new(task_id.0)).await?;
        Ok(Reply(TaskView::new(task, true)))
    }

    /// Run a failed task again
    ///
    /// At once, with the whole series of retries before it if it fails again.
    #[oai(path = "/task/:task_id/retry", method = "post", operation_id = "retryTask")]
    async fn retry(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The task's id.
        task_id: Path<String>,
    ) -> Result<Reply<TaskView>, ApiError> {
        let caller = auth.caller()?;
        let task = revoke::retry_task(&engine, &caller, &TaskId::new(task_id.0)).await?;
        Ok(Reply(TaskView::new(task, true)))
    }
}

async fn own_task(engine: &Engine, caller: &Caller, id: TaskId) -> Result<TaskRecord, ApiError> {
    let found = engine.store.read().await?.task(&id).await?;
    Ok(found.filter(|task| revoke::concerns(caller, task)).ok_or(Error::NotFound("task"))?)
}

/// Where a page of tasks ended: the last one's id.
fn list_position(key: &str) -> Result<TaskId, ApiError> {
    let id = TaskId::new(key);
    if id.push().is_some() { Ok(id) } else { Err(ApiError::cursor_invalid()) }
}
