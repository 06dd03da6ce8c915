//! The life of an account after it was made: how it came to be, its confirmation, what admins do with it.

use sqlx::QueryBuilder;

use super::rows::{from_row, newest_first};
use super::shared::containing;
use super::{Tx, on};
use crate::domain::account::Role;
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// An account with all that is kept of it but its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub id: AccountId,
    pub email: String,
    pub role: Role,
    pub confirmed_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub roots: Roots,
    /// Tasks a day, if not as many as everybody's.
    pub quota: Option<i64>,
}

/// How an account came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    pub invited_by: Option<AccountId>,
    pub invite_code: Option<String>,
    pub source: Option<String>,
}

/// Which accounts to list. All that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    pub role: Option<Role>,
    pub confirmed: Option<bool>,
    pub disabled: Option<bool>,
    pub invited_by: Option<AccountId>,
    /// A part of the address, in lower case.
    pub email: Option<String>,
    /// Only accounts older than this one.
    pub before: Option<(Timestamp, AccountId)>,
}

const COLUMNS: &str = "SELECT id, email, role, confirmed_at, disabled_at, created_at, invited_by, invite_code, source, \
    quota FROM account WHERE ";

from_row!(UserRecord, |row| {
    let role: String = row.try_get("role")?;
    let time = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(Timestamp));
    Ok(Self {
        id: AccountId::new(row.try_get::<String, _>("id")?),
        email: row.try_get("email")?,
        role: Role::parse(&role).unwrap_or(Role::User),
        confirmed_at: time("confirmed_at")?,
        disabled_at: time("disabled_at")?,
        created_at: Timestamp(row.try_get("created_at")?),
        roots: Roots {
            invited_by: row.try_get::<Option<String>, _>("invited_by")?.map(AccountId::new),
            invite_code: row.try_get("invite_code")?,
            source: row.try_get("source")?,
        },
        quota: row.try_get("quota")?,
    })
});

impl Tx {
    /// All about an account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user(&mut self, id: &AccountId) -> Result<Option<UserRecord>> {
        Ok(on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("id = ").push_bind(id.as_str().to_owned());
            query.build_query_as().fetch_optional(conn).await
        })?)
    }

    /// Accounts, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users(&mut self, filter: &UserFilter, limit: i64) -> Result<Vec<UserRecord>> {
        Ok(on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(COLUMNS);
            query.push("created_at IS NOT NULL");
            if let Some(role) = filter.role {
                query.push(" AND role = ").push_bind(role.as_str());
            }
            if let Some(confirmed) = filter.confirmed {
                query.push(if confirmed { " AND confirmed_at IS NOT NULL" } else { " AND confirmed_at IS NULL" });
            }
            if let Some(disabled) = filter.disabled {
                query.push(if disabled { " AND disabled_at IS NOT NULL" } else { " AND disabled_at IS NULL" });
            }
            if let Some(id) = &filter.invited_by {
                query.push(" AND invited_by = ").push_bind(id.as_str().to_owned());
            }
            if let Some(part) = &filter.email {
                query.push(" AND email_key LIKE ").push_bind(containing(part)).push(" ESCAPE '!'");
            }
            newest_first!(query, "id", filter.before.as_ref(), limit);
            query.build_query_as().fetch_all(conn).await
        })?)
    }

    /// Notes how an account came to be.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_roots(&mut self, id: &AccountId, roots: &Roots) -> Result<()> {
        on!(self, conn => sqlx::query("UPDATE account SET invited_by = $1, invite_code = $2, source = $3 WHERE id = $4")
            .bind(roots.invited_by.as_ref().map(|id| id.as_str().to_owned()))
            .bind(roots.invite_code.clone())
            .bind(roots.source.clone())
            .bind(id.as_str().to_owned())
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Confirms an account that waits for it, with another password if one is given; `false` if it does not wait.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn confirm_account(&mut self, id: &AccountId, hash: Option<&str>, now: Timestamp) -> Result<bool> {
        let done = on!(self, conn => sqlx::query(
            "UPDATE account SET confirmed_at = $1, password_hash = COALESCE($2, password_hash)
             WHERE id = $3 AND confirmed_at IS NULL")
            .bind(now.0).bind(hash.map(str::to_owned)).bind(id.as_str().to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Ids of accounts that were made before a time and never confirmed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unconfirmed_before(&mut self, before: Timestamp, limit: i64) -> Result<Vec<AccountId>> {
        let rows: Vec<(String,)> = on!(self, conn => sqlx::query_as(
            "SELECT id FROM account WHERE confirmed_at IS NULL AND created_at <= $1 ORDER BY created_at, id LIMIT $2")
            .bind(before.0).bind(limit).fetch_all(conn).await)?;
        Ok(rows.into_iter().map(|(id,)| AccountId::new(id)).collect())
    }

    /// Removes an account that was never confirmed, and gives the use of its code back; `false` if it is not there any
    /// more, or confirmed: then nothing was given back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_unconfirmed(&mut self, id: &AccountId) -> Result<bool> {
        let row: Option<(Option<String>,)> = on!(self, conn => sqlx::query_as(
            "DELETE FROM account WHERE id = $1 AND confirmed_at IS NULL RETURNING invite_code")
            .bind(id.as_str().to_owned()).fetch_optional(conn).await)?;
        let Some((code,)) = row else { return Ok(false) };
        if let Some(code) = code {
            self.give_invite_back(&code).await?;
        }
        Ok(true)
    }

    /// Gives an account another password.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_password_of(&mut self, id: &AccountId, hash: &str) -> Result<()> {
        on!(self, conn => sqlx::query("UPDATE account SET password_hash = $1 WHERE id = $2")
            .bind(hash.to_owned()).bind(id.as_str().to_owned()).execute(conn).await.map(drop))?;
        Ok(())
    }

    /// Gives an account another address; `false` if somebody has it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_email(&mut self, id: &AccountId, email_key: &str) -> Result<bool> {
        let done = on!(self, conn => sqlx::query(
            "UPDATE account SET email = $1, email_key = $1
             WHERE id = $2 AND NOT EXISTS (SELECT 1 FROM account WHERE email_key = $1)")
            .bind(email_key.to_owned()).bind(id.as_str().to_owned())
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// How many admins can log in.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admins(&mut self) -> Result<i64> {
        // No account has such an id.
        self.other_admins(&AccountId::new("")).await
    }

    /// How many admins can log in, besides this account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn other_admins(&mut self, id: &AccountId) -> Result<i64> {
        let (count,): (i64,) = on!(self, conn => sqlx::query_as(
            "SELECT COUNT(*) FROM account WHERE role = 'admin' AND confirmed_at IS NOT NULL AND disabled_at IS NULL
             AND id <> $1")
            .bind(id.as_str().to_owned()).fetch_one(conn).await)?;
        Ok(count)
    }

    /// Sets what only admins set.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_standing(
        &mut self,
        id: &AccountId,
        role: Role,
        disabled_at: Option<Timestamp>,
        quota: Option<i64>,
    ) -> Result<()> {
        on!(self, conn => sqlx::query("UPDATE account SET role = $1, disabled_at = $2, quota = $3 WHERE id = $4")
            .bind(role.as_str()).bind(disabled_at.map(|at| at.0)).bind(quota).bind(id.as_str().to_owned())
            .execute(conn).await.map(drop))?;
        Ok(())
    }
}
