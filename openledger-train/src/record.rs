//! The training record: what an adapter was made of.

use openledger_core::{AdapterId, B256, DatanetVersion, Error, ModelId, Result, digest};
use serde::{Deserialize, Serialize};

use crate::TrainingConfig;

/// Everything needed to train the adapter again. Its digest goes on chain with the adapter.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a record has no defaults: all of it must be said")]
pub struct TrainingRecord {
    /// The base model.
    pub model: ModelId,
    /// The Datanet versions whose rows were learned, every row with the same weight.
    pub datanets: Vec<DatanetVersion>,
    /// Everything else that decided the result.
    pub config: TrainingConfig,
    /// Digest of the [record](crate::federated::FederationRecord) of rounds, if several workers trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation: Option<B256>,
    /// What came out.
    pub adapter: AdapterId,
}

impl TrainingRecord {
    /// Reads a record that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is not one.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|e| Error::corrupt("cannot read a training record").with_source(e))
    }

    /// Returns the record as JSON, the same bytes every time.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and finite numbers are always JSON")
    }

    /// Returns the digest of the record's JSON.
    pub fn digest(&self) -> B256 {
        digest("openledger.training-record.v1", &self.to_json())
    }
}
