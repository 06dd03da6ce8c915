//! The record of who did what: an account's own, and everybody's for admins.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use super::page::{Page, PageQuery};
use super::times::time;
use crate::domain::account::Role;
use crate::domain::audit::{AuditAction, AuditEvent};
use crate::domain::id::{AccountId, PushId};
use crate::error::Error;
use crate::flow::{Caller, Engine};
use crate::store::AuditFilter;

/// Something that was done.
#[derive(Debug, Object)]
#[oai(rename = "AuditEvent")]
pub struct AuditView {
    pub id: String,
    pub at: String,
    /// What was done: `login`, `login_failed`, `token_made`, `pusher_shared`, `pusher_deleted` and so on.
    pub action: String,
    /// The account that did it; null if nobody is known, as for a login that failed.
    pub actor_id: Option<String>,
    /// The account whose affairs it concerns.
    pub account_id: Option<String>,
    /// The API token that it was done with; null for a session.
    pub token_id: Option<String>,
    /// The address that it came from, `cli` for the command line on the server; null if it is somebody else's and not
    /// yours to know.
    pub origin: Option<String>,
    /// The id of what it was done to.
    pub target: Option<String>,
    /// What that was called then; of an account that was changed what was changed, as `email`, `role=admin`, `quota=5`.
    pub name: Option<String>,
}

impl AuditView {
    fn new(event: AuditEvent, caller: &Caller) -> Self {
        // Where an admin sits when they look after somebody's affairs is the admin's business.
        let is_admin = caller.account.role == Role::Admin;
        let others = event.actor.as_ref().is_some_and(|actor| *actor != caller.account.id);
        let may_know = is_admin || !others;
        Self {
            id: event.id,
            at: event.at.rfc3339(),
            action: event.action,
            actor_id: event.actor.map(AccountId::into_string),
            account_id: event.account.map(AccountId::into_string),
            token_id: event.token.filter(|_| may_know),
            origin: event.origin.filter(|_| may_know),
            target: event.target,
            name: event.name,
        }
    }
}

/// The audit operations.
pub struct AuditApi;

#[OpenApi(tag = "Tag::Account")]
impl AuditApi {
    /// List what was done, newest first
    ///
    /// An admin sees everything; anybody else what they did, and what was done in their affairs. All that is given must
    /// hold.
    #[oai(path = "/audit", method = "get", operation_id = "listAudit")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Only what this account did, or what was done in its affairs; somebody else's is for admins.
        account: Query<Option<String>>,
        /// Only this action.
        action: Query<Option<String>>,
        /// Only at this time or later, RFC 3339.
        since: Query<Option<String>>,
        /// Only before this time, RFC 3339.
        until: Query<Option<String>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<AuditView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        if page.after.as_ref().is_some_and(|id| id.len() != PushId::LEN) {
            return Err(ApiError::cursor_invalid());
        }
        let action = match action.0.as_deref() {
            Some(word) => Some(AuditAction::parse(word).ok_or_else(|| ApiError::field("action", "unknown"))?),
            None => None,
        };
        let filter = AuditFilter {
            account: concerning(&caller, account.0)?,
            action,
            since: time("since", since.0.as_deref())?,
            until: time("until", until.0.as_deref())?,
            before: page.after.clone(),
        };
        let events = engine.store.read().await?.audit_events(&filter, page.rows()).await?;
        Ok(Reply(page.page(events, |event| event.id.clone(), |event| AuditView::new(event, &caller))))
    }
}

/// Whose part of the record to show.
fn concerning(caller: &Caller, asked: Option<String>) -> Result<Option<AccountId>, ApiError> {
    let asked = asked.map(AccountId::new);
    match caller.account.role {
        Role::Admin => Ok(asked),
        Role::User if asked.as_ref().is_none_or(|asked| *asked == caller.account.id) => {
            Ok(Some(caller.account.id.clone()))
        }
        Role::User => Err(Error::Forbidden.into()),
    }
}
