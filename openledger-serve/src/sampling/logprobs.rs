//! How likely tokens were.

use openledger_core::{Error, Result};
use openledger_kernels::softmax;

use super::candidates::likeliest;
use crate::Logprobs;

/// The most likely tokens that are told beside the one written.
const MOST: usize = 20;

pub(super) fn check(count: usize) -> Result<()> {
    match count {
        0..=MOST => Ok(()),
        count => Err(Error::invalid(format!("`logprobs` is {count}, allowed are 0 to {MOST}"))),
    }
}

/// Returns how likely `token` and the `count` likeliest were, by the model's own logits.
pub(super) fn logprobs(logits: &[f32], token: u32, count: usize) -> Logprobs {
    let mut best = likeliest(logits, count.max(1));
    let Some(&(largest, shift)) = best.first() else {
        return Logprobs { chosen: f32::NEG_INFINITY, likeliest: Vec::new() };
    };
    let mut row: Vec<f32> = logits
        .iter()
        .map(|&logit| if logit.is_nan() { f32::NEG_INFINITY } else { logit })
        .collect();
    softmax(&mut row);
    // The largest weighs e^0 of the sum.
    let sum = -libm::log(f64::from(row[largest as usize]));
    let log = |logit: f32| (f64::from(logit) - f64::from(shift) - sum) as f32;
    best.truncate(count);
    Logprobs {
        chosen: logits.get(token as usize).map_or(f32::NEG_INFINITY, |&logit| log(logit)),
        likeliest: best.into_iter().map(|(token, logit)| (token, log(logit))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_the_softmax_best_first() {
        let logits = [1.0, -2.0, 3.0, f32::NEG_INFINITY, 1.0];
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = |logit: f64| logit - sum.ln();
        let told = logprobs(&logits, 1, 4);
        assert!((f64::from(told.chosen) - expected(-2.0)).abs() < 1e-6);
        let tokens: Vec<u32> = told.likeliest.iter().map(|&(token, _)| token).collect();
        assert_eq!(tokens, [2, 0, 4, 1]);
        for (token, log) in told.likeliest {
            let logit = f64::from(logits[token as usize]);
            assert!((f64::from(log) - expected(logit)).abs() < 1e-6);
        }
        assert_eq!(logprobs(&logits, 3, 0).chosen, f32::NEG_INFINITY);
        assert!(logprobs(&logits, 2, 0).likeliest.is_empty());
    }

    #[test]
    fn more_than_twenty_are_refused() {
        check(20).unwrap();
        let error = check(21).unwrap_err();
        assert_eq!(error.to_string(), "`logprobs` is 21, allowed are 0 to 20");
    }
}
