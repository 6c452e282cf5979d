//! `AdamW` (Loshchilov and Hutter, 2019).

use serde::{Deserialize, Serialize};

use super::Tensor;

/// Adam with weight decay decoupled from the gradient. The arithmetic is that of
/// `torch.optim.AdamW` in `f32`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AdamW {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Keeps the division finite.
    pub eps: f64,
    /// Part of each parameter taken off at each step, times the step size; decoupled from the
    /// gradient.
    pub weight_decay: f64,
}

impl Default for AdamW {
    /// `PyTorch`'s defaults.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

impl AdamW {
    /// Returns this with another weight decay.
    #[must_use]
    pub const fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Returns this with another decay of the mean of squared gradients.
    #[must_use]
    pub const fn with_beta2(mut self, beta2: f64) -> Self {
        self.beta2 = beta2;
        self
    }

    pub(super) fn step(
        &self,
        steps: i32,
        rate: f64,
        tensor: &mut Tensor<'_>,
        mean: &mut [f32],
        square: &mut [f32],
    ) {
        // What is left of the zeros each mean started from. Multiplication by multiplication: `powi`
        // may differ between machines.
        let left = |beta: f64| (0..steps).fold(1.0, |power, _| power * beta);
        let (beta1, beta2) = (self.beta1 as f32, self.beta2 as f32);
        let (rest1, rest2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        let step = (rate / (1.0 - left(self.beta1))) as f32;
        let (root, eps) = ((1.0 - left(self.beta2)).sqrt() as f32, self.eps as f32);
        let keep = if tensor.decays { (1.0 - rate * self.weight_decay) as f32 } else { 1.0 };
        let means = mean.iter_mut().zip(square);
        for ((p, &g), (m, v)) in tensor.parameter.iter_mut().zip(tensor.gradient).zip(means) {
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *p = *p * keep - step * (*m / (v.sqrt() / root + eps));
        }
    }
}
