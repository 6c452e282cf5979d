//! What moves parameters against their gradients.

mod adamw;
mod eight_bit;
mod lion;
mod sgd;
mod stored;

use openledger_kernels::EightBit;
use serde::{Deserialize, Serialize};

pub use adamw::AdamW;
pub use eight_bit::AdamW8bit;
pub use lion::Lion;
pub use sgd::Sgd;
pub(crate) use stored::Stored;

/// An optimiser and its constants. The step size is given with each step.
///
/// # Examples
/// ```
/// use openledger_train::{AdamW, Lion, Optimiser};
///
/// let plain: Optimiser = AdamW::default().into();
/// let lora_plus = Optimiser::from(Lion::default()).with_b_ratio(16.0);
/// # assert_ne!(plain, lora_plus);
/// ```
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Optimiser {
    /// The rule.
    pub rule: Rule,
    /// How much larger the steps of adapters' `B` are than those of `A`: `LoRA+` (Hayou et al., 2024)
    /// has 16, plain LoRA 1.
    pub b_ratio: f64,
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// [`AdamW`].
    AdamW(AdamW),
    /// [`AdamW8bit`].
    #[serde(rename = "adam_w_8bit")]
    AdamW8bit(AdamW8bit),
    /// [`Lion`].
    Lion(Lion),
    /// [`Sgd`].
    Sgd(Sgd),
}

impl Default for Optimiser {
    /// `AdamW` with `PyTorch`'s constants.
    fn default() -> Self {
        Self::from(AdamW::default())
    }
}

impl Optimiser {
    /// Returns this with larger steps for adapters' `B`.
    #[must_use]
    pub const fn with_b_ratio(mut self, ratio: f64) -> Self {
        self.b_ratio = ratio;
        self
    }
}

macro_rules! from_rule {
    ($($rule:ident)*) => {$(
        impl From<$rule> for Optimiser {
            fn from(rule: $rule) -> Self {
                Self { rule: Rule::$rule(rule), b_ratio: 1.0 }
            }
        }
    )*};
}

from_rule!(AdamW AdamW8bit Lion Sgd);

/// One tensor of a step.
pub(crate) struct Tensor<'a> {
    pub(crate) parameter: &'a mut [f32],
    pub(crate) gradient: &'a [f32],
    /// Whether weight decay applies.
    pub(crate) decays: bool,
    /// What the step size is multiplied by.
    pub(crate) ratio: f64,
}

/// What an optimiser keeps between steps, for a list of tensors.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    steps: i32,
    kept: Vec<Vec<Means>>,
}

/// Numbers kept for each element of a tensor, whole or in eight bits.
#[derive(Clone, Debug)]
enum Means {
    Whole(Vec<f32>),
    EightBit(EightBit),
}

impl State {
    /// Moves each parameter against its gradient. The tensors are the same, in the same order, at
    /// every call.
    pub(crate) fn step<'a>(
        &mut self,
        optimiser: &Optimiser,
        rate: f64,
        tensors: impl Iterator<Item = Tensor<'a>>,
    ) {
        self.steps += 1;
        for (index, tensor) in tensors.enumerate() {
            if self.kept.len() == index {
                self.kept.push(optimiser.rule.start(tensor.parameter.len()));
            }
            optimiser.rule.step(self.steps, rate * tensor.ratio, tensor, &mut self.kept[index]);
        }
    }
}

impl Rule {
    fn start(&self, len: usize) -> Vec<Means> {
        let whole = |count| vec![Means::Whole(vec![0.0; len]); count];
        match self {
            Self::AdamW(_) => whole(2),
            Self::AdamW8bit(rule) if len < rule.min_size => whole(2),
            Self::AdamW8bit(_) => [true, false]
                .map(|signed| Means::EightBit(EightBit::new(&vec![0.0; len], signed)))
                .into(),
            Self::Lion(_) | Self::Sgd(_) => whole(1),
        }
    }

    fn step(&self, steps: i32, rate: f64, mut tensor: Tensor<'_>, kept: &mut [Means]) {
        let mut means: Vec<Vec<f32>> = kept.iter_mut().map(Means::take).collect();
        match (self, &mut means[..]) {
            (Self::AdamW(rule), [mean, square]) => {
                rule.step(steps, rate, &mut tensor, mean, square)
            }
            (Self::AdamW8bit(rule), [mean, square]) => {
                rule.adamw.step(steps, rate, &mut tensor, mean, square);
            }
            (Self::Lion(rule), [mean]) => rule.step(rate, &mut tensor, mean),
            (Self::Sgd(rule), [mean]) => rule.step(steps, rate, &mut tensor, mean),
            _ => unreachable!("`start` keeps as many as each rule has"),
        }
        for (kept, means) in kept.iter_mut().zip(means) {
            kept.put(means);
        }
    }
}

impl Means {
    fn take(&mut self) -> Vec<f32> {
        match self {
            Self::Whole(means) => std::mem::take(means),
            Self::EightBit(blocks) => blocks.to_vec(),
        }
    }

    fn put(&mut self, means: Vec<f32>) {
        match self {
            Self::Whole(whole) => *whole = means,
            Self::EightBit(blocks) => blocks.store(&means),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes steps against a gradient and returns what became of 1.
    fn after(optimiser: impl Into<Optimiser>, rate: f64, gradients: &[f32]) -> f32 {
        let (optimiser, mut state) = (optimiser.into(), State::default());
        let mut parameter = [1.0f32];
        for gradient in gradients {
            let gradient = [*gradient];
            let parameter = &mut parameter[..];
            let tensor = Tensor { parameter, gradient: &gradient, decays: true, ratio: 1.0 };
            state.step(&optimiser, rate, [tensor].into_iter());
        }
        parameter[0]
    }

    #[track_caller]
    fn assert_near(ours: f32, expected: f32) {
        assert!((ours - expected).abs() < 1e-6, "{ours} {expected}");
    }

    #[test]
    fn the_first_step_of_adamw_is_as_long_as_the_rate() {
        let rule = AdamW::default().with_weight_decay(0.0);
        assert_near(after(rule, 0.01, &[3.0]), 0.99);
        assert_near(after(rule, 0.01, &[-0.1]), 1.01);
        assert_near(after(rule, 0.01, &[0.0]), 1.0);
    }

    #[test]
    fn decay_shrinks_only_what_decays() {
        let optimiser = Optimiser::from(AdamW::default().with_weight_decay(0.5));
        let (mut one, mut two) = ([1.0f32], [1.0f32]);
        let tensors = [(&mut one, true), (&mut two, false)].map(|(parameter, decays)| Tensor {
            parameter: &mut parameter[..],
            gradient: &[0.0],
            decays,
            ratio: 1.0,
        });
        State::default().step(&optimiser, 0.1, tensors.into_iter());
        assert_eq!((one[0], two[0]), (0.95, 1.0));
    }

    #[test]
    fn lion_steps_by_the_sign_and_sgd_by_the_sum() {
        let lion = Lion::default();
        assert_near(after(lion, 0.01, &[5.0]), 0.99);
        // The mean, 0.01 * 5, outweighs a small gradient of the other sign: 0.9 * 0.05 > 0.1 * 0.4.
        assert_near(after(lion, 0.01, &[5.0, -0.4]), 0.98);
        assert_near(after(lion, 0.01, &[5.0, -0.5]), 1.0);
        let sgd = Sgd::default().with_momentum(0.5);
        assert_near(after(sgd, 0.1, &[1.0]), 0.9);
        assert_near(after(sgd, 0.1, &[1.0, 1.0]), 0.75);
        assert_near(after(sgd.with_weight_decay(1.0), 0.1, &[0.0]), 0.9);
    }

    #[test]
    fn eight_bits_are_nearly_as_good() {
        let gradients: Vec<f32> = (0..300u16).map(|i| (f32::from(i) * 0.7).sin() + 0.3).collect();
        let run = |rule: Optimiser| {
            let mut parameters = vec![0.0f32; 300];
            let mut state = State::default();
            for _ in 0..20 {
                let parameter = &mut parameters[..];
                let gradient = &gradients[..];
                let tensor = Tensor { parameter, gradient, decays: true, ratio: 1.0 };
                state.step(&rule, 1e-2, [tensor].into_iter());
            }
            parameters
        };
        let whole = run(AdamW::default().into());
        let rough = run(AdamW8bit::default().with_min_size(0).into());
        let apart = whole.iter().zip(&rough).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart > 0.0 && apart < 0.02, "{apart}");
        assert_eq!(run(AdamW8bit::default().into()), whole, "a small tensor is kept whole");
    }

    #[test]
    fn what_is_written_is_read() {
        for optimiser in [
            Optimiser::default(),
            Optimiser::from(AdamW8bit::default()).with_b_ratio(16.0),
            Lion::default().into(),
            Sgd::default().into(),
        ] {
            let json = serde_json::to_string(&optimiser).unwrap();
            assert_eq!(serde_json::from_str::<Optimiser>(&json).unwrap(), optimiser);
        }
    }
}
