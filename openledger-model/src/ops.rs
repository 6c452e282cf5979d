//! The operations decoders are written in, and what runs them.
//!
//! A decoder calls [`Ops`]; whoever runs it decides what a row is, where it lies, what is kept:
//!
//! ```text
//!              ┌─ Tape        own kernels, keeps what the gradient needs   train, attribution
//!  Decoder ──▶ Ops ─ the engine's step   many adapters and caches at once  serve
//!              └─ reference   candle tensors and candle's autograd         tests, other devices
//! ```

use std::sync::Arc;

use openledger_core::Result;
use openledger_kernels::{Heads, Rope};

use crate::{Param, router::Router};

/// Runs a decoder. Implement this to run models in a new way; call [`Decoder`](crate::Decoder).
///
/// # Contract
/// - One row per token of the step; which tokens, at which positions of which sequences, the
///   implementation knows.
/// - Operations on a row depend on that row alone, except those that attend, which see the earlier
///   rows of the same sequence.
/// - [`project`](Self::project), and whatever else multiplies by a [`Linear`], adds what an adapter
///   has to add at that weight.
pub trait Ops {
    /// A handle on activations, `[tokens, width]`.
    type Rows;

    /// Looks the step's tokens up in the embedding table `[vocabulary, width]`.
    ///
    /// # Errors
    /// If a device fails; likewise below.
    fn embed(&mut self, table: Param) -> Result<Self::Rows>;

    /// Normalises each row by its root mean square and multiplies by `gain`; each part of the row
    /// that is as long as `gain`, if that is shorter.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn norm(&mut self, x: &Self::Rows, gain: Param, eps: f32) -> Result<Self::Rows>;

    /// Multiplies each row by a weight `[out, in]`, adds its bias and what adapters add to it.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn project(&mut self, x: &Self::Rows, linear: &Linear) -> Result<Self::Rows>;

    /// [`project`](Self::project)s the same rows by several weights. Override it where that can be done with
    /// less work.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn project_all<const N: usize>(
        &mut self,
        x: &Self::Rows,
        linears: [&Linear; N],
    ) -> Result<[Self::Rows; N]> {
        let projected: Result<Vec<_>> =
            linears.into_iter().map(|linear| self.project(x, linear)).collect();
        match projected?.try_into() {
            Ok(projected) => Ok(projected),
            Err(_) => unreachable!("one for each linear layer"),
        }
    }

    /// Splits each row in two, the first part `width` long.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn split(&mut self, x: Self::Rows, width: usize) -> Result<[Self::Rows; 2]>;

    /// Turns queries and keys by position and attends to the sequence so far.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn attend(&mut self, layer: &Attention, qkv: [Self::Rows; 3]) -> Result<Self::Rows>;

    /// Makes keys and values of a latent row per token and attends to the sequence so far; see
    /// [`Latent`].
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn attend_latent(
        &mut self,
        layer: &Latent,
        q: Self::Rows,
        latent: Self::Rows,
        key: Self::Rows,
    ) -> Result<Self::Rows>;

    /// Sends each row through the experts that the router chooses for it.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn mix(&mut self, x: &Self::Rows, mixture: &Mixture) -> Result<Self::Rows>;

    /// Returns `silu(gate) * up`.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn gate(&mut self, gate: Self::Rows, up: Self::Rows) -> Result<Self::Rows>;

    /// Returns the sum.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn add(&mut self, x: Self::Rows, y: Self::Rows) -> Result<Self::Rows>;
}

/// A linear layer: where its weight and bias lie. The weight also names the place for adapters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Linear {
    /// The weight, `[out, in]`.
    pub weight: Param,
    /// The bias, `[out]`.
    pub bias: Option<Param>,
}

/// What an attention layer needs beside its rows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attention {
    /// The layer's place in the stack, which names its cache.
    pub layer: usize,
    /// Heads and their size.
    pub heads: Heads,
    /// The rotation by position, shared by all layers.
    pub rope: Arc<Rope>,
}

/// What multi-head latent attention needs beside its rows (`DeepSeek-V2`, 2024, section 2.1).
///
/// A head's key is a part of its own, made of the latent row, and behind it a part that turns by
/// position and is the same for all heads. Queries have both parts too.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Latent {
    /// The layer's place in the stack, which names its cache.
    pub layer: usize,
    /// Heads: as many for keys as for queries. The last elements of a query or key turn, as many as
    /// the rotation has.
    pub heads: Heads,
    /// The rotation by position, shared by all layers.
    pub rope: Arc<Rope>,
    /// Makes of a latent row each head's own part of the key, and its value behind it.
    pub expand: Linear,
}

impl Latent {
    /// Returns how many elements of a query or key do not turn.
    pub fn own(&self) -> usize {
        self.heads.dim - self.rope.width()
    }

    /// Makes whole keys and values of what `expand` made and of the shared part, turned already.
    pub fn keys_and_values(&self, expanded: &[f32], shared: &[f32]) -> [Vec<f32>; 2] {
        let (own, value, turning) = (self.own(), self.heads.value_dim, self.rope.width());
        let rows = shared.len() / turning;
        let mut keys = Vec::with_capacity(rows * self.heads.key_width());
        let mut values = Vec::with_capacity(rows * self.heads.value_width());
        let width = self.heads.query * (own + value);
        for (row, shared) in expanded.chunks_exact(width).zip(shared.chunks_exact(turning)) {
            for head in row.chunks_exact(own + value) {
                keys.extend_from_slice(&head[..own]);
                keys.extend_from_slice(shared);
                values.extend_from_slice(&head[own..]);
            }
        }
        [keys, values]
    }

    /// The gradient of [`keys_and_values`](Self::keys_and_values): of the expanded rows and of the
    /// shared part.
    pub fn keys_and_values_backward(&self, dkeys: &[f32], dvalues: &[f32]) -> [Vec<f32>; 2] {
        let (own, value, turning) = (self.own(), self.heads.value_dim, self.rope.width());
        let rows = dkeys.len() / self.heads.key_width();
        let mut dexpanded = Vec::with_capacity(rows * self.heads.query * (own + value));
        let mut dshared = vec![0.0; rows * turning];
        let of_rows = dkeys
            .chunks_exact(self.heads.key_width())
            .zip(dvalues.chunks_exact(self.heads.value_width()));
        for ((dkeys, dvalues), dshared) in of_rows.zip(dshared.chunks_exact_mut(turning)) {
            for (dkey, dvalue) in dkeys.chunks_exact(own + turning).zip(dvalues.chunks_exact(value))
            {
                dexpanded.extend_from_slice(&dkey[..own]);
                dexpanded.extend_from_slice(dvalue);
                openledger_kernels::add_assign(dshared, &dkey[own..]);
            }
        }
        [dexpanded, dshared]
    }
}

/// A gated feed-forward layer: `down(silu(gate(x)) * up(x))`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gated {
    /// What is passed through the activation.
    pub gate: Linear,
    /// What it is multiplied by.
    pub up: Linear,
    /// Back to the width of the stream.
    pub down: Linear,
}

impl Gated {
    /// Runs it.
    ///
    /// # Errors
    /// Those of `ops`.
    pub fn run<O: Ops>(&self, ops: &mut O, x: &O::Rows) -> Result<O::Rows> {
        let [gate, up] = ops.project_all(x, [&self.gate, &self.up])?;
        let gated = ops.gate(gate, up)?;
        ops.project(&gated, &self.down)
    }
}

/// Experts, of which a router chooses a few for each token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mixture {
    /// Who chooses, and with which weight the chosen count.
    pub router: Router,
    /// The experts.
    pub experts: Vec<Gated>,
}
