//! What is public: Presets and Groups are shared, and found by everybody.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use super::group::{GroupView, group_view};
use super::own::shared_page;
use super::page::{Page, PageQuery};
use super::preset::{PresetView, preset_view};
use crate::domain::id::PusherId;
use crate::flow::{Engine, edit};
use crate::store::PusherKind;

/// The operations on what is public.
pub struct ShareApi;

#[OpenApi]
impl ShareApi {
    /// List the shared Presets, newest first
    ///
    /// Everybody's. Secrets are masked, except your own.
    #[oai(path = "/preset/shared", method = "get", operation_id = "listSharedPresets", tag = "Tag::Preset")]
    async fn list_presets(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Only those with this text in their name, or in the id or name of what they are built on.
        q: Query<Option<String>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<PresetView>>, ApiError> {
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        shared_page(&engine, auth.anybody(), &page, PusherKind::Preset, q.0.as_deref(), PresetView::of).await
    }

    /// Share a Preset with everybody
    ///
    /// Anybody may then read it, secrets masked, and build on it. For good: it can no longer be changed, and only an
    /// admin can delete it. It must not be protected, and everything that it builds on must be public.
    #[oai(path = "/preset/:id/share", method = "post", operation_id = "sharePreset", tag = "Tag::Preset")]
    async fn share_preset(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Preset's id.
        id: Path<String>,
    ) -> Result<Reply<PresetView>, ApiError> {
        let caller = auth.caller()?;
        let (id, now) = (PusherId::new(id.0), engine.clock.now());
        preset_view(edit::share(&engine, &caller, &id, PusherKind::Preset, now).await?)
    }

    /// List the shared Groups, newest first
    ///
    /// Everybody's. Secrets are masked, except your own.
    #[oai(path = "/group/shared", method = "get", operation_id = "listSharedGroups", tag = "Tag::Group")]
    async fn list_groups(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Only those with this text in their name, or in the id or name of what they are built on.
        q: Query<Option<String>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<GroupView>>, ApiError> {
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        shared_page(&engine, auth.anybody(), &page, PusherKind::Group, q.0.as_deref(), GroupView::of).await
    }

    /// Share a Group with everybody
    ///
    /// Anybody may then read it, secrets masked, and build on it. For good: it can no longer be changed, and only an
    /// admin can delete it. It must not be protected, and everything that it builds on must be public.
    #[oai(path = "/group/:id/share", method = "post", operation_id = "shareGroup", tag = "Tag::Group")]
    async fn share_group(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
    ) -> Result<Reply<GroupView>, ApiError> {
        let caller = auth.caller()?;
        let (id, now) = (PusherId::new(id.0), engine.clock.now());
        group_view(edit::share(&engine, &caller, &id, PusherKind::Group, now).await?)
    }
}
