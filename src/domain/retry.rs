//! After an attempt: done, wait for the next one, or give up. It decides; the queue does the waiting.

use super::delivery::Outcome;
use super::time::Timestamp;
use std::time::Duration;

/// How long to wait between attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule {
    /// The wait after the first failed attempt, the second, and so on; when they are used up, the task has failed.
    pub waits: Vec<Duration>,
    /// How far a wait may stray to either side, in percent, so that tasks that failed together do not return together.
    pub jitter_percent: u32,
    /// The longest that a channel can make us wait.
    pub longest_retry_after: Duration,
}

impl Default for RetrySchedule {
    /// 2 s, 15 s, 1 min, 5 min, 30 min, each ±20 %; a channel's own wish is honoured up to 1 h.
    fn default() -> Self {
        Self {
            waits: [2, 15, 60, 300, 1800].map(Duration::from_secs).to_vec(),
            jitter_percent: 20,
            longest_retry_after: Duration::from_secs(3600),
        }
    }
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Done,
    /// Try again at this time.
    RetryAt(Timestamp),
    /// It failed for good.
    GiveUp,
}

/// Decides after an attempt. `attempts_made` counts the one just made; `random` lies between 0 and 1.
///
/// A wait that the channel asks for (`Retry-After`) can only lengthen the schedule's own: a channel that is down often
/// says "0" or "1" to everybody, and a task that believed it would spend all its attempts within seconds. It is not
/// given jitter, since coming early would be refused again.
pub fn next(schedule: &RetrySchedule, outcome: &Outcome, attempts_made: u32, now: Timestamp, random: f64) -> Next {
    let after = match outcome {
        Outcome::Sent => return Next::Done,
        Outcome::Never { .. } => return Next::GiveUp,
        Outcome::Later { after, .. } => after.unwrap_or(Duration::ZERO),
    };
    let step = usize::try_from(attempts_made.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(wait) = schedule.waits.get(step) else { return Next::GiveUp };
    let spread = f64::from(schedule.jitter_percent.min(100)) / 100.0;
    let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
    let own = wait.mul_f64(1.0 + spread * (2.0 * random - 1.0));
    let wait = own.max(after.min(schedule.longest_retry_after));
    Next::RetryAt(now.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn later(after: Option<u64>) -> Outcome {
        Outcome::Later { code: "x:busy".into(), message: String::new(), after: after.map(Duration::from_secs) }
    }

    fn wait_ms(outcome: &Outcome, attempts: u32, random: f64) -> Option<i64> {
        match next(&RetrySchedule::default(), outcome, attempts, NOW, random) {
            Next::RetryAt(at) => Some(at.0 - NOW.0),
            Next::GiveUp => None,
            Next::Done => panic!("not sent"),
        }
    }

    #[test]
    fn the_waits_grow_and_then_end() {
        let waits: Vec<_> = (1..=6).map(|made| wait_ms(&later(None), made, 0.5)).collect();
        assert_eq!(waits, [Some(2_000), Some(15_000), Some(60_000), Some(300_000), Some(1_800_000), None]);
        assert_eq!(wait_ms(&later(None), u32::MAX, 0.5), None);
    }

    #[test]
    fn jitter_is_a_fifth_to_either_side() {
        assert_eq!(wait_ms(&later(None), 3, 0.0), Some(48_000));
        assert_eq!(wait_ms(&later(None), 3, 1.0), Some(72_000));
        assert_eq!(wait_ms(&later(None), 3, 7.0), Some(72_000));
        assert_eq!(wait_ms(&later(None), 3, f64::NAN), Some(60_000));
    }

    #[test]
    fn retry_after_lengthens_up_to_an_hour_and_never_shortens() {
        assert_eq!(wait_ms(&later(Some(40)), 1, 0.0), Some(40_000));
        assert_eq!(wait_ms(&later(Some(1)), 2, 0.5), Some(15_000));
        assert_eq!(wait_ms(&later(Some(7_200)), 1, 0.5), Some(3_600_000));
        assert_eq!(wait_ms(&later(Some(u64::MAX)), 5, 0.5), Some(3_600_000));
    }

    #[test]
    fn retry_after_gives_no_attempt_more_than_the_schedule_has() {
        assert_eq!(wait_ms(&later(Some(1)), 6, 0.5), None);
    }

    #[test]
    fn sent_is_done_and_never_is_never() {
        let schedule = RetrySchedule::default();
        assert_eq!(next(&schedule, &Outcome::Sent, 1, NOW, 0.5), Next::Done);
        let never = Outcome::Never { code: "x:no".into(), message: String::new() };
        assert_eq!(next(&schedule, &never, 1, NOW, 0.5), Next::GiveUp);
    }
}
