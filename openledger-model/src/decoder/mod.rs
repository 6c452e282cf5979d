//! Decoders: a stack of blocks between an embedding and a head.
//!
//! Families differ in what a block is made of, not in how it is run: each reads its configuration
//! and puts its blocks together of the same parts.

mod block;
mod tensors;

use openledger_core::Result;
use openledger_kernels::Heads;

pub(crate) use block::{Block, FeedForward, GroupedAttention, LatentAttention, LowRank, Mixer};
pub(crate) use tensors::{Inventory, Tensors};

use crate::{
    families,
    ops::{Linear, Ops},
    weights::{Param, Weights},
};

/// A decoder of any known family.
#[derive(Clone, Debug)]
pub struct Decoder {
    pub(crate) family: &'static str,
    pub(crate) vocabulary: usize,
    pub(crate) max_positions: usize,
    pub(crate) eos: Vec<u32>,
    pub(crate) norm_eps: f32,
    pub(crate) embedding: Param,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Param,
    pub(crate) head: Linear,
}

impl Decoder {
    /// Reads `config.json` and finds the family's tensors in `weights`, by the names of Hugging Face
    /// checkpoints.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is not such a file;
    /// [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported) naming the architecture
    /// or option that is not there yet, and which are;
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if numbers contradict each other;
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) or `Invalid` naming the tensor
    /// that is missing or of another shape.
    pub fn new(config: &[u8], weights: &Weights) -> Result<Self> {
        families::build(config, &mut &*weights)
    }

    /// Lists the names and shapes of the tensors that a model of this configuration has.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for tensors.
    pub fn tensors(config: &[u8]) -> Result<Vec<(String, Vec<usize>)>> {
        let mut inventory = Inventory::default();
        families::build(config, &mut inventory)?;
        Ok(inventory.into_tensors())
    }

    /// Runs the decoder over the step's tokens; returns the hidden states before the head.
    ///
    /// # Errors
    /// Those of `ops`.
    pub fn hidden<O: Ops>(&self, ops: &mut O) -> Result<O::Rows> {
        self.hidden_each(ops, |_, _| {})
    }

    /// As [`hidden`](Self::hidden), and shows the stream of activations: the embeddings, and what each
    /// block returns.
    ///
    /// # Errors
    /// Those of `ops`.
    pub fn hidden_each<O: Ops>(
        &self,
        ops: &mut O,
        mut see: impl FnMut(&O, &O::Rows),
    ) -> Result<O::Rows> {
        self.run_around(ops, |ops, block, x| {
            if block == 0 {
                see(ops, &x);
            }
            let x = self.run_block(block, ops, x)?;
            see(ops, &x);
            Ok(x)
        })
    }

    /// Runs one block, counted from 0.
    pub(crate) fn run_block<O: Ops>(
        &self,
        block: usize,
        ops: &mut O,
        x: O::Rows,
    ) -> Result<O::Rows> {
        self.blocks[block].run(ops, x, self.norm_eps)
    }

    /// The linear layer whose result the block adds to the stream at its end, if it is one.
    pub(crate) fn last_linear(&self, block: usize) -> Option<Param> {
        match &self.blocks[block].mlp {
            FeedForward::Gated(gated) => Some(gated.down.weight),
            FeedForward::Mixture { .. } => None,
        }
    }

    /// Runs what is around the blocks, and `each` for every one of them.
    pub(crate) fn run_around<O: Ops>(
        &self,
        ops: &mut O,
        mut each: impl FnMut(&mut O, usize, O::Rows) -> Result<O::Rows>,
    ) -> Result<O::Rows> {
        let mut x = ops.embed(self.embedding)?;
        for block in 0..self.blocks.len() {
            x = each(ops, block, x)?;
        }
        ops.norm(&x, self.norm, self.norm_eps)
    }

    /// Returns the name of the family, as `model_type` in `config.json` has it.
    pub const fn family(&self) -> &'static str {
        self.family
    }

    /// Returns the projection from hidden states to the vocabulary.
    pub const fn head(&self) -> &Linear {
        &self.head
    }

    /// Returns the linear layers that can carry an adapter, block by block.
    pub fn linears(&self) -> Vec<Linear> {
        self.linears_by_input().concat()
    }

    /// Returns them with those together that [`Ops::project_all`] is called with.
    pub fn linears_by_input(&self) -> Vec<Vec<Linear>> {
        self.blocks.iter().flat_map(Block::linears).collect()
    }

    /// Returns the number of blocks, each of which has one attention layer.
    pub const fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the heads of each block's attention, which say how wide its keys and values are.
    pub fn heads(&self) -> impl Iterator<Item = Heads> {
        self.blocks.iter().map(Block::heads)
    }

    /// Returns the number of tokens known.
    pub const fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Returns the longest sequence the model was made for.
    pub const fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// Returns the tokens that end a text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }
}
