//! What pushes with an idempotency key were first answered. Whether a key is taken is decided by the insert, in the
//! transaction that records the tasks; nothing that was read before counts.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::rows::{Kind, Rows, read};
use super::{Tx, on};
use crate::domain::id::PusherId;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// SHA-256 of a key together with the account and the Pusher that it counts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(String);

impl KeyHash {
    /// The hash of a key. `holder` is the account that the push's tasks belong to.
    pub fn of(holder: &str, pusher: &PusherId, key: &IdempotencyKey) -> Self {
        // No part holds a line break: the parts cannot run into each other.
        let text = format!("{holder}\n{pusher}\n{}", key.as_str());
        Self(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The hash in hexadecimal: the place that the answer is sealed for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key about to be taken, with what its push is answered.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub hash: KeyHash,
    /// The answer, sealed for `hash`.
    pub answer: String,
    pub created_at: Timestamp,
    /// From when on the key counts as never used.
    pub expires_at: Timestamp,
}

/// What became of a push with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Its tasks are durable, and so is the answer under the key.
    Fresh,
    /// The key stands for a push before it; nothing was recorded.
    KeyTaken,
}

/// Takes over what has expired: removing it is housekeeping, and may come later.
static INSERT: Rows<4> = Rows::new(
    "INSERT INTO idempotency (hash, answer, created_at, expires_at) ",
    [Kind::Text, Kind::Text, Kind::Number, Kind::Number],
    " ON CONFLICT (hash) DO UPDATE SET answer = excluded.answer, created_at = excluded.created_at, \
     expires_at = excluded.expires_at WHERE idempotency.expires_at <= excluded.created_at RETURNING hash",
);

/// Takes those keys that are free, and says which. Waits for other nodes that are taking one of them now: the keys must
/// be in order, so that two nodes never wait for each other, and each must come once. At most `MOST_ROWS`.
pub(super) async fn take(tx: &mut Tx, keys: Vec<NewKey>) -> Result<HashSet<KeyHash>> {
    let row = |key: NewKey| [key.hash.0.into(), key.answer.into(), key.created_at.0.into(), key.expires_at.0.into()];
    let taken: Vec<(String,)> = on!(tx, conn => {
        INSERT.query::<Db>(keys.into_iter().map(row)).fetch_all(conn).await.and_then(|rows| read(&rows))
    })?;
    Ok(taken.into_iter().map(|(hash,)| KeyHash(hash)).collect())
}

impl Tx {
    /// What the push that a key stands for was answered, sealed for the hash.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn first_answer(&mut self, hash: &KeyHash, now: Timestamp) -> Result<Option<String>> {
        let found: Option<(String,)> = on!(self, conn => sqlx::query_as(
            "SELECT answer FROM idempotency WHERE hash = $1 AND expires_at > $2")
            .bind(hash.0.clone()).bind(now.0).fetch_optional(conn).await)?;
        Ok(found.map(|(answer,)| answer))
    }

    /// Removes up to `limit` keys that have expired; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_expired_keys(&mut self, now: Timestamp, limit: i64) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query(
            "DELETE FROM idempotency WHERE hash IN (SELECT hash FROM idempotency WHERE expires_at <= $1
             ORDER BY expires_at, hash LIMIT $2)")
            .bind(now.0).bind(limit).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
