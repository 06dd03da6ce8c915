//! Pushes accepted and durable per second, beside what an empty handler does with the same requests.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::generator::{Load, Template};
use crate::http::{Connection, request};
use crate::receiver::Receiver;
use crate::report::{Goal, Report};
use crate::server::Server;
use crate::{Scale, folder};

/// The delay of every push: none comes due while it is measured.
const DELAY: u32 = 3600;

/// Measures with these settings and these numbers of connections; `what` names the settings in the table.
pub async fn run(
    report: &mut Report,
    scale: Scale,
    what: &str,
    settings: &[(&str, &str)],
    numbers_of_connections: &[usize],
) -> anyhow::Result<()> {
    let folder = folder()?;
    let receiver = Receiver::start()?;
    let server = Server::start(folder.path(), settings).await?;
    let empty = Server::start_empty().await?;
    prove_empty_reads(&empty).await?;
    let preset = server.make_preset(&receiver.url()).await?;
    let numbers = Arc::new(AtomicU64::new(0));
    for &connections in numbers_of_connections {
        let load = |address| Load {
            address,
            template: Template::new(&preset, Some(DELAY)),
            connections,
            warm_up: scale.seconds(0.5),
            lasting: scale.seconds(3.0),
            numbers: numbers.clone(),
        };
        let bare = measure(report, &empty, &load(empty.address), "empty handler").await?.0;
        let (accepted, took) = measure(report, &server, &load(server.address), what).await?;
        let goal = if connections == 64 { Goal::AtLeast(0.5) } else { Goal::None };
        let name = format!("{what}, {connections} connections");
        report.add(format!("{name}: ratio to the empty handler"), accepted / bare, "", goal);
        report.add_times(&format!("{name}: request to answer"), took, [Goal::None; 2]);
    }
    report.add(format!("{what}: most memory under load"), server.memory()?.1 as f64 / 1024.0, "MiB", Goal::None);
    Ok(())
}

/// Drives one server; answers pushes per second, and how long each took.
async fn measure(report: &mut Report, server: &Server, load: &Load, what: &str) -> anyhow::Result<(f64, Vec<u64>)> {
    let before = server.processor_micros()?;
    let tally = load.drive().await?;
    anyhow::ensure!(tally.refused == 0, "{} requests were refused", tally.refused);
    let each = (server.processor_micros()? - before) as f64 / tally.accepted as f64;
    let per_second = tally.took.len() as f64 / load.lasting.as_secs_f64();
    let name = format!("{what}, {} connections", load.connections);
    report.add(&name, per_second, "/s", Goal::None);
    report.add(format!("{name}: processor time each"), each, "µs", Goal::None);
    Ok((per_second, tally.took))
}

/// The comparison is worth nothing if the empty handler does not read the body.
async fn prove_empty_reads(empty: &Server) -> anyhow::Result<()> {
    let mut connection = Connection::open(empty.address).await?;
    let answer = connection.exchange(&request("/push/x/?delay=1", None, &"x".repeat(150))).await?;
    anyhow::ensure!(answer.body == b"{\"read\":150}", "the empty handler did not read the body");
    Ok(())
}
