use proptest::prelude::*;

use super::InviteKind::{Admin, Auto, Referer};
use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn refused(field: &'static str, reason: &'static str) -> Result<(u32, u32), Refusal> {
    Err(Refusal::field(field, reason))
}

fn wish(quantity: Option<i64>, times: Option<i64>, email: bool) -> Wish {
    Wish { quantity, times, email_key: email.then(|| "ann@example.org".to_owned()), ..Wish::default() }
}

#[test]
fn how_many_codes_for_how_many_accounts() {
    for (kind, quantity, times, email, expected) in [
        (Auto, None, None, false, refused("limit_email", "missing")),
        (Auto, None, None, true, Ok((1, 1))),
        (Auto, Some(1), None, true, Ok((1, 1))),
        (Auto, Some(5), None, true, Ok((1, 1))),
        (Auto, None, Some(1), true, refused("times", "not_allowed")),
        (Referer, None, None, false, Ok((1, 1))),
        (Referer, Some(7), None, false, Ok((7, 1))),
        (Referer, Some(100), None, false, Ok((100, 1))),
        (Referer, Some(101), None, false, refused("quantity", "out_of_range")),
        (Referer, Some(0), None, false, refused("quantity", "out_of_range")),
        (Referer, Some(-1), None, false, refused("quantity", "out_of_range")),
        (Referer, Some(i64::MAX), None, true, refused("quantity", "out_of_range")),
        (Referer, Some(7), None, true, Ok((1, 1))),
        (Referer, None, Some(2), false, refused("times", "not_allowed")),
        (Admin, None, None, false, Ok((1, 1))),
        (Admin, Some(3), None, false, Ok((3, 1))),
        (Admin, None, Some(9), false, Ok((1, 9))),
        (Admin, None, Some(1_000_000), false, Ok((1, 1_000_000))),
        (Admin, None, Some(1_000_001), false, refused("times", "out_of_range")),
        (Admin, None, Some(0), false, refused("times", "out_of_range")),
        (Admin, Some(1), Some(1), false, refused("times", "not_with_quantity")),
        (Admin, Some(3), Some(9), true, refused("times", "not_with_quantity")),
        (Admin, Some(3), None, true, Ok((1, 1))),
        (Admin, None, Some(9), true, Ok((1, 1))),
    ] {
        let granted = wish(quantity, times, email).grant(kind, NOW).map(|batch| (batch.quantity, batch.times));
        assert_eq!(granted, expected, "{kind:?} quantity {quantity:?} times {times:?} email {email}");
    }
}

#[test]
fn how_long_and_whence() {
    let of = |valid_time, source: Option<&str>| Wish {
        valid_time,
        source: source.map(str::to_owned),
        ..wish(None, None, true)
    };
    let granted = |kind, wish: Wish| wish.grant(kind, NOW).map(|batch| (batch.valid_to.map(|at| at.0), batch.source));
    let field = |field, reason| Err(Refusal::field(field, reason));
    assert_eq!(granted(Auto, of(None, None)), Ok((Some(NOW.0 + 86_400_000), None)));
    assert_eq!(granted(Referer, of(None, None)), Ok((None, None)), "for good");
    assert_eq!(granted(Admin, of(None, None)), Ok((None, None)), "for good");
    assert_eq!(granted(Admin, of(Some(60), Some(" talk "))), Ok((Some(NOW.0 + 60_000), Some("talk".to_owned()))));
    assert_eq!(granted(Admin, of(Some(MOST_SECONDS), Some(""))), Ok((Some(NOW.0 + MOST_SECONDS * 1000), None)));
    for kind in [Auto, Referer] {
        assert_eq!(granted(kind, of(Some(60), None)), field("valid_time", "not_allowed"), "{kind:?}");
        assert_eq!(granted(kind, of(None, Some("x"))), field("source", "not_allowed"), "{kind:?}");
    }
    for seconds in [0, -1, MOST_SECONDS + 1, i64::MAX, i64::MIN] {
        assert_eq!(granted(Admin, of(Some(seconds), None)), field("valid_time", "out_of_range"), "{seconds}");
    }
    assert_eq!(granted(Admin, of(None, Some(&"ä".repeat(64)))), Ok((None, Some("ä".repeat(64)))));
    assert_eq!(granted(Admin, of(None, Some(&"a".repeat(65)))), field("source", "too_long"));
    assert_eq!(granted(Admin, of(None, Some("a\nb"))), field("source", "invalid"));
}

#[test]
fn all_that_is_wrong_with_a_wish_is_told_at_once() {
    let all = Wish {
        quantity: Some(0),
        times: Some(0),
        valid_time: Some(0),
        source: Some("a\nb".to_owned()),
        email_key: None,
    };
    let told = |kind| match all.clone().grant(kind, NOW) {
        Err(Refusal::Fields { fields, .. }) => {
            fields.iter().map(|fault| format!("{} {}", fault.field, fault.reason)).collect::<Vec<_>>().join(", ")
        }
        other => panic!("{other:?}"),
    };
    let not_taken = "quantity out_of_range, times not_allowed, valid_time not_allowed, source not_allowed";
    assert_eq!(told(Referer), not_taken);
    assert_eq!(told(Auto), format!("limit_email missing, {not_taken}"));
    let each = "times out_of_range, valid_time out_of_range, source invalid";
    assert_eq!(told(Admin), format!("quantity out_of_range, times not_with_quantity, {each}"));
}

#[test]
fn when_a_code_can_be_used() {
    let code = |left_over, valid_to: Option<i64>, email: Option<&str>| Invite {
        code: new_code(7),
        kind: Admin,
        made_by: None,
        email_key: email.map(str::to_owned),
        times: 5,
        left_over,
        valid_to: valid_to.map(Timestamp),
        source: None,
        created_at: Timestamp(0),
    };
    let ann = Some("ann@example.org");
    for (invite, reason) in [
        (code(5, None, None), None),
        (code(1, Some(NOW.0 + 1), ann), None),
        (code(0, None, None), Some("spent")),
        (code(1, Some(NOW.0), None), Some("expired")),
        (code(1, None, Some("bob@example.org")), Some("other_address")),
        (code(0, Some(0), Some("bob@example.org")), Some("expired")),
    ] {
        let expected = reason.map_or(Ok(()), |reason| Err(Refusal::field("code", reason)));
        assert_eq!(invite.check("ann@example.org", NOW), expected, "{invite:?}");
    }
}

#[test]
fn a_code_is_read_as_it_is_typed() {
    let code = new_code(0x0123_4567_89ab_cdef_0123);
    assert_eq!(code.len(), 19);
    let bare = code.replace('-', "");
    for typed in [code.clone(), code.to_lowercase(), bare.clone(), format!("  {} ", code.replace('-', " "))] {
        assert_eq!(read_code(&typed).as_ref(), Some(&code), "{typed}");
    }
    assert_eq!(read_code("oOiIlL00-11223344"), read_code("0011-1100-1122-3344"));
    let longer = format!("{code}0");
    for typed in ["", "-", &bare[1..], &longer, "UUUU-UUUU-UUUU-UUUU", "7K2M-9QXD-04TW-BHVä", "' OR 1=1 --abcde"] {
        assert_eq!(read_code(typed), None, "{typed:?}");
    }
}

proptest! {
    #[test]
    fn a_batch_is_never_out_of_bounds(
        quantity in proptest::option::of(any::<i64>()),
        times in proptest::option::of(any::<i64>()),
        valid_time in proptest::option::of(any::<i64>()),
        email in any::<bool>(),
        kind in 0_usize..3,
    ) {
        let wish = Wish { valid_time, ..wish(quantity, times, email) };
        let kind = InviteKind::ALL[kind];
        if let Ok(batch) = wish.grant(kind, NOW) {
            prop_assert!((1..=MOST_CODES).contains(&batch.quantity) && (1..=MOST_TIMES).contains(&batch.times));
            prop_assert!(batch.quantity == 1 || batch.times == 1, "never both");
            prop_assert!(batch.email_key.is_none() || (batch.quantity, batch.times) == (1, 1));
            prop_assert!(kind == Admin || batch.times == 1);
            prop_assert!(kind != Auto || batch.email_key.is_some());
            prop_assert!(batch.valid_to.is_none_or(|end| end > NOW && end.0 <= NOW.0 + MOST_SECONDS * 1000));
        }
    }

    #[test]
    fn every_code_can_be_read(random in any::<u128>(), typed in "\\PC{0,40}") {
        let code = new_code(random);
        prop_assert_eq!(read_code(&code), Some(code));
        let _ = read_code(&typed);
    }
}
