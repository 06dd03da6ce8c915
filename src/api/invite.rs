//! Invitation codes.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Empty, Reply};
use super::input::Input;
use super::origin::origin;
use super::page::{Page, PageQuery, position, time_and_key};
use crate::domain::account::email_key;
use crate::domain::invite::{Invite, InviteKind, Wish, read_code};
use crate::error::Error;
use crate::flow::{Engine, invite};

/// What is wanted of the codes.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Invitation {
    /// How many codes, 1 to 100; 1 if not given. Not for `auto`, and not together with `times`.
    pub quantity: Option<i64>,
    /// How many accounts the code is good for; 1 if not given. Only for `admin`.
    pub times: Option<i64>,
    /// The one address that may use the code; makes it one code for one account. `auto` needs it.
    #[oai(validator(max_length = 254))]
    pub limit_email: Option<String>,
    /// How many seconds the code lasts; for good if not given. Only for `admin`; a code of type `auto` lasts a day.
    pub valid_time: Option<i64>,
    /// Where the people come from who use it. Only for `admin`.
    pub source: Option<String>,
    /// The proof that a person asks, by reCAPTCHA v3. Only for `auto`, if the server asks for it.
    #[oai(validator(max_length = 4096))]
    pub recaptcha_response: Option<String>,
}

/// A code that was made.
#[derive(Debug, Object)]
pub struct NewCode {
    pub code: String,
    /// How many accounts it is good for.
    pub available_times: i64,
    /// When it ends; null for never.
    pub valid_to: Option<String>,
}

/// The codes that were made.
#[derive(Debug, Object)]
pub struct NewCodes {
    /// How many.
    pub quantity: i64,
    pub codes: Vec<NewCode>,
}

impl NewCodes {
    fn new(made: Vec<Invite>) -> Self {
        let code = |invite: Invite| NewCode {
            code: invite.code,
            available_times: invite.left_over,
            valid_to: invite.valid_to.map(|at| at.rfc3339()),
        };
        let codes: Vec<NewCode> = made.into_iter().map(code).collect();
        Self { quantity: i64::try_from(codes.len()).unwrap_or(i64::MAX), codes }
    }
}

/// A code.
#[derive(Debug, Object)]
#[oai(rename = "Invite")]
pub struct InviteView {
    pub code: String,
    #[oai(rename = "type")]
    pub kind: String,
    /// The account that made it.
    pub made_by: Option<String>,
    /// The one address that may use it.
    pub limit_email: Option<String>,
    /// How many accounts it was made for.
    pub times: i64,
    /// How many of them are left.
    pub available_times: i64,
    /// When it ends; null for never.
    pub valid_to: Option<String>,
    pub source: Option<String>,
    pub created_at: String,
}

impl InviteView {
    fn new(invite: Invite) -> Self {
        Self {
            code: invite.code,
            kind: invite.kind.as_str().to_owned(),
            made_by: invite.made_by.map(|id| id.to_string()),
            limit_email: invite.email_key,
            times: invite.times,
            available_times: invite.left_over,
            valid_to: invite.valid_to.map(|at| at.rfc3339()),
            source: invite.source,
            created_at: invite.created_at.rfc3339(),
        }
    }
}

/// The invitation operations.
pub struct InviteApi;

#[OpenApi(tag = "Tag::Account")]
impl InviteApi {
    /// Make invitation codes
    ///
    /// `auto` is for anybody, where registration is open, and makes one code for one address; `referer` is for users who
    /// invite somebody; `admin` for administrators.
    #[oai(path = "/account/invite/:which", method = "post", operation_id = "invite")]
    async fn make(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        request: &Request,
        /// The type: `auto`, `referer` or `admin`.
        which: Path<String>,
        wanted: Input<Invitation>,
    ) -> Result<Reply<NewCodes>, ApiError> {
        let Invitation { quantity, times, limit_email, valid_time, source, recaptcha_response } = wanted.0;
        let email_key = match limit_email.filter(|email| !email.is_empty()) {
            Some(email) => Some(email_key(&email).ok_or_else(|| ApiError::field("limit_email", "invalid"))?),
            None => None,
        };
        let wish = Wish { quantity, times, email_key, valid_time, source };
        let kind = InviteKind::parse(&which.0).ok_or_else(|| ApiError::field("which", "unknown"))?;
        let made = match kind {
            InviteKind::Auto => invite::auto(&engine, wish, recaptcha_response.as_deref(), origin(request)).await?,
            InviteKind::Referer | InviteKind::Admin => {
                let caller = auth.caller()?;
                invite::by_account(&engine, &caller, kind, wish).await?
            }
        };
        Ok(Reply(NewCodes::new(made)))
    }

    /// List your invitation codes, newest first
    ///
    /// Administrators see everybody's with `all`. A code stays in the list for 30 days after it ended.
    #[oai(path = "/account/invite", method = "get", operation_id = "listInvites")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Everybody's codes; only for administrators.
        all: Query<Option<bool>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<InviteView>>, ApiError> {
        let caller = auth.caller()?;
        let everybody = all.0.unwrap_or(false);
        if everybody {
            caller.must_be_admin()?;
        }
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        let before = time_and_key(&page)?;
        let made_by = (!everybody).then_some(&caller.account.id);
        let rows = engine.store.read().await?.invites(made_by, before.as_ref(), page.rows()).await?;
        let key = |invite: &Invite| position(invite.created_at, &invite.code);
        Ok(Reply(page.page(rows, key, InviteView::new)))
    }

    /// Withdraw an invitation code
    ///
    /// Nobody can use it any more. Accounts that came by it stay. Administrators withdraw anybody's.
    #[oai(path = "/account/invite/:which", method = "delete", operation_id = "withdrawInvite")]
    async fn withdraw(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The code.
        which: Path<String>,
    ) -> Result<Reply<Empty>, ApiError> {
        let caller = auth.caller()?;
        let code = read_code(&which.0).ok_or(Error::NotFound("invite"))?;
        invite::withdraw(&engine, &caller, &code).await?;
        Ok(Reply(Empty {}))
    }
}
