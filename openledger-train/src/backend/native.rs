//! Training on our own kernels.

use std::sync::Arc;

use openledger_core::{Error, Result};
use openledger_model::{Batch, Gradients, Lora, LoraConfig, Network, Tape, Tokens, Trainable};

use super::{Backend, Run, Step, clip_factor, count_labels};
use crate::{AdamW, optimiser::Moments};

/// The default backend: the tape's gradients, the same bits on every machine and thread count.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to configure")]
pub struct Native;

impl Backend for Native {
    fn start(
        &self,
        network: Arc<Network>,
        lora: &LoraConfig,
        optimiser: AdamW,
        start: &[u8],
    ) -> Result<Box<dyn Run>> {
        let matrices = Lora::from_safetensors(&network, lora, start)?;
        let config = lora.clone();
        Ok(Box::new(NativeRun {
            network,
            config,
            lora: matrices,
            optimiser,
            moments: Moments::default(),
            proven: false,
        }))
    }
}

#[derive(Debug)]
struct NativeRun {
    network: Arc<Network>,
    config: LoraConfig,
    lora: Lora,
    optimiser: AdamW,
    moments: Moments,
    /// Whether every layer was seen to get a gradient.
    proven: bool,
}

impl Run for NativeRun {
    fn step(&mut self, rows: &[&Tokens], rate: f64, clip: Option<f64>) -> Result<Step> {
        let labels = count_labels(rows)?;
        rows.iter().try_for_each(|row| self.network.check_tokens(&row.tokens))?;
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let wanted: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
        let mut tape = Tape::new(&self.network, Some(&self.lora), Trainable::Lora, &batch);
        let hidden = tape.run()?;
        let loss = tape.loss(&hidden, &wanted, 1.0 / labels as f32);
        let mut gradients = Gradients::of_lora(&self.lora);
        tape.backward(&mut gradients);
        let step = Step::new(loss.sum / labels as f64, labels, gradients.norm()).check()?;
        if !self.proven {
            self.prove(&gradients)?;
            self.proven = true;
        }
        let factor = clip_factor(step.gradient_norm, clip);
        for matrix in gradients.matrices_mut().filter(|_| factor < 1.0) {
            matrix.iter_mut().for_each(|g| *g *= factor);
        }
        let matrices =
            self.lora.pairs_mut().flat_map(|(_, pair)| [&mut pair.a[..], &mut pair.b[..]]);
        let tensors = matrices.zip(gradients.matrices()).map(|(p, g)| (p, g, true));
        self.moments.step(&self.optimiser, rate, tensors);
        Ok(step)
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.lora.to_files(&self.network, &self.config).weights)
    }
}

impl NativeRun {
    /// Checks that each layer's `B` gets a gradient (`A`'s is zero while `B` is).
    fn prove(&self, gradients: &Gradients) -> Result<()> {
        let of_b = gradients.matrices().skip(1).step_by(2);
        for ((site, _), gradient) in self.lora.pairs().zip(of_b) {
            if gradient.iter().all(|&g| g == 0.0) {
                let name = self.network.weights().name(site);
                return Err(Error::invalid(format!("`{name}` gets no gradient from these rows")));
            }
        }
        Ok(())
    }
}
