//! What the server's own mails need: the tasks that send them, and what the links in them prove.

use super::{TokenHash, Tx, on};
use crate::domain::account::MailPurpose;
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// What a link proves, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailToken {
    pub account: AccountId,
    pub purpose: MailPurpose,
    /// The new address, for `Change`.
    pub email: Option<String>,
    /// The password that comes into force, for `Confirm`.
    pub password_hash: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Tokens of one purpose that an account has at a time.
const MOST_TOKENS: i64 = 5;

impl Tx {
    /// Keeps a token that goes out in a mail, in place of the oldest if there are many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_mail_token(&mut self, hash: &TokenHash, token: &MailToken) -> Result<()> {
        on!(self, conn => sqlx::query(
            "DELETE FROM mail_token WHERE hash IN (SELECT hash FROM mail_token WHERE account_id = $1 AND purpose = $2
             ORDER BY created_at DESC, hash LIMIT 1000 OFFSET $3)")
            .bind(token.account.as_str().to_owned()).bind(token.purpose.as_str()).bind(MOST_TOKENS - 1)
            .execute(conn).await.map(drop))?;
        on!(self, conn => sqlx::query(
            "INSERT INTO mail_token (hash, account_id, purpose, email, password_hash, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(hash.as_str().to_owned())
            .bind(token.account.as_str().to_owned())
            .bind(token.purpose.as_str())
            .bind(token.email.clone())
            .bind(token.password_hash.clone())
            .bind(token.created_at.0)
            .bind(token.expires_at.0)
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// What a token proves, if it has not ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn mail_token(&mut self, hash: &TokenHash, now: Timestamp) -> Result<Option<MailToken>> {
        type Row = (String, String, Option<String>, Option<String>, i64, i64);
        let row: Option<Row> = on!(self, conn => sqlx::query_as(
            "SELECT account_id, purpose, email, password_hash, created_at, expires_at FROM mail_token
             WHERE hash = $1 AND expires_at > $2")
            .bind(hash.as_str().to_owned()).bind(now.0).fetch_optional(conn).await)?;
        Ok(row.and_then(|(account, purpose, email, password_hash, created_at, expires_at)| {
            Some(MailToken {
                account: AccountId::new(account),
                purpose: MailPurpose::parse(&purpose)?,
                email,
                password_hash,
                created_at: Timestamp(created_at),
                expires_at: Timestamp(expires_at),
            })
        }))
    }

    /// Uses a token up; `false` if somebody else was first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn spend_mail_token(&mut self, hash: &TokenHash) -> Result<bool> {
        let spent = on!(self, conn => sqlx::query("DELETE FROM mail_token WHERE hash = $1")
            .bind(hash.as_str().to_owned()).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(spent == 1)
    }

    /// Makes every token worthless that was sent to an account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn drop_mail_tokens(&mut self, account: &AccountId) -> Result<()> {
        on!(self, conn => sqlx::query("DELETE FROM mail_token WHERE account_id = $1")
            .bind(account.as_str().to_owned()).execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Removes tokens that have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_ended_mail_tokens(&mut self, now: Timestamp) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query("DELETE FROM mail_token WHERE expires_at <= $1")
            .bind(now.0).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
