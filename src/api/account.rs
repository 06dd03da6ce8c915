//! Logging in.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::envelope::{ApiError, Reply};
use super::input::Input;
use super::origin::origin;
use crate::flow::{Engine, login};

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
    /// Whether the password was right.
    #[oai(rename = "isLogin")]
    pub is_login: bool,
    /// Whether there is an account with this address.
    #[oai(rename = "isRegistered")]
    pub is_registered: bool,
    /// The session's token; only if the password was right.
    #[oai(skip_serializing_if_is_none)]
    pub token: Option<String>,
}

/// The account operations.
pub struct AccountApi;

#[OpenApi(tag = "Tag::Account")]
impl AccountApi {
    /// Log in
    ///
    /// The token goes into `Authorization: Bearer`; the session ends after 30 days without use. A wrong password is a
    /// successful answer with `isLogin` false.
    #[oai(path = "/account/user/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        credentials: Input<Credentials>,
    ) -> Result<Reply<LoginView>, ApiError> {
        let Credentials { email, password } = credentials.0;
        let login = login::login(&engine, &email, &password, origin(request)).await?;
        Ok(Reply(LoginView { is_login: login.token.is_some(), is_registered: login.is_registered, token: login.token }))
    }
}
