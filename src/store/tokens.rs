//! Tokens: who holds one, until when. Only hashes are kept.

use sha2::{Digest, Sha256};

use super::{Tx, on};
use crate::domain::account::Account;
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// SHA-256 of a token. Tokens are 256 random bits, so a fast hash is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(String);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The hash in hexadecimal.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tx {
    /// Keeps a token.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_token(
        &mut self,
        hash: &TokenHash,
        holder: &AccountId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        on!(self, conn => sqlx::query(
            "INSERT INTO token (hash, account_id, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, $3, $4)")
            .bind(hash.0.clone()).bind(holder.as_str().to_owned()).bind(now.0).bind(expires_at.0)
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// The account that holds a session's token, when the token was last used, and when it ends or has ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn token_holder(&mut self, hash: &TokenHash) -> Result<Option<(Account, Timestamp, Timestamp)>> {
        let found: Option<(String, i64, i64)> = on!(self, conn => sqlx::query_as(
            "SELECT account_id, last_used_at, expires_at FROM token WHERE hash = $1")
            .bind(hash.0.clone()).fetch_optional(conn).await)?;
        let Some((id, last_used_at, expires_at)) = found else { return Ok(None) };
        let account = self.account(&AccountId::new(id)).await?;
        Ok(account.map(|account| (account, Timestamp(last_used_at), Timestamp(expires_at))))
    }

    /// Notes that a token was used, which moves its end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn touch_token(&mut self, hash: &TokenHash, now: Timestamp, expires_at: Timestamp) -> Result<()> {
        on!(self, conn => sqlx::query("UPDATE token SET last_used_at = $1, expires_at = $2 WHERE hash = $3")
            .bind(now.0).bind(expires_at.0).bind(hash.0.clone()).execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Removes tokens that have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_ended_tokens(&mut self, now: Timestamp) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query("DELETE FROM token WHERE expires_at <= $1")
            .bind(now.0).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
