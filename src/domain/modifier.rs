//! Names in the one form that the rules compare, and the placeholders that modifiers fill. It knows nothing of where
//! a value comes from.

use super::params::MAX_NAME;
use super::refusal::Problem;
use std::borrow::Cow;
use std::fmt;

/// The name that carries an account's token; never a parameter.
pub const TOKEN: &str = "_token";
/// Whole seconds from now until the delivery.
pub const DELAY: &str = "delay";
/// The time of the delivery.
pub const AT: &str = "at";

/// A name, canonical: every spelling of one modifier (`_title`, `_title_0`, `_title_00`) gives the same value.
///
/// The order is by `base`, then the ordinary parameter before its modifiers by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a> {
    /// The parameter itself, or the one that the modifier fills; `member.param` if it is dotted.
    pub base: Cow<'a, str>,
    /// The number of the placeholder that a modifier fills; `None` for an ordinary parameter.
    pub hole: Option<u32>,
}

impl<'a> Name<'a> {
    /// An ordinary parameter that is known to have a proper name.
    pub fn plain(name: &'a str) -> Self {
        Self { base: Cow::Borrowed(name), hole: None }
    }

    /// Reads a name in which a dot is an ordinary character.
    ///
    /// # Errors
    /// `Reserved` for `_token`; `BadName` if it is empty, too long or holds a control character.
    pub fn parse(text: &'a str) -> Result<Self, Problem> {
        if text == TOKEN {
            return Err(Problem::Reserved);
        }
        let (base, hole) = split(text);
        check(base)?;
        Ok(Self { base: Cow::Borrowed(base), hole })
    }

    /// Reads a name in which the first dot stands behind a member's name: `p1._title` is a modifier of `p1.title`, and
    /// `_p1.title`, as which it would be read if a dot were nothing special, is the same one. Whether there is such a
    /// member is not looked at.
    ///
    /// # Errors
    /// As [`Name::parse`], for the part behind the dot as well.
    pub fn parse_dotted(text: &'a str) -> Result<Self, Problem> {
        let Some((member, param)) = text.split_once('.') else { return Self::parse(text) };
        if text.starts_with('_') {
            return Self::modifier_of_dotted(text);
        }
        let inner = Self::parse(param)?;
        if !member.is_empty() {
            check(member)?;
        }
        let base = match inner.hole {
            None => Cow::Borrowed(text),
            Some(_) => Cow::Owned(format!("{member}.{}", inner.base)),
        };
        Ok(Self { base, hole: inner.hole })
    }

    /// `_p1.title`.
    fn modifier_of_dotted(text: &'a str) -> Result<Self, Problem> {
        let (base, hole) = split(text);
        let (member, param) = base.split_once('.').ok_or(Problem::BadName)?;
        if param == TOKEN {
            return Err(Problem::Reserved);
        }
        check(member).and(check(param))?;
        Ok(Self { base: Cow::Borrowed(base), hole })
    }

    /// The member addressed and the name behind the dot.
    pub fn split_member(&self) -> Option<(&str, Name<'a>)> {
        let dot = self.base.find('.')?;
        let rest = match &self.base {
            Cow::Borrowed(base) => Cow::Borrowed(&base[dot + 1..]),
            Cow::Owned(base) => Cow::Owned(base[dot + 1..].to_owned()),
        };
        Some((&self.base[..dot], Name { base: rest, hole: self.hole }))
    }

    /// Whether `spelling` is to be preferred to `other` when one layer gives this name in both spellings: the full one
    /// to the short one, among those with leading zeros the one with fewer, and `p1._title` to `_p1.title`.
    pub fn prefers(&self, spelling: &str, other: &str) -> bool {
        // A short spelling has just the `_` more than the base; a full one has a number as well.
        let key = |text: &str| (text.len() <= self.base.len() + 1, text.len(), text.starts_with('_'));
        self.hole.is_some() && key(spelling) < key(other)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.hole, self.base.split_once('.')) {
            (None, _) => f.write_str(&self.base),
            (Some(hole), None) => write!(f, "_{}_{hole}", self.base),
            (Some(hole), Some((member, param))) => write!(f, "{member}._{param}_{hole}"),
        }
    }
}

/// The ordinary name, or the target and the number of a modifier.
fn split(text: &str) -> (&str, Option<u32>) {
    let Some(body) = text.strip_prefix('_') else { return (text, None) };
    if let Some((base, digits)) = body.rsplit_once('_')
        && !base.is_empty()
        && let Some(hole) = number(digits)
    {
        return (base, Some(hole));
    }
    (body, Some(0))
}

/// A run of digits that fits; `str::parse` alone would take a sign too.
fn number(digits: &str) -> Option<u32> {
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Whether text can be a parameter's name.
fn check(base: &str) -> Result<(), Problem> {
    let fits = !base.is_empty() && base.chars().count() <= MAX_NAME && !base.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Problem::BadName) }
}

/// The placeholders of a text, each as its first byte, the byte behind it, and its number.
pub fn holes(text: &str) -> impl Iterator<Item = (usize, usize, u32)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + text[at..].find('<')?;
            at = start + 1;
            let Some(rest) = text[at..].strip_prefix('_') else { continue };
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !rest[digits..].starts_with('>') {
                continue;
            }
            let Ok(hole) = rest[..digits].parse::<u32>() else { continue };
            at = start + digits + 3;
            return Some((start, at, hole));
        }
    })
}

/// Puts the texts given in place of the placeholders; those without a text stay as they are.
///
/// # Errors
/// `TooLarge` if the result would have more than `limit` bytes: a short text can name one placeholder thousands of times.
pub fn fill<T: AsRef<str>>(text: &str, fills: &[(u32, T)], limit: usize) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, end, hole) in holes(text) {
        let Some((_, insert)) = fills.iter().find(|(number, _)| *number == hole) else { continue };
        out.push_str(&text[copied..start]);
        out.push_str(insert.as_ref());
        copied = end;
        if out.len() > limit {
            return Err(Problem::TooLarge(limit));
        }
    }
    out.push_str(&text[copied..]);
    if out.len() > limit { Err(Problem::TooLarge(limit)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<u32>) {
        let name = Name::parse(text).expect("a name");
        (name.base.into_owned(), name.hole)
    }

    #[test]
    fn a_modifier_is_a_target_and_a_number() {
        for (text, base, hole) in [
            ("title", "title", None),
            ("title_1", "title_1", None),
            ("a.b", "a.b", None),
            ("中文", "中文", None),
            ("_title", "title", Some(0)),
            ("_title_0", "title", Some(0)),
            ("_title_00", "title", Some(0)),
            ("_title_1", "title", Some(1)),
            ("_title_4294967295", "title", Some(u32::MAX)),
            ("_title_4294967296", "title_4294967296", Some(0)),
            ("_title_", "title_", Some(0)),
            ("_title_+1", "title_+1", Some(0)),
            ("_title_1_2", "title_1", Some(2)),
            ("_1", "1", Some(0)),
            ("_1_0", "1", Some(0)),
            ("__1", "_1", Some(0)),
            ("_token_0", "token", Some(0)),
        ] {
            assert_eq!(parsed(text), (base.to_owned(), hole), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_name() {
        let long = "a".repeat(65);
        for text in ["", "_", "a\nb", "a\0", long.as_str(), "_a\t_1"] {
            assert_eq!(Name::parse(text), Err(Problem::BadName), "{text:?}");
        }
        assert_eq!(Name::parse("_token"), Err(Problem::Reserved));
        let longest = "é".repeat(64);
        assert!(Name::parse(&longest).is_ok());
        assert!(Name::parse(&format!("_{longest}_12")).is_ok());
    }

    #[test]
    fn a_dotted_modifier_names_the_dotted_parameter() {
        let name = Name::parse_dotted("p1._title").expect("a name");
        assert_eq!((name.base.as_ref(), name.hole), ("p1.title", Some(0)));
        assert_eq!(name.to_string(), "p1._title_0");
        let (member, inner) = name.split_member().expect("dotted");
        assert_eq!((member, inner.to_string().as_str()), ("p1", "_title_0"));
        assert_eq!(Name::parse_dotted("p1.a.b").expect("a name").to_string(), "p1.a.b");
        for text in ["p1.", "p1._"] {
            assert_eq!(Name::parse_dotted(text), Err(Problem::BadName), "{text}");
        }
        assert_eq!(Name::parse_dotted("p1._token"), Err(Problem::Reserved));
        for (text, same) in [("_p1.title", "p1._title"), ("_p1.title_7", "p1._title_7"), ("_p1.a.b_1", "p1._a.b_1")] {
            assert_eq!(Name::parse_dotted(text), Name::parse_dotted(same), "{text}");
        }
        for text in ["_.title", "_p1.", "_."] {
            assert_eq!(Name::parse_dotted(text), Err(Problem::BadName), "{text}");
        }
        assert_eq!(Name::parse_dotted("_p1._token"), Err(Problem::Reserved));
    }

    #[test]
    fn the_full_spelling_is_preferred() {
        let name = Name::parse("_title").expect("a name");
        assert!(name.prefers("_title_0", "_title"));
        assert!(name.prefers("_title_00", "_title"));
        assert!(name.prefers("_title_0", "_title_00"));
        assert!(!name.prefers("_title", "_title_0"));
        assert!(!name.prefers("_title", "_title"));
    }

    #[test]
    fn placeholders_are_digits_between_angle_and_underscore() {
        let found = |text| holes(text).collect::<Vec<_>>();
        assert_eq!(found("a<_0>b<_12>"), [(1, 5, 0), (6, 11, 12)]);
        assert_eq!(found("<<_1>>"), [(1, 5, 1)]);
        assert_eq!(found("<_<_2>"), [(2, 6, 2)]);
        assert_eq!(found("<_007>"), [(0, 6, 7)]);
        assert_eq!(found("é<_1>"), [(2, 6, 1)]);
        for none in ["", "<", "<_", "<_>", "<_a>", "<_1", "< _1>", "<_ 1>", "<_-1>", "<_4294967296>", "<0>"] {
            assert_eq!(found(none), [], "{none}");
        }
    }

    #[test]
    fn filling_leaves_the_rest_and_never_scans_what_it_inserted() {
        assert_eq!(fill("<_0> and <_1>", &[(0, "<_1>")], 100), Ok("<_1> and <_1>".to_owned()));
        assert_eq!(fill("<_0><_0>", &[(0, "x")], 100), Ok("xx".to_owned()));
        assert_eq!(fill("none", &[(0, "x")], 100), Ok("none".to_owned()));
        assert_eq!(fill("<_0><_0>", &[(0, "abc")], 6), Ok("abcabc".to_owned()));
        assert_eq!(fill("<_0><_0>", &[(0, "abc")], 5), Err(Problem::TooLarge(5)));
    }
}
