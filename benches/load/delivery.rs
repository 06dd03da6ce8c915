//! Pushes on their way to the receiver: how soon they arrive, how late the delayed ones are, how many a second.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::clock::micros;
use crate::generator::{Load, Sent, Stream, Template};
use crate::receiver::{Arrivals, Receiver};
use crate::report::{Goal, Report};
use crate::server::Server;
use crate::{Scale, fill, folder};

/// How long deliveries may take to arrive after all have been due.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a repetition would have to show itself.
const AFTER: Duration = Duration::from_millis(500);
/// The pushes of a steady stream, and the time between two.
const STEADY: u64 = 500;
const EVERY: Duration = Duration::from_millis(20);
/// Delayed pushes are all sent within a second; these delays, in turn, spread them evenly over the next ten.
const HASTE: Duration = Duration::from_millis(2);
const DELAYS: [u32; 10] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/// From sending a push to its arrival, at 50 a second.
pub async fn latency(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let folder = folder()?;
    let receiver = Receiver::start()?;
    let server = Server::start(folder.path(), &[]).await?;
    let pusher = server.make_preset(&receiver.url()).await?;
    let count = scale.of(STEADY);
    let sent = Stream { address: server.address, pusher, count, every: EVERY, delays: Vec::new() }.send().await?;
    receiver.arrivals.wait_for(count, DRAIN).await;
    let goals = [Goal::Below(5.0), Goal::Below(25.0)];
    report.add_times("50 pushes/s: request sent to arrival", times(&sent, &receiver.arrivals, |push| push.at), goals);
    report.add_times("50 pushes/s: request to answer", sent.iter().map(|push| push.took).collect(), [Goal::None; 2]);
    report.add("50 pushes/s: lost", lost(count, &receiver.arrivals), "", Goal::Exactly(0.0));
    Ok(())
}

/// How late delayed pushes are, in a new database.
pub async fn lateness(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let (folder, receiver) = (folder()?, Receiver::start()?);
    measure_lateness(report, scale, &folder, &receiver, "over 10 s").await.map(drop)
}

/// The same while a million other tasks wait; half of them are to the same host by the same account.
pub async fn lateness_million(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let folder = folder()?;
    Server::start(folder.path(), &[]).await?.stop().await?;
    let others = scale.of(1_000_000);
    let receiver = Receiver::start()?;
    let began = Instant::now();
    fill::waiting_tasks(folder.path(), others, &receiver.address.to_string()).await?;
    let per_second = others as f64 / began.elapsed().as_secs_f64();
    report.add("other tasks written beforehand", per_second, "/s", Goal::None);
    let what = format!("over 10 s with {others} others waiting");
    let server = measure_lateness(report, scale, &folder, &receiver, &what).await?;
    report.add(format!("ready, {others} waiting"), server.ready_after.as_secs_f64() * 1000.0, "ms", Goal::Below(300.0));
    report.add(format!("most memory, {others} waiting"), server.memory()?.1 as f64 / 1024.0, "MiB", Goal::None);
    Ok(())
}

async fn measure_lateness(
    report: &mut Report,
    scale: Scale,
    folder: &TempDir,
    receiver: &Receiver,
    what: &str,
) -> anyhow::Result<Server> {
    let server = Server::start(folder.path(), &[]).await?;
    let pusher = server.make_preset(&receiver.url()).await?;
    let count = scale.of(STEADY);
    let what = format!("{count} delayed pushes {what}");
    let delays = DELAYS.to_vec();
    let sent = Stream { address: server.address, pusher, count, every: HASTE, delays }.send().await?;
    let last = sent.iter().map(|push| push.due).max().unwrap_or_default();
    receiver.arrivals.wait_for(count, DRAIN + Duration::from_micros(last.saturating_sub(micros()))).await;
    let early = sent.iter().filter(|push| receiver.arrivals.of(push.number).is_some_and(|at| at < push.due)).count();
    let late = times(&sent, &receiver.arrivals, |push| push.due);
    report.add_times(&format!("{what}: due to arrival"), late, [Goal::None, Goal::Below(50.0)]);
    report.add(format!("{what}: early"), early as f64, "", Goal::Exactly(0.0));
    report.add(format!("{what}: lost"), lost(count, &receiver.arrivals), "", Goal::Exactly(0.0));
    Ok(server)
}

/// As many pushes as the server takes, delivered at once.
pub async fn sustained(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let folder = folder()?;
    let receiver = Receiver::start()?;
    let server = Server::start(folder.path(), &[]).await?;
    let preset = server.make_preset(&receiver.url()).await?;
    let load = Load {
        address: server.address,
        template: Template::new(&preset, None),
        connections: 64,
        warm_up: Duration::ZERO,
        lasting: scale.seconds(5.0),
        numbers: Arc::new(AtomicU64::new(0)),
    };
    let (began, spent) = (micros(), server.processor_micros()?);
    let tally = load.drive().await?;
    let driven = micros() - began;
    let arrived_meanwhile = receiver.arrivals.distinct();
    receiver.arrivals.wait_for(tally.accepted, DRAIN).await;
    tokio::time::sleep(AFTER).await;
    let whole = receiver.arrivals.last().saturating_sub(began);
    let name = |part: &str| format!("accepted and delivered, 64 connections: {part}");
    let per_second = |count: u64, micros: u64| count as f64 * 1e6 / micros.max(1) as f64;
    let delivered = per_second(receiver.arrivals.distinct(), whole);
    report.add(name("until all had arrived"), delivered, "/s", Goal::AtLeast(5000.0));
    report.add(name("accepted while driven"), per_second(tally.accepted, driven), "/s", Goal::None);
    report.add(name("delivered while driven"), per_second(arrived_meanwhile, driven), "/s", Goal::None);
    report.add(name("refused"), tally.refused as f64, "", Goal::Exactly(0.0));
    report.add(name("lost"), lost(tally.accepted, &receiver.arrivals), "", Goal::Exactly(0.0));
    report.add(name("arrived twice"), receiver.arrivals.again() as f64, "", Goal::Exactly(0.0));
    let each = (server.processor_micros()? - spent) as f64 / tally.accepted.max(1) as f64;
    report.add(name("processor time each"), each, "µs", Goal::None);
    report.add(name("most memory"), server.memory()?.1 as f64 / 1024.0, "MiB", Goal::None);
    Ok(())
}

/// Microseconds from some moment of each push to its arrival; those that have not arrived are counted elsewhere.
fn times(sent: &[Sent], arrivals: &Arrivals, from: impl Fn(&Sent) -> u64) -> Vec<u64> {
    sent.iter().filter_map(|push| Some(arrivals.of(push.number)?.saturating_sub(from(push)))).collect()
}

fn lost(accepted: u64, arrivals: &Arrivals) -> f64 {
    accepted.saturating_sub(arrivals.distinct()) as f64
}
