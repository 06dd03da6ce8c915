//! The schema's history, embedded: one numbered set for both databases.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// Number, name and SQL of each step, oldest first. A step that was released never changes.
const STEPS: &[(i64, &str, &str)] = &[
    (1, "accounts", include_str!("../../migrations/0001_accounts.sql")),
    (2, "pushers", include_str!("../../migrations/0002_pushers.sql")),
    (3, "tasks", include_str!("../../migrations/0003_tasks.sql")),
    (4, "idempotency", include_str!("../../migrations/0004_idempotency.sql")),
    (5, "rate", include_str!("../../migrations/0005_rate.sql")),
    (6, "invite", include_str!("../../migrations/0006_invite.sql")),
    (7, "session", include_str!("../../migrations/0007_session.sql")),
    (8, "api_token", include_str!("../../migrations/0008_api_token.sql")),
    (9, "audit", include_str!("../../migrations/0009_audit.sql")),
];

/// What brings a database from any earlier step to the last.
pub fn for_sqlite() -> Migrator {
    migrator(SqlStr::from_static)
}

/// As `for_sqlite`. The fork: text is compared byte by byte, as SQLite does. The order of ids is the order of time, and
/// the tasks of a push are a range of ids; in the language of the database, `:` may well come before `0`.
pub fn for_postgres() -> Migrator {
    migrator(|sql| AssertSqlSafe(bytewise(sql)).into_sql_str())
}

fn migrator(dialect: impl Fn(&'static str) -> SqlStr) -> Migrator {
    Migrator::with_migrations(
        STEPS
            .iter()
            .map(|(version, name, sql)| {
                let plain = SqlStr::from_static(sql);
                let step = Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, plain, false);
                // The checksum stays that of the file.
                Migration { sql: dialect(sql), ..step }
            })
            .collect(),
    )
}

/// Gives each column of type TEXT the collation `C`. Columns are declared in capitals; a cast to `text` is not one.
fn bytewise(sql: &str) -> String {
    sql.replace(" TEXT", r#" TEXT COLLATE "C""#)
}

/// Where the steps done are recorded.
pub const TABLE: &str = "_sqlx_migrations";

/// The number of the last step.
pub fn last() -> i64 {
    STEPS.iter().map(|(version, _, _)| *version).max().unwrap_or_default()
}

/// Whether this is our first step: it tells a database of ours from another program's.
pub fn is_first(version: i64, name: &str) -> bool {
    STEPS.first().is_some_and(|first| (first.0, first.1) == (version, name))
}
