//! `fanfare admin rotate-key`: says what was done, and where both keys are. Never prints a key.

use anyhow::Context;
use clap::Subcommand;

use super::{admin, complain, print};
use crate::app::rotation::{self, NewKey, Rotation};
use crate::config::Config;
use crate::store::SecretKey;

/// What an administrator of the machine does.
#[derive(Subcommand)]
pub enum Admin {
    #[command(flatten)]
    Accounts(admin::Admin),
    /// Change the secret key, and seal everything anew under it. Every server on the database must be stopped.
    RotateKey {
        /// The new key, 64 hexadecimal digits, or - to read it from standard input; without it, one is made.
        #[arg(long, value_name = "KEY")]
        to: Option<String>,
    },
}

/// Does it.
pub async fn run(config: &Config, command: Admin) -> anyhow::Result<()> {
    match command {
        Admin::Accounts(command) => admin::run(config, command).await,
        Admin::RotateKey { to } => rotate(config, to).await,
    }
}

async fn rotate(config: &Config, to: Option<String>) -> anyhow::Result<()> {
    let to = match to.as_deref() {
        Some("-") => Some(std::io::read_to_string(std::io::stdin()).context("the key could not be read")?),
        _ => to,
    };
    let to = to.map(|text| SecretKey::parse(&text).context("--to must be 64 hexadecimal digits")).transpose()?;
    let started = std::time::Instant::now();
    let done = rotation::rotate_key(config, to).await?;
    print(&told(&done, started.elapsed().as_secs_f64()))?;
    for row in &done.sealed.unreadable {
        complain(format!("careful: {row} did not open under the old key, and is left as it was"));
    }
    Ok(())
}

fn told(done: &Rotation, seconds: f64) -> String {
    let mut told = match done.sealed.already {
        true => "finished the change that had been broken off\n".to_owned(),
        false => format!("sealed anew in {seconds:.1} s:\n"),
    };
    for (table, count) in &done.sealed.tables {
        told.push_str(&format!("  {table}: {count}\n"));
    }
    told.push_str(&match &done.key {
        NewKey::Switched { path, old } => format!(
            "the new key is in {}: keep a copy, and give it to every other node\n\
             the old one is in {}, for backups made before: remove it when you need none of them\n",
            path.display(),
            old.display()
        ),
        NewKey::ToBeSet { path } => format!(
            "the key in your settings is no longer the right one: set secret_key (FANFARE_SECRET_KEY) to the text in {} \
             on every node, then remove that file; keep the old text with the backups made before\n",
            path.display()
        ),
    });
    told
}
