//! Learning from preferences: of two answers to a prompt, which is the better.

use std::sync::Arc;

use openledger_core::{Error, Result};
use openledger_model::{Batch, Gradients, Lora, LoraConfig, Network, Tape, Tokens, Trainable};
use serde::{Deserialize, Serialize};

use crate::{Optimiser, backend::Learner, backend::Step};

/// Two answers to one prompt.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a pair is two")]
pub struct Pair {
    /// The better one, behind the prompt.
    pub chosen: Tokens,
    /// The other, behind the same prompt.
    pub rejected: Tokens,
}

/// What is made smaller. `log p` of an answer is the sum over its tokens; where it is said to be a mean,
/// their mean.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preference {
    /// `-ln sigmoid(beta * h)`, where `h` is by how much more than the base model the adapter prefers the
    /// better answer (Rafailov et al., 2023).
    Dpo {
        /// How far from the base model it may go: the larger, the less far.
        beta: f64,
    },
    /// `(h - 1 / (2 beta))^2`, over means (Azar et al., 2023).
    Ipo {
        /// As above.
        beta: f64,
    },
    /// The loss of the better answer, and `beta` times `-ln sigmoid` of the logarithm of the odds ratio of
    /// the answers, over means; without a base model to compare with (Hong et al., 2024).
    Orpo {
        /// The weight of the second part.
        beta: f64,
    },
    /// `-ln sigmoid(beta * (log p chosen - log p rejected) - gamma)`, over means, without a base model
    /// (Meng et al., 2024).
    Simpo {
        /// The scale of rewards.
        beta: f64,
        /// By how much the better answer's reward should be the larger.
        gamma: f64,
    },
}

/// A run that learns from pairs.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use openledger_model::{Lora, LoraConfig, Tokens, testing};
/// use openledger_train::{Optimiser, Pair, Preference, PreferenceRun};
///
/// let network = Arc::new(testing::tiny(1)?.network().clone());
/// let config = LoraConfig::default().with_rank(4, 8.0);
/// let start = Lora::init(&network, &config, 7)?.to_files(&network, &config);
/// let objective = Preference::Dpo { beta: 0.1 };
/// let mut run =
///     PreferenceRun::start(network, &config, Optimiser::default(), &start.weights, objective)?;
/// let pair = Pair {
///     chosen: Tokens::new(&[72, 105], &[89, 101, 115]),
///     rejected: Tokens::new(&[72, 105], &[78, 111]),
/// };
/// let before = run.step(&[&pair], 1e-2, None)?.loss;
/// assert!(run.step(&[&pair], 1e-2, None)?.loss < before);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PreferenceRun {
    learner: Learner,
    objective: Preference,
}

impl PreferenceRun {
    /// Starts from the matrices in `start`, an `adapter_model.safetensors`.
    ///
    /// # Errors
    /// Those of [`Lora::from_safetensors`].
    pub fn start(
        network: Arc<Network>,
        config: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
        objective: Preference,
    ) -> Result<Self> {
        Ok(Self { learner: Learner::start(network, config, optimiser, start)?, objective })
    }

    /// Takes one step: the mean objective of `pairs`, its gradient clipped to the norm `clip`, and an
    /// update of size `rate`. After an error nothing has changed.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without pairs, for an answer without
    /// tokens or with unknown ones, or if the loss or gradient is not finite.
    pub fn step(&mut self, pairs: &[&Pair], rate: f64, clip: Option<f64>) -> Result<Step> {
        let Learner { network, lora, .. } = &self.learner;
        let (loss, gradients) = self.objective.gradients(network, lora, pairs)?;
        let labels = pairs.iter().flat_map(|pair| pair.answers()).map(count).sum();
        let step = Step::new(loss, labels, gradients.norm()).check()?;
        self.learner.update(gradients, step.gradient_norm, rate, clip)?;
        Ok(step)
    }

    /// Returns what has been learned so far, as a safetensors file.
    pub fn snapshot(&self) -> Vec<u8> {
        self.learner.snapshot()
    }
}

impl Pair {
    fn answers(&self) -> [&Tokens; 2] {
        [&self.chosen, &self.rejected]
    }
}

/// The tokens of an answer.
fn count(answer: &Tokens) -> usize {
    answer.labels().iter().flatten().count()
}

impl Preference {
    /// The mean over some pairs, and its gradient.
    pub(crate) fn gradients(
        self,
        network: &Network,
        lora: &Lora,
        pairs: &[&Pair],
    ) -> Result<(f64, Gradients)> {
        let answers: Vec<&Tokens> = pairs.iter().flat_map(|pair| pair.answers()).collect();
        if answers.is_empty() || answers.iter().any(|answer| count(answer) == 0) {
            return Err(Error::invalid("a step without pairs, or an answer without tokens"));
        }
        answers.iter().try_for_each(|answer| network.check_tokens(&answer.tokens))?;
        let base = match self {
            Self::Dpo { .. } | Self::Ipo { .. } => log_probabilities(network, None, &answers)?,
            Self::Orpo { .. } | Self::Simpo { .. } => vec![0.0; answers.len()],
        };
        let batch = Batch::new(answers.iter().map(|answer| &answer.tokens[..]));
        let labels: Vec<Option<u32>> = answers.iter().flat_map(|answer| answer.labels()).collect();
        let mut tape = Tape::new(network, Some(lora), Trainable::Lora, &batch);
        let hidden = tape.run()?;
        let ours = by_answer(&batch, &tape.log_probabilities(&hidden, &labels));

        let (mut total, mut scales) = (0.0, vec![0.0; labels.len()]);
        for (index, pair) in pairs.iter().enumerate() {
            let at = [2 * index, 2 * index + 1];
            let counts = pair.answers().map(|answer| count(answer) as f64);
            let (loss, slopes) = self.of_pair(at.map(|at| ours[at]), at.map(|at| base[at]), counts);
            total += loss;
            for (at, slope) in at.into_iter().zip(slopes) {
                // The tape takes scales of `-log p`.
                let scale = (-slope / pairs.len() as f64) as f32;
                scales[batch.sequences()[at].clone()].fill(scale);
            }
        }
        tape.loss_each(&hidden, &labels, &scales);
        let mut gradients = Gradients::of_lora(lora);
        tape.backward(&mut gradients);
        Ok((total / pairs.len() as f64, gradients))
    }

    /// The objective of one pair, and its slopes by the answers' `log p`, given the base model's and how
    /// many tokens the answers have.
    fn of_pair(self, ours: [f64; 2], base: [f64; 2], counts: [f64; 2]) -> (f64, [f64; 2]) {
        let [chosen, rejected] = [0, 1].map(|at| ours[at] - base[at]);
        let means = [0, 1].map(|at| (ours[at] - base[at]) / counts[at]);
        let by_mean = |slope: f64| [slope / counts[0], -slope / counts[1]];
        match self {
            Self::Dpo { beta } => {
                let (loss, slope) = softplus(-beta * (chosen - rejected));
                (loss, [-beta * slope, beta * slope])
            }
            Self::Ipo { beta } => {
                let apart = means[0] - means[1] - 1.0 / (2.0 * beta);
                (apart * apart, by_mean(2.0 * apart))
            }
            Self::Orpo { beta } => {
                // ln(p / (1 - p)), and its slope by ln p.
                let odds = means.map(|mean| mean - libm::log(-libm::expm1(mean)));
                let (loss, slope) = softplus(-(odds[0] - odds[1]));
                let of_odds = means.map(|mean| -1.0 / libm::expm1(mean));
                let slopes = [-1.0 - beta * slope * of_odds[0], beta * slope * of_odds[1]];
                (beta * loss - means[0], [slopes[0] / counts[0], slopes[1] / counts[1]])
            }
            Self::Simpo { beta, gamma } => {
                let (loss, slope) = softplus(gamma - beta * (means[0] - means[1]));
                (loss, by_mean(-beta * slope))
            }
        }
    }
}

/// `ln(1 + e^x)`, which is `-ln sigmoid(-x)`, and its slope.
fn softplus(x: f64) -> (f64, f64) {
    let value = x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
    (value, 1.0 / (1.0 + libm::exp(-x)))
}

/// `log p` of each answer.
pub(crate) fn log_probabilities(
    network: &Network,
    lora: Option<&Lora>,
    answers: &[&Tokens],
) -> Result<Vec<f64>> {
    let batch = Batch::new(answers.iter().map(|answer| &answer.tokens[..]));
    let labels: Vec<Option<u32>> = answers.iter().flat_map(|answer| answer.labels()).collect();
    let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
    let hidden = tape.run()?;
    Ok(by_answer(&batch, &tape.log_probabilities(&hidden, &labels)))
}

fn by_answer(batch: &Batch, each: &[f64]) -> Vec<f64> {
    batch.sequences().iter().map(|rows| each[rows.clone()].iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_objective() {
        let (ours, counts) = ([-7.0, -9.5], [3.0, 5.0]);
        let [some, none] = [[-7.5, -9.0], [0.0; 2]];
        for (objective, base) in [
            (Preference::Dpo { beta: 0.3 }, some),
            (Preference::Ipo { beta: 0.2 }, some),
            (Preference::Orpo { beta: 0.7 }, none),
            (Preference::Simpo { beta: 2.0, gamma: 0.5 }, none),
        ] {
            let (_, slopes) = objective.of_pair(ours, base, counts);
            for at in 0..2 {
                let loss = |by: f64| {
                    let mut moved = ours;
                    moved[at] += by;
                    objective.of_pair(moved, base, counts).0
                };
                let expected = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                assert!((slopes[at] - expected).abs() < 1e-6, "{objective:?} {at}");
            }
        }
    }
}
