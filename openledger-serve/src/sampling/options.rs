//! How tokens are chosen, as a caller asks for it.

use std::{collections::BTreeMap, ops::RangeInclusive};

use openledger_core::{Error, Result};

/// How a token is chosen among the likely ones.
///
/// # Order
/// What is asked for is done in this order; what is left at its default does nothing:
///
/// 1. the bias is added;
/// 2. tokens that a constraint forbids are left out;
/// 3. the repetition penalty, then those for frequency and presence;
/// 4. at temperature 0 the likeliest token is taken, the smallest of equals, and that is all;
/// 5. logits are divided by the temperature;
/// 6. top-k, then top-p of what that left, then min-p;
/// 7. one number of the generator decides between the rest.
///
/// 1 to 3 are vLLM's order, 5 and 6 that of transformers.
///
/// # Arithmetic
/// Probabilities are a softmax in single precision, whose sums have a fixed order on every machine,
/// rounded to multiples of 2^-52; all that follows is integers. So the same logits, the same
/// settings and the same seed give the same token everywhere. A token less likely than 2^-52 is
/// never drawn.
///
/// # Examples
/// ```
/// use openledger_serve::Sampling;
///
/// let sampling = Sampling::with_temperature(0.8, 7).with_top_p(0.95).with_bias(13, -100.0);
/// sampling.check(32_000)?;
/// let error = sampling.with_top_p(1.5).check(32_000).unwrap_err();
/// assert_eq!(error.to_string(), "`top_p` is 1.5, allowed are 0 to 1");
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// Logits are divided by this; at 0 the most likely token is taken.
    pub temperature: f32,
    /// Only this many of the most likely tokens are considered, if given; of equals the smaller.
    pub top_k: Option<usize>,
    /// Only the fewest likely tokens that together have this probability are considered.
    pub top_p: f32,
    /// Only tokens at least this likely, compared with the likeliest, are considered.
    pub min_p: f32,
    /// Positive logits of tokens in the prompt or the answer are divided by this, negative ones
    /// multiplied with it (Keskar et al. 2019, equation 3, in the form of transformers). Above 1 the
    /// text repeats itself less.
    pub repetition_penalty: f32,
    /// Logits become smaller by this for each time the token is in the answer.
    pub frequency_penalty: f32,
    /// Logits of tokens that are in the answer become smaller by this.
    pub presence_penalty: f32,
    /// What is added to the logits of some tokens, at most 4,096 of them; -100 forbids a token.
    pub bias: BTreeMap<u32, f32>,
    /// Decides everything chance decides.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::GREEDY
    }
}

/// The bias that forbids a token.
pub(super) const FORBIDS: f32 = -100.0;

const MOST_BIASES: usize = 4096;

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: None,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        bias: BTreeMap::new(),
        seed: 0,
    };

    /// Chooses by chance.
    pub const fn with_temperature(temperature: f32, seed: u64) -> Self {
        let mut sampling = Self::GREEDY;
        sampling.temperature = temperature;
        sampling.seed = seed;
        sampling
    }

    /// Returns this considering only the `top_k` most likely tokens.
    #[must_use]
    pub const fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = Some(top_k);
        self
    }

    /// Returns this considering only the fewest tokens that together have the probability `top_p`.
    #[must_use]
    pub const fn with_top_p(mut self, top_p: f32) -> Self {
        self.top_p = top_p;
        self
    }

    /// Returns this considering only tokens at least `min_p` times as likely as the likeliest.
    #[must_use]
    pub const fn with_min_p(mut self, min_p: f32) -> Self {
        self.min_p = min_p;
        self
    }

    /// Returns this with another penalty for what is in the prompt or the answer.
    #[must_use]
    pub const fn with_repetition_penalty(mut self, penalty: f32) -> Self {
        self.repetition_penalty = penalty;
        self
    }

    /// Returns this with another penalty for each time a token is in the answer.
    #[must_use]
    pub const fn with_frequency_penalty(mut self, penalty: f32) -> Self {
        self.frequency_penalty = penalty;
        self
    }

    /// Returns this with another penalty for what is in the answer.
    #[must_use]
    pub const fn with_presence_penalty(mut self, penalty: f32) -> Self {
        self.presence_penalty = penalty;
        self
    }

    /// Returns this adding `bias` to the logit of `token`; -100 forbids it.
    #[must_use]
    pub fn with_bias(mut self, token: u32, bias: f32) -> Self {
        self.bias.insert(token, bias);
        self
    }

    /// Checks that every setting is within its range, for a model of `vocabulary` tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the field, its value and
    /// the range.
    pub fn check(&self, vocabulary: usize) -> Result<()> {
        within("temperature", self.temperature, 0.0..=f32::MAX)?;
        if self.top_k == Some(0) {
            return Err(Error::invalid("`top_k` is 0, allowed are 1 and more, or none"));
        }
        within("top_p", self.top_p, 0.0..=1.0)?;
        within("min_p", self.min_p, 0.0..=1.0)?;
        within("repetition_penalty", self.repetition_penalty, 0.01..=100.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?;
        within("presence_penalty", self.presence_penalty, -2.0..=2.0)?;
        if self.bias.len() > MOST_BIASES {
            let message =
                format!("`bias` has {} tokens, allowed are {MOST_BIASES}", self.bias.len());
            return Err(Error::invalid(message));
        }
        for (&token, &bias) in &self.bias {
            if token as usize >= vocabulary {
                let message = format!("`bias` names token {token}, the model has {vocabulary}");
                return Err(Error::invalid(message));
            }
            within("bias", bias, -100.0..=100.0)?;
        }
        Ok(())
    }
}

fn within(field: &str, value: f32, range: RangeInclusive<f32>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = range.into_inner();
    let allowed = match to {
        f32::MAX => format!("{from} and more"),
        to => format!("{from} to {to}"),
    };
    Err(Error::invalid(format!("`{field}` is {value}, allowed are {allowed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named_with_the_range() {
        let fine = Sampling::with_temperature(1.0, 0);
        fine.check(10).unwrap();
        Sampling::GREEDY.with_top_p(0.0).with_min_p(1.0).with_bias(9, 100.0).check(10).unwrap();
        for (sampling, says) in [
            (Sampling::with_temperature(-0.5, 0), "`temperature` is -0.5, allowed are 0 and more"),
            (Sampling::with_temperature(f32::NAN, 0), "`temperature` is NaN"),
            (Sampling::with_temperature(f32::INFINITY, 0), "`temperature` is inf"),
            (fine.clone().with_top_k(0), "`top_k` is 0"),
            (fine.clone().with_top_p(1.1), "`top_p` is 1.1, allowed are 0 to 1"),
            (fine.clone().with_min_p(-0.1), "`min_p`"),
            (fine.clone().with_repetition_penalty(0.0), "`repetition_penalty` is 0, allowed"),
            (fine.clone().with_frequency_penalty(2.5), "allowed are -2 to 2"),
            (fine.clone().with_presence_penalty(f32::NAN), "`presence_penalty`"),
            (fine.clone().with_bias(10, 1.0), "`bias` names token 10, the model has 10"),
            (fine.clone().with_bias(3, -101.0), "`bias` is -101"),
        ] {
            let error = sampling.check(10).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let many = (0..5000).fold(fine, |sampling, token| sampling.with_bias(token, 0.0));
        assert!(many.check(10_000).unwrap_err().to_string().contains("5000 tokens"));
    }
}
