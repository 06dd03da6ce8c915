//! What is done to an installation's data without serving: a backup, a move to another database. Starts nothing, and
//! makes neither a database nor a key where there is none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail, ensure};

use super::key::{key_file, present_key};
use super::{location, location_of, lock_database};
use crate::config::Config;
use crate::store::{self, Backup, Location, Moved, SecretKey};

/// Where the key of this installation comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// The settings.
    Settings,
    /// This file, whether it is there or not.
    File(PathBuf),
}

/// Where these settings say that the key is.
pub fn key_place(config: &Config) -> KeyPlace {
    match config.secret_key {
        Some(_) => KeyPlace::Settings,
        None => KeyPlace::File(key_file(config)),
    }
}

/// Copies the embedded database to a file, whether a server runs on it or not. Setting `stop` makes it give up.
///
/// # Errors
/// If the database is PostgreSQL, is not there, or cannot be copied, or it was stopped.
pub async fn backup(config: &Config, to: &Path, replace: bool, stop: Arc<AtomicBool>) -> anyhow::Result<Backup> {
    match location(config) {
        Location::Sqlite { file, .. } => store::backup(&file, to, replace, stop).await,
        Location::Postgres { .. } => {
            bail!("the database is PostgreSQL, which has tools of its own: make the backup with pg_dump")
        }
    }
}

/// Refuses where there is no database yet, instead of making one that no server uses.
///
/// # Errors
/// If the database is a file that is not there.
pub fn must_be_there(config: &Config) -> anyhow::Result<()> {
    match location(config) {
        Location::Sqlite { file, .. } => must_exist(&file),
        Location::Postgres { .. } => Ok(()),
    }
}

/// Refuses a database file that is not there, before anything is left beside it, such as its lock.
pub(super) fn must_exist(file: &Path) -> anyhow::Result<()> {
    ensure!(file.exists(), "there is no database at {}", file.display());
    Ok(())
}

/// Whether the key that is in force opens a backup; `None` if there is no key that could be read.
pub fn opens(config: &Config, backup: &Backup) -> Option<bool> {
    let key = present_key(config).ok()??;
    Some(backup.opens_under(&key))
}

/// Moves everything from one database to an empty one of the other kind. Without `to`, to the database of the settings.
///
/// # Errors
/// If the two do not go together, the SQLite one is in use, there is no key or another one, or the move fails; nothing
/// has moved then.
pub async fn transfer(config: &Config, from: &str, to: Option<&str>) -> anyhow::Result<Moved> {
    let from = named(config, "--from", from)?;
    let to = match to {
        Some(url) => named(config, "--to", url)?,
        None => location(config),
    };
    let file = match (&from, &to) {
        (Location::Sqlite { file, .. }, Location::Postgres { .. }) => {
            must_exist(file)?;
            file
        }
        (Location::Postgres { .. }, Location::Sqlite { file, .. }) => file,
        (Location::Sqlite { .. }, _) => bail!("both are SQLite; `fanfare backup FILE` copies such a database"),
        (Location::Postgres { .. }, _) => bail!("both are PostgreSQL; pg_dump and psql move such a database"),
    };
    let key = key_in_force(config)?;
    let _lock = lock_database(file, file)?;
    store::transfer(&from, &to, &key).await
}

fn named(config: &Config, option: &str, url: &str) -> anyhow::Result<Location> {
    let kinds = ["sqlite:", "postgres://", "postgresql://"];
    ensure!(kinds.iter().any(|kind| url.starts_with(kind)), "{option} must begin with sqlite: or postgres://");
    Ok(location_of(config, url))
}

pub(super) fn key_in_force(config: &Config) -> anyhow::Result<SecretKey> {
    present_key(config)?.with_context(|| {
        let path = key_file(config);
        format!("there is no key: set secret_key, or put the key file of the installation at {}", path.display())
    })
}
