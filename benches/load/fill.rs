//! Fills a database with tasks that wait, by the crate's own way of recording them.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use fanfare::app::SystemClock;
use fanfare::domain::account::{Account, Role};
use fanfare::domain::agenda::{Limits, lane};
use fanfare::domain::id::{AccountId, PushId, PusherId, TaskId, time_ordered};
use fanfare::domain::task::TaskState;
use fanfare::domain::time::{Clock, Timestamp};
use fanfare::store::{Column, Location, NewAccount, NewTask, Sealer, SecretKey, Store, TokenHash};
use serde_json::json;
use tokio::task::JoinSet;

use crate::generator::body;
use crate::server::{EMAIL, SECRET_KEY};

/// Tasks handed over at a time, and writers that do so.
const BATCH: u64 = 64;
const WRITERS: u64 = 32;
/// Other accounts, and the hosts of each.
const OTHERS: u64 = 200;
const HOSTS: u64 = 5;
/// They are due from tomorrow on, one after the other.
const TOMORROW_MS: i64 = 86_400_000;
/// The token of an account that has no part in the line.
pub const OTHER_TOKEN: &str = "ff_other";
/// As long as what a sealed push of the bench comes to.
const PAYLOAD: usize = 360;

/// Adds so many waiting tasks; no server may run on it. Every second one is of the bench's own account and to
/// its receiver (`host`), so that measured pushes wait in the same line.
pub async fn waiting_tasks(location: &Location, count: u64, host: &str) -> anyhow::Result<()> {
    let (store, own) = open(location).await?;
    let host = host.to_owned();
    fill(store, count, move |number| task(number, &own, &host)).await
}

/// Makes an account besides, which is no administrator and whose token is `OTHER_TOKEN`; no server may run on it.
pub async fn other_account(location: &Location) -> anyhow::Result<()> {
    let (store, _) = open(location).await?;
    add_other(&store).await?;
    store.close().await;
    Ok(())
}

async fn add_other(store: &Store) -> anyhow::Result<()> {
    let now = SystemClock::default().now();
    let id = AccountId::new("other");
    let email = "other@example.com".to_owned();
    let account = Account {
        id: id.clone(),
        email: email.clone(),
        role: Role::User,
        confirmed: true,
        disabled: false,
        created_at: now,
    };
    let mut tx = store.write().await.map_err(|error| broken(&error))?;
    let account = NewAccount { account, email_key: email, password_hash: "none".to_owned() };
    tx.insert_account(&account).await.map_err(|error| broken(&error))?;
    let until = now.plus_ms(TOMORROW_MS);
    tx.insert_token(&TokenHash::of(OTHER_TOKEN), &id, now, until).await.map_err(|error| broken(&error))?;
    tx.commit().await.map_err(|error| broken(&error))?;
    Ok(())
}

/// Adds so many tasks that are due. Every second one is of the bench's own account and to `host`; the rest are of an
/// account of their own, each to another host, where nobody listens. Makes the other account as well.
pub async fn due_tasks(location: &Location, count: u64, host: &str) -> anyhow::Result<()> {
    let (store, own) = open(location).await?;
    add_other(&store).await?;
    let sealer = Sealer::new(&SecretKey::parse(SECRET_KEY).context("the key is 64 digits")?);
    let host = host.to_owned();
    fill(store, count, move |number| {
        let alone =
            (AccountId::new("crowd"), format!("127.{}.{}.{}:1", 1 + number / 65_536, number / 256 % 256, number % 256));
        let (owner, host) = if number.is_multiple_of(2) { (own.clone(), host.clone()) } else { alone };
        let task = task(number, &owner, &host);
        let params = json!({ "endpoint": format!("http://{host}/hook"), "content": "c".repeat(100) });
        let payload = sealer.seal(Column::Payload, task.id.as_str(), &params.to_string());
        NewTask { lane: lane(owner.as_str(), &host), owner, payload, run_at: task.created_at, ..task }
    })
    .await
}

/// Adds so many pushes of the bench's own account to a receiver, numbered from 0, all due at the same time.
pub async fn backlog(location: &Location, count: u64, host: &str, due: Timestamp) -> anyhow::Result<()> {
    let (store, own) = open(location).await?;
    let sealer = Sealer::new(&SecretKey::parse(SECRET_KEY).context("the key is 64 digits")?);
    let host = host.to_owned();
    fill(store, count, move |number| {
        let task = task(0, &own, &host);
        let mut params: serde_json::Value = serde_json::from_str(&body(number)).unwrap_or_default();
        params["endpoint"] = json!(format!("http://{host}/hook"));
        let payload = sealer.seal(Column::Payload, task.id.as_str(), &params.to_string());
        NewTask { payload, run_at: due, ..task }
    })
    .await
}

/// The store, and the account of the bench.
async fn open(location: &Location) -> anyhow::Result<(Store, AccountId)> {
    let key = SecretKey::parse(SECRET_KEY).context("the key is 64 digits")?;
    let store = Store::open(location, &key, Limits { total: 1, per_host: 1 }).await?;
    let found = store
        .read()
        .await
        .map_err(|error| broken(&error))?
        .account_by_email(EMAIL)
        .await
        .map_err(|error| broken(&error))?;
    Ok((store, found.context("the server has not made its account")?.0.id))
}

/// Records what `task` makes of the numbers, and closes the store.
async fn fill(store: Store, count: u64, task: impl Fn(u64) -> NewTask + Send + Sync + 'static) -> anyhow::Result<()> {
    let mut writers = JoinSet::new();
    let task = Arc::new(task);
    for first in 0..WRITERS {
        let (store, task) = (store.clone(), task.clone());
        writers.spawn(async move {
            for start in (first * BATCH..count).step_by(usize::try_from(WRITERS * BATCH)?) {
                let tasks = (start..count.min(start + BATCH)).map(|number| task(number)).collect();
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
