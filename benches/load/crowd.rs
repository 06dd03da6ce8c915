//! What happens when it is too much: more pushes than the server takes while everything it delivers to hangs, and one
//! account's or one host's long line beside somebody else's push.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::clock::micros;
use crate::generator::{Client, Load, Stream, Template};
use crate::http::{Connection, request};
use crate::place::{Kind, Place};
use crate::receiver::Receiver;
use crate::report::{Goal, Report};
use crate::{Scale, fill};

/// Waiting deliveries of whoever is in the way.
const LINE: u64 = 100_000;
/// Connections that push at the same time.
const CROWD: usize = 512;
/// Places for connections where they are few.
const PLACES: usize = 400;
const PROBES: u64 = 100;
const EVERY: Duration = Duration::from_millis(20);
const DRAIN: Duration = Duration::from_secs(10);

/// A receiver that accepts connections and never answers; it lasts as long as the runtime.
async fn hanging() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    Ok(address.to_string())
}

/// 512 connections push to a receiver that hangs until 100,000 tasks are under way, and then go on against limits. The
/// server's memory, and how soon refusals come.
pub async fn overload(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let (place, hanging) = (Place::new(Kind::Full).await?, hanging().await?);
    let server = place.start(&[]).await?;
    let preset = server.make_preset(&format!("http://{hanging}/hook")).await?;
    let most = scale.of(LINE);
    let addresses = vec![server.address];
    let load = |lasting| Load {
        addresses: addresses.clone(),
        template: Template::new(&preset, None),
        connections: CROWD,
        client: Client::Lean,
        warm_up: Duration::ZERO,
        lasting,
        numbers: Arc::new(AtomicU64::new(0)),
    };
    let (mut under_way, began) = (0, Instant::now());
    while under_way < most && began.elapsed() < Duration::from_secs(120) {
        let tally = load(scale.seconds(2.0)).drive().await?;
        under_way += tally.accepted;
        anyhow::ensure!(tally.refused == 0, "{} pushes were refused without limits", tally.refused);
        report.add_times(
            &format!("{CROWD} connections, {under_way} under way: to answer"),
            tally.took,
            [Goal::None; 2],
        );
    }
    report.add("tasks under way", under_way as f64, "", Goal::AtLeast(most as f64));
    let (now, peak) = server.memory()?;
    report.add("overload: memory", now as f64 / 1024.0, "MiB", Goal::Below(150.0));
    report.add("overload: most memory", peak as f64 / 1024.0, "MiB", Goal::Below(150.0));
    // Killed: what hangs would hold up a stop.
    drop(server);

    let places = PLACES.to_string();
    let limited = [("FANFARE_LIMITS_PER_PUSHER_PER_MINUTE", "6000"), ("FANFARE_LIMITS_CONNECTIONS", places.as_str())];
    // An administrator's pushes are not limited.
    fill::other_account(&place.location()).await.context("the other account")?;
    let server = place.start(&limited).await?;
    let preset = server.make_preset_by(fill::OTHER_TOKEN, &format!("http://{hanging}/hook")).await?;
    let template = Template::new(&preset, None);
    let load = Load { addresses: vec![server.address], template, connections: PLACES, ..load(scale.seconds(3.0)) };
    let tally = load.drive().await?;
    anyhow::ensure!(tally.limited > 0, "nothing was limited");
    let turned_away = turned_away(server.address).await?;
    report.add("with limits: accepted", tally.accepted as f64, "", Goal::None);
    report.add("with limits: 429", tally.limited as f64, "", Goal::None);
    report.add("with limits: 503", tally.busy as f64 + turned_away.len() as f64, "", Goal::None);
    report.add_times("with limits: request to 429", tally.refusals, [Goal::None, Goal::Below(100.0)]);
    report.add_times("with limits: connecting to 503", turned_away, [Goal::None, Goal::Below(100.0)]);
    let (_, peak) = server.memory()?;
    report.add("with limits: most memory", peak as f64 / 1024.0, "MiB", Goal::Below(150.0));
    Ok(())
}

/// Takes all places with connections that do nothing, and connects again and again: microseconds until each was told that
/// there are too many.
async fn turned_away(address: SocketAddr) -> anyhow::Result<Vec<u64>> {
    let mut idle = Vec::new();
    for _ in 0..PLACES {
        idle.push(Connection::open(address).await?);
    }
    let mut took = Vec::new();
    for _ in 0..PROBES {
        let began = Instant::now();
        let mut connection = Connection::open(address).await?;
        let answer = connection.exchange(&request("/push/x/", None, "{}")).await?;
        anyhow::ensure!(answer.status == b"503", "one connection too many was let in");
        took.push(u64::try_from(began.elapsed().as_micros())?);
    }
    Ok(took)
}

/// Another account's pushes, and the same account's to another host, beside 100,000 due deliveries to a host that hangs.
pub async fn fairness(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let (place, hanging) = (Place::new(Kind::Full).await?, hanging().await?);
    place.start(&[]).await?.stop().await?;
    let count = scale.of(LINE);
    fill::due_tasks(&place.location(), count, &hanging).await.context("the line")?;
    let server = place.start(&[]).await?;
    // Of the line the own account has every second task, all to one host; a third account has the rest, to a host each.
    for who in ["the same account, another host", "another account"] {
        let receiver = Receiver::start()?;
        let pusher = match who {
            "another account" => server.make_preset_by(fill::OTHER_TOKEN, &receiver.url()).await?,
            _ => server.make_preset(&receiver.url()).await?,
        };
        let probes = scale.of(PROBES).max(PROBES);
        let stream = Stream { address: server.address, pusher, count: probes, every: EVERY, delays: Vec::new() };
        let sent = stream.send().await?;
        receiver.arrivals.wait_for(probes, DRAIN).await;
        let times = sent.iter().map(|push| match receiver.arrivals.of(push.number) {
            Some(at) => at.saturating_sub(push.at),
            None => micros().saturating_sub(push.at),
        });
        let what = format!("{who}, beside {count} due deliveries that hang: request to arrival");
        report.add_times(&what, times.collect(), [Goal::None, Goal::Below(100.0)]);
    }
    report.add("fairness: most memory", server.memory()?.1 as f64 / 1024.0, "MiB", Goal::Below(150.0));
    Ok(())
}
