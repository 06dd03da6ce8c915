//! The record of who did what: written with the change itself, read by admins and by whom it concerns, removed when old.

use sqlx::QueryBuilder;

use super::rows::from_row;
use super::{Tx, on};
use crate::domain::audit::{AuditAction, AuditEvent};
use crate::domain::id::{AccountId, time_ordered};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Which events to list. All that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Done by this account, or in its affairs.
    pub account: Option<AccountId>,
    pub action: Option<AuditAction>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Only events older than the one with this id.
    pub before: Option<String>,
}

from_row!(AuditEvent, |row| {
    let account = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<String>, _>(name)?.map(AccountId::new));
    Ok(Self {
        id: row.try_get("id")?,
        at: Timestamp(row.try_get("at")?),
        action: row.try_get("action")?,
        actor: account("actor")?,
        token: row.try_get("token")?,
        origin: row.try_get("origin")?,
        account: account("account_id")?,
        target: row.try_get("target")?,
        name: row.try_get("name")?,
    })
});

impl Tx {
    /// Writes down what is done in this transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit(&mut self, event: &AuditEvent) -> Result<()> {
        let text = |id: &Option<AccountId>| id.as_ref().map(|id| id.as_str().to_owned());
        on!(self, conn => sqlx::query(
            "INSERT INTO audit (id, at, action, actor, token, origin, account_id, target, name)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(event.id.clone())
            .bind(event.at.0)
            .bind(event.action.clone())
            .bind(text(&event.actor))
            .bind(event.token.clone())
            .bind(event.origin.clone())
            .bind(text(&event.account))
            .bind(event.target.clone())
            .bind(event.name.clone())
            .execute(conn).await.map(drop))?;
        Ok(())
    }

    /// What was done, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_events(&mut self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditEvent>> {
        Ok(on!(self, conn => {
            let mut query = QueryBuilder::<Db>::new(
                "SELECT id, at, action, actor, token, origin, account_id, target, name FROM audit WHERE id >= ");
            query.push_bind(filter.since.map(|at| time_ordered(at.0, 0)).unwrap_or_default());
            if let Some(until) = filter.until {
                query.push(" AND id < ").push_bind(time_ordered(until.0, 0));
            }
            if let Some(before) = &filter.before {
                query.push(" AND id < ").push_bind(before.clone());
            }
            if let Some(account) = &filter.account {
                query.push(" AND (account_id = ").push_bind(account.as_str().to_owned());
                query.push(" OR actor = ").push_bind(account.as_str().to_owned()).push(")");
            }
            if let Some(action) = filter.action {
                query.push(" AND action = ").push_bind(action.as_str());
            }
            query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
            query.build_query_as().fetch_all(conn).await
        })?)
    }

    /// Removes up to `limit` events from before a time; answers how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_audit_events(&mut self, before: Timestamp, limit: i64) -> Result<u64> {
        Ok(on!(self, conn => sqlx::query(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2)")
            .bind(time_ordered(before.0, 0)).bind(limit).execute(conn).await.map(|done| done.rows_affected()))?)
    }
}
