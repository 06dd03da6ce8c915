//! Changing a password, with the old one or by mail.

use std::net::IpAddr;

use super::audit::{event_at, somebody};
use super::door::Visitor;
use super::enroll::send_letter;
use super::login::{self, prove, still};
use super::mails::LetterKind;
use super::{Caller, Engine};
use crate::domain::account::{MailPurpose, check_password};
use crate::domain::audit::{AuditAction, Who};
use crate::domain::id::AccountId;
use crate::domain::language::Language;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{TokenHash, Tx};

/// Gives the caller another password, and ends all other sessions; answers how many. API tokens stay: whoever changes it
/// knew the old one.
///
/// # Errors
/// If the old password is wrong, the new one is not acceptable, or too many wrong ones were tried.
pub async fn change(engine: &Engine, caller: &Caller, old: String, new: String, visitor: &Visitor) -> Result<u64> {
    check_password(&new)?;
    let proof = prove(engine, caller, ("old_password", old), visitor).await?;
    let hash = login::hash(new).await?;
    let mut tx = engine.store.write().await?;
    still(engine, &mut tx, caller).await?;
    if !proof.holds(&mut tx, &caller.account.id).await? {
        return Err(Refusal::field("old_password", "wrong").into());
    }
    tx.set_password_of(&caller.account.id, &hash).await?;
    tx.drop_mail_tokens(&caller.account.id).await?;
    let ended = tx.end_sessions(&caller.account.id, Some(&caller.token)).await?;
    tx.audit(&engine.event(&caller.who(), AuditAction::PasswordChanged).to_account(&caller.account.id, "")).await?;
    tx.commit().await?;
    Ok(ended)
}

/// Sends a token to an address with which its account's password can be set. Whether there is such an account, the
/// visitor learns neither from the answer nor from the time it takes.
///
/// # Errors
/// If the server sends no mails, or the visitor has asked for too many.
pub async fn ask_reset(engine: &Engine, email: &str, language: Language, visitor: &Visitor) -> Result<()> {
    send_letter(engine, LetterKind::Reset, email, language, visitor).await
}

/// Sets a password by a token from a mail, once, and ends all sessions. Whoever read the mail has proved the address.
/// API tokens are withdrawn: somebody else may have had the password, and have made some.
///
/// # Errors
/// `NotFound` if the token is not known, was used or has ended; if the password is not acceptable.
pub async fn reset(engine: &Engine, token: &str, password: String, origin: Option<IpAddr>) -> Result<()> {
    check_password(&password)?;
    let unknown = || Error::NotFound("reset_token");
    let hash = TokenHash::of(token);
    let is_reset = |token: &crate::store::MailToken| token.purpose == MailPurpose::Reset;
    // A token that is none costs no hash.
    let found = engine.store.read().await?.mail_token(&hash, engine.clock.now()).await?;
    found.filter(is_reset).ok_or_else(unknown)?;
    let password_hash = login::hash(password).await?;
    let now = engine.clock.now();
    let mut tx = engine.store.write().await?;
    let found = tx.mail_token(&hash, now).await?.filter(is_reset).ok_or_else(unknown)?;
    if !tx.spend_mail_token(&hash).await? {
        return Err(unknown());
    }
    let who = somebody(Some(found.account.clone()), origin);
    tx.alone_with_account(&found.account).await?;
    tx.set_password_of(&found.account, &password_hash).await?;
    if tx.confirm_account(&found.account, None, now).await? {
        tx.audit(&event_at(now, &who, AuditAction::AccountConfirmed).to_account(&found.account, "")).await?;
    }
    tx.audit(&event_at(now, &who, AuditAction::PasswordReset).to_account(&found.account, "")).await?;
    shut_out_all(&mut tx, &found.account, &who, now).await?;
    tx.commit().await
}

/// After a password was set by who did not know the old one: nothing holds any more that was got with the old one.
///
/// # Errors
/// If the database fails.
pub async fn shut_out_all(tx: &mut Tx, account: &AccountId, who: &Who, now: Timestamp) -> Result<()> {
    tx.drop_mail_tokens(account).await?;
    tx.end_sessions(account, None).await?;
    for (id, name) in tx.delete_api_tokens_of(account).await? {
        let event = event_at(now, who, AuditAction::TokenWithdrawn);
        tx.audit(&event.concerning(account).to(&id, &name)).await?;
    }
    Ok(())
}
