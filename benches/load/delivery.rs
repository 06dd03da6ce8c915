//! Pushes on their way to the receiver: how soon they arrive, how late the delayed ones are, how many a second.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fanfare::app::SystemClock;
use fanfare::domain::time::Clock;

use crate::clock::micros;
use crate::generator::{Client, Load, Sent, Stream, Template};
use crate::place::{Kind, Nodes, Place};
use crate::receiver::{Arrivals, Receiver};
use crate::report::{Goal, Report};
use crate::server::Server;
use crate::{Scale, fill, reference};

/// How long deliveries may take to arrive after all have been due.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a repetition would have to show itself.
const AFTER: Duration = Duration::from_millis(500);
/// The pushes of a steady stream, and the time between two.
const STEADY: u64 = 500;
/// Tasks that are due at once.
const BACKLOG: u64 = 50_000;
const EVERY: Duration = Duration::from_millis(20);
/// Delayed pushes are all sent within a second; these delays, in turn, spread them evenly over the next ten.
const HASTE: Duration = Duration::from_millis(2);
const DELAYS: [u32; 10] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/// From sending a push to its arrival, at 50 a second.
pub async fn latency(report: &mut Report, scale: Scale, kind: Kind) -> anyhow::Result<()> {
    let place = Place::new(kind).await?;
    let receiver = Receiver::start()?;
    let server = place.start(&[]).await?;
    let pusher = server.make_preset(&receiver.url()).await?;
    let count = scale.of(STEADY);
    let sent = Stream { address: server.address, pusher, count, every: EVERY, delays: Vec::new() }.send().await?;
    receiver.arrivals.wait_for(count, DRAIN).await;
    let name = |part: &str| format!("{}, 50 pushes/s: {part}", kind.name());
    let goals = [Goal::Below(2.0), Goal::Below(6.0)];
    report.add_times(&name("request sent to arrival"), times(&sent, &receiver.arrivals, |push| push.at), goals);
    report.add_times(&name("request to answer"), sent.iter().map(|push| push.took).collect(), [Goal::None; 2]);
    report.add(name("lost"), lost(count, &receiver.arrivals), "", Goal::Exactly(0.0));
    Ok(())
}

/// How late delayed pushes are, in a new database.
pub async fn lateness(report: &mut Report, scale: Scale, kind: Kind) -> anyhow::Result<()> {
    let (place, receiver) = (Place::new(kind).await?, Receiver::start()?);
    measure_lateness(report, scale, &place, &receiver, "over 10 s").await.map(drop)
}

/// The same while a million other tasks wait; half of them are to the same host by the same account.
pub async fn lateness_million(report: &mut Report, scale: Scale, kind: Kind) -> anyhow::Result<()> {
    let place = Place::new(kind).await?;
    place.start(&[]).await?.stop().await?;
    let others = scale.of(1_000_000);
    let receiver = Receiver::start()?;
    let began = Instant::now();
    fill::waiting_tasks(&place.location(), others, &receiver.address.to_string()).await?;
    let per_second = others as f64 / began.elapsed().as_secs_f64();
    let name = |part: &str| format!("{}, {others} waiting: {part}", kind.name());
    report.add(name("written beforehand"), per_second, "/s", Goal::None);
    let what = format!("over 10 s with {others} others waiting");
    let server = measure_lateness(report, scale, &place, &receiver, &what).await?;
    report.add(name("ready"), server.ready_after.as_secs_f64() * 1000.0, "ms", Goal::Below(300.0));
    report.add(name("most memory"), server.memory()?.1 as f64 / 1024.0, "MiB", Goal::None);
    Ok(())
}

async fn measure_lateness(
    report: &mut Report,
    scale: Scale,
    place: &Place,
    receiver: &Receiver,
    what: &str,
) -> anyhow::Result<Server> {
    let server = place.start(&[]).await?;
    let pusher = server.make_preset(&receiver.url()).await?;
    let count = scale.of(STEADY);
    let what = format!("{}, {count} delayed pushes {what}", place.kind.name());
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

/// As many pushes as the servers take, delivered at once.
pub async fn sustained(report: &mut Report, scale: Scale, kind: Kind) -> anyhow::Result<()> {
    let place = Place::new(kind).await?;
    let receiver = Receiver::start()?;
    let nodes = place.start_all(&[]).await?;
    let load = Load {
        addresses: nodes.addresses(),
        template: Template::new(&nodes.make_preset(&receiver.url()).await?, None),
        connections: 64,
        client: Client::Lean,
        warm_up: Duration::ZERO,
        lasting: scale.seconds(5.0),
        numbers: Arc::new(AtomicU64::new(0)),
    };
    let (before, began) = (spent(&place, &nodes).await?, micros());
    let tally = load.drive().await?;
    let driven = micros() - began;
    let arrived_meanwhile = receiver.arrivals.distinct();
    receiver.arrivals.wait_for(tally.accepted, DRAIN).await;
    tokio::time::sleep(AFTER).await;
    let goal = if matches!(kind, Kind::Postgres(_)) { Goal::None } else { Goal::AtLeast(10_000.0) };
    let what = |kind: Kind| format!("{}: accepted and delivered, 64 connections", kind.name());
    let name = |part: &str| format!("{}: {part}", what(kind));
    report.add(name("accepted while driven"), per_second(tally.accepted, driven), "/s", Goal::None);
    report.add(name("delivered while driven"), per_second(arrived_meanwhile, driven), "/s", Goal::None);
    report.add(name("refused"), tally.refused as f64, "", Goal::Exactly(0.0));
    conclude(report, &what, &place, &nodes, &receiver.arrivals, Work { count: tally.accepted, began, before, goal })
        .await
}

/// Tasks that all become due at the same moment, and how soon all have arrived. Nothing is accepted meanwhile.
pub async fn drain(report: &mut Report, scale: Scale, kind: Kind) -> anyhow::Result<()> {
    let place = Place::new(kind).await?;
    place.start(&[]).await?.stop().await?;
    let count = scale.of(BACKLOG);
    let receiver = Receiver::start()?;
    // Enough to write them and to start the servers, which wait for them then.
    let due = SystemClock::default().now().plus_ms(5000 + i64::try_from(count / 10)?);
    fill::backlog(&place.location(), count, &receiver.address.to_string(), due).await?;
    let nodes = place.start_all(&[]).await?;
    let began = u64::try_from(due.0)? * 1000;
    anyhow::ensure!(micros() < began, "the backlog was due before the servers were ready");
    let before = spent(&place, &nodes).await?;
    receiver.arrivals.wait_for(count, DRAIN + Duration::from_micros(began.saturating_sub(micros()))).await;
    tokio::time::sleep(AFTER).await;
    let what = |kind: Kind| format!("{}: backlog of {count}", kind.name());
    conclude(report, &what, &place, &nodes, &receiver.arrivals, Work { count, began, before, goal: Goal::None })
        .await?;
    let bare = reference::bare_loop(scale).await?;
    report.add("bare client loop, 32 connections", bare, "/s", Goal::None);
    let drained = report.figure(&format!("{}: until all had arrived", what(kind))).unwrap_or_default();
    let goal = if matches!(kind, Kind::Postgres(_)) { Goal::None } else { Goal::AtLeast(0.5) };
    report.add(format!("{}: ratio to the bare client loop", what(kind)), drained / bare, "", goal);
    Ok(())
}

/// Pushes that were to arrive, from when on, and what had been spent by then.
struct Work {
    count: u64,
    began: u64,
    before: (u64, u64),
    /// Per second.
    goal: Goal,
}

/// How many arrived in which time, how often, and at what cost.
async fn conclude(
    report: &mut Report,
    what: &impl Fn(Kind) -> String,
    place: &Place,
    nodes: &Nodes,
    arrivals: &Arrivals,
    work: Work,
) -> anyhow::Result<()> {
    let name = |part: &str| format!("{}: {part}", what(place.kind));
    let delivered = per_second(arrivals.distinct(), arrivals.last().saturating_sub(work.began));
    report.add(name("until all had arrived"), delivered, "/s", work.goal);
    if let (Kind::Postgres(2..), Some(one)) =
        (place.kind, report.figure(&format!("{}: until all had arrived", what(Kind::Postgres(1)))))
    {
        report.add(name("ratio to one node"), delivered / one, "", Goal::AtLeast(1.0));
    }
    report.add(name("lost"), lost(work.count, arrivals), "", Goal::Exactly(0.0));
    report.add(name("arrived twice"), arrivals.again() as f64, "", Goal::Exactly(0.0));
    let after = spent(place, nodes).await?;
    let each = |spent: u64| spent as f64 / work.count.max(1) as f64;
    report.add(name("processor time each"), each(after.0 - work.before.0), "µs", Goal::None);
    if after.1 > 0 {
        report.add(name("the database's processor time each"), each(after.1 - work.before.1), "µs", Goal::None);
    }
    report.add(name("most memory"), nodes.most_memory()?, "MiB", Goal::None);
    Ok(())
}

fn per_second(count: u64, micros: u64) -> f64 {
    count as f64 * 1e6 / micros.max(1) as f64
}

/// What is spent so far: the servers' time on a processor, and the database's.
pub async fn spent(place: &Place, nodes: &Nodes) -> anyhow::Result<(u64, u64)> {
    Ok((nodes.processor_micros()?, place.database_micros().await?))
}

/// Microseconds from some moment of each push to its arrival; those that have not arrived are counted elsewhere.
fn times(sent: &[Sent], arrivals: &Arrivals, from: impl Fn(&Sent) -> u64) -> Vec<u64> {
    sent.iter().filter_map(|push| Some(arrivals.of(push.number)?.saturating_sub(from(push)))).collect()
}

fn lost(accepted: u64, arrivals: &Arrivals) -> f64 {
    accepted.saturating_sub(arrivals.distinct()) as f64
}
