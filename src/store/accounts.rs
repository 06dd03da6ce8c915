//! Accounts.

use super::rows::from_row;
use super::{Tx, on};
use crate::domain::account::{Account, Role};
use crate::domain::id::AccountId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// An account about to be made.
pub struct NewAccount {
    pub account: Account,
    /// The address in the one spelling that is compared.
    pub email_key: String,
    /// An argon2id hash in PHC form.
    pub password_hash: String,
}

struct AccountRow {
    account: Account,
    password_hash: String,
}

from_row!(AccountRow, |row| {
    let role: String = row.try_get("role")?;
    Ok(Self {
        account: Account {
            id: AccountId::new(row.try_get::<String, _>("id")?),
            email: row.try_get("email")?,
            // A role that this version does not know gives no rights.
            role: Role::parse(&role).unwrap_or(Role::User),
            confirmed: row.try_get::<Option<i64>, _>("confirmed_at")?.is_some(),
            disabled: row.try_get::<Option<i64>, _>("disabled_at")?.is_some(),
            created_at: Timestamp(row.try_get("created_at")?),
        },
        password_hash: row.try_get("password_hash")?,
    })
});

impl Tx {
    /// The account with this id.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn account(&mut self, id: &AccountId) -> Result<Option<Account>> {
        let row: Option<AccountRow> = on!(self, conn => sqlx::query_as(
            "SELECT id, email, role, confirmed_at, disabled_at, created_at, password_hash FROM account WHERE id = $1")
            .bind(id.as_str().to_owned()).fetch_optional(conn).await)?;
        Ok(row.map(|row| row.account))
    }

    /// The hash of an account's password.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn password_hash_of(&mut self, id: &AccountId) -> Result<Option<String>> {
        Ok(on!(self, conn => sqlx::query_scalar("SELECT password_hash FROM account WHERE id = $1")
            .bind(id.as_str().to_owned()).fetch_optional(conn).await)?)
    }

    /// The account with this address and its password's hash.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn account_by_email(&mut self, email_key: &str) -> Result<Option<(Account, String)>> {
        let row: Option<AccountRow> = on!(self, conn => sqlx::query_as(
            "SELECT id, email, role, confirmed_at, disabled_at, created_at, password_hash FROM account WHERE email_key = $1")
            .bind(email_key.to_owned()).fetch_optional(conn).await)?;
        Ok(row.map(|row| (row.account, row.password_hash)))
    }

    /// Adds an account; `false` if the address is taken.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_account(&mut self, new: &NewAccount) -> Result<bool> {
        let account = &new.account;
        let confirmed_at = account.confirmed.then_some(account.created_at.0);
        let disabled_at = account.disabled.then_some(account.created_at.0);
        let added = on!(self, conn => sqlx::query(
            "INSERT INTO account (id, email, email_key, password_hash, role, confirmed_at, disabled_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (email_key) DO NOTHING")
            .bind(account.id.as_str().to_owned())
            .bind(account.email.clone())
            .bind(new.email_key.clone())
            .bind(new.password_hash.clone())
            .bind(account.role.as_str())
            .bind(confirmed_at)
            .bind(disabled_at)
            .bind(account.created_at.0)
            .execute(conn).await.map(|done| done.rows_affected()))
        .map_err(Error::from)?;
        Ok(added == 1)
    }
}
