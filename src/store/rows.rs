//! Rows: how one is read on either database, how they are listed, and statements over many at once: one round trip for a
//! whole group.

use std::borrow::Cow;
use std::sync::OnceLock;

use sqlx::query::Query;
use sqlx::{Database, FromRow, Postgres, Row, Sqlite};

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

/// Most rows in one statement on SQLite, where each number of them has a text of its own, and most that are recorded at
/// once.
pub(super) const MOST_ROWS: usize = 64;

/// A value in a row.
pub(super) enum Cell {
    Text(Option<Cow<'static, str>>),
    Number(Option<i64>),
    Flag(bool),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<&'static str> for Cell {
    fn from(text: &'static str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Cow::from))
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Cell {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
}

/// A statement around a list of rows: what stands before it, the columns, and what stands after it, where `{next}` is what
/// is bound after the rows.
pub(super) struct Rows<const N: usize> {
    before: &'static str,
    columns: [Kind; N],
    after: &'static str,
    /// For so many rows. Each is made, and prepared, once.
    of_sqlite: [OnceLock<String>; MOST_ROWS],
    of_postgres: OnceLock<String>,
}

/// The fork: SQLite takes rows as a list of marks, of which each number of rows has a text of its own. PostgreSQL takes
/// columns as arrays: for a list of marks it looks at each mark, again for each plan.
pub(super) trait Bulk: Database {
    /// See `Rows::query`.
    fn query<const N: usize>(
        of: &'static Rows<N>,
        rows: impl ExactSizeIterator<Item = [Cell; N]>,
    ) -> Query<'static, Self, Self::Arguments>;
}

impl<const N: usize> Rows<N> {
    pub(super) const fn new(before: &'static str, columns: [Kind; N], after: &'static str) -> Self {
        let of_sqlite = [const { OnceLock::new() }; MOST_ROWS];
        Self { before, columns, after, of_sqlite, of_postgres: OnceLock::new() }
    }

    /// The statement for these rows, of which there are some, and on SQLite at most `MOST_ROWS`.
    pub(super) fn query<DB: Bulk>(
        &'static self,
        rows: impl ExactSizeIterator<Item = [Cell; N]>,
    ) -> Query<'static, DB, DB::Arguments> {
        DB::query(self, rows)
    }

    /// A numbered mark SQLite would look up by name for every value that is bound; a plain `?` it does not.
    fn for_sqlite(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; N].join(", "));
        let values = vec![row.as_str(); rows].join(", ");
        format!("{}VALUES {values}{}", self.before, self.after.replace("{next}", "?"))
    }

    fn for_postgres(&self) -> String {
        let array = |(at, kind): (usize, &Kind)| match kind {
            Kind::Text => format!("${}::TEXT[]", at + 1),
            Kind::Number => format!("${}::BIGINT[]", at + 1),
            Kind::Flag => format!("${}::BOOLEAN[]", at + 1),
        };
        let arrays: Vec<String> = self.columns.iter().enumerate().map(array).collect();
        let after = self.after.replace("{next}", &format!("${}", N + 1));
        format!("{}SELECT * FROM unnest({}){after}", self.before, arrays.join(", "))
    }
}

impl Bulk for Sqlite {
    fn query<const N: usize>(
        of: &'static Rows<N>,
        rows: impl ExactSizeIterator<Item = [Cell; N]>,
    ) -> Query<'static, Self, Self::Arguments> {
        let count = rows.len().clamp(1, MOST_ROWS);
        let query = sqlx::query(of.of_sqlite[count - 1].get_or_init(|| of.for_sqlite(count)).as_str());
        rows.flatten().fold(query, |query, cell| match cell {
            Cell::Text(text) => query.bind(text),
            Cell::Number(number) => query.bind(number),
            Cell::Flag(flag) => query.bind(flag),
        })
    }
}

impl Bulk for Postgres {
    fn query<const N: usize>(
        of: &'static Rows<N>,
        rows: impl ExactSizeIterator<Item = [Cell; N]>,
    ) -> Query<'static, Self, Self::Arguments> {
        let count = rows.len();
        let query = sqlx::query(of.of_postgres.get_or_init(|| of.for_postgres()).as_str());
        let mut columns = of.columns.map(|kind| Column::new(kind, count));
        for row in rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.push(cell);
            }
        }
        columns.into_iter().fold(query, |query, column| match column {
            Column::Texts(texts) => query.bind(texts),
            Column::Numbers(numbers) => query.bind(numbers),
            Column::Flags(flags) => query.bind(flags),
        })
    }
}

/// Reads rows of either database.
pub(super) fn read<'r, R: Row, T: FromRow<'r, R>>(rows: &'r [R]) -> sqlx::Result<Vec<T>> {
    rows.iter().map(T::from_row).collect()
}

/// The values of one column.
enum Column {
    Texts(Vec<Option<Cow<'static, str>>>),
    Numbers(Vec<Option<i64>>),
    Flags(Vec<Option<bool>>),
}

impl Column {
    fn new(kind: Kind, count: usize) -> Self {
        match kind {
            Kind::Text => Self::Texts(Vec::with_capacity(count)),
            Kind::Number => Self::Numbers(Vec::with_capacity(count)),
            Kind::Flag => Self::Flags(Vec::with_capacity(count)),
        }
    }

    /// Of a cell of another kind nothing is left, and the database refuses the row where it must not be empty.
    fn push(&mut self, cell: Cell) {
        debug_assert!(self.takes(&cell), "a cell of another kind");
        match (self, cell) {
            (Self::Texts(texts), Cell::Text(text)) => texts.push(text),
            (Self::Numbers(numbers), Cell::Number(number)) => numbers.push(number),
            (Self::Flags(flags), Cell::Flag(flag)) => flags.push(Some(flag)),
            (Self::Texts(texts), _) => texts.push(None),
            (Self::Numbers(numbers), _) => numbers.push(None),
            (Self::Flags(flags), _) => flags.push(None),
        }
    }

    fn takes(&self, cell: &Cell) -> bool {
        matches!(
            (self, cell),
            (Self::Texts(_), Cell::Text(_)) | (Self::Numbers(_), Cell::Number(_)) | (Self::Flags(_), Cell::Flag(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_gets_rows_in_its_own_way() {
        let rows = Rows::new("INSERT INTO t (a, b) ", [Kind::Text, Kind::Number], "");
        assert_eq!(rows.for_sqlite(2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
        assert_eq!(rows.for_postgres(), "INSERT INTO t (a, b) SELECT * FROM unnest($1::TEXT[], $2::BIGINT[])");
        let rows = Rows::new("", [Kind::Flag], " WHERE worker = {next}");
        assert_eq!(rows.for_sqlite(1), "VALUES (?) WHERE worker = ?");
        assert_eq!(rows.for_postgres(), "SELECT * FROM unnest($1::BOOLEAN[]) WHERE worker = $2");
    }
}
