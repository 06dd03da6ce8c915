//! Reads `application/x-www-form-urlencoded`, strictly: what is not UTF-8 is refused rather than replaced.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Names and values in the order given; nothing if an encoding is broken.
pub fn parse(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(parse_pair).collect()
}

fn parse_pair(pair: &[u8]) -> Option<(String, String)> {
    let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    };
    Some((decode(name)?, decode(value)?))
}

fn decode(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_out_decoded_and_in_order() {
        let pairs = parse("b=1&a=x+y%2B&&empty&c=%E4%BD%A0=&a=2".as_bytes()).unwrap();
        let expected = [("b", "1"), ("a", "x y+"), ("empty", ""), ("c", "你="), ("a", "2")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parse(b""), Some(vec![]));
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        assert_eq!(parse(b"a=%FF"), None);
        assert_eq!(parse(b"%C3=1"), None);
        assert_eq!(parse(b"a=\xff"), None);
    }
}
