//! Operations of more than one step; each owns its transaction, and none holds one while the network is used.

pub mod deliver;
pub mod edit;
mod idempotency;
pub mod limits;
pub mod login;
pub mod nodes;
pub mod preview;
pub mod push;
pub mod pushers;
pub mod revoke;
pub mod tidy;
pub mod usage;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::account::{Account, Role};
use crate::domain::id::AccountId;
use crate::domain::permission::Relation;
use crate::domain::retry::RetrySchedule;
use crate::domain::time::Clock;
use crate::metrics::Metrics;
use crate::send::Sender;
use crate::service::Catalogue;
use crate::store::Store;

/// What every operation works with.
pub struct Engine {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub catalogue: Arc<Catalogue>,
    pub sender: Sender,
    pub pushers: pushers::PusherCache,
    /// Who has used how much of what they may.
    pub limits: limits::Limits,
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
}

/// Who makes a request, proved by a token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub account: Account,
}

impl Caller {
    /// How a caller, if any, stands to what belongs to an account.
    pub fn relation(caller: Option<&Self>, owner: Option<&AccountId>) -> Relation {
        match caller {
            None => Relation::Anonymous,
            Some(caller) if owner == Some(&caller.account.id) => Relation::Owner,
            Some(caller) if caller.account.role == Role::Admin => Relation::Admin,
            Some(_) => Relation::Stranger,
        }
    }
}
