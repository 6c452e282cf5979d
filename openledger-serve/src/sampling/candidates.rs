//! The tokens that chance decides between, and how much each weighs.
//!
//! Everything costs time linear in the vocabulary: nothing sorts it.

use std::cmp::Ordering;

use openledger_kernels::softmax;

use super::Sampling;

/// A token with its probability in parts of 2^52.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Weighted {
    pub(super) token: u32,
    pub(super) weight: u64,
}

/// What a probability of one weighs.
const ONE: f64 = (1u64 << 52) as f64;

/// Returns the `count` tokens with the largest logits, likeliest first, the smaller of equals; fewer if
/// fewer are possible at all. A NaN is impossible.
pub(super) fn likeliest(row: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut kept = shortlist(row, count);
    kept.sort_unstable_by(ahead);
    kept
}

/// Returns the tokens that a row of logits and the filters leave, in the order of tokens.
///
/// `largest` is the largest logit, which is finite.
pub(super) fn candidates(row: &[f32], largest: f32, sampling: &Sampling) -> Vec<Weighted> {
    let mut kept = match sampling.top_k {
        Some(top_k) if top_k < row.len() => shortlist(row, top_k),
        _ => (0..).zip(row.iter().copied()).filter(|&(_, logit)| possible(logit)).collect(),
    };
    kept.sort_unstable_by_key(|&(token, _)| token);
    let scaled = |logit: f32| (logit - largest) / sampling.temperature;
    let mut probabilities: Vec<f32> = kept.iter().map(|&(_, logit)| scaled(logit)).collect();
    softmax(&mut probabilities);
    #[expect(clippy::cast_sign_loss, reason = "probabilities are not negative")]
    let mut weighted: Vec<Weighted> = kept
        .iter()
        .zip(probabilities)
        .map(|(&(token, _), p)| Weighted { token, weight: (f64::from(p) * ONE) as u64 })
        .collect();
    if sampling.top_p < 1.0 {
        keep_nucleus(&mut weighted, f64::from(sampling.top_p));
    }
    if sampling.min_p > 0.0 {
        let heaviest = weighted.iter().map(|candidate| candidate.weight).max().unwrap_or_default();
        let least = f64::from(sampling.min_p) * heaviest as f64;
        weighted.retain(|candidate| candidate.weight as f64 >= least);
    }
    weighted
}

/// Whether a token can be chosen at all.
fn possible(logit: f32) -> bool {
    logit > f32::NEG_INFINITY
}

fn ahead(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0))
}

/// Returns the `count` likeliest tokens in no order.
fn shortlist(row: &[f32], count: usize) -> Vec<(u32, f32)> {
    let count = count.min(row.len());
    if count == 0 {
        return Vec::new();
    }
    let most = 2 * count + 64;
    let mut kept = Vec::with_capacity(most.min(row.len()));
    // What is not above it comes after `count` others: of equals the first are kept.
    let mut floor = f32::NEG_INFINITY;
    for (token, &logit) in (0u32..).zip(row) {
        if logit > floor {
            kept.push((token, logit));
            if kept.len() == most {
                kept.select_nth_unstable_by(count - 1, ahead);
                kept.truncate(count);
                floor = kept[count - 1].1;
            }
        }
    }
    if kept.len() > count {
        kept.select_nth_unstable_by(count - 1, ahead);
        kept.truncate(count);
    }
    kept
}

/// Keeps the fewest heavy candidates, at least one, that weigh `part` of all together: nucleus
/// sampling (Holtzman et al. 2020). The order stays.
fn keep_nucleus(weighted: &mut Vec<Weighted>, part: f64) {
    let heavier = |a: &Weighted, b: &Weighted| b.weight.cmp(&a.weight).then(a.token.cmp(&b.token));
    let total: u64 = weighted.iter().map(|candidate| candidate.weight).sum();
    let wanted = part * total as f64;
    // Those lighter than their part of what may be left out can all be left out, and it is most of
    // them. The factor is for rounding.
    let light = 0.999 * (1.0 - part) * total as f64 / weighted.len().max(1) as f64;
    let mut heavy: Vec<Weighted> =
        weighted.iter().copied().filter(|candidate| candidate.weight as f64 >= light).collect();
    // Halves the place where the nucleus ends: those before `low` are in it and weigh `inside`,
    // those from `high` on are not.
    let (mut low, mut high, mut inside) = (0, heavy.len(), 0);
    while high - low > 1 {
        let middle = (high - low) / 2;
        heavy[low..high].select_nth_unstable_by(middle, heavier);
        let half: u64 = heavy[low..low + middle].iter().map(|candidate| candidate.weight).sum();
        if (inside + half) as f64 >= wanted {
            high = low + middle;
        } else {
            inside += half;
            low += middle;
        }
    }
    let Some(last) = heavy.get(low).copied() else { return };
    weighted.retain(|candidate| heavier(candidate, &last) != Ordering::Greater);
}

#[cfg(test)]
mod tests;
