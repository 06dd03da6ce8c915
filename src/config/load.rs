//! Where settings come from: a file, then variables, the latter winning. Every mistake is answered with the
//! key and the line or the variable, and no secret is repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::check::check;
use super::keys::{CONFIG_VARIABLE, KEYS, Kind, OTHER_VARIABLES, SECRETS, nearest, variable_of};
use super::{Config, Secret};
use crate::domain::complaint::plainly;

/// The file that is read if nobody names one and it exists.
const USUAL_FILE: &str = "fanfare.toml";

/// Why the settings cannot be used: one sentence that names the key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A file's path and text.
struct Source {
    path: PathBuf,
    text: String,
}

impl Config {
    /// Reads the file given (else the one that `FANFARE_CONFIG` names, else `./fanfare.toml` if it exists), then
    /// the variables.
    ///
    /// # Errors
    /// A file that cannot be read; a key or variable that is not known, or whose value will not do.
    pub fn load(file: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut ours = BTreeMap::new();
        let mut shared_database_url = None;
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            if name == "DATABASE_URL" {
                shared_database_url = Some(value);
            } else if name.starts_with("FANFARE_") && !is_of_a_cluster(&name, &value) {
                ours.insert(name, value);
            }
        }
        let source = read_file(file, ours.get(CONFIG_VARIABLE).map(String::as_str))?;
        let mut settings = match &source {
            Some(source) => parse_file(source)?,
            None => Table::new(),
        };
        let mut from: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in &ours {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let key = apply_variable(&mut settings, name, value)?;
            from.insert(key, format!("variable {name}"));
        }
        let mut config: Self = settings.try_into().map_err(|cause| ConfigError(first_line(&cause)))?;
        if let (Some(url), false) = (shared_database_url, from.contains_key("database_url")) {
            config.database_url = Some(Secret::new(url));
            from.insert("database_url", "variable DATABASE_URL".to_owned());
        }
        config.tidy();
        check(&config).map_err(|(key, problem)| {
            let place = from.get(key).cloned().or_else(|| source.as_ref().map(|source| source.place_of(key)));
            ConfigError(format!("{}: `{key}` {problem}", place.unwrap_or_else(|| "configuration".to_owned())))
        })?;
        Ok(config)
    }

    /// Brings equal settings to one spelling.
    fn tidy(&mut self) {
        if let Some(url) = &mut self.public_url {
            *url = url.trim_end_matches('/').to_owned();
        }
    }
}

/// What Kubernetes tells containers of a Service that somebody named `fanfare`, and no setting.
fn is_of_a_cluster(name: &str, value: &str) -> bool {
    name.starts_with("FANFARE_SERVICE_")
        || name.starts_with("FANFARE_PORT_")
        || (name == "FANFARE_PORT" && value.contains("://"))
}

/// An empty text in a file means what an absent key means, as it does in a variable.
fn drop_empty_texts(table: &mut Table) {
    table.retain(|_, value| {
        if let Value::Table(inner) = value {
            drop_empty_texts(inner);
        }
        value.as_str() != Some("")
    });
}

fn read_file(named: Option<&Path>, by_variable: Option<&str>) -> Result<Option<Source>, ConfigError> {
    let named = named.or_else(|| by_variable.map(Path::new));
    let path = named.unwrap_or(Path::new(USUAL_FILE));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError(format!("{}: cannot be read: {cause}", path.display())))?;
    Ok(Some(Source { path: path.to_owned(), text }))
}

/// Proves that the file fits, while lines are still known, and returns it as a table.
fn parse_file(source: &Source) -> Result<Table, ConfigError> {
    let mut table: Table = toml::from_str(&source.text).map_err(|cause| source.error(&cause))?;
    drop_empty_texts(&mut table);
    if let Err(cause) = toml::from_str::<Config>(&source.text) {
        // The same text without its empty values may still fit.
        if table.clone().try_into::<Config>().is_err() {
            return Err(source.error(&cause));
        }
    }
    Ok(table)
}

impl Source {
    fn error(&self, cause: &toml::de::Error) -> ConfigError {
        let Some(span) = cause.span() else {
            return ConfigError(format!("{}: {}", self.path.display(), first_line(cause)));
        };
        let place = self.place(span.start);
        if let Some(wrong) = unknown_name(cause.message()) {
            let section = self.section_at(span.start);
            let full = if section.is_empty() { wrong.to_owned() } else { format!("{section}.{wrong}") };
            let hint = nearest(&full, KEYS.iter().map(|(key, _)| *key)).unwrap_or_default();
            return ConfigError(format!("{place}: unknown key `{full}`; did you mean `{hint}`?"));
        }
        match self.key_at(&span) {
            Some(key) if SECRETS.contains(&key.as_str()) => ConfigError(format!("{place}: `{key}`: must be text")),
            Some(key) => ConfigError(format!("{place}: `{key}`: {}", plainly(cause.message()))),
            None => ConfigError(format!("{place}: {}", plainly(cause.message()))),
        }
    }

    fn place(&self, offset: usize) -> String {
        let line = self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{} line {line}", self.path.display())
    }

    fn place_of(&self, key: &str) -> String {
        match self.spans().into_iter().find(|(name, _)| name == key) {
            Some((_, span)) => self.place(span.start),
            None => self.path.display().to_string(),
        }
    }

    fn key_at(&self, at: &Range<usize>) -> Option<String> {
        self.spans().into_iter().find(|(_, span)| span.start <= at.start && at.start <= span.end).map(|(key, _)| key)
    }

    /// The section in whose table an unknown name at this offset stands.
    fn section_at(&self, offset: usize) -> String {
        let spans = self.spans();
        let own = spans.iter().find(|(_, span)| span.start == offset).map(|(key, _)| key.as_str());
        own.and_then(|key| key.rsplit_once('.')).map(|(section, _)| section.to_owned()).unwrap_or_default()
    }

    /// Every key with where it and its value stand.
    fn spans(&self) -> Vec<(String, Range<usize>)> {
        let mut found = Vec::new();
        if let Ok(table) = DeTable::parse(&self.text) {
            collect_spans(table.get_ref(), "", &mut found);
        }
        found
    }
}

fn collect_spans(table: &DeTable<'_>, prefix: &str, found: &mut Vec<(String, Range<usize>)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => collect_spans(inner, &format!("{name}."), found),
            _ => found.push((name, key.span().start..value.span().end)),
        }
    }
}

/// The name in serde's complaint about an unknown field.
fn unknown_name(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

/// Puts the value of a variable in its place; the key that it stands for.
fn apply_variable(settings: &mut Table, name: &str, text: &str) -> Result<&'static str, ConfigError> {
    let Some((key, kind)) = KEYS.iter().find(|(key, _)| variable_of(key) == name) else {
        let known: Vec<String> = KEYS.iter().map(|(key, _)| variable_of(key)).collect();
        let others = OTHER_VARIABLES.iter().copied();
        let hint = nearest(name, known.iter().map(String::as_str).chain(others)).unwrap_or_default();
        return Err(ConfigError(format!("unknown variable {name}; did you mean {hint}?")));
    };
    let wrong = |problem: &str| ConfigError(format!("variable {name}: `{key}`: {problem}"));
    let value = read_text(*kind, text).map_err(|problem| wrong(&problem))?;
    let mut alone = Table::new();
    put(&mut alone, key, value.clone());
    alone.try_into::<Config>().map_err(|cause| wrong(&plainly(cause.message())))?;
    put(settings, key, value);
    Ok(key)
}

fn read_text(kind: Kind, text: &str) -> Result<Value, String> {
    let number =
        |text: &str| text.trim().parse::<i64>().map(Value::Integer).map_err(|_| "must be a whole number".to_owned());
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Number => number(text),
        Kind::Flag => text.trim().parse().map(Value::Boolean).map_err(|_| "must be `true` or `false`".to_owned()),
        Kind::Decimal => {
            let decimal = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            decimal.map(Value::Float).ok_or_else(|| "must be a number".to_owned())
        }
        Kind::Texts => Ok(Value::Array(parts().map(|part| Value::String(part.to_owned())).collect())),
        Kind::Numbers => {
            let numbers: Result<Vec<_>, _> = parts().map(number).collect();
            numbers.map(Value::Array).map_err(|_| "must be whole numbers, separated by commas".to_owned())
        }
    }
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn first_line(cause: &toml::de::Error) -> String {
    cause.message().lines().next().unwrap_or_default().to_owned()
}
