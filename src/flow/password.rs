//! Changing a password, with the old one or by mail.

use super::door::Visitor;
use super::enroll::send_letter;
use super::login::{Turn, prove};
use super::mails::LetterKind;
use super::{Caller, Engine};
use crate::domain::account::{MailPurpose, check_password};
use crate::domain::language::Language;
use crate::error::{Error, Result};
use crate::store::TokenHash;

/// Gives the caller another password, and ends all other sessions; answers how many.
///
/// # Errors
/// If the old password is wrong, the new one is not acceptable, or too many wrong ones were tried.
pub async fn change(engine: &Engine, caller: &Caller, old: String, new: String, visitor: &Visitor) -> Result<u64> {
    check_password(&new)?;
    prove(engine, caller, old, visitor).await?;
    let hash = Turn::wait().await?.hash(new).await?;
    let mut tx = engine.store.write().await?;
    tx.set_password_of(&caller.account.id, &hash).await?;
    tx.drop_mail_tokens(&caller.account.id).await?;
    let ended = tx.end_sessions(&caller.account.id, Some(&caller.token)).await?;
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
///
/// # Errors
/// `NotFound` if the token is not known, was used or has ended; if the password is not acceptable.
pub async fn reset(engine: &Engine, token: &str, password: String) -> Result<()> {
    check_password(&password)?;
    let unknown = || Error::NotFound("reset_token");
    let hash = TokenHash::of(token);
    let is_reset = |token: &crate::store::MailToken| token.purpose == MailPurpose::Reset;
    // A token that is none costs no hash.
    let found = engine.store.read().await?.mail_token(&hash, engine.clock.now()).await?;
    found.filter(is_reset).ok_or_else(unknown)?;
    let password_hash = Turn::wait().await?.hash(password).await?;
    let now = engine.clock.now();
    let mut tx = engine.store.write().await?;
    let found = tx.mail_token(&hash, now).await?.filter(is_reset).ok_or_else(unknown)?;
    if !tx.spend_mail_token(&hash).await? {
        return Err(unknown());
    }
    tx.set_password_of(&found.account, &password_hash).await?;
    tx.confirm_account(&found.account, None, now).await?;
    tx.drop_mail_tokens(&found.account).await?;
    tx.end_sessions(&found.account, None).await?;
    tx.commit().await
}
