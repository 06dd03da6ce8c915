//! The mails of the server itself. Each is a task in the queue like any delivery, so it survives a crash and is tried
//! again; it belongs to the server, and no account sees it. The task says who asked for what; who has the address, and
//! the token in the link, are settled when it is sent: so asking costs and tells the same whoever has an account, and
//! no token lies in the queue.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::audit::somebody;
use super::login::new_secret;
use super::mail_texts::{self, Text};
use crate::domain::account::MailPurpose;
use crate::domain::agenda::lane;
use crate::domain::audit::AuditAction;
use crate::domain::delivery::{Mail, Outgoing, Relay};
use crate::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use crate::domain::language::Language;
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{Claimed, Column, MailToken, NewTask, TokenHash, Tx};

/// The name under which these tasks run; no Service can have it.
pub const SERVICE: &str = "@mail";
/// Whom these tasks belong to; no account can have this id.
pub const HOLDER: &str = "@server";
/// How long a link is good for that changes something.
const LINK_MS: i64 = 3_600_000;

/// How this server's own mails go out.
#[derive(Clone)]
pub struct OwnMail {
    pub relay: Relay,
    /// `name <user@host>` or `user@host`.
    pub from: String,
}

/// A mail that is to be written; also the format on disk, so fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub kind: LetterKind,
    /// The address, as accounts are compared.
    pub to: String,
    pub language: Language,
    /// The address that it was asked for from.
    #[serde(default)]
    pub origin: Option<IpAddr>,
}

/// What a mail is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LetterKind {
    /// Somebody signed up with this address, and gave this password.
    Confirm { password_hash: Option<String> },
    /// Somebody signed up with this address, which has an account.
    Exists,
    /// Somebody has forgotten their password.
    Reset,
    /// An account is to have this address; asked for with the password of this hash, and void with another one.
    Change {
        account: AccountId,
        #[serde(default)]
        password_hash: Option<String>,
    },
    /// The account that had this address has another one now.
    Changed,
}

/// What came of writing a letter.
pub enum Written {
    /// It is to go out.
    Mail(Outgoing),
    /// There is nobody to send it to, or no need any more.
    Nobody,
    /// The server has no relay.
    NoRelay,
}

impl LetterKind {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Confirm { .. } => "confirm",
            Self::Exists => "exists",
            Self::Reset => "reset",
            Self::Change { .. } => "change",
            Self::Changed => "changed",
        }
    }
}

/// The task that sends a letter.
///
/// # Errors
/// `MailNotConfigured` without a relay.
pub fn task(engine: &Engine, letter: &Letter) -> Result<NewTask> {
    let Some(own) = &engine.mail else { return Err(crate::domain::refusal::Refusal::MailNotConfigured.into()) };
    let now = engine.clock.now();
    let push = PushId::new(time_ordered(now.0, rand::random()));
    let id = TaskId::of(&push, 0);
    let text = serde_json::to_string(letter).map_err(|e| Error::Broken(e.into()))?;
    Ok(NewTask {
        owner: AccountId::new(HOLDER),
        pusher_id: PusherId::new(SERVICE),
        service: SERVICE.to_owned(),
        name: Some(letter.kind.as_str().to_owned()),
        fallback: false,
        state: TaskState::Waiting,
        lane: lane(HOLDER, &format!("{}:{}", own.relay.host, own.relay.port)),
        run_at: now,
        payload: engine.store.sealer().seal(Column::Payload, id.as_str(), &text),
        created_at: now,
        id,
    })
}

/// Writes the letter of a claimed task.
///
/// # Errors
/// If the task cannot be opened, or the database fails.
pub async fn write(engine: &Engine, task: &Claimed) -> Result<Written> {
    let text = engine.store.sealer().open(task.id.as_str(), &task.payload).map_err(|e| Error::Broken(e.into()))?;
    let letter: Letter = serde_json::from_str(&text).map_err(|e| Error::Broken(e.into()))?;
    let Some(own) = &engine.mail else { return Ok(Written::NoRelay) };
    let now = engine.clock.now();
    let mut tx = engine.store.write().await?;
    let Some(token) = token_for(&mut tx, &letter, now).await? else { return Ok(Written::Nobody) };
    let secret = match &token {
        Some(token) => {
            let secret = new_secret();
            tx.insert_mail_token(&TokenHash::of(&secret), token).await?;
            // Only here is it known that the address is somebody's. A mail that is sent again was asked for once.
            if token.purpose == MailPurpose::Reset && task.attempt == 1 {
                let event = engine.event(&somebody(None, letter.origin), AuditAction::PasswordResetAsked);
                tx.audit(&event.concerning(&token.account)).await?;
            }
            secret
        }
        None => String::new(),
    };
    tx.commit().await?;
    let base = engine.base_url.get().map_or("", String::as_str);
    let Text { subject, text, html } = mail_texts::text(&letter, base, &secret);
    let domain = own.from.trim_end_matches('>').rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    Ok(Written::Mail(Outgoing::Mail(Box::new(Mail {
        relay: own.relay.clone(),
        from: own.from.clone(),
        to: vec![letter.to],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: None,
        subject,
        text,
        html: Some(html),
        message_id: format!("{}@{domain}", task.id),
        reached: Vec::new(),
    }))))
}

/// The token that goes with a letter; `Some(None)` for a letter without one, `None` if it is not to be sent.
async fn token_for(tx: &mut Tx, letter: &Letter, now: Timestamp) -> Result<Option<Option<MailToken>>> {
    let token = |account, purpose, expires_at| MailToken {
        account,
        purpose,
        email: None,
        password_hash: None,
        created_at: now,
        expires_at,
    };
    if letter.kind == LetterKind::Changed {
        // Whoever may have the address now.
        return Ok(Some(None));
    }
    if let LetterKind::Change { account, password_hash } = &letter.kind {
        tx.alone_with_account(account).await?;
        if password_hash.is_some() && tx.password_hash_of(account).await? != *password_hash {
            return Ok(None);
        }
        // Whether the address is free is settled when the link is followed.
        let there = tx.account(account).await?.filter(|account| !account.disabled);
        let change = |_| MailToken {
            email: Some(letter.to.clone()),
            ..token(account.clone(), MailPurpose::Change, now.plus_ms(LINK_MS))
        };
        return Ok(there.map(change).map(Some));
    }
    let Some((account, _)) = tx.account_by_email(&letter.to).await?.filter(|(account, _)| !account.disabled) else {
        return Ok(None);
    };
    Ok(match &letter.kind {
        LetterKind::Confirm { .. } if account.confirmed || account.confirm_by() <= now => None,
        LetterKind::Confirm { password_hash } => Some(Some(MailToken {
            password_hash: password_hash.clone(),
            ..token(account.id.clone(), MailPurpose::Confirm, account.confirm_by())
        })),
        LetterKind::Exists | LetterKind::Changed => Some(None),
        LetterKind::Reset | LetterKind::Change { .. } => {
            Some(Some(token(account.id, MailPurpose::Reset, now.plus_ms(LINK_MS))))
        }
    })
}
