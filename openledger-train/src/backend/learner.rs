//! What learns on our own kernels: an adapter, and what the optimiser keeps of it.

use std::sync::Arc;

use openledger_core::{Error, Result};
use openledger_model::{Gradients, Lora, LoraConfig, Network, Part};

use super::{clip_factor, resume::Snapshot};
use crate::{
    Optimiser,
    optimiser::{State, Tensor},
};

#[derive(Debug)]
pub(crate) struct Learner {
    pub(crate) network: Arc<Network>,
    pub(crate) lora: Lora,
    config: LoraConfig,
    optimiser: Optimiser,
    state: State,
    /// Whether every layer was seen to get a gradient.
    proven: bool,
}

impl Learner {
    pub(crate) fn start(
        network: Arc<Network>,
        config: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
    ) -> Result<Self> {
        let lora = Lora::from_safetensors(&network, config, start)?;
        let (config, state) = (config.clone(), State::default());
        Ok(Self { network, lora, config, optimiser, state, proven: false })
    }

    /// Takes a step against `gradients`, whose norm is `norm`.
    pub(crate) fn update(
        &mut self,
        mut gradients: Gradients,
        norm: f64,
        rate: f64,
        clip: Option<f64>,
    ) -> Result<()> {
        if !self.proven {
            self.prove(&gradients)?;
            self.proven = true;
        }
        let factor = clip_factor(norm, clip);
        for matrix in gradients.matrices_mut().filter(|_| factor < 1.0) {
            matrix.iter_mut().for_each(|g| *g *= factor);
        }
        let parts = self.lora.parts_mut().zip(gradients.matrices());
        let tensors = parts.map(|((part, parameter), gradient)| {
            // PEFT's LoRA+ gives magnitudes, as all that is no matrix, the larger steps too.
            let ratio = match part {
                Part::B | Part::Magnitude => self.optimiser.b_ratio,
                Part::A | Part::Table => 1.0,
            };
            Tensor { parameter, gradient, decays: true, ratio }
        });
        self.state.step(&self.optimiser, rate, tensors);
        Ok(())
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        let matrices = self.lora.parts().map(|(_, part)| part);
        Snapshot::new(&self.optimiser, matrices, &self.state, self.proven).to_bytes()
    }

    pub(crate) fn restore(&mut self, state: &[u8]) -> Result<()> {
        let stored = Snapshot::parse(state)?;
        let sizes: Vec<usize> = self.lora.parts().map(|(_, part)| part.len()).collect();
        let (matrices, state) = stored.take(&self.optimiser, &sizes)?;
        for ((_, ours), stored) in self.lora.parts_mut().zip(matrices) {
            ours.copy_from_slice(&stored);
        }
        (self.state, self.proven) = (state, stored.proven);
        Ok(())
    }

    /// Goes on from other matrices; what the optimiser keeps stays.
    pub(crate) fn replace(&mut self, weights: &[u8]) -> Result<()> {
        self.lora = Lora::from_safetensors(&self.network, &self.config, weights)?;
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.lora.to_files(&self.network, &self.config).weights.into()
    }

    /// Checks that each layer's `B` gets a gradient (`A`'s is zero while `B` is). An expert may get
    /// none: no token of the first rows may be sent to it.
    fn prove(&self, gradients: &Gradients) -> Result<()> {
        let parts = self
            .lora
            .pairs()
            .flat_map(|(site, pair)| pair.parts().map(move |(part, _)| (site, part)));
        let of_b = parts.zip(gradients.matrices()).filter(|((_, part), _)| *part == Part::B);
        for ((site, _), gradient) in of_b {
            let name = self.network.weights().name(site);
            if gradient.iter().all(|&g| g == 0.0) && !name.contains(".experts.") {
                return Err(Error::invalid(format!("`{name}` gets no gradient from these rows")));
            }
        }
        Ok(())
    }
}
