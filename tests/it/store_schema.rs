//! The migrations make the same schema on both databases: each is described in one way, and the descriptions compared.

use std::collections::BTreeSet;

use fanfare::store::Location;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::store::Base;
use crate::support::database::{DATABASE, Database, there_is_postgres};

/// One line for each column, index and reference.
type Schema = BTreeSet<String>;

#[tokio::test]
async fn both_databases_have_the_same_schema() {
    if !there_is_postgres() {
        return;
    }
    let sqlite = DATABASE.scope(Database::Sqlite, sqlite()).await;
    let postgres = DATABASE.scope(Database::Postgres, postgres()).await;
    assert!(sqlite.len() > 40, "{sqlite:#?}");
    let only = |one: &Schema, other: &Schema| one.difference(other).cloned().collect::<Vec<_>>();
    let (first, second) = (only(&sqlite, &postgres), only(&postgres, &sqlite));
    assert!(first.is_empty() && second.is_empty(), "only SQLite: {first:#?}\nonly PostgreSQL: {second:#?}");
    for line in [
        "column task.payload text required",
        "column task.attempt bigint required default 0",
        "column task.attempt_log text required default '[]'",
        "column account.confirmed_at bigint",
        "key account (email_key) unique",
        "key pusher_base (pusher_id, base_id) primary",
        "index task_due task (lane, run_at, id) where state = 'waiting'",
        "reference token (account_id) account (id) cascade",
    ] {
        assert!(sqlite.contains(line), "{line} is not in {sqlite:#?}");
    }
}

fn column(table: &str, name: &str, kind: &str, required: bool, default: Option<String>) -> String {
    let required = if required { " required" } else { "" };
    // PostgreSQL names the type of a default.
    let default = default.map(|text| format!(" default {}", text.split("::").next().unwrap())).unwrap_or_default();
    format!("column {table}.{name} {}{required}{default}", kind.to_lowercase())
}

/// A condition without the ornaments that PostgreSQL adds.
fn plain(condition: &str) -> String {
    condition.replace("::text", "").replace(['(', ')'], "").to_lowercase()
}

async fn sqlite() -> Schema {
    let base = Base::start().await;
    let Location::Sqlite { file, .. } = &base.location else { unreachable!("the database that was asked for") };
    let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let mut schema = Schema::new();
    let columns = "SELECT t.name, c.name, c.type, c.\"notnull\", c.dflt_value FROM sqlite_master t
        JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    for row in sqlx::query(columns).fetch_all(&mut conn).await.unwrap() {
        let (table, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        schema.insert(column(&table, &name, &kind, row.get(3), row.get(4)));
    }
    let indexes = "SELECT t.name, i.name, i.origin, i.\"unique\", m.sql FROM sqlite_master t
        JOIN pragma_index_list(t.name) i LEFT JOIN sqlite_master m ON m.name = i.name
        WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    for row in sqlx::query(indexes).fetch_all(&mut conn).await.unwrap() {
        let (table, name, origin): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let on = format!("{table} ({})", sqlite_index_columns(&mut conn, &name).await);
        let unique = if row.get::<bool, _>(3) { " unique" } else { "" };
        let sql: Option<String> = row.get(4);
        let condition = sql.as_deref().and_then(|sql| sql.split_once(" WHERE "));
        let condition = condition.map(|(_, text)| format!(" where {}", plain(text))).unwrap_or_default();
        schema.insert(match origin.as_str() {
            "pk" => format!("key {on} primary"),
            "u" => format!("key {on} unique"),
            _ => format!("index {name} {on}{unique}{condition}"),
        });
    }
    let references = "SELECT t.name, f.\"from\", f.\"table\", f.\"to\", f.on_delete FROM sqlite_master t
        JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table'";
    for row in sqlx::query(references).fetch_all(&mut conn).await.unwrap() {
        let part = |at: usize| row.get::<String, _>(at);
        let end = part(4).to_lowercase();
        schema.insert(format!("reference {} ({}) {} ({}) {end}", part(0), part(1), part(2), part(3)));
    }
    schema
}

async fn sqlite_index_columns(conn: &mut SqliteConnection, index: &str) -> String {
    let sql = "SELECT name, \"desc\" FROM pragma_index_xinfo($1) WHERE key ORDER BY seqno";
    let rows = sqlx::query(sql).bind(index.to_owned()).fetch_all(conn).await.unwrap();
    let columns: Vec<_> = rows.iter().map(|row| directed(row.get(0), row.get(1))).collect();
    columns.join(", ")
}

fn directed(name: String, descending: bool) -> String {
    if descending { name + " desc" } else { name }
}

async fn postgres() -> Schema {
    let base = Base::start().await;
    let Location::Postgres { url, .. } = &base.location else { unreachable!("the database that was asked for") };
    let mut conn = PgConnection::connect(url).await.unwrap();
    let mut schema = Schema::new();
    let columns = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'NO',
        column_default::text, collation_name::text FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'";
    for row in sqlx::query(columns).fetch_all(&mut conn).await.unwrap() {
        let (table, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let collation: Option<String> = row.get(5);
        let bytewise = (kind == "text").then_some("C");
        assert_eq!(collation.as_deref(), bytewise, "{table}.{name} is {kind}: text is compared byte by byte");
        schema.insert(column(&table, &name, &kind, row.get(3), row.get(4)));
    }
    let indexes = "SELECT t.relname::text, n.relname::text, c.contype::text, i.indisunique,
        pg_get_expr(i.indpred, i.indrelid), i.indexrelid::bigint, i.indnkeyatts::bigint
        FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class n ON n.oid = i.indexrelid
        LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
        WHERE t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_sqlx%'";
    for row in sqlx::query(indexes).fetch_all(&mut conn).await.unwrap() {
        let (table, name, origin): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        let on = format!("{table} ({})", postgres_index_columns(&mut conn, row.get(5), row.get(6)).await);
        let unique = if row.get::<bool, _>(3) { " unique" } else { "" };
        let condition: Option<String> = row.get(4);
        let condition = condition.map(|text| format!(" where {}", plain(&text))).unwrap_or_default();
        schema.insert(match origin.as_deref() {
            Some("p") => format!("key {on} primary"),
            Some(_) => format!("key {on} unique"),
            None => format!("index {name} {on}{unique}{condition}"),
        });
    }
    let references = "SELECT pg_get_constraintdef(c.oid), t.relname::text FROM pg_constraint c
        JOIN pg_class t ON t.oid = c.conrelid WHERE c.contype = 'f'";
    for row in sqlx::query(references).fetch_all(&mut conn).await.unwrap() {
        // FOREIGN KEY (a) REFERENCES t(b) ON DELETE CASCADE
        let (text, table): (String, String) = (row.get(0), row.get(1));
        let text = text.trim_start_matches("FOREIGN KEY ").replace("REFERENCES ", "").replace(")", ") ");
        let (on, end) = text.split_once("ON DELETE ").unwrap_or((&text, "no action"));
        let on = on.replace('(', " (").split_whitespace().collect::<Vec<_>>().join(" ");
        schema.insert(format!("reference {table} {on} {}", end.trim().to_lowercase()));
    }
    schema
}

async fn postgres_index_columns(conn: &mut PgConnection, index: i64, count: i64) -> String {
    let mut columns = Vec::new();
    for at in 1..=count {
        let sql = AssertSqlSafe(format!(
            "SELECT pg_get_indexdef({index}::oid, {at}, true), (indoption[{at} - 1] & 1) = 1
             FROM pg_index WHERE indexrelid = {index}::oid"
        ));
        let row = sqlx::query(sql).fetch_one(&mut *conn).await.unwrap();
        columns.push(directed(row.get(0), row.get(1)));
    }
    columns.join(", ")
}
