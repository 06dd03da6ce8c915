//! Rows: how one is read on either database, how they are listed, and statements over many at once. Those have one text
//! for each number of rows, so that each is prepared once: one round trip to the database's thread for a whole group.

use std::sync::OnceLock;

use super::Db;

/// Says how a row of either database is read, as sqlx would derive it: `from_row!(Type, |row| …)`, where `row.try_get`
/// takes texts, numbers and flags by the names of their columns.
macro_rules! from_row {
    ($type:ty, |$row:ident| $read:expr) => {
        impl<'r, R> sqlx::FromRow<'r, R> for $type
        where
            R: sqlx::Row,
            for<'c> &'c str: sqlx::ColumnIndex<R>,
            String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
            i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
            bool: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
        {
            fn from_row($row: &'r R) -> sqlx::Result<Self> {
                $read
            }
        }
    };
}
pub(super) use from_row;

/// Ends a query that lists rows, the newest first: at most `limit`, and those older than `before`, which is a time and
/// the value of the column that decides between rows of one time.
macro_rules! newest_first {
    ($query:ident, $column:literal, $before:expr, $limit:expr) => {
        if let Some((at, last)) = $before {
            $query.push(concat!(" AND (created_at, ", $column, ") < (")).push_bind(at.0).push(", ");
            $query.push_bind(last.to_string()).push(")");
        }
        $query.push(concat!(" ORDER BY created_at DESC, ", $column, " DESC LIMIT ")).push_bind($limit);
    };
}
pub(super) use newest_first;

/// Most rows in one statement.
pub(super) const MOST_ROWS: usize = 64;

/// A statement around a list of rows, `(…), (…), …`.
pub(super) struct Rows {
    before: &'static str,
    after: &'static str,
    /// The type of each column, for the first row; empty where the database knows.
    types: &'static [&'static str],
    texts: [OnceLock<(String, String)>; MOST_ROWS],
}

impl Rows {
    /// A statement of which the rows' columns have these types. PostgreSQL takes a bare mark in a list of its own for
    /// text; where that does not hold, give the types.
    pub(super) const fn new(before: &'static str, types: &'static [&'static str], after: &'static str) -> Self {
        Self { before, after, types, texts: [const { OnceLock::new() }; MOST_ROWS] }
    }

    /// The text for so many rows, from 1 to `MOST_ROWS`. The fork: SQLite looks a numbered mark up by name for every
    /// value that is bound, a plain `?` it does not; PostgreSQL knows only numbered ones.
    pub(super) fn text(&'static self, db: &Db, rows: usize) -> &'static str {
        let rows = rows.clamp(1, MOST_ROWS);
        let (plain, numbered) = self.texts[rows - 1]
            .get_or_init(|| (self.write(rows, |_| "?".to_owned()), self.write(rows, |at| format!("${at}"))));
        match db {
            Db::Sqlite { .. } => plain,
            Db::Postgres { .. } => numbered,
        }
    }

    fn write(&self, rows: usize, mark: impl Fn(usize) -> String) -> String {
        let columns = self.types.len();
        let cell = |row: usize, column: usize| {
            let mark = mark(row * columns + column + 1);
            match self.types[column] {
                kind if row == 0 && !kind.is_empty() => format!("CAST({mark} AS {kind})"),
                _ => mark,
            }
        };
        let row = |row: usize| {
            let cells: Vec<String> = (0..columns).map(|column| cell(row, column)).collect();
            format!("({})", cells.join(", "))
        };
        let values: Vec<String> = (0..rows).map(row).collect();
        // What follows the rows goes on counting where they end.
        let after = self.after.replace("{worker}", &mark(rows * columns + 1));
        format!("{}{}{after}", self.before, values.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_through_and_typed_once() {
        let rows = Rows::new("INSERT INTO t (a, b) VALUES ", &["", ""], "");
        assert_eq!(rows.write(2, |at| format!("${at}")), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
        let rows = Rows::new("VALUES ", &["TEXT", ""], " WHERE worker = {worker}");
        assert_eq!(rows.write(2, |at| format!("${at}")), "VALUES (CAST($1 AS TEXT), $2), ($3, $4) WHERE worker = $5");
        assert_eq!(rows.write(1, |_| "?".to_owned()), "VALUES (CAST(? AS TEXT), ?) WHERE worker = ?");
    }
}
