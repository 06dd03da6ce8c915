//! Sessions end: by logging out, or from the list of sessions.

use super::login::still;
use super::{Caller, Engine};
use crate::domain::audit::AuditAction;
use crate::error::{Error, Result};

/// Ends the session whose token the caller has.
///
/// # Errors
/// If the token is no session's; if the database fails.
pub async fn log_out(engine: &Engine, caller: &Caller) -> Result<()> {
    let mut tx = engine.store.write().await?;
    let id = tx.session_of(&caller.token).await?.ok_or(Error::NotFound("session"))?;
    tx.end_session(&caller.account.id, &id).await?;
    tx.audit(&engine.event(&caller.who(), AuditAction::Logout).to(&id, "")).await?;
    tx.commit().await
}

/// Ends a session of the caller's account.
///
/// # Errors
/// If the account has no such session; if the database fails.
pub async fn end(engine: &Engine, caller: &Caller, id: &str) -> Result<()> {
    let mut tx = engine.store.write().await?;
    still(engine, &mut tx, caller).await?;
    // PostgreSQL takes no NUL, and no id has one.
    let known = !id.contains('\0') && tx.end_session(&caller.account.id, id).await?;
    if !known {
        return Err(Error::NotFound("session"));
    }
    tx.audit(&engine.event(&caller.who(), AuditAction::SessionEnded).to(id, "")).await?;
    tx.commit().await
}
