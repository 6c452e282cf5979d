//! Of two answers to a prompt, which is the better.

use openledger_core::{B256, Result};
use openledger_model::Tokens;
use serde::{Deserialize, Serialize};

use super::{Judgement, LogP, Loss, Objective, judgement::digest_of, pass::count};

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

impl Judgement for Pair {
    fn answers(&self) -> Vec<&Tokens> {
        vec![&self.chosen, &self.rejected]
    }

    fn digest(&self) -> B256 {
        digest_of("openledger.pair.v1", &self.answers(), 0.0)
    }
}

impl Objective for Preference {
    type Example = Pair;

    /// The mean over some pairs.
    fn loss(&self, pairs: &[&Pair], log_p: &LogP<'_>) -> Result<Loss> {
        let (mut total, mut right) = (0.0, 0);
        let mut slopes = Vec::with_capacity(log_p.ours.len());
        for (index, pair) in pairs.iter().enumerate() {
            let at = [2 * index, 2 * index + 1];
            let (ours, base) = (at.map(|at| log_p.ours[at]), at.map(|at| log_p.base[at]));
            let counts = [&pair.chosen, &pair.rejected].map(|answer| count(answer) as f64);
            let (loss, of_pair) = self.of_pair(ours, base, counts);
            total += loss;
            slopes.extend(of_pair.map(|slope| slope / pairs.len() as f64));
            right += usize::from(self.tells(ours, base, counts));
        }
        Ok(Loss::new(total / pairs.len() as f64, slopes).with_right(right))
    }

    fn compares(&self) -> bool {
        matches!(self, Self::Dpo { .. } | Self::Ipo { .. })
    }
}

impl Preference {
    /// Whether the better answer is given the larger reward.
    fn tells(self, ours: [f64; 2], base: [f64; 2], counts: [f64; 2]) -> bool {
        let rewards = match self {
            Self::Dpo { .. } => [0, 1].map(|at| ours[at] - base[at]),
            Self::Ipo { .. } | Self::Orpo { .. } | Self::Simpo { .. } => {
                [0, 1].map(|at| (ours[at] - base[at]) / counts[at])
            }
        };
        rewards[0] > rewards[1]
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
