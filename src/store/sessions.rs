//! Sessions: the tokens that logins brought.

use super::{TokenHash, Tx, on};
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// By which its owner names it.
    pub id: String,
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Tx {
    /// Makes a session of a token that was inserted.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_session(&mut self, id: &str, token: &TokenHash, user_agent: Option<&str>) -> Result<()> {
        on!(self, conn => sqlx::query("INSERT INTO session (id, token_hash, user_agent) VALUES ($1, $2, $3)")
            .bind(id.to_owned()).bind(token.as_str().to_owned()).bind(user_agent.map(str::to_owned))
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// The id of the session that a token is; `None` if it is a token of another kind.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn session_of(&mut self, token: &TokenHash) -> Result<Option<String>> {
        let row: Option<(String,)> = on!(self, conn => sqlx::query_as("SELECT id FROM session WHERE token_hash = $1")
            .bind(token.as_str().to_owned()).fetch_optional(conn).await)?;
        Ok(row.map(|(id,)| id))
    }

    /// An account's sessions that have not ended, the newest first; those older than `before`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sessions(
        &mut self,
        holder: &AccountId,
        now: Timestamp,
        before: Option<&(Timestamp, String)>,
        limit: i64,
    ) -> Result<Vec<Session>> {
        type Row = (String, Option<String>, i64, i64, i64);
        let (at, id) = before.cloned().unwrap_or((Timestamp(i64::MAX), String::new()));
        let rows: Vec<Row> = on!(self, conn => sqlx::query_as(
            "SELECT session.id, session.user_agent, token.created_at, token.last_used_at, token.expires_at
             FROM token JOIN session ON session.token_hash = token.hash
             WHERE token.account_id = $1 AND token.expires_at > $2 AND (token.created_at, session.id) < ($3, $4)
             ORDER BY token.created_at DESC, session.id DESC LIMIT $5")
            .bind(holder.as_str().to_owned()).bind(now.0).bind(at.0).bind(id).bind(limit)
            .fetch_all(conn).await)?;
        let session = |(id, user_agent, made, used, ends): Row| Session {
            id,
            user_agent,
            created_at: Timestamp(made),
            last_used_at: Timestamp(used),
            expires_at: Timestamp(ends),
        };
        Ok(rows.into_iter().map(session).collect())
    }

    /// Ends one session of an account; `false` if it has no such.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_session(&mut self, holder: &AccountId, id: &str) -> Result<bool> {
        let ended = on!(self, conn => sqlx::query(
            "DELETE FROM token WHERE account_id = $1 AND hash IN (SELECT token_hash FROM session WHERE id = $2)")
            .bind(holder.as_str().to_owned()).bind(id.to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(ended == 1)
    }

    /// Ends all sessions of an account, but one if it is to stay; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_sessions(&mut self, holder: &AccountId, but: Option<&TokenHash>) -> Result<u64> {
        let but = but.map(|hash| hash.as_str().to_owned()).unwrap_or_default();
        Ok(on!(self, conn => sqlx::query(
            "DELETE FROM token WHERE account_id = $1 AND hash <> $2 AND hash IN (SELECT token_hash FROM session)")
            .bind(holder.as_str().to_owned()).bind(but)
            .execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
