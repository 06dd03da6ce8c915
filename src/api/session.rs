//! One's own sessions, and one's password.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::account::Address;
use super::auth::Auth;
use super::envelope::{ApiError, Empty, Reply};
use super::input::Input;
use super::messages::language;
use super::origin::{origin, visitor};
use super::page::{Page, PageQuery, position, time_and_key};
use crate::flow::{Engine, password, sessions};
use crate::store::Session;

/// A session.
#[derive(Debug, Object)]
#[oai(rename = "Session")]
pub struct SessionView {
    pub id: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// The beginning of what the program called itself that logged in.
    pub user_agent: Option<String>,
    pub created_at: String,
    /// Written once an hour at most.
    pub last_used_at: String,
    /// When it ends unless it is used.
    pub expires_at: String,
}

impl SessionView {
    fn new(session: Session, current: Option<&str>) -> Self {
        Self {
            current: current == Some(session.id.as_str()),
            id: session.id,
            user_agent: session.user_agent,
            created_at: session.created_at.rfc3339(),
            last_used_at: session.last_used_at.rfc3339(),
            expires_at: session.expires_at.rfc3339(),
        }
    }
}

/// The old password and the new one.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password as it is.
    #[oai(validator(max_length = 256))]
    pub old_password: String,
    /// The password as it is to be, 8 to 256 characters.
    #[oai(validator(max_length = 256))]
    pub password: String,
}

/// What ended with the old password.
#[derive(Debug, Object)]
pub struct PasswordChanged {
    /// How many other sessions ended.
    pub ended_sessions: u64,
}

/// A token from a mail, and the new password.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ResetPassword {
    /// From the mail; good once, for an hour.
    #[oai(validator(max_length = 128))]
    pub token: String,
    /// 8 to 256 characters.
    #[oai(validator(max_length = 256))]
    pub password: String,
}

/// The session and password operations.
pub struct SessionApi;

#[OpenApi(tag = "Tag::Account")]
impl SessionApi {
    /// List your sessions, newest first
    ///
    /// One for every login that has not ended. Tokens of other kinds are not among them.
    #[oai(path = "/account/session", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<SessionView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        let before = time_and_key(&page)?;
        let mut tx = engine.store.read().await?;
        let current = tx.session_of(&caller.token).await?;
        let rows = tx.sessions(&caller.account.id, engine.clock.now(), before.as_ref(), page.rows()).await?;
        let key = |session: &Session| position(session.created_at, &session.id);
        Ok(Reply(page.page(rows, key, |session| SessionView::new(session, current.as_deref()))))
    }

    /// End a session
    ///
    /// Its token is good for nothing from now on.
    #[oai(path = "/account/session/:id", method = "delete", operation_id = "endSession")]
    async fn end(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The session's id.
        id: Path<String>,
    ) -> Result<Reply<Empty>, ApiError> {
        let caller = auth.caller()?;
        sessions::end(&engine, &caller, &id.0).await?;
        Ok(Reply(Empty {}))
    }

    /// Change your password
    ///
    /// Ends all other sessions; API tokens stay. Needs a session, not another token.
    #[oai(path = "/account/password", method = "patch", operation_id = "changePassword")]
    async fn change_password(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        request: &Request,
        change: Input<ChangePassword>,
    ) -> Result<Reply<PasswordChanged>, ApiError> {
        let caller = auth.caller()?;
        let ChangePassword { old_password, password } = change.0;
        let ended_sessions = password::change(&engine, &caller, old_password, password, &visitor(request)).await?;
        Ok(Reply(PasswordChanged { ended_sessions }))
    }

    /// Ask for a mail to reset a password
    ///
    /// The answer is the same whether the address has an account. At most three mails an hour go to it.
    #[oai(path = "/account/password/reset", method = "post", operation_id = "askReset")]
    async fn ask_reset(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        address: Input<Address>,
    ) -> Result<Reply<Empty>, ApiError> {
        password::ask_reset(&engine, &address.0.email, language(), &visitor(request)).await?;
        Ok(Reply(Empty {}))
    }

    /// Reset a password
    ///
    /// With the token from the mail. Ends all sessions and withdraws all API tokens: somebody else may have had the
    /// password.
    #[oai(path = "/account/password/reset/confirm", method = "post", operation_id = "resetPassword")]
    async fn reset(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        reset: Input<ResetPassword>,
    ) -> Result<Reply<Empty>, ApiError> {
        password::reset(&engine, &reset.0.token, reset.0.password, origin(request)).await?;
        Ok(Reply(Empty {}))
    }
}
