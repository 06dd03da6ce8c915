//! Invitation codes. Uses are taken and given back by conditional updates: however many ask at once, none is taken
//! twice.

use sqlx::QueryBuilder;

use super::rows::{from_row, newest_first};
use super::{Tx, on};
use crate::domain::id::AccountId;
use crate::domain::invite::{Invite, InviteKind};
use crate::domain::time::Timestamp;
use crate::error::Result;

const COLUMNS: &str =
    "SELECT code, kind, made_by, email_key, times, left_over, valid_to, source, created_at FROM invite WHERE ";

struct InviteRow(Invite);

from_row!(InviteRow, |row| {
    let kind: String = row.try_get("kind")?;
    Ok(Self(Invite {
        code: row.try_get("code")?,
        kind: InviteKind::parse(&kind)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown kind of invite {kind}").into()))?,
        made_by: row.try_get::<Option<String>, _>("made_by")?.map(AccountId::new),
        email_key: row.try_get("email_key")?,
        times: row.try_get("times")?,
        left_over: row.try_get("left_over")?,
        valid_to: row.try_get::<Option<i64>, _>("valid_to")?.map(Timestamp),
        source: row.try_get("source")?,
        created_at: Timestamp(row.try_get("created_at")?),
    }))
});

impl Tx {
    /// Adds a code.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_invite(&mut self, invite: &Invite) -> Result<()> {
        on!(self, conn => sqlx::query(
            "INSERT INTO invite (code, kind, made_by, email_key, times, left_over, valid_to, source, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(invite.code.clone())
            .bind(invite.kind.as_str())
            .bind(invite.made_by.as_ref().map(|id| id.as_str().to_owned()))
            .bind(invite.email_key.clone())
            .bind(invite.times)
            .bind(invite.left_over)
            .bind(invite.valid_to.map(|at| at.0))
            .bind(invite.source.clone())
            .bind(invite.created_at.0)
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// The code as it stands.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invite(&mut self, code: &str) -> Result<Option<Invite>> {
        let row: Option<InviteRow> = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("code = ").push_bind(code.to_owned());
            query.build_query_as().fetch_optional(conn).await
        })?;
        Ok(row.map(|row| row.0))
    }

    /// The code of the kind `auto` for an address that can still be used, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn open_auto_invite(&mut self, email_key: &str, now: Timestamp) -> Result<Option<Invite>> {
        let row: Option<InviteRow> = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("kind = 'auto' AND email_key = ").push_bind(email_key.to_owned());
            query.push(" AND left_over > 0 AND valid_to > ").push_bind(now.0);
            query.push(" ORDER BY valid_to DESC, code LIMIT 1");
            query.build_query_as().fetch_optional(conn).await
        })?;
        Ok(row.map(|row| row.0))
    }

    /// Codes, newest first: one account's, or everybody's; those older than `before`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn invites(
        &mut self,
        made_by: Option<&AccountId>,
        before: Option<&(Timestamp, String)>,
        limit: i64,
    ) -> Result<Vec<Invite>> {
        let rows: Vec<InviteRow> = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("times > 0");
            if let Some(id) = made_by {
                query.push(" AND made_by = ").push_bind(id.as_str().to_owned());
            }
            newest_first!(query, "code", before, limit);
            query.build_query_as().fetch_all(conn).await
        })?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// How many codes of an account can still be used.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn count_open_invites(&mut self, made_by: &AccountId, now: Timestamp) -> Result<i64> {
        let (count,): (i64,) = on!(self, conn => sqlx::query_as(
            "SELECT COUNT(*) FROM invite WHERE made_by = $1 AND left_over > 0 AND (valid_to IS NULL OR valid_to > $2)")
            .bind(made_by.as_str().to_owned()).bind(now.0).fetch_one(conn).await)?;
        Ok(count)
    }

    /// Takes one use of a code for an address; `false` if there is none to take.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take_invite(&mut self, code: &str, email_key: &str, now: Timestamp) -> Result<bool> {
        let taken = on!(self, conn => sqlx::query(
            "UPDATE invite SET left_over = left_over - 1 WHERE code = $1 AND left_over > 0
             AND (valid_to IS NULL OR valid_to > $2) AND (email_key IS NULL OR email_key = $3)")
            .bind(code.to_owned()).bind(now.0).bind(email_key.to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(taken == 1)
    }

    /// Gives one use back, if the code is still there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn give_invite_back(&mut self, code: &str) -> Result<()> {
        on!(self, conn => sqlx::query("UPDATE invite SET left_over = left_over + 1 WHERE code = $1 AND left_over < times")
            .bind(code.to_owned()).execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Withdraws a code, of one account or of anybody; `false` if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_invite(&mut self, code: &str, made_by: Option<&AccountId>) -> Result<bool> {
        let gone = on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new("DELETE FROM invite WHERE code = ");
            query.push_bind(code.to_owned());
            if let Some(id) = made_by {
                query.push(" AND made_by = ").push_bind(id.as_str().to_owned());
            }
            query.build().execute(conn).await.map(|done| done.rows_affected())
        })?;
        Ok(gone == 1)
    }

    /// Removes codes that ended before a time; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_ended_invites(&mut self, before: Timestamp) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query("DELETE FROM invite WHERE valid_to <= $1")
            .bind(before.0).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
