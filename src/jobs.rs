//! The workers: apalis runs them over a backend of our own on the task table; each job is "deliver this task".
//!
//! A claimer takes due tasks, never more than can start at once; a finisher records outcomes in groups, and nothing is
//! claimed while they cannot be recorded. Neither polls: the claimer sleeps until there is news or the next task is due.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tower_layer::Identity;

use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::Engine;
use crate::flow::deliver::{deliver, interrupted};
use crate::flow::nodes::agree_on_time;
use crate::store::{Claim, Claimed, Finish, Store};

/// How often leases of dead workers are looked for.
pub const TAKE_OVER_EVERY: Duration = Duration::from_secs(5);
/// How many of those rounds pass between surveys of the lanes, among nodes and alone.
const SURVEY_SHARED: u32 = 2;
const SURVEY_ALONE: u32 = 12;
/// How long running attempts may take to end when the server stops.
pub const GRACE: Duration = Duration::from_secs(20);
/// How long recording what ended and handing back the rest may take after that.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// For so long after the database could not be written to, no lease counts as ended: its holder, here or on another
/// node, first gets to record what ended meanwhile.
const AFTER_OUTAGE: Duration = Duration::from_secs(10);
/// How long a claimed task with large parameters waits for room: the lease outlasts the attempt by more.
const LARGE_WAITS: Duration = Duration::from_secs(2);
/// By how much it is put off then.
const PUT_OFF_MS: i64 = 1000;
/// Most outcomes in one commit, and most that wait for one.
const MOST_FINISHES: usize = 256;
/// How often outcomes are refused, for a reason that does not pass, before each is tried alone.
const MOST_REFUSALS: u32 = 3;
/// Least time between two looks ahead: under load one then serves several claims.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long to wait after a claim that failed.
const CLAIM_AGAIN: Duration = Duration::from_millis(500);

/// The running workers of this node.
pub struct Workers {
    stop: watch::Sender<bool>,
    done: JoinHandle<()>,
    grace: Duration,
}

impl Workers {
    /// Starts claiming and delivering, as a worker of this name, which no other process may have. Attempts get `grace`
    /// to end when it stops.
    pub fn start(engine: Arc<Engine>, name: String, grace: Duration) -> Self {
        let (stop, stopping) = watch::channel(false);
        let done = tokio::spawn(run(engine, name, stopping, grace));
        Self { stop, done, grace }
    }

    /// Stops claiming, lets what runs end for a while, breaks off what does not, and hands the rest back.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(self.grace + LAST_WRITES, &mut self.done).await.is_err() {
            tracing::error!("the workers did not stop in time; their leases will be taken over");
            self.done.abort();
        }
    }
}

async fn run(engine: Arc<Engine>, name: String, mut stopping: watch::Receiver<bool>, grace: Duration) {
    let capacity = engine.concurrency.max(1);
    // A place is free again once its outcome is in here, so this bounds what a crash can repeat.
    let (finishes, finished) = mpsc::channel(capacity.min(MOST_FINISHES));
    let (stuck, recording) = watch::channel(false);
    let finisher = tokio::spawn(record_finishes(engine.store.clone(), name.clone(), finished, stuck));
    let (claims, claimed) = mpsc::channel(capacity);
    let drained = Arc::new(Drained::default());
    let lookout = tokio::spawn(look_ahead(engine.clone(), drained.clone()));
    let claimer = Claimer { engine: engine.clone(), name: name.clone(), claims, drained };
    let claimer = tokio::spawn(claimer.claim_due(recording.clone(), stopping.clone()));
    let sweeper = tokio::spawn(sweep(engine.clone(), recording, stopping.clone()));
    let (cut, cutting) = watch::channel(false);
    let cutter = tokio::spawn(cut_after(grace, cut, stopping.clone()));

    let handler = {
        let engine = engine.clone();
        let name: Arc<str> = name.as_str().into();
        move |task: Claimed| run_job(engine.clone(), name.clone(), task, finishes.clone(), cutting.clone())
    };
    let worker = WorkerBuilder::new(name.as_str()).backend(TaskBackend { claimed }).build(handler);
    let stopped = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
        Ok::<(), std::io::Error>(())
    };
    engine.working.store(true, Ordering::SeqCst);
    if let Err(error) = worker.run_until(stopped).await {
        tracing::debug!(%error, "the worker ended");
    }
    engine.working.store(false, Ordering::SeqCst);
    cutter.abort();
    let _ = claimer.await;
    sweeper.abort();
    lookout.abort();
    // The handler, and with it the last sender, is gone: the finisher records what is left and ends.
    let _ = finisher.await;
    match engine.store.hand_back(&name).await {
        Ok(tasks) if tasks.is_empty() => {}
        Ok(tasks) => tracing::info!(count = tasks.len(), "handed back {} tasks that had not ended", tasks.len()),
        Err(error) => tracing::warn!(?error, "tasks could not be handed back; their leases will end"),
    }
}

/// Says that attempts must break off, so long after the server was told to stop.
async fn cut_after(grace: Duration, cut: watch::Sender<bool>, mut stopping: watch::Receiver<bool>) {
    becomes(&mut stopping, true).await;
    tokio::time::sleep(grace).await;
    let _ = cut.send(true);
}

/// Waits until a flag has this value; for ever if nobody is left to set it.
async fn becomes(flag: &mut watch::Receiver<bool>, value: bool) {
    if flag.wait_for(|now| *now == value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One job. Large parameters are read here and not with the claim, a few at a time; if there is no room soon, the task is
/// put off before its lease runs out.
async fn run_job(
    engine: Arc<Engine>,
    name: Arc<str>,
    mut task: Claimed,
    finishes: mpsc::Sender<Finish>,
    cutting: watch::Receiver<bool>,
) {
    if !task.payload.is_empty() {
        return deliver_and_record(engine, task, finishes, cutting).await;
    }
    if let Ok(Ok(_room)) = tokio::time::timeout(LARGE_WAITS, engine.large.acquire()).await
        && let Ok(Some(payload)) = engine.store.payload(&task.id).await
    {
        task.payload = payload;
        return deliver_and_record(engine.clone(), task, finishes, cutting).await;
    }
    if let Err(error) = engine.store.put_off(&name, &task, engine.clock.now().plus_ms(PUT_OFF_MS)).await {
        tracing::warn!(?error, task_id = %task.id, "a task could not be put off; its lease will end");
    }
    engine.store.signal().ended(&task.lane);
}

/// One attempt. A panic in a delivery is an attempt that went wrong, and touches no other. One that is broken off has no
/// outcome: it is handed back, and the next attempt carries the same `Idempotency-Key`.
async fn deliver_and_record(
    engine: Arc<Engine>,
    task: Claimed,
    finishes: mpsc::Sender<Finish>,
    mut cutting: watch::Receiver<bool>,
) {
    let mut attempt = tokio::spawn({
        let (engine, task) = (engine.clone(), task.clone());
        async move { deliver(&engine, &task).await }
    });
    let ended = tokio::select! {
        ended = &mut attempt => ended,
        () = becomes(&mut cutting, true) => {
            attempt.abort();
            // Once it is handed back, nothing more of it may go out from here.
            let _ = attempt.await;
            tracing::warn!(task_id = %task.id, "the attempt at task {} was broken off by the stop", task.id);
            return;
        }
    };
    let finish = match ended {
        Ok(finish) => finish,
        Err(error) => {
            tracing::error!(task_id = %task.id, %error, "a delivery panicked");
            interrupted(&engine, &task)
        }
    };
    // The finisher outlives every handler; if it is gone the lease ends and the task is tried again.
    let _ = finishes.send(finish).await;
    engine.store.signal().ended(&task.lane);
}

async fn record_finishes(store: Store, name: String, mut finished: mpsc::Receiver<Finish>, stuck: watch::Sender<bool>) {
    let mut group = Vec::with_capacity(MOST_FINISHES);
    while finished.recv_many(&mut group, MOST_FINISHES).await > 0 {
        record_group(&store, &name, &group, &stuck).await;
        stuck.send_if_modified(std::mem::take);
        group.clear();
    }
}

/// Returns once the outcomes are recorded, however long that takes: what arrived must not be sent again. Only an outcome
/// that the database does not take as such is given up, so that it does not stop all others.
async fn record_group(store: &Store, name: &str, group: &[Finish], stuck: &watch::Sender<bool>) {
    let mut pause = Duration::from_millis(100);
    let mut refused = 0;
    while let Err(error) = store.finish(name, group).await {
        stuck.send_replace(true);
        refused += u32::from(!matches!(error, Error::Busy { .. }));
        if refused > MOST_REFUSALS {
            return record_apart(store, name, group, stuck).await;
        }
        tracing::warn!(?error, count = group.len(), "{} outcomes could not be recorded yet", group.len());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Finds the outcome in a group that cannot be recorded, and has its task fail with nothing but a code.
async fn record_apart(store: &Store, name: &str, group: &[Finish], stuck: &watch::Sender<bool>) {
    if let [finish] = group {
        tracing::error!(task_id = %finish.id, "the outcome of task {} cannot be recorded; it counts as failed", finish.id);
        let plain = finish.unrecordable();
        if let Err(error) = store.finish(name, &[plain]).await {
            tracing::error!(?error, task_id = %finish.id, "nor can that; task {} runs again", finish.id);
        }
        return;
    }
    for finish in group {
        Box::pin(record_group(store, name, std::slice::from_ref(finish), stuck)).await;
    }
}

/// Lanes that have nothing due any more, each once.
#[derive(Default)]
struct Drained {
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

/// Claims what is due, as far as there is room, until told to stop.
struct Claimer {
    engine: Arc<Engine>,
    name: String,
    claims: mpsc::Sender<Task<Claimed>>,
    drained: Arc<Drained>,
}

impl Claimer {
    async fn claim_due(self, mut recording: watch::Receiver<bool>, mut stopping: watch::Receiver<bool>) {
        let Self { engine, name, claims, drained: all_drained } = self;
        let signal = engine.store.signal().clone();
        let lease_ms = i64::try_from(engine.lease.as_millis()).unwrap_or(i64::MAX);
        loop {
            if *stopping.borrow() {
                return;
            }
            if *recording.borrow() {
                // What is started now could not be recorded either, and would run again.
                tokio::select! {
                    () = becomes(&mut recording, false) => {}
                    _ = stopping.changed() => {}
                }
                continue;
            }
            let now = engine.clock.now();
            let picks = signal.agenda().picks(now.0);
            if picks.is_empty() {
                let wait = signal.agenda().next_wake().map(|at| at.saturating_sub(now.0));
                tokio::select! {
                    () = signal.news() => {}
                    () = sleep_ms(wait) => {}
                    _ = stopping.changed() => {}
                }
                continue;
            }
            match engine.store.claim(&name, &picks, now, now.plus_ms(lease_ms)).await {
                Ok(found) => {
                    let mut drained = Vec::new();
                    for (claim, (lane, most)) in found.into_iter().zip(&picks) {
                        match hand_over(&engine, &claims, claim, *most, now).await {
                            Some(Left::Some) => {}
                            Some(Left::Unknown) => drained.push(lane.clone()),
                            None => return,
                        }
                    }
                    all_drained.add(drained);
                }
                Err(error) => {
                    tracing::warn!(?error, "due tasks could not be claimed");
                    signal.note(picks.iter().map(|(lane, _)| (lane.as_str(), now.0)));
                    tokio::select! {
                        () = tokio::time::sleep(CLAIM_AGAIN) => {}
                        _ = stopping.changed() => {}
                    }
                }
            }
        }
    }
}

/// What a claim left behind in its lane.
enum Left {
    /// More that is due, as like as not.
    Some,
    /// Nothing that is due.
    Unknown,
}

/// Gives the claimed tasks of a lane to the workers, and tells the agenda; `None` once there are no workers any more.
async fn hand_over(
    engine: &Engine,
    claims: &mpsc::Sender<Task<Claimed>>,
    claim: Claim,
    most: i64,
    now: Timestamp,
) -> Option<Left> {
    let count = claim.tasks.len();
    // A full claim leaves more behind, as like as not; asking when would only cost time.
    let full = i64::try_from(count).is_ok_and(|count| count >= most);
    engine.store.signal().agenda().claimed(&claim.lane, count, full.then_some(now.0));
    for task in claim.tasks {
        let late = u64::try_from(now.0 - task.run_at.0).unwrap_or(0);
        engine.metrics.started_late_by(Duration::from_millis(late));
        // Room was counted before the claim, so the channel has it.
        claims.send(Task::new(task)).await.ok()?;
    }
    Some(if full { Left::Some } else { Left::Unknown })
}

/// Tells the agenda when lanes that have nothing due any more have something again. The claims go on meanwhile: what is
/// committed after one is noted by whoever commits it, and a time that is told too early costs a claim and no more.
async fn look_ahead(engine: Arc<Engine>, drained: Arc<Drained>) {
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

/// Takes over what dead workers left, and surveys the lanes, at intervals; both are safety nets.
async fn sweep(engine: Arc<Engine>, recording: watch::Receiver<bool>, mut stopping: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(TAKE_OVER_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds: u32 = 0;
    let mut leases_stand_until = None;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stopping.changed() => return,
        }
        let mut well = !*recording.borrow();
        if well && leases_stand_until.is_none_or(|until| until <= Instant::now()) {
            match engine.store.take_over(engine.clock.now()).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "took over {count} tasks whose worker was gone"),
                Err(error) => {
                    tracing::warn!(?error, "leases could not be checked");
                    well = false;
                }
            }
        }
        if let Err(error) = agree_on_time(&engine).await {
            tracing::warn!(?error, "the database's time could not be asked for");
        }
        if !well {
            leases_stand_until = Some(Instant::now() + AFTER_OUTAGE);
            rounds = 0;
        }
        // The first round tells the agenda what waited before this process began, or what it was not told in an outage;
        // a node that died may not have told the others what it took in last.
        let every = if engine.store.is_shared() { SURVEY_SHARED } else { SURVEY_ALONE };
        if rounds.is_multiple_of(every)
            && let Err(error) = engine.store.survey().await
        {
            tracing::warn!(?error, "the lanes could not be surveyed");
            continue;
        }
        rounds = rounds.wrapping_add(1);
    }
}

async fn sleep_ms(wait: Option<i64>) {
    match wait {
        Some(ms) => tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await,
        None => std::future::pending().await,
    }
}

/// What apalis polls: tasks that the claimer has claimed.
struct TaskBackend {
    claimed: mpsc::Receiver<Task<Claimed>>,
}

/// The backend itself does not fail: the claimer deals with the database.
#[derive(Debug)]
struct Never;

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Never {}

impl Backend for TaskBackend {
    type Task = Task<Claimed>;
    type Error = Never;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Never>>> {
        self.claimed.poll_recv(cx).map(|task| task.map(Ok))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Never>> {
        // What is still in the channel was not started; `run` hands it back.
        Pin::new(&mut self.claimed).close();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for TaskBackend {
    type Args = Claimed;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &Self::Config {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
