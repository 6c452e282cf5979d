//! Sequences laid one after another.

use std::ops::Range;

/// The tokens of a pass: any number of sequences, none padded, none seeing another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    sequences: Vec<Range<usize>>,
}

impl Batch {
    /// Lays `sequences` one after another; each begins at position 0.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut batch = Self::default();
        for sequence in sequences {
            let start = batch.tokens.len();
            batch.tokens.extend(sequence);
            batch.positions.extend(0..sequence.len() as u32);
            batch.sequences.push(start..batch.tokens.len());
        }
        batch
    }

    /// Returns all tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns each token's position in its sequence.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Returns where each sequence lies.
    pub fn sequences(&self) -> &[Range<usize>] {
        &self.sequences
    }
}
