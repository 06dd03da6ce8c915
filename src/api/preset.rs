//! Presets: a Pusher with parameters of one's own.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use super::input::Input;
use super::object::JsonObject;
use super::own::{Removed, own_page};
use super::page::{Page, PageQuery};
use crate::domain::id::{PusherId, unguessable};
use crate::domain::pusher::Preset;
use crate::error::Error;
use crate::flow::shown::seen;
use crate::flow::{Engine, edit};
use crate::store::{PusherKind, StoredPusher};

/// A Preset.
#[derive(Debug, Object)]
#[oai(rename = "Preset")]
pub struct PresetView {
    /// Unguessable; whoever knows it may push, unless the Preset is protected.
    pub id: String,
    /// `preset`.
    pub kind: String,
    pub name: String,
    /// The Pusher that it is built on.
    pub base_pusher: String,
    /// Predefined parameters.
    pub params: JsonObject,
    /// The parameter that `:content` stands for.
    pub redefine_content: Option<String>,
    /// Pushing needs the owner's token.
    pub protected: bool,
    /// Anybody may read it and build on it.
    pub shared: bool,
    pub created_at: String,
    pub updated_at: String,
}

impl PresetView {
    /// A Preset as it is handed over.
    pub fn new(preset: Preset) -> Self {
        Self {
            id: preset.id.to_string(),
            kind: "preset".to_owned(),
            name: preset.name,
            base_pusher: preset.base_pusher.to_string(),
            params: JsonObject(preset.params),
            redefine_content: preset.redefine_content,
            protected: preset.protected,
            shared: preset.shared,
            created_at: preset.created_at.rfc3339(),
            updated_at: preset.updated_at.rfc3339(),
        }
    }

    /// What is stored, if it is a Preset.
    pub fn of(pusher: StoredPusher) -> Option<Self> {
        match pusher {
            StoredPusher::Preset(preset) => Some(Self::new(preset)),
            StoredPusher::Group(_) => None,
        }
    }
}

/// A Preset to make.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct CreatePreset {
    pub name: String,
    /// A Service's id, or a Preset or Group that is one's own or shared.
    pub base_pusher: String,
    /// Predefined parameters.
    #[oai(default)]
    pub params: JsonObject,
    /// The parameter that `:content` stands for.
    pub redefine_content: Option<String>,
    /// Pushing needs the owner's token.
    #[oai(default)]
    pub protected: bool,
}

/// What to change of a Preset; what is not named stays.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangePreset {
    pub name: Option<String>,
    pub base_pusher: Option<String>,
    /// Replaces all predefined parameters.
    pub params: Option<JsonObject>,
    /// Null takes it away.
    pub redefine_content: MaybeUndefined<String>,
    pub protected: Option<bool>,
}

/// The Preset operations.
pub struct PresetApi;

#[OpenApi(tag = "Tag::Preset")]
impl PresetApi {
    /// List your Presets, newest first
    ///
    /// Only your own.
    #[oai(path = "/preset", method = "get", operation_id = "listPresets")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<PresetView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        own_page(&engine, &caller, &page, Some(PusherKind::Preset), PresetView::of).await
    }

    /// Make a Preset
    ///
    /// The answer holds the id to push to.
    #[oai(path = "/preset", method = "post", operation_id = "createPreset")]
    async fn create(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        preset: Input<CreatePreset>,
    ) -> Result<Reply<PresetView>, ApiError> {
        let caller = auth.caller()?;
        let CreatePreset { name, base_pusher, params, redefine_content, protected } = preset.0;
        let now = engine.clock.now();
        let preset = Preset {
            id: PusherId::new(unguessable(rand::random())),
            owner: caller.account.id.clone(),
            name,
            base_pusher: PusherId::new(base_pusher),
            params: params.0,
            redefine_content,
            protected,
            shared: false,
            created_at: now,
            updated_at: now,
        };
        edit::create(&engine, &caller, StoredPusher::Preset(preset.clone())).await?;
        Ok(Reply(PresetView::new(preset)))
    }

    /// Read a Preset
    ///
    /// Your own, a shared one, or as an admin anybody's; secrets are masked unless they are yours, and to a token
    /// without the scope `manage`.
    #[oai(path = "/preset/:id", method = "get", operation_id = "getPreset")]
    async fn get(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Preset's id.
        id: Path<String>,
    ) -> Result<Reply<PresetView>, ApiError> {
        preset_view(seen(&engine, auth.anybody(), &PusherId::new(id.0)).await?)
    }

    /// Change a Preset
    ///
    /// Tasks that wait keep what they resolved.
    #[oai(path = "/preset/:id", method = "patch", operation_id = "changePreset")]
    async fn change(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Preset's id.
        id: Path<String>,
        change: Input<ChangePreset>,
    ) -> Result<Reply<PresetView>, ApiError> {
        let caller = auth.caller()?;
        let now = engine.clock.now();
        let changed = edit::change(&engine, &caller, &PusherId::new(id.0), |pusher| {
            let StoredPusher::Preset(before) = pusher else { return Err(Error::NotFound("preset")) };
            let ChangePreset { name, base_pusher, params, redefine_content, protected } = change.0;
            Ok(StoredPusher::Preset(Preset {
                name: name.unwrap_or(before.name),
                base_pusher: base_pusher.map_or(before.base_pusher, PusherId::new),
                params: params.map_or(before.params, |params| params.0),
                redefine_content: match redefine_content {
                    MaybeUndefined::Undefined => before.redefine_content,
                    MaybeUndefined::Null => None,
                    MaybeUndefined::Value(name) => Some(name),
                },
                protected: protected.unwrap_or(before.protected),
                updated_at: now,
                ..before
            }))
        })
        .await?;
        preset_view(changed)
    }

    /// Delete a Preset
    ///
    /// Revokes what waits because of it. Refused while other Pushers build on it, unless an admin forces it: those stay,
    /// and a push to them is refused with `base_unknown` until they are given another base. A shared one only an admin
    /// can delete.
    #[oai(path = "/preset/:id", method = "delete", operation_id = "deletePreset")]
    async fn delete(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Preset's id.
        id: Path<String>,
        /// Although others build on it; for admins.
        force: Query<Option<bool>>,
    ) -> Result<Reply<Removed>, ApiError> {
        let caller = auth.caller()?;
        let (id, force) = (PusherId::new(id.0), force.0.unwrap_or(false));
        let revoked_tasks = edit::remove(&engine, &caller, &id, PusherKind::Preset, force).await?;
        Ok(Reply(Removed::of(revoked_tasks)))
    }
}

/// A Preset as an answer.
///
/// # Errors
/// 404 if it is none.
pub fn preset_view(pusher: StoredPusher) -> Result<Reply<PresetView>, ApiError> {
    Ok(Reply(PresetView::of(pusher).ok_or(Error::NotFound("preset"))?))
}
