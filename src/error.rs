//! What goes wrong above the rules, as a closed list. Knows no status codes and no texts: those are the API's.

use std::time::Duration;

use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;

/// What most of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation did not succeed.
#[derive(Debug)]
pub enum Error {
    /// Understood and refused.
    Refused(Refusal),
    /// There is no such thing, or the caller may not know of it: `pusher`, `task`, `group` …
    NotFound(&'static str),
    /// The caller did not prove who they are.
    Unauthorized(AuthProblem),
    /// The caller is known and may not do this.
    Forbidden,
    /// The caller's token does not carry this scope.
    ScopeMissing(Scope),
    /// The caller did too much; trying again after this time may go better.
    Limited {
        /// Which limit was reached.
        limit: Limit,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The server cannot take it now.
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Something that ought to work does not. Logged once by the API; the client sees only an id.
    Broken(anyhow::Error),
}

/// Why a caller is not taken for who they say they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthProblem {
    /// No token was sent.
    Missing,
    /// The token is not known.
    Invalid,
    /// The token was good once.
    Expired,
}

/// The limits on how much a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Calls in a short time, by an address, an account or to a Pusher.
    Rate,
    /// Pushes of an account in a day.
    Quota,
    /// Wrong passwords, for an account or from an address.
    Attempts,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<anyhow::Error> for Error {
    fn from(cause: anyhow::Error) -> Self {
        Self::Broken(cause)
    }
}

impl From<AuthProblem> for Error {
    fn from(problem: AuthProblem) -> Self {
        Self::Unauthorized(problem)
    }
}
