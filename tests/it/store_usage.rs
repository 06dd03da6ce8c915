//! Limits that nodes share, in the database: it counts as the rule does.

use fanfare::domain::rate::{Bucket, Rate};
use fanfare::domain::time::Timestamp;
use fanfare::store::{ALL, Draw, Usage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::store::Base;
use crate::support::database::both;

both!(a_shared_rate_counts_as_one_in_memory, a_shared_quota_is_used_up_and_given_back, so_many_in_a_window_for_each,);

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const DAY: i64 = 20_833;

async fn a_shared_rate_counts_as_one_in_memory() {
    let base = Base::start().await;
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let rate = Rate::new(random.random_range(1..30)).unwrap();
        let draw = Draw { units: Rate::weight(1), room: rate.room(), leak: rate.leak() };
        let (key, mut bucket, mut now) = (format!("p:{seed}"), Bucket::new(NOW), NOW);
        for step in 0..120 {
            // Often at once, sometimes a while later, now and then by a clock that is a little behind.
            let pause = random.random_range(0..100);
            now = now.plus_ms(match pause {
                0..60 => 0,
                60..70 => -random.random_range(0..300),
                70..98 => random.random_range(0..9000),
                _ => 200_000,
            });
            let taken = base.store.take_of_rate(&key, draw, now).await.unwrap();
            assert_eq!(taken.is_some(), bucket.take(rate, now).is_ok(), "step {step} of {seed}");
            if let Some((level, at)) = taken {
                assert_eq!(Bucket::filled(level, at), bucket, "step {step} of {seed}");
            }
        }
        // What is given back a while later has leaked out in part with the rest.
        let (level, at) = base.store.used_of_rate(&key).await.unwrap();
        let unused = Usage { day: 0, key: key.clone(), node: ALL.to_owned(), count: Rate::weight(2) };
        base.store.give_back(&[unused], now.plus_ms(900)).await.unwrap();
        let left = (level - Rate::weight(2)).max(0);
        assert_eq!(base.store.used_of_rate(&key).await.unwrap(), (left, at));
    }
    assert_eq!(base.store.used_of_rate("p:nobody").await.unwrap(), (0, Timestamp(0)));
}

async fn so_many_in_a_window_for_each() {
    let base = Base::start().await;
    let take = async |key, ms| {
        let mut tx = base.store.write().await.unwrap();
        let wait = tx.take_in_window(key, 2, 1000, NOW.plus_ms(ms)).await.unwrap();
        tx.commit().await.unwrap();
        wait
    };
    assert_eq!([take("a", 0).await, take("a", 10).await, take("b", 10).await], [None; 3]);
    assert_eq!((take("a", 10).await, take("a", 999).await), (Some(990), Some(1)));
    assert_eq!([take("a", 1000).await, take("a", 1500).await], [None; 2], "another window");
    assert_eq!(take("a", 1999).await, Some(1));
    assert_eq!(take("a", 5).await, None, "a clock that was set back");
}

async fn a_shared_quota_is_used_up_and_given_back() {
    let base = Base::start().await;
    let take = async |count, quota| base.store.take_of_quota(DAY, "q:ann", count, quota, NOW).await.unwrap();
    let used = async || base.store.used_of_quota(DAY, "q:ann").await.unwrap().0;
    let never = Timestamp(0);
    // Told by a server that counted by itself.
    for (node, count) in [("a", 3), ("b", 4)] {
        let usage = Usage { day: DAY, key: "q:ann".to_owned(), node: node.to_owned(), count };
        base.store.tell_usage(&[usage], NOW).await.unwrap();
    }
    assert_eq!((take(4, 10).await, used().await), (None, 7));
    assert_eq!(base.store.used_of_quota(DAY, "q:ann").await.unwrap(), (7, never), "none of it was granted");
    assert_eq!((take(2, 10).await, take(2, 10).await, take(1, 10).await), (Some(9), None, Some(10)));
    let give_back = async |count| {
        let unused = Usage { day: DAY, key: "q:ann".to_owned(), node: ALL.to_owned(), count };
        base.store.give_back(&[unused], NOW).await.unwrap();
    };
    give_back(2).await;
    assert_eq!((used().await, take(3, 10).await, take(2, 10).await), (8, None, Some(10)));
    assert_eq!(base.store.used_of_quota(DAY, "q:ann").await.unwrap(), (10, NOW));
    assert_eq!((take(1, 0).await, take(5, 20).await), (None, Some(15)), "as the quota is now");
    give_back(100).await;
    assert_eq!(used().await, 0, "not below nothing");
    assert_eq!(base.store.used_of_quota(DAY + 1, "q:ann").await.unwrap(), (0, never));

    // Nodes do not take for another's what all have together.
    let mut tx = base.store.read().await.unwrap();
    let told = tx.usage_since("b", NOW.plus_ms(-1)).await.unwrap();
    assert_eq!(told.into_iter().map(|usage| usage.node).collect::<Vec<_>>(), ["a"]);
}
