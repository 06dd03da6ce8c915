//! Who is kept waiting at the door: whoever tries passwords, and whoever has mails sent. Of passwords each node remembers
//! for itself, in memory, and only so much; mails are counted in the database, for all nodes and over a restart.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::domain::attempts::{Attempts, Source};
use crate::domain::time::Timestamp;
use crate::error::{Error, Limit, Result};
use crate::store::{Store, Tx};

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

/// The wrong passwords that this node remembers.
#[derive(Default)]
pub struct Door {
    attempts: Mutex<Attempts>,
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
}

/// Whether another mail of a kind may go to an address now. The visitor must not learn it: it would tell who else has
/// asked.
///
/// # Errors
/// If the database fails.
pub async fn may_mail(tx: &mut Tx, kind: &str, email_key: &str, now: Timestamp) -> Result<bool> {
    // Who has asked for mails without having an account is nobody's business either.
    let whose = Sha256::digest(email_key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let taken = tx.take_in_window(&format!("m:{kind}:{whose}"), MAILS_TO_ADDRESS, HOUR_MS, now).await?;
    Ok(taken.is_none())
}

/// Lets somebody ask for a mail.
///
/// # Errors
/// `Limited` if they have asked for too many; if the database fails.
pub async fn ask_for_mail(store: &Store, visitor: &Visitor, now: Timestamp) -> Result<()> {
    let mut tx = store.write().await?;
    let key = format!("s:{}", visitor.source.as_key());
    if let Some(ms) = tx.take_in_window(&key, MAILS_BY_SOURCE, HOUR_MS, now).await? {
        return Err(limited(Limit::Rate, ms));
    }
    tx.commit().await
}

fn limited(limit: Limit, ms: i64) -> Error {
    Error::Limited { limit, retry_after: Duration::from_millis(u64::try_from(ms).unwrap_or(0)) }
}

/// Nothing that is locked here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
