//! Mail addresses as people write them, with a name before them or without. What is taken here is what the sender of
//! mails takes, and a test beside that holds the two together: nothing is queued that could not be sent, and nothing is
//! refused that could.

/// Longest user, in bytes.
const MAX_USER: usize = 64;
/// Longest host, in bytes.
const MAX_HOST: usize = 254;
/// Longest part of a host, in bytes.
const MAX_LABEL: usize = 63;

/// The host of `user@host`, `Some Name <user@host>` or `"Name, Some" <user@host>`; `None` if the text is nothing of the
/// kind.
pub fn host(text: &str) -> Option<&str> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let text = text.trim();
    let named = after_name(text).trim_start_matches(' ').strip_prefix('<');
    match named {
        Some(rest) => address(rest.strip_suffix('>')?),
        None => address(text),
    }
}

/// Whether the text is an address that a mail can be sent to.
pub fn is_mailbox(text: &str) -> bool {
    host(text).is_some()
}

/// A host as it is called where only ASCII is understood; `None` for one that no name can stand for.
pub fn ascii_host(host: &str) -> Option<String> {
    idna::domain_to_ascii(host).ok().filter(|ascii| !ascii.is_empty())
}

/// The text on one line, as it is to stand in a header: control characters become spaces.
pub fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// What follows a name: words, quoted texts and, but for the beginning, dots.
fn after_name(text: &str) -> &str {
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches(' ');
        let after = match next.chars().next() {
            Some('"') => quoted(next).map(|(_, after)| after),
            Some('.') if rest.len() < text.len() => Some(&next[1..]),
            Some(c) if is_in_word(c) => Some(next.trim_start_matches(is_in_word)),
            _ => None,
        };
        match after {
            Some(after) => rest = after,
            None => return rest,
        }
    }
}

/// `user@host`, where quotes around the user are allowed and not needed. Gives the host.
fn address(text: &str) -> Option<&str> {
    let user;
    let rest = if text.starts_with('"') {
        let (inside, rest) = quoted(text)?;
        user = inside;
        rest
    } else {
        let text = text.trim_start_matches(' ');
        let end = text.find('@')?;
        user = text[..end].to_owned();
        &text[end..]
    };
    let host = rest.strip_prefix('@')?.trim_start_matches(' ');
    (is_user(&user) && host.chars().all(|c| c == '.' || is_in_word(c)) && is_host(host)).then_some(host)
}

/// What stands between quotes, and what follows them. A backslash takes away the meaning of what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((inside, &text[at + 2..])),
            '\\' => inside.push(chars.next().map(|(_, c)| c).filter(char::is_ascii)?),
            c => inside.push(c),
        }
    }
    None
}

/// What a word of a name, a user or a host may be written with.
fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

/// The same, of what is addressed itself: letters and digits of any script, but nothing else outside of ASCII.
fn is_in_label(c: char) -> bool {
    is_in_word(c) && (c.is_ascii() || c.is_alphanumeric())
}

fn is_user(user: &str) -> bool {
    user.len() <= MAX_USER && user.split('.').all(|part| !part.is_empty() && part.chars().all(is_in_label))
}

/// A host under its own name, or under the one that stands for it in ASCII.
fn is_host(host: &str) -> bool {
    is_plain_host(host) || ascii_host(host).is_some_and(|ascii| is_plain_host(&ascii))
}

fn is_plain_host(host: &str) -> bool {
    let is_label = |label: &str| {
        label.len() <= MAX_LABEL
            && label.starts_with(char::is_alphanumeric)
            && label.ends_with(char::is_alphanumeric)
            && label.chars().all(is_in_label)
    };
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_found() {
        for (text, expected) in [
            ("ann@example.org", "example.org"),
            (" Ann.B+tag@localhost ", "localhost"),
            ("<ann@example.org>", "example.org"),
            ("Ann B. <ann@example.org>", "example.org"),
            ("李 <b@example.com>", "example.com"),
            ("\"Doe, Jo \\\"x\\\" <y@z>\" <jo@example.org>", "example.org"),
            ("Ann < ann@ example.org>", "example.org"),
            ("\"ann\"@example.org", "example.org"),
            ("李@例子.测试", "例子.测试"),
            ("x@💩.example", "💩.example"),
            ("x@10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(host(text).unwrap_or_default(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_has_none() {
        let long = format!("{}@example.org", "a".repeat(65));
        let label = format!("a@{}", "a".repeat(64));
        for text in [
            "",
            " ",
            "ann",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a @b",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a@-b",
            "a@b-",
            "a@[10.0.0.1]",
            "a@b, c@d",
            "a@b\nc",
            "Doe, Jo <a@b>",
            "Jo: <a@b>",
            ".Jo <a@b>",
            "\"Jo <a@b>",
            "\"Jo\\é\" <a@b>",
            "Jo <a@b> <c@d>",
            "Jo <a@b> x",
            "Jo <a@b",
            "Jo a@b>",
            "<a@b>>",
            "\"a b\"@c",
            "💩@b",
            &long,
            &label,
        ] {
            assert_eq!(host(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_host_has_a_name_in_ascii() {
        for (host, expected) in [
            ("Example.org", Some("example.org")),
            ("例子.测试", Some("xn--fsqu00a.xn--0zwm56d")),
            ("💩.la", Some("xn--ls8h.la")),
            ("xn--a", None),
        ] {
            assert_eq!(ascii_host(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn what_is_put_on_one_line_keeps_its_words() {
        assert_eq!(one_line(" Ann\r\nB\t<a@b>\n"), "Ann  B <a@b>");
    }
}
