//! Starts the release server, drives it from this process over loopback, and prints figures beside their goals. Names of
//! scenarios as arguments choose among them; `--quick` takes a fraction of the time. Ends what it started, and leaves
//! nothing behind.

mod accept;
mod clock;
mod crowd;
mod delivery;
mod fill;
mod generator;
mod http;
mod place;
mod receiver;
mod reference;
mod report;
mod server;
mod start;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::place::Kind;
use crate::report::Report;

/// No run takes longer, whatever goes wrong.
const AT_MOST: Duration = Duration::from_secs(900);
/// The ready line and what goes wrong, but no line for each request.
const QUIET: [(&str, &str); 1] = [("FANFARE_LOG_LEVEL", "warn,fanfare::cli=info")];

/// PostgreSQL with one node, and with two.
const ONE: Kind = Kind::Postgres(1);
const TWO: Kind = Kind::Postgres(2);

/// The scenarios in their order, and where.
const SCENARIOS: [(&str, Kind); 21] = [
    ("start", Kind::Full),
    ("accept", Kind::Full),
    ("accept-normal", Kind::Normal),
    ("accept-quiet", Kind::Full),
    ("accept-postgres", ONE),
    ("accept-postgres-nodes", TWO),
    ("latency", Kind::Full),
    ("latency-postgres", ONE),
    ("lateness", Kind::Full),
    ("lateness-million", Kind::Full),
    ("lateness-million-postgres", ONE),
    ("sustained", Kind::Full),
    ("sustained-normal", Kind::Normal),
    ("sustained-postgres", ONE),
    ("sustained-postgres-nodes", TWO),
    ("drain", Kind::Full),
    ("drain-postgres", ONE),
    ("drain-postgres-nodes", TWO),
    ("overload", Kind::Full),
    ("fairness", Kind::Full),
    ("reference", Kind::Full),
];

/// How long to measure.
#[derive(Clone, Copy)]
pub enum Scale {
    Full,
    Quick,
}

impl Scale {
    /// So many seconds, or a third.
    pub fn seconds(self, full: f64) -> Duration {
        Duration::from_secs_f64(match self {
            Self::Full => full,
            Self::Quick => full / 3.0,
        })
    }

    /// So many, or a tenth.
    pub fn of(self, full: u64) -> u64 {
        match self {
            Self::Full => full,
            Self::Quick => full / 10,
        }
    }
}

/// A data folder beside the build, so on a real disk; gone when this is dropped.
pub fn folder() -> anyhow::Result<TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).context("no temporary folder")
}

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.as_slice() {
        [only] if only == server::EMPTY => server::serve_empty(),
        arguments => measure(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> anyhow::Result<()> {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    let scale = match flags.as_slice() {
        [] => Scale::Full,
        ["--quick"] => Scale::Quick,
        other => bail!("unknown flags {other:?}; there is `--quick`"),
    };
    let all = SCENARIOS.map(|(name, _)| name);
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("there is no scenario `{unknown}`; there are: {}", all.join(", "));
    }
    let asked = |name: &str| names.is_empty() || names.contains(&name);
    let (chosen, skipped): (Vec<_>, Vec<_>) =
        SCENARIOS.into_iter().filter(|(name, _)| asked(name)).partition(|(_, kind)| kind.is_there());
    if !skipped.is_empty() {
        let skipped: Vec<&str> = skipped.into_iter().map(|(name, _)| name).collect();
        eprintln!("load: SKIPPED, because FANFARE_TEST_POSTGRES names no PostgreSQL: {}", skipped.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut report = Report::default();
    let done = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            done = tokio::time::timeout(AT_MOST, run(&chosen, scale, &mut report)) => done.context("it took too long")?,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
    });
    println!("{}", report.table());
    done
}

async fn run(chosen: &[(&str, Kind)], scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    for &(name, kind) in chosen {
        // The kind stands in the name as well.
        let done = match name.strip_suffix("-nodes").unwrap_or(name).trim_end_matches("-postgres") {
            "accept" if kind == Kind::Full => accept::run(report, scale, (kind, ""), &[], &accept::MOST).await,
            "accept" | "accept-normal" => accept::run(report, scale, (kind, ""), &[], &accept::SOME).await,
            "accept-quiet" => accept::run(report, scale, (kind, ", not logged"), &QUIET, &accept::ONE).await,
            "start" => start::run(report, scale).await,
            "latency" => delivery::latency(report, scale, kind).await,
            "lateness" => delivery::lateness(report, scale, kind).await,
            "lateness-million" => delivery::lateness_million(report, scale, kind).await,
            "sustained" | "sustained-normal" => delivery::sustained(report, scale, kind).await,
            "drain" => delivery::drain(report, scale, kind).await,
            "overload" => crowd::overload(report, scale).await,
            "fairness" => crowd::fairness(report, scale).await,
            "reference" => reference::run(report, scale).await,
            other => bail!("there is no scenario `{other}`"),
        };
        done.with_context(|| format!("scenario {name}"))?;
    }
    Ok(())
}
