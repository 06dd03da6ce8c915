//! `fanfare services`: for those who write Services, and for checks.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::print;
use crate::api::pusher::outgoing;
use crate::app::{SystemClock, load_catalogue, load_services};
use crate::config::Config;
use crate::domain::id::time_ordered;
use crate::domain::params::{Params, add_text};
use crate::domain::pusher::{Chain, Target};
use crate::domain::resolve::{Call, resolve};
use crate::domain::time::Clock;
use crate::service::{Catalogue, RenderEnv, Service};

#[derive(Subcommand)]
pub enum Services {
    /// List the Services.
    List,
    /// Show what a Service takes.
    Show {
        /// The Service's id.
        id: String,
    },
    /// Check every Service, or the files and folders named: load it and run its examples.
    Check {
        /// Files, or folders (checked together with the embedded Services); without any, the embedded ones and those beside the data.
        places: Vec<PathBuf>,
    },
    /// Print the request that a Service would send, without sending.
    Render {
        /// The Service's id.
        id: String,
        /// A parameter, `name=value`; may be repeated.
        #[arg(short = 'p', long = "param", value_name = "NAME=VALUE")]
        params: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does it; needs no database.
pub fn run(config: &Config, command: Services) -> anyhow::Result<()> {
    match command {
        Services::List => list(&load_catalogue(config)?),
        Services::Show { id } => show(&*service(&load_catalogue(config)?, &id)?),
        Services::Check { places } => check(config, &places),
        Services::Render { id, params, json } => render(&*service(&load_catalogue(config)?, &id)?, &params, json),
    }
}

fn service(catalogue: &Catalogue, id: &str) -> anyhow::Result<Arc<Service>> {
    catalogue.get(id).with_context(|| format!("there is no Service {id}; `fanfare services list` shows all"))
}

fn list(catalogue: &Catalogue) -> anyhow::Result<()> {
    let mut text = String::new();
    for service in catalogue.all() {
        writeln!(text, "{:<16} {:<12} {}", service.spec.id, service.category, service.name)?;
    }
    print(&text)
}

fn show(service: &Service) -> anyhow::Result<()> {
    let mut text = format!("{} ({}) {}\n", service.name, service.spec.id, service.docs);
    for param in &service.spec.params {
        let mut marks = String::new();
        if let Some(kind) = param.items {
            write!(marks, " of {}", kind.as_str())?;
        }
        if param.required {
            marks.push_str(", required");
        }
        if param.secret {
            marks.push_str(", secret");
        }
        if let Some(default) = &param.default {
            write!(marks, ", default {default}")?;
        }
        if !param.values.is_empty() {
            write!(marks, ", one of {}", param.values.join(", "))?;
        }
        let bounds = [("at least", param.min), ("at most", param.max)];
        for (word, bound) in bounds.into_iter().filter_map(|(word, bound)| Some((word, bound?))) {
            write!(marks, ", {word} {bound}")?;
        }
        if let Some(most) = param.max_length {
            write!(marks, ", {most} characters at most")?;
        }
        writeln!(text, "  {:<20} {}{marks}", param.name, param.kind.as_str())?;
        if !param.help.is_empty() {
            writeln!(text, "  {:<20} {}", "", param.help)?;
        }
    }
    if service.spec.accepts_any {
        text.push_str("  and any other parameter\n");
    }
    print(&text)
}

fn check(config: &Config, places: &[PathBuf]) -> anyhow::Result<()> {
    let mut services: Vec<Arc<Service>> = Vec::new();
    if places.is_empty() {
        services.extend(load_catalogue(config)?.all().cloned());
    }
    for place in places {
        if place.is_dir() {
            services.extend(load_services(Some(place))?.all().cloned());
        } else {
            let name = place.display().to_string();
            let source = std::fs::read_to_string(place).with_context(|| format!("cannot read {name}"))?;
            services.push(Arc::new(Service::parse(&name, &source).map_err(|error| anyhow::anyhow!("{error}"))?));
        }
    }
    let problems: Vec<String> = services
        .iter()
        .filter_map(|service| service.check_examples().err())
        .flatten()
        .map(|error| error.to_string())
        .collect();
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    print(&match services.len() {
        1 => "1 Service is in order\n".to_owned(),
        count => format!("{count} Services are in order\n"),
    })
}

fn render(service: &Service, given: &[String], as_json: bool) -> anyhow::Result<()> {
    let mut query = Params::new();
    for pair in given {
        let (name, value) = pair.split_once('=').with_context(|| format!("{pair}: write name=value"))?;
        add_text(&mut query, name.to_owned(), value.to_owned());
    }
    let target = Target::Single(Chain { presets: Vec::new(), service: service.spec.clone() });
    let now = SystemClock::default().now();
    let call = Call { query, ..Call::default() };
    let plan = resolve(&target, &call, now).map_err(|refusal| anyhow::anyhow!("{}", explained(&refusal)))?;
    let ignored = plan.ignored.clone();
    let mut requests = Vec::new();
    for delivery in plan.deliveries {
        let delivery_id = format!("{}0", time_ordered(now.0, rand::random()));
        let env = RenderEnv { now, delivery_id: &delivery_id, random: rand::random() };
        let params = delivery.into_params();
        let checked = service.check(&params);
        let made =
            checked.and_then(|()| service.render(&params, &env)).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        requests.push(Value::Object(outgoing(&made)));
    }
    if as_json {
        let text = serde_json::to_string_pretty(&json!({ "requests": requests, "ignored": ignored }))?;
        return print(&format!("{text}\n"));
    }
    let mut text = String::new();
    for request in &requests {
        text.push_str(&readable(request)?);
    }
    if !ignored.is_empty() {
        writeln!(text, "ignored: {}", ignored.join(", "))?;
    }
    print(&text)
}

/// A request as HTTP would write it, a mail as its fields.
fn readable(request: &Value) -> anyhow::Result<String> {
    let mut text = String::new();
    let Some(method) = request["method"].as_str() else {
        return Ok(format!("{}\n", serde_json::to_string_pretty(request)?));
    };
    writeln!(text, "{method} {}", request["url"].as_str().unwrap_or_default())?;
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        writeln!(text, "{name}: {}", value.as_str().unwrap_or_default())?;
    }
    match &request["body"] {
        Value::Null => {}
        Value::String(body) => writeln!(text, "\n{body}")?,
        body => writeln!(text, "\n{}", serde_json::to_string_pretty(body)?)?,
    }
    Ok(text)
}

fn explained(refusal: &crate::domain::refusal::Refusal) -> String {
    use crate::api::messages::{Language, refusal as text};
    format!("{} ({})", text(Language::English, refusal), refusal.code())
}
