//! Who is kept waiting at the door: whoever tries passwords, and whoever has mails sent. Each node remembers for
//! itself, in memory, and only so much.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::allowance::Allowance;
use crate::domain::attempts::{Attempts, Source};
use crate::domain::time::Timestamp;
use crate::error::{Error, Limit, Result};

const HOUR_MS: i64 = 3_600_000;
/// Mails of one kind to one address in an hour.
const MAILS_TO_ADDRESS: u32 = 3;
/// Mails that one address of the network has sent in an hour.
const MAILS_BY_SOURCE: u32 = 60;

/// Who makes a request, as far as the network tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    pub source: Source,
    /// The address, for the record.
    pub origin: Option<IpAddr>,
    /// What the program calls itself.
    pub user_agent: Option<String>,
}

impl Visitor {
    /// Somebody who comes from an address, if it is known.
    pub fn new(address: Option<IpAddr>, user_agent: Option<String>) -> Self {
        let bits = address.map(|address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        });
        Self { source: Source::of_bits(bits), origin: address, user_agent }
    }
}

/// What this node remembers.
pub struct Door {
    attempts: Mutex<Attempts>,
    /// By kind of mail and address.
    recipients: Mutex<Allowance<(&'static str, String)>>,
    askers: Mutex<Allowance<Source>>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            attempts: Mutex::default(),
            recipients: Mutex::new(Allowance::new(MAILS_TO_ADDRESS, HOUR_MS)),
            askers: Mutex::new(Allowance::new(MAILS_BY_SOURCE, HOUR_MS)),
        }
    }
}

impl Door {
    /// Lets somebody try the password of an account; before it is looked at.
    ///
    /// # Errors
    /// `Limited` if they have to wait.
    pub fn try_password(&self, email_key: &str, visitor: &Visitor, now: Timestamp) -> Result<()> {
        let begun = lock(&self.attempts).begin(email_key, visitor.source, now);
        begun.map_err(|ms| limited(Limit::Attempts, ms))
    }

    /// The password was right.
    pub fn password_right(&self, email_key: &str, visitor: &Visitor, now: Timestamp) {
        lock(&self.attempts).succeeded(email_key, visitor.source, now);
    }

    /// Whether another mail of a kind may go to an address now. The visitor must not learn it: it would tell who else
    /// has asked.
    pub fn may_mail(&self, kind: &'static str, email_key: &str, now: Timestamp) -> bool {
        lock(&self.recipients).take((kind, email_key.to_owned()), now).is_ok()
    }

    /// Lets somebody ask for a mail.
    ///
    /// # Errors
    /// `Limited` if they have asked for too many.
    pub fn ask_for_mail(&self, visitor: &Visitor, now: Timestamp) -> Result<()> {
        let asked = lock(&self.askers).take(visitor.source, now);
        asked.map_err(|ms| limited(Limit::Rate, ms))
    }
}

fn limited(limit: Limit, ms: i64) -> Error {
    Error::Limited { limit, retry_after: Duration::from_millis(u64::try_from(ms).unwrap_or(0)) }
}

/// Nothing that is locked here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
