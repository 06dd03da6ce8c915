//! The schema's history, embedded: one numbered set for both databases.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and SQL of each step, oldest first. A step that was released never changes.
const STEPS: [(i64, &str, &str); 5] = [
    (1, "accounts", include_str!("../../migrations/0001_accounts.sql")),
    (2, "pushers", include_str!("../../migrations/0002_pushers.sql")),
    (3, "tasks", include_str!("../../migrations/0003_tasks.sql")),
    (8, "api_token", include_str!("../../migrations/0008_api_token.sql")),
    (9, "audit", include_str!("../../migrations/0009_audit.sql")),
];

/// What brings a database from any earlier step to the last.
pub fn migrator() -> Migrator {
    Migrator::with_migrations(
        STEPS
            .iter()
            .map(|(version, name, sql)| {
                let sql = SqlStr::from_static(sql);
                Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
            })
            .collect(),
    )
}
