use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const USER: Terms = Terms { is_admin: false, quota: None };

fn limits(each: u32) -> Limits {
    Limits::new(Allowed { per_address: each, per_account: each, per_pusher: each, daily_quota: each })
}

fn passes(limits: &Limits, count: u32, account: &str) -> u32 {
    let id = AccountId::new(account);
    (0..count).map(|_| u32::from(limits.account(&id, NOW).is_ok())).sum()
}

#[test]
fn each_is_counted_by_itself() {
    let limits = limits(3);
    assert_eq!((passes(&limits, 5, "ann"), passes(&limits, 5, "bob")), (3, 3));
    assert!(limits.pusher(&PusherId::new("ann"), NOW).is_ok());
    let refused = limits.account(&AccountId::new("ann"), NOW);
    let expected = Duration::from_secs(20);
    assert!(matches!(refused, Err(Error::Limited { limit: Limit::Rate, retry_after }) if retry_after == expected));
    assert!(limits.account(&AccountId::new("ann"), NOW.plus_ms(20_000)).is_ok());
}

#[test]
fn zero_lets_everything_pass_and_counts_nothing() {
    let limits = limits(0);
    assert_eq!(passes(&limits, 1000, "ann"), 1000);
    assert!(limits.quota("ann", USER, 1_000_000, NOW).is_ok() && limits.address(1, NOW).is_ok());
    assert_eq!(limits.untold(true), []);
}

#[test]
fn a_quota_takes_a_push_whole_and_takes_back_what_was_not_recorded() {
    let limits = limits(10);
    assert!(limits.quota("ann", USER, 6, NOW).is_ok());
    let refused = limits.quota("ann", USER, 5, NOW);
    assert!(matches!(refused, Err(Error::Limited { limit: Limit::Quota, .. })), "{refused:?}");
    limits.give_back("ann", 6);
    assert!(limits.quota("ann", USER, 10, NOW).is_ok());
    assert!(limits.quota("ann", USER, 10, NOW.plus_ms(86_400_000)).is_ok(), "the next day");
}

#[test]
fn a_quota_of_ones_own_is_counted_where_there_is_no_other() {
    let (one, other) = (limits(0), limits(0));
    let own = |quota| Terms { quota: Some(quota), ..USER };
    assert!(one.quota("ann", own(0), 1, NOW).is_err());
    assert_eq!(one.quota("ann", own(3), 2, NOW).ok(), Some(2));
    one.untold(true).iter().for_each(|told| other.charge(told, NOW));
    assert!(other.quota("ann", own(3), 2, NOW).is_err());
    assert_eq!(other.quota("ann", own(3), 1, NOW).ok(), Some(1));
    let admin = Terms { is_admin: true, quota: None };
    assert_eq!(limits(1).quota("root", admin, 9, NOW).ok(), Some(0), "what nothing limits is not counted");
    assert!(limits(9).quota("root", Terms { quota: Some(1), ..admin }, 2, NOW).is_err());
}

#[test]
fn what_one_node_lets_through_the_other_counts() {
    let (one, other) = (limits(10), limits(10));
    assert_eq!(passes(&one, 7, "ann"), 7);
    assert!(one.address(5, NOW).is_ok() && one.pusher(&PusherId::new("p"), NOW).is_ok());
    assert!(one.quota("ann", USER, 4, NOW).is_ok());
    let told = one.untold(true);
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(one.untold(true), [], "nothing is told twice");
    told.iter().for_each(|told| other.charge(told, NOW));
    assert_eq!(passes(&other, 10, "ann"), 3);
    assert!(other.quota("ann", USER, 7, NOW).is_err() && other.quota("ann", USER, 6, NOW).is_ok());
    assert_eq!((0..20).filter(|_| other.address(5, NOW).is_ok()).count(), 9);
    assert_eq!(other.untold(false), [Told { day: day(NOW), key: "q:ann".to_owned(), count: 6 }], "its own alone");
}

#[test]
fn little_use_of_a_wide_limit_is_nobodys_business() {
    let limits = limits(320);
    assert_eq!(passes(&limits, 9, "ann"), 9);
    assert_eq!(limits.untold(true), []);
    assert_eq!(passes(&limits, 1, "ann"), 1);
    assert_eq!(limits.untold(true), [Told { day: 0, key: "c:ann".to_owned(), count: 10 }]);
}

#[test]
fn nonsense_from_elsewhere_is_passed_over() {
    let limits = limits(1);
    for key in ["", "a:", "a:xyz", "z:1", "q"] {
        limits.charge(&Told { day: 0, key: key.to_owned(), count: 5 }, NOW);
    }
    limits.charge(&Told { day: day(NOW) - 1, key: "q:ann".to_owned(), count: 5 }, NOW);
    assert!(limits.quota("ann", USER, 1, NOW).is_ok(), "another day's quota");
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
