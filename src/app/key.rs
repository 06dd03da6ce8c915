//! Where the installation's key comes from, and how it is changed. A new one is made only where nothing has been sealed
//! yet; a key is never overwritten or removed while something might need it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::config::{Config, Secret};
use crate::store::{self, Location, SecretKey};

/// Makes the key file, at the first start. A restored database without its key is told so: a new key would not open it,
/// and would stand in the place of the right one.
pub(super) async fn new_key(config: &Config, location: &Location) -> anyhow::Result<SecretKey> {
    let path = key_file(config);
    if let Location::Sqlite { file, .. } = location
        && store::holds_database(file).await?
    {
        let (path, file) = (path.display(), file.display());
        bail!("there is no key for {file}: put its key file at {path}, or set secret_key");
    }
    let key = SecretKey::from_bytes(rand::random());
    write(&path, &key, false)?;
    tracing::info!(path = %path.display(), "made the key file {}; keep a copy: without it secrets are lost", path.display());
    Ok(key)
}

/// The key from the settings, else from the key file, if it is there.
pub(super) fn present_key(config: &Config) -> anyhow::Result<Option<SecretKey>> {
    if let Some(key) = &config.secret_key {
        return parse(key).map(Some);
    }
    let path = key_file(config);
    let key = read(&path)?;
    if key.is_some() {
        warn_of_readers(&path);
    }
    Ok(key)
}

/// The key of the settings.
pub(super) fn parse(key: &Secret) -> anyhow::Result<SecretKey> {
    SecretKey::parse(key.expose()).context("secret_key must be 64 hexadecimal digits")
}

/// Where the key is if the settings do not hold it.
pub(super) fn key_file(config: &Config) -> PathBuf {
    config.data_dir.join("secret.key")
}

/// Where a key stands that is about to be the one in force, or has just become it.
pub(super) fn next_key_file(config: &Config) -> PathBuf {
    config.data_dir.join("secret.key.new")
}

/// Where the key stays that was in force before.
pub(super) fn old_key_file(config: &Config) -> PathBuf {
    config.data_dir.join("secret.key.old")
}

/// The key in a file; `None` if there is no file.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<SecretKey>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            SecretKey::parse(&text).with_context(|| format!("{} does not hold a key", path.display())).map(Some)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Refused, it would stop servers whose key is mounted by what runs them, often readable by all inside a container.
fn warn_of_readers(path: &Path) {
    #[cfg(unix)]
    if let Ok(found) = std::fs::metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!("others on this machine can read the key file {path} (mode {mode:o}): chmod 600 {path}");
        }
    }
}

/// Removes a key file that was made a moment ago, for a database that turned out to have a key already; what to say.
pub(super) fn take_back(config: &Config) -> anyhow::Result<String> {
    let path = key_file(config);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(format!("there is no key for this database: put its key file at {}, or set secret_key", path.display()))
}

/// Writes a key file that is whole or not there, and readable by its owner alone. What stands in the place stays, unless
/// `replace`.
pub(super) fn write(path: &Path, key: &SecretKey, replace: bool) -> anyhow::Result<()> {
    let part = path.with_added_extension(format!("{}.part", crate::domain::id::unguessable(rand::random())));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = || -> std::io::Result<()> {
        let mut file = options.open(&part)?;
        writeln!(file, "{}", key.to_hex())?;
        file.sync_all()?;
        if replace {
            return std::fs::rename(&part, path);
        }
        match std::fs::hard_link(&part, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists && !path.exists() => std::fs::rename(&part, path),
            linked => linked,
        }
    };
    let written = written();
    // It has its name, or must not stay.
    let _ = std::fs::remove_file(&part);
    written.and_then(|()| sync_folder(path)).with_context(|| format!("cannot write {}", path.display()))
}

/// Removes what a change that was killed left of keys that it was writing. Nobody else may be writing one.
pub(super) fn remove_parts(config: &Config) -> anyhow::Result<()> {
    let remove = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(&config.data_dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("secret.key") && name.ends_with(".part")) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().with_context(|| format!("cannot remove unfinished key files in {}", config.data_dir.display()))
}

/// Puts the next key into the place of the one in force, which must be kept elsewhere by now.
pub(super) fn switch(config: &Config) -> anyhow::Result<()> {
    let (next, path) = (next_key_file(config), key_file(config));
    let (kept, present) = (read(&old_key_file(config))?, read(&path)?);
    ensure!(kept == present, "{} is not kept in {}", path.display(), old_key_file(config).display());
    std::fs::rename(&next, &path)
        .and_then(|()| sync_folder(&path))
        .with_context(|| format!("cannot rename {} to {}", next.display(), path.display()))
}

/// Names have to last as well. Not every system lets a folder be opened.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|_| cfg!(unix)) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
