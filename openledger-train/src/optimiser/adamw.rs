//! `AdamW` (Loshchilov and Hutter, 2019).

use serde::{Deserialize, Serialize};

/// The optimiser's constants. The step size is given with each step.
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
}

/// The means kept for a list of tensors, in `f32`.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// What is left of the zeros each mean started from: `beta^steps`.
    bias: [f64; 2],
    means: Vec<[Vec<f32>; 2]>,
}

impl Default for Moments {
    fn default() -> Self {
        Self { bias: [1.0; 2], means: Vec::new() }
    }
}

impl Moments {
    /// Moves each parameter against its gradient.
    ///
    /// `tensors` gives parameter, gradient and whether weight decay applies, in the same order at
    /// every call. The arithmetic is that of `torch.optim.AdamW` in `f32`.
    pub(crate) fn step<'a>(
        &mut self,
        options: &AdamW,
        rate: f64,
        tensors: impl Iterator<Item = (&'a mut [f32], &'a [f32], bool)>,
    ) {
        self.bias[0] *= options.beta1;
        self.bias[1] *= options.beta2;
        let correction1 = 1.0 - self.bias[0];
        let correction2 = (1.0 - self.bias[1]).sqrt();
        let (beta1, beta2) = (options.beta1 as f32, options.beta2 as f32);
        let (rest1, rest2) = ((1.0 - options.beta1) as f32, (1.0 - options.beta2) as f32);
        let step = (rate / correction1) as f32;
        let (root, eps) = (correction2 as f32, options.eps as f32);
        for (index, (parameter, gradient, decays)) in tensors.enumerate() {
            if self.means.len() == index {
                self.means.push([vec![0.0; parameter.len()], vec![0.0; parameter.len()]]);
            }
            let [mean, square] = &mut self.means[index];
            let keep = if decays { (1.0 - rate * options.weight_decay) as f32 } else { 1.0 };
            for (((p, &g), m), v) in parameter.iter_mut().zip(gradient).zip(mean).zip(square) {
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                *p = *p * keep - step * (*m / (v.sqrt() / root + eps));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_as_long_as_the_rate() {
        let mut parameter = [1.0f32, -2.0, 0.5];
        let mut moments = Moments::default();
        let options = AdamW::default().with_weight_decay(0.0);
        let gradient = [3.0, -0.1, 0.0];
        moments.step(&options, 0.01, [(&mut parameter[..], &gradient[..], true)].into_iter());
        for (moved, expected) in parameter.iter().zip([0.99, -1.99, 0.5]) {
            assert!((moved - expected).abs() < 1e-6, "{moved} {expected}");
        }
    }

    #[test]
    fn decay_shrinks_only_what_decays() {
        let (mut one, mut two) = (vec![1.0f32], vec![1.0f32]);
        let mut moments = Moments::default();
        let options = AdamW::default().with_weight_decay(0.5);
        let tensors = [(&mut one[..], &[0.0][..], true), (&mut two[..], &[0.0][..], false)];
        moments.step(&options, 0.1, tensors.into_iter());
        assert_eq!((one[0], two[0]), (0.95, 1.0));
    }
}
