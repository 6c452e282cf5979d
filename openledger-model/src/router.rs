//! Which experts a token goes to.

use openledger_kernels::{sigmoid, softmax};

use crate::Param;

/// Chooses experts by the product of a row with the router's weight.
///
/// Source: `DeepSeek-V2` (2024), equations 20 to 22; `DeepSeek-V3` (2024), equations 13 to 16.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Router {
    /// The weight, `[experts, width]`.
    pub weight: Param,
    /// Added to the scores for the choice, not for the weight, `[experts]`.
    pub correction: Option<Param>,
    /// What makes scores of products.
    pub scoring: Scoring,
    /// Groups of experts, of which some are left out first.
    pub groups: Option<Groups>,
    /// How many experts a token goes to.
    pub top: usize,
    /// Whether the weights of the chosen are divided by their sum.
    pub normalise: bool,
    /// What the weights are multiplied by.
    pub factor: f32,
}

/// What makes scores of a row's products with the router's weight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each has a gradient of its own")]
pub enum Scoring {
    /// The softmax over all experts.
    Softmax,
    /// The logistic function of each.
    Sigmoid,
}

/// Experts that lie together, of which only those of the best groups are chosen from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Groups {
    /// How many there are, of the same size.
    pub count: usize,
    /// How many are left in.
    pub keep: usize,
    /// A group's score is the sum of so many of its best.
    pub best: usize,
}

/// An expert chosen for a token.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Chosen {
    /// Which.
    pub expert: usize,
    /// What its result is multiplied by.
    pub weight: f32,
}

/// Divides by no less than this.
const TINY: f32 = 1e-20;

impl Router {
    /// Returns for each of `experts` the tokens sent to it, ascending, each with the expert's place
    /// among those chosen for it.
    pub fn sent(chosen: &[Vec<Chosen>], experts: usize) -> Vec<Vec<[usize; 2]>> {
        let mut sent = vec![Vec::new(); experts];
        for (token, chosen) in chosen.iter().enumerate() {
            for (place, chosen) in chosen.iter().enumerate() {
                sent[chosen.expert].push([token, place]);
            }
        }
        sent
    }

    /// Turns a token's products into scores, and returns the experts chosen, the best first.
    pub fn choose(&self, scores: &mut [f32], correction: Option<&[f32]>) -> Vec<Chosen> {
        match self.scoring {
            Scoring::Softmax => softmax(scores),
            Scoring::Sigmoid => sigmoid(scores),
        }
        let mut order: Vec<f32> = scores.to_vec();
        if let Some(correction) = correction {
            order.iter_mut().zip(correction).for_each(|(score, by)| *score += by);
        }
        if let Some(groups) = self.groups {
            groups.leave_out(&mut order);
        }
        let mut experts = by_rank(&order);
        experts.truncate(self.top);
        let divisor = match self.normalise {
            true => experts.iter().map(|&expert| scores[expert]).sum::<f32>() + TINY,
            false => 1.0,
        };
        let weight = |expert: usize| scores[expert] / divisor * self.factor;
        experts.into_iter().map(|expert| Chosen { expert, weight: weight(expert) }).collect()
    }

    /// Returns the gradient with respect to a token's products, given its scores and that with respect
    /// to the weights of the chosen.
    pub fn backward(&self, scores: &[f32], chosen: &[Chosen], dweights: &[f32]) -> Vec<f32> {
        let mut dscores = vec![0.0; scores.len()];
        let sum: f32 = chosen.iter().map(|chosen| scores[chosen.expert]).sum::<f32>() + TINY;
        let mean: f32 =
            chosen.iter().zip(dweights).map(|(chosen, dw)| dw * scores[chosen.expert] / sum).sum();
        for (chosen, dweight) in chosen.iter().zip(dweights) {
            dscores[chosen.expert] = match self.normalise {
                true => self.factor * (dweight - mean) / sum,
                false => self.factor * dweight,
            };
        }
        let mean = match self.scoring {
            Scoring::Softmax => scores.iter().zip(&dscores).map(|(score, d)| score * d).sum(),
            Scoring::Sigmoid => 0.0f32,
        };
        let products = scores.iter().zip(&dscores).map(|(score, dscore)| match self.scoring {
            Scoring::Softmax => score * (dscore - mean),
            Scoring::Sigmoid => score * (1.0 - score) * dscore,
        });
        products.collect()
    }
}

impl Groups {
    /// Makes the scores of all experts outside the best groups the least there is.
    fn leave_out(&self, scores: &mut [f32]) {
        let size = scores.len() / self.count;
        let worth: Vec<f32> = scores
            .chunks_exact(size)
            .map(|group| by_rank(group).iter().take(self.best).map(|&at| group[at]).sum())
            .collect();
        for &group in by_rank(&worth).iter().skip(self.keep) {
            scores[group * size..(group + 1) * size].fill(f32::NEG_INFINITY);
        }
    }
}

/// Places by descending value, equal ones as they lie.
fn by_rank(values: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    places
}
