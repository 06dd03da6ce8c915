//! Pushers of any kind: listing and reading one's own, and previews.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi, Union};
use serde_json::{Value, json};

use super::Tag;
use super::auth::Auth;
use super::body::{PushBody, query};
use super::envelope::{ApiError, Reply};
use super::group::GroupView;
use super::object::JsonObject;
use super::own::own_page;
use super::page::{Page, PageQuery};
use super::preset::PresetView;
use super::push::call;
use super::service::ServiceView;
use crate::domain::delivery::{Mail, MailSecurity, Outgoing, Request as HttpRequest};
use crate::domain::id::PusherId;
use crate::domain::permission::Action;
use crate::error::Error;
use crate::flow::preview::{Previewed, preview};
use crate::flow::pushers::owner;
use crate::flow::shown::seen;
use crate::flow::{Caller, Engine};
use crate::store::StoredPusher;

/// A Pusher of any kind; `kind` tells which.
#[derive(Debug, Union)]
#[oai(rename = "Pusher", one_of)]
pub enum PusherView {
    Service(ServiceView),
    Preset(PresetView),
    Group(GroupView),
}

/// What a push would become.
#[derive(Debug, Object)]
#[oai(rename = "Preview")]
pub struct PreviewView {
    pub tasks: Vec<PreviewTask>,
}

/// A task as it would be.
#[derive(Debug, Object)]
pub struct PreviewTask {
    /// The member's name in a Group.
    pub name: Option<String>,
    pub service: String,
    /// By name: `{value, from}`; `from` is `body`, `content`, `query`, a Pusher's id or `service`. Secrets are masked.
    pub params: JsonObject,
    /// Names that this Service does not take.
    pub ignored: Vec<String>,
    /// When it would be due.
    pub run_at: String,
    /// The exact request or mail, made from masked secrets.
    pub request: JsonObject,
}

impl PreviewTask {
    fn new(previewed: Previewed) -> Self {
        let params = previewed
            .params
            .into_iter()
            .map(|(name, given)| (name, json!({ "value": given.value, "from": given.from.to_string() })));
        Self {
            name: previewed.name,
            service: previewed.service,
            params: JsonObject(params.collect()),
            ignored: previewed.ignored,
            run_at: previewed.run_at.rfc3339(),
            request: JsonObject(outgoing(&previewed.outgoing)),
        }
    }
}

/// A request or a mail as JSON: `{method, url, headers, body}` or `{relay, from, to, …}`.
pub fn outgoing(outgoing: &Outgoing) -> serde_json::Map<String, Value> {
    let shown = match outgoing {
        Outgoing::Http(request) => http(request),
        Outgoing::Mail(mail) => mail_view(mail),
    };
    match shown {
        Value::Object(members) => members,
        _ => serde_json::Map::new(),
    }
}

fn http(request: &HttpRequest) -> Value {
    let headers: serde_json::Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let text = String::from_utf8_lossy(&request.body);
    let body = serde_json::from_slice(&request.body).unwrap_or_else(|_| Value::from(text));
    let body = if request.body.is_empty() { Value::Null } else { body };
    json!({ "method": request.method, "url": request.url, "headers": headers, "body": body })
}

fn mail_view(mail: &Mail) -> Value {
    let security = match mail.relay.security {
        MailSecurity::Tls => "tls",
        MailSecurity::StartTls => "starttls",
        MailSecurity::None => "none",
    };
    json!({
        "relay": format!("{}:{}", mail.relay.host, mail.relay.port), "security": security,
        "from": mail.from, "to": mail.to, "cc": mail.cc, "bcc": mail.bcc, "reply_to": mail.reply_to,
        "subject": mail.subject, "text": mail.text, "html": mail.html, "message_id": mail.message_id,
    })
}

/// The operations on Pushers of any kind.
pub struct PusherApi;

#[OpenApi(tag = "Tag::Pusher")]
impl PusherApi {
    /// List your Presets and Groups, newest first
    ///
    /// `kind` tells which each is. Services are listed at `/service/`.
    #[oai(path = "/pusher", method = "get", operation_id = "listPushers")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<PusherView>>, ApiError> {
        let caller = auth.caller()?;
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        own_page(&engine, &caller, &page, None, |pusher| Some(view(pusher))).await
    }

    /// Read a Pusher of any kind
    ///
    /// A Service, or a Preset or Group that you may see: your own, a shared one, as an admin anybody's. Secrets are masked
    /// unless they are yours, and to a token without the scope `manage`.
    #[oai(path = "/pusher/:id", method = "get", operation_id = "getPusher")]
    async fn get(
        &self,
        engine: Data<&Arc<Engine>>,
        auth: Auth,
        /// The Pusher's id.
        id: Path<String>,
    ) -> Result<Reply<PusherView>, ApiError> {
        if let Some(service) = engine.catalogue.get(&id.0) {
            return Ok(Reply(PusherView::Service(ServiceView::new(&service))));
        }
        Ok(Reply(view(seen(&engine, auth.anybody(), &PusherId::new(id.0)).await?)))
    }

    /// See what a push would become, without sending
    ///
    /// Takes the same body and query as a push, the token included. Answers each task's final parameters with where each
    /// came from, and the exact request. Secrets are masked, and what is derived from them (a signature) is made from the
    /// mask.
    #[oai(path = "/pusher/:id/preview", method = "post", operation_id = "previewPush")]
    async fn preview(
        &self,
        engine: Data<&Arc<Engine>>,
        request: &Request,
        auth: Auth,
        /// The Pusher's id.
        id: Path<String>,
        body: PushBody,
    ) -> Result<Reply<PreviewView>, ApiError> {
        let caller = auth.caller()?;
        let id = PusherId::new(id.0);
        let pusher = engine.pusher(&id).await?.ok_or(Error::NotFound("pusher"))?;
        if !Caller::may(Some(&caller), Action::See, owner(&pusher), engine.standing(&pusher)) {
            return Err(Error::NotFound("pusher").into());
        }
        let tasks = preview(&engine, &caller, &id, &call(None, body, query(request)?)).await?;
        Ok(Reply(PreviewView { tasks: tasks.into_iter().map(PreviewTask::new).collect() }))
    }
}

fn view(pusher: StoredPusher) -> PusherView {
    match pusher {
        StoredPusher::Preset(preset) => PusherView::Preset(PresetView::new(preset)),
        StoredPusher::Group(group) => PusherView::Group(GroupView::new(group)),
    }
}
