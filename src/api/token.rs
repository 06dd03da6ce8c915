//! API tokens: named, with scopes and an optional end. The text of one is shown once.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Empty, Reply};
use super::input::Input;
use super::page::{Page, PageQuery};
use super::times::time;
use crate::domain::account::ApiToken;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::flow::{Engine, tokens};

/// Something that a token lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "Scope", rename_all = "snake_case")]
pub enum ScopeWord {
    /// Push, and take pushes back.
    Push,
    /// Read what is one's own; secrets are masked unless `manage` is there as well.
    Read,
    /// Make, change, share and delete; read one's own secrets.
    Manage,
}

impl ScopeWord {
    fn domain(self) -> Scope {
        match self {
            Self::Push => Scope::Push,
            Self::Read => Scope::Read,
            Self::Manage => Scope::Manage,
        }
    }
}

impl From<Scope> for ScopeWord {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Push => Self::Push,
            Scope::Read => Self::Read,
            Scope::Manage => Self::Manage,
        }
    }
}

/// An API token, without its text.
#[derive(Debug, Object)]
#[oai(rename = "Token")]
pub struct TokenView {
    /// What to delete it by; it says nothing about the token.
    pub id: String,
    pub name: String,
    pub scopes: Vec<ScopeWord>,
    pub created_at: String,
    /// To the minute; null if it was never used.
    pub last_used_at: Option<String>,
    /// When it ends; null if it does not.
    pub expires_at: Option<String>,
    /// The token itself; only in the answer that made it.
    #[oai(skip_serializing_if_is_none)]
    pub token: Option<String>,
}

impl TokenView {
    fn new(token: ApiToken, text: Option<String>) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes.iter().map(ScopeWord::from).collect(),
            created_at: token.created_at.rfc3339(),
            last_used_at: token.last_used_at.map(Timestamp::rfc3339),
            expires_at: token.expires_at.map(Timestamp::rfc3339),
            token: text,
        }
    }
}

/// An API token to make.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    pub name: String,
    /// At least one; none that the token of this call lacks.
    pub scopes: Vec<ScopeWord>,
    /// When it ends, RFC 3339. Not after the token of this call.
    pub expires_at: Option<String>,
}

/// The API token operations.
pub struct TokenApi;

#[OpenApi(tag = "Tag::Account")]
impl TokenApi {
    /// List your API tokens, newest first
    ///
    /// Their texts cannot be read again. Sessions are not among them.
    #[oai(path = "/account/token", method = "get", operation_id = "listTokens")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<TokenView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        let mut tx = engine.store.read().await?;
        let found = tx.api_tokens_of(&caller.account.id, page.after.as_deref(), page.rows()).await?;
        Ok(Reply(page.page(found, |token| token.id.clone(), |token| TokenView::new(token, None))))
    }

    /// Make an API token
    ///
    /// For a program: with no more rights than it needs. The answer is the only place where the token can be read.
    #[oai(path = "/account/token", method = "post", operation_id = "createToken")]
    async fn create(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        token: Input<CreateToken>,
    ) -> Result<Reply<TokenView>, ApiError> {
        let caller = auth.caller()?;
        let CreateToken { name, scopes, expires_at } = token.0;
        let expires_at = time("expires_at", expires_at.as_deref())?;
        let scopes = scopes.into_iter().map(ScopeWord::domain).collect();
        let (token, text) = tokens::create(&engine, &caller, name, scopes, expires_at).await?;
        Ok(Reply(TokenView::new(token, Some(text))))
    }

    /// Withdraw an API token
    ///
    /// From now on it is not taken; other nodes notice within a second.
    #[oai(path = "/account/token/:id", method = "delete", operation_id = "deleteToken")]
    async fn delete(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The token's id.
        id: Path<String>,
    ) -> Result<Reply<Empty>, ApiError> {
        let caller = auth.caller()?;
        tokens::withdraw(&engine, &caller, &id.0).await?;
        Ok(Reply(Empty {}))
    }
}
