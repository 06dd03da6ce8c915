//! What nodes on one PostgreSQL tell each other: lanes that have something due, and Pushers that have changed. All of it
//! are hints that save time; what is true stands in the tables. On SQLite there is one node and nothing to tell.
//!
//! Notifications arrive in the order of the commits. Whoever has heard a round of its own therefore knows every change
//! that was committed before it sent that round.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::trouble::in_time;
use super::watch::watch;
use super::{Db, Signal, Store, Tx, directly};
use crate::domain::id::PusherId;
use crate::domain::time::Timestamp;
use crate::error::Result;

const CHANNEL: &str = "fanfare";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";
/// PostgreSQL takes 8000 bytes a notification; a lane is at most a few hundred.
const MOST_BYTES: usize = 6000;
/// Least time between two notifications of a node: sending one takes a lock that all of the server's databases share.
const PAUSE: Duration = Duration::from_millis(10);
/// Waits before listening again after the connection was lost: the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// After so long in which it has heard nothing a node asks for a round, and after so long without that one it takes the
/// connection to be lost.
const QUIET: Duration = Duration::from_secs(15);
const ROUND_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait for a connection to listen on.
const CONNECT: Duration = Duration::from_secs(2);

/// What a node learns from the others, in the order of their commits.
#[derive(Debug)]
pub enum News {
    /// It listens from now on; what happened before it has not heard.
    Listening,
    /// A Pusher has changed or gone.
    Pusher(PusherId),
    /// The round that was asked for then has come back.
    Round(Instant),
    /// It hears nothing any more.
    Lost,
    /// Another process has written; it does not say what.
    Elsewhere,
}

/// One notification.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Message {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    from: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lanes: Vec<(String, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pusher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round: Option<u64>,
}

/// What is done to hear the others and be heard, on PostgreSQL.
pub(super) struct Herald {
    options: PgConnectOptions,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Herald {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, tasks: Mutex::default() }
    }

    pub(super) fn close(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

/// What is to be told, gathered until it is sent: the earliest time of each lane, however often it was noted.
#[derive(Default)]
pub(super) struct Outbox {
    lanes: Mutex<HashMap<String, i64>>,
    round: AtomicBool,
    bell: Notify,
}

impl Outbox {
    /// Tells the others when these lanes are due.
    pub(super) fn lanes<'a>(&self, due: impl IntoIterator<Item = (&'a str, i64)>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for (lane, run_at) in due {
            match lanes.get_mut(lane) {
                Some(first) => *first = (*first).min(run_at),
                None => drop(lanes.insert(lane.to_owned(), run_at)),
            }
        }
        if !lanes.is_empty() {
            self.bell.notify_one();
        }
    }

    fn ask_round(&self) {
        if !self.round.swap(true, Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Everything that is to be told, in messages that fit.
    fn take(&self, from: &str) -> Vec<Message> {
        let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        let message = || Message { from: from.to_owned(), ..Message::default() };
        let (mut messages, mut current, mut bytes) = (Vec::new(), message(), 0);
        for (lane, run_at) in lanes {
            bytes += lane.len() * 2 + 24;
            if bytes > MOST_BYTES {
                messages.push(std::mem::replace(&mut current, message()));
                bytes = 0;
            }
            current.lanes.push((lane, run_at));
        }
        if !current.lanes.is_empty() {
            messages.push(current);
        }
        messages
    }
}

impl Store {
    /// Whether other nodes may work on the same database.
    pub fn is_shared(&self) -> bool {
        self.herald.is_some()
    }

    /// Begins to talk with the other nodes under this name; where there are none, to look out for other processes. Ends
    /// when the database is closed.
    pub fn join(&self, name: &str) -> mpsc::UnboundedReceiver<News> {
        let (tell, news) = mpsc::unbounded_channel();
        let Some(herald) = &self.herald else {
            tokio::spawn(watch(self.db.clone(), tell));
            return news;
        };
        let began = Instant::now();
        let speaking = tokio::spawn(speak(self.db.clone(), self.signal.outbox().clone(), name.to_owned(), began));
        let listening = tokio::spawn(listen(herald.clone(), self.signal.clone(), name.to_owned(), began, tell));
        let mut tasks = herald.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.extend([speaking.abort_handle(), listening.abort_handle()]);
        news
    }

    /// The database's clock; `None` where it is this machine's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn time(&self) -> Result<Option<Timestamp>> {
        if !self.is_shared() {
            return Ok(None);
        }
        let (now,): (i64,) = directly!(&self.db, conn => sqlx::query_as(
            "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint").fetch_one(conn).await)?;
        Ok(Some(Timestamp(now)))
    }

    /// Tells the others what they have not been told yet, before the database is closed.
    pub(super) async fn tell_the_rest(&self) {
        if self.is_shared() {
            send(&self.db, self.signal.outbox().take("")).await;
        }
    }

    /// Asks for a round: `News::Round` comes once everything has been heard that was committed before now.
    pub fn ask_round(&self) {
        self.signal.outbox().ask_round();
    }
}

impl Tx {
    /// Tells every node, when this transaction commits, that a Pusher has changed or gone, or can be used no more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tell_changed(&mut self, id: &PusherId) -> Result<()> {
        let Self::Postgres(tx) = self else { return Ok(()) };
        let message = Message { pusher: Some(id.as_str().to_owned()), ..Message::default() };
        in_time(sqlx::query(NOTIFY).bind(CHANNEL).bind(text(&message)).execute(&mut **tx)).await?;
        Ok(())
    }
}

fn text(message: &Message) -> String {
    // Texts, numbers and lists of them: there is nothing in it that could not be written.
    serde_json::to_string(message).unwrap_or_default()
}

/// Sends what is in the outbox, as often as it fills and at most once in a while.
async fn speak(db: Db, outbox: Arc<Outbox>, name: String, began: Instant) {
    loop {
        outbox.bell.notified().await;
        let asked = outbox.round.swap(false, Ordering::SeqCst);
        let mut messages = outbox.take(&name);
        if asked {
            let round = u64::try_from(began.elapsed().as_micros()).ok();
            messages.push(Message { from: name.clone(), round, ..Message::default() });
        }
        send(&db, messages).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn send(db: &Db, messages: Vec<Message>) {
    for message in messages {
        if let Err(error) = notify(db, text(&message)).await {
            // The others find the lanes when they next survey them.
            tracing::debug!(%error, "the other nodes could not be told");
        }
    }
}

async fn notify(db: &Db, text: String) -> sqlx::Result<()> {
    directly!(db, conn => sqlx::query(NOTIFY).bind(CHANNEL).bind(text).execute(conn).await.map(drop))
}

/// Hears what the others say, for as long as somebody wants to know.
async fn listen(
    herald: Arc<Herald>,
    signal: Arc<Signal>,
    name: String,
    began: Instant,
    tell: mpsc::UnboundedSender<News>,
) {
    let mut pause = AGAIN.0;
    while !tell.is_closed() {
        match hear(&herald.options, &signal, &name, began, &tell).await {
            // It had listened for a while.
            Ok(()) => pause = AGAIN.0,
            Err(error) => {
                tracing::debug!(%error, "the other nodes cannot be heard");
                pause = (pause * 2).min(AGAIN.1);
            }
        }
        // Nobody may be there to hear it when the server ends.
        let _ = tell.send(News::Lost);
        tokio::time::sleep(pause).await;
    }
}

/// Listens on one connection until it is lost.
async fn hear(
    options: &PgConnectOptions,
    signal: &Signal,
    name: &str,
    began: Instant,
    tell: &mpsc::UnboundedSender<News>,
) -> sqlx::Result<()> {
    // A pool each time: a connection that hangs would keep its place in it.
    let alone = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&alone).await?;
    listener.eager_reconnect(false);
    in_time(listener.listen(CHANNEL)).await?;
    let _ = tell.send(News::Listening);
    while let Some(heard) = next(&mut listener, signal).await {
        // What a newer version says in a way that this one does not understand is left to the surveys.
        let Ok(message) = serde_json::from_str::<Message>(heard.payload()) else { continue };
        if let Some(id) = message.pusher {
            let _ = tell.send(News::Pusher(PusherId::new(id)));
        }
        if message.from == name {
            // Its own lanes it knows already.
            if let Some(at) = message.round.and_then(|micros| began.checked_add(Duration::from_micros(micros))) {
                let _ = tell.send(News::Round(at));
            }
        } else {
            signal.note(message.lanes.iter().map(|(lane, run_at)| (lane.as_str(), *run_at)));
        }
    }
    Ok(())
}

/// The next notification; nothing once the connection is lost, or seems to be.
async fn next(listener: &mut PgListener, signal: &Signal) -> Option<PgNotification> {
    let mut heard = pin!(listener.try_recv());
    for quiet in [QUIET, ROUND_WITHIN] {
        match timeout(quiet, &mut heard).await {
            Ok(Ok(heard)) => return heard,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the connection that the other nodes are heard on was lost");
                return None;
            }
            Err(_) => signal.outbox().ask_round(),
        }
    }
    tracing::debug!("the connection that the other nodes are heard on says nothing any more");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_told_once_with_its_earliest_time() {
        let outbox = Outbox::default();
        outbox.lanes([("ann@a", 300), ("bob@b", 5)]);
        outbox.lanes([("ann@a", 100), ("ann@a", 200)]);
        let mut told = outbox.take("n").remove(0).lanes;
        told.sort();
        assert_eq!(told, [("ann@a".to_owned(), 100), ("bob@b".to_owned(), 5)]);
        assert!(outbox.take("n").is_empty());
    }

    #[test]
    fn messages_fit_whatever_they_hold() {
        let outbox = Outbox::default();
        let lanes: Vec<String> = (0..2000).map(|n| format!("{n}@{}", "\"".repeat(250))).collect();
        outbox.lanes(lanes.iter().map(|lane| (lane.as_str(), i64::MAX)));
        let messages = outbox.take(&"n".repeat(40));
        assert_eq!(messages.iter().map(|message| message.lanes.len()).sum::<usize>(), lanes.len());
        let longest = messages.iter().map(|message| text(message).len()).max();
        assert!(longest < Some(8000), "{longest:?}");
    }
}
