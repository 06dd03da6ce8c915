//! What an SQLite file is, told before anything in it is changed. Opens it for reading only, so a file of another
//! program is refused untouched.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::migrations;
use super::open::BUSY;

/// SQLite's codes for a file that is no database, and for one whose structure is broken.
const NOT_A_DATABASE: [&str; 2] = ["26", "11"];

/// The last migration that a database of ours has; `None` if there is no file, or nothing in it yet.
///
/// # Errors
/// If it is no database, a damaged one, or another program's.
pub(super) async fn version(file: &Path) -> anyhow::Result<Option<i64>> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => bail!("{} is a folder, not a database", file.display()),
        Ok(found) if found.len() == 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    let mut conn = open_for_reading(file).await?;
    let found = last_migration(&mut conn).await.map_err(|error| unreadable(file, error))?;
    // Only read; nothing can be lost with the connection.
    let _ = conn.close().await;
    match found {
        Content::Nothing => Ok(None),
        Content::Ours(version) => Ok(Some(version)),
        Content::Other => bail!("{} is a database of another program", file.display()),
    }
}

/// As `version`, for a database that is about to be used.
///
/// # Errors
/// As `version`, and if a newer program has brought it further than this one knows.
pub(super) async fn check(file: &Path) -> anyhow::Result<Option<i64>> {
    let version = version(file).await?;
    if version.is_some_and(|version| version > migrations::last()) {
        bail!("{} was used by a newer version of Fanfare; this one cannot", file.display());
    }
    Ok(version)
}

/// Makes an empty file for a new database, which its owner alone can read; what SQLite puts beside it is like it.
///
/// # Errors
/// If it is not there and cannot be made.
pub(super) fn make(file: &Path) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("the database {} could not be opened", file.display()))
        }
        _ => Ok(()),
    }
}

/// Whether a file holds a database that this program can use.
///
/// # Errors
/// As `check`.
pub async fn holds_database(file: &Path) -> anyhow::Result<bool> {
    Ok(check(file).await?.is_some())
}

/// One connection that cannot write.
pub(super) async fn open_for_reading(file: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(BUSY);
    options.disable_statement_logging().connect().await.map_err(|error| unreadable(file, error))
}

/// An error of SQLite with what it means for this file.
pub(super) fn unreadable(file: &Path, error: sqlx::Error) -> anyhow::Error {
    let code = error.as_database_error().and_then(|cause| cause.code()).unwrap_or_default();
    let broken = NOT_A_DATABASE.contains(&&*code);
    let file = file.display();
    anyhow::Error::new(error).context(match broken {
        true => format!("{file} is not an SQLite database, or it is damaged"),
        false => format!("the database {file} could not be opened"),
    })
}

enum Content {
    Nothing,
    Ours(i64),
    Other,
}

async fn last_migration(conn: &mut SqliteConnection) -> sqlx::Result<Content> {
    let tables: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            .fetch_all(&mut *conn)
            .await?;
    if tables.is_empty() {
        return Ok(Content::Nothing);
    }
    if !tables.iter().any(|(name,)| name == migrations::TABLE) {
        return Ok(Content::Other);
    }
    let done: Vec<(i64, String)> =
        sqlx::query_as("SELECT version, description FROM _sqlx_migrations ORDER BY version").fetch_all(conn).await?;
    Ok(match (done.first(), done.last()) {
        (Some(first), Some((last, _))) if migrations::is_first(first.0, &first.1) => Content::Ours(*last),
        (None, _) if tables.len() == 1 => Content::Nothing,
        _ => Content::Other,
    })
}
