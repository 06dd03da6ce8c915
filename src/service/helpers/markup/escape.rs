//! A text for where Markdown is shown: signs that would mean something there get a backslash before them, and only those,
//! since previews of a message show backslashes as they are.

/// The same text, as Markdown. Addresses stay whole, so that they can still be followed.
pub fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let link_ends = ["](", "][", "]:"].iter().filter_map(|end| text.rfind(end)).max().unwrap_or(0);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let sign = first_sign(line);
        let mut address_until = 0;
        for (offset, c) in line.char_indices() {
            let rest = &line[offset..];
            if offset >= address_until && (rest.starts_with("https://") || rest.starts_with("http://")) {
                address_until = offset + rest.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(rest.len());
            }
            let before = line[..offset].chars().next_back();
            let after = rest.chars().nth(1).filter(|next| *next != '\n');
            let means = offset >= address_until
                && (sign == Some(offset)
                    || match c {
                        '[' => at + offset < link_ends,
                        '&' => is_entity(rest),
                        _ => is_sign(c, before, after),
                    });
            if means {
                out.push('\\');
            }
            out.push(c);
        }
        at += line.len();
    }
    out
}

/// Where the sign stands that makes a heading, a quote, an item of a list or a rule of a line.
fn first_sign(line: &str) -> Option<usize> {
    let start = line.len() - line.trim_start().len();
    let line = line[start..].trim_end();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
    let ends = |count: usize| line[count..].chars().next().is_none_or(char::is_whitespace);
    let found = match line.bytes().next()? {
        b'#' => hashes <= 6 && ends(hashes),
        b'>' => true,
        // The last is small print in Discord.
        b'-' => ends(1) || line.bytes().all(|byte| byte == b'-') || line.starts_with("-#"),
        b'+' => ends(1),
        b'*' => ends(1),
        b'=' => line.bytes().all(|byte| byte == b'='),
        b'0'..=b'9' if line[digits..].starts_with(['.', ')']) && ends(digits + 1) => return Some(start + digits),
        _ => false,
    };
    found.then_some(start)
}

/// Whether a sign means something between its neighbours, in `CommonMark` or in Discord.
fn is_sign(sign: char, before: Option<char>, after: Option<char>) -> bool {
    let apart = |neighbour: Option<char>| neighbour.is_none_or(char::is_whitespace);
    let in_word = |neighbour: Option<char>| neighbour.is_some_and(|c| c.is_ascii_alphanumeric());
    match sign {
        '`' => true,
        '\\' => after.is_none_or(|next| next.is_ascii_punctuation()),
        '*' | '~' => !(apart(before) && apart(after)),
        '_' => !(apart(before) && apart(after) || in_word(before) && in_word(after)),
        // Hides what stands between two of them in Discord.
        '|' => before == Some('|') || after == Some('|'),
        '<' => after.is_some_and(|next| next.is_ascii_alphabetic() || "/!?@#:&".contains(next)),
        _ => false,
    }
}

/// Whether this begins with a character that is written by its name or number, of which the longest has 31 letters.
fn is_entity(text: &str) -> bool {
    let name = text[1..].bytes().take(32).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#').count();
    name > 0 && text[1 + name..].starts_with(';')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Target, from_markdown};
    use super::escape_markdown;
    use crate::domain::trials::trials;

    #[test]
    fn only_what_would_mean_something_is_escaped() {
        for (text, escaped) in [
            (
                "snake_case_name, 2 * 3, a | b, 5 < 6, R&D, ~ and _",
                "snake_case_name, 2 * 3, a | b, 5 < 6, R&D, ~ and _",
            ),
            ("*.log and *.txt", "\\*.log and \\*.txt"),
            ("__init__.py 中_文_字", "\\_\\_init\\_\\_.py 中\\_文\\_字"),
            ("a || b || c", "a \\|\\| b \\|\\| c"),
            ("run `ls`; ~~x~~", "run \\`ls\\`; \\~\\~x\\~\\~"),
            ("C:\\dir\\*.x \\", "C:\\dir\\\\\\*.x \\\\"),
            ("# one\n#two\n####### three", "\\# one\n#two\n####### three"),
            ("> q\n- a\n+ b\n* c\n-d\n-# e", "\\> q\n\\- a\n\\+ b\n\\* c\n-d\n\\-# e"),
            ("1. a\n22) b\n3.5", "1\\. a\n22\\) b\n3.5"),
            ("a\n---\nb\n===", "a\n\\---\nb\n\\==="),
            ("[INFO] up", "[INFO] up"),
            ("[t](u) [INFO]: x", "\\[t](u) \\[INFO]: x"),
            ("<@1> <b> </b> &lt; <3", "\\<@1> \\<b> \\</b> \\&lt; <3"),
            ("see https://h/a_b__c_*?x=[1](2)&lt; *now*", "see https://h/a_b__c_*?x=[1](2)&lt; \\*now\\*"),
        ] {
            assert_eq!(escape_markdown(text), escaped, "{text:?}");
        }
    }

    /// A text of what Markdown is made of.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = proptest::sample::select(vec![
            "a", "b1", "中", "é", " ", " ", "\n", "*", "**", "_", "__", "`", "```", "~", "~~", "|", "||", "#", "##",
            ">", "-", "---", "+", "=", "===", "1.", "2)", "[", "]", "](", "][", "]:", "(", ")", "<", "<b>", "</b>",
            "<!--", "<@1>", "&", "&amp;", "&#65;", ";", "!", "\\", "\"", "'", ":", ".", "^", "$",
        ]);
        proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
    }

    /// The words of each line that has some: Markdown drops empty lines and the spaces at both ends of a line.
    fn lines(text: &str) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).filter(|line| !line.is_empty()).collect()
    }

    proptest! {
        #![proptest_config(trials(2000))]

        #[test]
        fn a_text_is_shown_as_it_was_written(text in texts()) {
            // Four spaces make a block of code, which Discord does not know.
            let text = text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
            let shown = from_markdown(&escape_markdown(&text), Target::Text);
            prop_assert_eq!(lines(&shown), lines(&text), "{}", escape_markdown(&text));
        }
    }
}
