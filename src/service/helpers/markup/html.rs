//! Reads HTML as people put it into messages: forgiving, never failing, and without scripts or styles.

use std::borrow::Cow;

use super::{Mark, Tag};

/// Deepest nesting that is followed; what is opened deeper is shown as if it were not marked.
const MAX_OPEN: usize = 64;

/// HTML as marks. Every mark that is opened is closed.
pub fn read<'a>(source: &'a str, emit: &mut dyn FnMut(Mark<'a>)) {
    let mut open: Vec<(String, Tag)> = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let Some(at) = rest.find('<') else {
            text(rest, &open, emit);
            break;
        };
        let Some((element, length)) = element(&rest[at..]) else {
            text(&rest[..=at], &open, emit);
            rest = &rest[at + 1..];
            continue;
        };
        text(&rest[..at], &open, emit);
        rest = &rest[at + length..];
        match element {
            Element::Nothing => {}
            Element::Close(name) => close(&name, &mut open, emit),
            Element::Open(name, _) if matches!(name.as_str(), "script" | "style" | "head" | "title") => {
                rest = after_close(rest, &name);
            }
            Element::Open(name, attributes) => begin(name, attributes, &mut open, emit),
        }
    }
    while let Some((_, tag)) = open.pop() {
        emit(Mark::Close(tag));
    }
}

enum Element<'a> {
    Open(String, &'a str),
    Close(String),
    /// A comment or a declaration.
    Nothing,
}

/// The element at the beginning of the text, and its length; None if that is not one.
fn element(text: &str) -> Option<(Element<'_>, usize)> {
    if text.starts_with("<!--") {
        return Some((Element::Nothing, text.find("-->").map_or(text.len(), |end| end + 3)));
    }
    if text.starts_with("<!") || text.starts_with("<?") {
        let declares = text[2..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '[');
        return declares.then(|| (Element::Nothing, text.find('>').map_or(text.len(), |end| end + 1)));
    }
    let closes = text.starts_with("</");
    let name_at = if closes { 2 } else { 1 };
    let body = &text[name_at..];
    let name_end = body.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(body.len());
    if !body.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = tag_end(&body[name_end..])? + name_end;
    let name = body[..name_end].to_ascii_lowercase();
    let element = if closes { Element::Close(name) } else { Element::Open(name, &body[name_end..end]) };
    Some((element, name_at + end + 1))
}

/// Where the `>` is that ends a tag, outside quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '<') => return None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn after_close<'a>(text: &'a str, name: &str) -> &'a str {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let begin = from + at + 2;
        if text[begin..].get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return text[begin..].find('>').map_or("", |end| &text[begin + end + 1..]);
        }
        from = begin;
    }
    ""
}

fn begin<'a>(name: String, attributes: &str, open: &mut Vec<(String, Tag)>, emit: &mut dyn FnMut(Mark<'a>)) {
    match name.as_str() {
        "br" => return emit(Mark::Break),
        "hr" => return emit(Mark::Rule),
        "td" | "th" => return emit(Mark::Text(" ".into())),
        "img" => {
            let tag = Tag::Link(attribute(attributes, "src").unwrap_or_default());
            emit(Mark::Open(tag.clone()));
            emit(Mark::Text(attribute(attributes, "alt").unwrap_or_default().into()));
            return emit(Mark::Close(tag));
        }
        _ => {}
    }
    let Some(tag) = tag_of(&name, attributes) else { return };
    if open.len() < MAX_OPEN && !attributes.ends_with('/') {
        emit(Mark::Open(tag.clone()));
        open.push((name, tag));
    }
}

fn close<'a>(name: &str, open: &mut Vec<(String, Tag)>, emit: &mut dyn FnMut(Mark<'a>)) {
    let Some(at) = open.iter().rposition(|(opened, _)| opened == name) else { return };
    while open.len() > at {
        if let Some((_, tag)) = open.pop() {
            emit(Mark::Close(tag));
        }
    }
}

fn tag_of(name: &str, attributes: &str) -> Option<Tag> {
    Some(match name {
        "b" | "strong" => Tag::Bold,
        "i" | "em" | "cite" => Tag::Italic,
        "s" | "strike" | "del" => Tag::Strike,
        "u" | "ins" => Tag::Underline,
        "code" | "kbd" | "samp" | "tt" => Tag::Code,
        "pre" => Tag::Pre,
        "a" => Tag::Link(attribute(attributes, "href")?),
        "blockquote" => Tag::Quote,
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Tag::Heading(usize::from(name.as_bytes()[1] - b'0')),
        "p" | "table" | "dl" | "figure" => Tag::Block,
        "div" | "tr" | "section" | "article" | "header" | "footer" | "dt" | "dd" => Tag::Line,
        "ul" => Tag::List(None),
        "ol" => Tag::List(Some(attribute(attributes, "start").and_then(|start| start.parse().ok()).unwrap_or(1))),
        "li" => Tag::Item,
        _ => return None,
    })
}

/// The decoded value of an attribute.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let name_end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        if name_end == 0 && !rest.starts_with('=') {
            return None;
        }
        let name = &rest[..name_end];
        let after = rest[name_end..].trim_start();
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (text, tail) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(decode(text).into_owned());
        }
        rest = tail;
    }
}

/// Outside `pre`, any run of spaces and new lines is one space.
fn text<'a>(source: &'a str, open: &[(String, Tag)], emit: &mut dyn FnMut(Mark<'a>)) {
    if source.is_empty() {
        return;
    }
    if open.iter().any(|(_, tag)| *tag == Tag::Pre) {
        return emit(Mark::Text(decode(source)));
    }
    let mut flat = String::with_capacity(source.len());
    for c in source.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if flat.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => flat.push(' '),
            c => flat.push(c),
        }
    }
    emit(Mark::Text(decode(&flat).into_owned().into()));
}

const NAMED: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("bull", "•"),
    ("middot", "·"),
    ("times", "×"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("deg", "°"),
    ("larr", "←"),
    ("rarr", "→"),
    ("check", "✓"),
];

/// Character references to characters; one that is not known stays as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let window = rest.char_indices().take(12).find(|(_, c)| *c == ';').map(|(end, _)| end);
        let found = window.and_then(|end| Some((reference(&rest[1..end])?, end + 1)));
        let (replacement, length) = found.unwrap_or((Cow::Borrowed("&"), 1));
        out.push_str(&replacement);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn reference(name: &str) -> Option<Cow<'static, str>> {
    let Some(number) = name.strip_prefix('#') else {
        return NAMED.iter().find(|(known, _)| *known == name).map(|(_, text)| Cow::Borrowed(*text));
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code).filter(|c| *c != '\0').map(|c| Cow::Owned(c.to_string()))
}
