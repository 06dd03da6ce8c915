//! The one helper that tells the time, which is the same wherever a delivery asks for it.

use serde_json::Value;
use time::{OffsetDateTime, UtcOffset};

use super::{Args, Given, Helper, literal};
use crate::service::template::{Call, Expr};

/// The helpers of this file.
pub const TABLE: &[Helper] = &[Helper::new("now", 1, Some(1), now).options(&["offset"]).check(check)];

/// `now "s"`, `"ms"`, `"rfc3339"`, or a format of `%Y %m %d %H %M %S %L %%`.
fn now(args: &Args<'_>) -> Given {
    let format = args.text(0);
    match format.as_ref() {
        "s" => Ok(args.env.now.seconds().into()),
        "ms" => Ok(args.env.now.0.into()),
        "rfc3339" => Ok(args.env.now.rfc3339_seconds().into()),
        format => {
            let offset = offset(&args.option("offset", "+00:00")).ok_or("the offset is not like +08:00")?;
            let nanos = i128::from(args.env.now.0) * 1_000_000;
            let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| "the time is out of range")?;
            let text = write(format, at.to_offset(offset)).ok_or("the time format is not known")?;
            Ok(Value::String(text))
        }
    }
}

fn check(call: &mut Call) -> Result<(), String> {
    let format = literal(call, 0).ok_or("the format must be written out")?;
    if !matches!(format, "s" | "ms" | "rfc3339")
        && (!format.contains('%') || write(format, OffsetDateTime::UNIX_EPOCH).is_none())
    {
        return Err("the format is s, ms, rfc3339 or made of %Y %m %d %H %M %S %L %%".into());
    }
    match call.options.first() {
        Some((_, Expr::Literal(Value::String(text)))) if offset(text).is_some() => Ok(()),
        None => Ok(()),
        Some(_) => Err("the offset is written like +08:00".into()),
    }
}

fn offset(text: &str) -> Option<UtcOffset> {
    let (sign, rest) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    UtcOffset::from_hms(sign * hours.parse::<i8>().ok()?, sign * minutes.parse::<i8>().ok()?, 0).ok()
}

/// None if the format holds a letter that is not known.
fn write(format: &str, at: OffsetDateTime) -> Option<String> {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            'Y' => out.push_str(&format!("{:04}", at.year())),
            'm' => out.push_str(&format!("{:02}", u8::from(at.month()))),
            'd' => out.push_str(&format!("{:02}", at.day())),
            'H' => out.push_str(&format!("{:02}", at.hour())),
            'M' => out.push_str(&format!("{:02}", at.minute())),
            'S' => out.push_str(&format!("{:02}", at.second())),
            'L' => out.push_str(&format!("{:03}", at.millisecond())),
            '%' => out.push('%'),
            _ => return None,
        }
    }
    Some(out)
}
