//! Training on our own kernels.

use std::sync::Arc;

use openledger_core::Result;
use openledger_model::{Batch, Gradients, LoraConfig, Network, Tape, Tokens, Trainable};

use super::{Backend, Replace, Run, Step, count_labels, learner::Learner};
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

/// A run of [`Native`].
#[derive(Debug)]
pub struct NativeRun(Learner);

impl NativeRun {
    /// Starts from the matrices in `start`, as [`Native`] does.
    ///
    /// # Errors
    /// Those of [`Backend::start`].
    pub fn start(
        network: Arc<Network>,
        lora: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
    ) -> Result<Self> {
        Learner::start(network, lora, optimiser, start).map(Self)
    }
}

impl Replace for NativeRun {
    fn replace(&mut self, weights: &[u8]) -> Result<()> {
        self.0.replace(weights)
    }
}

impl Run for NativeRun {
    fn step(&mut self, rows: &[&Tokens], rate: f64, clip: Option<f64>) -> Result<Step> {
        let Self(learner) = self;
        let labels = count_labels(rows)?;
        rows.iter().try_for_each(|row| learner.network.check_tokens(&row.tokens))?;
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let wanted: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
        let mut tape = Tape::new(&learner.network, Some(&learner.lora), Trainable::Lora, &batch);
        let hidden = tape.run()?;
        let loss = tape.loss(&hidden, &wanted, 1.0 / labels as f32);
        let mut gradients = Gradients::of_lora(&learner.lora);
        tape.backward(&mut gradients);
        let step = Step::new(loss.sum / labels as f64, labels, gradients.norm()).check()?;
        learner.update(gradients, step.gradient_norm, rate, clip)?;
        Ok(step)
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.0.snapshot())
    }
}
