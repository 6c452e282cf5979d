//! Root-mean-square normalisation (Zhang and Sennrich, 2019) and its gradient.

use rayon::prelude::*;

use crate::{
    isa::{Isa, vectorised},
    reduce::dot_inline,
};

/// Writes `x / sqrt(mean(x^2) + eps) * gain` for each row of `x` to `out`, and returns
/// `1 / sqrt(mean(x^2) + eps)` of each row, which the backward pass needs.
///
/// `x` and `out` are `[rows, gain.len()]`.
///
/// # Panics
/// If the sizes do not match.
pub fn rms_norm(out: &mut [f32], x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let width = gain.len();
    assert_eq!(out.len(), x.len(), "output as large as input");
    assert_eq!(x.len() % width, 0, "whole rows of {width}");
    let isa = Isa::best();
    let rows = out.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width));
    rows.with_min_len(32).map(|(out, x)| forward(isa, out, x, gain, eps)).collect()
}

/// Adds the gradient with respect to `x` to `dx`, given that of the output.
///
/// `inverse` is what [`rms_norm`] returned.
///
/// # Panics
/// If the sizes do not match.
pub fn rms_norm_backward(dx: &mut [f32], dy: &[f32], x: &[f32], gain: &[f32], inverse: &[f32]) {
    let width = gain.len();
    assert_eq!(inverse.len() * width, x.len(), "one factor for each row");
    assert!(dy.len() == x.len() && dx.len() == x.len(), "gradients as large as input");
    let isa = Isa::best();
    dx.par_chunks_exact_mut(width)
        .zip(dy.par_chunks_exact(width))
        .zip(x.par_chunks_exact(width))
        .zip(inverse)
        .with_min_len(32)
        .for_each(|(((dx, dy), x), &inverse)| backward(isa, dx, dy, x, gain, inverse));
}

/// Adds the gradient with respect to the gain to `dgain`.
///
/// # Panics
/// If the sizes do not match.
pub fn rms_norm_gain_backward(dgain: &mut [f32], dy: &[f32], x: &[f32], inverse: &[f32]) {
    let width = dgain.len();
    assert!(dy.len() == x.len() && inverse.len() * width == x.len(), "whole rows of {width}");
    let isa = Isa::best();
    for ((dy, x), &inverse) in dy.chunks_exact(width).zip(x.chunks_exact(width)).zip(inverse) {
        gain_backward(isa, dgain, dy, x, inverse);
    }
}

vectorised! {
    fn forward(out: &mut [f32], x: &[f32], gain: &[f32], eps: f32) -> f32 {
        let inverse = 1.0 / (dot_inline(x, x) / x.len() as f32 + eps).sqrt();
        for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
            *out = x * inverse * gain;
        }
        inverse
    }

    fn backward(dx: &mut [f32], dy: &[f32], x: &[f32], gain: &[f32], inverse: f32) {
        let scaled: Vec<f32> = dy.iter().zip(gain).map(|(dy, gain)| dy * gain).collect();
        let mean = dot_inline(&scaled, x) * inverse * inverse / x.len() as f32;
        for ((dx, scaled), x) in dx.iter_mut().zip(&scaled).zip(x) {
            *dx += (scaled - x * mean) * inverse;
        }
    }

    fn gain_backward(dgain: &mut [f32], dy: &[f32], x: &[f32], inverse: f32) {
        for ((dgain, dy), x) in dgain.iter_mut().zip(dy).zip(x) {
            *dgain += dy * (x * inverse);
        }
    }
}
