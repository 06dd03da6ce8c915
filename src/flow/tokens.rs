//! API tokens: an account makes them for its programs, each with no more rights than whoever makes it.

use super::login::new_secret;
use super::{Caller, Engine};
use crate::domain::account::ApiToken;
use crate::domain::audit::AuditAction;
use crate::domain::id::time_ordered;
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scopes;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::TokenHash;

/// What every API token begins with. A session's token cannot: its third character is `_`.
pub const PREFIX: &str = "ffk_";
/// Longest name, in characters.
const MAX_NAME: usize = 100;
/// Most API tokens of an account.
const MOST_TOKENS: usize = 100;

/// Makes an API token; answers it with its text, which nobody can read again.
///
/// # Errors
/// If the name, the scopes or the end are not acceptable; if the caller's own token lacks one of the scopes, or ends
/// earlier; if the account has too many.
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    name: String,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
) -> Result<(ApiToken, String)> {
    let now = engine.clock.now();
    check_name(&name)?;
    if scopes.is_empty() {
        return Err(Refusal::Field { field: "scopes", reason: "empty" }.into());
    }
    if let Some(scope) = scopes.missing_in(caller.scopes()) {
        return Err(Error::ScopeMissing(scope));
    }
    let own_end = caller.api_token.as_ref().and_then(|token| token.expires_at);
    let expires_at = expires_at.or(own_end);
    if expires_at.is_some_and(|end| end <= now || own_end.is_some_and(|own| own < end)) {
        return Err(Refusal::Field { field: "expires_at", reason: "out_of_range" }.into());
    }
    let text = format!("{PREFIX}{}", new_secret());
    let id = time_ordered(now.0, rand::random());
    let token = ApiToken { id, name, scopes, created_at: now, last_used_at: None, expires_at };
    let holder = &caller.account.id;
    let mut tx = engine.store.write().await?;
    let most = i64::try_from(MOST_TOKENS).unwrap_or(i64::MAX);
    if tx.api_tokens_of(holder, None, most).await?.len() >= MOST_TOKENS {
        return Err(Refusal::Field { field: "name", reason: "too_many" }.into());
    }
    tx.insert_api_token(&TokenHash::of(&text), holder, &token).await?;
    tx.audit(&engine.event(&caller.who(), AuditAction::TokenMade).to(&token.id, &token.name)).await?;
    tx.commit().await?;
    Ok((token, text))
}

/// Withdraws one of the caller's API tokens: from now on it is not taken.
///
/// # Errors
/// If the caller has no such token, or the database fails.
pub async fn withdraw(engine: &Engine, caller: &Caller, id: &str) -> Result<()> {
    // PostgreSQL takes NUL in no text, and no id holds one.
    if id.contains('\0') {
        return Err(Error::NotFound("token"));
    }
    let mut tx = engine.store.write().await?;
    let name = tx.delete_api_token(&caller.account.id, id).await?.ok_or(Error::NotFound("token"))?;
    tx.audit(&engine.event(&caller.who(), AuditAction::TokenWithdrawn).to(id, &name)).await?;
    tx.commit().await
}

fn check_name(name: &str) -> Result<()> {
    let reason = match name.chars().count() {
        0 => "empty",
        length if length > MAX_NAME => "too_long",
        _ if name.trim().is_empty() => "empty",
        _ if name.chars().any(char::is_control) => "invalid",
        _ => return Ok(()),
    };
    Err(Refusal::Field { field: "name", reason }.into())
}
