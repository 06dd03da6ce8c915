use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn rate(per_minute: u32) -> Rate {
    Rate::new(per_minute).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp(NOW + ms)
}

#[test]
fn zero_is_no_limit() {
    assert_eq!(Rate::new(0), None);
    assert_eq!(rate(7).burst(), 7);
}

#[test]
fn a_burst_passes_and_then_one_at_a_time() {
    // Calls a minute; then the times of calls and what each is told.
    for (per_minute, calls) in [
        (1, &[(0, Ok(())), (0, Err(60_000)), (59_999, Err(1)), (60_000, Ok(())), (60_001, Err(59_999))][..]),
        (2, &[(0, Ok(())), (10, Ok(())), (20, Err(29_980)), (29_999, Err(1)), (30_000, Ok(())), (30_000, Err(30_000))]),
        (7, &[(0, Ok(())); 7]),
        (60_000, &[(0, Ok(())), (0, Ok(()))]),
    ] {
        let mut bucket = Bucket::new(at(0));
        for (ms, told) in calls {
            assert_eq!(bucket.take(rate(per_minute), at(*ms)), *told, "{per_minute} a minute, at {ms}");
        }
    }
}

#[test]
fn a_third_of_a_millisecond_is_not_lost() {
    let per_minute = 7;
    let mut bucket = Bucket::new(at(0));
    let passed = (0..600_000).filter(|ms| bucket.take(rate(per_minute), at(*ms)).is_ok()).count();
    assert_eq!(passed, 7 + 69, "7 at once, and in ten minutes less a millisecond 69 more");
}

#[test]
fn calls_elsewhere_count_and_are_forgotten_in_time() {
    let mut bucket = Bucket::new(at(0));
    bucket.charge(rate(10), 9, at(0));
    assert_eq!(bucket.take(rate(10), at(0)), Ok(()));
    assert_eq!(bucket.take(rate(10), at(0)), Err(6_000));
    bucket.charge(rate(10), u32::MAX, at(0));
    assert_eq!(bucket.take(rate(10), at(0)), Err(66_000), "never longer than the bucket twice");
    assert!(!bucket.is_empty(rate(10), at(119_999)));
    assert!(bucket.is_empty(rate(10), at(120_000)));
}

#[test]
fn a_clock_that_goes_back_locks_nobody_out() {
    let mut bucket = Bucket::new(at(0));
    assert_eq!(bucket.take(rate(1), at(0)), Ok(()));
    assert_eq!(bucket.take(rate(1), at(-500)), Err(60_500), "a little: as if it stood still");
    assert_eq!(bucket.take(rate(1), at(-3_600_000)), Err(60_000), "an hour: the wait begins here");
    assert_eq!(bucket.take(rate(1), at(-3_600_000 + 60_000)), Ok(()));
}

#[test]
fn a_quota_is_for_a_day_of_utc() {
    let midnight = Timestamp(day(at(0)) * DAY_MS);
    let mut spent = Spent::new(midnight);
    assert_eq!(spent.take(10, 4, midnight), Ok(()));
    assert_eq!(spent.take(10, 7, midnight.plus_ms(1)), Err(86_399_999), "all or nothing");
    assert_eq!(spent.take(10, 6, midnight.plus_ms(2)), Ok(()));
    assert_eq!(spent.take(10, 1, midnight.plus_ms(86_399_999)), Err(1));
    spent.give_back(3);
    assert_eq!(spent.take(10, 3, midnight.plus_ms(86_399_999)), Ok(()));
    assert_eq!(spent.take(10, 10, midnight.plus_ms(DAY_MS)), Ok(()));
    assert!(spent.take(10, 1, midnight).is_err(), "a clock that goes back gives no second day");
    spent.charge(5, midnight.plus_ms(2 * DAY_MS));
    assert_eq!((spent.used(), spent.day()), (5, day(midnight) + 2));
}

#[test]
fn what_was_set_holds_before_what_holds_for_everybody() {
    let terms = |is_admin, quota| Terms { is_admin, quota };
    assert_eq!(terms(false, None).daily(5), Some(5));
    assert_eq!(terms(false, None).daily(0), None, "the setting's 0 is no limit");
    assert_eq!(terms(false, Some(0)).daily(0), Some(0), "an account's is nothing at all");
    assert_eq!(terms(false, Some(7)).daily(5), Some(7));
    assert_eq!(terms(true, None).daily(5), None);
    assert_eq!(terms(true, Some(3)).daily(5), Some(3));
}

proptest! {
    #[test]
    fn no_window_sees_more_than_the_burst_and_what_ran_out(
        per_minute in 1u32..500,
        steps in vec(0i64..400, 1..400),
        window in 1i64..120_000,
    ) {
        let (mut bucket, mut now, mut passed) = (Bucket::new(at(0)), 0, Vec::new());
        for step in steps {
            now += step;
            if bucket.take(rate(per_minute), at(now)).is_ok() {
                passed.push(now);
            }
        }
        for from in &passed {
            let seen = passed.iter().filter(|ms| (*from..=*from + window).contains(ms)).count();
            let most = i64::from(per_minute) + i64::from(per_minute) * window / MINUTE_MS;
            prop_assert!(i64::try_from(seen).unwrap() <= most, "{seen} in {window} ms, at most {most}");
        }
    }

    #[test]
    fn whoever_waits_as_told_is_let_in_and_not_a_moment_sooner(
        per_minute in 1u32..100_000,
        steps in vec(-2_000i64..2_000, 1..50),
        elsewhere in 0u32..200_000,
    ) {
        let (mut bucket, mut now) = (Bucket::new(at(0)), 0);
        bucket.charge(rate(per_minute), elsewhere, at(0));
        for step in steps {
            now += step;
            // Takes all there is.
            let wait = loop {
                if let Err(wait) = bucket.take(rate(per_minute), at(now)) {
                    break i64::try_from(wait).unwrap();
                }
            };
            prop_assert!((1..=2 * MINUTE_MS + SKEW_MS).contains(&wait), "{wait}");
            prop_assert!(bucket.clone().take(rate(per_minute), at(now + wait - 1)).is_err());
            prop_assert!(bucket.clone().take(rate(per_minute), at(now + wait)).is_ok());
        }
    }

    #[test]
    fn a_day_gives_no_more_than_its_quota(quota in 0u32..50, takes in vec((0i64..DAY_MS, 1u32..9), 0..60)) {
        let midnight = day(at(0)) * DAY_MS;
        let mut spent = Spent::new(Timestamp(midnight));
        let mut used = 0;
        for (ms, count) in takes {
            let now = Timestamp(midnight + ms);
            match spent.take(quota, count, now) {
                Ok(()) => used += count,
                Err(wait) => prop_assert_eq!(i64::try_from(wait).unwrap(), DAY_MS - ms),
            }
        }
        prop_assert!(used <= quota);
    }
}
