//! KTO (Ethayarajh et al., 2024): of single answers, whether each is good or bad.

use openledger_core::{B256, Result};
use openledger_model::Tokens;
use serde::{Deserialize, Serialize};

use super::{Judgement, LogP, Loss, Objective, judgement::digest_of};

/// An answer that somebody found good or bad.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an answer and a judgement")]
pub struct Judged {
    /// The answer, behind its prompt.
    pub answer: Tokens,
    /// Whether it was found good.
    pub desirable: bool,
}

/// Kahneman-Tversky optimisation, as TRL 1.16 computes it (equations 7 and 8 of arXiv 2402.01306).
///
/// With `r = log p - log p_base` of an answer and `z` an estimate of how far the adapter is from the
/// base model, a good answer's loss is `desirable * (1 - sigmoid(beta (r - z)))` and a bad one's
/// `undesirable * (1 - sigmoid(beta (z - r)))`; the loss of a step is their mean.
///
/// `z` is the mean of `r` over mismatched answers, each prompt of the step followed by the answer of
/// the example before it (the first by the last one's), at least zero. It has no gradient. A
/// mismatched answer that passes what the model holds loses its end.
///
/// A step needs two examples or more: one answer is not mismatched with its own prompt. Rows of a
/// step should be of different prompts. Where there are many more of one judgement than of the other,
/// the paper keeps `desirable * good : undesirable * bad` between 1:1 and 4:3.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Kto {
    /// How far from the base model it may go: the larger, the less far.
    pub beta: f64,
    /// The weight of good answers.
    pub desirable: f64,
    /// The weight of bad answers.
    pub undesirable: f64,
}

impl Default for Kto {
    /// TRL's: a beta of 0.1, both weights 1.
    fn default() -> Self {
        Self { beta: 0.1, desirable: 1.0, undesirable: 1.0 }
    }
}

impl Kto {
    /// Returns this with another beta.
    #[must_use]
    pub const fn with_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Returns this with other weights of good and of bad answers.
    #[must_use]
    pub const fn with_weights(mut self, desirable: f64, undesirable: f64) -> Self {
        (self.desirable, self.undesirable) = (desirable, undesirable);
        self
    }

    /// The loss of one answer, and its slope by `ratio`, the answer's `log p - log p_base`.
    fn of_answer(self, desirable: bool, ratio: f64, z: f64) -> (f64, f64) {
        let (weight, sign) = match desirable {
            true => (self.desirable, 1.0),
            false => (self.undesirable, -1.0),
        };
        let value = 1.0 / (1.0 + libm::exp(-sign * self.beta * (ratio - z)));
        (weight * (1.0 - value), -sign * weight * self.beta * value * (1.0 - value))
    }
}

impl Judgement for Judged {
    fn answers(&self) -> Vec<&Tokens> {
        vec![&self.answer]
    }

    fn digest(&self) -> B256 {
        digest_of("openledger.judged.v1", &self.answers(), f64::from(u8::from(self.desirable)))
    }
}

impl Objective for Kto {
    type Example = Judged;

    fn loss(&self, judged: &[&Judged], log_p: &LogP<'_>) -> Result<Loss> {
        let count = judged.len() as f64;
        let z = (log_p.strangers.iter().sum::<f64>() / count).max(0.0);
        let (mut total, mut right) = (0.0, 0);
        let mut slopes = Vec::with_capacity(judged.len());
        for ((example, ours), base) in judged.iter().zip(log_p.ours).zip(log_p.base) {
            let ratio = ours - base;
            let (loss, slope) = self.of_answer(example.desirable, ratio, z);
            total += loss;
            slopes.push(slope / count);
            right += usize::from(if example.desirable { ratio > z } else { ratio < z });
        }
        Ok(Loss::new(total / count, slopes).with_right(right))
    }

    /// Each prompt with the answer of the example before.
    fn strangers(&self, judged: &[&Judged], limit: usize) -> Vec<Tokens> {
        mismatch(&judged.iter().map(|example| &example.answer).collect::<Vec<_>>(), limit)
    }

    fn least(&self) -> usize {
        2
    }
}

/// Puts behind each prompt the answer of the example before.
fn mismatch(matched: &[&Tokens], limit: usize) -> Vec<Tokens> {
    let before = matched.iter().cycle().skip(matched.len() - 1);
    let pairs = matched.iter().zip(before);
    pairs
        .map(|(prompt, answer)| {
            let (prompt, answer) =
                (&prompt.tokens[..prompt.prompt()], &answer.tokens[answer.prompt()..]);
            Tokens::new(prompt, &answer[..answer.len().min(limit.saturating_sub(prompt.len()))])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_gets_the_answer_before_and_no_more_than_fits() {
        let [one, two, three] = [
            Tokens::new(&[1], &[2, 3]),
            Tokens::new(&[4, 5], &[6]),
            Tokens::new(&[7, 8, 9], &[10, 11, 12]),
        ];
        let mixed = mismatch(&[&one, &two, &three], 4);
        assert_eq!(mixed[0], Tokens::new(&[1], &[10, 11, 12]));
        assert_eq!(mixed[1], Tokens::new(&[4, 5], &[2, 3]));
        assert_eq!(mixed[2], Tokens::new(&[7, 8, 9], &[6]));
        assert_eq!(mismatch(&[&one, &three], 3)[1], Tokens::new(&[7, 8, 9], &[]));
    }
}
