//! The filters against a slow reading of what they promise.

use proptest::prelude::*;

use super::*;

/// Sorts everything and filters step by step in double precision: probabilities by token, and by how
/// much each token missed or made the cut of top-p.
fn slowly(row: &[f32], sampling: &Sampling) -> Vec<(u32, f64, f64)> {
    let mut order: Vec<(u32, f64)> = (0u32..)
        .zip(row)
        .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
        .map(|(token, &logit)| (token, f64::from(logit)))
        .collect();
    order.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    order.truncate(sampling.top_k.unwrap_or(usize::MAX));
    let temperature = f64::from(sampling.temperature);
    let exps: Vec<f64> =
        order.iter().map(|(_, l)| ((l - order[0].1) / temperature).exp()).collect();
    let sum: f64 = exps.iter().sum();
    let mut before = 0.0;
    let mut kept = Vec::new();
    for (&(token, _), exp) in order.iter().zip(&exps) {
        let slack = f64::from(sampling.top_p) - before;
        let likely = exp / exps[0] - f64::from(sampling.min_p);
        kept.push((token, exp / sum, if kept.is_empty() { 1.0 } else { slack.min(likely) }));
        before += exp / sum;
    }
    kept
}

fn largest(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

proptest! {
    #[test]
    fn filters_leave_what_the_slow_ones_leave(
        row in proptest::collection::vec(prop_oneof![8 => -9.0f32..9.0, 1 => Just(1.0), 1 => Just(f32::NEG_INFINITY)], 1..300),
        temperature in 0.2f32..4.0,
        top_k in proptest::option::of(1usize..400),
        top_p in prop_oneof![Just(1.0f32), 0.0f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..1.0],
    ) {
        prop_assume!(largest(&row).is_finite());
        let sampling = Sampling { temperature, top_k, top_p, min_p, ..Sampling::GREEDY };
        let fast = candidates(&row, largest(&row), &sampling);
        prop_assert!(fast.is_sorted_by_key(|candidate| candidate.token));
        let slow = slowly(&row, &sampling);
        let weight = |token| fast.iter().find(|c| c.token == token).map(|c| c.weight);
        // Tokens that only just make a cut may be judged otherwise in single precision.
        for &(token, _, slack) in &slow {
            prop_assert!(slack < 1e-5 || weight(token).is_some(), "{token} is missing");
            prop_assert!(slack > -1e-5 || weight(token).is_none(), "{token} is too much");
        }
        prop_assert!(fast.iter().all(|c| slow.iter().any(|s| s.0 == c.token)));
        for &(token, p, _) in &slow {
            if let Some(weight) = weight(token) {
                prop_assert!((weight as f64 / ONE - p).abs() < 1e-5 * p + 1e-9);
            }
        }
    }

    #[test]
    fn the_shortlist_is_the_head_of_the_sorted_row(
        row in proptest::collection::vec(prop_oneof![(-4i8..4).prop_map(f32::from), Just(f32::NAN)], 0..2000),
        count in 0usize..300,
    ) {
        let mut sorted: Vec<(u32, f32)> =
            (0u32..).zip(row.iter().copied()).filter(|(_, logit)| !logit.is_nan()).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        sorted.truncate(count);
        prop_assert_eq!(likeliest(&row, count), sorted);
    }
}

#[test]
fn of_equals_the_smaller_tokens_stay() {
    let tokens = |sampling: &Sampling| -> Vec<u32> {
        candidates(&[1.0; 8], 1.0, sampling).iter().map(|candidate| candidate.token).collect()
    };
    let sampling = Sampling::with_temperature(1.0, 0);
    assert_eq!(tokens(&sampling.clone().with_top_k(3)), [0, 1, 2]);
    assert_eq!(tokens(&sampling.clone().with_top_p(0.5)), [0, 1, 2, 3]);
    assert_eq!(tokens(&sampling.clone().with_top_p(0.51)), [0, 1, 2, 3, 4]);
    assert_eq!(tokens(&sampling.clone().with_top_p(0.0)), [0]);
    assert_eq!(tokens(&sampling.with_min_p(1.0)), [0, 1, 2, 3, 4, 5, 6, 7]);
}
