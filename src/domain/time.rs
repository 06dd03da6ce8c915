//! Time as the rules see it: whole milliseconds, handed in by a `Clock`.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Always three digits after the second, so that texts sort as times do.
const WITH_MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const WITH_SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time plus so many milliseconds (minus, if negative).
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-21T08:00:00.120Z`.
    pub fn rfc3339(self) -> String {
        self.written(WITH_MILLISECONDS)
    }

    /// RFC 3339 in UTC with whole seconds, rounded down: `2026-11-21T08:00:00Z`.
    pub fn rfc3339_seconds(self) -> String {
        self.written(WITH_SECONDS)
    }

    fn written(self, format: &[BorrowedFormatItem<'_>]) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|at| at.format(format).ok())
            .unwrap_or_else(|| self.0.to_string())
    }
}

/// Where the time comes from: the machine in production, a test's hand in tests.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Moves on by so many milliseconds (back, if negative), because another clock is the one to go by. A clock that
    /// nobody sets goes on as it is.
    fn correct(&self, _ms: i64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_after_the_second_or_none() {
        for (ms, long, short) in [
            (0, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z"),
            (1_795_248_000_120, "2026-11-21T08:00:00.120Z", "2026-11-21T08:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!((&*Timestamp(ms).rfc3339(), &*Timestamp(ms).rfc3339_seconds()), (long, short));
        }
    }
}
