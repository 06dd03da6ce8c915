//! The schema's history, embedded: one numbered set for both databases.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and SQL of each step, oldest first. A step that was released never changes.
const STEPS: [(i64, &str, &str); 5] = [
    (1, "accounts", include_str!("../../migrations/0001_accounts.sql")),
    (2, "pushers", include_str!("../../migrations/0002_pushers.sql")),
    (3, "tasks", include_str!("../../migrations/0003_tasks.sql")),
    (6, "invite", include_str!("../../migrations/0006_invite.sql")),
    (7, "session", include_str!("../../migrations/0007_session.sql")),
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
