//! The change of the installation's key: the database in one transaction, and the key file around it. At every instant
//! the key that opens the database is in a file, so that a change that was broken off can be finished.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use super::key::{self, key_file, next_key_file, old_key_file};
use super::{location, lock_database, offline};
use crate::config::Config;
use crate::store::{self, Location, Rotated, SecretKey, Store, WrongKey};

/// What was done, and what is left to do.
#[derive(Debug)]
pub struct Rotation {
    /// What was sealed anew.
    pub sealed: Rotated,
    /// Where the new key is, and what must become of it.
    pub key: NewKey,
}

/// Where the new key is.
#[derive(Debug, PartialEq, Eq)]
pub enum NewKey {
    /// In force, in the key file; the one before is in the other file.
    Switched { path: PathBuf, old: PathBuf },
    /// In this file; the settings must be given its text.
    ToBeSet { path: PathBuf },
}

/// Changes the key to `to`, or to a new one. Takes up a change that was broken off.
///
/// # Errors
/// If the database is in use or not there, the key in force is not its own, an older key would be overwritten, or it
/// fails. The database is under the old key then, or the text says how to go on.
pub async fn rotate_key(config: &Config, to: Option<SecretKey>) -> anyhow::Result<Rotation> {
    let at = location(config);
    let _lock = match &at {
        Location::Sqlite { file, .. } => {
            offline::must_exist(file)?;
            Some(lock_database(file, file)?)
        }
        Location::Postgres { .. } => None,
    };
    let old = offline::key_in_force(config)?;
    key::remove_parts(config)?;
    ensure!(to.as_ref() != Some(&old), "that is the key in force");
    // Nothing is written for a database that neither opens, or the next attempt would take it for something begun.
    let begun = key::read(&next_key_file(config))?;
    store::must_open(&at, [Some(&old), begun.as_ref()].into_iter().flatten()).await?;
    let in_file = config.secret_key.is_none();
    if in_file {
        keep(config, &old)?;
    }
    let new = next_key(config, &old, to)?;
    let sealed = store::rotate(&at, &old, &new).await?;
    let key = if in_file {
        key::switch(config).context("the database is under the new key already; start again to finish")?;
        NewKey::Switched { path: key_file(config), old: old_key_file(config) }
    } else {
        NewKey::ToBeSet { path: next_key_file(config) }
    };
    Ok(Rotation { sealed, key })
}

/// The key to change to, safe in its file before the database knows of it. That of a change that was broken off is used
/// again: the database may be under it already.
fn next_key(config: &Config, old: &SecretKey, to: Option<SecretKey>) -> anyhow::Result<SecretKey> {
    let path = next_key_file(config);
    if let Some(begun) = key::read(&path)?.filter(|begun| begun != old) {
        let same = to.is_none_or(|to| to == begun);
        let path = path.display();
        ensure!(same, "{path} holds the key of a change that was broken off; finish that first, without --to");
        return Ok(begun);
    }
    let new = to.unwrap_or_else(|| SecretKey::from_bytes(rand::random()));
    key::write(&path, &new, true)?;
    Ok(new)
}

/// Keeps the key in force, unless that would cost an older one that backups may need.
fn keep(config: &Config, old: &SecretKey) -> anyhow::Result<()> {
    let path = old_key_file(config);
    match key::read(&path)? {
        None => key::write(&path, old, false),
        Some(kept) if kept == *old => Ok(()),
        Some(_) => {
            let path = path.display();
            bail!("{path} holds the key before the present one: move it to the backups that it opens, or remove it")
        }
    }
}

/// After the database has refused the key in force: finishes a change of the key that was broken off between the
/// database and the key file.
///
/// # Errors
/// `refused`, if that is not what has happened; what to do, if the key is in the settings.
pub(super) async fn finish(
    config: &Config,
    refused: anyhow::Error,
    open: impl AsyncFn(&SecretKey) -> anyhow::Result<Store>,
) -> anyhow::Result<Store> {
    let next = next_key_file(config);
    let Some(key) = key::read(&next)?.filter(|_| refused.is::<WrongKey>()) else { return Err(refused) };
    let Ok(store) = open(&key).await else { return Err(refused) };
    let shown = next.display();
    if config.secret_key.is_some() {
        store.close().await;
        return Err(refused.context(format!("the key was changed to the one in {shown}: set secret_key to its text")));
    }
    key::switch(config)?;
    tracing::info!("finished the change of the key that had been broken off");
    Ok(store)
}
