//! The channels that there are, and what each takes: enough to draw a form.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::Tag;
use super::envelope::{ApiError, Reply};
use super::page::{Page, PageQuery};
use crate::domain::params::ParamSpec;
use crate::domain::pusher::is_declarable;
use crate::error::Error;
use crate::flow::Engine;
use crate::service::Service;

/// A channel.
#[derive(Debug, Object)]
#[oai(rename = "Service")]
pub struct ServiceView {
    pub id: String,
    /// `service`.
    pub kind: String,
    pub name: String,
    /// Its name in Chinese.
    pub name_zh: String,
    pub category: String,
    /// Where the channel documents itself.
    pub docs: String,
    /// `http` or `smtp`.
    pub transport: String,
    /// Takes parameters that it does not declare as well.
    pub accepts_any: bool,
    pub params: Vec<ParamView>,
}

/// A parameter that a Service takes.
#[derive(Debug, Object)]
#[oai(rename = "Param")]
pub struct ParamView {
    pub name: String,
    /// `string`, `text`, `integer`, `number`, `boolean`, `enum`, `list`, `object`, `url` or `email`.
    #[oai(rename = "type")]
    pub kind: String,
    pub required: bool,
    /// Masked wherever it is shown.
    pub secret: bool,
    /// The value when nobody gives one.
    pub default: Option<Any<Value>>,
    /// The words of an `enum`.
    #[oai(rename = "enum")]
    pub values: Vec<String>,
    /// What every entry of a `list` is, a type as above; null if anything. `enum`, `max_length`, `min` and `max` are then
    /// about the entries.
    pub items: Option<String>,
    /// Longest text, in characters.
    pub max_length: Option<u64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub help: String,
    /// Help in Chinese.
    pub help_zh: String,
}

impl From<&ParamSpec> for ParamView {
    fn from(spec: &ParamSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind.as_str().to_owned(),
            required: spec.required,
            secret: spec.secret,
            default: spec.default.clone().map(Any),
            values: spec.values.clone(),
            items: spec.items.map(|kind| kind.as_str().to_owned()),
            max_length: spec.max_length.and_then(|limit| u64::try_from(limit).ok()),
            min: spec.min,
            max: spec.max,
            help: spec.help.clone(),
            help_zh: spec.help_zh.clone(),
        }
    }
}

impl ServiceView {
    /// A Service as the API shows it.
    pub fn new(service: &Service) -> Self {
        Self {
            id: service.spec.id.clone(),
            kind: "service".to_owned(),
            name: service.name.clone(),
            name_zh: service.name_zh.clone(),
            category: service.category.clone(),
            docs: service.docs.clone(),
            transport: service.transport.as_str().to_owned(),
            accepts_any: service.spec.accepts_any,
            params: service.spec.params.iter().map(ParamView::from).collect(),
        }
    }
}

/// The Service operations.
pub struct ServiceApi;

#[OpenApi(tag = "Tag::Service")]
impl ServiceApi {
    /// List the Services
    ///
    /// With their parameters, sorted by id. Needs no token.
    #[oai(path = "/service", method = "get", operation_id = "listServices")]
    async fn list(
        &self,
        engine: Data<&Arc<Engine>>,
        /// Most items, 1 to 100; 20 if not given.
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Reply<Page<ServiceView>>, ApiError> {
        let page = PageQuery::new(limit.0, cursor.0.as_deref())?;
        // The next page begins behind a Service's id, whether or not that Service is still there.
        if page.after.as_deref().is_some_and(|last| !is_declarable(last)) {
            return Err(ApiError::cursor_invalid());
        }
        let after = |id: &str| page.after.as_deref().is_none_or(|last| id > last);
        let rows = engine.catalogue.all().filter(|service| after(&service.spec.id));
        let rows = rows.take(usize::try_from(page.rows()).unwrap_or(usize::MAX)).collect();
        Ok(Reply(page.page(rows, |service| service.spec.id.clone(), |service| ServiceView::new(service))))
    }

    /// Read one Service
    ///
    /// With its parameters. Needs no token.
    #[oai(path = "/service/:id", method = "get", operation_id = "getService")]
    async fn get(
        &self,
        engine: Data<&Arc<Engine>>,
        /// The Service's id.
        id: Path<String>,
    ) -> Result<Reply<ServiceView>, ApiError> {
        let service = engine.catalogue.get(&id.0).ok_or(Error::NotFound("service"))?;
        Ok(Reply(ServiceView::new(&service)))
    }
}
