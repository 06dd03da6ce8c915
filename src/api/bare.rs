//! Answers where there is no request: to whoever is turned away before anything is read, and to what hyper cannot read.
//! They have what every other answer has; only the language of whoever asked is not known.

use std::fmt::Write;

use super::frame::{HEADERS, REQUEST_ID};
use crate::domain::id::unguessable;

/// A failure, after which the connection ends. `more` are further headers, each with its line end.
pub fn failure(status: &str, code: &str, message: &str, more: &str) -> Vec<u8> {
    let body = format!(r#"{{"success":false,"code":"{code}","message":"{message}","data":null}}"#);
    let (length, id) = (body.len(), unguessable(rand::random()));
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close\r\n\
         content-length: {length}\r\n{REQUEST_ID}: {id}\r\n{more}"
    );
    for (name, value) in HEADERS {
        // To write to a text does not fail.
        let _ = write!(answer, "{name}: {value}\r\n");
    }
    answer.push_str("\r\n");
    answer.push_str(&body);
    answer.into_bytes()
}
