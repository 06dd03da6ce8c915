//! The subcommands.

mod admin;
mod backup;
mod key;
mod push;
mod services;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::app::{App, SystemClock, check_settings, make_data_folder, open_store};
use crate::config::Config;
use crate::{api, logs};

/// A push server: one HTTP call becomes messages on any channel.
#[derive(Parser)]
#[command(name = "fanfare", version)]
pub struct Cli {
    /// The settings file; without it `FANFARE_CONFIG`, else ./fanfare.toml if it is there.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve,
    /// Print the settings in force, secrets masked.
    Config,
    /// Bring the database up to date, and end. With --from, move everything from another database to an empty one.
    Migrate {
        /// What to move: sqlite:FILE or a postgres:// URL. Its servers must be stopped.
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        /// Where to, likewise; without it, the database of the settings.
        #[arg(long, value_name = "URL", requires = "from")]
        to: Option<String>,
    },
    /// Copy the SQLite database to a file, while the server runs or not.
    Backup {
        /// Where the copy goes.
        file: PathBuf,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },
    /// Push to a server, which may be another one's.
    Push(push::Push),
    /// Print the OpenAPI document.
    Openapi,
    /// Look at the Services, check them, render one.
    #[command(subcommand)]
    Services(services::Services),
    /// Manage accounts without the API, change the secret key.
    #[command(subcommand)]
    Admin(key::Admin),
}

/// Does what the command line asks for.
///
/// # Errors
/// If it could not be done; the text says why.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let config = || load_config(cli.config.as_deref());
    match cli.command {
        Command::Openapi => print(&api::document_text()),
        Command::Push(push) => runtime()?.block_on(push::run(push)),
        Command::Config => {
            let config = config()?;
            check_settings(&config)?;
            print(&config.masked_toml())
        }
        Command::Services(command) => services::run(&config()?, command),
        Command::Serve => {
            let config = config()?;
            logs::init(&config)?;
            runtime()?.block_on(serve(&config))
        }
        Command::Migrate { from: None, .. } => runtime()?.block_on(migrate(&config()?)),
        Command::Migrate { from: Some(from), to } => {
            runtime()?.block_on(backup::transfer(&config()?, &from, to.as_deref()))
        }
        Command::Backup { file, force } => runtime()?.block_on(backup::backup(&config()?, &file, force)),
        Command::Admin(command) => runtime()?.block_on(key::run(&config()?, command)),
    }
}

fn load_config(file: Option<&Path>) -> anyhow::Result<Config> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if name.starts_with("FANFARE_") || name == "DATABASE_URL" => bail!("variable {name} is not UTF-8"),
            Err(_) => {}
        }
    }
    Ok(Config::load(file, variables.into_iter())?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime could not start")
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Listen for the signals first: one that comes during the start must not be lost.
    let mut stopped = std::pin::pin!(stop_signal()?);
    let app = tokio::select! {
        started = App::start(config, Arc::new(SystemClock::default())) => started?,
        // The database may let it wait. Nothing has been taken in yet, and what is changed at a start is so at once or not.
        () = &mut stopped => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let address = app.address;
    tracing::info!(%address, "ready on http://{address}/, documents at http://{address}/docs/, data in {}", config.data_dir.display());
    stopped.await;
    tracing::info!("stopping: finishing what runs");
    app.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

#[cfg(unix)]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The terminal went away. Whom `nohup` keeps from noticing does not; where that cannot be told it is as it was.
    let mut hangup = if notices_hangup() { Some(signal(SignalKind::hangup())?) } else { None };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hung_up => {}
        }
    })
}

/// Whether this process was started without ignoring SIGHUP, as Linux tells.
#[cfg(unix)]
fn notices_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit for each signal, beginning with this one.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 0)
}

#[cfg(not(unix))]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    make_data_folder(&config.data_dir)?;
    let store = open_store(config).await?;
    store.close().await;
    print("the database is up to date\n")
}

/// Says on standard error what is wrong, if that can be written to.
pub fn complain(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "fanfare: {what:#}");
}

/// Writes to standard output; a reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
