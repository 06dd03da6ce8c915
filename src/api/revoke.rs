//! Taking tasks back. The answer is always a success: whether a task exists is nobody's business but the owner's.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use crate::domain::id::{PushId, TaskId};
use crate::flow::{Engine, revoke};

/// What a task is after the attempt to revoke it.
#[derive(Debug, Object)]
#[oai(rename = "Revocation")]
pub struct RevocationView {
    /// The task's state now; null if it is not yours to know.
    pub state: Option<String>,
}

/// What the tasks of a push are after the attempt to revoke them.
#[derive(Debug, Object)]
#[oai(rename = "PushRevocation")]
pub struct PushRevocationView {
    /// Each task's state now; empty if they are not yours to know.
    pub tasks: Vec<RevokedTask>,
}

/// A task of the push.
#[derive(Debug, Object)]
pub struct RevokedTask {
    pub task_id: String,
    pub state: String,
}

/// The revoke operations.
pub struct RevokeApi;

#[OpenApi(tag = "Tag::Push")]
impl RevokeApi {
    /// Revoke a task that still waits
    ///
    /// Succeeds for every id, once it is known who asks. If `state` is `revoked`, the task is never delivered. In a `fallback` Group, to revoke the step that
    /// is under way is to take the message back: the later ones are `skipped`, unless another one is under way. To revoke one
    /// that is held leaves it out.
    #[oai(path = "/revoke/task/:task_id", method = "get", operation_id = "revokeTask")]
    async fn revoke_task(
        &self,
        engine: Data<&Arc<Engine>>,
        /// The task's id.
        task_id: Path<String>,
        auth: Auth,
    ) -> Result<Reply<RevocationView>, ApiError> {
        let caller = auth.caller()?;
        let state = revoke::revoke_task(&engine, &caller, &TaskId::new(task_id.0)).await?;
        Ok(Reply(RevocationView { state: state.map(|state| state.as_str().to_owned()) }))
    }

    /// Revoke what still waits of a push
    ///
    /// Succeeds for every id, once it is known who asks. Tasks that run or have ended stay as they are.
    #[oai(path = "/revoke/push/:push_id", method = "get", operation_id = "revokePush")]
    async fn revoke_push(
        &self,
        engine: Data<&Arc<Engine>>,
        /// The push's id.
        push_id: Path<String>,
        auth: Auth,
    ) -> Result<Reply<PushRevocationView>, ApiError> {
        let caller = auth.caller()?;
        let states = revoke::revoke_push(&engine, &caller, &PushId::new(push_id.0)).await?;
        let tasks = states.unwrap_or_default().into_iter();
        let tasks = tasks.map(|(id, state)| RevokedTask { task_id: id.to_string(), state: state.as_str().to_owned() });
        Ok(Reply(PushRevocationView { tasks: tasks.collect() }))
    }
}
