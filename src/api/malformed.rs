//! Requests that hyper cannot read never reach the application: it answers them with a bare status. In its place goes the
//! same status in the words of every other failure. Who asked in which language cannot be known.

use super::bare;

/// How hyper's answer begins, and what it means: code and message.
const BARE: [(&str, &str, &str); 3] = [
    (
        "400 Bad Request",
        "request_invalid",
        "The request cannot be read. In an address, <, >, quotes, spaces and bytes outside of ASCII must be percent-encoded.",
    ),
    ("414 URI Too Long", "uri_too_long", "The address of the request is too long."),
    (
        "431 Request Header Fields Too Large",
        "headers_too_large",
        "The headers of the request are too large or too many.",
    ),
];

/// What to send instead of an answer of hyper's own. No other answer has one of these statuses and nothing in it.
pub fn in_words(answer: &[u8]) -> Option<Vec<u8>> {
    let rest = answer.strip_prefix(b"HTTP/1.1 4")?;
    let (status, code, message) = BARE.iter().find(|(status, ..)| rest.starts_with(&status.as_bytes()[1..]))?;
    let head = rest.strip_prefix(&status.as_bytes()[1..])?;
    if !head.starts_with(b"\r\nconnection: close\r\ncontent-length: 0\r\n") {
        return None;
    }
    Some(bare::failure(status, code, message, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_answer_gets_words_and_no_other() {
        for (status, code, _) in BARE {
            let bare = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n");
            let told = String::from_utf8(in_words(bare.as_bytes()).unwrap()).unwrap();
            let (head, body) = told.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            assert!(head.contains("\r\nx-request-id: ") && head.contains("\r\ncache-control: no-store"), "{head}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], code);
        }
        for other in [
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\r\n{}",
            "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 4",
            "",
        ] {
            assert_eq!(in_words(other.as_bytes()), None, "{other}");
        }
    }
}
