//! Training on our own kernels.

use std::sync::Arc;

use openledger_core::Result;
use openledger_model::{Batch, Buffers, Gradients, LoraConfig, Network, Tape, Tokens, Trainable};

use super::{
    Backend, Evaluate, Evaluation, Replace, Resume, Run, Step, count_labels, learner::Learner,
};
use crate::Optimiser;

/// The default backend: the tape's gradients, the same bits on every machine and thread count.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to configure")]
pub struct Native;

impl Backend for Native {
    fn start(
        &self,
        network: Arc<Network>,
        lora: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
    ) -> Result<Box<dyn Run>> {
        Ok(Box::new(NativeRun::start(network, lora, optimiser, start)?))
    }
}

/// A run of [`Native`], which can also be interrupted, evaluated and given other matrices.
#[derive(Debug)]
pub struct NativeRun {
    learner: Learner,
    micro_batch: Option<usize>,
    checkpointing: bool,
    buffers: Buffers,
}

impl NativeRun {
    /// Starts a run from the matrices in `start`, an `adapter_model.safetensors`.
    ///
    /// # Errors
    /// Those of [`Lora::from_safetensors`](openledger_model::Lora::from_safetensors).
    pub fn start(
        network: Arc<Network>,
        lora: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
    ) -> Result<Self> {
        let learner = Learner::start(network, lora, optimiser, start)?;
        let buffers = Buffers::default();
        Ok(Self { learner, micro_batch: None, checkpointing: false, buffers })
    }

    /// Returns this with steps whose rows are computed `rows` at a time, all at once if none is said.
    ///
    /// Memory is that of so many rows. The gradient is that of the whole step: each part's sum is
    /// divided by the label tokens of all parts, so a part with few labels does not count for more.
    /// Sums are taken in another order, so the last bits differ.
    #[must_use]
    pub const fn with_micro_batch(mut self, rows: Option<usize>) -> Self {
        self.micro_batch = rows;
        self
    }

    /// Returns this with activation checkpointing or without: see
    /// [`Tape::with_checkpointing`](openledger_model::Tape::with_checkpointing).
    #[must_use]
    pub const fn with_checkpointing(mut self, checkpointing: bool) -> Self {
        self.checkpointing = checkpointing;
        self
    }

    /// Adds the gradient of `scale` times the sum of the losses of `rows`; returns that sum.
    fn accumulate(&self, rows: &[&Tokens], scale: f32, gradients: &mut Gradients) -> Result<f64> {
        let Learner { network, lora, .. } = &self.learner;
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let labels: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
        let mut tape = Tape::new(network, Some(lora), Trainable::Lora, &batch)
            .with_checkpointing(self.checkpointing)
            .with_buffers(&self.buffers);
        let hidden = tape.run()?;
        let loss = tape.loss(&hidden, &labels, scale);
        tape.backward(gradients);
        Ok(loss.sum)
    }
}

impl Replace for NativeRun {
    fn replace(&mut self, weights: &[u8]) -> Result<()> {
        self.learner.replace(weights)
    }
}

impl Run for NativeRun {
    fn step(&mut self, rows: &[&Tokens], rate: f64, clip: Option<f64>) -> Result<Step> {
        let labels = count_labels(rows)?;
        rows.iter().try_for_each(|row| self.learner.network.check_tokens(&row.tokens))?;
        let mut gradients = Gradients::of_lora(&self.learner.lora);
        let mut sum = 0.0;
        for part in rows.chunks(self.micro_batch.unwrap_or(rows.len()).max(1)) {
            sum += self.accumulate(part, 1.0 / labels as f32, &mut gradients)?;
        }
        let step = Step::new(sum / labels as f64, labels, gradients.norm()).check()?;
        self.learner.update(gradients, step.gradient_norm, rate, clip)?;
        Ok(step)
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.learner.snapshot())
    }
}

impl Resume for NativeRun {
    fn state(&self) -> Result<Vec<u8>> {
        Ok(self.learner.state())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.learner.restore(state)
    }
}

impl Evaluate for NativeRun {
    fn evaluate(&self, rows: &[&Tokens]) -> Result<Evaluation> {
        Evaluation::of(&self.learner.network, Some(&self.learner.lora), rows)
    }
}
