//! What computes a training step.
//!
//! Token ids go in, a loss comes out, and at the end the bytes of a safetensors file: no tensor
//! crosses the border, so a backend may be anything from a loop to a cluster.

mod base;
mod candle;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod evaluate;
mod learner;
mod native;
mod resume;

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{LoraConfig, Network, Tokens};

pub use base::BaseRun;
pub use candle::Candle;
pub use evaluate::{Evaluate, Evaluation, evaluate};
pub(crate) use learner::Learner;
pub use native::{Native, NativeRun};
pub use resume::Resume;

use crate::Optimiser;

/// Starts runs that train an adapter. Implement this to train in a new way; call
/// [`fit`](crate::fit()) with the run.
pub trait Backend: fmt::Debug {
    /// Starts a run from the matrices in `start`, an `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] or [`ErrorKind::Invalid`] if `start` does not fit;
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Unsupported`] if the backend cannot run.
    fn start(
        &self,
        network: Arc<Network>,
        lora: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
    ) -> Result<Box<dyn Run>>;
}

/// A training run between two steps.
///
/// # Contract
/// - The loss of a step is the mean over its label tokens, before the update.
/// - After an error the parameters are those before the step.
/// - Equal steps from an equal start give equal results within the backend's arithmetic.
pub trait Run: fmt::Debug {
    /// Takes one step: the loss of `rows`, its gradient clipped to the norm `clip`, and an update
    /// of size `rate`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if no token of `rows` is to be learned, a token is unknown, or the
    /// loss or gradient is not finite; [`ErrorKind::Unavailable`] if a device fails.
    fn step(&mut self, rows: &[&Tokens], rate: f64, clip: Option<f64>) -> Result<Step>;

    /// Returns what has been learned so far, as a safetensors file.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if a device fails.
    fn snapshot(&self) -> Result<Vec<u8>>;
}

/// A run whose matrices can be exchanged between two steps: what decentralised training asks of one.
pub trait Replace: Run {
    /// Goes on from the matrices in `weights`, an `adapter_model.safetensors` of the same tensors. What the
    /// optimiser keeps of the steps before stays.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] or [`ErrorKind::Invalid`] if `weights` does not fit; then nothing has changed.
    fn replace(&mut self, weights: &[u8]) -> Result<()>;
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// Mean cross-entropy of the label tokens, in nats.
    pub loss: f64,
    /// Label tokens.
    pub labels: usize,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
}

impl Step {
    /// Makes a report of a step, for backends.
    pub const fn new(loss: f64, labels: usize, gradient_norm: f64) -> Self {
        Self { loss, labels, gradient_norm }
    }

    /// Refuses a step whose numbers are not finite.
    pub(crate) fn check(self) -> Result<Self> {
        if self.loss.is_finite() && self.gradient_norm.is_finite() {
            return Ok(self);
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "loss {} with a gradient of norm {}: lower the step size",
                self.loss, self.gradient_norm
            ),
        ))
    }
}

/// Counts the label tokens of a step.
fn count_labels(rows: &[&Tokens]) -> Result<usize> {
    match rows.iter().map(|row| row.labels().iter().flatten().count()).sum() {
        0 => {
            Err(Error::invalid("no token of these rows is to be learned: are they cut too short?"))
        }
        labels => Ok(labels),
    }
}

/// Returns what a gradient of norm `norm` is multiplied by, as `PyTorch`'s `clip_grad_norm_`.
fn clip_factor(norm: f64, clip: Option<f64>) -> f32 {
    clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0)) as f32
}
