//! Accounts that go, and their tasks, which go after them in steps.

use super::rows::{Kind, MOST_ROWS, Rows};
use super::{Tx, on};
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::error::Result;

static REVOKE: Rows<1> = Rows::new(
    "WITH given (id) AS (",
    [Kind::Text],
    ") UPDATE task SET state = 'revoked', finished_at = {next} FROM given
     WHERE task.id = given.id AND task.state IN ('waiting', 'held')",
);

impl Tx {
    /// Removes an account with its Pushers, tokens and codes, and notes that its tasks are to go; `false` if it is not
    /// there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_account(&mut self, id: &AccountId, now: Timestamp) -> Result<bool> {
        let gone = on!(self, conn => sqlx::query("DELETE FROM account WHERE id = $1")
            .bind(id.as_str().to_owned()).execute(conn).await.map(|done| done.rows_affected()))?;
        if gone == 1 {
            on!(self, conn => sqlx::query(
                "INSERT INTO removed_account (id, removed_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
                .bind(id.as_str().to_owned()).bind(now.0).execute(conn).await.map(drop))?;
        }
        Ok(gone == 1)
    }

    /// Accounts that are gone, of which something may be left, and when each went.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn removed_accounts(&mut self, limit: i64) -> Result<Vec<(AccountId, Timestamp)>> {
        let rows: Vec<(String, i64)> = on!(self, conn => sqlx::query_as(
            "SELECT id, removed_at FROM removed_account ORDER BY removed_at, id LIMIT $1")
            .bind(limit).fetch_all(conn).await)?;
        Ok(rows.into_iter().map(|(id, at)| (AccountId::new(id), Timestamp(at))).collect())
    }

    /// Forgets that an account was there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_removed(&mut self, id: &AccountId) -> Result<()> {
        on!(self, conn => sqlx::query("DELETE FROM removed_account WHERE id = $1")
            .bind(id.as_str().to_owned()).execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Revokes up to `limit` of an account's tasks that wait; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revoke_some_of(&mut self, owner: &AccountId, now: Timestamp, limit: i64) -> Result<u64> {
        // These and no others: what was committed since would be locked out of order.
        let held = self.hold_waiting_of(owner, limit).await?;
        let mut revoked = 0;
        for ids in held.chunks(MOST_ROWS) {
            let rows = ids.iter().map(|id| [id.clone().into()]);
            revoked += on!(&mut *self, conn => REVOKE.query::<Db>(rows).bind(now.0)
                .execute(conn).await.map(|done| done.rows_affected()))?;
        }
        Ok(revoked)
    }

    /// Removes up to `limit` of an account's tasks that have ended; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_some_of(&mut self, owner: &AccountId, limit: i64) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query(
            "DELETE FROM task WHERE finished_at IS NOT NULL AND id IN
             (SELECT id FROM task WHERE owner = $1 AND finished_at IS NOT NULL ORDER BY id LIMIT $2)")
            .bind(owner.as_str().to_owned()).bind(limit)
            .execute(conn).await.map(|done| done.rows_affected()))?)
    }

    /// Whether any task of an account is left.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn has_tasks(&mut self, owner: &AccountId) -> Result<bool> {
        let row: Option<(String,)> = on!(self, conn => sqlx::query_as(
            "SELECT id FROM task WHERE owner = $1 ORDER BY id LIMIT 1")
            .bind(owner.as_str().to_owned()).fetch_optional(conn).await)?;
        Ok(row.is_some())
    }
}
