//! API tokens: an account makes them for its programs, each with no more rights than whoever makes it.

use super::login::{new_secret, still};
use super::{Caller, Engine};
use crate::domain::account::ApiToken;
use crate::domain::audit::AuditAction;
use crate::domain::id::time_ordered;
use crate::domain::refusal::{Faults, Refusal};
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
    let own_end = caller.api_token.as_ref().and_then(|token| token.expires_at);
    let expires_at = expires_at.or(own_end);
    let ends_amiss = expires_at.is_some_and(|end| end <= now || own_end.is_some_and(|own| own < end));
    let mut faults = Faults::default();
    faults.check("name", check_name(&name));
    faults.check("scopes", if scopes.is_empty() { Err("empty") } else { Ok(()) });
    faults.check("expires_at", if ends_amiss { Err("out_of_range") } else { Ok(()) });
    faults.refuse_if_any()?;
    if let Some(scope) = scopes.missing_in(caller.scopes()) {
        return Err(Error::ScopeMissing(scope));
    }
    let text = format!("{PREFIX}{}", new_secret());
    let id = time_ordered(now.0, rand::random());
    let token = ApiToken { id, name, scopes, created_at: now, last_used_at: None, expires_at };
    let holder = &caller.account.id;
    let mut tx = engine.store.write().await?;
    still(engine, &mut tx, caller).await?;
    let most = i64::try_from(MOST_TOKENS).unwrap_or(i64::MAX);
    if tx.api_tokens_of(holder, None, most).await?.len() >= MOST_TOKENS {
        return Err(Refusal::field("name", "too_many").into());
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
    still(engine, &mut tx, caller).await?;
    let name = tx.delete_api_token(&caller.account.id, id).await?.ok_or(Error::NotFound("token"))?;
    tx.audit(&engine.event(&caller.who(), AuditAction::TokenWithdrawn).to(id, &name)).await?;
    tx.commit().await
}

fn check_name(name: &str) -> std::result::Result<(), &'static str> {
    match name.chars().count() {
        0 => Err("empty"),
        length if length > MAX_NAME => Err("too_long"),
        _ if name.trim().is_empty() => Err("empty"),
        _ if name.chars().any(char::is_control) => Err("invalid"),
        _ => Ok(()),
    }
}
