use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::table::{MOST_KEPT, SHARDS, lock};
use super::*;
use crate::domain::rate::{Bucket, Terms};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const USER: Terms = Terms { is_admin: false, quota: None };

fn limits(each: u32) -> Limits {
    node(each, false)
}

fn node(each: u32, is_shared: bool) -> Limits {
    let allowed = Allowed { per_address: each, per_account: each, per_pusher: each, daily_quota: each };
    Limits::new(allowed, is_shared)
}

fn passes(limits: &Limits, count: u32, account: &str) -> u32 {
    (0..count).map(|_| u32::from(limits.accounts.take(account, NOW).is_ok())).sum()
}

/// Counts tasks as a node does that is alone.
fn quota(limits: &Limits, account: &str, terms: Terms, tasks: u32, now: Timestamp) -> Result<u32> {
    match terms.daily(limits.quotas.quota) {
        Some(quota) => limits.quotas.take(account, quota, tasks, now).map(|()| tasks),
        None => Ok(0),
    }
}

#[test]
fn each_is_counted_by_itself() {
    let limits = limits(3);
    assert_eq!((passes(&limits, 5, "ann"), passes(&limits, 5, "bob")), (3, 3));
    assert!(limits.pushers.take("ann", NOW).is_ok());
    let refused = limits.accounts.take("ann", NOW);
    let expected = Duration::from_secs(20);
    assert!(matches!(refused, Err(Error::Limited { limit: Limit::Rate, retry_after }) if retry_after == expected));
    assert!(limits.accounts.take("ann", NOW.plus_ms(20_000)).is_ok());
}

#[test]
fn zero_lets_everything_pass_and_counts_nothing() {
    let limits = limits(0);
    assert_eq!(passes(&limits, 1000, "ann"), 1000);
    assert!(quota(&limits, "ann", USER, 1_000_000, NOW).is_ok() && limits.address(1, NOW).is_ok());
    assert_eq!(limits.untold(), []);
}

#[test]
fn a_quota_takes_a_push_whole_and_takes_back_what_was_not_recorded() {
    let limits = limits(10);
    assert!(quota(&limits, "ann", USER, 6, NOW).is_ok());
    let refused = quota(&limits, "ann", USER, 5, NOW);
    assert!(matches!(refused, Err(Error::Limited { limit: Limit::Quota, .. })), "{refused:?}");
    limits.give_back("ann", 6);
    assert!(quota(&limits, "ann", USER, 10, NOW).is_ok());
    assert!(quota(&limits, "ann", USER, 10, NOW.plus_ms(86_400_000)).is_ok(), "the next day");
}

#[test]
fn a_quota_of_ones_own_is_counted_where_there_is_no_other() {
    let (one, other) = (limits(0), limits(0));
    let own = |quota| Terms { quota: Some(quota), ..USER };
    assert!(quota(&one, "ann", own(0), 1, NOW).is_err());
    assert_eq!(quota(&one, "ann", own(3), 2, NOW).ok(), Some(2));
    one.untold().iter().for_each(|told| other.charge(told, NOW));
    assert!(quota(&other, "ann", own(3), 2, NOW).is_err());
    assert_eq!(quota(&other, "ann", own(3), 1, NOW).ok(), Some(1));
    let admin = Terms { is_admin: true, quota: None };
    assert_eq!(quota(&limits(1), "root", admin, 9, NOW).ok(), Some(0), "what nothing limits is not counted");
    assert!(quota(&limits(9), "root", Terms { quota: Some(1), ..admin }, 2, NOW).is_err());
}

#[test]
fn what_one_node_lets_through_of_an_address_the_other_counts() {
    let (one, other) = (node(10, true), node(10, true));
    assert!((0..7).all(|_| one.address(5, NOW).is_ok()));
    let told = one.untold();
    assert_eq!(told, [Told { day: 0, key: "a:5".to_owned(), count: 7 }]);
    assert_eq!(one.untold(), [], "nothing is told twice");
    told.iter().for_each(|told| other.charge(told, NOW));
    assert_eq!((0..20).filter(|_| other.address(5, NOW).is_ok()).count(), 3);
}

#[test]
fn a_quota_is_told_to_the_next_start() {
    let (before, after) = (limits(10), limits(10));
    assert!(quota(&before, "ann", USER, 4, NOW).is_ok());
    let told = before.untold();
    assert_eq!(told, [Told { day: day(NOW), key: "q:ann".to_owned(), count: 4 }]);
    told.iter().for_each(|told| after.charge(told, NOW));
    assert!(quota(&after, "ann", USER, 7, NOW).is_err() && quota(&after, "ann", USER, 6, NOW).is_ok());
    assert_eq!(after.untold(), [Told { day: day(NOW), key: "q:ann".to_owned(), count: 6 }], "its own alone");
}

#[test]
fn little_use_of_a_wide_limit_is_nobodys_business() {
    let limits = node(320, true);
    assert!((0..9).all(|_| limits.address(10, NOW).is_ok()));
    assert_eq!(limits.untold(), []);
    assert!(limits.address(10, NOW).is_ok());
    assert_eq!(limits.untold(), [Told { day: 0, key: "a:a".to_owned(), count: 10 }]);
}

/// A call by one of the nodes, which ask a bucket that they share.
fn calls(node: &Limits, shared: &mut Bucket, now: Timestamp) -> bool {
    let rate = node.accounts.rate.unwrap();
    let Ok(Counted::Ask(many)) = node.accounts.draw("ann", now) else {
        return false;
    };
    for asked in [many, 1] {
        let mut after = *shared;
        if (0..asked).all(|_| after.take(rate, now).is_ok()) {
            *shared = after;
            node.accounts.granted("ann", asked, after, now);
            return true;
        }
    }
    node.accounts.refused("ann", *shared, now);
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// However calls fall, all nodes together let through what one alone might, but for what runs out of the bucket while
    /// they hold grants that they do not use; and none waits for what is there.
    #[test]
    fn nodes_never_pass_a_rate_together(steps in vec((0..3usize, 0..400i64), 1..400), rate in 1..200u32) {
        let nodes = [(); 3].map(|()| node(rate, true));
        let (mut shared, mut now, mut passed) = (Bucket::new(NOW), NOW, 0i64);
        for (which, pause) in steps {
            // Mostly at once, sometimes later.
            now = now.plus_ms(if pause < 350 { 0 } else { (pause - 350) * 40 });
            let node = &nodes[which];
            let mut unused = Vec::new();
            for node in &nodes {
                node.accounts.give_up(&mut unused, false, now, String::clone);
            }
            for told in unused {
                shared.give_back(u32::try_from(told.count / 60_000).unwrap());
            }
            let here = node.accounts.draw("ann", now);
            let lets = matches!(here, Ok(Counted::Here)) || here.is_ok() && calls(node, &mut shared, now);
            passed += i64::from(lets);
                        let held = 3 * (i64::from(rate) / 8 + 1);
            prop_assert!((passed - held) * 60_000 <= (60_000 + now.0 - NOW.0) * i64::from(rate), "{passed} of {rate}");
        }
        let later = now.plus_ms(60_000 + 1);
        for node in &nodes {
            prop_assert!(calls(node, &mut shared, later) || rate < 3, "there is room for one each");
        }
    }

    /// The same of a quota: never passed, and used up to the last task once others have given back what they had.
    #[test]
    fn nodes_never_pass_a_quota_together(
        steps in vec((0..3usize, 1..5u32, 0..120i64), 1..300),
        quota in 1..200u32,
    ) {
        let nodes = [(); 3].map(|()| node(quota, true));
        let (mut used, mut passed, mut now) = (0u64, 0, NOW);
        let take = |node: &Limits, used: &mut u64, tasks: u32, now: Timestamp| {
            let quotas = &node.quotas;
            let Ok(counted) = quotas.draw("ann", quota, tasks, now) else { return false };
            let Counted::Ask(many) = counted else { return true };
            for asked in [many, tasks] {
                if *used + u64::from(asked) <= quota.into() {
                    *used += u64::from(asked);
                    quotas.granted("ann", (asked, tasks), *used, now);
                    return true;
                }
            }
            quotas.refused("ann", (*used, NOW), now);
            false
        };
        let give_up = |node: &Limits, used: &mut u64, now: Timestamp| {
            let mut unused = Vec::new();
            node.quotas.give_up(&mut unused, false, now);
            *used -= unused.iter().map(|told| told.count.unsigned_abs()).sum::<u64>();
        };
        for (which, tasks, pause) in steps {
            now = now.plus_ms(if pause < 100 { 0 } else { (pause - 100) * 60 });
            passed += if take(&nodes[which], &mut used, tasks, now) { tasks } else { 0 };
            prop_assert!(passed <= quota);
            // Not always in time.
            if pause % 3 == 0 {
                give_up(&nodes[which], &mut used, now);
            }
        }
        nodes.iter().for_each(|node| give_up(node, &mut used, now.plus_ms(2000)));
        prop_assert_eq!(used, u64::from(passed), "all that was not used is given back");
    }
}

#[test]
fn who_is_refused_a_quota_of_which_others_may_give_back_is_told_to_come_back_soon() {
    let limits = node(10, true);
    let wait = |refused: Error| match refused {
        Error::Limited { retry_after, .. } => i64::try_from(retry_after.as_millis()).unwrap(),
        other => panic!("{other:?}"),
    };
    let next_day = |now: Timestamp| (day(now) + 1) * 86_400_000 - now.0;
    for (granted, asked, expected) in [
        (0, 0, Some(2000)),
        (0, 500, Some(1500)),
        (0, 1999, Some(1)),
        (0, 2000, None),
        (-3_600_000, 0, None),
        (60_000, 0, Some(2000)), // A clock that is ahead.
    ] {
        let now = NOW.plus_ms(asked);
        let expected = expected.unwrap_or(next_day(now));
        let refused = limits.quotas.refused("ann", (10, NOW.plus_ms(granted)), now);
        assert_eq!(wait(refused), expected, "granted at {granted}, asked at {asked}");
        let known = limits.quotas.draw("ann", 10, 1, now).expect_err("it is known that nothing is left");
        assert_eq!(wait(known), expected, "without asking: granted at {granted}, asked at {asked}");
    }
    let never = limits.quotas.draw("ann", 10, 11, NOW).expect_err("more than a day's");
    assert_eq!(wait(never), next_day(NOW));
    let midnight = Timestamp((day(NOW) + 1) * 86_400_000 - 700);
    assert_eq!(wait(limits.quotas.refused("bob", (10, midnight), midnight)), 700, "the next day comes before");
}

#[test]
fn nonsense_from_elsewhere_is_passed_over() {
    let limits = limits(1);
    for key in ["", "a:", "a:xyz", "z:1", "q"] {
        limits.charge(&Told { day: 0, key: key.to_owned(), count: 5 }, NOW);
    }
    limits.charge(&Told { day: day(NOW) - 1, key: "q:ann".to_owned(), count: 5 }, NOW);
    assert!(quota(&limits, "ann", USER, 1, NOW).is_ok(), "another day's quota");
}

#[test]
fn ever_new_addresses_fill_no_memory_and_displace_nobody_who_presses_hard() {
    let limits = limits(10);
    while limits.address(0, NOW).is_ok() {}
    for address in 1..300_000 {
        assert!(limits.address(address, NOW).is_ok());
    }
    let kept: usize = limits.addresses.used.shards.iter().map(|shard| lock(shard).len()).sum();
    assert!(kept <= SHARDS * MOST_KEPT, "{kept}");
    assert!(limits.address(0, NOW).is_err());
    // Once they have lost their meaning the old ones go first.
    let later = NOW.plus_ms(120_000);
    for address in 300_000..400_000 {
        assert!(limits.address(address, later).is_ok());
    }
    assert!(limits.address(0, later).is_ok());
}
