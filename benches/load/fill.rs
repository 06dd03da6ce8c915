//! Fills a database with tasks that wait for a later day, by the crate's own way of recording them.

use std::path::Path;

use anyhow::{Context, anyhow};
use fanfare::app::SystemClock;
use fanfare::domain::agenda::{Limits, lane};
use fanfare::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use fanfare::domain::task::TaskState;
use fanfare::domain::time::Clock;
use fanfare::store::{Location, NewTask, SecretKey, Store};
use tokio::task::JoinSet;

use crate::server::{EMAIL, SECRET_KEY};

/// Tasks handed over at a time, and writers that do so.
const BATCH: u64 = 64;
const WRITERS: u64 = 32;
/// Other accounts, and the hosts of each.
const OTHERS: u64 = 200;
const HOSTS: u64 = 5;
/// They are due from tomorrow on, one after the other.
const TOMORROW_MS: i64 = 86_400_000;
/// As long as what a sealed push of the bench comes to.
const PAYLOAD: usize = 360;

/// Adds so many waiting tasks; no server may run on the folder. Every second one is of the bench's own account and to
/// its receiver (`host`), so that measured pushes wait in the same line.
pub async fn waiting_tasks(data: &Path, count: u64, host: &str) -> anyhow::Result<()> {
    let location = Location::Sqlite { file: data.join("fanfare.db"), durable: false };
    let key = SecretKey::parse(SECRET_KEY).context("the key is 64 digits")?;
    let store = Store::open(&location, &key, Limits { total: 1, per_host: 1 }).await?;
    let found = store
        .read()
        .await
        .map_err(|error| broken(&error))?
        .account_by_email(EMAIL)
        .await
        .map_err(|error| broken(&error))?;
    let own = found.context("the server has not made its account")?.0.id;
    let mut writers = JoinSet::new();
    for first in 0..WRITERS {
        let (store, own, host) = (store.clone(), own.clone(), host.to_owned());
        writers.spawn(async move {
            for start in (first * BATCH..count).step_by(usize::try_from(WRITERS * BATCH)?) {
                let tasks = (start..count.min(start + BATCH)).map(|number| task(number, &own, &host)).collect();
                store.record(tasks).await.map_err(|error| broken(&error))?;
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    store.close().await;
    Ok(())
}

fn task(number: u64, own: &AccountId, host: &str) -> NewTask {
    let now = SystemClock::default().now();
    let push = PushId::new(time_ordered(now.0, rand::random()));
    let other = (AccountId::new(format!("other-{}", number % OTHERS)), format!("host-{}.example", number % HOSTS));
    let (owner, host) = if number.is_multiple_of(2) { (own.clone(), host.to_owned()) } else { other };
    NewTask {
        id: TaskId::of(&push, 0),
        lane: lane(owner.as_str(), &host),
        owner,
        pusher_id: PusherId::new("0123456789abcdefghjkmnpqrs"),
        service: "webhook".to_owned(),
        name: None,
        fallback: false,
        state: TaskState::Waiting,
        run_at: now.plus_ms(TOMORROW_MS + i64::try_from(number).unwrap_or(0)),
        payload: "x".repeat(PAYLOAD),
        created_at: now,
    }
}

fn broken(error: &fanfare::error::Error) -> anyhow::Error {
    anyhow!("the database: {error:?}")
}
