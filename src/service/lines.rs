//! Reads the TOML of a definition and knows the line of every key in it.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::File;

/// Where each key of a file stands.
pub struct Lines<'a> {
    source: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// Reads a file; an error comes with its line.
pub fn read(source: &str) -> Result<(File, Lines<'_>), (Option<usize>, String)> {
    let at = |error: toml::de::Error| {
        let line = error.span().map(|span| line_at(source, span.start));
        (line, error.message().trim().to_owned())
    };
    let root = DeTable::parse(source).map_err(at)?;
    let file = File::deserialize(toml::Deserializer::from(root.clone())).map_err(at)?;
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

fn line_at(source: &str, offset: usize) -> usize {
    source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of a file's id.
pub fn line_of_id(source: &str) -> Option<usize> {
    let root = DeTable::parse(source).ok()?;
    Lines { source, root }.of(&["id".to_owned()])
}
