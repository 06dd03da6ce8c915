//! Times as requests give them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::envelope::ApiError;
use crate::domain::time::Timestamp;

/// Reads a time in RFC 3339, if one is given.
///
/// # Errors
/// 422 that names the field, if it is no such time.
pub fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let invalid = || ApiError::field(field, "not_a_time");
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| invalid())?;
    let ms = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| invalid())?;
    Ok(Some(Timestamp(ms)))
}
