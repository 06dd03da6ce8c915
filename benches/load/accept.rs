//! Pushes accepted and durable per second, beside what an empty handler does with the same requests.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::Scale;
use crate::delivery::spent;
use crate::generator::{Client, Load, Template};
use crate::http::{Connection, request};
use crate::place::{Kind, Place};
use crate::receiver::Receiver;
use crate::report::{Goal, Report};
use crate::server::Server;

/// The delay of every push: none comes due while it is measured.
const DELAY: u32 = 3600;
/// As many as `pgbench` has clients.
const LIKE_PGBENCH: usize = 32;

/// One measurement.
#[derive(Clone, Copy)]
pub struct Drive {
    pub connections: usize,
    pub client: Client,
}

/// One connection, then many; the last two as ordinary clients see it.
pub const MOST: [Drive; 6] = [lean(1), lean(32), lean(64), lean(128), ordinary(64), ordinary(128)];
/// Fewer of these.
pub const SOME: [Drive; 4] = [lean(1), lean(32), lean(128), ordinary(128)];
/// One.
pub const ONE: [Drive; 1] = [lean(64)];

const fn lean(connections: usize) -> Drive {
    Drive { connections, client: Client::Lean }
}

const fn ordinary(connections: usize) -> Drive {
    Drive { connections, client: Client::Ordinary }
}

struct Measured {
    per_second: f64,
    /// Warming up included.
    accepted: u64,
    took: Vec<u64>,
}

/// Measures with these settings; `what` names them in the table.
pub async fn run(
    report: &mut Report,
    scale: Scale,
    (kind, what): (Kind, &str),
    settings: &[(&str, &str)],
    drives: &[Drive],
) -> anyhow::Result<()> {
    let place = Place::new(kind).await?;
    let receiver = Receiver::start()?;
    let nodes = place.start_all(settings).await?;
    let empty = Server::start_empty().await?;
    prove_empty_reads(&empty).await?;
    let preset = nodes.make_preset(&receiver.url()).await?;
    let numbers = Arc::new(AtomicU64::new(0));
    let what = format!("{}: accepted{what}", kind.name());
    for &Drive { connections, client } in drives {
        let load = |addresses| Load {
            addresses,
            template: Template::new(&preset, Some(DELAY)),
            connections,
            client,
            warm_up: scale.seconds(0.5),
            lasting: scale.seconds(2.5),
            numbers: numbers.clone(),
        };
        let name = |what: &str| format!("{what}, {connections} connections{}", client.name());
        let bare = drive(&load(vec![empty.address])).await?;
        report.add(name("empty handler"), bare.per_second, "/s", Goal::None);
        let before = spent(&place, &nodes).await?;
        let accepted = drive(&load(nodes.addresses())).await?;
        let name = name(&what);
        report.add(&name, accepted.per_second, "/s", Goal::None);
        add_spent(report, &name, before, spent(&place, &nodes).await?, accepted.accepted);
        let goal = match (kind, connections) {
            (Kind::Full, 64) => Goal::AtLeast(0.5),
            (Kind::Full, 128) => Goal::AtLeast(0.6),
            _ => Goal::None,
        };
        report.add(format!("{name}: ratio to the empty handler"), accepted.per_second / bare.per_second, "", goal);
        report.add_times(&format!("{name}: request to answer"), accepted.took, [Goal::None; 2]);
        if connections == LIKE_PGBENCH && client == Client::Lean {
            beside_pgbench(report, &place, &name, accepted.per_second, scale.seconds(3.0)).await?;
        }
    }
    report.add(format!("{what}: most memory under load"), nodes.most_memory()?, "MiB", Goal::None);
    Ok(())
}

async fn drive(load: &Load) -> anyhow::Result<Measured> {
    let tally = load.drive().await?;
    anyhow::ensure!(tally.refused == 0, "{} requests were refused", tally.refused);
    let per_second = tally.took.len() as f64 / load.lasting.as_secs_f64();
    Ok(Measured { per_second, accepted: tally.accepted, took: tally.took })
}

fn add_spent(report: &mut Report, name: &str, before: (u64, u64), after: (u64, u64), pushes: u64) {
    let pushes = pushes.max(1) as f64;
    report.add(format!("{name}: processor time each"), (after.0 - before.0) as f64 / pushes, "µs", Goal::None);
    if after.1 > 0 {
        let each = (after.1 - before.1) as f64 / pushes;
        report.add(format!("{name}: the database's processor time each"), each, "µs", Goal::None);
    }
}

/// What `pgbench` reaches in single-row commits on the same server, as the measure of what the database takes.
async fn beside_pgbench(
    report: &mut Report,
    place: &Place,
    name: &str,
    accepted: f64,
    lasting: Duration,
) -> anyhow::Result<()> {
    let Some(database) = place.database() else { return Ok(()) };
    let Some(commits) = database.single_row_commits(LIKE_PGBENCH, lasting).await? else {
        eprintln!("load: there is no pgbench; accepted pushes are not compared with it");
        return Ok(());
    };
    report.add(format!("pgbench, single-row commits, {LIKE_PGBENCH} clients"), commits, "/s", Goal::None);
    report.add(format!("{name}: ratio to pgbench"), accepted / commits, "", Goal::AtLeast(1.0));
    Ok(())
}

/// The comparison is worth nothing if the empty handler does not read the body.
async fn prove_empty_reads(empty: &Server) -> anyhow::Result<()> {
    let mut connection = Connection::open(empty.address).await?;
    let answer = connection.exchange(&request("/push/x/?delay=1", None, &"x".repeat(150))).await?;
    anyhow::ensure!(answer.body == b"{\"read\":150}", "the empty handler did not read the body");
    Ok(())
}
