//! Claims what is due, as far as there is room and somewhat ahead of it for lanes that flow. Does not poll: it sleeps
//! until there is news or the next task is due.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::becomes;
use crate::domain::agenda::{Ask, MOST_PICKS};
use crate::domain::stock::{Left, Stock};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flow::Engine;
use crate::store::{Claim, Claimed};

/// Least time between two claims of what comes all the time: meanwhile more of it comes, and each claim is a commit.
const GATHER: Duration = Duration::from_millis(3);
/// Least time between two looks ahead: under load one then serves several claims.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// When lanes are due again whose claim failed.
const CLAIM_AGAIN_MS: i64 = 500;
/// How many times as many tasks may be in stock as may run: they last until the next claim, though it waits for the writer.
const STOCKED: usize = 2;
/// After so long what was claimed ahead is given back: its lane does not flow any more, and its lease runs.
const AHEAD_MS: i64 = 1000;

/// Lanes that have nothing due any more, each once, and since when it had not.
#[derive(Default)]
pub(super) struct Drained {
    lanes: Mutex<BTreeMap<String, i64>>,
    bell: Notify,
}

impl Drained {
    fn add(&self, drained: Vec<(String, i64)>) {
        if drained.is_empty() {
            return;
        }
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for (lane, since) in drained {
            let first = lanes.entry(lane).or_insert(since);
            *first = since.min(*first);
        }
        self.bell.notify_one();
    }

    async fn take(&self) -> Vec<(String, i64)> {
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
    /// The claim under way: the workers go on from stock meanwhile.
    asking: Option<Asking>,
    /// Until when no other claim is to begin.
    pause: Option<Instant>,
    /// Lanes that were picked while another claim was under way or in a pause, and since when they are due.
    later: Vec<(String, i64)>,
}

/// A claim under way.
struct Asking {
    asked: Asked,
    /// A task of the runtime: nobody may hold the database's writer and not go on.
    answer: JoinHandle<Result<Vec<Claim>>>,
}

/// What was asked for, and when.
struct Asked {
    asks: Vec<Ask>,
    at: Timestamp,
    began: Instant,
}

/// Nobody is left to work.
struct Gone;

impl Claimer {
    pub(super) fn new(
        engine: Arc<Engine>,
        name: Arc<str>,
        claims: mpsc::Sender<Claimed>,
        drained: Arc<Drained>,
    ) -> Self {
        let stock = Stock::new(engine.concurrency * STOCKED);
        Self { engine, name, claims, drained, stock, asking: None, pause: None, later: Vec::new() }
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
            let picks = if self.may_pick() { signal.agenda().picks(now.0) } else { Vec::new() };
            if !picks.is_empty() {
                if self.serve(picks, now).await.is_err() {
                    break;
                }
                continue;
            }
            let wait = self.next_wake().map(|at| at.saturating_sub(now.0));
            tokio::select! {
                (asked, answer) = answered(&mut self.asking) => {
                    if self.take_in(asked, answer).await.is_err() {
                        break;
                    }
                }
                () = over(self.pause) => self.end_pause(),
                () = signal.news() => {}
                () = sleep_ms(wait) => {}
                _ = stopping.changed() => {}
            }
        }
        // What it gives is handed back with the rest, which must come after it.
        if self.asking.is_some() {
            let _ = answered(&mut self.asking).await;
        }
    }

    /// Whether a claim may begin now.
    fn may_ask(&self) -> bool {
        self.asking.is_none() && self.pause.is_none()
    }

    /// Whether to look for lanes now. Until a claim may begin only as many as it takes are put off: with a long line of lanes
    /// all of them would be picked and put back for each claim.
    fn may_pick(&self) -> bool {
        self.may_ask() || self.later.len() < MOST_PICKS
    }

    /// When there is something to do again, if nothing happens before.
    fn next_wake(&self) -> Option<i64> {
        let due = if self.may_pick() { self.engine.store.signal().agenda().next_wake() } else { None };
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

    /// Starts up to so many tasks of each of these lanes from stock, and asks the database where that runs low.
    async fn serve(&mut self, picks: Vec<Ask>, now: Timestamp) -> std::result::Result<(), Gone> {
        let (mut asks, mut drained) = (Vec::new(), Vec::new());
        for Ask { lane, most, since } in picks {
            let (tasks, left) = self.stock.take(&lane, usize::try_from(most).unwrap_or(0));
            let (room, ahead) = match tasks.is_empty() {
                true => (most, Some(self.stock.ahead(&lane))),
                false => (0, self.stock.refill(&lane)),
            };
            if let Some(ahead) = ahead {
                let most = room + i64::try_from(ahead).unwrap_or(0);
                asks.push(Ask { lane: lane.clone(), most, since });
            }
            if !tasks.is_empty() {
                self.start(&lane, tasks, left, since).await?;
                drained.extend((left == Left::Unknown).then_some((lane, since)));
            }
        }
        self.drained.add(drained);
        self.ask(asks, now);
        Ok(())
    }

    /// Claims, unless no claim may begin: until then those lanes wait that have nothing in stock.
    fn ask(&mut self, asks: Vec<Ask>, now: Timestamp) {
        if !self.may_ask() {
            let dry = asks.into_iter().filter(|ask| self.stock.is_dry(&ask.lane));
            self.later.extend(dry.map(|ask| (ask.lane, ask.since)));
        } else if !asks.is_empty() {
            let (store, name, asked) = (self.engine.store.clone(), self.name.clone(), asks.clone());
            let lease_until = now.plus_ms(self.engine.lease_ms());
            let claim = async move { store.claim(&name, &asked, now, lease_until).await };
            let asked = Asked { asks, at: now, began: Instant::now() };
            self.asking = Some(Asking { asked, answer: tokio::spawn(claim) });
        }
    }

    /// Starts what a claim gave, as far as there is room now, and puts the rest into stock. Those that start do not wait for
    /// another turn of their lane: with a long line of lanes it would come too late.
    async fn take_in(&mut self, asked: Asked, answer: Result<Vec<Claim>>) -> std::result::Result<(), Gone> {
        let Asked { asks, at, began } = asked;
        let now = self.engine.clock.now();
        let mut drained = Vec::new();
        let signal = self.engine.store.signal().clone();
        match answer {
            Ok(claims) => {
                // Several at once: more of them are coming.
                let flows = claims.iter().any(|claim| claim.tasks.len() > 1);
                self.pause = Some(began + GATHER).filter(|until| flows && *until > Instant::now());
                for (claim, ask) in claims.into_iter().zip(&asks) {
                    // To ask when the rest is due would only cost time.
                    let filled = ask.is_filled(claim.tasks.len());
                    let up_to = claim.tasks.last().filter(|_| filled).map_or(at.0, |last| last.run_at.0);
                    let (lane, since) = (&ask.lane, ask.since_after(up_to));
                    self.stock.put(lane, claim.tasks, filled, now.0);
                    let room = signal.agenda().room(lane);
                    let (tasks, left) = self.stock.take(lane, room);
                    self.start(lane, tasks, left, since).await?;
                    drained.extend((left == Left::Unknown).then(|| (lane.clone(), since)));
                }
            }
            Err(error) => {
                tracing::warn!(?error, "due tasks could not be claimed");
                let lanes = asks.iter().map(|ask| (ask.lane.as_str(), ask.since));
                signal.defer(lanes, now.0.saturating_add(CLAIM_AGAIN_MS));
            }
        }
        if self.pause.is_none() {
            self.end_pause();
        }
        self.drained.add(drained);
        Ok(())
    }

    /// Lets those lanes have their turn that were picked when no claim could begin.
    fn end_pause(&mut self) {
        self.pause = None;
        let lanes = self.later.iter().map(|(lane, since)| (lane.as_str(), *since));
        self.engine.store.signal().note(lanes);
        self.later.clear();
    }

    /// Gives tasks of a lane to the workers, and tells the agenda; what is left is due since then, or later.
    async fn start(&self, lane: &str, tasks: Vec<Claimed>, left: Left, since: i64) -> std::result::Result<(), Gone> {
        let next_due = (left == Left::Some).then_some(since);
        self.engine.store.signal().agenda().claimed(lane, tasks.len(), next_due);
        for task in tasks {
            // Room was counted before, so the channel has it.
            self.claims.send(task).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

/// Waits for the end of the claim under way; for ever if there is none.
async fn answered(asking: &mut Option<Asking>) -> (Asked, Result<Vec<Claim>>) {
    let answer = match asking {
        Some(asking) => (&mut asking.answer).await.unwrap_or_else(|error| Err(Error::Broken(error.into()))),
        None => std::future::pending().await,
    };
    match asking.take() {
        Some(Asking { asked, .. }) => (asked, answer),
        None => std::future::pending().await,
    }
}

/// Waits for the end of the pause; for ever if there is none.
async fn over(pause: Option<Instant>) {
    match pause {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
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
                let again = engine.clock.now().plus_ms(CLAIM_AGAIN_MS).0;
                engine.store.signal().defer(lanes.iter().map(|(lane, since)| (lane.as_str(), *since)), again);
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
