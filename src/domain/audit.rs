//! The record of who did what. It holds ids and names and never a secret: no token, no password, no parameter.

use super::id::{AccountId, time_ordered};
use super::time::Timestamp;

/// Declares the actions with their words.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident $word:literal,)+) => {
        /// What can be done that is worth remembering.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditAction {
            $($(#[$doc])* $name,)+
        }

        impl AuditAction {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

actions! {
    /// A session began.
    Login "login",
    /// Somebody tried to log in and could not.
    LoginFailed "login_failed",
    /// A session was ended by its holder.
    Logout "logout",
    /// Another session was ended.
    SessionEnded "session_ended",
    /// The password was changed by who knew it.
    PasswordChanged "password_changed",
    /// A mail to reset the password was asked for.
    PasswordResetAsked "password_reset_asked",
    /// The password was reset by such a mail.
    PasswordReset "password_reset",
    /// An API token was made.
    TokenMade "token_made",
    /// An API token was withdrawn.
    TokenWithdrawn "token_withdrawn",
    /// Invitation codes were made.
    InviteMade "invite_made",
    /// An invitation code was withdrawn.
    InviteWithdrawn "invite_withdrawn",
    /// An account was made.
    AccountMade "account_made",
    /// An account's address was confirmed.
    AccountConfirmed "account_confirmed",
    /// An account's role or limits were changed.
    AccountChanged "account_changed",
    /// An account was shut out.
    AccountDisabled "account_disabled",
    /// An account was let in again.
    AccountEnabled "account_enabled",
    /// An account was deleted with its data.
    AccountDeleted "account_deleted",
    /// A Preset or Group was made.
    PusherMade "pusher_made",
    /// A Preset or Group was changed.
    PusherChanged "pusher_changed",
    /// A Preset or Group was made public.
    PusherShared "pusher_shared",
    /// A Preset or Group was deleted.
    PusherDeleted "pusher_deleted",
    /// An administrator revoked somebody's task.
    TaskRevoked "task_revoked",
    /// An administrator ran somebody's failed task again.
    TaskRetried "task_retried",
    /// A Service was added.
    ServiceAdded "service_added",
    /// A Service was changed.
    ServiceChanged "service_changed",
    /// A Service was removed.
    ServiceRemoved "service_removed",
}

impl AuditAction {
    /// The action that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == word)
    }
}

/// Who does something, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub account: Option<AccountId>,
    /// The id of the API token, if it is not a session.
    pub token: Option<String>,
    /// The address that the request comes from.
    pub origin: Option<String>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Sorts by time.
    pub id: String,
    pub at: Timestamp,
    /// The word of an `AuditAction`; of a newer version perhaps one that is not known here.
    pub action: String,
    /// Who did it.
    pub actor: Option<AccountId>,
    /// The id of the API token that it was done with.
    pub token: Option<String>,
    /// The address that it came from.
    pub origin: Option<String>,
    /// Whose affairs it concerns.
    pub account: Option<AccountId>,
    /// The id of what it was done to.
    pub target: Option<String>,
    /// What that was called then.
    pub name: Option<String>,
}

impl AuditEvent {
    /// Something that somebody does in their own affairs.
    pub fn new(at: Timestamp, random: u128, who: &Who, action: AuditAction) -> Self {
        Self {
            id: time_ordered(at.0, random),
            at,
            action: action.as_str().to_owned(),
            actor: who.account.clone(),
            token: who.token.clone(),
            origin: who.origin.clone(),
            account: who.account.clone(),
            target: None,
            name: None,
        }
    }

    /// The same in somebody else's affairs, perhaps.
    #[must_use]
    pub fn concerning(self, account: &AccountId) -> Self {
        Self { account: Some(account.clone()), ..self }
    }

    /// The same, done to an account, in its affairs; `what` of it, if not all.
    #[must_use]
    pub fn to_account(self, account: &AccountId, what: &str) -> Self {
        self.concerning(account).to(account.as_str(), what)
    }

    /// The same, done to this, which is called so.
    #[must_use]
    pub fn to(self, target: &str, name: &str) -> Self {
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Self { target: Some(target.to_owned()), name, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_word_of_its_own() {
        for action in AuditAction::ALL {
            assert_eq!(AuditAction::parse(action.as_str()), Some(*action));
        }
        assert_eq!(AuditAction::parse("anything"), None);
    }

    #[test]
    fn an_event_says_who_and_whose() {
        let (ann, root) = (AccountId::new("ann"), AccountId::new("root"));
        let who = Who { account: Some(root.clone()), token: None, origin: Some("192.0.2.7".to_owned()) };
        let event = AuditEvent::new(Timestamp(5), 1, &who, AuditAction::PusherDeleted);
        assert_eq!((&event.actor, &event.account), (&Some(root.clone()), &Some(root.clone())));
        assert_eq!(event.origin.as_deref(), Some("192.0.2.7"));
        let event = event.concerning(&ann).to("p", "");
        assert_eq!((event.actor, event.account), (Some(root), Some(ann)));
        assert_eq!((event.target.as_deref(), event.name), (Some("p"), None));
    }
}
