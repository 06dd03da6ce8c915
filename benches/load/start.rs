//! How soon a server is ready, and what memory it takes when nothing happens.

use std::time::Duration;

use crate::report::{Goal, Report};
use crate::server::Server;
use crate::{Scale, folder};

/// Until a server that has just started has come to rest.
const SETTLE: Duration = Duration::from_secs(2);

/// The first start makes the database, the key's proof and an administrator; the second finds them.
pub async fn run(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let folder = folder()?;
    for which in ["first", "second"] {
        let server = Server::start(folder.path(), &[]).await?;
        let ready = server.ready_after.as_secs_f64() * 1000.0;
        report.add(format!("ready, {which} start"), ready, "ms", Goal::Below(300.0));
        tokio::time::sleep(SETTLE.min(scale.seconds(3.0))).await;
        let (now, _) = server.memory()?;
        report.add(format!("idle memory, {which} start"), now as f64 / 1024.0, "MiB", Goal::Below(30.0));
        server.stop().await?;
    }
    Ok(())
}
