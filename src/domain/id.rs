//! Identifiers: text, one letter case, fixed length. Random bits come from the caller.

use serde::{Deserialize, Serialize};
use std::fmt;
use ulid::Ulid;

/// Declares a newtype around the text of an identifier.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes text that is known to be an identifier, or that a look-up will prove.
            /// NUL, which not every database takes in a text, becomes U+FFFD: no identifier holds either.
            pub fn new(text: impl Into<String>) -> Self {
                let text = text.into();
                Self(if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text })
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// An account.
    AccountId
);
id!(
    /// Anything that can be pushed to: a Service's slug, or the unguessable id of a Preset or Group.
    PusherId
);
id!(
    /// One accepted call.
    PushId
);
id!(
    /// One delivery through one Service.
    TaskId
);

impl PusherId {
    /// Length of the text of a Preset's or Group's.
    pub const LEN: usize = 26;
}

impl PushId {
    /// Length of the text.
    pub const LEN: usize = 26;
}

impl TaskId {
    /// The task at a position of a push: the push's id and one digit, so that a push's tasks are found without an index.
    pub fn of(push: &PushId, position: usize) -> Self {
        Self(format!("{}{position}", push.0))
    }

    /// The push that the task belongs to; `None` if this is no task's id.
    pub fn push(&self) -> Option<PushId> {
        let (push, position) = self.0.split_at_checked(PushId::LEN)?;
        (position.len() == 1).then(|| PushId(push.to_owned()))
    }
}

/// Text of 26 characters that sorts by time: 48 bits of milliseconds, 80 of the random bits given.
pub fn time_ordered(now_ms: i64, random: u128) -> String {
    let ms = u64::try_from(now_ms).unwrap_or(0);
    Ulid::from_parts(ms, random).to_string().to_ascii_lowercase()
}

/// Text of 26 characters with all 128 bits random. It begins with a digit, so it is never a Service's slug.
pub fn unguessable(random: u128) -> String {
    Ulid::from(random).to_string().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ordered_ids_sort_by_time() {
        assert!(time_ordered(1_000, u128::MAX) < time_ordered(1_001, 0));
        assert_eq!(time_ordered(1_000, 7).len(), 26);
    }

    #[test]
    fn unguessable_ids_are_lower_case_and_begin_with_a_digit() {
        for random in [0, 1, u128::MAX, 0x1234_5678_9abc_def0_1234_5678_9abc_def0] {
            let id = unguessable(random);
            assert_eq!(id.len(), 26);
            assert!(id.starts_with(|c: char| c.is_ascii_digit()));
            assert_eq!(id, id.to_ascii_lowercase());
        }
    }
}
