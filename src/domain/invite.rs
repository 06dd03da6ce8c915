//! Invitation codes: what each kind may be asked for, what a code looks like, and whether one can be used. It stores
//! and sends nothing.

use super::account::CONFIRM_MS;
use super::id::AccountId;
use super::refusal::{Faults, Refusal};
use super::time::Timestamp;

/// Most codes in one call.
pub const MOST_CODES: u32 = 100;
/// Most accounts on one code.
pub const MOST_TIMES: u32 = 1_000_000;
/// Longest that a code can be made to last, in seconds: ten years.
pub const MOST_SECONDS: i64 = 10 * 365 * 86_400;
/// Most codes of a user, not an admin, that are neither used up nor over.
pub const MOST_OPEN: i64 = 100;
/// How long a code of the kind `auto` lasts, in seconds: as long as an account waits to be confirmed.
const AUTO_SECONDS: i64 = CONFIRM_MS / 1000;
/// Longest `source`, in characters.
pub const MOST_SOURCE: usize = 64;

/// Letters of a code: none that is taken for another (no I, L, O, U).
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a code: 80 random bits.
const CODE_LETTERS: usize = 16;
const GROUP: usize = 4;

/// Who a code is made by, and so what can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteKind {
    /// Anybody, for one address, where registration is open.
    Auto,
    /// A user, for somebody they know.
    Referer,
    /// An admin.
    Admin,
}

impl InviteKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Referer, Self::Admin];

    /// The word for it, in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Referer => "referer",
            Self::Admin => "admin",
        }
    }

    /// The kind that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What somebody asks for; what is not given is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// How many codes.
    pub quantity: Option<i64>,
    /// How many accounts each is good for.
    pub times: Option<i64>,
    /// The one address that may use it, in the spelling that is compared.
    pub email_key: Option<String>,
    /// How long it lasts, in seconds; for good if not given.
    pub valid_time: Option<i64>,
    /// Where the people come from who use it.
    pub source: Option<String>,
}

/// What is made of a wish: so many codes, all alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub quantity: u32,
    pub times: u32,
    pub email_key: Option<String>,
    pub valid_to: Option<Timestamp>,
    pub source: Option<String>,
}

/// A code as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub code: String,
    pub kind: InviteKind,
    pub made_by: Option<AccountId>,
    pub email_key: Option<String>,
    /// Accounts that it was made for.
    pub times: i64,
    /// How many of them are left.
    pub left_over: i64,
    pub valid_to: Option<Timestamp>,
    pub source: Option<String>,
    pub created_at: Timestamp,
}

impl Wish {
    /// What becomes of the wish. A limit to one address makes it one code for one account, whatever else was asked.
    ///
    /// # Errors
    /// Each field that this kind does not take, or that is out of bounds.
    pub fn grant(self, kind: InviteKind, now: Timestamp) -> Result<Batch, Refusal> {
        let mut faults = Faults::default();
        if kind == InviteKind::Auto && self.email_key.is_none() {
            faults.add("limit_email", "missing");
        }
        let quantity = faults.keep("quantity", bounded(self.quantity, MOST_CODES));
        let (times, seconds, source) = match kind {
            InviteKind::Admin => (self.times, self.valid_time, self.source),
            InviteKind::Auto | InviteKind::Referer => {
                let given = [self.times.is_some(), self.valid_time.is_some(), self.source.is_some()];
                for (field, _) in ["times", "valid_time", "source"].into_iter().zip(given).filter(|(_, given)| *given) {
                    faults.add(field, "not_allowed");
                }
                (None, (kind == InviteKind::Auto).then_some(AUTO_SECONDS), None)
            }
        };
        if times.is_some() && self.quantity.is_some() {
            faults.add("times", "not_with_quantity");
        }
        let times = faults.keep("times", bounded(times, MOST_TIMES));
        if seconds.is_some_and(|seconds| !(1..=MOST_SECONDS).contains(&seconds)) {
            faults.add("valid_time", "out_of_range");
        }
        let source = source.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        faults.check("source", source.as_deref().map_or(Ok(()), check_source));
        faults.refuse_if_any()?;
        let valid_to = seconds.map(|seconds| now.plus_ms(seconds * 1000));
        let one = self.email_key.is_some();
        let (quantity, times) = if one { (1, 1) } else { (quantity, times) };
        Ok(Batch { quantity, times, email_key: self.email_key, valid_to, source })
    }
}

fn check_source(text: &str) -> Result<(), &'static str> {
    if text.chars().count() > MOST_SOURCE {
        Err("too_long")
    } else if text.chars().any(char::is_control) {
        Err("invalid")
    } else {
        Ok(())
    }
}

/// A number from 1 to the most; 1 if not given.
fn bounded(number: Option<i64>, most: u32) -> Result<u32, &'static str> {
    let number = u32::try_from(number.unwrap_or(1)).ok().filter(|number| (1..=most).contains(number));
    number.ok_or("out_of_range")
}

impl Invite {
    /// Whether somebody with this address can sign up with the code now. The change that takes a use has the same
    /// conditions; this one is for telling why not, and for not doing costly work in vain.
    ///
    /// # Errors
    /// The field `code` with `expired`, `other_address` or `spent`.
    pub fn check(&self, email_key: &str, now: Timestamp) -> Result<(), Refusal> {
        let refused = |reason| Err(Refusal::field("code", reason));
        if self.valid_to.is_some_and(|end| end <= now) {
            return refused("expired");
        }
        if self.email_key.as_ref().is_some_and(|only| only != email_key) {
            return refused("other_address");
        }
        if self.left_over < 1 { refused("spent") } else { Ok(()) }
    }
}

/// A code of 80 of these random bits, in groups that can be read out: `7K2M-9QXD-04TW-BHV3`.
pub fn new_code(random: u128) -> String {
    let mut code = String::with_capacity(CODE_LETTERS + CODE_LETTERS / GROUP);
    for place in 0..CODE_LETTERS {
        if place > 0 && place % GROUP == 0 {
            code.push('-');
        }
        let letter = usize::try_from((random >> (place * 5)) & 31).unwrap_or(0);
        code.push(char::from(LETTERS[letter]));
    }
    code
}

/// The code that somebody typed: in any case, with or without the dashes, with letters that look alike taken for what
/// they must be. `None` if it can be no code.
pub fn read_code(typed: &str) -> Option<String> {
    let mut code = String::with_capacity(CODE_LETTERS + CODE_LETTERS / GROUP);
    let mut count = 0;
    for letter in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if count == CODE_LETTERS || !letter.is_ascii() || !LETTERS.contains(&(letter as u8)) {
            return None;
        }
        if count > 0 && count % GROUP == 0 {
            code.push('-');
        }
        code.push(letter);
        count += 1;
    }
    (count == CODE_LETTERS).then_some(code)
}

#[cfg(test)]
#[path = "invite_tests.rs"]
mod tests;
