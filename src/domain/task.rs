//! A task's states and the moves between them.

use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Its time has not come, or no worker is free, or it waits for another attempt.
    Waiting,
    /// Waits for the member before it in a `fallback` Group.
    Held,
    /// A worker has it.
    Running,
    /// Delivered.
    Succeeded,
    /// Given up.
    Failed,
    /// Taken back before it was delivered.
    Revoked,
    /// Not needed: a member before it succeeded.
    Skipped,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Held, Self::Running, Self::Succeeded, Self::Failed, Self::Revoked, Self::Skipped];

    /// The word for it, in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Revoked => "revoked",
            Self::Skipped => "skipped",
        }
    }

    /// The state that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether revoking still prevents the delivery.
    pub fn is_revocable(self) -> bool {
        matches!(self, Self::Waiting | Self::Held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_of_its_own() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::parse(state.as_str()), Some(state));
        }
        assert_eq!(TaskState::parse("sleeping"), None);
    }

    #[test]
    fn what_runs_or_has_ended_cannot_be_revoked() {
        let revocable: Vec<_> = TaskState::ALL.into_iter().filter(|s| s.is_revocable()).collect();
        assert_eq!(revocable, [TaskState::Waiting, TaskState::Held]);
    }
}
