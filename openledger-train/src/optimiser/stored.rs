//! What an optimiser keeps, as it is stored with a checkpoint.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Error, Result};

use super::{Means, Optimiser, State};
use crate::numbers::{from_bytes, to_bytes};

/// A [`State`] as bytes: numbers to the bit, those in eight bits as they are.
#[derive(BorshDeserialize, BorshSerialize)]
pub(crate) struct Stored {
    steps: i32,
    kept: Vec<Vec<StoredMeans>>,
}

#[derive(BorshDeserialize, BorshSerialize)]
enum StoredMeans {
    Whole(Vec<u8>),
    EightBit { codes: Vec<u8>, scales: Vec<u8> },
}

impl State {
    pub(crate) fn to_stored(&self) -> Stored {
        let store = |means: &Means| match means {
            Means::Whole(means) => StoredMeans::Whole(to_bytes(means)),
            Means::EightBit(blocks) => {
                let (codes, scales) = (blocks.codes(), blocks.scales());
                StoredMeans::EightBit { codes: codes.to_vec(), scales: to_bytes(scales) }
            }
        };
        let kept = self.kept.iter().map(|kept| kept.iter().map(store).collect()).collect();
        Stored { steps: self.steps, kept }
    }

    /// Takes what was stored for tensors of these sizes.
    pub(crate) fn from_stored(
        stored: &Stored,
        optimiser: &Optimiser,
        sizes: &[usize],
    ) -> Result<Self> {
        // Before the first step nothing is kept.
        let tensors = if stored.steps == 0 { 0 } else { sizes.len() };
        if stored.steps < 0 || stored.kept.len() != tensors {
            let (kept, steps) = (stored.kept.len(), stored.steps);
            return Err(Error::corrupt(format!("means of {kept} tensors after {steps} steps")));
        }
        let kept = stored
            .kept
            .iter()
            .zip(sizes)
            .map(|(stored, &len)| {
                let mut means = optimiser.rule.start(len);
                if means.len() != stored.len() {
                    return Err(other_means());
                }
                for (means, stored) in means.iter_mut().zip(stored) {
                    means.fill(stored)?;
                }
                Ok(means)
            })
            .collect::<Result<_>>()?;
        Ok(Self { steps: stored.steps, kept })
    }
}

impl Means {
    fn fill(&mut self, stored: &StoredMeans) -> Result<()> {
        match (self, stored) {
            (Self::Whole(means), StoredMeans::Whole(bytes)) => {
                *means = from_bytes(bytes, means.len())?;
            }
            (Self::EightBit(blocks), StoredMeans::EightBit { codes, scales }) => {
                let (ours, sizes) = (blocks.codes(), blocks.scales());
                if codes.len() != ours.len() {
                    return Err(other_means());
                }
                let scales = from_bytes(scales, sizes.len())?;
                blocks.set_parts(codes.clone(), scales);
            }
            _ => return Err(other_means()),
        }
        Ok(())
    }
}

fn other_means() -> Error {
    Error::corrupt("means of another optimiser or of tensors of other sizes")
}
