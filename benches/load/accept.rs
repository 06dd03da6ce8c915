//! Pushes accepted and durable per second, beside what an empty handler does with the same requests.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::generator::{Load, Tally, Template};
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
        let bare = per_second(&load(empty.address).drive().await?, scale)?;
        report.add(format!("empty handler, {connections} connections"), bare, "/s", Goal::None);
        let tally = load(server.address).drive().await?;
        let accepted = per_second(&tally, scale)?;
        let goal = if connections == 64 { Goal::AtLeast(0.5) } else { Goal::None };
        let name = format!("{what}, {connections} connections");
        report.add(&name, accepted, "/s", Goal::None);
        report.add(format!("{name}: ratio to the empty handler"), accepted / bare, "", goal);
        report.add_times(&format!("{name}: request to answer"), tally.took, [Goal::None; 2]);
    }
    report.add(format!("{what}: most memory under load"), server.memory()?.1 as f64 / 1024.0, "MiB", Goal::None);
    Ok(())
}

fn per_second(tally: &Tally, scale: Scale) -> anyhow::Result<f64> {
    anyhow::ensure!(tally.refused == 0, "{} requests were refused", tally.refused);
    Ok(tally.took.len() as f64 / scale.seconds(3.0).as_secs_f64())
}

/// The comparison is worth nothing if the empty handler does not read the body.
async fn prove_empty_reads(empty: &Server) -> anyhow::Result<()> {
    let mut connection = Connection::open(empty.address).await?;
    let answer = connection.exchange(&request("/push/x/?delay=1", None, &"x".repeat(150))).await?;
    anyhow::ensure!(answer.body == b"{\"read\":150}", "the empty handler did not read the body");
    Ok(())
}
