//! What the client library alone does with the receiver: the ceiling for deliveries on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::anyhow;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Scale;
use crate::generator::{body, library};
use crate::receiver::Receiver;
use crate::report::{Goal, Report};

const CONNECTIONS: usize = 32;

/// Posts in a loop, as many at a time as the server would to one host.
pub async fn run(report: &mut Report, scale: Scale) -> anyhow::Result<()> {
    let per_second = bare_loop(scale).await?;
    report.add(format!("bare client loop, {CONNECTIONS} connections"), per_second, "/s", Goal::None);
    Ok(())
}

/// Posts per second of that loop.
pub async fn bare_loop(scale: Scale) -> anyhow::Result<f64> {
    let receiver = Receiver::start()?;
    let (done, result) = oneshot::channel();
    let (url, lasting) = (receiver.url(), scale.seconds(3.0));
    // On a runtime of its own, as the server has one.
    std::thread::spawn(move || {
        let posted = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
        let _ = done.send(posted.and_then(|runtime| runtime.block_on(post(url, Instant::now() + lasting))));
    });
    let posted = result.await??;
    Ok(posted as f64 / lasting.as_secs_f64())
}

async fn post(url: String, ends: Instant) -> anyhow::Result<u64> {
    let client = library()?;
    let posted = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, url, posted) = (client.clone(), url.clone(), posted.clone());
        running.spawn(async move {
            while Instant::now() < ends {
                let number = posted.fetch_add(1, Ordering::Relaxed);
                let answer = client.post(&url).header("content-type", "application/json").body(body(number));
                answer.send().await?.bytes().await?;
            }
            Ok::<(), reqwest::Error>(())
        });
    }
    while let Some(part) = running.join_next().await {
        part.map_err(|error| anyhow!("{error}"))??;
    }
    Ok(posted.load(Ordering::Relaxed))
}
