//! Writes a stream of marks in the markup that a channel shows.

use super::{Mark, Tag, escape_angles, is_safe_link};

/// Deepest quote or list that is shown as deep as it is; without a bound the lines would outgrow the message.
const MAX_DEPTH: usize = 8;

/// The markups that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Text,
    Markdown,
    /// Slack's mrkdwn.
    Slack,
    /// The few HTML elements that Telegram takes.
    Telegram,
}

/// Collects the text of one message.
pub struct Writer {
    target: Target,
    out: String,
    /// Line ends that stand before whatever comes next.
    gap: usize,
    /// The next line end breaks a line within a paragraph, which Markdown marks by two spaces.
    hard: bool,
    /// The number of the next item of each open list.
    lists: Vec<Option<u64>>,
    quotes: usize,
    pre: usize,
    /// An item's bullet has just been written: its first paragraph stays on that line.
    fresh_item: bool,
    /// Where the text of each open link begins, and where that leads.
    links: Vec<(usize, String)>,
    bold: usize,
}

impl Writer {
    pub fn new(target: Target) -> Self {
        Self {
            target,
            out: String::new(),
            gap: 0,
            hard: false,
            lists: Vec::new(),
            quotes: 0,
            pre: 0,
            fresh_item: false,
            links: Vec::new(),
            bold: 0,
        }
    }

    pub fn finish(self) -> String {
        self.out.trim().to_owned()
    }

    pub fn mark(&mut self, mark: Mark<'_>) {
        match mark {
            Mark::Text(text) => self.text(&text),
            Mark::Open(tag) => self.open(&tag),
            Mark::Close(tag) => self.close(&tag),
            Mark::Break => {
                self.end_line(1);
                self.hard = self.target == Target::Markdown;
            }
            Mark::Rule => {
                self.end_line(2);
                self.raw("---");
                self.end_line(2);
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.pre > 0 {
            let lines = text.split('\n').map(|line| self.escaped(line)).collect::<Vec<_>>();
            let prefix = format!("\n{}", self.line_prefix());
            return self.raw(&lines.join(&prefix));
        }
        let at_start = self.gap > 0 || self.out.is_empty() || self.out.ends_with(['\n', ' ']);
        let text = if at_start { text.trim_start_matches(' ') } else { text };
        if !text.is_empty() {
            let escaped = self.escaped(text);
            self.raw(&escaped);
        }
    }

    /// Writes as it is, after the line ends that are due.
    fn raw(&mut self, text: &str) {
        if self.gap > 0 {
            if !self.out.is_empty() {
                let kept = self.out.trim_end_matches(' ').len();
                self.out.truncate(kept);
                if self.hard && self.gap == 1 {
                    self.out.push_str("  ");
                }
                let prefix = self.line_prefix();
                for _ in 0..self.gap {
                    self.out.push('\n');
                    self.out.push_str(&prefix);
                }
            }
            self.gap = 0;
        }
        self.hard = false;
        self.fresh_item = false;
        self.out.push_str(text);
    }

    fn line_prefix(&self) -> String {
        let quote = if self.target == Target::Telegram { "" } else { "> " };
        quote.repeat(self.quotes.min(MAX_DEPTH)) + &"  ".repeat(self.lists.len().saturating_sub(1).min(MAX_DEPTH))
    }

    fn end_line(&mut self, lines: usize) {
        if !self.fresh_item {
            self.gap = self.gap.max(lines);
        }
    }

    /// How far apart blocks stand: close together within a list.
    fn block(&mut self) {
        self.end_line(if self.lists.is_empty() { 2 } else { 1 });
    }

    fn open(&mut self, tag: &Tag) {
        match tag {
            Tag::Block => self.block(),
            Tag::Line => self.end_line(1),
            Tag::List(start) => {
                self.block();
                self.lists.push(*start);
                self.fresh_item = false;
                self.gap = self.gap.max(1);
            }
            Tag::Item => self.item(),
            Tag::Quote => self.open_quote(),
            Tag::Heading(level) => {
                self.block();
                match self.target {
                    Target::Markdown => self.raw(&format!("{} ", "#".repeat(*level))),
                    _ => self.open_bold(),
                }
            }
            Tag::Bold => self.open_bold(),
            Tag::Link(url) => self.open_link(url),
            Tag::Pre => {
                self.block();
                self.pre += 1;
                self.raw(self.signs(tag).0);
            }
            // Code within `pre` has its marks already.
            Tag::Code if self.pre > 0 => {}
            Tag::Italic | Tag::Strike | Tag::Underline | Tag::Code => self.raw(self.signs(tag).0),
        }
    }

    fn close(&mut self, tag: &Tag) {
        match tag {
            Tag::Block => self.block(),
            Tag::Line | Tag::Item => {
                self.fresh_item = false;
                self.end_line(1);
            }
            Tag::List(_) => {
                self.lists.pop();
                self.fresh_item = false;
                self.block();
            }
            Tag::Quote => self.close_quote(),
            Tag::Heading(_) => {
                if self.target != Target::Markdown {
                    self.close_bold();
                }
                self.block();
            }
            Tag::Bold => self.close_bold(),
            Tag::Link(_) => self.close_link(),
            Tag::Pre => {
                let ends = self.out.trim_end_matches('\n').len();
                self.out.truncate(ends);
                self.out.push_str(self.signs(tag).1);
                self.pre = self.pre.saturating_sub(1);
                self.block();
            }
            Tag::Code if self.pre > 0 => {}
            Tag::Italic | Tag::Strike | Tag::Underline | Tag::Code => self.out.push_str(self.signs(tag).1),
        }
    }

    fn open_quote(&mut self) {
        self.block();
        self.raw("");
        match self.target {
            // Telegram knows no quote within a quote.
            Target::Telegram if self.quotes == 0 => self.out.push_str("<blockquote>"),
            Target::Telegram => {}
            _ if self.quotes < MAX_DEPTH => self.out.push_str("> "),
            _ => {}
        }
        self.quotes += 1;
        self.fresh_item = true;
    }

    fn close_quote(&mut self) {
        self.quotes = self.quotes.saturating_sub(1);
        if self.target == Target::Telegram && self.quotes == 0 {
            self.gap = 0;
            self.out.push_str("</blockquote>");
        }
        self.fresh_item = false;
        self.block();
    }

    fn item(&mut self) {
        self.fresh_item = false;
        self.end_line(1);
        let bullet = match self.lists.last_mut() {
            Some(Some(number)) => {
                let bullet = format!("{number}. ");
                *number = number.saturating_add(1);
                bullet
            }
            _ if self.target == Target::Text || self.target == Target::Markdown => "- ".to_owned(),
            _ => "• ".to_owned(),
        };
        self.raw(&bullet);
        self.fresh_item = true;
    }

    fn open_bold(&mut self) {
        if self.bold == 0 {
            self.raw(self.signs(&Tag::Bold).0);
        }
        self.bold += 1;
    }

    fn close_bold(&mut self) {
        self.bold = self.bold.saturating_sub(1);
        if self.bold == 0 {
            self.out.push_str(self.signs(&Tag::Bold).1);
        }
    }

    fn open_link(&mut self, url: &str) {
        let url = if is_safe_link(url) { url.replace(['<', '>', '|', ' ', '\n'], "") } else { String::new() };
        if !url.is_empty() {
            match self.target {
                Target::Text => self.raw(""),
                Target::Markdown => self.raw("["),
                Target::Slack => self.raw(&format!("<{}|", escape_angles(&url))),
                Target::Telegram => self.raw(&format!("<a href=\"{}\">", escape_angles(&url).replace('"', "&quot;"))),
            }
        }
        self.links.push((self.out.len(), url));
    }

    fn close_link(&mut self) {
        let Some((begin, url)) = self.links.pop() else { return };
        if url.is_empty() {
            return;
        }
        let shown = self.out.get(begin..).unwrap_or_default().trim().to_owned();
        if shown.is_empty() {
            let text = self.escaped(&url);
            self.out.push_str(&text);
        }
        match self.target {
            Target::Text if shown.is_empty() || shown == url => {}
            Target::Text => self.out.push_str(&format!(" ({url})")),
            Target::Markdown => self.out.push_str(&format!("]({})", url.replace(')', "%29"))),
            Target::Slack => self.out.push('>'),
            Target::Telegram => self.out.push_str("</a>"),
        }
    }

    /// What stands before and after.
    fn signs(&self, tag: &Tag) -> (&'static str, &'static str) {
        match (self.target, tag) {
            (Target::Markdown, Tag::Bold) => ("**", "**"),
            (Target::Markdown, Tag::Italic) => ("*", "*"),
            (Target::Markdown, Tag::Strike) => ("~~", "~~"),
            (Target::Slack, Tag::Bold) => ("*", "*"),
            (Target::Slack, Tag::Italic) => ("_", "_"),
            (Target::Slack, Tag::Strike) => ("~", "~"),
            (Target::Markdown | Target::Slack, Tag::Code) => ("`", "`"),
            (Target::Markdown | Target::Slack, Tag::Pre) => ("```\n", "\n```"),
            (Target::Telegram, Tag::Bold) => ("<b>", "</b>"),
            (Target::Telegram, Tag::Italic) => ("<i>", "</i>"),
            (Target::Telegram, Tag::Strike) => ("<s>", "</s>"),
            (Target::Telegram, Tag::Underline) => ("<u>", "</u>"),
            (Target::Telegram, Tag::Code) => ("<code>", "</code>"),
            (Target::Telegram, Tag::Pre) => ("<pre>", "</pre>"),
            _ => ("", ""),
        }
    }

    fn escaped(&self, text: &str) -> String {
        match self.target {
            Target::Text | Target::Markdown => text.to_owned(),
            Target::Slack | Target::Telegram => escape_angles(text),
        }
    }
}
