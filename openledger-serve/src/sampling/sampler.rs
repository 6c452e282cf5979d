//! One answer's choices.

use openledger_kernels::argmax;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{
    Sampling,
    candidates::{Weighted, candidates},
    options::FORBIDS,
    penalties::Penalties,
};

/// A sampler with its own randomness: what else is in a batch changes nothing.
///
/// Each choice by chance takes one number of 64 bits, each other none.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    penalties: Penalties,
    random: ChaCha8Rng,
    /// Logits as they are changed.
    row: Vec<f32>,
}

/// What may not be chosen this time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits<'a> {
    /// A bit for each token that is allowed, in words of 32; all are without it.
    pub(super) allowed: Option<&'a [u32]>,
    /// Tokens that are not.
    pub(super) banned: &'a [u32],
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let penalties = Penalties::new(&sampling, prompt);
        let random = ChaCha8Rng::seed_from_u64(sampling.seed);
        Self { sampling, penalties, random, row: Vec::new() }
    }

    /// Chooses a token; `None` if every one is forbidden or no logit is a number.
    pub(super) fn choose(&mut self, logits: &[f32], limits: Limits<'_>) -> Option<u32> {
        let mut row = std::mem::take(&mut self.row);
        let chosen = match self.change(&mut row, logits, limits) {
            true => self.decide(&row),
            false => self.decide(logits),
        };
        self.row = row;
        self.penalties.push(chosen?);
        chosen
    }

    /// Writes the logits with bias, limits and penalties to `row`; `false` if there is none of them.
    fn change(&self, row: &mut Vec<f32>, logits: &[f32], limits: Limits<'_>) -> bool {
        let limited = limits.allowed.is_some() || !limits.banned.is_empty();
        if self.sampling.bias.is_empty() && !limited && !self.penalties.any() {
            return false;
        }
        row.clear();
        row.extend_from_slice(logits);
        for (&token, &bias) in &self.sampling.bias {
            if let Some(logit) = row.get_mut(token as usize) {
                *logit = if bias <= FORBIDS { f32::NEG_INFINITY } else { *logit + bias };
            }
        }
        if let Some(allowed) = limits.allowed {
            let words = allowed.iter().copied().chain(std::iter::repeat(0));
            for (logits, word) in row.chunks_mut(32).zip(words) {
                forbid(logits, word);
            }
        }
        for &token in limits.banned {
            if let Some(logit) = row.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        self.penalties.apply(row);
        true
    }

    fn decide(&mut self, row: &[f32]) -> Option<u32> {
        let likeliest = argmax(row)?;
        let largest = row[likeliest];
        if largest == f32::NEG_INFINITY {
            return None;
        }
        // An infinite logit leaves nothing to chance.
        if self.sampling.temperature <= 0.0 || largest == f32::INFINITY {
            return u32::try_from(likeliest).ok();
        }
        let kept = candidates(row, largest, &self.sampling);
        self.draw(&kept)
    }

    /// Draws in proportion to the weights.
    fn draw(&mut self, candidates: &[Weighted]) -> Option<u32> {
        let total: u64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let product = u128::from(self.random.next_u64()) * u128::from(total);
        let mut left = (product >> 64) as u64;
        for candidate in candidates {
            match left.checked_sub(candidate.weight) {
                Some(rest) => left = rest,
                None => return Some(candidate.token),
            }
        }
        None
    }
}

/// Forbids the tokens whose bits are not set.
fn forbid(logits: &mut [f32], word: u32) {
    match word {
        u32::MAX => {}
        0 => logits.fill(f32::NEG_INFINITY),
        word => {
            for (bit, logit) in logits.iter_mut().enumerate() {
                if word & (1 << bit) == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limits<'_> = Limits { allowed: None, banned: &[] };

    fn draws(sampling: Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, &[]);
        (0..count).map(|_| sampler.choose(logits, FREE).unwrap()).collect()
    }

    /// Pearson's statistic of draws against probabilities.
    fn chi_square(drawn: &[u32], probabilities: &[f64]) -> f64 {
        let mut counts = vec![0f64; probabilities.len()];
        drawn.iter().for_each(|&token| counts[token as usize] += 1.0);
        let expected = probabilities.iter().map(|p| p * drawn.len() as f64);
        counts
            .iter()
            .zip(expected)
            .map(|(count, expected)| match expected {
                0.0 => count * 1e9,
                expected => (count - expected).powi(2) / expected,
            })
            .sum()
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let e = std::f64::consts::E;
        let all = 1.0 + e + e * e;
        let logits = [0.0, 2.0, f32::NEG_INFINITY, 4.0];
        for (sampling, expected) in [
            (Sampling::with_temperature(2.0, 7), [1.0 / all, e / all, 0.0, e * e / all]),
            (Sampling::with_temperature(2.0, 8).with_top_k(2), {
                [0.0, e / (e + e * e), 0.0, e * e / (e + e * e)]
            }),
            (Sampling::with_temperature(2.0, 9).with_top_p(0.7), {
                [0.0, e / (e + e * e), 0.0, e * e / (e + e * e)]
            }),
            (Sampling::with_temperature(2.0, 10).with_min_p(0.5), [0.0, 0.0, 0.0, 1.0]),
            (Sampling::with_temperature(2.0, 11).with_bias(0, 2.0).with_bias(3, -100.0), {
                [0.5, 0.5, 0.0, 0.0]
            }),
        ] {
            let drawn = draws(sampling.clone(), &logits, 20_000);
            // At two degrees of freedom one in ten thousand is above 18.4.
            let statistic = chi_square(&drawn, &expected);
            assert!(statistic < 18.4, "{sampling:?}: {statistic}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let sampling = Sampling::with_temperature(5.0, 1);
        assert_eq!(draws(sampling.clone(), &logits, 20), draws(sampling.clone(), &logits, 20));
        assert_ne!(draws(sampling, &logits, 20), {
            draws(Sampling::with_temperature(5.0, 2), &logits, 20)
        });
    }

    #[test]
    fn tokens_of_a_seed_stay_as_they_are_between_versions() {
        let logits: Vec<f32> = (0..40).map(|i| ((i * 29) % 17) as f32 / 4.0).collect();
        let sampling = Sampling::with_temperature(1.5, 3).with_top_k(30).with_top_p(0.9);
        assert_eq!(draws(sampling, &logits, 8), GOLDEN);
    }

    const GOLDEN: [u32; 8] = [24, 4, 12, 4, 24, 31, 7, 7];

    #[test]
    fn one_token_left_is_the_likeliest() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let warm = Sampling::with_temperature(5.0, 1);
        for sampling in [
            Sampling::GREEDY,
            warm.clone().with_top_k(1),
            warm.with_top_p(0.0),
            Sampling::with_temperature(1e-30, 4),
        ] {
            let drawn = draws(sampling, &logits, 20);
            assert!(drawn.iter().all(|&token| token % 7 == 6));
        }
        assert_eq!(draws(Sampling::GREEDY, &logits, 1), [6]);
    }

    #[test]
    fn limits_hold_whatever_is_likely() {
        let logits: Vec<f32> = (0..70).map(|i| i as f32).collect();
        let mut sampler = Sampler::new(Sampling::GREEDY, &[]);
        // Tokens 0, 3, 33; and nothing is known of the 64th and later.
        let allowed = [0b1001, 0b10];
        let mut choose =
            |banned: &[u32]| sampler.choose(&logits, Limits { allowed: Some(&allowed), banned });
        assert_eq!(choose(&[]), Some(33));
        assert_eq!(choose(&[33]), Some(3));
        assert_eq!(choose(&[33, 3, 0]), None);
        assert_eq!(sampler.choose(&logits, FREE), Some(69));
    }

    #[test]
    fn what_is_no_number_is_not_chosen() {
        let warm = Sampling::with_temperature(1.0, 1);
        for sampling in [Sampling::GREEDY, warm] {
            let mut sampler = Sampler::new(sampling, &[]);
            assert_eq!(sampler.choose(&[f32::NAN], FREE), None);
            assert_eq!(sampler.choose(&[f32::NAN, 1.0, f32::NAN], FREE), Some(1));
            assert_eq!(sampler.choose(&[0.0, f32::INFINITY], FREE), Some(1));
            assert_eq!(sampler.choose(&[f32::NEG_INFINITY; 3], FREE), None);
        }
    }

    #[test]
    fn penalties_move_a_greedy_answer_on() {
        let sampling = Sampling::GREEDY.with_presence_penalty(1.5);
        assert_eq!(draws(sampling, &[3.0, 2.0, 1.0], 4), [0, 1, 0, 0]);
        let sampling = Sampling::GREEDY.with_frequency_penalty(1.5);
        assert_eq!(draws(sampling, &[3.0, 2.0, 1.0], 4), [0, 1, 0, 2]);
    }
}
