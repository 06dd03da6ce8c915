//! A push that may be repeated: its key, and the answer that every repetition gets. Decides nothing about the push.

use std::borrow::Cow;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::push::Accepted;
use crate::domain::id::PusherId;
use crate::domain::idempotency::{IdempotencyKey, KEPT_MS, fingerprint};
use crate::domain::refusal::Refusal;
use crate::domain::resolve::Call;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{Column, KeyHash, NewKey};

/// A call that came with a key.
pub(super) struct Once {
    hash: KeyHash,
    fingerprint: String,
    now: Timestamp,
}

/// What is kept under a key. The fingerprint stands inside what is sealed: contents can be short enough to be guessed.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    call: Cow<'a, str>,
    answer: Cow<'a, Accepted>,
}

impl Once {
    /// A call that came now; its tasks would belong to `holder`.
    pub(super) fn new(holder: &str, pusher: &PusherId, key: &IdempotencyKey, call: &Call, now: Timestamp) -> Self {
        Self { hash: KeyHash::of(holder, pusher, key), fingerprint: fingerprint(call), now }
    }

    /// The key with the answer that it is to stand for.
    pub(super) fn with_answer(&self, engine: &Engine, answer: &Accepted) -> Result<NewKey> {
        let kept = Kept { call: Cow::Borrowed(&self.fingerprint), answer: Cow::Borrowed(answer) };
        let text = serde_json::to_string(&kept).map_err(|e| Error::Broken(e.into()))?;
        Ok(NewKey {
            hash: self.hash.clone(),
            answer: engine.store.sealer().seal(Column::Answer, self.hash.as_str(), &text),
            created_at: self.now,
            expires_at: self.now.plus_ms(KEPT_MS),
        })
    }

    /// What the push that the key stands for was answered, if it stands for one.
    ///
    /// # Errors
    /// If it stands for another call; if the database fails.
    pub(super) async fn first_answer(&self, engine: &Engine) -> Result<Option<Accepted>> {
        let mut tx = engine.store.read().await?;
        let Some(sealed) = tx.first_answer(&self.hash, self.now).await? else { return Ok(None) };
        let text = engine.store.sealer().open(self.hash.as_str(), &sealed).context("an answer under a key")?;
        let kept: Kept<'_> = serde_json::from_str(&text).context("an answer under a key")?;
        if *kept.call != *self.fingerprint {
            return Err(Refusal::IdempotencyMismatch.into());
        }
        Ok(Some(Accepted { replayed: true, ..kept.answer.into_owned() }))
    }
}
