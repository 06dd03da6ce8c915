//! Groups: up to five Pushers under one id.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;

use super::Tag;
use super::auth::Auth;
use super::envelope::{ApiError, Reply};
use super::input::Input;
use super::object::JsonObject;
use super::own::{Removed, own_page};
use super::page::{Page, PageQuery};
use crate::domain::id::{PusherId, unguessable};
use crate::domain::pusher::{Group, Member, ParamMap, Strategy};
use crate::domain::refusal::{FieldFault, Refusal};
use crate::error::{Error, Result as Outcome};
use crate::flow::shown::seen;
use crate::flow::{Engine, edit};
use crate::store::{PusherKind, StoredPusher};

/// How a Group delivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Enum)]
#[oai(rename = "Strategy", rename_all = "snake_case")]
pub enum StrategyWord {
    /// To every member.
    #[default]
    All,
    /// To one after the other, until one succeeds.
    Fallback,
}

impl StrategyWord {
    fn domain(self) -> Strategy {
        match self {
            Self::All => Strategy::All,
            Self::Fallback => Strategy::Fallback,
        }
    }
}

impl From<Strategy> for StrategyWord {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::All => Self::All,
            Strategy::Fallback => Self::Fallback,
        }
    }
}

/// A member of a Group.
#[derive(Debug, Clone, Object)]
#[oai(rename = "Member", deny_unknown_fields)]
pub struct MemberView {
    /// Unique in the Group.
    pub name: String,
    /// A Service's id, or a Preset that is one's own or shared and ends in a Service.
    pub base_pusher: String,
    /// The member's own parameters.
    #[oai(default)]
    pub params: JsonObject,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self { name: member.name, base_pusher: member.base_pusher.to_string(), params: JsonObject(member.params) }
    }
}

impl From<MemberView> for Member {
    fn from(view: MemberView) -> Self {
        Self { name: view.name, base_pusher: PusherId::new(view.base_pusher), params: view.params.0 }
    }
}

/// A Group.
#[derive(Debug, Object)]
#[oai(rename = "Group")]
pub struct GroupView {
    /// Unguessable; whoever knows it may push, unless the Group is protected.
    pub id: String,
    /// `group`.
    pub kind: String,
    pub name: String,
    /// The members, in order.
    pub pushers: Vec<MemberView>,
    /// A name, and the list of `member.param` that take its value.
    pub param_map: JsonObject,
    pub redefine_content: Option<String>,
    pub strategy: StrategyWord,
    pub protected: bool,
    pub shared: bool,
    pub created_at: String,
    pub updated_at: String,
}

impl GroupView {
    /// A Group as it is handed over.
    pub fn new(group: Group) -> Self {
        let param_map = group.param_map.into_iter().map(|(name, targets)| (name, Value::from(targets)));
        Self {
            id: group.id.to_string(),
            kind: "group".to_owned(),
            name: group.name,
            pushers: group.pushers.into_iter().map(MemberView::from).collect(),
            param_map: JsonObject(param_map.collect()),
            redefine_content: group.redefine_content,
            strategy: group.strategy.into(),
            protected: group.protected,
            shared: group.shared,
            created_at: group.created_at.rfc3339(),
            updated_at: group.updated_at.rfc3339(),
        }
    }

    /// What is stored, if it is a Group.
    pub fn of(pusher: StoredPusher) -> Option<Self> {
        match pusher {
            StoredPusher::Group(group) => Some(Self::new(group)),
            StoredPusher::Preset(_) => None,
        }
    }
}

/// A Group to make.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct CreateGroup {
    pub name: String,
    /// One to five members.
    pub pushers: Vec<MemberView>,
    /// A name, and the list of `member.param` that take its value.
    #[oai(default)]
    pub param_map: JsonObject,
    pub redefine_content: Option<String>,
    #[oai(default)]
    pub strategy: StrategyWord,
    #[oai(default)]
    pub protected: bool,
}

/// What to change of a Group; what is not named stays.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangeGroup {
    pub name: Option<String>,
    /// Replaces all members.
    pub pushers: Option<Vec<MemberView>>,
    /// Replaces the whole map.
    pub param_map: Option<JsonObject>,
    /// Null takes it away.
    pub redefine_content: MaybeUndefined<String>,
    pub strategy: Option<StrategyWord>,
    pub protected: Option<bool>,
}

/// What to change of a member; what is not named stays.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangeMember {
    pub name: Option<String>,
    pub base_pusher: Option<String>,
    /// Replaces all of the member's parameters.
    pub params: Option<JsonObject>,
}

/// The Group operations.
pub struct GroupApi;

#[OpenApi(tag = "Tag::Group")]
impl GroupApi {
    /// List your Groups, newest first
    ///
    /// Only your own, with their members.
    #[oai(path = "/group", method = "get", operation_id = "listGroups")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<GroupView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        own_page(&engine, &caller, &page, Some(PusherKind::Group), GroupView::of).await
    }

    /// Make a Group
    ///
    /// The answer holds the id to push to.
    #[oai(path = "/group", method = "post", operation_id = "createGroup")]
    async fn create(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        group: Input<CreateGroup>,
    ) -> Result<Reply<GroupView>, ApiError> {
        let caller = auth.caller()?;
        let CreateGroup { name, pushers, param_map: map, redefine_content, strategy, protected } = group.0;
        let now = engine.clock.now();
        let group = Group {
            id: PusherId::new(unguessable(rand::random())),
            owner: caller.account.id.clone(),
            name,
            pushers: pushers.into_iter().map(Member::from).collect(),
            param_map: param_map(map)?,
            redefine_content,
            strategy: strategy.domain(),
            protected,
            shared: false,
            created_at: now,
            updated_at: now,
        };
        edit::create(&engine, &caller, StoredPusher::Group(group.clone())).await?;
        Ok(Reply(GroupView::new(group)))
    }

    /// Read a Group
    ///
    /// Your own, a shared one, or as an admin anybody's; secrets are masked unless they are yours, and to a token
    /// without the scope `manage`.
    #[oai(path = "/group/:id", method = "get", operation_id = "getGroup")]
    async fn get(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
    ) -> Result<Reply<GroupView>, ApiError> {
        group_view(seen(&engine, auth.anybody(), &PusherId::new(id.0)).await?)
    }

    /// Change a Group
    ///
    /// Tasks that wait keep what they resolved.
    #[oai(path = "/group/:id", method = "patch", operation_id = "changeGroup")]
    async fn change(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
        change: Input<ChangeGroup>,
    ) -> Result<Reply<GroupView>, ApiError> {
        let ChangeGroup { name, pushers, param_map: map, redefine_content, strategy, protected } = change.0;
        let map = map.map(param_map).transpose()?;
        let changed = edit_group(&engine, auth, id.0, |before| {
            Ok(Group {
                name: name.unwrap_or(before.name),
                pushers: pushers.map_or(before.pushers, |all| all.into_iter().map(Member::from).collect()),
                param_map: map.unwrap_or(before.param_map),
                redefine_content: match redefine_content {
                    MaybeUndefined::Undefined => before.redefine_content,
                    MaybeUndefined::Null => None,
                    MaybeUndefined::Value(name) => Some(name),
                },
                strategy: strategy.map_or(before.strategy, StrategyWord::domain),
                protected: protected.unwrap_or(before.protected),
                ..before
            })
        });
        group_view(changed.await?)
    }

    /// Delete a Group
    ///
    /// Revokes what waits because of it. Refused while other Pushers build on it, unless an admin forces it: those stay,
    /// and a push to them is refused with `base_unknown` until they are given another base. A shared one only an admin
    /// can delete.
    #[oai(path = "/group/:id", method = "delete", operation_id = "deleteGroup")]
    async fn delete(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
        /// Although others build on it; for admins.
        force: Query<Option<bool>>,
    ) -> Result<Reply<Removed>, ApiError> {
        let caller = auth.caller()?;
        let (id, force) = (PusherId::new(id.0), force.0.unwrap_or(false));
        let revoked_tasks = edit::remove(&engine, &caller, &id, PusherKind::Group, force).await?;
        Ok(Reply(Removed::of(revoked_tasks)))
    }

    /// Add a member to a Group
    ///
    /// At the end. A Group has at most five.
    #[oai(path = "/group/:id/pusher", method = "post", operation_id = "addMember")]
    async fn add_member(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
        member: Input<MemberView>,
    ) -> Result<Reply<GroupView>, ApiError> {
        edit_member(&engine, auth, id.0, |group| {
            group.pushers.push(member.0.into());
            Ok(group.pushers.len() - 1)
        })
        .await
    }

    /// Change a member of a Group
    ///
    /// What is not named stays. A new name must not be taken in the Group.
    #[oai(path = "/group/:id/pusher/:name", method = "patch", operation_id = "changeMember")]
    async fn change_member(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
        /// The member's name.
        name: Path<String>,
        change: Input<ChangeMember>,
    ) -> Result<Reply<GroupView>, ApiError> {
        edit_member(&engine, auth, id.0, |group| {
            let at = group.pushers.iter().position(|member| member.name == name.0).ok_or(Error::NotFound("member"))?;
            let member = &mut group.pushers[at];
            let ChangeMember { name, base_pusher, params } = change.0;
            if let Some(name) = name {
                member.name = name;
            }
            if let Some(base) = base_pusher {
                member.base_pusher = PusherId::new(base);
            }
            if let Some(params) = params {
                member.params = params.0;
            }
            Ok(at)
        })
        .await
    }

    /// Remove a member from a Group
    ///
    /// The last one stays: a Group is never empty.
    #[oai(path = "/group/:id/pusher/:name", method = "delete", operation_id = "removeMember")]
    async fn remove_member(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Group's id.
        id: Path<String>,
        /// The member's name.
        name: Path<String>,
    ) -> Result<Reply<GroupView>, ApiError> {
        let changed = edit_group(&engine, auth, id.0, |mut group| {
            let at = group.pushers.iter().position(|member| member.name == name.0);
            group.pushers.remove(at.ok_or(Error::NotFound("member"))?);
            Ok(group)
        });
        group_view(changed.await?)
    }
}

/// Changes one member of a Group, whose place `change` answers. What is wrong with it is told as the request calls it.
async fn edit_member(
    engine: &Engine,
    auth: Auth,
    id: String,
    change: impl FnOnce(&mut Group) -> Outcome<usize>,
) -> Result<Reply<GroupView>, ApiError> {
    let mut prefixes = None;
    let edited = edit_group(engine, auth, id, |mut group| {
        let at = change(&mut group)?;
        prefixes = Some([format!("pushers.{at}."), format!("{}.", group.pushers[at].name)]);
        Ok(group)
    });
    match (edited.await, prefixes) {
        (Err(Error::Refused(refusal)), Some(prefixes)) => Err(refusal.without(&prefixes).into()),
        (edited, _) => group_view(edited?),
    }
}

async fn edit_group(
    engine: &Engine,
    auth: Auth,
    id: String,
    change: impl FnOnce(Group) -> Outcome<Group>,
) -> Outcome<StoredPusher> {
    let caller = auth.known()?;
    let now = engine.clock.now();
    edit::change(engine, &caller, &PusherId::new(id), |pusher| {
        let StoredPusher::Group(before) = pusher else { return Err(Error::NotFound("group")) };
        Ok(StoredPusher::Group(Group { updated_at: now, ..change(before)? }))
    })
    .await
}

/// A Group as an answer.
///
/// # Errors
/// 404 if it is none.
pub fn group_view(pusher: StoredPusher) -> Result<Reply<GroupView>, ApiError> {
    Ok(Reply(GroupView::of(pusher).ok_or(Error::NotFound("group"))?))
}

/// Reads `{name: [target, …]}`.
fn param_map(object: JsonObject) -> Result<ParamMap, ApiError> {
    let (mut map, mut fields) = (ParamMap::new(), Vec::new());
    for (name, targets) in object.0 {
        let text = |target: &Value| target.as_str().map(str::to_owned);
        let targets = targets.as_array().and_then(|targets| targets.iter().map(text).collect::<Option<Vec<_>>>());
        match targets {
            Some(targets) => map.push((name, targets)),
            None => fields.push(FieldFault { field: format!("param_map.{name}"), reason: "invalid" }),
        }
    }
    if fields.is_empty() { Ok(map) } else { Err(Refusal::Fields { fields, params: Vec::new() }.into()) }
}
