//! The functions that a template may call: pure, bounded, and listed in one table with what they take.
//! None reads a file, the network, the environment, the clock or a random source: time and random bits come in.

mod digest;
mod logic;
mod markup;
mod text;
mod time;

use std::borrow::Cow;
use std::fmt;

use regex::Regex;
use serde_json::Value;

use super::RenderEnv;
use super::template::{Call, Expr};

pub use digest::hmac_sha256;
pub use logic::is_truthy;
pub use text::{RESERVED, as_text, percent_encode};

/// Most bytes that one leaf, or the result of one helper, may have.
pub const MAX_OUTPUT: usize = 1024 * 1024;

/// Why a helper cannot do its work. Never holds a parameter's value.
pub type Reason = Cow<'static, str>;
/// What a helper gives.
pub type Given = Result<Value, Reason>;

/// A function that templates may call.
pub struct Helper {
    pub name: &'static str,
    /// Fewest arguments.
    pub min: usize,
    /// Most arguments; `None` is any number.
    pub max: Option<usize>,
    /// The `name=value` options that it knows.
    pub options: &'static [&'static str],
    /// Does the work.
    pub run: fn(&Args<'_>) -> Given,
    /// Looks at literal arguments when a definition is loaded.
    pub check: fn(&mut Call) -> Result<(), String>,
    /// Its result holds none of its arguments' text as it was given, at most a part that a literal pattern allows.
    pub tames: Tames,
}

/// Which arguments a helper does not let through unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tames {
    None,
    First,
    All,
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Helper {
    const fn new(name: &'static str, min: usize, max: Option<usize>, run: fn(&Args<'_>) -> Given) -> Self {
        Self { name, min, max, options: &[], run, check: |_| Ok(()), tames: Tames::None }
    }

    const fn options(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    const fn check(mut self, check: fn(&mut Call) -> Result<(), String>) -> Self {
        self.check = check;
        self
    }

    const fn tame(mut self, tames: Tames) -> Self {
        self.tames = tames;
        self
    }

    /// Whether the argument at `index` cannot reach the result unchanged.
    pub fn tames(&self, index: usize) -> bool {
        match self.tames {
            Tames::None => false,
            Tames::First => index == 0,
            Tames::All => true,
        }
    }

    /// How many arguments it takes, in words.
    pub fn arity(&self) -> String {
        match (self.min, self.max) {
            (min, Some(max)) if min == max => format!("{min} arguments"),
            (min, Some(max)) => format!("{min} to {max} arguments"),
            (min, None) => format!("at least {min} arguments"),
        }
    }
}

/// The arguments of one call, evaluated.
pub struct Args<'a> {
    pub values: &'a [Cow<'a, Value>],
    pub options: &'a [(&'a str, Cow<'a, Value>)],
    pub regex: Option<&'a Regex>,
    pub env: &'a RenderEnv<'a>,
}

impl Args<'_> {
    /// The argument at `index`, or null.
    fn value(&self, index: usize) -> &Value {
        self.values.get(index).map_or(&Value::Null, |value| value.as_ref())
    }

    /// The argument at `index` as text; empty if absent.
    fn text(&self, index: usize) -> Cow<'_, str> {
        as_text(self.value(index))
    }

    /// The argument at `index` as a count.
    fn count(&self, index: usize) -> Result<usize, Reason> {
        let value = self.value(index);
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        number.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| "an argument is not a count".into())
    }

    /// An option as text, or what stands for it.
    fn option<'b>(&'b self, name: &str, otherwise: &'b str) -> Cow<'b, str> {
        match self.options.iter().find(|(option, _)| *option == name) {
            Some((_, value)) => as_text(value),
            None => Cow::Borrowed(otherwise),
        }
    }
}

/// The helper of that name.
pub fn find(name: &str) -> Option<&'static Helper> {
    tables().find(|helper| helper.name == name)
}

/// Whether a parameter must not have this name, because a template could not tell the two apart.
pub fn is_reserved(name: &str) -> bool {
    find(name).is_some() || matches!(name, "if" | "unless" | "else" | "this" | "null" | "true" | "false" | "as")
}

/// Runs a helper and bounds what it gives.
pub fn run(helper: &Helper, args: &Args<'_>) -> Given {
    let value = (helper.run)(args)?;
    match &value {
        Value::String(text) if text.len() > MAX_OUTPUT => Err(format!("`{}` gives too much text", helper.name).into()),
        _ => Ok(value),
    }
}

fn tables() -> impl Iterator<Item = &'static Helper> {
    [logic::TABLE, text::TABLE, digest::TABLE, time::TABLE, markup::TABLE].into_iter().flatten()
}

/// The literal text at `index`, for checks at load.
fn literal(call: &Call, index: usize) -> Option<&str> {
    match call.args.get(index) {
        Some(Expr::Literal(Value::String(text))) => Some(text),
        _ => None,
    }
}

/// Demands that the argument at `index`, if given, is one of these words.
fn check_word(call: &Call, index: usize, words: &[&str]) -> Result<(), String> {
    match literal(call, index) {
        _ if index >= call.args.len() => Ok(()),
        Some(word) if words.contains(&word) => Ok(()),
        _ => Err(format!("argument {} must be one of {}", index + 1, words.join(", "))),
    }
}

/// Demands that an option, if given, is one of these words.
fn check_option(call: &Call, name: &str, words: &[&str]) -> Result<(), String> {
    match call.options.iter().find(|(option, _)| option == name) {
        None => Ok(()),
        Some((_, Expr::Literal(Value::String(word)))) if words.contains(&word.as_str()) => Ok(()),
        Some(_) => Err(format!("option `{name}` must be one of {}", words.join(", "))),
    }
}
