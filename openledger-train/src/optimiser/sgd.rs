//! Stochastic gradient descent.

use serde::{Deserialize, Serialize};

use super::Tensor;

/// Steps by the gradient, or by a decaying sum of gradients. The arithmetic is that of
/// `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sgd {
    /// Decay of the sum; zero for the gradient alone.
    pub momentum: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
}

impl Sgd {
    /// Returns this with a decaying sum.
    #[must_use]
    pub const fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Returns this with another weight decay.
    #[must_use]
    pub const fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    pub(super) fn step(&self, steps: i32, rate: f64, tensor: &mut Tensor<'_>, sum: &mut [f32]) {
        let momentum = if steps == 1 { 0.0 } else { self.momentum as f32 };
        let decay = if tensor.decays { self.weight_decay as f32 } else { 0.0 };
        let rate = rate as f32;
        for ((p, &g), s) in tensor.parameter.iter_mut().zip(tensor.gradient).zip(sum) {
            *s = momentum * *s + (g + decay * *p);
            *p -= rate * *s;
        }
    }
}
