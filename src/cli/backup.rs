//! `fanfare backup` and `fanfare migrate --from`: says what was done, and what must be kept with it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;

use super::{complain, print, stop_signal};
use crate::app::offline::{self, KeyPlace, key_place};
use crate::config::Config;

/// Copies the database to a file.
pub async fn backup(config: &Config, to: &Path, force: bool) -> anyhow::Result<()> {
    let stopped = stop_signal()?;
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let mut making = std::pin::pin!(offline::backup(config, to, force, Arc::clone(&stop)));
    let made = tokio::select! {
        made = &mut making => made?,
        () = stopped => {
            stop.store(true, Ordering::Relaxed);
            // It may have been as good as done.
            making.await.context("interrupted; there is no backup")?
        }
    };
    let took = started.elapsed().as_secs_f64();
    print(&format!("{}: {} in {took:.1} s\n{}", to.display(), size(made.bytes), key_note(config)))?;
    match offline::opens(config, &made) {
        Some(true) => Ok(()),
        Some(false) => {
            complain("careful: the key in force does not open this backup; find the key that does");
            Ok(())
        }
        None => {
            complain("careful: the key could not be read, so whether it opens the backup is not known");
            Ok(())
        }
    }
}

fn key_note(config: &Config) -> String {
    match key_place(config) {
        KeyPlace::Settings => {
            "the key is not in it: it is `secret_key` of the settings; keep that as well\n".to_owned()
        }
        KeyPlace::File(path) => format!("the key is not in it: keep {} as well\n", path.display()),
    }
}

/// Moves an installation to another kind of database.
pub async fn transfer(config: &Config, from: &str, to: Option<&str>) -> anyhow::Result<()> {
    let started = Instant::now();
    let moved = offline::transfer(config, from, to).await?;
    let took = started.elapsed().as_secs_f64();
    let mut told = String::from("moved\n");
    for (table, rows) in &moved.tables {
        told.push_str(&format!("  {table}: {rows}\n"));
    }
    let rows: i64 = moved.tables.iter().map(|(_, rows)| rows).sum();
    told.push_str(&format!("{rows} rows in {took:.1} s\n"));
    if moved.resumed > 0 {
        told.push_str(&format!("tasks that had been under way and wait again: {}\n", moved.resumed));
    }
    told.push_str(&match key_place(config) {
        KeyPlace::Settings => "the key stays the same: keep `secret_key` in the settings of every node\n".to_owned(),
        KeyPlace::File(path) => format!("the key stays the same: every node needs {} or its text\n", path.display()),
    });
    told.push_str("start no server on the old database again: it would deliver what waits in it a second time\n");
    print(&told)
}

fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let shown = bytes as f64;
    match bytes {
        0..1_000_000 => format!("{:.1} kB", shown / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", shown / 1e6),
        _ => format!("{:.1} GB", shown / 1e9),
    }
}
