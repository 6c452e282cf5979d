//! `AdamW` whose means are kept in eight bits (Dettmers et al., 2022).

use serde::{Deserialize, Serialize};

use super::AdamW;

/// [`AdamW`] with a quarter of its memory: each mean is one of 256 numbers, times the largest of its
/// block of 256. The numbers are those of bitsandbytes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AdamW8bit {
    /// The constants.
    pub adamw: AdamW,
    /// Tensors of fewer elements are kept whole.
    pub min_size: usize,
}

impl Default for AdamW8bit {
    /// bitsandbytes' defaults.
    fn default() -> Self {
        Self { adamw: AdamW { weight_decay: 0.01, ..AdamW::default() }, min_size: 4096 }
    }
}

impl AdamW8bit {
    /// Returns this with other constants.
    #[must_use]
    pub const fn with_adamw(mut self, adamw: AdamW) -> Self {
        self.adamw = adamw;
        self
    }

    /// Returns this with another size from which tensors are kept in eight bits.
    #[must_use]
    pub const fn with_min_size(mut self, min_size: usize) -> Self {
        self.min_size = min_size;
        self
    }
}
