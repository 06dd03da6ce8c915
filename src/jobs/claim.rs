//! Claims what is due, as far as there is room and somewhat ahead of it for lanes that flow. Does not poll: it sleeps
//! until there is news or the next task is due.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::becomes;
use crate::domain::stock::{Left, Stock};
use crate::domain::time::Timestamp;
use crate::flow::Engine;
use crate::store::{Claim, Claimed};

/// Least time between two looks ahead: under load one then serves several claims.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long to wait after a claim that failed.
const CLAIM_AGAIN: Duration = Duration::from_millis(500);
/// After so long what was claimed ahead is given back: its lane does not flow any more, and its lease runs.
const AHEAD_MS: i64 = 1000;

/// Lanes that have nothing due any more, each once.
#[derive(Default)]
pub(super) struct Drained {
    lanes: Mutex<BTreeSet<String>>,
    bell: Notify,
}

impl Drained {
    fn add(&self, lanes: Vec<String>) {
        if !lanes.is_empty() {
            self.lanes.lock().unwrap_or_else(PoisonError::into_inner).extend(lanes);
            self.bell.notify_one();
        }
    }

    async fn take(&self) -> Vec<String> {
        self.bell.notified().await;
        std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

/// Claims what is due until told to stop. What is in stock then is handed back with everything else.
pub(super) struct Claimer {
    engine: Arc<Engine>,
    name: Arc<str>,
    claims: mpsc::Sender<Claimed>,
    drained: Arc<Drained>,
    stock: Stock<Claimed>,
}

/// Why a round ended early.
enum Stop {
    /// Nobody is left to work.
    Gone,
    /// The database failed.
    Failed,
}

impl Claimer {
    pub(super) fn new(
        engine: Arc<Engine>,
        name: Arc<str>,
        claims: mpsc::Sender<Claimed>,
        drained: Arc<Drained>,
    ) -> Self {
        let stock = Stock::new(engine.concurrency);
        Self { engine, name, claims, drained, stock }
    }

    pub(super) async fn claim_due(mut self, mut recording: watch::Receiver<bool>, mut stopping: watch::Receiver<bool>) {
        let signal = self.engine.store.signal().clone();
        while !*stopping.borrow() {
            if *recording.borrow() {
                // What is started now could not be recorded either, and would run again.
                tokio::select! {
                    () = becomes(&mut recording, false) => {}
                    _ = stopping.changed() => {}
                }
                continue;
            }
            let now = self.engine.clock.now();
            self.give_back(now);
            let picks = signal.agenda().picks(now.0);
            if picks.is_empty() {
                let wait = self.next_wake().map(|at| at.saturating_sub(now.0));
                tokio::select! {
                    () = signal.news() => {}
                    () = sleep_ms(wait) => {}
                    _ = stopping.changed() => {}
                }
                continue;
            }
            match self.serve(picks, now).await {
                Ok(()) => {}
                Err(Stop::Gone) => return,
                Err(Stop::Failed) => tokio::select! {
                    () = tokio::time::sleep(CLAIM_AGAIN) => {}
                    _ = stopping.changed() => {}
                },
            }
        }
    }

    /// When there is something to do again, if nothing happens before.
    fn next_wake(&self) -> Option<i64> {
        let due = self.engine.store.signal().agenda().next_wake();
        let give_back = self.stock.oldest().map(|since| since.saturating_add(AHEAD_MS));
        due.into_iter().chain(give_back).min()
    }

    /// Has lanes that do not flow any more wait again with what was claimed ahead. They are known to be due.
    fn give_back(&mut self, now: Timestamp) {
        let given_up = self.stock.give_up(now.0.saturating_sub(AHEAD_MS));
        if given_up.is_empty() {
            return;
        }
        let (engine, name) = (self.engine.clone(), self.name.clone());
        tokio::spawn(async move {
            for task in given_up {
                if let Err(error) = engine.store.put_off(&name, &task, task.run_at).await {
                    tracing::warn!(?error, task_id = %task.id, "a task could not be given back; its lease will end");
                }
            }
        });
    }

    /// Starts so many tasks of each of these lanes: what is in stock, else what the database gives.
    async fn serve(&mut self, picks: Vec<(String, i64)>, now: Timestamp) -> Result<(), Stop> {
        let (mut asks, mut rooms, mut drained) = (Vec::new(), Vec::new(), Vec::new());
        for (lane, most) in picks {
            let room = usize::try_from(most).unwrap_or(0);
            let (tasks, left) = self.stock.take(&lane, room);
            if tasks.is_empty() {
                let ahead = self.stock.ahead(&lane);
                rooms.push(room);
                asks.push((lane, most + i64::try_from(ahead).unwrap_or(0)));
            } else {
                self.start(&lane, tasks, left, now).await?;
                drained.extend((left == Left::Unknown).then_some(lane));
            }
        }
        if !asks.is_empty() {
            for (claim, ((lane, wanted), room)) in self.ask(&asks, now).await?.into_iter().zip(asks.iter().zip(rooms)) {
                let full = i64::try_from(claim.tasks.len()).is_ok_and(|count| count >= *wanted);
                let mut tasks = claim.tasks;
                let surplus = tasks.split_off(room.min(tasks.len()));
                // A full claim leaves more behind, as like as not; asking when would only cost time.
                let left = self.stock.put(lane, surplus, full, now.0);
                self.start(lane, tasks, left, now).await?;
                drained.extend((left == Left::Unknown).then(|| lane.clone()));
            }
        }
        self.drained.add(drained);
        Ok(())
    }

    async fn ask(&self, asks: &[(String, i64)], now: Timestamp) -> Result<Vec<Claim>, Stop> {
        let lease_ms = i64::try_from(self.engine.lease.as_millis()).unwrap_or(i64::MAX);
        self.engine.store.claim(&self.name, asks, now, now.plus_ms(lease_ms)).await.map_err(|error| {
            tracing::warn!(?error, "due tasks could not be claimed");
            self.engine.store.signal().note(asks.iter().map(|(lane, _)| (lane.as_str(), now.0)));
            Stop::Failed
        })
    }

    /// Gives tasks of a lane to the workers, and tells the agenda.
    async fn start(&self, lane: &str, tasks: Vec<Claimed>, left: Left, now: Timestamp) -> Result<(), Stop> {
        let next_due = (left == Left::Some).then_some(now.0);
        self.engine.store.signal().agenda().claimed(lane, tasks.len(), next_due);
        for task in tasks {
            let late = u64::try_from(now.0 - task.run_at.0).unwrap_or(0);
            self.engine.metrics.started_late_by(Duration::from_millis(late));
            // Room was counted before the claim, so the channel has it.
            self.claims.send(task).await.map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }
}

/// Tells the agenda when lanes that have nothing due any more have something again. The claims go on meanwhile: what is
/// committed after one is noted by whoever commits it, and a time that is told too early costs a claim and no more.
pub(super) async fn look_ahead(engine: Arc<Engine>, drained: Arc<Drained>) {
    loop {
        let lanes = drained.take().await;
        match engine.store.next_dues(&lanes).await {
            Ok(dues) => engine.store.signal().note(dues.iter().map(|(lane, due)| (lane.as_str(), *due))),
            Err(error) => {
                tracing::warn!(?error, "the next tasks of lanes could not be looked up; they are tried again");
                let again = engine.clock.now().plus_ms(500).0;
                engine.store.signal().note(lanes.iter().map(|lane| (lane.as_str(), again)));
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn sleep_ms(wait: Option<i64>) {
    match wait {
        Some(ms) => tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await,
        None => std::future::pending().await,
    }
}
