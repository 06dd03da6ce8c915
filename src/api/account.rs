//! Signing up, logging in and out, and one's own account.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Empty, Reply};
use super::input::Input;
use super::messages::language;
use super::origin::{origin, visitor};
use crate::error::Error;
use crate::flow::login::{self, Login};
use crate::flow::{Engine, enroll, sessions, users};
use crate::store::UserRecord;

/// The word in place of a token with which an admin confirms.
const FORCE: &str = "force";

/// An address and a password.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Credentials {
    #[oai(validator(max_length = 254))]
    pub email: String,
    #[oai(validator(max_length = 256))]
    pub password: String,
}

/// What a login brought.
#[derive(Debug, Object)]
#[oai(rename = "Login")]
pub struct LoginView {
    /// Whether there is a session now.
    #[oai(rename = "isLogin")]
    pub is_login: bool,
    /// Whether there is an account with this address.
    #[oai(rename = "isRegistered")]
    pub is_registered: bool,
    /// The session's token; only if there is one.
    #[oai(skip_serializing_if_is_none)]
    pub token: Option<String>,
    /// Why there is none although the password is right: `unconfirmed`, as long as the link in the mail has not been
    /// followed, or `disabled`. Otherwise left out.
    #[oai(skip_serializing_if_is_none)]
    pub obstacle: Option<String>,
}

/// What to sign up with.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct SignUp {
    /// The invitation code, in any case, with or without dashes.
    #[oai(validator(max_length = 64))]
    pub code: String,
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// 8 to 256 characters.
    #[oai(validator(max_length = 256))]
    pub password: String,
}

/// What signing up brought.
#[derive(Debug, Object)]
pub struct SignedUp {
    /// Until when the account waits to be confirmed; then it is removed.
    pub confirm_by: String,
    /// Whether a mail with a link is on its way. If not, an administrator must confirm.
    pub mail: bool,
}

/// A mail address.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Address {
    #[oai(validator(max_length = 254))]
    pub email: String,
}

/// An address that was proved.
#[derive(Debug, Object)]
pub struct Confirmed {
    pub email: String,
}

/// An account as its owner sees it.
#[derive(Debug, Object)]
#[oai(rename = "Account")]
pub struct AccountView {
    pub id: String,
    pub email: String,
    /// `user` or `admin`.
    pub role: String,
    pub created_at: String,
    pub confirmed_at: Option<String>,
    /// Tasks a day, if not as many as everybody's; 0 for none.
    pub quota: Option<i64>,
}

impl AccountView {
    fn new(user: UserRecord) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            role: user.role.as_str().to_owned(),
            created_at: user.created_at.rfc3339(),
            confirmed_at: user.confirmed_at.map(|at| at.rfc3339()),
            quota: user.quota,
        }
    }
}

/// What to change of one's account.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangeAccount {
    /// The new address; it comes into force when the link in the mail that goes there is followed.
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// The password.
    #[oai(validator(max_length = 256))]
    pub password: String,
}

/// The password, to be sure.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct Proof {
    #[oai(validator(max_length = 256))]
    pub password: String,
}

/// What went with an account.
#[derive(Debug, Object)]
pub struct RemovedAccount {
    /// How many waiting tasks were revoked.
    pub revoked_tasks: u64,
}

/// The account operations.
pub struct AccountApi;

#[OpenApi(tag = "Tag::Account")]
impl AccountApi {
    /// Log in
    ///
    /// The token goes into `Authorization: Bearer`; the session ends after 30 days without use. A wrong password is a
    /// successful answer with `isLogin` false. After several, further attempts have to wait (`too_many_attempts`).
    #[oai(path = "/account/user/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        credentials: Input<Credentials>,
    ) -> Result<Reply<LoginView>, ApiError> {
        let Credentials { email, password } = credentials.0;
        let login = login::login(&engine, &email, &password, &visitor(request)).await?;
        let Login { is_registered, token, obstacle } = login;
        let obstacle = obstacle.map(|obstacle| obstacle.as_str().to_owned());
        Ok(Reply(LoginView { is_login: token.is_some(), is_registered, token, obstacle }))
    }

    /// Log out
    ///
    /// Ends the session whose token is sent.
    #[oai(path = "/account/user/logout", method = "post", operation_id = "logout")]
    async fn logout(&self, engine: Data<&Arc<Engine>>, auth: Auth) -> Result<Reply<Empty>, ApiError> {
        let caller = auth.caller()?;
        sessions::log_out(&engine, &caller).await?;
        Ok(Reply(Empty {}))
    }

    /// Sign up with an invitation code
    ///
    /// Sends a mail with a link that confirms the address. An account that is not confirmed within 24 hours is removed,
    /// and its code can be used again. An address that has an account already gets the same answer, and a mail that
    /// says so.
    #[oai(path = "/account/user/create", method = "post", operation_id = "signUp")]
    async fn create(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        wish: Input<SignUp>,
    ) -> Result<Reply<SignedUp>, ApiError> {
        let SignUp { code, email, password } = wish.0;
        let wish = enroll::SignUp { code, email, password, language: language() };
        let signed_up = enroll::sign_up(&engine, wish, &visitor(request)).await?;
        Ok(Reply(SignedUp { confirm_by: signed_up.confirm_by.rfc3339(), mail: signed_up.mail }))
    }

    /// Send the mail with the link again
    ///
    /// The answer does not tell whether the address waits to be confirmed. At most three mails an hour go to it.
    #[oai(path = "/account/user/confirm", method = "post", operation_id = "confirmAgain")]
    async fn confirm_again(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        address: Input<Address>,
    ) -> Result<Reply<Empty>, ApiError> {
        enroll::confirm_again(&engine, &address.0.email, language(), &visitor(request)).await?;
        Ok(Reply(Empty {}))
    }

    /// Confirm an address
    ///
    /// The link in the mail leads here. With `force` in place of the token, an administrator confirms the account of
    /// `email`.
    #[oai(path = "/account/user/confirm/:confirm_token", method = "get", operation_id = "confirm")]
    async fn confirm(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        request: &Request,
        /// The token from the mail, or `force`.
        confirm_token: Path<String>,
        /// With `force`: the account's address.
        email: Query<Option<String>>,
    ) -> Result<Reply<Confirmed>, ApiError> {
        let confirmed = if confirm_token.0 == FORCE {
            let caller = auth.caller()?;
            let email = email.0.ok_or_else(|| ApiError::param("email", true))?;
            enroll::confirm_by_hand(&engine, &caller, &email).await?
        } else {
            enroll::confirm(&engine, &confirm_token.0, language(), origin(request)).await?
        };
        Ok(Reply(Confirmed { email: confirmed.email }))
    }

    /// Read your account
    ///
    /// What the server keeps of you.
    #[oai(path = "/account/user", method = "get", operation_id = "getAccount")]
    async fn get(&self, engine: Data<&Arc<Engine>>, auth: Auth) -> Result<Reply<AccountView>, ApiError> {
        let caller = auth.caller()?;
        let user = engine.store.read().await?.user(&caller.account.id).await?;
        Ok(Reply(AccountView::new(user.ok_or(Error::NotFound("account"))?)))
    }

    /// Change your mail address
    ///
    /// Sends a mail with a link to the new address; the old one stays until the link is followed, within an hour.
    #[oai(path = "/account/user", method = "patch", operation_id = "changeAccount")]
    async fn change(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        request: &Request,
        change: Input<ChangeAccount>,
    ) -> Result<Reply<Empty>, ApiError> {
        let caller = auth.caller()?;
        let ChangeAccount { email, password } = change.0;
        enroll::change_email(&engine, &caller, &email, password, language(), &visitor(request)).await?;
        Ok(Reply(Empty {}))
    }

    /// Delete your account
    ///
    /// And all that is yours: Pushers, tokens, sessions, invitation codes, tasks; what waits is revoked. Refused while
    /// Pushers of others are built on yours (`pusher_in_use`), and to the last administrator.
    #[oai(path = "/account/user", method = "delete", operation_id = "deleteAccount")]
    async fn delete(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        request: &Request,
        proof: Input<Proof>,
    ) -> Result<Reply<RemovedAccount>, ApiError> {
        let caller = auth.caller()?;
        let revoked_tasks = users::leave(&engine, &caller, proof.0.password, &visitor(request)).await?;
        Ok(Reply(RemovedAccount { revoked_tasks }))
    }
}
