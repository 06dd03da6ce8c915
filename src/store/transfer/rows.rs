//! The rows of one table, on their way from one database to the other: read as a stream, written in bulk, so that
//! memory does not grow with the table. The fork: PostgreSQL takes in rows fastest by COPY, which SQLite lacks.

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgCopyIn};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, Row, Type};

use crate::store::tables::{Kind, Table};
use crate::store::{Tx, on};

/// Bytes that are gathered before they are sent to PostgreSQL.
const CHUNK: usize = 256 * 1024;
/// Rows in one statement to SQLite.
const MOST_ROWS: usize = 50;

enum Cell {
    Null,
    Text(String),
    Number(i64),
    Flag(bool),
}

enum Sink<'t> {
    Copy { copy: PgCopyIn<&'t mut PgConnection>, text: Vec<u8> },
    Insert { conn: &'t mut SqliteConnection, table: &'t Table, cells: Vec<Cell> },
}

/// Copies every row.
pub(super) async fn copy(source: &mut Tx, target: &mut Tx, table: &Table) -> anyhow::Result<()> {
    let mut sink = Sink::open(target, table).await?;
    on!(unlimited source, conn => {
        let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(conn);
        while let Some(row) = rows.try_next().await? {
            sink.take(read(&row, table)?).await?;
        }
    });
    sink.end().await
}

fn read<'r, R>(row: &'r R, table: &Table) -> sqlx::Result<Vec<Cell>>
where
    R: Row,
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
{
    let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
        let cell = match kind {
            Kind::Text => row.try_get::<Option<String>, _>(at)?.map(Cell::Text),
            Kind::Number => row.try_get::<Option<i64>, _>(at)?.map(Cell::Number),
            Kind::Flag => row.try_get::<Option<bool>, _>(at)?.map(Cell::Flag),
        };
        Ok(cell.unwrap_or(Cell::Null))
    };
    table.columns.iter().enumerate().map(cell).collect()
}

impl<'t> Sink<'t> {
    async fn open(target: &'t mut Tx, table: &'t Table) -> anyhow::Result<Self> {
        Ok(match target {
            Tx::Sqlite(tx) => Self::Insert { conn: tx, table, cells: Vec::new() },
            Tx::Postgres(tx) => {
                let sql = format!("COPY \"{}\" ({}) FROM STDIN", table.name, table.column_list());
                Self::Copy { copy: tx.copy_in_raw(&sql).await?, text: Vec::with_capacity(CHUNK * 2) }
            }
        })
    }

    async fn take(&mut self, row: Vec<Cell>) -> anyhow::Result<()> {
        match self {
            Self::Copy { copy, text } => {
                write_line(text, &row);
                if text.len() >= CHUNK {
                    copy.send(text.as_slice()).await?;
                    text.clear();
                }
            }
            Self::Insert { conn, table, cells } => {
                cells.extend(row);
                if cells.len() >= MOST_ROWS * table.columns.len() {
                    insert(conn, table, std::mem::take(cells)).await?;
                }
            }
        }
        Ok(())
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Copy { mut copy, text } => {
                copy.send(text.as_slice()).await?;
                copy.finish().await?;
            }
            Self::Insert { conn, table, cells } => insert(conn, table, cells).await?,
        }
        Ok(())
    }
}

async fn insert(conn: &mut SqliteConnection, table: &Table, cells: Vec<Cell>) -> anyhow::Result<()> {
    if cells.is_empty() {
        return Ok(());
    }
    let sql = table.insert(cells.len() / table.columns.len());
    let mut query = sqlx::query::<sqlx::Sqlite>(AssertSqlSafe(sql));
    for cell in cells {
        query = bind(query, cell);
    }
    query.execute(conn).await?;
    Ok(())
}

type SqliteQuery<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind(query: SqliteQuery<'_>, cell: Cell) -> SqliteQuery<'_> {
    match cell {
        Cell::Null => query.bind(None::<String>),
        Cell::Text(text) => query.bind(text),
        Cell::Number(number) => query.bind(number),
        Cell::Flag(flag) => query.bind(flag),
    }
}

/// A row in COPY's text form: cells between tabs, `\N` for none.
fn write_line(line: &mut Vec<u8>, row: &[Cell]) {
    for (at, cell) in row.iter().enumerate() {
        if at > 0 {
            line.push(b'\t');
        }
        match cell {
            Cell::Null => line.extend(b"\\N"),
            Cell::Text(text) => write_text(line, text),
            Cell::Number(number) => line.extend(number.to_string().bytes()),
            Cell::Flag(flag) => line.push(if *flag { b't' } else { b'f' }),
        }
    }
    line.push(b'\n');
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => line.extend(b"\\\\"),
            b'\t' => line.extend(b"\\t"),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            // PostgreSQL cannot hold it in a text. It stands at most in a name that somebody gave, never in an id or
            // a sealed value.
            0 => line.extend("\u{fffd}".bytes()),
            byte => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_escaped() {
        let mut line = Vec::new();
        let text = |text: &str| Cell::Text(text.to_owned());
        let row = [text("a\tb\nc\rd\\N"), Cell::Null, text(""), Cell::Number(-7), Cell::Flag(true), text("数\0")];
        write_line(&mut line, &row);
        let expected = "a\\tb\\nc\\rd\\\\N\t\\N\t\t-7\tt\t数\u{fffd}\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
