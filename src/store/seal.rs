//! Secrets at rest: XChaCha20-Poly1305 under the installation's key. Each sealed text is bound to the place it stands
//! in, so that one row's secret cannot be moved into another row.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20::{Key, R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Version and cipher of what follows; leaves room for other keys.
const PREFIX: &str = "1.";
const NONCE: usize = 24;
/// So much of the nonce makes the key for one text, and the rest is the nonce under that key.
const SALT: usize = 16;

/// The installation's key: 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// A new key from random bits.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a key written as 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The key as 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The columns that hold sealed texts. Nothing is sealed without naming one, so that a change of the key reaches all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// What proves the key.
    KeyProof,
    /// What a Preset or a Group is made of.
    Definition,
    /// A task's parameters.
    Payload,
    /// What a push with an idempotency key was answered.
    Answer,
}

impl Column {
    /// Every column, in the order in which a change of the key goes through them.
    pub const ALL: [Self; 4] = [Self::KeyProof, Self::Definition, Self::Payload, Self::Answer];

    /// Table, the column whose value is the place that a text is sealed for, and the column that holds the text.
    pub fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::KeyProof => ("setting", "name", "value"),
            Self::Definition => ("pusher", "id", "definition"),
            Self::Payload => ("task", "id", "payload"),
            Self::Answer => ("idempotency", "hash", "answer"),
        }
    }
}

/// Why a sealed text does not open: wrong key, wrong place, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealable;

impl std::fmt::Display for Unsealable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a sealed value does not open under this key")
    }
}

impl std::error::Error for Unsealable {}

/// Seals and opens texts.
pub struct Sealer {
    key: Key,
}

impl Sealer {
    /// A sealer under this key.
    pub fn new(key: &SecretKey) -> Self {
        Self { key: Key::from(key.0) }
    }

    /// Seals a text for one place: the row of this column with this id.
    pub fn seal(&self, column: Column, place: &str, text: &str) -> String {
        debug_assert!(Column::ALL.contains(&column), "a change of the key would pass {column:?} by");

        let nonce: [u8; NONCE] = rand::random();
        let mut sealed = Vec::with_capacity(NONCE + text.len() + CHACHA20_POLY1305.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text.as_bytes());
        let (cipher, under) = self.cipher(&nonce);
        let tag = cipher
            .seal_in_place_separate_tag(under, Aad::from(place), &mut sealed[NONCE..])
            .expect("encryption fails only for texts beyond 256 GiB, and bodies are limited");
        sealed.extend_from_slice(tag.as_ref());
        let mut text = String::with_capacity(PREFIX.len() + sealed.len().div_ceil(3) * 4);
        text.push_str(PREFIX);
        BASE64.encode_string(&sealed, &mut text);
        text
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// If the key or the place is another, or the text is damaged.
    pub fn open(&self, place: &str, sealed: &str) -> Result<String, Unsealable> {
        let encoded = sealed.strip_prefix(PREFIX).ok_or(Unsealable)?;
        let mut bytes = BASE64.decode(encoded).map_err(|_| Unsealable)?;
        let (nonce, body) = bytes.split_first_chunk_mut::<NONCE>().ok_or(Unsealable)?;
        let (cipher, under) = self.cipher(nonce);
        let plain = cipher.open_in_place(under, Aad::from(place), body).map_err(|_| Unsealable)?;
        let plain = std::str::from_utf8(plain).map_err(|_| Unsealable)?;
        Ok(plain.to_owned())
    }

    /// XChaCha20-Poly1305 as draft-irtf-cfrg-xchacha makes it: the cipher under a key of its own for this nonce, and the
    /// nonce under that key. `ring` has the rest, at a third of the time that it takes in Rust alone.
    fn cipher(&self, nonce: &[u8; NONCE]) -> (LessSafeKey, Nonce) {
        let (salt, rest) = nonce.split_at(SALT);
        let salt: [u8; SALT] = salt.try_into().expect("it is split there");
        let key = hchacha::<R20>(&self.key, &salt.into());
        let mut under = [0; 12];
        under[4..].copy_from_slice(rest);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("a key of this cipher has 32 bytes");
        (LessSafeKey::new(key), Nonce::assume_unique_for_key(under))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&SecretKey::from_bytes([byte; 32]))
    }

    #[test]
    fn opens_only_under_its_key_and_in_its_place() {
        let sealed = sealer(1).seal(Column::Payload, "row", "hunter2");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(sealer(1).open("row", &sealed).as_deref(), Ok("hunter2"));
        assert_eq!(sealer(2).open("row", &sealed), Err(Unsealable));
        assert_eq!(sealer(1).open("another row", &sealed), Err(Unsealable));
        assert_eq!(sealer(1).open("row", &sealed[..sealed.len() - 4]), Err(Unsealable));
        assert_eq!(sealer(1).open("row", ""), Err(Unsealable));
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        assert_ne!(sealer(1).seal(Column::Payload, "row", "x"), sealer(1).seal(Column::Payload, "row", "x"));
    }

    /// Sealed by the first version, with another library.
    #[test]
    fn what_was_sealed_before_opens() {
        let sealed =
            "1.w/60Kpl7clv7hG6OgcDTH5ujMmeZWjLEF95e7uzv/i9fmfUd9bIKcWubENKIbZTd3i1ZH2lDiwtdlzS/QZR/gFwV2qsr0xDaj8KrBtE";
        let opened = sealer(7).open("row", sealed);
        assert_eq!(opened.as_deref(), Ok("hunter2, sealed by an earlier version"));
    }

    #[test]
    fn every_column_is_listed_once() {
        for (at, column) in Column::ALL.into_iter().enumerate() {
            // A column that is added here must be added to `ALL` as well.
            let place = match column {
                Column::KeyProof => 0,
                Column::Definition => 1,
                Column::Payload => 2,
                Column::Answer => 3,
            };
            assert_eq!(at, place);
        }
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = SecretKey::from_bytes([0xab; 32]);
        assert_eq!(SecretKey::parse(&format!("{}\n", key.to_hex())).map(|k| k.0), Some([0xab; 32]));
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            assert!(SecretKey::parse(bad).is_none(), "{bad}");
        }
    }
}
