//! Rows that are multiplied, rounded to eight bits.

use super::{BLOCK, Bits};
use crate::{
    Mat,
    gemm::ReadRows,
    isa::{Isa, vectorised},
};

/// Rows of codes from -127 to 127, with a scale for each block of 32.
#[derive(Debug)]
pub(crate) struct Rows {
    /// `[rows][blocks][32]`; zeros past the last element.
    pub(super) codes: Vec<i8>,
    /// `[rows][blocks]`.
    pub(super) scales: Vec<f32>,
    /// `[rows][blocks]`: what the bias of the weight's codes adds to the products, with its sign turned.
    pub(super) offsets: Vec<i32>,
    pub(super) blocks: usize,
    /// Elements of a row.
    pub(super) width: usize,
    count: usize,
}

impl Rows {
    /// Rounds rows, to be multiplied by a weight of so many bits.
    pub(crate) fn new(isa: Isa, x: Mat<'_>, bits: Bits) -> Self {
        let (width, blocks) = (x.cols(), x.cols().div_ceil(BLOCK));
        let mut codes = vec![0; x.rows() * blocks * BLOCK];
        let mut scales = vec![0.0; x.rows() * blocks];
        let mut offsets = vec![0; x.rows() * blocks];
        let mut spare = vec![0.0; blocks * BLOCK];
        for row in 0..x.rows() {
            x.read(row, 0, &mut spare[..x.cols()]);
            let at = row * blocks..(row + 1) * blocks;
            let codes = &mut codes[at.start * BLOCK..at.end * BLOCK];
            round(isa, &spare, codes, &mut scales[at.clone()], &mut offsets[at], -bits.bias());
        }
        Self { codes, scales, offsets, blocks, width, count: x.rows() }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The codes of a row, and its scales.
    pub(super) fn row(&self, row: usize) -> (&[i8], &[f32]) {
        let at = row * self.blocks..(row + 1) * self.blocks;
        (&self.codes[at.start * BLOCK..at.end * BLOCK], &self.scales[at])
    }
}

/// Added to a number below 2^22 it leaves the nearest integer in the last bits, ties to even.
const SHIFT: f32 = 12_582_912.0;

vectorised! {
    fn round(x: &[f32], codes: &mut [i8], scales: &mut [f32], offsets: &mut [i32], bias: i32) {
        let blocks = x.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<BLOCK>().0);
        for ((x, codes), (scale, offset)) in blocks.zip(scales.iter_mut().zip(offsets)) {
            // Halves, quarters and so on: loops of a length that vectors have.
            let mut largest: [f32; BLOCK] = x.map(f32::abs);
            // What is no number has no largest element, and must not become zero.
            let mut poison: [f32; BLOCK] = x.map(|x| x * 0.0);
            for half in [16, 8, 4, 2, 1] {
                for i in 0..half {
                    let other = largest[i + half];
                    largest[i] = if other > largest[i] { other } else { largest[i] };
                    poison[i] += poison[i + half];
                }
            }
            let most = largest[0];
            *scale = most / 127.0 + poison[0];
            let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
            *codes = x.map(|x| (x * inverse + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i8);
            let sum: i32 = codes.map(i32::from).iter().sum();
            *offset = bias * sum;
        }
    }
}
