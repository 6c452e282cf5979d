//! Lion (Chen et al., 2023).

use serde::{Deserialize, Serialize};

use super::Tensor;

/// Steps by the sign of a mean of gradients: half of Adam's memory. Wants a step size some three to
/// ten times smaller than Adam's.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Lion {
    /// How much of the mean decides the sign; the rest is the gradient.
    pub beta1: f64,
    /// Decay of the mean.
    pub beta2: f64,
    /// Part of each parameter taken off at each step, times the step size.
    pub weight_decay: f64,
}

impl Default for Lion {
    /// The paper's constants, without decay.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, weight_decay: 0.0 }
    }
}

impl Lion {
    /// Returns this with another weight decay.
    #[must_use]
    pub const fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    pub(super) fn step(&self, rate: f64, tensor: &mut Tensor<'_>, mean: &mut [f32]) {
        let (beta1, beta2) = (self.beta1 as f32, self.beta2 as f32);
        let (rest1, rest2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        let keep = if tensor.decays { (1.0 - rate * self.weight_decay) as f32 } else { 1.0 };
        let rate = rate as f32;
        for ((p, &g), m) in tensor.parameter.iter_mut().zip(tensor.gradient).zip(mean) {
            let direction = beta1 * *m + rest1 * g;
            // Unlike `signum`, nothing for nothing.
            let sign = f32::from(i8::from(direction > 0.0) - i8::from(direction < 0.0));
            *p = *p * keep - rate * sign;
            *m = beta2 * *m + rest2 * g;
        }
    }
}
