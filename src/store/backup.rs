//! A copy of an SQLite database in use, as one file. Only reads the database, and never leaves a copy half made: it
//! grows under another name, and takes its own when it is whole and on disk.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use sqlx::Connection;

use super::file::{open_for_reading, unreadable, version};
use super::seal::{Sealer, SecretKey};
use super::settings::{KEY_PROOF, proves};
use crate::domain::id::unguessable;

/// How many of its steps SQLite takes before it asks whether to go on: some milliseconds.
const STEPS: i32 = 10_000;

/// A copy that was made.
#[derive(Debug)]
pub struct Backup {
    /// Its size.
    pub bytes: u64,
    /// What proves the key that the copy was sealed with; a database that was never started has none.
    proof: Option<String>,
}

impl Backup {
    /// Whether this key opens the copy.
    pub fn opens_under(&self, key: &SecretKey) -> bool {
        self.proof.as_deref().is_none_or(|proof| proves(&Sealer::new(key), proof))
    }
}

/// Copies a database, as it stands when the copy begins, while others read and write it. It takes no lock that a writer
/// waits for; until it ends, the write-ahead log cannot begin anew and grows. It gives up soon after `stop` is set; only
/// ended in this way, not by dropping it, does it leave nothing behind.
///
/// # Errors
/// If there is no database of ours, the place is taken (unless `replace`), reading or writing fails, or it is stopped.
/// Nothing is left behind then, and what stood in the place still does.
pub async fn backup(database: &Path, to: &Path, replace: bool, stop: Arc<AtomicBool>) -> anyhow::Result<Backup> {
    if version(database).await?.is_none() {
        bail!("there is no database at {}", database.display());
    }
    // A relative path might begin with `file:`, which SQLite would take for a URL.
    let to = std::path::absolute(to).with_context(|| format!("{} is not a path", to.display()))?;
    check_place(database, &to, replace)?;
    let part = Part::make(&to)?;
    let text = part.path.to_str().with_context(|| format!("{} is not UTF-8", to.display()))?.to_owned();
    let mut source = open_for_reading(database).await?;
    source.lock_handle().await?.set_progress_handler(STEPS, move || !stop.load(Ordering::Relaxed));
    // Not the page-wise copy of SQLite: that begins anew whenever another process writes. This reads one snapshot.
    let copied = sqlx::query("VACUUM INTO $1").bind(text).execute(&mut source).await;
    copied.with_context(|| format!("{} could not be copied to {}", database.display(), to.display()))?;
    let mut copy = open_for_reading(&part.path).await?;
    let proof: Option<(String,)> = sqlx::query_as("SELECT value FROM setting WHERE name = $1")
        .bind(KEY_PROOF)
        .fetch_optional(&mut copy)
        .await
        .map_err(|error| unreadable(&part.path, error))?;
    // Both have only read.
    let _ = tokio::join!(source.close(), copy.close());
    check_place(database, &to, replace)?;
    let bytes = part.finish(&to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(Backup { bytes, proof: proof.map(|(value,)| value) })
}

/// Refuses a place that is taken, and in any case the database itself.
fn check_place(database: &Path, to: &Path, replace: bool) -> anyhow::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(to) else { return Ok(()) };
    if found.is_dir() {
        bail!("{} is a folder; name a file", to.display());
    }
    let beside = ["", "-wal", "-shm", ".lock"].map(|end| with_end(database, end));
    for own in beside.into_iter().chain([database.with_file_name("lock")]) {
        if let (Ok(own), Ok(to)) = (own.canonicalize(), to.canonicalize())
            && own == to
        {
            bail!("{} belongs to the database in use", to.display());
        }
    }
    if !replace {
        bail!("{} is there already; --force replaces it", to.display());
    }
    if !may_be_replaced(to)? {
        bail!("{} is no backup, so it is not replaced", to.display());
    }
    Ok(())
}

/// Whether a file is a database, or empty: whoever mistypes a name must not lose a key by it.
fn may_be_replaced(file: &Path) -> anyhow::Result<bool> {
    const BEGINS: &[u8] = b"SQLite format 3\0";
    let cannot = || format!("cannot read {}", file.display());
    // A link that leads nowhere holds nothing; a pipe would have to be waited for.
    let Ok(found) = std::fs::metadata(file) else { return Ok(true) };
    if !found.is_file() {
        return Ok(false);
    }
    let mut begins = Vec::new();
    File::open(file).and_then(|file| file.take(16).read_to_end(&mut begins)).with_context(cannot)?;
    Ok(begins.is_empty() || begins == BEGINS)
}

/// The name of a file that SQLite keeps beside another.
fn with_end(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(OsStr::new(end));
    PathBuf::from(name)
}

/// The growing copy. It is removed when it goes out of scope, unless it is finished.
struct Part {
    path: PathBuf,
}

impl Part {
    /// An empty file beside the place, which SQLite fills. Made here so that no one else can read it at any time.
    fn make(to: &Path) -> anyhow::Result<Self> {
        let path = to.with_added_extension(format!("{}.part", unguessable(rand::random())));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(Self { path })
    }

    /// Puts the whole copy, once on disk, into its place; its size.
    fn finish(self, to: &Path) -> std::io::Result<u64> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        std::fs::rename(&self.path, to)?;
        // The name has to last as well. Not every system lets a folder be opened.
        if let Some(folder) = to.parent().filter(|_| cfg!(unix)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(file.metadata()?.len())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Once finished, there is nothing under these names.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(with_end(&self.path, "-journal"));
    }
}
