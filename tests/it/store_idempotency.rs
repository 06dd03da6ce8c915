//! Keys of pushes in the database: one push a key, whoever else comes at the same time, and none without its tasks.

use std::collections::{HashMap, HashSet};

use fanfare::domain::id::PusherId;
use fanfare::domain::idempotency::IdempotencyKey;
use fanfare::domain::time::Timestamp;
use fanfare::error::Error;
use fanfare::store::{KeyHash, NewKey, Recorded, Store, TaskFilter};
use futures_util::future::join_all;

use crate::store::{Base, KEY, task};
use crate::support::world::both;

both!(
    two_nodes_record_one_push_a_key,
    pushes_with_and_without_a_key_are_recorded_together,
    a_push_that_cannot_be_recorded_leaves_its_key_free,
    what_has_expired_is_free_even_before_it_is_removed,
    expired_keys_are_removed_in_steps,
);

const NOW: i64 = 1_000;
const ENDS: i64 = 2_000;
/// How often nodes meet.
const ROUNDS: i64 = 8;

fn hash(key: &str) -> KeyHash {
    let key = IdempotencyKey::parse(key).unwrap();
    KeyHash::of("ann", &PusherId::new("pusher"), &key)
}

fn key(name: &str, answer: &str, now: i64) -> NewKey {
    let (created_at, expires_at) = (Timestamp(now), Timestamp(now + ENDS - NOW));
    NewKey { hash: hash(name), answer: answer.to_owned(), created_at, expires_at }
}

async fn answer(store: &Store, name: &str, now: i64) -> Option<String> {
    store.read().await.unwrap().first_answer(&hash(name), Timestamp(now)).await.unwrap()
}

/// How many tasks there are.
async fn tasks(base: &Base) -> usize {
    base.read().await.tasks(&TaskFilter::default(), 10_000).await.unwrap().len()
}

async fn two_nodes_record_one_push_a_key() {
    let base = Base::start().await;
    let other = base.open(KEY).await.unwrap();
    for round in 0..ROUNDS {
        // Each node gets each key twice, and the other node in the opposite order.
        let call = |at: i64| {
            let (store, number) = if at % 2 == 0 { (&base.store, at / 4) } else { (&other, 31 - at / 4) };
            let (name, answer) = (format!("{round}-{number}"), format!("answer {at}"));
            async move {
                let pushed = vec![task(round * 128 + at, 0, "a")];
                let recorded = store.record_once(pushed, key(&name, &answer, NOW)).await.unwrap();
                (name, answer, recorded)
            }
        };
        let mut calls = join_all((0..128).map(call)).await;
        calls.retain(|(_, _, recorded)| *recorded == Recorded::Fresh);
        assert_eq!(calls.len(), 32);
        let first: HashMap<_, _> = calls.into_iter().map(|(name, answer, _)| (name, answer)).collect();
        assert_eq!(first.len(), 32, "one push a key");
        for (name, first) in first {
            for store in [&base.store, &other] {
                assert_eq!(answer(store, &name, NOW).await.as_ref(), Some(&first));
            }
        }
    }
    assert_eq!(tasks(&base).await, 32 * usize::try_from(ROUNDS).unwrap());
}

async fn pushes_with_and_without_a_key_are_recorded_together() {
    let base = Base::start().await;
    let call = |at: i64| {
        let store = &base.store;
        async move {
            let pushed = vec![task(at, 0, "a")];
            match at % 4 {
                0 => store.record(pushed).await.map(|()| Recorded::Fresh).unwrap(),
                1 => store.record_once(pushed, key("same", "", NOW)).await.unwrap(),
                _ => store.record_once(pushed, key(&format!("k{at}"), "", NOW)).await.unwrap(),
            }
        }
    };
    let recorded = join_all((0..400).map(call)).await;
    assert_eq!(recorded.iter().filter(|recorded| **recorded == Recorded::Fresh).count(), 301);
    let found = base.read().await.tasks(&TaskFilter::default(), 10_000).await.unwrap();
    let ids: HashSet<_> = found.into_iter().map(|task| task.id).collect();
    for (at, recorded) in (0..).zip(recorded) {
        assert_eq!(ids.contains(&task(at, 0, "a").id), recorded == Recorded::Fresh, "{at}");
    }
    // More tasks than one statement takes.
    let many = (1000..1100).map(|at| task(at, 0, "a")).collect();
    assert_eq!(base.store.record_once(many, key("many", "", NOW)).await.unwrap(), Recorded::Fresh);
    assert_eq!(tasks(&base).await, 401);
}

async fn a_push_that_cannot_be_recorded_leaves_its_key_free() {
    let base = Base::start().await;
    base.store.record(vec![task(1, 0, "a")]).await.unwrap();
    // The id is taken, so the insert fails after the key was taken.
    let refused = base.store.record_once(vec![task(2, 0, "a"), task(1, 0, "a")], key("k", "first", NOW)).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    assert_eq!((answer(&base.store, "k", NOW).await, tasks(&base).await), (None, 1));
    let again = base.store.record_once(vec![task(2, 0, "a")], key("k", "second", NOW)).await.unwrap();
    assert_eq!(again, Recorded::Fresh);
    assert_eq!(answer(&base.store, "k", NOW).await.as_deref(), Some("second"));
    assert_eq!(tasks(&base).await, 2);
}

async fn what_has_expired_is_free_even_before_it_is_removed() {
    let base = Base::start().await;
    let mut at = 0;
    for (answered, now, expected, stands) in [
        ("first", NOW, Recorded::Fresh, "first"),
        ("second", ENDS - 1, Recorded::KeyTaken, "first"),
        ("third", ENDS, Recorded::Fresh, "third"),
        ("fourth", ENDS, Recorded::KeyTaken, "third"),
    ] {
        at += 1;
        let recorded = base.store.record_once(vec![task(at, 0, "a")], key("k", answered, now)).await.unwrap();
        assert_eq!(recorded, expected, "{answered}");
        assert_eq!(answer(&base.store, "k", now).await.as_deref(), Some(stands));
    }
    assert_eq!(answer(&base.store, "k", 2 * ENDS).await, None);
    assert_eq!(tasks(&base).await, 2);
}

async fn expired_keys_are_removed_in_steps() {
    let base = Base::start().await;
    for at in 0..5 {
        base.store.record_once(vec![task(at, 0, "a")], key(&format!("k{at}"), "", NOW + at)).await.unwrap();
    }
    for removed in [2, 1, 0] {
        let mut tx = base.write().await;
        assert_eq!(tx.remove_expired_keys(Timestamp(ENDS + 2), 2).await.unwrap(), removed);
        tx.commit().await.unwrap();
    }
    assert_eq!(answer(&base.store, "k2", NOW).await, None);
    assert!(answer(&base.store, "k3", NOW).await.is_some());
}
