//! Accounts: who they are, and which addresses and passwords are acceptable. It does not hash or store anything.

use super::id::AccountId;
use super::invite::read_code;
use super::refusal::{Faults, Refusal};
use super::scope::Scopes;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest mail address, in bytes.
const MAX_EMAIL: usize = 254;
/// Fewest and most characters of a password.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// How long an account waits to be confirmed: a day.
pub const CONFIRM_MS: i64 = 86_400_000;

/// What an account may do beyond its own affairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Its own affairs only.
    User,
    /// Looks after the server and everybody on it.
    Admin,
}

impl Role {
    /// Both roles.
    pub const ALL: [Self; 2] = [Self::User, Self::Admin];

    /// The word for it, in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// The role that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Nobody, whatever code they have.
    Closed,
    /// Whoever has a code from a user or an admin.
    Invite,
    /// Anybody: they may get themselves a code.
    Open,
}

/// One person's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// As it was given, but for spaces around it; compared as [`email_key`] gives it.
    pub email: String,
    pub role: Role,
    /// The address has been proved, or an admin vouches for it.
    pub confirmed: bool,
    /// Shut out by an admin.
    pub disabled: bool,
    pub created_at: Timestamp,
}

impl Account {
    /// Whether it looks after the server.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Until when it waits to be confirmed.
    pub fn confirm_by(&self) -> Timestamp {
        self.created_at.plus_ms(CONFIRM_MS)
    }
}

/// A token with a name that an account has made for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What it is called by in the API; says nothing about the token.
    pub id: String,
    pub name: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    /// From this time on it is not taken; `None` for one that does not end.
    pub expires_at: Option<Timestamp>,
}

/// What a mail of this server asks its reader to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailPurpose {
    /// That the address of a new account is theirs.
    Confirm,
    /// That they may set another password.
    Reset,
    /// That the address that an account is to have is theirs.
    Change,
}

impl MailPurpose {
    /// All purposes.
    pub const ALL: [Self; 3] = [Self::Confirm, Self::Reset, Self::Change];

    /// The word for it in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reset => "reset",
            Self::Change => "change",
        }
    }

    /// The purpose that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }
}

/// The form in which a mail address is stored and compared: trimmed and in lower case. `None` if it is not an address:
/// one `@` with something on both sides, at most 254 bytes, no space, no control character and none of `<>()[],;:\"`,
/// which mean something of their own in a mail's header. The host may be without a dot (`root@localhost`).
pub fn email_key(email: &str) -> Option<String> {
    let key = email.trim().to_lowercase();
    let bad = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c);
    let (user, host) = key.split_once('@')?;
    let fits = !user.is_empty() && !host.is_empty() && !host.contains('@') && key.len() <= MAX_EMAIL;
    if fits && !key.contains(bad) { Some(key) } else { None }
}

/// The same, of an address that must be one.
///
/// # Errors
/// The field `email` with `invalid`.
pub fn wanted_email(email: &str) -> Result<String, Refusal> {
    email_key(email).ok_or_else(|| Refusal::field("email", "invalid"))
}

/// Whether a password is long enough to be one, and short enough to be hashed: 8 to 256 characters.
///
/// # Errors
/// The field `password` with `too_short` or `too_long`.
pub fn check_password(password: &str) -> Result<(), Refusal> {
    fits_password(password).map_err(|reason| Refusal::field("password", reason))
}

/// The form in which an address is stored that comes with a password.
///
/// # Errors
/// Each of the fields `email` and `password` that is not acceptable.
pub fn read_credentials(email: &str, password: &str) -> Result<String, Refusal> {
    let mut faults = Faults::default();
    let key = keep_credentials(&mut faults, email, password);
    faults.refuse_if_any().map(|()| key)
}

/// The same of somebody who signs up, and the code as it is written.
///
/// # Errors
/// Each of the fields `email`, `password` and `code` that is not acceptable.
pub fn read_sign_up(email: &str, password: &str, code: &str) -> Result<(String, String), Refusal> {
    let mut faults = Faults::default();
    let key = keep_credentials(&mut faults, email, password);
    let code = faults.keep("code", read_code(code).ok_or("unknown"));
    faults.refuse_if_any().map(|()| (key, code))
}

fn keep_credentials(faults: &mut Faults, email: &str, password: &str) -> String {
    let key = faults.keep("email", email_key(email).ok_or("invalid"));
    faults.check("password", fits_password(password));
    key
}

fn fits_password(password: &str) -> Result<(), &'static str> {
    match password.chars().count() {
        length if length < *PASSWORD_LENGTH.start() => Err("too_short"),
        length if length > *PASSWORD_LENGTH.end() => Err("too_long"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::FieldFault;

    #[test]
    fn every_role_has_a_word_of_its_own() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn addresses_are_compared_trimmed_and_in_lower_case() {
        assert_eq!(email_key("  Ann@Example.ORG "), Some("ann@example.org".to_owned()));
        assert_eq!(email_key("ÄNN@exämple.org"), Some("änn@exämple.org".to_owned()));
        assert_eq!(email_key("root@localhost"), Some("root@localhost".to_owned()));
    }

    #[test]
    fn what_is_no_address() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in [
            "",
            "ann",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a\r\n@b",
            "a\0@b",
            "<a@b>",
            "a@b,c@d",
            "a\u{a0}b@c",
            &long,
        ] {
            assert_eq!(email_key(text), None, "{text:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_sign_up_is_told_at_once() {
        let code = crate::domain::invite::new_code(7);
        let read = read_sign_up(" Ann@Example.ORG", "12345678", &code.to_lowercase());
        assert_eq!(read, Ok(("ann@example.org".to_owned(), code)));
        let faults = [("email", "invalid"), ("password", "too_short"), ("code", "unknown")]
            .map(|(field, reason)| FieldFault { field: field.to_owned(), reason });
        let refused = Refusal::Fields { fields: faults.to_vec(), params: Vec::new() };
        assert_eq!(read_sign_up("ann", "1234567", "x"), Err(refused));
    }

    #[test]
    fn a_password_has_8_to_256_characters() {
        let field = |reason| Err(Refusal::field("password", reason));
        assert_eq!(check_password("1234567"), field("too_short"));
        assert_eq!(check_password("ääääääää"), Ok(()));
        assert_eq!(check_password(&"ä".repeat(256)), Ok(()));
        assert_eq!(check_password(&"a".repeat(257)), field("too_long"));
    }
}
