//! Helpers that encode bytes, hash and sign.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Args, Given, Helper, Reason, Tames, check_option};
use crate::service::template::Call;

const ENCODINGS: &[&str] = &["hex", "base64", "base64url"];

/// The helpers of this file.
pub const TABLE: &[Helper] = &[
    Helper::new("base64", 1, Some(1), |args| Ok(STANDARD.encode(args.text(0).as_bytes()).into())).tame(Tames::All),
    Helper::new("base64url", 1, Some(1), |args| Ok(URL_SAFE_NO_PAD.encode(args.text(0).as_bytes()).into()))
        .tame(Tames::All),
    Helper::new("hex", 1, Some(1), |args| Ok(hex(args.text(0).as_bytes()).into())).tame(Tames::All),
    Helper::new("md5", 1, Some(1), |args| encoded(args, &Md5::digest(args.text(0).as_bytes()), "hex"))
        .options(&["encode"])
        .check(check_encode)
        .tame(Tames::All),
    Helper::new("sha256", 1, Some(1), |args| encoded(args, &Sha256::digest(args.text(0).as_bytes()), "hex"))
        .options(&["encode"])
        .check(check_encode)
        .tame(Tames::All),
    Helper::new("hmac_sha256", 2, Some(2), |args| {
        encoded(args, &hmac_sha256(&key(args)?, args.text(1).as_bytes()), "base64")
    })
    .options(&["encode", "key_encoding"])
    .check(check_hmac)
    .tame(Tames::All),
    Helper::new("hmac_sha1", 2, Some(2), |args| {
        encoded(args, &hmac_sha1(&key(args)?, args.text(1).as_bytes()), "base64")
    })
    .options(&["encode", "key_encoding"])
    .check(check_hmac)
    .tame(Tames::All),
    Helper::new("random_hex", 1, Some(1), random_hex).tame(Tames::All),
    Helper::new("uuid", 0, Some(0), |args| Ok(uuid(args.env.random).into())),
    Helper::new("delivery_id", 0, Some(0), |args| Ok(args.env.delivery_id.into())),
];

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// HMAC-SHA256 of a message.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha1(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("an HMAC key may have any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn check_encode(call: &mut Call) -> Result<(), String> {
    check_option(call, "encode", ENCODINGS)
}

fn check_hmac(call: &mut Call) -> Result<(), String> {
    check_option(call, "encode", ENCODINGS)?;
    check_option(call, "key_encoding", &["text", "base64", "hex"])
}

fn key(args: &Args<'_>) -> Result<Vec<u8>, Reason> {
    let text = args.text(0);
    match args.option("key_encoding", "text").as_ref() {
        "base64" => STANDARD.decode(text.trim()).map_err(|_| "the key is not base64".into()),
        "hex" => unhex(&text).ok_or_else(|| "the key is not hexadecimal".into()),
        _ => Ok(text.into_owned().into_bytes()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<Vec<_>>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn encoded(args: &Args<'_>, bytes: &[u8], otherwise: &str) -> Given {
    Ok(match args.option("encode", otherwise).as_ref() {
        "hex" => hex(bytes),
        "base64url" => URL_SAFE_NO_PAD.encode(bytes),
        _ => STANDARD.encode(bytes),
    }
    .into())
}

/// `random_hex digits`: the same at every call within one delivery.
fn random_hex(args: &Args<'_>) -> Given {
    let digits = args.count(0)?;
    if digits > 64 {
        return Err("`random_hex` gives at most 64 digits".into());
    }
    let mut text = hex(&Sha256::digest(args.env.random.to_be_bytes()));
    text.truncate(digits);
    Ok(Value::String(text))
}

/// A version 4 UUID of the bits given.
fn uuid(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let text = hex(&bits.to_be_bytes());
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
