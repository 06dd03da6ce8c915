//! Signing up: from an invitation code to an account whose address is proved.
//!
//! A code that is no good costs no password hash. A good one costs one at a time: whoever gets a turn at hashing looks
//! at the code again first, so that a crowd at a code that is used up is turned away cheaply. The use is taken in the
//! transaction that makes the account, so neither a crash nor a crowd can lose one or take one twice.

use std::net::IpAddr;

use super::audit::{event_at, somebody};
use super::door::{self, Visitor};
use super::login::{self, Turn};
use super::mails::{self, Letter, LetterKind};
use super::{Caller, Engine};
use crate::domain::account::{Account, CONFIRM_MS, MailPurpose, Registration, Role, read_sign_up, wanted_email};
use crate::domain::audit::{AuditAction, Who};
use crate::domain::id::{AccountId, time_ordered};
use crate::domain::invite::InviteKind;
use crate::domain::language::Language;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{NewAccount, Roots, Store, TokenHash, Tx};

/// Most accounts removed in one round of housekeeping.
const STEP: i64 = 200;

/// What somebody signs up with.
pub struct SignUp {
    pub code: String,
    pub email: String,
    pub password: String,
    /// In which the mail is written.
    pub language: Language,
}

/// What a sign-up brought. It is the same whether the address has an account already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedUp {
    /// Until when the account waits to be confirmed.
    pub confirm_by: Timestamp,
    /// Whether a mail with a link is on its way; if not, an admin must confirm.
    pub mail: bool,
}

/// An address that was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    pub email: String,
}

/// Makes an account that waits for its address to be proved, and sends the mail for that. An address that has an account
/// gets a mail that says so, and the code loses nothing.
///
/// # Errors
/// If nobody may sign up, or the code, the address or the password is not acceptable; `Limited` if the visitor has had too
/// many mails sent with codes of their own making.
pub async fn sign_up(engine: &Engine, wish: SignUp, visitor: &Visitor) -> Result<SignedUp> {
    if engine.registration == Registration::Closed {
        return Err(Refusal::RegistrationClosed.into());
    }
    let (key, code) = read_sign_up(&wish.email, &wish.password, &wish.code)?;
    check_code(engine, &code, &key).await?;
    // With two passwords for one address that is not proved, neither is anybody's.
    let known = login::is_password_of(engine, &key, &wish.password).await?;
    let void = if known { None } else { Some(login::nobodys_hash().await?) };
    let turn = Turn::wait().await?;
    let now = engine.clock.now();
    if check_code(engine, &code, &key).await? == InviteKind::Auto {
        // Anybody makes such codes, for any address.
        door::ask_for_mail(&engine.store, visitor, now).await?;
    }
    let hash = turn.hash(wish.password).await?;
    let mut tx = engine.store.write().await?;
    let (kind, is_new) = enter(&mut tx, (&code, &key), (hash, void), now, visitor.origin).await?;
    let mut mail = None;
    // The first mail to a new account always goes out; the code bounds how many there are.
    if engine.mail.is_some() && (is_new || door::may_mail(&mut tx, kind.as_str(), &key, now).await?) {
        let letter = Letter { kind, to: key, language: wish.language, origin: visitor.origin };
        let task = mails::task(engine, &letter)?;
        mail = Some((task.lane.clone(), task.run_at.0));
        tx.insert_task(task).await?;
    }
    tx.commit().await?;
    engine.store.signal().note(mail.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
    Ok(SignedUp { confirm_by: now.plus_ms(CONFIRM_MS), mail: engine.mail.is_some() })
}

/// Writes what a sign-up changes; which mail follows, and whether the account is new.
async fn enter(
    tx: &mut Tx,
    (code, key): (&str, &str),
    (hash, void): (String, Option<String>),
    now: Timestamp,
    origin: Option<IpAddr>,
) -> Result<(LetterKind, bool)> {
    let mut there = tx.account_by_email(key).await?.map(|(account, _)| account);
    if let Some(late) = there.take_if(|account| !account.confirmed && account.confirm_by() <= now) {
        // Its time is over; housekeeping has not come by yet.
        remove_late(tx, &late.id, now).await?;
    }
    match there {
        Some(account) if account.confirmed => Ok((LetterKind::Exists, false)),
        Some(account) => {
            // The link in each mail brings the password into force that was given for that mail: whoever signs up
            // somebody else's address, before or after, does not get into the account that its owner confirms. Without
            // such a link nobody can tell whose password is right: one is set by mail then, or by the operator.
            if let Some(void) = void {
                tx.set_password_of(&account.id, &void).await?;
            }
            Ok((LetterKind::Confirm { password_hash: Some(hash) }, false))
        }
        None => {
            if !tx.take_invite(code, key, now).await? {
                return Err(Refusal::field("code", "spent").into());
            }
            let invite = tx.invite(code).await?.ok_or(Refusal::field("code", "unknown"))?;
            let account = Account {
                id: AccountId::new(time_ordered(now.0, rand::random())),
                email: key.to_owned(),
                role: Role::User,
                confirmed: false,
                disabled: false,
                created_at: now,
            };
            let id = account.id.clone();
            let new = NewAccount { account, email_key: key.to_owned(), password_hash: hash.clone() };
            if !tx.insert_account(&new).await? {
                // Somebody signed the same address up in this moment; nothing is kept of this one.
                return Err(Error::Busy { retry_after: std::time::Duration::from_secs(1) });
            }
            let roots = Roots { invited_by: invite.made_by, invite_code: Some(invite.code), source: invite.source };
            tx.set_roots(&id, &roots).await?;
            // Who signs up has not shown yet that the address is theirs.
            let event = event_at(now, &somebody(None, origin), AuditAction::AccountMade);
            tx.audit(&event.to_account(&id, "")).await?;
            Ok((LetterKind::Confirm { password_hash: Some(hash) }, true))
        }
    }
}

/// The kind of a code, if somebody with this address can sign up with it now. The code that an unconfirmed account came
/// by is good for it again.
async fn check_code(engine: &Engine, code: &str, key: &str) -> Result<InviteKind> {
    let mut tx = engine.store.read().await?;
    let invite = tx.invite(code).await?.ok_or(Refusal::field("code", "unknown"))?;
    // Who is shut out lets nobody in, themselves least of all.
    if let Some(maker) = &invite.made_by
        && tx.account(maker).await?.is_some_and(|maker| maker.disabled)
    {
        return Err(Refusal::field("code", "not_allowed").into());
    }
    let Err(refusal) = invite.check(key, engine.clock.now()) else { return Ok(invite.kind) };
    let Some((account, _)) = tx.account_by_email(key).await? else { return Err(refusal.into()) };
    let came_by_it = tx.user(&account.id).await?.is_some_and(|user| user.roots.invite_code.as_deref() == Some(code));
    if came_by_it && !account.confirmed { Ok(invite.kind) } else { Err(refusal.into()) }
}

/// Sends the mail again, if the address waits to be confirmed. The visitor does not learn whether it does.
///
/// # Errors
/// If the server sends no mails, or the visitor has asked for too many.
pub async fn confirm_again(engine: &Engine, email: &str, language: Language, visitor: &Visitor) -> Result<()> {
    send_letter(engine, LetterKind::Confirm { password_hash: None }, email, language, visitor).await
}

/// Has a mail written to an address, whoever has it: that is found out when it is sent.
///
/// # Errors
/// As `confirm_again`.
pub async fn send_letter(
    engine: &Engine,
    kind: LetterKind,
    email: &str,
    language: Language,
    visitor: &Visitor,
) -> Result<()> {
    let to = wanted_email(email)?;
    if engine.mail.is_none() {
        return Err(Refusal::MailNotConfigured.into());
    }
    let now = engine.clock.now();
    door::ask_for_mail(&engine.store, visitor, now).await?;
    let mut tx = engine.store.write().await?;
    if !door::may_mail(&mut tx, kind.as_str(), &to, now).await? {
        return Ok(());
    }
    let task = mails::task(engine, &Letter { kind, to, language, origin: visitor.origin })?;
    let (lane, run_at) = (task.lane.clone(), task.run_at.0);
    tx.insert_task(task).await?;
    tx.commit().await?;
    engine.store.signal().note([(lane.as_str(), run_at)]);
    Ok(())
}

/// Follows the link of a mail: confirms an account, or gives it its new address, of which the old one is told in this
/// language. A link to confirm can be followed again until it ends, because programs that look into mails follow links too.
///
/// # Errors
/// `NotFound` if the token is not known or has ended; `taken` if somebody has the new address.
pub async fn confirm(engine: &Engine, token: &str, language: Language, origin: Option<IpAddr>) -> Result<Confirmed> {
    let unknown = || Error::NotFound("confirm_token");
    let hash = TokenHash::of(token);
    let now = engine.clock.now();
    let mut tx = engine.store.write().await?;
    let found = tx.mail_token(&hash, now).await?.ok_or_else(unknown)?;
    let event = |action| event_at(now, &somebody(Some(found.account.clone()), origin), action);
    let before = tx.account(&found.account).await?.ok_or_else(unknown)?;
    match found.purpose {
        MailPurpose::Confirm => {
            if tx.confirm_account(&found.account, found.password_hash.as_deref(), now).await? {
                tx.audit(&event(AuditAction::AccountConfirmed).to_account(&found.account, "")).await?;
            }
        }
        MailPurpose::Change => {
            if !tx.spend_mail_token(&hash).await? {
                return Err(unknown());
            }
            if !tx.set_email(&found.account, found.email.as_deref().unwrap_or_default()).await? {
                return Err(Refusal::field("email", "taken").into());
            }
            // What was sent to the old address, or asked for with it, leads nowhere any more.
            tx.drop_mail_tokens(&found.account).await?;
            tx.audit(&event(AuditAction::AccountChanged).to_account(&found.account, "email")).await?;
        }
        MailPurpose::Reset => return Err(unknown()),
    }
    let account = tx.account(&found.account).await?.ok_or_else(unknown)?;
    let mut mail = None;
    if account.email != before.email && engine.mail.is_some() {
        let letter = Letter { kind: LetterKind::Changed, to: before.email, language, origin };
        let task = mails::task(engine, &letter)?;
        mail = Some((task.lane.clone(), task.run_at.0));
        tx.insert_task(task).await?;
    }
    tx.commit().await?;
    engine.store.signal().note(mail.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
    // Following a link is a read, as requests go.
    engine.callers.forget();
    Ok(Confirmed { email: account.email })
}

/// Confirms an account without a mail, because an admin vouches for it.
///
/// # Errors
/// `Forbidden` unless the caller is an admin; `NotFound` if there is no such account.
pub async fn confirm_by_hand(engine: &Engine, caller: &Caller, email: &str) -> Result<Confirmed> {
    caller.must_be_admin()?;
    let done = force(&engine.store, engine.clock.now(), &caller.who(), email).await?;
    done.ok_or(Error::NotFound("account"))
}

/// Confirms an account; `None` if there is none with this address.
///
/// # Errors
/// If the address is none, or the database fails.
pub async fn force(store: &Store, now: Timestamp, who: &Who, email: &str) -> Result<Option<Confirmed>> {
    let key = wanted_email(email)?;
    let mut tx = store.write().await?;
    let Some((account, _)) = tx.account_by_email(&key).await? else { return Ok(None) };
    if tx.confirm_account(&account.id, None, now).await? {
        let event = event_at(now, who, AuditAction::AccountConfirmed);
        tx.audit(&event.to_account(&account.id, "")).await?;
    }
    tx.commit().await?;
    Ok(Some(Confirmed { email: account.email }))
}

/// Removes accounts that were not confirmed in time, and gives the uses of their codes back; answers how many. Safe on
/// several nodes: each account goes once.
///
/// # Errors
/// If the database fails.
pub async fn remove_unconfirmed(engine: &Engine, now: Timestamp) -> Result<u64> {
    let mut gone = 0;
    loop {
        let late = engine.store.read().await?.unconfirmed_before(now.plus_ms(-CONFIRM_MS), STEP).await?;
        for id in &late {
            let mut tx = engine.store.write().await?;
            gone += u64::from(remove_late(&mut tx, id, now).await?);
            tx.commit().await?;
        }
        if i64::try_from(late.len()).is_ok_and(|count| count < STEP) {
            return Ok(gone);
        }
    }
}

/// Removes an account that was not confirmed in time, unless it is confirmed or gone by now. Nobody does it, from nowhere.
async fn remove_late(tx: &mut Tx, id: &AccountId, now: Timestamp) -> Result<bool> {
    let gone = tx.remove_unconfirmed(id).await?;
    if gone {
        let event = event_at(now, &Who::default(), AuditAction::AccountDeleted);
        tx.audit(&event.to_account(id, "")).await?;
    }
    Ok(gone)
}

/// Has a mail written that asks whether an account's new address is its owner's.
///
/// # Errors
/// If the password is wrong or the address is none; as `confirm_again`.
pub async fn change_email(
    engine: &Engine,
    caller: &Caller,
    email: &str,
    password: String,
    language: Language,
    visitor: &Visitor,
) -> Result<()> {
    let proof = login::prove(engine, caller, ("password", password), visitor).await?;
    let kind = LetterKind::Change { account: caller.account.id.clone(), password_hash: Some(proof.into_hash()) };
    send_letter(engine, kind, email, language, visitor).await
}
