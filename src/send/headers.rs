//! Headers of mails whose lines would be longer than relays take. The library folds at the spaces between words, but neither
//! within a word nor between addresses without a name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{HeaderName, HeaderValue};

/// No line may be longer, without its end (RFC 5322, 2.1.1).
const LONGEST: usize = 998;
/// What a line should not be longer than.
const USUAL: usize = 78;
/// Bytes of text in one encoded word, which has 75 characters at most (RFC 2047, 2).
const WORD: usize = 45;

/// A mail in which header lines that are too long go on in the next one, wherever there is a space.
pub(super) fn folded(mail: Vec<u8>) -> Vec<u8> {
    let Some(end) = mail.windows(4).position(|four| four == b"\r\n\r\n") else { return mail };
    let (head, rest) = mail.split_at(end);
    if head.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST) {
        return mail;
    }
    let mut folded = Vec::with_capacity(mail.len() + mail.len() / USUAL * 2);
    let mut column = 0;
    for word in head.split_inclusive(|byte| *byte == b' ') {
        // The space begins the next line.
        if column + word.len() > USUAL && folded.last() == Some(&b' ') && column > 1 {
            folded.truncate(folded.len() - 1);
            folded.extend_from_slice(b"\r\n ");
            column = 1;
        }
        folded.extend_from_slice(word);
        column = match word.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => word.len() - at - 1,
            None => column + word.len(),
        };
    }
    folded.extend_from_slice(rest);
    folded
}

/// A text with a word that fits in no line, as encoded words, each in a line of its own; `None` for any other text.
pub(super) fn in_encoded_words(text: &str) -> Option<String> {
    text.split(' ').any(|word| word.len() > LONGEST / 2).then(|| {
        let mut words = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(rest.floor_char_boundary(WORD));
            words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
            rest = after;
        }
        words.join("\r\n ")
    })
}

/// A subject that is encoded already.
pub(super) fn subject(text: String, encoded: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str("Subject"), text, encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_too_long_are_folded() {
        let short = b"To: a@example.org, b@example.org\r\nSubject: s\r\n\r\nbody ".repeat(3);
        assert_eq!(folded(short.clone()), short);
        let many = (0..90).map(|n| format!("person{n}@example.org")).collect::<Vec<_>>().join(", ");
        let text = "x ".repeat(900);
        let mail = format!("From: a@example.org\r\nTo: {many}\r\nSubject: s\r\n\r\n{text}");
        let folded = String::from_utf8(folded(mail.clone().into_bytes())).unwrap();
        let (head, body) = folded.split_once("\r\n\r\n").unwrap();
        assert!(head.lines().all(|line| line.len() <= USUAL), "{head}");
        assert!(head.lines().count() > 10 && head.contains("\r\nSubject: s"), "{head}");
        assert_eq!((head.replace("\r\n ", " "), body), (mail[..head.replace("\r\n ", " ").len()].to_owned(), &*text));
    }

    #[test]
    fn a_word_that_fits_in_no_line_is_encoded_in_pieces() {
        assert_eq!(in_encoded_words(&"a word ".repeat(900)), None);
        let text = format!("see https://example.org/?q={}", "ü".repeat(700));
        let encoded = in_encoded_words(&text).unwrap();
        let mut decoded = String::new();
        for line in encoded.split("\r\n ") {
            assert!(line.len() <= 75, "{line}");
            let word = line.strip_prefix("=?utf-8?B?").and_then(|word| word.strip_suffix("?=")).unwrap();
            decoded.push_str(&String::from_utf8(STANDARD.decode(word).unwrap()).unwrap());
        }
        assert_eq!(decoded, text);
    }
}
