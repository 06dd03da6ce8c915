//! Moving an installation from SQLite to PostgreSQL, and back.

use std::path::{Path, PathBuf};
use std::time::Instant;

use fanfare::store::{Location, Moved, SecretKey, Store, transfer};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use crate::store::{KEY, LIMITS};
use crate::support::PATIENCE;
use crate::support::client::{Client, text};
use crate::support::database::{Fresh, on_postgres};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::install::{change, logged_in, over, printed, refused, with_admin};
use crate::support::program::Program;
use crate::support::world::{webhook, with};

on_postgres!(
    an_installation_moves_to_postgres_and_goes_on,
    every_table_comes_along_there_and_back,
    what_belongs_to_others_is_left_as_it_is,
    what_was_started_with_another_key_is_no_target,
    a_move_that_is_killed_leaves_the_target_empty,
);

/// Where no database answers.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

fn postgres(base: &Fresh) -> Location {
    Location::Postgres { url: base.url.clone(), max_connections: 4 }
}

fn sqlite(file: &Path) -> Location {
    Location::Sqlite { file: file.to_owned(), durable: false }
}

async fn move_over(from: &Location, to: &Location) -> anyhow::Result<Moved> {
    transfer(from, to, &SecretKey::from_bytes(KEY)).await
}

async fn try_migrate(program: &Program, from: &str, to: &str) -> crate::support::program::Ended {
    program.run(&["migrate", "--from", from, "--to", to]).await
}

/// What an installation has been up to: a task in every state that a task can wait or end in.
struct Past {
    preset: String,
    succeeded: String,
    failed: String,
    delayed: String,
    running: String,
    steps: Vec<String>,
}

async fn live(client: &Client, sink: &HttpSink) -> Past {
    let params = with(webhook(sink), json!({ "secret": "whsec_aHVudGVyMmh1bnRlcjI=", "content": "c\td\\e" }));
    let preset = client.preset("webhook", params).await;
    let task = |pushed: &Value| text(&pushed["task_id"]);
    let succeeded = task(&client.pushed(&preset, json!({})).await);
    over(client, &succeeded).await;
    sink.script(vec![Play::status(400)]);
    let failed = task(&client.pushed(&preset, json!({})).await);
    over(client, &failed).await;
    sink.script(vec![Play::Hang]);
    let running = task(&client.pushed(&preset, json!({})).await);
    sink.expect(3).await;
    let delayed = task(&client.pushed(&preset, json!({ "delay": 3600, "content": "later" })).await);
    let member = |name: &str| json!({ "name": name, "base_pusher": "webhook", "params": webhook(sink) });
    let group = json!({ "pushers": [member("a"), member("b")], "strategy": "fallback" });
    let group = client.group(group).await;
    let pushed = client.pushed(&group, json!({ "delay": 3600 })).await;
    let steps = pushed["tasks"].as_array().unwrap().iter().map(|step| text(&step["task_id"])).collect();
    Past { preset, succeeded, failed, delayed, running, steps }
}

async fn an_installation_moves_to_postgres_and_goes_on() {
    let base = Fresh::empty().await;
    let (program, sink) = (with_admin(), HttpSink::start().await);
    let (server, token) = logged_in(&program).await;
    let past = live(&server.client(Some(&token)), &sink).await;
    assert_eq!(server.end("KILL").await.0, None);
    let sql = format!("UPDATE task SET run_at = 1 WHERE id = '{}'", past.delayed);
    change(&program.folder().join("data/fanfare.db"), &sql).await;

    let told = printed(try_migrate(&program, "sqlite:data/fanfare.db", &base.url).await);
    for line in ["  account: 1\n", "  pusher: 2\n", "  pusher_base: 2\n", "  task: 6\n", "  token: 1\n"] {
        assert!(told.contains(line), "{told}");
    }
    assert!(told.contains("tasks that had been under way and wait again: 1\n"), "{told}");
    assert!(told.contains("every node needs ./data/secret.key or its text\n"), "{told}");

    let program = program.with("FANFARE_DATABASE_URL", &base.url);
    let server = program.serve().await;
    let client = server.client(Some(&token));
    let later = over(&client, &past.delayed).await;
    assert_eq!((&later["state"], &later["attempts"]), (&json!("succeeded"), &json!(1)));
    assert!(sink.requests().iter().any(|request| request.json()["content"] == "later"));
    let again = over(&client, &past.running).await;
    assert_eq!((&again["state"], &again["attempts"]), (&json!("succeeded"), &json!(2)));
    assert_eq!(client.task(&past.succeeded).await["state"], "succeeded");
    assert_eq!(client.task(&past.failed).await["state"], "failed");
    assert_eq!(client.task(&past.steps[0]).await["state"], "waiting");
    assert_eq!(client.task(&past.steps[1]).await["state"], "held");
    let before = sink.requests().len();
    let fresh = text(&client.pushed(&past.preset, json!({})).await["task_id"]);
    assert_eq!(over(&client, &fresh).await["state"], "succeeded");
    let signed = sink.requests()[before].clone();
    assert!(signed.header("webhook-signature").is_some(), "the Preset's secret opens");
    assert_eq!(signed.json()["content"], "c\td\\e");
    assert_eq!(server.end("TERM").await.0, Some(0));

    let told = try_migrate(&program, "sqlite:data/fanfare.db", &base.url).await;
    assert!(refused(&told).starts_with("the target is not empty: its table account has rows"), "{}", told.err);
}

/// Every table of an SQLite database but the record of migrations, with its columns and whether each may be empty.
async fn schema(conn: &mut SqliteConnection) -> Vec<(String, Vec<(String, String, bool)>)> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY name";
    let tables: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&mut *conn).await.unwrap();
    let mut schema = Vec::new();
    for (table,) in tables.into_iter().filter(|(name,)| !name.starts_with("sqlite_")) {
        let sql = "SELECT name, type, NOT \"notnull\" FROM pragma_table_info($1) ORDER BY cid";
        schema.push((table.clone(), sqlx::query_as(sql).bind(table).fetch_all(&mut *conn).await.unwrap()));
    }
    schema
}

/// An up-to-date database with two rows in every table, whichever tables there are: one full, one as empty as can be.
/// Every text of a row is the same, so whatever refers to another table finds what it refers to.
async fn fill(file: &Path) {
    Store::open(&sqlite(file), &SecretKey::from_bytes(KEY), LIMITS).await.unwrap().close().await;
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut conn).await.unwrap();
    for (table, columns) in schema(&mut conn).await {
        for (full, value) in [(true, "数'\t\\N\r\n\\."), (false, "")] {
            let cells = columns.iter().map(|(_, kind, optional)| match kind.as_str() {
                _ if *optional && !full => "NULL".to_owned(),
                "TEXT" => format!("'{}'", value.replace('\'', "''")),
                "BIGINT" => i64::MIN.saturating_add(i64::from(full)).to_string(),
                "BOOLEAN" => full.to_string(),
                other => panic!("{table}: {other}"),
            });
            let cells: Vec<String> = cells.collect();
            let sql = format!("INSERT INTO \"{table}\" VALUES ({})", cells.join(", "));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
        }
    }
    conn.close().await.unwrap();
}

/// Every row of every table, as text.
async fn content(file: &Path) -> Vec<(String, Vec<String>)> {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let mut content = Vec::new();
    for (table, columns) in schema(&mut conn).await {
        let quoted: Vec<String> = columns.iter().map(|(name, ..)| format!("quote(\"{name}\")")).collect();
        let sql = format!("SELECT {} FROM \"{table}\" ORDER BY 1", quoted.join(" || ',' || "));
        let rows: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        content.push((table, rows.into_iter().map(|(row,)| row).collect()));
    }
    conn.close().await.unwrap();
    content
}

async fn what_belongs_to_others_is_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.db");
    fill(&file).await;
    for theirs in ["CREATE TABLE foo (a INT)", "CREATE TABLE account (a TEXT)", "CREATE VIEW foo AS SELECT 1"] {
        let base = Fresh::empty().await;
        let mut conn = base.connect().await;
        sqlx::query(theirs).execute(&mut conn).await.unwrap();
        let refused = move_over(&sqlite(&file), &postgres(&base)).await.unwrap_err();
        assert!(refused.to_string().starts_with("the target is not empty: it holds "), "{refused:#}");
        let made: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(made.0, 1, "nothing was made beside {theirs}");
        conn.close().await.unwrap();
    }
}

async fn every_table_comes_along_there_and_back() {
    let base = Fresh::empty().await;
    let folder = TempDir::new().unwrap();
    let (file, back): (PathBuf, PathBuf) = (folder.path().join("a.db"), folder.path().join("b.db"));
    fill(&file).await;
    let before = content(&file).await;
    let rows = |table: &str| before.iter().find(|(name, _)| name == table).map_or(0, |(_, rows)| rows.len());
    assert!(before.len() >= 6 && before.iter().all(|(_, rows)| rows.len() >= 2), "{before:?}");

    let mut moved = move_over(&sqlite(&file), &postgres(&base)).await.unwrap();
    moved.tables.sort();
    let names: Vec<&str> = moved.tables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    assert!(moved.tables.iter().all(|(name, count)| usize::try_from(*count) == Ok(rows(name))), "{moved:?}");
    assert_eq!(content(&file).await, before, "the source is as it was");

    let other = base.connect().await;
    let refused = move_over(&postgres(&base), &sqlite(&back)).await.unwrap_err();
    assert!(refused.to_string().contains("stop every server on it first"), "{refused:#}");
    other.close().await.unwrap();
    while let Err(error) = move_over(&postgres(&base), &sqlite(&back)).await {
        // The server takes a moment to forget the connection.
        assert!(error.to_string().contains("stop every server on it first"), "{error:#}");
    }
    assert_eq!(content(&back).await, before, "to the last byte");
    let again = move_over(&postgres(&base), &sqlite(&back)).await.unwrap_err();
    assert!(again.to_string().starts_with("the target is not empty"), "{again:#}");
}

async fn what_was_started_with_another_key_is_no_target() {
    let base = Fresh::empty().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.db");
    Store::open(&sqlite(&file), &SecretKey::from_bytes(KEY), LIMITS).await.unwrap().close().await;
    Store::open(&postgres(&base), &SecretKey::from_bytes([8; 32]), LIMITS).await.unwrap().close().await;
    let refused = move_over(&sqlite(&file), &postgres(&base)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the target has been started with another secret key");
    sqlx::raw_sql("DELETE FROM setting").execute(&mut base.connect().await).await.unwrap();
    move_over(&sqlite(&file), &postgres(&base)).await.unwrap();
    let store = Store::open(&postgres(&base), &SecretKey::from_bytes(KEY), LIMITS).await.unwrap();
    store.close().await;
}

async fn a_move_that_is_killed_leaves_the_target_empty() {
    let base = Fresh::empty().await;
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let sql = "INSERT INTO task (id, owner, pusher_id, service, fallback, state, lane, run_at, payload, created_at)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
        SELECT printf('%027d', i), 'a', 'p', 'webhook', FALSE, 'waiting', 'l', i, hex(zeroblob(300)), i FROM n";
    change(&program.folder().join("data/fanfare.db"), sql).await;
    let mut conn = base.connect().await;
    let args = ["migrate", "--from", "sqlite:data/fanfare.db", "--to", &base.url];
    let mut child = program.command(&[], &args).spawn().unwrap();
    // Rows of the big table are on their way, and none may be left.
    let sql = "SELECT COUNT(*) FROM pg_stat_progress_copy WHERE datname = current_database() AND tuples_processed > 9";
    wait_for(&mut conn, sql, 1).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'";
    wait_for(&mut conn, sql, 0).await;
    wait_for(&mut conn, "SELECT (SELECT COUNT(*) FROM task) + (SELECT COUNT(*) FROM setting)", 0).await;
    let told = printed(program.run(&args).await);
    assert!(told.contains("  task: 60000\n"), "the next attempt succeeds: {told}");
}

async fn wait_for(conn: &mut PgConnection, sql: &'static str, wanted: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (found,): (i64,) = sqlx::query_as(sql).fetch_one(&mut *conn).await.unwrap();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{sql}: {found}");
    }
}

#[tokio::test]
async fn a_source_in_use_is_refused() {
    let program = with_admin();
    let (server, _) = logged_in(&program).await;
    let told = try_migrate(&program, "sqlite:data/fanfare.db", NOWHERE).await;
    assert_eq!(refused(&told), "another fanfare runs on data/fanfare.db");
    // And by another name.
    let other = program.folder().join("other.db");
    std::os::unix::fs::symlink(program.folder().join("data/fanfare.db"), &other).unwrap();
    let told = try_migrate(&program, "sqlite:other.db", NOWHERE).await;
    assert_eq!(refused(&told), "another fanfare runs on other.db");
    assert_eq!(server.end("TERM").await.0, Some(0));
    // Nor may any other program have it open.
    let options = SqliteConnectOptions::new().filename(program.folder().join("data/fanfare.db"));
    let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM task;").execute(&mut reader).await.unwrap();
    let told = try_migrate(&program, "sqlite:data/fanfare.db", NOWHERE).await;
    assert!(refused(&told).starts_with("data/fanfare.db is in use; stop the server first"), "{}", told.err);
    reader.close().await.unwrap();
    let told = try_migrate(&program, "sqlite:data/fanfare.db", NOWHERE).await;
    assert!(refused(&told).starts_with("the target could not be reached: "), "{}", told.err);
}

#[tokio::test]
async fn a_move_needs_the_key_of_the_source() {
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let other = program.with("FANFARE_SECRET_KEY", &"ab".repeat(32));
    let told = try_migrate(&other, "sqlite:data/fanfare.db", NOWHERE).await;
    assert_eq!(refused(&told), "the secret key is not the one that this database was sealed with");
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    std::fs::remove_file(program.folder().join("data/secret.key")).unwrap();
    let told = try_migrate(&program, "sqlite:data/fanfare.db", NOWHERE).await;
    assert!(refused(&told).starts_with("there is no key: set secret_key, or put the key file"), "{}", told.err);
    assert!(!program.folder().join("data/secret.key").exists());
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    let program = Program::new();
    std::fs::write(program.folder().join("theirs.db"), "no database at all, but long enough".repeat(50)).unwrap();
    for (from, to, told) in [
        ("sqlite:none.db", NOWHERE, "there is no database at none.db"),
        ("sqlite:a.db", "sqlite:b.db", "both are SQLite; `fanfare backup FILE` copies such a database"),
        (NOWHERE, NOWHERE, "both are PostgreSQL; pg_dump and psql move such a database"),
        ("a.db", NOWHERE, "--from must begin with sqlite: or postgres://"),
        ("sqlite:a.db", "mysql://a/b", "--to must begin with sqlite: or postgres://"),
    ] {
        assert_eq!(refused(&try_migrate(&program, from, to).await), told);
    }
    assert_eq!(std::fs::read_dir(program.folder()).unwrap().count(), 1, "nothing is made");
    let program = program.with("FANFARE_SECRET_KEY", &"ab".repeat(32));
    let told = try_migrate(&program, "sqlite:theirs.db", NOWHERE).await;
    assert!(refused(&told).contains("theirs.db is not an SQLite database, or it is damaged"), "{}", told.err);
    let told = program.run(&["migrate", "--to", NOWHERE]).await;
    assert_eq!(told.code, Some(2), "{}", told.err);
}
