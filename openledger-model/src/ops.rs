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

use crate::Param;

/// Runs a decoder. Implement this to run models in a new way; call [`Decoder`](crate::Decoder).
///
/// # Contract
/// - One row per token of the step; which tokens, at which positions of which sequences, the
///   implementation knows.
/// - Operations on a row depend on that row alone, except [`attend`](Self::attend), which sees the
///   earlier rows of the same sequence.
/// - [`project`](Self::project) adds what an adapter has to add at that weight.
pub trait Ops {
    /// A handle on activations, `[tokens, width]`.
    type Rows;

    /// Looks the step's tokens up in the embedding table `[vocabulary, width]`.
    ///
    /// # Errors
    /// If a device fails; likewise below.
    fn embed(&mut self, table: Param) -> Result<Self::Rows>;

    /// Normalises each row by its root mean square and multiplies by `gain`.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn norm(&mut self, x: &Self::Rows, gain: Param, eps: f32) -> Result<Self::Rows>;

    /// Multiplies each row by a weight `[out, in]`, adds its bias and what adapters add to it.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn project(&mut self, x: &Self::Rows, linear: &Linear) -> Result<Self::Rows>;

    /// Turns queries and keys by position and attends to the sequence so far.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn attend(&mut self, layer: &Attention, qkv: [Self::Rows; 3]) -> Result<Self::Rows>;

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
