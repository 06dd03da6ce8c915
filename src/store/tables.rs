//! The schema as the database itself tells it: tables, columns, and which table must be filled before which. What moves
//! whole databases asks this, so that nobody need remember to tell it of a new table. Reads no rows.

use std::collections::BTreeSet;

use anyhow::{Context, bail};

use super::trouble::broken;
use super::{Tx, migrations};
use crate::error::Result;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub name: String,
    /// Name and kind, by name.
    pub columns: Vec<(String, Kind)>,
}

impl Table {
    /// The columns as SQL lists them.
    pub fn column_list(&self) -> String {
        let quoted: Vec<String> = self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        quoted.join(", ")
    }

    /// Every row.
    pub fn select(&self) -> String {
        format!("SELECT {} FROM \"{}\"", self.column_list(), self.name)
    }

    /// An insertion of so many rows.
    pub fn insert(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        let rows = vec![row; rows].join(", ");
        format!("INSERT INTO \"{}\" ({}) VALUES {rows}", self.name, self.column_list())
    }
}

impl Tx {
    /// Every table but the record of migrations, by name.
    ///
    /// # Errors
    /// If the database fails, or a column is of a type that we do not use.
    pub(super) async fn tables(&mut self) -> anyhow::Result<Vec<Table>> {
        let mut tables: Vec<Table> = Vec::new();
        let mut columns = self.columns().await.map_err(broken).context("cannot read the schema")?;
        columns.sort();
        for (table, column, declared) in columns.into_iter().filter(|(table, ..)| table != migrations::TABLE) {
            let kind = match declared.to_ascii_uppercase().as_str() {
                "TEXT" => Kind::Text,
                "BIGINT" => Kind::Number,
                "BOOLEAN" => Kind::Flag,
                other => bail!("the column {column} of {table} is of the type {other}, which is none of ours"),
            };
            match tables.last_mut().filter(|last| last.name == table) {
                Some(last) => last.columns.push((column, kind)),
                None => tables.push(Table { name: table, columns: vec![(column, kind)] }),
            }
        }
        Ok(tables)
    }

    /// Table, column and declared type. The fork: each database describes itself in its own way.
    async fn columns(&mut self) -> Result<Vec<(String, String, String)>> {
        Ok(match self {
            Self::Sqlite(tx) => {
                sqlx::query_as(
                    "SELECT t.name, c.name, c.type FROM sqlite_schema t JOIN pragma_table_info(t.name) c
                     WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
                )
                .fetch_all(&mut **tx)
                .await?
            }
            Self::Postgres(tx) => {
                sqlx::query_as(
                    "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), CAST(c.data_type AS TEXT)
                     FROM information_schema.columns c JOIN information_schema.tables t
                     ON t.table_schema = c.table_schema AND t.table_name = c.table_name
                     WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'",
                )
                .fetch_all(&mut **tx)
                .await?
            }
        })
    }

    /// Which table refers to which. The fork: as for `columns`.
    pub(super) async fn references(&mut self) -> Result<Vec<(String, String)>> {
        Ok(match self {
            Self::Sqlite(tx) => {
                sqlx::query_as(
                    "SELECT t.name, f.\"table\" FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f
                     WHERE t.type = 'table'",
                )
                .fetch_all(&mut **tx)
                .await?
            }
            Self::Postgres(tx) => {
                sqlx::query_as(
                    "SELECT CAST(t.relname AS TEXT), CAST(r.relname AS TEXT) FROM pg_constraint c
                     JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class r ON r.oid = c.confrelid
                     WHERE c.contype = 'f' AND c.connamespace = to_regnamespace(current_schema())",
                )
                .fetch_all(&mut **tx)
                .await?
            }
        })
    }
}

/// The tables in an order in which each comes after all that it refers to.
///
/// # Errors
/// If tables refer to each other in a circle.
pub(super) fn in_order(mut tables: Vec<Table>, references: &[(String, String)]) -> anyhow::Result<Vec<Table>> {
    let mut placed: BTreeSet<String> = BTreeSet::new();
    let mut order = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let ready = |table: &Table| {
            references.iter().all(|(from, to)| *from != table.name || *to == table.name || placed.contains(to))
        };
        let next = tables.iter().position(ready).context("tables refer to each other in a circle")?;
        let table = tables.remove(next);
        placed.insert(table.name.clone());
        order.push(table);
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table { name: name.to_owned(), columns: vec![("a".to_owned(), Kind::Text), ("b".to_owned(), Kind::Flag)] }
    }

    fn order(names: &[&str], references: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
        let references: Vec<_> = references.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let tables = in_order(names.iter().map(|name| table(name)).collect(), &references)?;
        Ok(tables.into_iter().map(|table| table.name).collect())
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        assert_eq!(order(&["a", "b", "c"], &[("a", "c"), ("c", "b")]).unwrap(), ["b", "c", "a"]);
        assert_eq!(order(&["a", "b"], &[("a", "a")]).unwrap(), ["a", "b"], "a table may refer to itself");
        assert!(order(&["a", "b"], &[("a", "b"), ("b", "a")]).is_err());
    }

    #[test]
    fn statements_name_every_column() {
        assert_eq!(table("t").select(), "SELECT \"a\", \"b\" FROM \"t\"");
        assert_eq!(table("t").insert(2), "INSERT INTO \"t\" (\"a\", \"b\") VALUES (?, ?), (?, ?)");
    }
}
