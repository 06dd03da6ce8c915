//! Reads Markdown. Raw HTML in it is text: it is never passed on as HTML.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag as MdTag, TagEnd, html::push_html};

use super::{Mark, Tag, is_safe_link};

fn events(source: &str) -> impl Iterator<Item = Event<'_>> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    Parser::new_ext(source, options).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(MdTag::HtmlBlock) => Event::Start(MdTag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        // Who writes a message by lines wants to see lines.
        Event::SoftBreak => Event::HardBreak,
        other => other,
    })
}

/// Markdown as HTML: raw HTML escaped, links only of harmless kinds.
pub fn to_html(source: &str) -> String {
    let safe = |url: CowStr<'static>| if is_safe_link(&url) { url } else { CowStr::Borrowed("") };
    let checked = events(source).map(|event| match event {
        Event::Start(MdTag::Link { link_type, dest_url, title, id }) => {
            Event::Start(MdTag::Link { link_type, dest_url: safe(dest_url.into_static()), title, id })
        }
        Event::Start(MdTag::Image { link_type, dest_url, title, id }) => {
            Event::Start(MdTag::Image { link_type, dest_url: safe(dest_url.into_static()), title, id })
        }
        other => other,
    });
    let mut out = String::with_capacity(source.len() * 3 / 2);
    push_html(&mut out, checked);
    out
}

/// Markdown as marks.
pub fn read<'a>(source: &'a str, emit: &mut dyn FnMut(Mark<'a>)) {
    let mut open = Vec::new();
    for event in events(source) {
        match event {
            Event::Start(MdTag::TableCell) => {}
            Event::Start(tag) => {
                let tag = mark_of(&tag);
                if let Some(tag) = &tag {
                    emit(Mark::Open(tag.clone()));
                }
                open.push(tag);
            }
            Event::End(TagEnd::TableCell) => emit(Mark::Text(" ".into())),
            Event::End(_) => {
                if let Some(Some(tag)) = open.pop() {
                    emit(Mark::Close(tag));
                }
            }
            Event::Text(text) => emit(Mark::Text(text.into())),
            Event::Code(text) => {
                emit(Mark::Open(Tag::Code));
                emit(Mark::Text(text.into()));
                emit(Mark::Close(Tag::Code));
            }
            Event::HardBreak => emit(Mark::Break),
            Event::Rule => emit(Mark::Rule),
            _ => {}
        }
    }
}

fn mark_of(tag: &MdTag<'_>) -> Option<Tag> {
    Some(match tag {
        MdTag::Paragraph => Tag::Block,
        MdTag::Heading { level, .. } => Tag::Heading(*level as usize),
        MdTag::BlockQuote(_) => Tag::Quote,
        MdTag::CodeBlock(_) => Tag::Pre,
        MdTag::List(start) => Tag::List(*start),
        MdTag::Item => Tag::Item,
        MdTag::Table(_) => Tag::Block,
        MdTag::TableHead | MdTag::TableRow => Tag::Line,
        MdTag::Emphasis => Tag::Italic,
        MdTag::Strong => Tag::Bold,
        MdTag::Strikethrough => Tag::Strike,
        MdTag::Link { dest_url, .. } | MdTag::Image { dest_url, .. } => Tag::Link(dest_url.to_string()),
        _ => return None,
    })
}
