//! What happened in each round, and who did how much.

use std::collections::BTreeMap;

use openledger_core::{
    Address, Amount, B256, Error, Result, U256, digest,
    message::{LocalUpdate, Signed},
    share,
};
use serde::{Deserialize, Serialize};

use super::Federation;

/// Everything about a decentralised run: terms, and rounds with their signed updates. Its digest is in the
/// training record.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a record has no defaults: all of it must be said")]
pub struct FederationRecord {
    /// The terms.
    pub federation: Federation,
    /// The rounds.
    pub rounds: Vec<RoundRecord>,
}

impl FederationRecord {
    /// Reads a record that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is not one.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|e| Error::corrupt("cannot read the record of a run").with_source(e))
    }

    /// Returns the record as JSON, the same bytes every time.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and finite numbers are always JSON")
    }

    /// Returns the digest of the record's JSON.
    pub fn digest(&self) -> B256 {
        digest("openledger.federation-record.v1", &self.to_json())
    }

    /// Returns what each worker's work counts, over all rounds. Workers of whom nothing counts are not in it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if no update counts at all.
    pub fn shares(&self) -> Result<BTreeMap<Address, WorkShare>> {
        let mut sums = BTreeMap::<Address, u64>::new();
        for update in self.rounds.iter().filter(|round| !round.void).flat_map(|r| &r.updates) {
            if let Some(labels) = update.labels() {
                let sum = sums.entry(update.signed.unverified().worker).or_default();
                *sum = sum.saturating_add(labels);
            }
        }
        let whole = Amount::new(U256::from(share::WHOLE));
        let parts = share::split_keyed(whole, sums.clone())?;
        let of = |(worker, labels): (Address, u64)| {
            let part = parts.get(&worker).map_or(0, |part| part.units().to());
            (worker, WorkShare { labels, part })
        };
        Ok(sums.into_iter().map(of).collect())
    }
}

/// One worker's part of the computation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WorkShare {
    /// Label tokens that count.
    pub labels: u64,
    /// Its share, in parts of [`share::WHOLE`]; all shares add up to that.
    pub part: u64,
}

/// One round.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RoundRecord {
    /// The round, from 0.
    pub round: u64,
    /// Digest of the matrices it began with.
    pub start: B256,
    /// Digest of those it ended with.
    pub end: B256,
    /// What came, by worker.
    pub updates: Vec<UpdateRecord>,
    /// Held-out loss of the matrices it began and ended with, if one was measured.
    pub losses: Option<[f32; 2]>,
    /// Whether the combined update itself was refused, so that the matrices stayed as they were.
    pub void: bool,
}

/// One update.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpdateRecord {
    /// What the worker signed: digest, steps, label tokens.
    pub signed: Signed<LocalUpdate>,
    /// The norm, of an update that could be read.
    pub norm: Option<f32>,
    /// The held-out loss with this update alone, if it was measured.
    pub loss: Option<f32>,
    /// What became of it.
    pub outcome: Outcome,
}

impl UpdateRecord {
    /// Returns the label tokens that count, none of an update that was refused.
    pub const fn labels(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Counted { labels } => Some(labels),
            Outcome::Refused { .. } => None,
        }
    }
}

/// What became of an update.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was combined.
    Counted {
        /// The label tokens it counts for, in the weighing and in the share: those claimed, within the bound.
        labels: u64,
    },
    /// It was left out.
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// Why a signed update was left out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It is not a file of the run's matrices.
    Malformed,
    /// An element is infinite or no number.
    NotFinite,
    /// It is far longer than the median.
    TooLarge,
    /// It is far shorter than the median.
    Idle,
    /// It makes the held-out loss worse.
    Worsens,
}
