//! The schema's history, embedded: one numbered set for both databases.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and SQL of each step, oldest first. A step that was released never changes.
const STEPS: [(i64, &str, &str); 3] = [
    (1, "accounts", include_str!("../../migrations/0001_accounts.sql")),
    (2, "pushers", include_str!("../../migrations/0002_pushers.sql")),
    (3, "tasks", include_str!("../../migrations/0003_tasks.sql")),
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
