//! An installation as a process, with an administrator, and what a test asks of it again and again.

use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::client::{Client, text};
use super::program::{Ended, Program, Server};

pub const EMAIL: &str = "root@example.com";
pub const PASSWORD: &str = "correct horse battery";

/// A folder whose first start makes an administrator; deliveries may reach loopback.
pub fn with_admin() -> Program {
    Program::new()
        .with("FANFARE_ADMIN_EMAIL", EMAIL)
        .with("FANFARE_ADMIN_PASSWORD", PASSWORD)
        .with("FANFARE_DELIVERY_ALLOW", "127.0.0.1")
}

/// A server with an administrator, and that administrator's token.
pub async fn logged_in(program: &Program) -> (Server, String) {
    let server = program.serve().await;
    let token = login(&server.client(None), EMAIL, PASSWORD).await.expect("a token");
    (server, token)
}

/// A token, if this is the password.
pub async fn login(client: &Client, email: &str, password: &str) -> Option<String> {
    client.login(email, password).await.get("token").map(text)
}

/// When a task is over, what it is.
pub async fn over(client: &Client, task: &str) -> Value {
    loop {
        let read = client.task(task).await;
        if read["finished_at"].is_string() {
            return read;
        }
        tokio::task::yield_now().await;
    }
}

/// Why the program did not do it.
pub fn refused(ended: &Ended) -> &str {
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "one line, and no trace: {}", ended.err);
    ended.err.trim_end().strip_prefix("fanfare: ").expect("the program's name first")
}

/// What the program printed, without a complaint.
pub fn printed(ended: Ended) -> String {
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    ended.out
}

/// Changes the database of a server that is stopped.
pub async fn change(file: &Path, sql: &str) {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.expect("a database");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.expect("a change");
    conn.close().await.expect("an end");
}

/// Makes what waits due.
pub async fn make_due(file: &Path) {
    change(file, "UPDATE task SET run_at = 1 WHERE state = 'waiting'").await;
}
