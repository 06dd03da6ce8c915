//! Accounts as administrators see and change them.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{Enum, Object, OpenApi};

use super::Tag;
use super::account::RemovedAccount;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use super::input::Input;
use super::page::{Page, PageQuery, position, time_and_key};
use crate::domain::account::Role;
use crate::domain::id::AccountId;
use crate::error::Error;
use crate::flow::Engine;
use crate::flow::users::{self, UserChange};
use crate::store::{UserFilter, UserRecord};

/// Most tasks a day that can be set.
pub const MOST_QUOTA: i64 = 1_000_000_000;

/// What an account may do beyond its own affairs.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename = "Role", rename_all = "snake_case")]
pub enum RoleView {
    User,
    Admin,
}

impl RoleView {
    fn role(self) -> Role {
        match self {
            Self::User => Role::User,
            Self::Admin => Role::Admin,
        }
    }
}

/// An account as administrators see it.
#[derive(Debug, Object)]
#[oai(rename = "User")]
pub struct UserView {
    pub id: String,
    pub email: String,
    /// `user` or `admin`.
    pub role: String,
    pub created_at: String,
    /// Null while its address waits to be confirmed.
    pub confirmed_at: Option<String>,
    /// Since when it is shut out; null if it is not.
    pub disabled_at: Option<String>,
    /// The account whose invitation code it came by.
    pub invited_by: Option<String>,
    /// That code.
    pub invite_code: Option<String>,
    /// What the code said of where it comes from.
    pub source: Option<String>,
    /// Tasks a day; 0 for none, null for as many as everybody's (administrators: without end).
    pub quota: Option<i64>,
}

impl UserView {
    fn new(user: UserRecord) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            role: user.role.as_str().to_owned(),
            created_at: user.created_at.rfc3339(),
            confirmed_at: user.confirmed_at.map(|at| at.rfc3339()),
            disabled_at: user.disabled_at.map(|at| at.rfc3339()),
            invited_by: user.roots.invited_by.map(|id| id.to_string()),
            invite_code: user.roots.invite_code,
            source: user.roots.source,
            quota: user.quota,
        }
    }
}

/// What to change of an account; what is not named stays.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangeUser {
    /// `user` or `admin`.
    pub role: Option<RoleView>,
    /// True shuts the account out with its API tokens, ends its sessions and revokes its waiting tasks.
    pub disabled: Option<bool>,
    /// Tasks a day; 0 for none, null for as many as everybody's (administrators: without end).
    pub quota: MaybeUndefined<i64>,
}

/// The operations of administrators on accounts.
pub struct UserApi;

#[OpenApi(tag = "Tag::Account")]
impl UserApi {
    /// List accounts, newest first
    ///
    /// Only for administrators.
    #[oai(path = "/account/user/all", method = "get", operation_id = "listUsers")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// A part of the mail address.
        email: Query<Option<String>>,
        /// Only this role.
        role: Query<Option<RoleView>>,
        /// Only those that are confirmed, or only those that are not.
        confirmed: Query<Option<bool>>,
        /// Only those that are disabled, or only those that are not.
        disabled: Query<Option<bool>>,
        /// Only those that this account invited.
        invited_by: Query<Option<String>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<UserView>>, ApiError> {
        auth.caller()?.must_be_admin()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        let filter = UserFilter {
            role: role.0.map(RoleView::role),
            confirmed: confirmed.0,
            disabled: disabled.0,
            invited_by: invited_by.0.map(AccountId::new),
            email: email.0.map(|part| part.to_lowercase()),
            before: time_and_key(&page)?.map(|(at, id)| (at, AccountId::new(id))),
        };
        if filter.email.as_ref().is_some_and(|part| part.contains('\0')) {
            return Err(ApiError::param("email", false));
        }
        let rows = engine.store.read().await?.users(&filter, page.rows()).await?;
        let key = |user: &UserRecord| position(user.created_at, &user.id);
        Ok(Reply(page.page(rows, key, UserView::new)))
    }

    /// Read an account
    ///
    /// Only for administrators.
    #[oai(path = "/account/user/:id", method = "get", operation_id = "getUser")]
    async fn get(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The account's id.
        id: Path<String>,
    ) -> Result<Reply<UserView>, ApiError> {
        auth.caller()?.must_be_admin()?;
        let user = engine.store.read().await?.user(&AccountId::new(id.0)).await?;
        Ok(Reply(UserView::new(user.ok_or(Error::NotFound("account"))?)))
    }

    /// Promote, disable or limit an account
    ///
    /// Only for administrators. The last of them cannot be demoted or disabled (`last_admin`).
    #[oai(path = "/account/user/:id", method = "patch", operation_id = "changeUser")]
    async fn change(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The account's id.
        id: Path<String>,
        change: Input<ChangeUser>,
    ) -> Result<Reply<UserView>, ApiError> {
        let caller = auth.caller()?;
        let ChangeUser { role, disabled, quota } = change.0;
        let quota = match quota {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(tasks) if (0..=MOST_QUOTA).contains(&tasks) => Some(Some(tasks)),
            MaybeUndefined::Value(_) => return Err(ApiError::field("quota", "out_of_range")),
        };
        let change = UserChange { role: role.map(RoleView::role), disabled, quota };
        let user = users::change(&engine, &caller, &AccountId::new(id.0), &change).await?;
        Ok(Reply(UserView::new(user)))
    }

    /// Delete an account
    ///
    /// Only for administrators. As if its owner deleted it.
    #[oai(path = "/account/user/:id", method = "delete", operation_id = "deleteUser")]
    async fn delete(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The account's id.
        id: Path<String>,
    ) -> Result<Reply<RemovedAccount>, ApiError> {
        let caller = auth.caller()?;
        let revoked_tasks = users::expel(&engine, &caller, &AccountId::new(id.0)).await?;
        Ok(Reply(RemovedAccount { revoked_tasks }))
    }
}
