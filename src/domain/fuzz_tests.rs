//! Hostile names, values and times: nothing panics, and what is taken keeps its promises.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::idempotency::IdempotencyKey;
use super::modifier::{Name, fill, holes};
use super::params::{ParamSpec, ParamType, convert, convert_text};
use super::schedule::{MAX_AHEAD_MS, due};
use super::time::Timestamp;
use super::trials::trials;

/// 2026-11-22T04:00:00Z.
const NOW: Timestamp = Timestamp(1_795_320_000_000);

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "(?s).{0,40}",
        "[_0-9a-z.<>]{0,20}",
        "(<_[0-9]{0,12}>|_|<|>|é){0,12}",
        "[-+0-9TZ:. ]{0,30}",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?(\\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-6][0-9])?",
        "[0-9]{10}",
        "[-+]?[0-9]{0,25}(\\.[0-9]{0,9})?(e[-+]?[0-9]{1,4})?",
        "(http|https|ftp|javascript|data)?:?/{0,3}[a-z0-9@:.\\[\\]%-]{0,20}[/?#]?.{0,10}",
        "[a-z\"(). +-]{0,12}@[a-z0-9.\\[\\]-]{0,20}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn spec(kind: ParamType, required: bool, bound: Option<u8>) -> ParamSpec {
    let values = if kind == ParamType::Enum { vec!["a".into(), "1".into(), "true".into()] } else { Vec::new() };
    ParamSpec {
        required,
        values,
        max_length: bound.map(usize::from),
        min: bound.map(f64::from),
        max: bound.map(|bound| f64::from(bound) * 2.0),
        accepts: if required { vec!["https".into()] } else { Vec::new() },
        ..ParamSpec::plain("p", kind)
    }
}

const KINDS: [ParamType; 10] = [
    ParamType::String,
    ParamType::Text,
    ParamType::Integer,
    ParamType::Number,
    ParamType::Boolean,
    ParamType::Enum,
    ParamType::List,
    ParamType::Object,
    ParamType::Url,
    ParamType::Email,
];

proptest! {
    #![proptest_config(trials(4000))]

    #[test]
    fn what_was_converted_is_of_its_type_and_stays(
        given in value(), kind in prop::sample::select(KINDS.to_vec()), required: bool, bound: Option<u8>,
    ) {
        let spec = spec(kind, required, bound);
        let Ok(Some(value)) = convert(&spec, &given) else { return Ok(()) };
        let fits = match kind {
            ParamType::String | ParamType::Text | ParamType::Enum | ParamType::Url | ParamType::Email => value.is_string(),
            ParamType::Integer => value.is_i64() || value.is_u64(),
            ParamType::Number => value.is_number(),
            ParamType::Boolean => value.is_boolean(),
            ParamType::List => value.is_array(),
            ParamType::Object => value.is_object(),
        };
        prop_assert!(fits, "{:?} became {} as {:?}", given, value, kind);
        prop_assert!(!value.to_string().contains("\\u0000"), "{}", value);
        if let (Some(bound), Some(number)) = (bound, value.as_f64()) {
            prop_assert!(number >= f64::from(bound) && number <= f64::from(bound) * 2.0, "{}", value);
        }
        prop_assert_eq!(convert(&spec, &value), Ok(Some(value)), "given {:?}", given);
    }

    #[test]
    fn every_entry_of_a_list_is_of_its_type_and_stays(
        given in value(), kind in prop::sample::select(KINDS.to_vec()), required: bool, bound: Option<u8>,
    ) {
        let entry = spec(kind, false, bound);
        let list = ParamSpec { kind: ParamType::List, items: Some(kind), required, ..entry.clone() };
        let Ok(Some(value)) = convert(&list, &given) else { return Ok(()) };
        for item in value.as_array().into_iter().flatten() {
            prop_assert_eq!(convert(&entry, item), Ok(Some(item.clone())), "given {:?}", given);
        }
        prop_assert_eq!(convert(&list, &value), Ok(Some(value)), "given {:?}", given);
    }

    #[test]
    fn text_is_converted_as_the_same_text_in_json(given in text(), kind in prop::sample::select(KINDS.to_vec())) {
        let spec = spec(kind, false, None);
        prop_assert_eq!(convert(&spec, &json!(given.clone())), convert_text(&spec, Cow::Owned(given)));
    }

    #[test]
    fn a_name_is_its_base_and_its_number(given in text()) {
        if let Ok(name) = Name::parse(&given) {
            prop_assert!(!name.base.is_empty() && !name.base.chars().any(char::is_control));
            match name.hole {
                None => prop_assert_eq!(&*name.base, &*given),
                Some(hole) => {
                    let again = format!("_{}_{hole}", name.base);
                    let parsed = Name::parse(&again);
                    // `_token` alone is reserved; so may be what it is written out as.
                    prop_assert_eq!(parsed, Ok(name), "{}", given);
                }
            }
        }
        if let Ok(name) = Name::parse_dotted(&given) {
            prop_assert!(!name.base.chars().any(char::is_control));
            let _ = name.split_member();
        }
    }

    #[test]
    fn what_fills_a_hole_is_not_looked_at_again(given in text(), insert in text(), hole in 0u32..3, limit in 0usize..200) {
        let found: Vec<_> = holes(&given).collect();
        for (start, end, number) in &found {
            let inner = given[*start..*end].trim_start_matches("<_").trim_end_matches('>');
            prop_assert_eq!(inner.parse(), Ok(*number));
        }
        let mut pieces = String::new();
        let mut at = 0;
        for (start, end, _) in found.iter().filter(|(.., number)| *number == hole) {
            pieces.push_str(&given[at..*start]);
            pieces.push_str(&insert);
            at = *end;
        }
        pieces.push_str(&given[at..]);
        let filled = fill(&given, &[(hole, &insert)], limit);
        if pieces.len() <= limit { prop_assert_eq!(filled, Ok(pieces)) } else { prop_assert!(filled.is_err()) }
    }

    #[test]
    fn a_time_is_within_reach(delay in prop::option::of(value()), at in prop::option::of(value()), now in any::<i64>()) {
        for now in [NOW, Timestamp(now)] {
            if let Ok(due) = due(delay.as_ref(), at.as_ref(), now) {
                prop_assert!(due.0 <= now.0.saturating_add(MAX_AHEAD_MS), "{:?} {:?} at {}", delay, at, now.0);
            }
        }
    }

    #[test]
    fn an_idempotency_key_is_what_it_says(given in "(?s).{0,300}|[!-~]{0,300}") {
        let fits = (1..=255).contains(&given.len()) && given.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        prop_assert_eq!(IdempotencyKey::parse(&given).map(|key| key.as_str().to_owned()), fits.then_some(given));
    }
}
