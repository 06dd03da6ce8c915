//! `delay` and `at`: from what was given to the moment of delivery.

use super::modifier::{AT, DELAY};
use super::params::{integer_text, whole};
use super::refusal::{ParamProblem, Problem};
use super::time::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// Longest `delay`, in seconds: a day.
pub const MAX_DELAY_S: i64 = 86_400;
/// How far ahead `at` may lie, in milliseconds: seven days.
pub const MAX_AHEAD_MS: i64 = 7 * 86_400_000;

/// When a delivery is due: now, unless `delay` or `at` says otherwise. Null and the empty text count as absent.
///
/// # Errors
/// `delay` or `at` (or both) with what is wrong.
pub fn due(delay: Option<&Value>, at: Option<&Value>, now: Timestamp) -> Result<Timestamp, Vec<ParamProblem>> {
    let problem = |param: &str, problem| ParamProblem { param: param.to_owned(), problem };
    match (delay.and_then(present), at.and_then(present)) {
        (None, None) => Ok(now),
        (Some(_), Some(_)) => Err([DELAY, AT].map(|name| problem(name, Problem::DelayAndAt)).to_vec()),
        (Some(delay), None) => after(delay, now).map_err(|wrong| vec![problem(DELAY, wrong)]),
        (None, Some(at)) => moment(at, now).map_err(|wrong| vec![problem(AT, wrong)]),
    }
}

fn present(value: &Value) -> Option<&Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        _ => Some(value),
    }
}

fn after(delay: &Value, now: Timestamp) -> Result<Timestamp, Problem> {
    let whole = match delay {
        Value::Number(number) => whole(number),
        Value::String(text) => integer_text(text.trim()),
        _ => None,
    };
    let seconds = whole.and_then(|number| number.as_i64()).filter(|seconds| (0..=MAX_DELAY_S).contains(seconds));
    seconds.map(|seconds| now.plus_ms(seconds * 1000)).ok_or(Problem::BadDelay)
}

fn moment(at: &Value, now: Timestamp) -> Result<Timestamp, Problem> {
    let text = match at {
        Value::String(text) => Cow::Borrowed(text.trim()),
        // `YYMMDDhhmm` is all digits, so a JSON caller may well write a number.
        Value::Number(number) => Cow::Owned(number.to_string()),
        _ => return Err(Problem::BadAt),
    };
    let nanos = compact(&text)
        .or_else(|| OffsetDateTime::parse(&text, &Rfc3339).ok())
        .ok_or(Problem::BadAt)?
        .unix_timestamp_nanos();
    let ms = i64::try_from(nanos.div_euclid(1_000_000)).map_err(|_| Problem::BadAt)?;
    // The running minute means now: a caller that names this minute is not late.
    if ms < now.0 - now.0.rem_euclid(60_000) {
        Err(Problem::AtInPast)
    } else if ms.saturating_sub(now.0) > MAX_AHEAD_MS {
        Err(Problem::AtTooFar)
    } else {
        Ok(Timestamp(ms.max(now.0)))
    }
}

/// `YYMMDDhhmm`, eight hours ahead of UTC, or `YYMMDDhhmm.UTC`.
fn compact(text: &str) -> Option<OffsetDateTime> {
    let (digits, offset) = match text.strip_suffix(".UTC") {
        Some(digits) => (digits, UtcOffset::UTC),
        None => (text, UtcOffset::from_hms(8, 0, 0).ok()?),
    };
    if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| digits[at..at + 2].parse::<u8>().ok();
    let date = Date::from_calendar_date(2000 + i32::from(pair(0)?), Month::try_from(pair(2)?).ok()?, pair(4)?).ok()?;
    let time = Time::from_hms(pair(6)?, pair(8)?, 0).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_offset(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2026-11-21T08:00:30.500Z, which is 16:00:30.5 at GMT+8.
    const NOW: Timestamp = Timestamp(1_795_248_030_500);

    fn delay(value: &Value) -> Result<i64, Problem> {
        due(Some(value), None, NOW).map(|at| at.0 - NOW.0).map_err(|mut problems| {
            assert_eq!((problems.len(), problems[0].param.as_str()), (1, "delay"));
            problems.remove(0).problem
        })
    }

    fn at(value: impl Into<Value>) -> Result<String, Problem> {
        due(None, Some(&value.into()), NOW).map(Timestamp::rfc3339).map_err(|mut problems| {
            assert_eq!((problems.len(), problems[0].param.as_str()), (1, "at"));
            problems.remove(0).problem
        })
    }

    #[test]
    fn now_is_what_the_tests_take_it_for() {
        assert_eq!(NOW.rfc3339(), "2026-11-21T08:00:30.500Z");
        assert_eq!(due(None, None, NOW), Ok(NOW));
    }

    #[test]
    fn delay_is_whole_seconds_up_to_a_day() {
        for (value, ms) in [
            (json!(0), 0),
            (json!(5), 5_000),
            (json!(5.0), 5_000),
            (json!("60"), 60_000),
            (json!(" 60 "), 60_000),
            (json!(86_400), 86_400_000),
            (json!(null), 0),
            (json!(""), 0),
        ] {
            assert_eq!(delay(&value), Ok(ms), "{value}");
        }
        for value in
            [json!(-1), json!("-1"), json!(86_401), json!(1.5), json!("1.5"), json!("soon"), json!(true), json!([5])]
        {
            assert_eq!(delay(&value), Err(Problem::BadDelay), "{value}");
        }
    }

    #[test]
    fn at_is_read_as_gmt_8_or_utc_or_with_an_offset() {
        assert_eq!(at("2611211605"), Ok("2026-11-21T08:05:00.000Z".into()));
        assert_eq!(at(2_611_211_605_u64), Ok("2026-11-21T08:05:00.000Z".into()));
        assert_eq!(at("2611210805.UTC"), Ok("2026-11-21T08:05:00.000Z".into()));
        assert_eq!(at("2026-11-21T10:05:01.25+02:00"), Ok("2026-11-21T08:05:01.250Z".into()));
        assert_eq!(at("2026-11-21T08:05:01Z"), Ok("2026-11-21T08:05:01.000Z".into()));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "26112116",
            "2613211605",
            "2611311605",
            "2611212405",
            "2611211660",
            "2611211605.GMT",
            "tomorrow",
            "2026-11-21T08:05:01",
            "２６１１２１１６０５",
            "26112116é5",
        ] {
            assert_eq!(at(text), Err(Problem::BadAt), "{text}");
        }
        assert_eq!(at(true), Err(Problem::BadAt));
    }

    #[test]
    fn the_running_minute_means_now_and_earlier_is_past() {
        assert_eq!(at("2611211600"), Ok(NOW.rfc3339()));
        assert_eq!(at("2026-11-21T08:00:00Z"), Ok(NOW.rfc3339()));
        assert_eq!(at("2026-11-21T08:00:45Z"), Ok("2026-11-21T08:00:45.000Z".into()));
        assert_eq!(at("2611211559"), Err(Problem::AtInPast));
        assert_eq!(at("2026-11-21T07:59:59.999Z"), Err(Problem::AtInPast));
        assert_eq!(at("0001010000"), Err(Problem::AtInPast));
    }

    #[test]
    fn at_lies_at_most_seven_days_ahead() {
        assert_eq!(at("2026-11-28T08:00:30.5Z"), Ok("2026-11-28T08:00:30.500Z".into()));
        assert_eq!(at("2026-11-28T08:00:30.501Z"), Err(Problem::AtTooFar));
        assert_eq!(at("9911211600"), Err(Problem::AtTooFar));
    }

    #[test]
    fn both_together_are_both_at_fault() {
        let problems = due(Some(&json!(5)), Some(&json!("2611211605")), NOW).expect_err("refused");
        assert_eq!(problems.iter().map(|p| p.param.as_str()).collect::<Vec<_>>(), ["delay", "at"]);
        assert!(problems.iter().all(|p| p.problem == Problem::DelayAndAt));
        assert_eq!(due(Some(&json!(5)), Some(&json!("")), NOW), Ok(NOW.plus_ms(5_000)));
    }
}
