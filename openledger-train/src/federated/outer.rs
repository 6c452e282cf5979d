//! What the combined update of a round does to the shared matrices.

use serde::{Deserialize, Serialize};

/// The outer optimiser. Its gradient is the combined update, turned round.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outer {
    /// Takes the update as it is: averaging of models (`FedAvg`, `McMahan` et al., 2017).
    #[default]
    Average,
    /// Stochastic gradient descent with Nesterov's momentum, as `torch.optim.SGD` has it: what `DiLoCo` uses
    /// (Douillard et al., 2023). Worth it over many rounds; over a few it overshoots.
    Nesterov {
        /// The step size; 0.7 there.
        rate: f64,
        /// What is kept of the steps before; 0.9 there.
        momentum: f64,
    },
}

impl Outer {
    /// The constants of `DiLoCo`.
    pub const DILOCO: Self = Self::Nesterov { rate: 0.7, momentum: 0.9 };

    /// Returns by how much the matrices move, given the combined `update`; `velocity` is kept from round to
    /// round, empty before the first.
    pub(super) fn step(&self, velocity: &mut Vec<f32>, mut update: Vec<f32>) -> Vec<f32> {
        if let Self::Nesterov { rate, momentum } = *self {
            velocity.resize(update.len(), 0.0);
            let (rate, momentum) = (rate as f32, momentum as f32);
            for (x, v) in update.iter_mut().zip(velocity) {
                *v = momentum * *v + *x;
                *x = rate * (*x + momentum * *v);
            }
        }
        update
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesterov_is_torchs() {
        // torch.optim.SGD([1.0], lr=0.7, momentum=0.9, nesterov=True) given the gradients -0.5, -0.25, 1.
        let (mut velocity, mut x) = (Vec::new(), 1.0f32);
        let mut seen = Vec::new();
        for update in [0.5f32, 0.25, -1.0] {
            x += Outer::DILOCO.step(&mut velocity, vec![update])[0];
            seen.push(x);
        }
        // 0.5 (1 + 0.9) 0.7; v = 0.7, (0.25 + 0.63) 0.7; v = -0.37, (-1 - 0.333) 0.7.
        for (ours, expected) in seen.iter().zip([1.665, 2.281, 1.3479]) {
            assert!((ours - expected).abs() < 1e-5, "{seen:?}");
        }
        assert_eq!(Outer::Average.step(&mut Vec::new(), vec![0.5]), [0.5]);
    }
}
