//! Making invitation codes.

use std::net::IpAddr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::audit::{event_at, operator, somebody};
use super::login::still;
use super::{Caller, Engine};
use crate::domain::account::Registration;
use crate::domain::audit::{AuditAction, Who};
use crate::domain::captcha::{Verdict, Wanted, judge};
use crate::domain::delivery::Request;
use crate::domain::invite::{Batch, Invite, InviteKind, MOST_OPEN, Wish, new_code};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{Store, Tx};

/// How people are told from machines where anybody may get a code.
#[derive(Clone)]
pub struct Captcha {
    /// The site's secret at the verifier.
    pub secret: String,
    /// Where proofs are verified.
    pub verify_url: String,
    pub wanted: Wanted,
}

/// Makes a code for anybody's own address, or answers the one that was made before.
///
/// # Errors
/// If registration is not open, the wish is not acceptable, or the proof that a person asks does not convince.
pub async fn auto(engine: &Engine, wish: Wish, proof: Option<&str>, origin: Option<IpAddr>) -> Result<Vec<Invite>> {
    match engine.registration {
        Registration::Closed => return Err(Refusal::RegistrationClosed.into()),
        Registration::Invite => return Err(Refusal::RegistrationNotOpen.into()),
        Registration::Open => {}
    }
    let now = engine.clock.now();
    let batch = wish.grant(InviteKind::Auto, now)?;
    if let Some(captcha) = &engine.captcha {
        verify(engine, captcha, proof).await?;
    }
    let mut tx = engine.store.write().await?;
    let key = batch.email_key.clone().unwrap_or_default();
    let codes = match tx.open_auto_invite(&key, now).await? {
        Some(invite) => vec![invite],
        None => add(&mut tx, InviteKind::Auto, &somebody(None, origin), &batch, now).await?,
    };
    tx.commit().await?;
    Ok(codes)
}

/// Makes codes in the name of a user or an admin.
///
/// # Errors
/// If nobody may sign up, the caller may not make such codes, or the wish is not acceptable.
pub async fn by_account(engine: &Engine, caller: &Caller, kind: InviteKind, wish: Wish) -> Result<Vec<Invite>> {
    if kind == InviteKind::Admin {
        caller.must_be_admin()?;
    }
    if engine.registration == Registration::Closed {
        return Err(Refusal::RegistrationClosed.into());
    }
    let now = engine.clock.now();
    let batch = wish.grant(kind, now)?;
    let account = &caller.account;
    let mut tx = engine.store.write().await?;
    still(engine, &mut tx, caller).await?;
    if !account.is_admin() {
        let open = tx.count_open_invites(&account.id, now).await?;
        if open + i64::from(batch.quantity) > MOST_OPEN {
            return Err(Refusal::field("quantity", "too_many_open").into());
        }
    }
    let codes = add(&mut tx, kind, &caller.who(), &batch, now).await?;
    tx.commit().await?;
    Ok(codes)
}

/// Makes codes in nobody's name, for whoever has access to the machine.
///
/// # Errors
/// If the wish is not acceptable, or the database fails.
pub async fn by_operator(store: &Store, now: Timestamp, wish: Wish) -> Result<Vec<Invite>> {
    let batch = wish.grant(InviteKind::Admin, now)?;
    let mut tx = store.write().await?;
    let codes = add(&mut tx, InviteKind::Admin, &operator(), &batch, now).await?;
    tx.commit().await?;
    Ok(codes)
}

/// Withdraws a code: the caller's own, or for an admin anybody's.
///
/// # Errors
/// `NotFound` if there is none that the caller may withdraw.
pub async fn withdraw(engine: &Engine, caller: &Caller, code: &str) -> Result<()> {
    let unknown = || Error::NotFound("invite");
    let own = (!caller.account.is_admin()).then_some(&caller.account.id);
    let mut tx = engine.store.write().await?;
    still(engine, &mut tx, caller).await?;
    let invite = tx.invite(code).await?.ok_or_else(unknown)?;
    if !tx.delete_invite(code, own).await? {
        return Err(unknown());
    }
    let event = engine.event(&caller.who(), AuditAction::InviteWithdrawn).to(recognisable(code), invite.kind.as_str());
    tx.audit(&event.concerning(invite.made_by.as_ref().unwrap_or(&caller.account.id))).await?;
    tx.commit().await
}

/// So much of a code that it is known again, and too little to sign up with.
fn recognisable(code: &str) -> &str {
    code.get(..4).unwrap_or_default()
}

async fn add(tx: &mut Tx, kind: InviteKind, who: &Who, batch: &Batch, now: Timestamp) -> Result<Vec<Invite>> {
    let mut made = Vec::new();
    for _ in 0..batch.quantity {
        let invite = Invite {
            code: new_code(rand::random()),
            kind,
            made_by: who.account.clone(),
            email_key: batch.email_key.clone(),
            times: batch.times.into(),
            left_over: batch.times.into(),
            valid_to: batch.valid_to,
            source: batch.source.clone(),
            created_at: now,
        };
        tx.insert_invite(&invite).await?;
        let event = event_at(now, who, AuditAction::InviteMade).to(recognisable(&invite.code), kind.as_str());
        tx.audit(&event).await?;
        made.push(invite);
    }
    Ok(made)
}

/// Has a proof verified. If the verifier cannot be asked, nobody gets in.
async fn verify(engine: &Engine, captcha: &Captcha, proof: Option<&str>) -> Result<()> {
    let field = |reason| Refusal::field("recaptcha_response", reason);
    let proof = proof.filter(|proof| !proof.is_empty()).ok_or_else(|| field("missing"))?;
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let body = format!("secret={}&response={}", encoded(captcha.secret.as_str()), encoded(proof));
    let request = Request {
        method: "POST".to_owned(),
        url: captcha.verify_url.clone(),
        headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
        body: body.into_bytes(),
    };
    let busy = || Error::Busy { retry_after: std::time::Duration::from_secs(10) };
    let answer = engine.sender.ask_operators(request).await.map_err(|failure| {
        tracing::warn!(code = failure.code, "the reCAPTCHA verifier could not be asked: {}", failure.message);
        busy()
    })?;
    match judge(&answer.body, &captcha.wanted) {
        Verdict::Person => Ok(()),
        Verdict::Doubtful => Err(field("not_a_person").into()),
        Verdict::Unusable => {
            tracing::error!(
                status = answer.status,
                "the reCAPTCHA verifier does not take recaptcha.secret, or is none"
            );
            Err(busy())
        }
    }
}
