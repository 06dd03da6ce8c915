//! Operations of more than one step; each owns its transaction, and none holds one while the network is used.

pub mod audit;
pub mod callers;
pub mod deliver;
pub mod door;
pub mod edit;
pub mod enroll;
mod idempotency;
pub mod invite;
pub mod known;
pub mod limits;
pub mod login;
mod mail_texts;
pub mod mails;
mod meter;
pub mod nodes;
pub mod password;
mod payload;
pub mod plan;
pub mod preview;
pub mod push;
pub mod pushers;
pub mod revoke;
pub mod sessions;
pub mod shown;
pub mod tidy;
pub mod tokens;
pub mod usage;
pub mod users;

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::account::{Account, ApiToken, Registration};
use crate::domain::id::AccountId;
use crate::domain::permission::{Action, Relation, Standing, may};
use crate::domain::retry::RetrySchedule;
use crate::domain::scope::Scopes;
use crate::domain::time::Clock;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::send::Sender;
use crate::service::Catalogue;
use crate::store::{Store, TokenHash};

/// What every operation works with.
pub struct Engine {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub catalogue: Arc<Catalogue>,
    pub sender: Sender,
    pub pushers: pushers::PusherCache,
    /// Who has used how much of what they may.
    pub limits: limits::Limits,
    pub callers: callers::CallerCache,
    pub retries: RetrySchedule,
    pub metrics: Arc<Metrics>,
    /// Most attempts under way at once.
    pub concurrency: usize,
    /// Room for the large tasks that are under way.
    pub large: Semaphore,
    /// How long a claim holds: longer than any attempt lasts, or work would be done twice.
    pub lease: Duration,
    /// Whether the workers of this node run.
    pub working: AtomicBool,
    /// Days for which finished tasks are kept.
    pub keep_finished_days: u32,
    /// Days for which the record of who did what is kept.
    pub keep_audit_days: u32,
    /// Who may sign up.
    pub registration: Registration,
    /// How the server's own mails go out; without it there are none.
    pub mail: Option<mails::OwnMail>,
    /// How people are told from machines when they get themselves a code.
    pub captcha: Option<invite::Captcha>,
    /// Who is kept waiting.
    pub door: door::Door,
    /// How others reach this server, without a slash at the end: known once it listens.
    pub base_url: OnceLock<String>,
}

impl Engine {
    /// How long a claim holds, in milliseconds.
    pub fn lease_ms(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Who makes a request, proved by a token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub account: Account,
    /// The token that proved it.
    pub token: TokenHash,
    /// What is known of it if it is an API token; `None` for a session.
    pub api_token: Option<ApiToken>,
    /// The address that the request comes from.
    pub origin: Option<IpAddr>,
}

impl Caller {
    /// For what only admins do.
    ///
    /// # Errors
    /// `Forbidden` for everybody else.
    pub fn must_be_admin(&self) -> Result<()> {
        if self.account.is_admin() { Ok(()) } else { Err(Error::Forbidden) }
    }

    /// How a caller, if any, stands to what belongs to an account.
    pub fn relation(caller: Option<&Self>, owner: Option<&AccountId>) -> Relation {
        match caller {
            None => Relation::Anonymous,
            Some(caller) if owner == Some(&caller.account.id) => Relation::Owner,
            Some(caller) if caller.account.is_admin() => Relation::Admin,
            Some(_) => Relation::Stranger,
        }
    }

    /// Whether a caller, if any, may do something with what belongs to an account. An admin may do with what is their
    /// own what the owner may and what an admin may.
    pub fn may(caller: Option<&Self>, action: Action, owner: Option<&AccountId>, standing: Standing) -> bool {
        let is_admin = caller.is_some_and(|caller| caller.account.is_admin());
        may(action, Self::relation(caller, owner), standing) || (is_admin && may(action, Relation::Admin, standing))
    }

    /// What the token lets its holder do.
    pub fn scopes(&self) -> Scopes {
        self.api_token.as_ref().map_or_else(Scopes::all, |token| token.scopes)
    }
}
