//! API tokens: those that an account makes for its programs. Only hashes are kept.

use super::rows::from_row;
use super::{TokenHash, Tx, on};
use crate::domain::account::{Account, ApiToken};
use crate::domain::id::AccountId;
use crate::domain::scope::Scopes;
use crate::domain::time::Timestamp;
use crate::error::Result;

struct TokenRow {
    holder: String,
    token: ApiToken,
}

from_row!(TokenRow, |row| {
    let token = ApiToken {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scopes: Scopes::of_text(&row.try_get::<String, _>("scopes")?),
        created_at: Timestamp(row.try_get("created_at")?),
        last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(Timestamp),
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp),
    };
    Ok(Self { holder: row.try_get("account_id")?, token })
});

impl Tx {
    /// Keeps an API token.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_api_token(&mut self, hash: &TokenHash, holder: &AccountId, token: &ApiToken) -> Result<()> {
        on!(self, conn => sqlx::query(
            "INSERT INTO api_token (hash, id, account_id, name, scopes, created_at, last_used_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(hash.as_str().to_owned())
            .bind(token.id.clone())
            .bind(holder.as_str().to_owned())
            .bind(token.name.clone())
            .bind(token.scopes.to_text())
            .bind(token.created_at.0)
            .bind(token.last_used_at.map(|at| at.0))
            .bind(token.expires_at.map(|at| at.0))
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// The account that holds an API token, and the token, which may have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_token_holder(&mut self, hash: &TokenHash) -> Result<Option<(Account, ApiToken)>> {
        let found: Option<TokenRow> = on!(&mut *self, conn => sqlx::query_as(
            "SELECT id, account_id, name, scopes, created_at, last_used_at, expires_at FROM api_token WHERE hash = $1")
            .bind(hash.as_str().to_owned()).fetch_optional(conn).await)?;
        let Some(TokenRow { holder, token }) = found else { return Ok(None) };
        Ok(self.account(&AccountId::new(holder)).await?.map(|account| (account, token)))
    }

    /// An account's API tokens, newest first, after the one with the id `before`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn api_tokens_of(
        &mut self,
        holder: &AccountId,
        before: Option<&str>,
        limit: i64,
    ) -> Result<Vec<ApiToken>> {
        // `~` sorts behind every id.
        let rows: Vec<TokenRow> = on!(self, conn => sqlx::query_as(
            "SELECT id, account_id, name, scopes, created_at, last_used_at, expires_at FROM api_token
             WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
            .bind(holder.as_str().to_owned()).bind(before.unwrap_or("~").to_owned()).bind(limit)
            .fetch_all(conn).await)?;
        Ok(rows.into_iter().map(|row| row.token).collect())
    }

    /// Withdraws an account's API token; answers its name, or `None` if the account has no such token.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_api_token(&mut self, holder: &AccountId, id: &str) -> Result<Option<String>> {
        let gone: Option<(String,)> = on!(self, conn => sqlx::query_as(
            "DELETE FROM api_token WHERE account_id = $1 AND id = $2 RETURNING name")
            .bind(holder.as_str().to_owned()).bind(id.to_owned()).fetch_optional(conn).await)?;
        Ok(gone.map(|(name,)| name))
    }

    /// Withdraws all API tokens of an account; answers their ids and names.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_api_tokens_of(&mut self, holder: &AccountId) -> Result<Vec<(String, String)>> {
        Ok(on!(self, conn => sqlx::query_as("DELETE FROM api_token WHERE account_id = $1 RETURNING id, name")
            .bind(holder.as_str().to_owned()).fetch_all(conn).await)?)
    }

    /// Notes that an API token was used.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn touch_api_token(&mut self, id: &str, now: Timestamp) -> Result<()> {
        on!(self, conn => sqlx::query("UPDATE api_token SET last_used_at = $1 WHERE id = $2")
            .bind(now.0).bind(id.to_owned()).execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Removes API tokens that have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_ended_api_tokens(&mut self, now: Timestamp) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query("DELETE FROM api_token WHERE expires_at <= $1")
            .bind(now.0).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
