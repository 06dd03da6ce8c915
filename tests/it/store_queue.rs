//! The queue by itself: who gets which task, what a finish may change, and what becomes of what was left behind.

use fanfare::domain::agenda::Ask;
use fanfare::domain::id::TaskId;
use fanfare::domain::task::TaskState;
use fanfare::domain::time::Timestamp;
use fanfare::store::{Claim, Claimed, Finish, FinishState, NewTask, TaskRecord};

use crate::store::{Base, task};
use crate::support::world::both;

both!(
    what_is_due_is_claimed_in_order_and_up_to_the_limit,
    each_lane_is_claimed_by_itself,
    what_is_claimed_is_claimed_once,
    a_lane_tells_when_its_next_is_due,
    a_claim_passes_over_nothing_that_it_was_told_of,
    a_claim_counts_attempts_and_keeps_the_first_start,
    a_finish_records_what_the_attempt_brought,
    a_finish_counts_for_the_worker_and_the_attempt_alone,
    one_lost_lease_does_not_spoil_the_other_finishes,
    more_finishes_than_a_statement_takes_are_recorded_each_for_its_own_task,
    another_attempt_is_noted_for_its_time,
    a_worker_hands_back_what_it_did_not_start,
    what_a_dead_worker_left_is_taken_over,
    a_survey_tells_of_every_lane,
    a_success_skips_the_steps_that_were_held,
    a_failure_starts_the_next_step,
    steps_of_many_pushes_end_together_and_each_starts_its_own_next,
    a_held_step_keeps_a_later_time_of_its_own,
    only_what_waits_is_revoked,
    what_comes_to_wait_in_this_moment_is_revoked,
    only_what_failed_is_retried,
    revocable_tasks_are_found_by_owner_and_pusher,
);

const NOW: Timestamp = Timestamp(1_000);
const LEASE: Timestamp = Timestamp(2_000);

async fn base(tasks: Vec<NewTask>) -> Base {
    let base = Base::start().await;
    base.store.record(tasks).await.unwrap();
    base
}

fn due(at: i64, run_at: i64, host: &str) -> NewTask {
    NewTask { run_at: Timestamp(run_at), ..task(at, 0, host) }
}

/// A step of a `fallback` Group; all but the first are held.
fn step(position: usize) -> NewTask {
    let state = if position == 0 { TaskState::Waiting } else { TaskState::Held };
    NewTask { fallback: true, state, ..task(1, position, &format!("host{position}")) }
}

async fn claim(base: &Base, worker: &str, lanes: &[(&str, i64)]) -> Vec<Claim> {
    let asks: Vec<_> = lanes.iter().map(|(host, most)| Ask::any(&format!("ann@{host}"), *most)).collect();
    base.store.claim(worker, &asks, NOW, LEASE).await.unwrap()
}

/// Claims one task of a lane.
async fn claim_one(base: &Base, worker: &str, host: &str) -> Claimed {
    let mut claims = claim(base, worker, &[(host, 1)]).await;
    claims.remove(0).tasks.pop().expect("a task that is due")
}

fn times(claim: &Claim) -> Vec<i64> {
    claim.tasks.iter().map(|task| task.run_at.0).collect()
}

fn finish(task: &Claimed, state: FinishState) -> Finish {
    Finish {
        id: task.id.clone(),
        attempt: task.attempt,
        fallback: task.fallback,
        lane: task.lane.clone(),
        state,
        now: Timestamp(NOW.0 + 50),
        attempt_log: r#"[{"at":1000,"duration_ms":50,"outcome":"sent"}]"#.to_owned(),
    }
}

fn failed() -> FinishState {
    FinishState::Failed { code: "webhook:http_400".to_owned(), message: "no".to_owned() }
}

async fn read(base: &Base, id: &TaskId) -> TaskRecord {
    base.read().await.task(id).await.unwrap().unwrap()
}

async fn states(base: &Base, count: usize) -> Vec<TaskState> {
    let mut states = Vec::new();
    for position in 0..count {
        states.push(read(base, &step(position).id).await.state);
    }
    states
}

async fn what_is_due_is_claimed_in_order_and_up_to_the_limit() {
    let base =
        base(vec![due(1, 900, "a"), due(2, 300, "a"), due(3, 1_001, "a"), due(4, 1_000, "a"), due(5, 300, "a")]).await;
    let first = claim(&base, "w", &[("a", 3)]).await;
    assert_eq!(times(&first[0]), [300, 300, 900]);
    assert!(first[0].tasks[0].id < first[0].tasks[1].id, "of equal times the older first");
    assert_eq!(times(&claim(&base, "w", &[("a", 3)]).await[0]), [1_000], "not a moment too early");
    assert_eq!(times(&claim(&base, "w", &[("a", 0)]).await[0]), [] as [i64; 0]);
}

async fn each_lane_is_claimed_by_itself() {
    let base = base(vec![due(1, 1, "a"), due(2, 2, "a"), due(3, 1, "b"), due(4, 1, "ab")]).await;
    let claims = claim(&base, "w", &[("a", 1), ("b", 5), ("none", 5)]).await;
    let told: Vec<_> = claims.iter().map(|claim| (claim.lane.as_str(), times(claim))).collect();
    assert_eq!(told, [("ann@a", vec![1]), ("ann@b", vec![1]), ("ann@none", vec![])]);
    assert_eq!(claim(&base, "w", &[("ab", 9)]).await[0].tasks.len(), 1, "a lane is its whole name");
}

async fn what_is_claimed_is_claimed_once() {
    let base = base((0..50).map(|at| task(at, 0, "a")).collect()).await;
    let mut workers = tokio::task::JoinSet::new();
    for n in 0..10 {
        let store = base.store.clone();
        workers.spawn(async move {
            let lanes = [Ask::any("ann@a", 10)];
            let claims = store.claim(&format!("w{n}"), &lanes, NOW, LEASE).await.unwrap();
            claims.into_iter().flat_map(|claim| claim.tasks).map(|task| task.id).collect::<Vec<_>>()
        });
    }
    let mut ids: Vec<TaskId> = workers.join_all().await.concat();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

async fn a_lane_tells_when_its_next_is_due() {
    let base = base(vec![due(1, 1, "a"), due(2, 5_000, "a"), due(3, 4_000, "a"), due(4, 7, "b")]).await;
    assert_eq!(claim(&base, "w", &[("a", 9)]).await[0].tasks.len(), 1);
    assert_eq!(next_due(&base, "ann@a").await, Some(4_000));
    let mut tx = base.write().await;
    tx.revoke_task(&due(3, 0, "a").id, NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(next_due(&base, "ann@a").await, Some(5_000), "a revoked one is not waited for");
    assert_eq!(next_due(&base, "ann@none").await, None);
}

async fn a_claim_passes_over_nothing_that_it_was_told_of() {
    let base = base(vec![due(1, 500, "a"), due(2, 600, "a"), due(3, 700, "a")]).await;
    let picks = base.store.signal().agenda().picks(NOW.0);
    assert_eq!(picks, [Ask { since: 500, ..Ask::any("ann@a", picks[0].most) }]);
    let claims = base.store.claim("w", &picks, NOW, LEASE).await.unwrap();
    assert_eq!(claims[0].tasks.len(), 3, "the first among them");
    // One that is given back is older than what the lane has got to, and told again.
    base.store.record(vec![due(4, 900, "a")]).await.unwrap();
    base.store.put_off("w", &claims[0].tasks[1], Timestamp(600)).await.unwrap();
    let picks = base.store.signal().agenda().picks(NOW.0);
    assert_eq!(picks[0].since, 600);
    let claims = base.store.claim("w", &picks, NOW, LEASE).await.unwrap();
    assert_eq!(claims[0].tasks.iter().map(|task| task.run_at.0).collect::<Vec<_>>(), [600, 900]);
    let next = base.store.next_dues(&[("ann@a".to_owned(), 600)]).await.unwrap();
    assert_eq!(next, []);
}

async fn a_claim_counts_attempts_and_keeps_the_first_start() {
    let base = base(vec![task(1, 0, "a")]).await;
    let first = claim_one(&base, "w", "a").await;
    assert_eq!((first.attempt, first.attempt_base, &*first.attempt_log), (1, 0, "[]"));
    assert_eq!((&*first.payload, &*first.service, first.fallback), ("sealed", "webhook", false));
    let again = FinishState::Again { run_at: Timestamp(600), code: "c".to_owned(), message: "m".to_owned() };
    base.store.finish("w", &[finish(&first, again)]).await.unwrap();
    let lanes = [Ask::any("ann@a", 1)];
    let second = base.store.claim("v", &lanes, Timestamp(1_500), LEASE).await.unwrap().remove(0).tasks.remove(0);
    assert_eq!((second.attempt, second.run_at), (2, Timestamp(600)));
    assert!(second.attempt_log.contains("duration_ms"));
    let kept = read(&base, &first.id).await;
    assert_eq!((kept.state, kept.started_at), (TaskState::Running, Some(NOW)));
}

async fn a_finish_records_what_the_attempt_brought() {
    let base = base(vec![task(1, 0, "a"), task(2, 0, "b"), task(3, 0, "c")]).await;
    let [a, b, c] =
        [claim_one(&base, "w", "a").await, claim_one(&base, "w", "b").await, claim_one(&base, "w", "c").await];
    let again = FinishState::Again { run_at: Timestamp(9_000), code: "x:busy".to_owned(), message: "later".to_owned() };
    let finishes = [finish(&a, FinishState::Succeeded), finish(&b, failed()), finish(&c, again)];
    base.store.finish("w", &finishes).await.unwrap();
    let end = Some(Timestamp(1_050));
    for (id, state, finished, run_at, error) in [
        (&a.id, TaskState::Succeeded, end, 1, None),
        (&b.id, TaskState::Failed, end, 2, Some(("webhook:http_400", "no"))),
        (&c.id, TaskState::Waiting, None, 9_000, Some(("x:busy", "later"))),
    ] {
        let kept = read(&base, id).await;
        assert_eq!((kept.state, kept.finished_at, kept.run_at), (state, finished, Timestamp(run_at)));
        assert_eq!(kept.error.as_ref().map(|(code, text)| (code.as_str(), text.as_str())), error);
        assert_eq!((kept.attempts.len(), kept.attempts[0].outcome.as_str()), (1, "sent"));
    }
}

async fn a_finish_counts_for_the_worker_and_the_attempt_alone() {
    let base = base(vec![task(1, 0, "a")]).await;
    let lost = claim_one(&base, "w", "a").await;
    base.store.finish("another", &[finish(&lost, failed())]).await.unwrap();
    assert_eq!(read(&base, &lost.id).await.state, TaskState::Running);
    base.store.take_over(Timestamp(LEASE.0 + 1)).await.unwrap();
    base.store.finish("w", &[finish(&lost, failed())]).await.unwrap();
    assert_eq!(read(&base, &lost.id).await.state, TaskState::Waiting, "its lease was lost");
    let held = claim_one(&base, "w", "a").await;
    base.store.finish("w", &[finish(&lost, failed())]).await.unwrap();
    let kept = read(&base, &lost.id).await;
    assert_eq!((kept.state, kept.error), (TaskState::Running, None), "the same worker, but another attempt");
    base.store.finish("w", &[finish(&held, FinishState::Succeeded)]).await.unwrap();
    base.store.finish("w", &[finish(&held, failed())]).await.unwrap();
    assert_eq!(read(&base, &lost.id).await.state, TaskState::Succeeded, "an end is an end");
}

async fn one_lost_lease_does_not_spoil_the_other_finishes() {
    let base = base(vec![step(0), step(1), task(5, 0, "a")]).await;
    let [lost, held] = [claim_one(&base, "w", "host0").await, claim_one(&base, "w", "a").await];
    let stale = Finish { attempt: 0, ..finish(&lost, failed()) };
    base.store.finish("w", &[stale, finish(&held, FinishState::Succeeded)]).await.unwrap();
    assert_eq!(read(&base, &held.id).await.state, TaskState::Succeeded);
    assert_eq!(states(&base, 2).await, [TaskState::Running, TaskState::Held], "what did not count starts nothing");
}

/// When the next task of a lane is due, asked for together with another's.
async fn next_due(base: &Base, lane: &str) -> Option<i64> {
    let dues = base.store.next_dues(&["ann@nowhere", lane].map(|lane| (lane.to_owned(), i64::MIN))).await.unwrap();
    assert!(dues.iter().all(|(found, _)| found == lane), "{dues:?}");
    dues.first().map(|(_, due)| *due)
}

/// The lanes that the node has been told of, and from when on.
fn next_wake(base: &Base) -> Option<i64> {
    base.store.signal().agenda().next_wake()
}

/// Lets the node forget what it was told so far.
fn forget(base: &Base) {
    while !base.store.signal().agenda().picks(i64::MAX).is_empty() {}
}

async fn more_finishes_than_a_statement_takes_are_recorded_each_for_its_own_task() {
    let base = base((0..150).map(|at| task(at, 0, "a")).collect()).await;
    let tasks = claim(&base, "w", &[("a", 150)]).await.remove(0).tasks;
    let ends = |number: usize| match number % 3 {
        0 => FinishState::Succeeded,
        _ => FinishState::Failed { code: format!("webhook:{number}"), message: "no".to_owned() },
    };
    let finishes = tasks.iter().enumerate().map(|(number, task)| finish(task, ends(number)));
    base.store.finish("w", &finishes.rev().collect::<Vec<_>>()).await.unwrap();
    for (number, task) in tasks.iter().enumerate() {
        let kept = read(&base, &task.id).await;
        let code = (number % 3 > 0).then(|| format!("webhook:{number}"));
        assert_eq!(kept.state == TaskState::Succeeded, code.is_none());
        assert_eq!(kept.error.map(|(code, _)| code), code);
    }
}

async fn another_attempt_is_noted_for_its_time() {
    let base = base(vec![task(1, 0, "a")]).await;
    let claimed = claim_one(&base, "w", "a").await;
    forget(&base);
    assert_eq!(next_wake(&base), None);
    let again = FinishState::Again { run_at: Timestamp(9_000), code: "c".to_owned(), message: String::new() };
    base.store.finish("w", &[finish(&claimed, again)]).await.unwrap();
    assert_eq!(next_wake(&base), Some(9_000));
}

async fn a_worker_hands_back_what_it_did_not_start() {
    let base = base(vec![task(1, 0, "a"), task(2, 0, "a"), task(3, 0, "b")]).await;
    claim(&base, "w", &[("a", 2)]).await;
    let other = claim_one(&base, "v", "b").await;
    assert_eq!(base.store.hand_back("w").await.unwrap().len(), 2);
    assert_eq!(base.store.hand_back("w").await.unwrap(), []);
    assert_eq!(read(&base, &other.id).await.state, TaskState::Running, "that is another's");
    assert_eq!(claim_one(&base, "v", "a").await.attempt, 1, "as if it had never been claimed");
}

async fn what_a_dead_worker_left_is_taken_over() {
    let base = base(vec![task(1, 0, "a"), task(2, 0, "b")]).await;
    claim(&base, "w", &[("a", 1), ("b", 1)]).await;
    forget(&base);
    assert_eq!(base.store.take_over(LEASE).await.unwrap(), 0, "the lease still stands");
    assert_eq!(base.store.take_over(Timestamp(LEASE.0 + 1)).await.unwrap(), 2);
    assert_eq!(base.store.take_over(Timestamp(i64::MAX)).await.unwrap(), 0);
    assert_eq!(next_wake(&base), Some(1), "and the node is told");
    assert_eq!(claim_one(&base, "v", "a").await.attempt, 2, "the attempt that was begun counts");
}

async fn a_survey_tells_of_every_lane() {
    let mut tasks = vec![NewTask { state: TaskState::Held, ..due(999, 1, "held") }];
    for lane in 0..60 {
        tasks.extend((0..3).map(|n| due(1_000 + lane * 3 + n, 5_000 - 10 * n + lane, &format!("h{lane}"))));
    }
    let base = base(tasks).await;
    forget(&base);
    base.store.survey().await.unwrap();
    assert_eq!(next_wake(&base), Some(4_980));
    let due = base.store.signal().agenda().picks(4_990);
    let early = |lane: &str| (0..=10).any(|n| lane == format!("ann@h{n}"));
    assert!(!due.is_empty() && due.iter().all(|ask| early(&ask.lane)), "none that has nothing due: {due:?}");
    let mut seen: Vec<_> = due.into_iter().map(|ask| ask.lane).collect();
    loop {
        // Only so many at a time.
        let more = base.store.signal().agenda().picks(i64::MAX);
        if more.is_empty() {
            break;
        }
        seen.extend(more.into_iter().map(|ask| ask.lane));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 60, "every lane, but for the held task's");
}

async fn a_success_skips_the_steps_that_were_held() {
    let other = NewTask { state: TaskState::Held, ..task(2, 1, "x") };
    let base = base(vec![step(0), step(1), step(2), other.clone()]).await;
    let first = claim_one(&base, "w", "host0").await;
    base.store.finish("w", &[finish(&first, FinishState::Succeeded)]).await.unwrap();
    assert_eq!(states(&base, 3).await, [TaskState::Succeeded, TaskState::Skipped, TaskState::Skipped]);
    assert_eq!(read(&base, &step(1).id).await.finished_at, Some(Timestamp(1_050)));
    assert_eq!(read(&base, &other.id).await.state, TaskState::Held, "another push is another matter");
    let mut tx = base.write().await;
    assert_eq!(tx.skip_others(&other.id.push().unwrap(), None, NOW).await.unwrap(), 1);
}

async fn a_failure_starts_the_next_step() {
    let base = base(vec![step(0), step(1), step(2)]).await;
    let first = claim_one(&base, "w", "host0").await;
    forget(&base);
    base.store.finish("w", &[finish(&first, failed())]).await.unwrap();
    assert_eq!(states(&base, 3).await, [TaskState::Failed, TaskState::Waiting, TaskState::Held]);
    assert_eq!(read(&base, &step(1).id).await.run_at, Timestamp(1_050), "now");
    assert_eq!(next_wake(&base), Some(1_050));
    let lanes = [Ask::any("ann@host1", 1)];
    let second = base.store.claim("w", &lanes, Timestamp(1_050), LEASE).await.unwrap().remove(0).tasks.remove(0);
    let again = FinishState::Again { run_at: Timestamp(1_100), code: "c".to_owned(), message: String::new() };
    base.store.finish("w", &[finish(&second, again)]).await.unwrap();
    assert_eq!(states(&base, 3).await, [TaskState::Failed, TaskState::Waiting, TaskState::Held], "it is not over yet");
}

async fn steps_of_many_pushes_end_together_and_each_starts_its_own_next() {
    let of =
        |at: i64, position: usize| NewTask { state: step(position).state, fallback: true, ..task(at, position, "a") };
    let base = base((0..70).flat_map(|at| [of(at, 0), of(at, 1)]).collect()).await;
    let tasks = claim(&base, "w", &[("a", 70)]).await.remove(0).tasks;
    let ends = |number: usize| if number.is_multiple_of(3) { FinishState::Succeeded } else { failed() };
    let mut finishes: Vec<_> = tasks.iter().enumerate().map(|(at, task)| finish(task, ends(at))).rev().collect();
    // Of one the lease was lost: nothing of its push changes.
    finishes[5].attempt = 0;
    base.store.finish("w", &finishes).await.unwrap();
    for (number, first) in tasks.iter().enumerate() {
        let next = TaskId::of(&first.id.push().unwrap(), 1);
        let expected = match number {
            64 => (TaskState::Running, TaskState::Held),
            _ if number.is_multiple_of(3) => (TaskState::Succeeded, TaskState::Skipped),
            _ => (TaskState::Failed, TaskState::Waiting),
        };
        assert_eq!((read(&base, &first.id).await.state, read(&base, &next).await.state), expected, "{number}");
    }
}

async fn a_held_step_keeps_a_later_time_of_its_own() {
    let later = NewTask { run_at: Timestamp(7_777), ..step(1) };
    let base = base(vec![step(0), later]).await;
    let first = claim_one(&base, "w", "host0").await;
    base.store.finish("w", &[finish(&first, failed())]).await.unwrap();
    assert_eq!(read(&base, &step(1).id).await.run_at, Timestamp(7_777));
    // The last one's failure has nothing to start.
    let lanes = [Ask::any("ann@host1", 1)];
    let last = base.store.claim("w", &lanes, Timestamp(8_000), LEASE).await.unwrap().remove(0).tasks.remove(0);
    base.store.finish("w", &[finish(&last, failed())]).await.unwrap();
    assert_eq!(states(&base, 2).await, [TaskState::Failed, TaskState::Failed]);
}

async fn revoke(base: &Base, id: &TaskId) -> bool {
    let mut tx = base.write().await;
    let revoked = tx.revoke_task(id, NOW).await.unwrap();
    tx.commit().await.unwrap();
    revoked
}

async fn only_what_waits_is_revoked() {
    let base = base(vec![step(0), step(1), task(3, 0, "a")]).await;
    let running = claim_one(&base, "w", "a").await;
    assert!(!revoke(&base, &running.id).await);
    for id in [&step(0).id, &step(1).id] {
        assert!(revoke(&base, id).await);
        assert!(!revoke(&base, id).await, "once is enough");
        assert_eq!(read(&base, id).await.finished_at, Some(NOW));
    }
    assert_eq!(claim(&base, "w", &[("host0", 1)]).await[0].tasks.len(), 0);
    base.store.finish("w", &[finish(&running, FinishState::Succeeded)]).await.unwrap();
    assert!(!revoke(&base, &running.id).await);
    assert!(!revoke(&base, &TaskId::new("nowhere")).await);
}

async fn what_comes_to_wait_in_this_moment_is_revoked() {
    let base = base(vec![task(1, 0, "a")]).await;
    let claimed = claim_one(&base, "w", "a").await;
    base.store.finish("w", &[finish(&claimed, failed())]).await.unwrap();
    let mut waking = base.write().await;
    assert!(waking.retry_task(&claimed.id, Timestamp(900)).await.unwrap());
    let (store, id) = (base.store.clone(), claimed.id.clone());
    let revoking = tokio::spawn(async move {
        let mut tx = store.write().await.unwrap();
        let revoked = tx.revoke_task(&id, NOW).await.unwrap();
        let state = tx.task(&id).await.unwrap().unwrap().state;
        tx.commit().await.unwrap();
        (revoked, state)
    });
    // Enough for it to come upon the change that is not committed.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    waking.commit().await.unwrap();
    assert_eq!(revoking.await.unwrap(), (true, TaskState::Revoked));
}

async fn only_what_failed_is_retried() {
    let base = base(vec![task(1, 0, "a"), task(2, 0, "b")]).await;
    let retry = async |id: &TaskId| {
        let mut tx = base.write().await;
        let retried = tx.retry_task(id, Timestamp(900)).await.unwrap();
        tx.commit().await.unwrap();
        retried
    };
    let claimed = claim_one(&base, "w", "a").await;
    assert!(!retry(&claimed.id).await && !retry(&task(2, 0, "b").id).await);
    base.store.finish("w", &[finish(&claimed, failed())]).await.unwrap();
    assert!(retry(&claimed.id).await);
    assert!(!retry(&claimed.id).await);
    let kept = read(&base, &claimed.id).await;
    assert_eq!((kept.state, kept.run_at, kept.finished_at), (TaskState::Waiting, Timestamp(900), None));
    assert!(kept.error.is_none() && kept.attempts.len() == 1, "what was tried is not forgotten");
    let again = claim_one(&base, "w", "a").await;
    assert_eq!((again.attempt, again.attempt_base), (2, 1), "the back-off begins anew");
}

async fn revocable_tasks_are_found_by_owner_and_pusher() {
    let mut foreign = task(4, 0, "a");
    foreign.owner = fanfare::domain::id::AccountId::new("bob");
    let mut other = task(5, 0, "a");
    other.pusher_id = fanfare::domain::id::PusherId::new("other");
    let base = base(vec![task(3, 0, "a"), step(0), step(1), foreign, other, task(6, 0, "ran")]).await;
    claim_one(&base, "w", "ran").await;
    let (ann, pusher) = (step(0).owner, step(0).pusher_id);
    let find = async |after: &str, limit| {
        let found = base.read().await.revocable_tasks(&ann, &pusher, after, limit).await.unwrap();
        assert!(found.iter().all(|(_, service)| service == "webhook"));
        found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let all = [step(0).id, step(1).id, task(3, 0, "a").id];
    assert_eq!(find("", 10).await, all);
    assert_eq!(find("", 2).await, all[..2]);
    assert_eq!(find(all[1].as_str(), 10).await, all[2..]);
}
