//! Facts about this installation, such as the proof that the secret key is the right one.

use super::trouble::broken;
use super::{Column, Sealer, Store, Tx, on};
use crate::error::Result;

pub(super) const KEY_PROOF: &str = "key_proof";
const PROVED: &str = "fanfare";

/// A database was sealed with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongKey;

impl std::fmt::Display for WrongKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the secret key is not the one that this database was sealed with")
    }
}

impl std::error::Error for WrongKey {}

impl Tx {
    /// The value of a setting.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn setting(&mut self, name: &str) -> Result<Option<String>> {
        let found: Option<(String,)> = on!(self, conn => sqlx::query_as("SELECT value FROM setting WHERE name = $1")
            .bind(name.to_owned()).fetch_optional(conn).await)?;
        Ok(found.map(|(value,)| value))
    }

    /// Sets a setting that is not there yet; leaves one that is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn insert_setting(&mut self, name: &str, value: &str) -> Result<()> {
        on!(self, conn => sqlx::query("INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name.to_owned()).bind(value.to_owned()).execute(conn).await.map(drop))?;
        Ok(())
    }
}

impl Store {
    /// Refuses a key other than the one that this database was sealed with; on a new database, remembers this one.
    pub(super) async fn prove_key(&self) -> anyhow::Result<()> {
        let mut tx = self.write().await.map_err(broken)?;
        let proof = match tx.setting(KEY_PROOF).await.map_err(broken)? {
            Some(proof) => proof,
            None => {
                let sealed = self.sealer.seal(Column::KeyProof, KEY_PROOF, PROVED);
                tx.insert_setting(KEY_PROOF, &sealed).await.map_err(broken)?;
                // Another node may have been first: what stands now is what counts.
                tx.setting(KEY_PROOF).await.map_err(broken)?.unwrap_or(sealed)
            }
        };
        tx.commit().await.map_err(broken)?;
        if !proves(&self.sealer, &proof) {
            return Err(WrongKey.into());
        }
        Ok(())
    }
}

/// Whether the value of the setting `key_proof` was sealed with the sealer's key.
pub(super) fn proves(sealer: &Sealer, proof: &str) -> bool {
    sealer.open(KEY_PROOF, proof).is_ok()
}
