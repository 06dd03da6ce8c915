//! The workers: apalis runs them over a backend of our own on the task table; each job is "deliver this task".
//!
//! A claimer takes due tasks, hardly more than can start at once; a finisher records outcomes in groups, and nothing is
//! claimed while they cannot be recorded.

mod claim;
mod finish;
mod sweep;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use futures_util::FutureExt;
use tokio::sync::{SemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;
use tower_layer::Identity;

use self::claim::{Claimer, Drained, look_ahead};
use self::finish::{Outcomes, outcomes, record_finishes};
use self::sweep::sweep;
use crate::flow::Engine;
use crate::flow::deliver::{broken_off, deliver, interrupted};
use crate::flow::revoke::revoke_orphan;
use crate::store::{Claimed, Intake};

/// How often leases of dead workers are looked for.
pub const TAKE_OVER_EVERY: Duration = Duration::from_secs(5);
/// How long running attempts may take to end when the server stops.
pub const GRACE: Duration = Duration::from_secs(20);
/// How long recording what ended and handing back the rest may take after that.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// How long what panicked rests before it begins anew.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// How long a claimed task with large parameters waits for room: the lease outlasts the attempt by more.
const LARGE_WAITS: Duration = Duration::from_secs(2);
/// By how much it is put off then.
const PUT_OFF_MS: i64 = 1000;
/// Most outcomes in one commit, and most that wait for one.
const MOST_FINISHES: usize = 256;

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
    let name: Arc<str> = name.into();
    let capacity = engine.concurrency.max(1);
    // A place is free again once its outcome is in here, so this bounds what a crash can repeat.
    let (finishes, told) = outcomes(capacity.min(MOST_FINISHES));
    let (stuck, recording) = watch::channel(false);
    let finisher = tokio::spawn(record_finishes(engine.store.clone(), name.clone(), told, stuck));
    let (claims, claimed) = mpsc::channel(capacity);
    let (held, mut starting) = mpsc::channel(1);
    let intake = Intake {
        worker: name.clone(),
        lease_ms: engine.lease_ms(),
        claims: claims.clone(),
        stuck: recording.clone(),
        held,
    };
    engine.store.signal().set_intake(Some(intake));
    let (cut, cutting) = watch::channel(false);
    let cutter = tokio::spawn(cut_after(grace, cut, stopping.clone()));
    let beside = Beside::start(&engine, &name, &claims, &recording, &stopping);
    drop(claims);

    let handler = {
        let (engine, name) = (engine.clone(), name.clone());
        // A task of the runtime each: the worker itself runs on one processor. Boxed, or it would be moved again and again.
        move |task: Claimed| {
            let job = run_job(engine.clone(), name.clone(), task, finishes.clone(), cutting.clone());
            let job = tokio::spawn(Box::pin(job));
            async move {
                if let Err(error) = job.await {
                    tracing::error!(%error, "a job broke off; its lease will end");
                }
            }
        }
    };
    let worker = WorkerBuilder::new(&*name).backend(TaskBackend { claimed }).build(handler);
    let stopped = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
        Ok::<(), std::io::Error>(())
    };
    engine.working.store(true, Ordering::SeqCst);
    if let Err(error) = worker.run_until(stopped).await {
        tracing::debug!(%error, "the worker ended");
    }
    engine.store.signal().set_intake(None);
    engine.working.store(false, Ordering::SeqCst);
    cutter.abort();
    beside.end().await;
    // The handler, and with it the last sender, is gone: the finisher records what is left and ends.
    let _ = finisher.await;
    // What is being recorded as begun here ends as well before everything is handed back.
    let _ = tokio::time::timeout(LAST_WRITES, starting.recv()).await;
    match engine.store.hand_back(&name).await {
        Ok(tasks) if tasks.is_empty() => {}
        Ok(tasks) => tracing::info!(count = tasks.len(), "handed back {} tasks that had not ended", tasks.len()),
        Err(error) => tracing::warn!(?error, "tasks could not be handed back; their leases will end"),
    }
}

/// What goes on beside the workers.
struct Beside {
    claimer: JoinHandle<()>,
    lookout: JoinHandle<()>,
    sweeper: JoinHandle<()>,
}

impl Beside {
    fn start(
        engine: &Arc<Engine>,
        name: &Arc<str>,
        claims: &mpsc::Sender<Claimed>,
        recording: &watch::Receiver<bool>,
        stopping: &watch::Receiver<bool>,
    ) -> Self {
        let drained = Arc::new(Drained::default());
        let lookout = supervised("look ahead", {
            let (engine, drained) = (engine.clone(), drained.clone());
            move || look_ahead(engine.clone(), drained.clone())
        });
        let sweeper = supervised("sweeper", {
            let (engine, recording, stopping) = (engine.clone(), recording.clone(), stopping.clone());
            move || sweep(engine.clone(), recording.clone(), stopping.clone())
        });
        let claimer = supervised("claimer", {
            let (engine, name, claims) = (engine.clone(), name.clone(), claims.clone());
            let (recording, stopping) = (recording.clone(), stopping.clone());
            move || {
                let claimer = Claimer::new(engine.clone(), name.clone(), claims.clone(), drained.clone());
                claimer.claim_due(recording.clone(), stopping.clone())
            }
        });
        Self { claimer, lookout, sweeper }
    }

    /// The claimer ends by itself at a stop, after the claim under way.
    async fn end(self) {
        let _ = self.claimer.await;
        self.sweeper.abort();
        self.lookout.abort();
    }
}

/// Runs the work anew after each panic, until it ends by itself.
fn supervised<F>(what: &'static str, mut work: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        // Nothing of what panicked is used again but what is behind locks that go on after a panic.
        while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
            tracing::error!("the {what} panicked; it begins anew");
            tokio::time::sleep(AFTER_PANIC).await;
        }
    })
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

/// One job.
async fn run_job(
    engine: Arc<Engine>,
    name: Arc<str>,
    mut task: Claimed,
    finishes: Outcomes,
    cutting: watch::Receiver<bool>,
) {
    let late = engine.clock.now().0.saturating_sub(task.run_at.0);
    engine.metrics.started_late_by(Duration::from_millis(u64::try_from(late).unwrap_or(0)));
    if task.is_repeated() && Box::pin(is_revoked(&engine, &name, &task)).await {
        return engine.store.signal().ended(&task.lane);
    }
    let mut _room = None;
    if task.payload.is_empty() {
        match Box::pin(read_payload(&engine, &name, &task)).await {
            Some((room, payload)) => (_room, task.payload) = (Some(room), payload),
            None => return engine.store.signal().ended(&task.lane),
        }
    }
    deliver_and_record(&engine, &task, &finishes, cutting).await;
}

/// Whether a task was revoked instead of being tried again. Where that cannot be told it is tried.
async fn is_revoked(engine: &Engine, name: &str, task: &Claimed) -> bool {
    revoke_orphan(engine, name, task).await.unwrap_or_else(|error| {
        tracing::warn!(?error, task_id = %task.id, "whether a task's Pusher is still there could not be looked up");
        false
    })
}

/// Large parameters are read here and not with the claim, a few at a time; if there is no room soon, the task is put off
/// before its lease runs out.
async fn read_payload<'a>(engine: &'a Engine, name: &str, task: &Claimed) -> Option<(SemaphorePermit<'a>, String)> {
    if let Ok(Ok(room)) = tokio::time::timeout(LARGE_WAITS, engine.large.acquire()).await
        && let Ok(Some(payload)) = engine.store.payload(&task.id).await
    {
        return Some((room, payload));
    }
    if let Err(error) = engine.store.put_off(name, task, engine.clock.now().plus_ms(PUT_OFF_MS)).await {
        tracing::warn!(?error, task_id = %task.id, "a task could not be put off; its lease will end");
    }
    None
}

/// One attempt. A panic in a delivery is an attempt that went wrong, and touches no other. One that is broken off is told
/// as such, and the next attempt carries the same `Idempotency-Key`.
async fn deliver_and_record(engine: &Engine, task: &Claimed, finishes: &Outcomes, mut cutting: watch::Receiver<bool>) {
    let began = engine.clock.now();
    // What the attempt shares with others stays whole whatever panics: it is behind locks that go on after a panic.
    let attempt = AssertUnwindSafe(deliver(engine, task)).catch_unwind();
    let ended = tokio::select! {
        ended = attempt => ended,
        () = becomes(&mut cutting, true) => {
            tracing::warn!(task_id = %task.id, "the attempt at task {} was broken off by the stop", task.id);
            // The attempt itself is gone by now.
            Ok(broken_off(engine, task, began))
        }
    };
    let finish = ended.unwrap_or_else(|_| {
        tracing::error!(task_id = %task.id, "a delivery panicked");
        interrupted(engine, task)
    });
    finishes.send(finish).await;
    engine.store.signal().ended(&task.lane);
}

/// What apalis polls: tasks that the claimer has claimed.
struct TaskBackend {
    claimed: mpsc::Receiver<Claimed>,
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
        self.claimed.poll_recv(cx).map(|task| task.map(|task| Ok(Task::new(task))))
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
