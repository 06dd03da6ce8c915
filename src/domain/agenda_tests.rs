use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn agenda() -> Agenda {
    Agenda::new(Limits { total: 8, per_host: 4 })
}

/// Claims everything that is picked, as if each lane had tasks without end.
fn fill(agenda: &mut Agenda, now: i64) -> Vec<(String, i64)> {
    let mut all = Vec::new();
    loop {
        let picks = agenda.picks(now);
        if picks.is_empty() {
            return all;
        }
        for Ask { lane, most, .. } in picks {
            agenda.claimed(&lane, usize::try_from(most).unwrap(), Some(0));
            all.push((lane, most));
        }
    }
}

/// How many tasks of each account run, by what was claimed.
fn by_owner(claimed: &[(String, i64)]) -> BTreeMap<&str, i64> {
    let mut counts = BTreeMap::new();
    for (lane, count) in claimed {
        *counts.entry(parts(lane).0).or_default() += count;
    }
    counts
}

fn ask(lane: &str, most: i64, since: i64) -> Ask {
    Ask { since, ..Ask::any(lane, most) }
}

fn is_forgotten(agenda: &Agenda) -> bool {
    let Agenda { lanes, timers, owners, queue, hosts, open, running, .. } = agenda;
    (lanes.is_empty() && timers.is_empty() && owners.is_empty() && queue.is_empty())
        && (hosts.is_empty() && open.is_empty() && *running == 0)
}

#[test]
fn nothing_is_picked_before_it_is_due() {
    let mut agenda = agenda();
    assert!(agenda.note("ann@a", 100));
    assert!(!agenda.note("ann@a", 200), "later than known");
    assert!(agenda.note("ann@a", 90), "earlier than known");
    assert!(agenda.picks(89).is_empty());
    assert_eq!(agenda.next_wake(), Some(90));
    assert_eq!(agenda.picks(90), [ask("ann@a", 3, 90)]);
    assert_eq!(agenda.next_wake(), None, "picked lanes have nothing due until the claim says so");
    agenda.claimed("ann@a", 1, Some(200));
    assert_eq!(agenda.next_wake(), Some(200));
}

#[test]
fn what_is_told_while_a_lane_waits_for_room_is_not_passed_over() {
    let mut agenda = agenda();
    for place in 0..3 {
        assert!(agenda.admit("ann@a", place));
    }
    agenda.note("ann@a", 100);
    assert_eq!(agenda.picks(100), [], "its host is full for it");
    assert!(!agenda.note("ann@a", 50), "no reason to wake anybody");
    agenda.ended("ann@a");
    assert_eq!(agenda.picks(100), [ask("ann@a", 1, 50)]);
}

#[test]
fn a_lane_that_is_put_off_is_picked_later_with_all_that_is_due() {
    let mut agenda = agenda();
    agenda.defer("ann@a", 100, 600);
    assert_eq!((agenda.picks(599), agenda.next_wake()), (vec![], Some(600)));
    assert_eq!(agenda.picks(600), [ask("ann@a", 3, 100)]);
    agenda.defer("ann@a", 900, 600);
    assert_eq!(agenda.next_wake(), Some(900), "nor before it is due");
}

#[test]
fn after_a_claim_a_lane_is_looked_at_from_where_it_got_to() {
    let ask = ask("ann@a", 3, 5_000);
    assert_eq!([2, 3, 4].map(|given| ask.is_filled(given)), [false, true, true]);
    for (up_to, since) in [(9_000, 8_000), (6_000, 5_000), (5_500, 5_000), (i64::MIN, 5_000)] {
        assert_eq!(ask.since_after(up_to), since, "{up_to}");
    }
}

#[test]
fn a_note_during_a_claim_is_kept() {
    let mut agenda = agenda();
    agenda.note("ann@a", 100);
    agenda.picks(100);
    agenda.note("ann@a", 101);
    agenda.claimed("ann@a", 1, None);
    assert_eq!(agenda.next_wake(), Some(101));
}

#[test]
fn a_hanging_host_leaves_room_for_others() {
    let mut agenda = agenda();
    agenda.note("ann@hangs", 0);
    fill(&mut agenda, 10);
    assert_eq!(agenda.running, 3);
    assert_eq!(agenda.next_wake(), None, "no room at that host");
    agenda.note("ann@works", 0);
    assert_eq!(fill(&mut agenda, 10), [("ann@works".to_owned(), 3)], "an account leaves a quarter to others");
    agenda.note("bob@works", 0);
    assert!(!fill(&mut agenda, 10).is_empty());
}

#[test]
fn accounts_that_hang_at_a_shared_host_leave_room_there() {
    let mut agenda = Agenda::new(Limits { total: 256, per_host: 32 });
    let mut got = Vec::new();
    for owner in ["ann", "bob", "cid", "dan"] {
        agenda.note(&lane(owner, "shared"), 0);
        got.push(fill(&mut agenda, 0).iter().map(|(_, count)| count).sum::<i64>());
    }
    assert_eq!(got, [24, 6, 2, 0]);
    agenda.ended("ann@shared");
    assert_eq!(fill(&mut agenda, 0), [("dan@shared".to_owned(), 1)], "who runs least comes first");
}

#[test]
fn accounts_that_hang_everywhere_leave_room_for_the_next() {
    let mut agenda = Agenda::new(Limits { total: 64, per_host: 64 });
    let owners = ["ann", "bob", "cid"];
    for (host, owner) in owners.iter().enumerate() {
        agenda.note(&lane(owner, &host.to_string()), 0);
        agenda.note(&lane(owner, &format!("more{host}")), 0);
        assert!(fill(&mut agenda, 0).iter().all(|(name, _)| parts(name).0 == *owner));
    }
    assert_eq!(agenda.running, 48 + 12 + 3);
    agenda.note("eve@a", 5);
    assert_eq!(fill(&mut agenda, 5), [("eve@a".to_owned(), 1)]);
}

#[test]
fn lanes_of_one_host_never_exceed_it_together() {
    let mut agenda = agenda();
    for owner in ["ann", "bob", "cid", "dan", "eve", "fay"] {
        agenda.note(&lane(owner, "a"), 0);
    }
    fill(&mut agenda, 0);
    assert_eq!(agenda.running, 4);
}

#[test]
fn whoever_has_a_hundred_thousand_hosts_does_not_hold_up_another() {
    let mut agenda = Agenda::new(Limits { total: 256, per_host: 32 });
    for host in 0..100_000 {
        agenda.note(&lane("ann", &host.to_string()), 0);
    }
    assert_eq!(by_owner(&fill(&mut agenda, 1)), BTreeMap::from([("ann", 192)]));
    agenda.note("bob@x", 2);
    assert_eq!(agenda.picks(2), [ask("bob@x", 24, 2)]);
    agenda.claimed("bob@x", 1, None);
    // Nothing hangs now, and each place that becomes free is filled again.
    for host in 0..1000 {
        agenda.ended(&lane("ann", &host.to_string()));
        agenda.note("bob@y", 3);
        let picks = agenda.picks(3);
        assert_eq!(picks.first().map(|ask| ask.lane.as_str()), Some("bob@y"));
        for Ask { lane, .. } in &picks {
            agenda.claimed(lane, usize::from(lane != "bob@y"), None);
        }
    }
}

#[test]
fn a_full_hosts_lanes_are_not_looked_at_again_and_again() {
    let mut agenda = Agenda::new(Limits { total: 256, per_host: 32 });
    for owner in 0..10_000 {
        agenda.note(&lane(&owner.to_string(), "shared"), 0);
    }
    fill(&mut agenda, 0);
    assert_eq!(agenda.running, 32);
    let shared = |agenda: &Agenda| agenda.hosts["shared"].parked.len();
    let parked = shared(&agenda);
    let some = agenda.lanes.iter().find(|(_, lane)| lane.running > 0).map(|(name, _)| name.to_string()).unwrap();
    agenda.ended(&some);
    assert_eq!(fill(&mut agenda, 0).len(), 1);
    assert!(shared(&agenda).abs_diff(parked) <= 1 && agenda.queue.len() <= 1, "only the next one has moved");
}

#[test]
fn an_idle_lane_is_forgotten() {
    let mut agenda = agenda();
    agenda.note("ann@a", 0);
    agenda.picks(0);
    agenda.claimed("ann@a", 1, None);
    agenda.ended("ann@a");
    assert!(is_forgotten(&agenda), "{agenda:?}");
    agenda.note("ann@a", 0);
    agenda.picks(0);
    agenda.claimed("ann@a", 0, None);
    assert!(is_forgotten(&agenda), "{agenda:?}");
}

#[test]
fn what_is_due_as_it_is_made_starts_unless_something_waits_for_its_place() {
    let mut agenda = agenda();
    agenda.note("ann@a", 100);
    for _ in 0..3 {
        assert!(agenda.admit("ann@a", 50), "what waits there is not due yet");
    }
    assert!(!agenda.admit("ann@a", 50), "an account leaves a quarter of a host to others");
    assert!(agenda.admit("bob@a", 50));
    assert_eq!(agenda.picks(100), [], "the host is full");
    agenda.ended("bob@a");
    assert!(!agenda.admit("bob@a", 100), "another one waits for that place");
    agenda.ended("ann@a");
    assert_eq!(agenda.picks(100), [ask("ann@a", 1, 100)]);
    agenda.note("cid@c", 100);
    assert!(!agenda.admit("cid@c", 100), "its own lane has something due");
    assert!(agenda.admit("cid@b", 100));
}

/// What happens to an agenda, over four accounts and four hosts.
#[derive(Debug, Clone)]
enum Event {
    Note(usize, i64),
    /// Time passes, and everything that is picked is claimed: so much of each, then what the lane has next.
    Claim(i64, usize, Option<i64>),
    /// A task is made that is due.
    Admit(usize),
    End(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0usize..16, 0i64..50).prop_map(|(lane, after)| Event::Note(lane, after)),
        3 => (0i64..20, 0usize..9, proptest::option::of(-5i64..30)).prop_map(|(ms, most, next)| Event::Claim(ms, most, next)),
        3 => (0usize..16).prop_map(Event::Admit),
        4 => (0usize..64).prop_map(Event::End),
    ]
}

proptest! {
    /// Limits hold; nothing that could start is left standing; whoever runs nothing comes before others; and in the end
    /// everything is forgotten.
    #[test]
    fn whatever_happens_limits_hold_and_nobody_is_forgotten(
        total in 1usize..12,
        per_host in 1usize..6,
        events in vec(event(), 1..120),
    ) {
        let limits = Limits { total, per_host };
        let (mut agenda, mut now) = (Agenda::new(limits), 0);
        let mut running: Vec<String> = Vec::new();
        let mut due: BTreeMap<String, i64> = BTreeMap::new();
        let name = |lane: usize| format!("o{}@h{}", lane % 4, lane / 4);
        let note = |due: &mut BTreeMap<String, i64>, lane: &str, at: i64| {
            let known = due.entry(lane.to_owned()).or_insert(at);
            *known = at.min(*known);
        };
        for event in events {
            match event {
                Event::Note(lane, after) => {
                    agenda.note(&name(lane), now + after);
                    note(&mut due, &name(lane), now + after);
                }
                Event::End(which) if !running.is_empty() => {
                    let lane = running.swap_remove(which % running.len());
                    agenda.ended(&lane);
                }
                Event::End(_) => {}
                Event::Admit(lane) => {
                    let lane = name(lane);
                    let has_room = agenda.lane_room(&lane) > 0 && agenda.owner_room(parts(&lane).0) > 0;
                    let waits = due.get(&lane).is_some_and(|at| *at <= now);
                    if agenda.admit(&lane, now) {
                        prop_assert!(has_room && !waits, "{} has no place", lane);
                        running.push(lane);
                    } else {
                        let anything = due.values().any(|at| *at <= now);
                        prop_assert!(!has_room || anything, "{} could start", lane);
                    }
                }
                Event::Claim(ms, most, next) => {
                    now += ms;
                    let picks = agenda.picks(now);
                    for Ask { lane, since, .. } in &picks {
                        prop_assert!(*since <= now, "{} is not due", lane);
                        prop_assert_eq!(due.remove(lane), Some(*since), "nothing of {} may be passed over", lane);
                    }
                    for Ask { lane, most: allowed, .. } in picks {
                        let count = most.min(usize::try_from(allowed).unwrap());
                        agenda.claimed(&lane, count, next.map(|after| now + after));
                        running.extend(std::iter::repeat_n(lane.clone(), count));
                        if let Some(after) = next {
                            note(&mut due, &lane, now + after);
                        }
                    }
                }
            }
            let of = |owner: Option<&str>, host: Option<&str>| {
                let same = |lane: &&String| owner.is_none_or(|o| parts(lane).0 == o) && host.is_none_or(|h| parts(lane).1 == h);
                running.iter().filter(same).count()
            };
            prop_assert_eq!(agenda.running, running.len());
            prop_assert!(running.len() <= total);
            for host in ["h0", "h1", "h2", "h3"] {
                prop_assert!(of(None, Some(host)) <= per_host);
            }
            // A second look finds nothing only if nothing has room.
            let mut copy = Agenda::new(limits);
            for lane in &running {
                copy.claimed(lane, 1, None);
            }
            let could = due.iter().any(|(lane, at)| {
                *at <= now && copy.lane_room(lane) > 0 && copy.owner_room(parts(lane).0) > 0
            });
            prop_assert_eq!(agenda.clone().picks(now).is_empty(), !could, "due {:?}, running {:?}", due, running);
            let next = due.values().copied().filter(|at| *at > now).min();
            prop_assert!(next.is_none_or(|next| agenda.next_wake().is_some_and(|wake| wake <= next)));
        }
        for lane in running {
            agenda.ended(&lane);
        }
        for _ in 0..200 {
            for Ask { lane, .. } in agenda.picks(i64::MAX) {
                due.remove(&lane);
                agenda.claimed(&lane, 0, None);
            }
        }
        prop_assert!(due.is_empty() && is_forgotten(&agenda), "{:?} {:?}", due, agenda);
    }
}
