//! Cross-entropy over a vocabulary, with its gradient in the same pass.

use rayon::prelude::*;

use crate::{
    exp::exp,
    isa::{Isa, vectorised},
    reduce::{LANES, fold},
};

/// What [`cross_entropy`] found for the rows that carry a label.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LabelLoss {
    /// Sum of `-ln p(label)`.
    pub sum: f64,
    /// How many rows carry a label.
    pub labels: usize,
}

impl LabelLoss {
    /// Takes a sum over so many rows.
    pub const fn new(sum: f64, labels: usize) -> Self {
        Self { sum, labels }
    }
}

/// Replaces `logits` by the gradient of `scale * sum of -ln softmax(logits)[label]`, and returns
/// the sum itself.
///
/// `logits` is `[rows, vocabulary]`; a row without a label has gradient zero.
///
/// # Panics
/// If the sizes do not match or a label is outside the vocabulary.
pub fn cross_entropy(logits: &mut [f32], labels: &[Option<u32>], scale: f32) -> LabelLoss {
    let losses = cross_entropy_each(logits, labels, &vec![scale; labels.len()]);
    LabelLoss { sum: losses.iter().sum(), labels: labels.iter().flatten().count() }
}

/// [`cross_entropy`] with a scale for each row; returns each row's `-ln p(label)`.
///
/// # Panics
/// As [`cross_entropy`], and if there is not one scale for each row.
pub fn cross_entropy_each(logits: &mut [f32], labels: &[Option<u32>], scales: &[f32]) -> Vec<f64> {
    assert_eq!(labels.len(), scales.len(), "one scale for each row");
    if labels.is_empty() {
        return Vec::new();
    }
    assert_eq!(logits.len() % labels.len(), 0, "whole rows");
    let vocabulary = logits.len() / labels.len();
    let isa = Isa::best();
    logits
        .par_chunks_exact_mut(vocabulary)
        .zip(labels)
        .zip(scales)
        .map(|((row, label), &scale)| match label {
            Some(label) => row_loss(isa, row, *label as usize, scale),
            None => {
                row.fill(0.0);
                0.0
            }
        })
        .collect()
}

vectorised! {
    fn row_loss(row: &mut [f32], label: usize, scale: f32) -> f64 {
        let largest = max(row);
        let shifted = row[label] - largest;
        let sum = exp_in_place(row, largest);
        let loss = libm::log(f64::from(sum)) - f64::from(shifted);
        let factor = scale / sum;
        for value in row.iter_mut() {
            *value *= factor;
        }
        row[label] -= scale;
        loss
    }
}

/// Returns the largest element, or negative infinity of nothing. The maximum is the same in any
/// order, so lanes cost nothing in reproducibility.
#[inline(always)]
pub(crate) fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// Replaces each element by `e^(element - shift)` and returns their sum over 16 lanes.
#[inline(always)]
pub(crate) fn exp_in_place(row: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            chunk[lane] = exp(chunk[lane] - shift);
            lanes[lane] += chunk[lane];
        }
    }
    for (lane, value) in rest.iter_mut().enumerate() {
        *value = exp(*value - shift);
        lanes[lane] += *value;
    }
    fold(lanes)
}
