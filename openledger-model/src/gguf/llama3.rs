//! The rotary scaling of Llama 3.1, which GGUF files hold as a divisor for each frequency.
//!
//! `rope_freqs.weight` has what each frequency is divided by: 1 for the fast ones, the factor for the
//! slow ones, and between them `1 / ((1 - s) / factor + s)`, where `s` falls linearly with the
//! frequency. Three numbers make that line and its ends (`low_freq_factor`, `high_freq_factor`, the
//! first context); they are found again from two points of it and the first context.

use openledger_core::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

use crate::{RopeConfig, RopeScaling};

/// The first context of Llama 3, if the file does not say one.
const CONTEXT: u64 = 8192;
/// How far a divisor may be from what the numbers found give: what `f32` leaves of a few products.
const TOLERANCE: f32 = 1e-5;

/// Returns the `rope_scaling` whose divisors these are.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if there is none.
pub(super) fn scaling(theta: f64, found: &[f32], context: Option<u64>) -> Result<Json> {
    let dim = 2 * found.len();
    let factor = found.iter().fold(1f32, |most, divisor| most.max(*divisor));
    let factor: f64 = factor.to_string().parse().unwrap_or(1.0);
    let context = context.unwrap_or(CONTEXT);
    let usual = [(1.0, 4.0)].into_iter();
    let solved = line(theta, found, factor).into_iter().flat_map(|(slope, start)| {
        let span = context as f64 / slope;
        let exact = (-start * span, -start * span + span);
        let snap = |x: f64| (x * 256.0).round() / 256.0;
        [(snap(exact.0), snap(exact.1)), exact]
    });
    let fits = |&(low, high): &(f64, f64)| {
        let Ok(positions) = usize::try_from(context) else { return false };
        let mut rope = RopeConfig::new(theta);
        rope.scaling = RopeScaling::Llama3 { factor, low, high, positions };
        let same = |(a, b): (&f32, f32)| (a - b).abs() <= TOLERANCE * b;
        low > 0.0 && low < high && found.iter().zip(divisors(&rope, dim)).all(same)
    };
    match usual.chain(solved).find(fits) {
        Some((low, high)) => Ok(json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low,
            "high_freq_factor": high, "original_max_position_embeddings": context,
        })),
        None => Err(Error::new(
            ErrorKind::Unsupported,
            "divisors of rotary frequencies, `rope_freqs.weight`, that are not Llama 3's",
        )),
    }
}

/// What each frequency of heads of `dim` elements is divided by.
pub(super) fn divisors(rope: &RopeConfig, dim: usize) -> Vec<f32> {
    let plain = RopeConfig::new(rope.theta).frequencies(dim);
    plain.iter().zip(rope.frequencies(dim)).map(|(plain, scaled)| plain / scaled).collect()
}

/// Finds `s` as a line over turns for each position, from the first and last point between its ends:
/// slope and start.
fn line(theta: f64, found: &[f32], factor: f64) -> Option<(f64, f64)> {
    let turns = RopeConfig::new(theta).frequencies(2 * found.len()).into_iter();
    let inner: Vec<(f64, f64)> = turns
        .zip(found)
        .map(|(frequency, &divisor)| (f64::from(frequency), f64::from(divisor)))
        .filter(|(_, divisor)| *divisor > 1.0 + 1e-6 && *divisor < factor * (1.0 - 1e-6))
        .map(|(frequency, divisor)| {
            let kept = (1.0 / divisor - 1.0 / factor) / (1.0 - 1.0 / factor);
            (frequency / (2.0 * std::f64::consts::PI), kept)
        })
        .collect();
    let (&(x0, s0), &(x1, s1)) = (inner.first()?, inner.last()?);
    let slope = (s0 - s1) / (x0 - x1);
    slope.is_finite().then_some((slope, s0 - slope * x0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_again_from_their_divisors() {
        for (theta, factor, low, high, positions, dim) in [
            (5e5, 8.0, 1.0, 4.0, 8192, 128),
            (5e5, 32.0, 1.0, 4.0, 8192, 64),
            (1e4, 4.0, 1.5, 3.0, 2048, 64),
        ] {
            let mut rope = RopeConfig::new(theta);
            rope.scaling = RopeScaling::Llama3 { factor, low, high, positions };
            let found = scaling(theta, &divisors(&rope, dim), Some(positions as u64)).unwrap();
            let near = |name: &str, expected: f64| {
                let number = found[name].as_f64().unwrap();
                assert!((number - expected).abs() < 1e-9, "{name} {number}, not {expected}");
            };
            near("factor", factor);
            near("low_freq_factor", low);
            near("high_freq_factor", high);
        }
    }

    #[test]
    fn other_divisors_are_refused() {
        let error = scaling(1e4, &[1.0, 3.0, 2.0, 5.0], None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(scaling(1e4, &[f32::NAN, 3.0], None).is_err());
    }
}
