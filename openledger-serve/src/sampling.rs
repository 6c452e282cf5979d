//! Choosing the next token.

use openledger_kernels::argmax;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// How a token is chosen among the likely ones.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// Logits are divided by this; at 0 the most likely token is taken.
    pub temperature: f32,
    /// Only this many of the most likely tokens are considered, if given.
    pub top_k: Option<usize>,
    /// Decides everything chance decides.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::GREEDY
    }
}

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: None, seed: 0 };

    /// Chooses by chance.
    pub const fn with_temperature(temperature: f32, seed: u64) -> Self {
        Self { temperature, top_k: None, seed }
    }

    /// Returns this considering only the `top_k` most likely tokens.
    #[must_use]
    pub const fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = Some(top_k);
        self
    }
}

/// A sampler with its own randomness: what else is in a batch changes nothing.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// Chooses a token; `None` if no logit is a number.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        let likeliest = argmax(logits)?;
        if self.sampling.temperature <= 0.0 {
            return u32::try_from(likeliest).ok();
        }
        let mut order: Vec<usize> = (0..logits.len()).filter(|&i| !logits[i].is_nan()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        order.truncate(self.sampling.top_k.unwrap_or(usize::MAX).max(1));
        let largest = f64::from(logits[likeliest]);
        let temperature = f64::from(self.sampling.temperature);
        let weights: Vec<f64> = order
            .iter()
            .map(|&i| libm::exp((f64::from(logits[i]) - largest) / temperature))
            .collect();
        let unit = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = unit * weights.iter().sum::<f64>();
        let mut chosen = likeliest;
        for (&token, weight) in order.iter().zip(weights) {
            chosen = token;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        u32::try_from(chosen).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_softmax() {
        let mut sampler = Sampler::new(Sampling::with_temperature(2.0, 7));
        let logits = [0.0, 2.0, f32::NEG_INFINITY, 4.0];
        let mut counts = [0f64; 4];
        for _ in 0..20_000 {
            counts[sampler.choose(&logits).unwrap() as usize] += 1.0 / 20_000.0;
        }
        let e = std::f64::consts::E;
        let sum = 1.0 + e + e * e;
        for (count, expected) in counts.iter().zip([1.0 / sum, e / sum, 0.0, e * e / sum]) {
            assert!((count - expected).abs() < 0.02, "{counts:?}");
        }
    }

    #[test]
    fn the_seed_decides_and_top_k_cuts() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let draw = |sampling| -> Vec<u32> {
            let mut sampler = Sampler::new(sampling);
            (0..20).map(|_| sampler.choose(&logits).unwrap()).collect()
        };
        let sampling = Sampling::with_temperature(5.0, 1);
        assert_eq!(draw(sampling), draw(sampling));
        assert_ne!(draw(sampling), draw(Sampling::with_temperature(5.0, 2)));
        assert!(draw(sampling.with_top_k(1)).iter().all(|&token| token == 6));
        assert!(draw(Sampling::GREEDY).iter().all(|&token| token == 6));
        assert_eq!(Sampler::new(Sampling::GREEDY).choose(&[f32::NAN]), None);
    }
}
