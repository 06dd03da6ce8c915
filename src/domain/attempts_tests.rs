use core::net::{IpAddr, Ipv4Addr};

use super::*;

const ANN: &str = "ann@example.org";

fn source(n: u32) -> Source {
    Source::of_bits(Some(Ipv4Addr::from_bits(0x0a00_0000 + n).to_ipv6_mapped().to_bits()))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1000)
}

#[test]
fn waits_begin_after_a_few_wrong_passwords_and_double() {
    let mut attempts = Attempts::default();
    let mut now = at(0);
    for _ in 0..5 {
        assert_eq!(attempts.begin(ANN, source(1), now), Ok(()));
    }
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(attempts.begin(ANN, source(1), now), Err(wait * 1000));
        assert_eq!(attempts.begin(ANN, source(1), now.plus_ms(wait * 1000 - 1)), Err(1), "refused ones do not count");
        now = now.plus_ms(wait * 1000);
        assert_eq!(attempts.begin(ANN, source(1), now), Ok(()));
    }
    assert_eq!(attempts.begin("bob@example.org", source(1), now), Ok(()), "another account");
    assert_eq!(attempts.begin(ANN, source(2), now), Ok(()), "another address");
    let later = now.plus_ms(20 * FORGET_PAIR_MS);
    for _ in 0..5 {
        assert_eq!(attempts.begin(ANN, source(1), later), Ok(()), "forgotten");
    }
}

#[test]
fn a_right_password_forgets_the_wrong_ones_before_it() {
    let mut attempts = Attempts::default();
    for _ in 0..20 {
        for _ in 0..5 {
            attempts.begin(ANN, source(1), at(0)).unwrap();
        }
        attempts.succeeded(ANN, source(1), at(0));
    }
}

#[test]
fn an_attack_from_everywhere_makes_its_victim_wait_nowhere() {
    let mut attempts = Attempts::default();
    attempts.begin(ANN, source(1), at(0)).unwrap();
    attempts.succeeded(ANN, source(1), at(0));
    for n in 100..1100 {
        while attempts.begin(ANN, source(n), at(1)).is_ok() {}
    }
    assert_eq!(attempts.begin(ANN, source(2000), at(1)), Ok(()), "a new address has a try");
    assert_eq!(attempts.begin(ANN, source(2000), at(1)), Err(1000), "and no more");
    for _ in 0..5 {
        assert_eq!(attempts.begin(ANN, source(1), at(1)), Ok(()), "where she logged in before she has five");
    }
    assert_eq!(attempts.begin("bob@example.org", source(3), at(1)), Ok(()), "others notice nothing");
}

#[test]
fn one_address_tries_one_password_on_everybody_for_a_while_only() {
    let mut attempts = Attempts::default();
    attempts.begin(ANN, source(1), at(0)).unwrap();
    attempts.succeeded(ANN, source(1), at(0));
    let tried = (0..1000).filter(|n| attempts.begin(&format!("user{n}"), source(1), at(0)).is_ok()).count();
    assert_eq!(tried, 20);
    assert_eq!(attempts.begin(ANN, source(1), at(0)), Ok(()), "who has logged in from there before is let through");
    // An account of one's own does not clear the way.
    attempts.succeeded(ANN, source(1), at(0));
    assert!(attempts.begin("user5000", source(1), at(0)).is_err());
    let in_an_hour = (0..3600).filter(|s| attempts.begin(&format!("u{s}"), source(1), at(*s)).is_ok()).count();
    assert!((10..200).contains(&in_an_hour), "{in_an_hour}");
}

#[test]
fn half_an_ipv6_address_is_anybodys_to_choose() {
    let of = |text: &str| match text.parse().unwrap() {
        IpAddr::V4(address) => Source::of_bits(Some(address.to_ipv6_mapped().to_bits())),
        IpAddr::V6(address) => Source::of_bits(Some(address.to_bits())),
    };
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
}

#[test]
fn what_is_remembered_is_bounded_and_a_clock_set_back_does_no_harm() {
    let mut attempts = Attempts::default();
    attempts.begin(ANN, source(1), at(0)).unwrap();
    attempts.succeeded(ANN, source(1), at(0));
    for n in 0..50_000_i64 {
        attempts.begin(&format!("user{n}"), source(u32::try_from(n).unwrap()), at(n)).unwrap();
    }
    assert!(attempts.pairs.len() <= MOST && attempts.sources.len() <= MOST && attempts.accounts.len() <= MOST);
    assert!(attempts.pairs.get(&(ANN.to_owned(), source(1))).is_some_and(|pair| pair.known), "known ones go last");
    for _ in 0..30 {
        let _ = attempts.begin(ANN, source(9), at(1_000_000));
    }
    assert!(attempts.begin(ANN, source(9), at(0)).unwrap_err() <= LONGEST_WAIT_MS);
}
