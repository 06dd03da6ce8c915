//! Conversions between the ways in which a message is written (text, Markdown, HTML) and those that channels show.
//! Markup is read into a stream of marks, and each target writes that stream; nothing is fetched or run.

mod escape;
mod html;
mod markdown;
mod write;

use std::borrow::Cow;

use super::text::escape as escape_html;
use super::{Args, Given, Helper};
use escape::escape_markdown;
use write::{Target, Writer};

/// The helpers of this file.
pub const TABLE: &[Helper] = &[
    Helper::new("md_to_html", 1, Some(1), |args| Ok(markdown::to_html(&args.text(0)).into())),
    Helper::new("md_to_text", 1, Some(1), |args| Ok(from_markdown(&args.text(0), Target::Text).into())),
    Helper::new("md_to_slack", 1, Some(1), |args| Ok(from_markdown(&args.text(0), Target::Slack).into())),
    Helper::new("md_to_telegram", 1, Some(1), |args| Ok(from_markdown(&args.text(0), Target::Telegram).into())),
    Helper::new("html_to_text", 1, Some(1), |args| Ok(from_html(&args.text(0), Target::Text).into())),
    Helper::new("html_to_markdown", 1, Some(1), |args| Ok(from_html(&args.text(0), Target::Markdown).into())),
    Helper::new("as_text", 1, Some(2), |args| by_format(args, |text| text.to_owned(), Target::Text)),
    Helper::new("as_markdown", 1, Some(2), as_markdown).options(&["breaks", "escape"]),
    Helper::new("escape_markdown", 1, Some(1), |args| by_format(args, escape_markdown, Target::Text)),
    Helper::new("as_slack", 1, Some(2), |args| by_format(args, escape_angles, Target::Slack)),
    Helper::new("as_telegram", 1, Some(2), as_telegram).options(&["most"]),
    Helper::new("as_html", 1, Some(2), as_html),
];

/// A part of a message.
#[derive(Debug, PartialEq)]
pub enum Mark<'a> {
    Text(Cow<'a, str>),
    Open(Tag),
    Close(Tag),
    /// A new line within a paragraph.
    Break,
    /// A line across.
    Rule,
}

/// What a part of a message is.
#[derive(Debug, Clone, PartialEq)]
pub enum Tag {
    Bold,
    Italic,
    Strike,
    Underline,
    Code,
    /// Lines that keep their spaces.
    Pre,
    Link(String),
    Quote,
    Heading(usize),
    /// A paragraph, or anything else that stands on lines of its own.
    Block,
    /// A row of a table, and the like: a line of its own, without space around it.
    Line,
    /// A list; numbered from the number given.
    List(Option<u64>),
    Item,
}

/// Whether a link may be shown as one: an absolute address of a kind that opens nothing but a page, a mail or a call.
pub fn is_safe_link(url: &str) -> bool {
    let begin = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    ["http://", "https://", "mailto:", "tel:"].iter().any(|scheme| begin.starts_with(scheme))
}

fn from_markdown(source: &str, target: Target) -> String {
    let mut writer = Writer::new(target);
    markdown::read(source, &mut |mark| writer.mark(mark));
    writer.finish()
}

fn from_html(source: &str, target: Target) -> String {
    let mut writer = Writer::new(target);
    html::read(source, &mut |mark| writer.mark(mark));
    writer.finish()
}

/// Only `& < >`, as Slack and Telegram ask.
fn escape_angles(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `as_… content format`: null stays null, so that the leaf is left out.
fn by_format(args: &Args<'_>, plain: impl Fn(&str) -> String, target: Target) -> Given {
    if args.value(0).is_null() {
        return Ok(serde_json::Value::Null);
    }
    let source = args.text(0);
    Ok(match args.text(1).as_ref() {
        "markdown" => from_markdown(&source, target),
        "html" => from_html(&source, target),
        _ => plain(&source),
    }
    .into())
}

/// With `most`, cut so that no more UTF-16 units are shown: tags are not, and an entity is what it stands for. The source is
/// cut, so that no tag is cut in two.
fn as_telegram(args: &Args<'_>) -> Given {
    let given = by_format(args, escape_angles, Target::Telegram)?;
    let option = args.option("most", "");
    let Ok(most) = option.trim().parse::<usize>() else { return Ok(given) };
    if given.as_str().is_none_or(|html| shown(html) <= most) {
        return Ok(given);
    }
    let source = args.text(0);
    let format = args.text(1);
    let ends: Vec<usize> = source.char_indices().map(|(at, _)| at).collect();
    // Some of what is left of a list or a table may be longer than the same part of the whole, so each length is tried.
    let (mut fits, mut fails, mut best) = (0, ends.len(), String::new());
    while fails - fits > 1 {
        let middle = usize::midpoint(fits, fails);
        let cut = format!("{}…", source[..ends[middle]].trim_end());
        let html = match format.as_ref() {
            "markdown" => from_markdown(&cut, Target::Telegram),
            "html" => from_html(&cut, Target::Telegram),
            _ => escape_angles(&cut),
        };
        if shown(&html) <= most {
            (fits, best) = (middle, html);
        } else {
            fails = middle;
        }
    }
    Ok(best.into())
}

/// The UTF-16 units of a text in HTML of which tags are no part, and each entity is one.
fn shown(html: &str) -> usize {
    let (mut count, mut skipped_until) = (0, None);
    for c in html.chars() {
        match (skipped_until, c) {
            (Some(end), c) if c == end => {
                count += usize::from(end == ';');
                skipped_until = None;
            }
            (Some(_), _) => {}
            (None, '<') => skipped_until = Some('>'),
            (None, '&') => skipped_until = Some(';'),
            (None, c) => count += c.len_utf16(),
        }
    }
    count
}

/// Text and Markdown stay as they are. Where a text is shown as Markdown as well, `escape=true` keeps its signs, and
/// `breaks=true` makes each new line a paragraph.
fn as_markdown(args: &Args<'_>) -> Given {
    if args.text(1) == "markdown" {
        return Ok(args.value(0).clone());
    }
    let asked = |option| args.option(option, "false") == "true";
    let (escape, breaks) = (asked("escape"), asked("breaks"));
    let plain = |text: &str| {
        let text = if escape { escape_markdown(text) } else { text.to_owned() };
        if breaks { paragraphs(&text) } else { text }
    };
    by_format(args, plain, Target::Markdown)
}

/// Each line as a paragraph; the spaces that it begins with would make it a block of code.
fn paragraphs(text: &str) -> String {
    let line = |line: &str| {
        let rest = line.trim_start_matches([' ', '\t']);
        let width: usize = line[..line.len() - rest.len()].chars().map(|c| if c == '\t' { 4 } else { 1 }).sum();
        format!("{}{rest}", "\u{a0}".repeat(width))
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n\n")
}

/// HTML stays as it is; a text is escaped and keeps its lines.
fn as_html(args: &Args<'_>) -> Given {
    if args.value(0).is_null() {
        return Ok(serde_json::Value::Null);
    }
    let source = args.text(0);
    Ok(match args.text(1).as_ref() {
        "html" => source.into_owned(),
        "markdown" => markdown::to_html(&source),
        _ => escape_html(&source, "&#39;").replace('\n', "<br>\n"),
    }
    .into())
}
