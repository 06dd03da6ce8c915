//! Reads the TOML of a definition and knows the line of every key in it.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::File;
use crate::domain::complaint::plainly;

/// Where each key of a file stands.
pub struct Lines<'a> {
    source: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// Reads a file; an error comes with its line.
pub fn read(source: &str) -> Result<(File, Lines<'_>), (Option<usize>, String)> {
    let at = |error: toml::de::Error, key: Option<String>| {
        let line = error.span().map(|span| line_at(source, span.start));
        let reason = plainly(error.message().trim());
        (line, key.map_or_else(|| reason.clone(), |key| format!("{key}: {reason}")))
    };
    let root = DeTable::parse(source).map_err(|error| at(error, None))?;
    let file = File::deserialize(toml::Deserializer::from(root.clone())).map_err(|error| {
        let key = error.span().and_then(|span| key_at(root.get_ref(), span.start));
        at(error, key)
    })?;
    Ok((file, Lines { source, root }))
}

impl Lines<'_> {
    /// The line of the key at a path, or of the nearest key above it that is written in the file.
    pub fn of(&self, path: &[String]) -> Option<usize> {
        let mut at = None;
        let mut table = Some(self.root.get_ref());
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for part in path {
            let found = match (table, value.map(Spanned::get_ref)) {
                (Some(fields), _) => fields.iter().find(|(key, _)| key.get_ref() == part),
                (None, Some(DeValue::Array(items))) => {
                    let item = part.parse::<usize>().ok().and_then(|index| items.get(index));
                    let Some(item) = item else { break };
                    at = Some(item.span().start);
                    table = item.get_ref().as_table();
                    value = Some(item);
                    continue;
                }
                _ => None,
            };
            let Some((key, next)) = found else { break };
            at = Some(key.span().start);
            table = next.get_ref().as_table();
            value = Some(next);
        }
        at.map(|offset| line_at(self.source, offset))
    }
}

/// The key whose value holds an offset, with the keys above it.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    let (key, value) = table.iter().find(|(_, value)| holds(value, offset))?;
    let inner = match value.get_ref() {
        DeValue::Table(inner) => key_at(inner, offset),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(number, item)| {
            let inner = key_at(item.get_ref().as_table()?, offset)?;
            Some(format!("{number}.{inner}"))
        }),
        _ => None,
    };
    let name = key.get_ref();
    Some(inner.map_or_else(|| name.to_string(), |inner| format!("{name}.{inner}")))
}

/// A table under a heading holds what its keys do, wherever they stand.
fn holds(value: &Spanned<DeValue<'_>>, offset: usize) -> bool {
    value.span().contains(&offset)
        || match value.get_ref() {
            DeValue::Table(inner) => {
                inner.iter().any(|(key, value)| key.span().contains(&offset) || holds(value, offset))
            }
            DeValue::Array(items) => items.iter().any(|item| holds(item, offset)),
            _ => false,
        }
}

fn line_at(source: &str, offset: usize) -> usize {
    source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of a file's id.
pub fn line_of_id(source: &str) -> Option<usize> {
    let root = DeTable::parse(source).ok()?;
    Lines { source, root }.of(&["id".to_owned()])
}
