//! Training every weight of a small base model.

use openledger_core::Result;
use openledger_model::{Batch, Gradients, Network, Param, Tape, Tokens, Trainable};

use super::{Evaluate, Evaluation, Resume, Run, Step, clip_factor, count_labels, resume::Snapshot};
use crate::{
    Optimiser,
    optimiser::{State, Tensor},
};

/// A run that trains a whole network, for base models small enough to hold gradients and means
/// of every weight in memory. Norms and biases do not decay.
#[derive(Debug)]
pub struct BaseRun {
    network: Network,
    optimiser: Optimiser,
    state: State,
}

impl BaseRun {
    /// Starts from the network as it is, see [`Network::init`].
    pub fn new(network: Network, optimiser: impl Into<Optimiser>) -> Self {
        Self { network, optimiser: optimiser.into(), state: State::default() }
    }

    /// Returns the network as trained so far.
    pub const fn network(&self) -> &Network {
        &self.network
    }
}

impl Run for BaseRun {
    fn step(&mut self, rows: &[&Tokens], rate: f64, clip: Option<f64>) -> Result<Step> {
        let labels = count_labels(rows)?;
        rows.iter().try_for_each(|row| self.network.check_tokens(&row.tokens))?;
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let wanted: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
        let mut tape = Tape::new(&self.network, None, Trainable::Base, &batch);
        let hidden = tape.run()?;
        let loss = tape.loss(&hidden, &wanted, 1.0 / labels as f32);
        let mut gradients = Gradients::of_base(self.network.weights());
        tape.backward(&mut gradients);
        let step = Step::new(loss.sum / labels as f64, labels, gradients.norm()).check()?;
        let factor = clip_factor(step.gradient_norm, clip);
        let params: Vec<Param> = self.network.weights().params().collect();
        // One tensor at a time: the network lends them only one by one.
        let mut updated: Vec<(Vec<f32>, bool)> = params
            .iter()
            .map(|&param| {
                let weights = self.network.weights();
                (weights.data(param).to_vec(), weights.shape(param).len() > 1)
            })
            .collect();
        for matrix in gradients.matrices_mut().filter(|_| factor < 1.0) {
            matrix.iter_mut().for_each(|g| *g *= factor);
        }
        let tensors =
            updated.iter_mut().zip(gradients.matrices()).map(|((parameter, decays), gradient)| {
                Tensor { parameter, gradient, decays: *decays, ratio: 1.0 }
            });
        self.state.step(&self.optimiser, rate, tensors);
        for (param, (data, _)) in params.into_iter().zip(updated) {
            self.network.data_mut(param).copy_from_slice(&data);
        }
        Ok(step)
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.network.weights().to_safetensors())
    }
}

impl Resume for BaseRun {
    fn state(&self) -> Result<Vec<u8>> {
        let weights = self.network.weights();
        let tensors: Vec<_> = weights.params().map(|param| weights.data(param)).collect();
        let tensors = tensors.iter().map(|tensor| &tensor[..]);
        Ok(Snapshot::new(&self.optimiser, tensors, &self.state, true).to_bytes())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let params: Vec<Param> = self.network.weights().params().collect();
        let sizes: Vec<usize> =
            params.iter().map(|&param| self.network.weights().data(param).len()).collect();
        let (tensors, state) = Snapshot::parse(state)?.take(&self.optimiser, &sizes)?;
        for (param, data) in params.into_iter().zip(tensors) {
            self.network.data_mut(param).copy_from_slice(&data);
        }
        self.state = state;
        Ok(())
    }
}

impl Evaluate for BaseRun {
    fn evaluate(&self, rows: &[&Tokens]) -> Result<Evaluation> {
        Evaluation::of(&self.network, None, rows)
    }
}
