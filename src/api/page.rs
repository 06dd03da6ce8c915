//! Paging of lists by cursor. A cursor is opaque to clients: the key of the last item seen, in base64url.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem_openapi::Object;
use poem_openapi::types::{ParseFromJSON, ToJSON};

use super::envelope::ApiError;
use crate::domain::time::Timestamp;

/// Most items on a page.
pub const MAX_LIMIT: u32 = 100;
/// Items on a page when nobody says.
pub const DEFAULT_LIMIT: u32 = 20;
/// Longest cursor taken, in characters.
const MAX_CURSOR: usize = 512;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// Most items to return, from 1 to 100.
    pub limit: u32,
    /// The key after which the page begins; nothing for the first page.
    pub after: Option<String>,
}

impl PageQuery {
    /// Checks the `limit` and `cursor` of a query.
    ///
    /// # Errors
    /// A limit outside 1 to 100; a cursor that this server did not make.
    pub fn new(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::limit_invalid(limit, MAX_LIMIT));
        }
        let after = match cursor.filter(|cursor| !cursor.is_empty()) {
            Some(cursor) => Some(decode_cursor(cursor).ok_or_else(ApiError::cursor_invalid)?),
            None => None,
        };
        Ok(Self { limit, after })
    }

    /// How many rows to read: one more than the page holds, so that one sees whether there is a next page.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Makes a page of the rows read (at most `rows()` of them); `key` is what the list is ordered by.
    pub fn page<R, T>(&self, mut rows: Vec<R>, key: impl Fn(&R) -> String, view: impl FnMut(R) -> T) -> Page<T>
    where
        T: ParseFromJSON + ToJSON,
    {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(|last| encode_cursor(&key(last))) } else { None };
        Page { items: rows.into_iter().map(view).collect(), next_cursor }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub struct Page<T: ParseFromJSON + ToJSON> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// What to send as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The key of an item in a list that is ordered by time and then by something else.
pub fn position(at: Timestamp, key: impl Display) -> String {
    format!("{}.{key}", at.0)
}

/// Where the page before ended, of a list whose keys are made by `position`.
///
/// # Errors
/// A cursor that is not one of this list's.
pub fn time_and_key(page: &PageQuery) -> Result<Option<(Timestamp, String)>, ApiError> {
    let Some(after) = &page.after else { return Ok(None) };
    let parts = after.split_once('.').and_then(|(at, key)| Some((Timestamp(at.parse().ok()?), key.to_owned())));
    parts.map(Some).ok_or_else(ApiError::cursor_invalid)
}

/// Makes a cursor of a key.
pub fn encode_cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The key inside a cursor, unless it is not one of ours.
pub fn decode_cursor(cursor: &str) -> Option<String> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let key = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let plain = !key.is_empty() && !key.chars().any(char::is_control);
    plain.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: u32) -> PageQuery {
        PageQuery { limit, after: None }
    }

    #[test]
    fn limits_are_checked_and_default_to_twenty() {
        assert_eq!(PageQuery::new(None, None).unwrap(), query(20));
        assert_eq!(PageQuery::new(Some(100), Some("")).unwrap(), query(100));
        for limit in [0, 101] {
            assert_eq!(PageQuery::new(Some(limit), None).unwrap_err().code(), "param_invalid");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_its_key() {
        let cursor = encode_cursor("1700000000000.01hx");
        assert_eq!(PageQuery::new(None, Some(&cursor)).unwrap().after.as_deref(), Some("1700000000000.01hx"));
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        let too_long = "a".repeat(MAX_CURSOR + 1);
        for cursor in ["%%%", "a", "_w", "AAAA", too_long.as_str()] {
            assert_eq!(PageQuery::new(None, Some(cursor)).unwrap_err().code(), "cursor_invalid", "{cursor}");
        }
    }

    #[test]
    fn there_is_a_next_page_only_if_there_are_more_rows() {
        let full = query(2).page(vec![1, 2, 3], i32::to_string, |n| n * 10);
        assert_eq!((full.items, full.next_cursor), (vec![10, 20], Some(encode_cursor("2"))));
        let last = query(2).page(vec![1, 2], i32::to_string, |n| n);
        assert_eq!((last.items, last.next_cursor), (vec![1, 2], None));
    }
}
