//! The matrices at one linear layer.

use openledger_kernels::{Into, Mat, gemm};

use crate::{Network, Param};

/// Rows of a weight made at a time.
const ROWS: usize = 256;

/// The matrices at one linear layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pair {
    /// Down to the rank: `[rank, in]`.
    pub a: Vec<f32>,
    /// Up from the rank: `[out, rank]`.
    pub b: Vec<f32>,
    /// The rank.
    pub rank: usize,
    /// What the product is multiplied by.
    pub scale: f32,
    /// With `DoRA` the length of each row of the weight, `[out]`.
    pub magnitude: Option<Vec<f32>>,
}

/// What a trained tensor is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever trains must know all")]
pub enum Part {
    /// `A` of a layer.
    A,
    /// `B` of a layer.
    B,
    /// The magnitude of a layer, with `DoRA`.
    Magnitude,
    /// The embeddings or the head.
    Table,
}

impl Pair {
    /// Returns `A`, `B`, and the magnitude if there is one.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[f32])> {
        let magnitude = self.magnitude.as_deref().map(|m| (Part::Magnitude, m));
        [(Part::A, &self.a[..]), (Part::B, &self.b[..])].into_iter().chain(magnitude)
    }

    /// Returns the same, to train them.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = (Part, &mut [f32])> {
        let magnitude = self.magnitude.as_deref_mut().map(|m| (Part::Magnitude, m));
        [(Part::A, &mut self.a[..]), (Part::B, &mut self.b[..])].into_iter().chain(magnitude)
    }

    /// Calls `take` with a few rows at a time of `W + scale * B A`, and the index of the first.
    fn each_rows(&self, network: &Network, site: Param, mut take: impl FnMut(usize, &mut [f32])) {
        let [out, width] = network.sizes(site);
        let weight = network.weights().data(site);
        let a = Mat::new(&self.a, self.rank, width);
        for first in (0..out).step_by(ROWS) {
            let rows = first..out.min(first + ROWS);
            let b = &self.b[rows.start * self.rank..rows.end * self.rank];
            let scaled: Vec<f32> = b.iter().map(|b| b * self.scale).collect();
            let mut sum = weight[rows.start * width..rows.end * width].to_vec();
            gemm(Into::Add(&mut sum), Mat::new(&scaled, rows.len(), self.rank), a);
            take(first, &mut sum);
        }
    }

    /// Returns what `DoRA` multiplies the results by, `[out]`; nothing without magnitudes.
    pub fn direction(&self, network: &Network, site: Param) -> Option<Direction> {
        let magnitude = self.magnitude.as_ref()?;
        let width = network.sizes(site)[1];
        let mut inverse = Vec::with_capacity(magnitude.len());
        self.each_rows(network, site, |_, rows| {
            inverse.extend(rows.chunks_exact(width).map(|row| match length(row) {
                0.0 => 0.0, // the row's product is zero, whatever it is multiplied by
                norm => 1.0 / norm,
            }));
        });
        let factors = magnitude.iter().zip(&inverse).map(|(m, inverse)| m * inverse).collect();
        Some(Direction { factors, inverse })
    }

    /// Returns the weight at `site` with the matrices in it, as [`Lora::merged`](super::Lora::merged) does.
    pub fn merged(&self, network: &Network, site: Param) -> Vec<f32> {
        let [out, width] = network.sizes(site);
        let mut merged = Vec::with_capacity(out * width);
        let direction = self.direction(network, site);
        self.each_rows(network, site, |first, rows| {
            if let Some(Direction { factors, .. }) = &direction {
                for (row, factor) in rows.chunks_exact_mut(width).zip(&factors[first..]) {
                    row.iter_mut().for_each(|w| *w *= factor);
                }
            }
            merged.extend_from_slice(rows);
        });
        merged
    }
}

/// By how much each row of a weight is too long or too short for its magnitude (`DoRA`: Liu et al.,
/// 2024, equation 5).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Direction {
    /// `magnitude / ||W + scale * B A||`, row by row.
    pub factors: Vec<f32>,
    /// `1 / ||W + scale * B A||`, the gradient of the factors: a constant in the backward pass, as
    /// section 4.3 of the paper has it, and PEFT.
    pub inverse: Vec<f32>,
}

/// The length of each row of the weight at `site`: the magnitudes training starts from.
pub(super) fn lengths(network: &Network, site: Param) -> Vec<f32> {
    let width = network.sizes(site)[1];
    network.weights().data(site).chunks_exact(width).map(length).collect()
}

fn length(row: &[f32]) -> f32 {
    row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt() as f32
}
