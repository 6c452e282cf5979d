//! The families, behind one name.

use openledger_core::Result;

use crate::{
    Llama, LlamaConfig,
    ops::{Linear, Ops},
    weights::Weights,
};

/// A decoder of any known family. A family is one file and one variant here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decoder {
    /// [`Llama`].
    Llama(Llama),
}

impl Decoder {
    /// Reads `config.json` and finds the family's tensors in `weights`.
    ///
    /// # Errors
    /// Those of [`LlamaConfig::parse`] and [`Llama::new`].
    pub fn new(config: &[u8], weights: &Weights) -> Result<Self> {
        Llama::new(LlamaConfig::parse(config)?, weights).map(Self::Llama)
    }

    /// Runs the decoder over the step's tokens; returns the hidden states before the head.
    ///
    /// # Errors
    /// Those of `ops`.
    pub fn hidden<O: Ops>(&self, ops: &mut O) -> Result<O::Rows> {
        match self {
            Self::Llama(llama) => llama.hidden(ops),
        }
    }

    /// Returns the projection from hidden states to the vocabulary.
    pub const fn head(&self) -> &Linear {
        match self {
            Self::Llama(llama) => llama.head(),
        }
    }

    /// Returns the linear layers that can carry an adapter.
    pub fn linears(&self) -> Vec<Linear> {
        match self {
            Self::Llama(llama) => llama.linears().collect(),
        }
    }

    /// Returns the number of blocks, each of which has one attention layer.
    pub const fn layers(&self) -> usize {
        match self {
            Self::Llama(llama) => llama.config().layers,
        }
    }

    /// Returns the number of tokens known.
    pub const fn vocabulary(&self) -> usize {
        match self {
            Self::Llama(llama) => llama.config().vocabulary,
        }
    }

    /// Returns the longest sequence the model was made for.
    pub const fn max_positions(&self) -> usize {
        match self {
            Self::Llama(llama) => llama.config().max_positions,
        }
    }

    /// Returns the tokens that end a text.
    pub fn eos(&self) -> &[u32] {
        match self {
            Self::Llama(llama) => &llama.config().eos,
        }
    }
}
