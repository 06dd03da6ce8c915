//! Reads a mail as its recipient would: unfolded headers, decoded words, the text parts. Knows what the tests meet.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Headers and body of a mail or of a part of one.
#[derive(Debug, Clone)]
pub struct Part {
    headers: Vec<(String, String)>,
    body: String,
}

impl Part {
    pub fn parse(raw: &str) -> Self {
        let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((raw, ""));
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let headers = unfolded.split("\r\n").filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Self { headers, body: body.to_owned() }
    }

    /// The first header of this name (lower case), unfolded, not decoded.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The leaves of the mail: content type without parameters, and decoded text with `\n` at the ends of lines.
    pub fn leaves(&self) -> Vec<(String, String)> {
        let kind = self.header("content-type").unwrap_or("text/plain");
        if let Some((_, rest)) = kind.split_once("boundary=") {
            let boundary = format!("--{}", rest.split(';').next().unwrap_or(rest).trim_matches('"'));
            let pieces = self.body.split(&*boundary).skip(1).take_while(|piece| !piece.starts_with("--"));
            return pieces.flat_map(|piece| Part::parse(piece.trim_start_matches("\r\n")).leaves()).collect();
        }
        let kind = kind.split(';').next().unwrap_or(kind).trim().to_owned();
        let text = String::from_utf8(self.decoded()).expect("UTF-8 text");
        vec![(kind, text.replace("\r\n", "\n").trim_end_matches('\n').to_owned())]
    }

    fn decoded(&self) -> Vec<u8> {
        match self.header("content-transfer-encoding") {
            Some("base64") => STANDARD.decode(self.body.replace("\r\n", "")).expect("base64"),
            Some("quoted-printable") => quoted(&self.body.replace("=\r\n", "")),
            _ => self.body.clone().into_bytes(),
        }
    }
}

/// A header's text with its encoded words (RFC 2047) decoded.
pub fn decode_words(text: &str) -> String {
    let joined = text.replace("?= =?", "?==?");
    let mut decoded = Vec::new();
    let mut rest = joined.as_str();
    while let Some((before, after)) = rest.split_once("=?") {
        decoded.extend_from_slice(before.as_bytes());
        let mut fields = after.splitn(3, '?');
        let (_charset, way) = (fields.next(), fields.next().unwrap_or_default());
        let (word, after) = fields.next().and_then(|tail| tail.split_once("?=")).expect("the end of an encoded word");
        match way {
            "b" | "B" => decoded.extend(STANDARD.decode(word).expect("base64")),
            _ => decoded.extend(quoted(&word.replace('_', " "))),
        }
        rest = after;
    }
    decoded.extend_from_slice(rest.as_bytes());
    String::from_utf8(decoded).expect("UTF-8 text")
}

fn quoted(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
        let digits = std::str::from_utf8(&digits).expect("two digits");
        decoded.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
    }
    decoded
}
