//! Where the installation's key comes from. A new one is made only where nothing has been sealed yet.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::config::Config;
use crate::store::{self, Location, SecretKey};

/// The key from the settings, else from the key file, which is made at the first start. A restored database without its
/// key is told so: a new key would not open it, and would stand in the place of the right one.
pub(super) async fn secret_key(config: &Config, location: &Location) -> anyhow::Result<SecretKey> {
    if let Some(key) = present_key(config)? {
        return Ok(key);
    }
    let path = key_file(config);
    if let Location::Sqlite { file, .. } = location
        && store::holds_database(file).await?
    {
        let (path, file) = (path.display(), file.display());
        bail!("there is no key for {file}: put its key file at {path}, or set secret_key");
    }
    new_key_file(&path)
}

/// The key, if there is one.
pub(super) fn present_key(config: &Config) -> anyhow::Result<Option<SecretKey>> {
    if let Some(key) = &config.secret_key {
        return SecretKey::parse(key.expose()).context("secret_key must be 64 hexadecimal digits").map(Some);
    }
    let path = key_file(config);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            SecretKey::parse(&text).with_context(|| format!("{} does not hold a key", path.display())).map(Some)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Where the key is if the settings do not hold it.
pub(super) fn key_file(config: &Config) -> PathBuf {
    config.data_dir.join("secret.key")
}

fn new_key_file(path: &Path) -> anyhow::Result<SecretKey> {
    let key = SecretKey::from_bytes(rand::random());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{}", key.to_hex()).and_then(|()| file.sync_all()).context("cannot write the key file")?;
    tracing::info!(path = %path.display(), "made the key file {}; keep a copy: without it secrets are lost", path.display());
    Ok(key)
}
