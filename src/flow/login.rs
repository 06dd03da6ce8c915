//! Passwords and tokens: who somebody is. Hashing runs apart from the async threads and a few at a time, because each
//! takes 19 MiB and some milliseconds by design.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::audit::{event_at, operator, somebody};
use super::callers::Holder;
use super::door::Visitor;
use super::password::shut_out_all;
use super::{Caller, Engine, tokens};
use crate::domain::account::{Account, Role, email_key, read_credentials};
use crate::domain::audit::{AuditAction, AuditEvent};
use crate::domain::id::{AccountId, time_ordered, unguessable};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::{AuthProblem, Error, Result};
use crate::store::{NewAccount, TokenHash, Tx};

/// A session ends when it has not been used for so long: 30 days.
const IDLE_MS: i64 = 30 * 86_400_000;
/// The last use of a session is written at most this often: 1 hour.
const TOUCH_MS: i64 = 3_600_000;
/// That of an API token, which people look at: 1 minute.
const TOUCH_API_MS: i64 = 60_000;
/// Characters that are kept of what a program calls itself.
const USER_AGENT: usize = 100;
/// Passwords that are hashed at the same time.
static HASHING: Semaphore = Semaphore::const_new(2);

/// What a login brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub is_registered: bool,
    /// The new session's token, if the password was right and nothing else is in the way.
    pub token: Option<String>,
    /// What else is in the way. Only who knows the password learns it.
    pub obstacle: Option<Obstacle>,
}

/// Why somebody gets no session although the password is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The address is not confirmed yet.
    Unconfirmed,
    /// An administrator has disabled the account.
    Disabled,
}

impl Obstacle {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Disabled => "disabled",
        }
    }

    fn of(account: &Account) -> Option<Self> {
        match (account.disabled, account.confirmed) {
            (true, _) => Some(Self::Disabled),
            (false, false) => Some(Self::Unconfirmed),
            (false, true) => None,
        }
    }
}

/// Checks an address and a password, and begins a session if they are right. Both outcomes are recorded; an address that
/// nobody has is not, because it may be a password in the wrong field.
///
/// # Errors
/// `Limited`, without looking at the password, after too many wrong ones; if the database fails.
pub async fn login(engine: &Engine, email: &str, password: &str, visitor: &Visitor) -> Result<Login> {
    let key = email_key(email);
    // What is no address is one account that nobody has.
    let counted = key.as_deref().unwrap_or_default();
    engine.door.try_password(counted, visitor, engine.clock.now())?;
    let found = match &key {
        Some(key) => engine.store.read().await?.account_by_email(key).await?,
        None => None,
    };
    let is_registered = found.is_some();
    // An unknown address costs the same time as a wrong password.
    let (account, hash) = match found {
        Some((account, hash)) => (Some(account), hash),
        None => (None, nobodys_hash().await?),
    };
    let right = verify(password.to_owned(), hash.clone()).await?;
    if right && is_registered {
        engine.door.password_right(counted, visitor, engine.clock.now());
    }
    let known = account.as_ref().map(|account| account.id.clone());
    let (token, obstacle) = match account.filter(|_| right) {
        Some(account) => begin_session(engine, account.id, &Proof(hash), visitor).await?,
        None => (None, None),
    };
    if token.is_none() {
        record_failure(engine, known.as_ref(), visitor.origin).await?;
    }
    Ok(Login { is_registered, token, obstacle })
}

async fn record_failure(engine: &Engine, account: Option<&AccountId>, origin: Option<IpAddr>) -> Result<()> {
    let event = engine.event(&somebody(None, origin), AuditAction::LoginFailed);
    let event = AuditEvent { account: account.cloned(), ..event };
    let mut tx = engine.store.write().await?;
    tx.audit(&event).await?;
    tx.commit().await
}

/// That somebody knew a password, by the hash that it was held against. It takes a while to come by; whoever acts on it
/// makes sure that the password is still the same.
#[derive(Debug, Clone)]
pub struct Proof(String);

impl Proof {
    /// Whether it still holds, which it does until the transaction ends.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn holds(&self, tx: &mut Tx, account: &AccountId) -> Result<bool> {
        tx.alone_with_account(account).await?;
        Ok(tx.password_hash_of(account).await?.as_ref() == Some(&self.0))
    }

    /// The hash.
    pub fn into_hash(self) -> String {
        self.0
    }
}

/// Has the caller, who has a session, prove that they know their password, which stands in this field.
///
/// # Errors
/// `Forbidden` without a session; `Limited` after too many wrong passwords; the field with `wrong`.
pub async fn prove(
    engine: &Engine,
    caller: &Caller,
    (field, password): (&str, String),
    visitor: &Visitor,
) -> Result<Proof> {
    let key = email_key(&caller.account.email).unwrap_or_default();
    let mut tx = engine.store.read().await?;
    if tx.session_of(&caller.token).await?.is_none() {
        return Err(Error::Forbidden);
    }
    let found = tx.account_by_email(&key).await?;
    drop(tx);
    let (_, hash) = found.ok_or(AuthProblem::Invalid)?;
    engine.door.try_password(&key, visitor, engine.clock.now())?;
    if !verify(password, hash.clone()).await? {
        return Err(Refusal::field(field, "wrong").into());
    }
    engine.door.password_right(&key, visitor, engine.clock.now());
    Ok(Proof(hash))
}

/// Makes sure, in the transaction that acts for a caller, that the token still stands and its holder still is what they
/// were when the request came: both may have ended while its body came in, or beside it.
///
/// # Errors
/// `Unauthorized` if the token or the account has ended; `Forbidden` if the role is another one.
pub async fn still(engine: &Engine, tx: &mut Tx, caller: &Caller) -> Result<()> {
    tx.alone_with_account(&caller.account.id).await?;
    let holder = holder(tx, caller.api_token.is_some(), &caller.token, engine.clock.now()).await?;
    if holder.account.role == caller.account.role { Ok(()) } else { Err(Error::Forbidden) }
}

/// The caller that a token proves, if it stands.
///
/// # Errors
/// `Unauthorized` if the token is unknown, has ended, or its account is disabled; `Limited` if the account has made too
/// many requests.
pub async fn caller(engine: &Engine, token: &str, origin: Option<IpAddr>) -> Result<Caller> {
    let hash = TokenHash::of(token);
    let now = engine.clock.now();
    let holder = match engine.callers.get(&hash, now) {
        Some(holder) => holder,
        None => Box::pin(look_up(engine, token, &hash, now)).await?,
    };
    if !holder.account.is_admin() {
        engine.limits.account(&engine.store, &holder.account.id, now).await?;
    }
    let every = if holder.token.is_some() { TOUCH_API_MS } else { TOUCH_MS };
    if holder.last_used_at.is_none_or(|last| now.0 - last.0 >= every) {
        engine.callers.touched(&hash, now);
        Box::pin(touch(engine, &holder, &hash, now)).await?;
    }
    Ok(Caller { account: holder.account.clone(), token: hash, api_token: holder.token.clone(), origin })
}

/// Records that a token was used.
async fn touch(engine: &Engine, holder: &Holder, hash: &TokenHash, now: Timestamp) -> Result<()> {
    let mut tx = engine.store.write().await?;
    match &holder.token {
        Some(token) => tx.touch_api_token(&token.id, now).await?,
        None => tx.touch_token(hash, now, now.plus_ms(IDLE_MS)).await?,
    }
    tx.commit().await
}

async fn look_up(engine: &Engine, token: &str, hash: &TokenHash, now: Timestamp) -> Result<Arc<Holder>> {
    let read_at_change = engine.callers.changes();
    let mut tx = engine.store.read().await?;
    let holder = Arc::new(holder(&mut tx, token.starts_with(tokens::PREFIX), hash, now).await?);
    engine.callers.keep(hash, &holder, read_at_change);
    Ok(holder)
}

/// Who holds an API token, or a session's, that stands.
async fn holder(tx: &mut Tx, is_api_token: bool, hash: &TokenHash, now: Timestamp) -> Result<Holder> {
    let found = if is_api_token {
        tx.api_token_holder(hash).await?.map(|(account, token)| Holder {
            account,
            last_used_at: token.last_used_at,
            expires_at: token.expires_at,
            token: Some(token),
        })
    } else {
        tx.token_holder(hash).await?.map(|(account, last_used_at, expires_at)| Holder {
            account,
            token: None,
            last_used_at: Some(last_used_at),
            expires_at: Some(expires_at),
        })
    };
    let stands = |holder: &Holder| holder.account.confirmed && !holder.account.disabled;
    let holder = found.filter(stands).ok_or(AuthProblem::Invalid)?;
    if holder.expires_at.is_some_and(|end| end <= now) {
        return Err(AuthProblem::Expired.into());
    }
    Ok(holder)
}

/// Makes an account that is confirmed from the start, for whoever has access to the machine; `None` if the address is
/// taken.
///
/// # Errors
/// If the address or the password is not acceptable, or the database fails.
pub async fn create_account(
    store: &crate::store::Store,
    now: Timestamp,
    email: &str,
    password: String,
    role: Role,
) -> Result<Option<Account>> {
    let key = read_credentials(email, &password)?;
    let account = Account {
        id: AccountId::new(time_ordered(now.0, rand::random())),
        email: email.trim().to_owned(),
        role,
        confirmed: true,
        disabled: false,
        created_at: now,
    };
    let password_hash = hash(password).await?;
    let mut tx = store.write().await?;
    let added = tx.insert_account(&NewAccount { account: account.clone(), email_key: key, password_hash }).await?;
    if added {
        let event = event_at(now, &operator(), AuditAction::AccountMade);
        tx.audit(&event.to_account(&account.id, "")).await?;
    }
    tx.commit().await?;
    Ok(added.then_some(account))
}

/// Gives an account another password, for whoever has access to the machine, and shuts out all who were let in by the old
/// one, API tokens included; `false` if the address is unknown.
///
/// # Errors
/// If the password is not acceptable, or the database fails.
pub async fn set_password(store: &crate::store::Store, now: Timestamp, email: &str, password: String) -> Result<bool> {
    let key = read_credentials(email, &password)?;
    let password_hash = hash(password).await?;
    let mut tx = store.write().await?;
    let Some((account, _)) = tx.account_by_email(&key).await? else { return Ok(false) };
    tx.alone_with_account(&account.id).await?;
    tx.set_password_of(&account.id, &password_hash).await?;
    let event = event_at(now, &operator(), AuditAction::PasswordReset);
    tx.audit(&event.to_account(&account.id, "")).await?;
    shut_out_all(&mut tx, &account.id, &operator(), now).await?;
    tx.commit().await?;
    Ok(true)
}

/// 256 random bits as text.
pub fn new_secret() -> String {
    let secret: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(secret)
}

/// Begins a session, unless something is in its way, or its holder is gone or has another password by now.
async fn begin_session(
    engine: &Engine,
    holder: AccountId,
    proof: &Proof,
    visitor: &Visitor,
) -> Result<(Option<String>, Option<Obstacle>)> {
    let token = format!("ff_{}", new_secret());
    let now = engine.clock.now();
    let agent = visitor.user_agent.as_ref();
    let agent = agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(USER_AGENT).collect::<String>());
    let hash = TokenHash::of(&token);
    let mut tx = engine.store.write().await?;
    let holds = proof.holds(&mut tx, &holder).await?;
    let Some(account) = tx.account(&holder).await?.filter(|_| holds) else { return Ok((None, None)) };
    if let Some(obstacle) = Obstacle::of(&account) {
        return Ok((None, Some(obstacle)));
    }
    tx.insert_token(&hash, &holder, now, now.plus_ms(IDLE_MS)).await?;
    tx.insert_session(&unguessable(rand::random()), &hash, agent.as_deref().filter(|text| !text.is_empty())).await?;
    tx.audit(&engine.event(&somebody(Some(holder), visitor.origin), AuditAction::Login)).await?;
    tx.commit().await?;
    Ok((Some(token), None))
}

/// A turn at hashing: few have one at a time.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'static>);

impl Turn {
    /// Waits for a turn.
    ///
    /// # Errors
    /// None in practice: nobody closes the queue.
    pub async fn wait() -> Result<Self> {
        HASHING.acquire().await.map(Self).map_err(|e| Error::Broken(e.into()))
    }

    /// Hashes a password, in this turn, which lasts until it is dropped.
    ///
    /// # Errors
    /// If hashing fails.
    pub async fn hash(&self, password: String) -> Result<String> {
        tokio::task::spawn_blocking(move || hash_now(&password)).await.map_err(|e| Error::Broken(e.into()))?
    }
}

fn hash_now(password: &str) -> Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|e| Error::Broken(anyhow::anyhow!("a password could not be hashed: {e}")))
}

/// Hashes a password, when it is its turn.
///
/// # Errors
/// If hashing fails.
pub(super) async fn hash(password: String) -> Result<String> {
    Turn::wait().await?.hash(password).await
}

async fn verify(password: String, hash: String) -> Result<bool> {
    apart(move || {
        let parsed = PasswordHash::new(&hash)
            .map_err(|e| Error::Broken(anyhow::anyhow!("a stored password hash is damaged: {e}")))?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
    })
    .await?
}

/// Whether an address has an account with this password. Takes the same time whether it has one at all.
///
/// # Errors
/// If the database fails.
pub async fn is_password_of(engine: &Engine, key: &str, password: &str) -> Result<bool> {
    let found = engine.store.read().await?.account_by_email(key).await?;
    let is_there = found.is_some();
    let hash = match found {
        Some((_, hash)) => hash,
        None => nobodys_hash().await?,
    };
    Ok(verify(password.to_owned(), hash).await? && is_there)
}

/// The hash of a password that nobody has, of the same cost as any.
///
/// # Errors
/// If hashing fails.
pub async fn nobodys_hash() -> Result<String> {
    static HASH: LazyLock<Option<String>> = LazyLock::new(|| {
        let password: [u8; 32] = rand::random();
        Argon2::default().hash_password(&password).ok().map(|hash| hash.to_string())
    });
    apart(|| HASH.clone()).await?.ok_or_else(|| Error::Broken(anyhow::anyhow!("hashing failed")))
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let _turn = Turn::wait().await?;
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Broken(e.into()))
}
