//! Rows that are multiplied, rounded to eight bits.

use super::{BLOCK, Bits};
use crate::{
    Mat,
    gemm::ReadRows,
    isa::{Isa, vectorised},
    threads::each_with,
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
        let bias = -bits.bias();
        let results = (codes.chunks_mut((blocks * BLOCK).max(1)))
            .zip(scales.chunks_mut(blocks.max(1)))
            .zip(offsets.chunks_mut(blocks.max(1)));
        let rows = results.enumerate();
        let one = |spare: &mut Vec<f32>, (row, ((codes, scales), offsets)): Row<'_>| {
            if width.is_multiple_of(BLOCK)
                && let Some(row) = x.slice(row, 0, width)
            {
                return round(isa, row, codes, scales, offsets, bias);
            }
            spare.resize(blocks * BLOCK, 0.0);
            x.read(row, 0, &mut spare[..width]);
            round(isa, spare, codes, scales, offsets, bias);
        };
        if x.rows() * width < SHARED {
            let mut spare = Vec::new();
            rows.for_each(|row| one(&mut spare, row));
        } else {
            each_with(rows, Vec::new, one);
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

/// A row's number, and where its codes, scales and offsets go.
type Row<'a> = (usize, ((&'a mut [i8], &'a mut [f32]), &'a mut [i32]));

/// Elements that are worth dividing among threads.
const SHARED: usize = 1 << 14;

/// Added to a number below 2^22 it leaves the nearest integer in the last bits, ties to even.
const SHIFT: f32 = 12_582_912.0;

vectorised! {
    fn round(x: &[f32], codes: &mut [i8], scales: &mut [f32], offsets: &mut [i32], bias: i32) {
        let blocks = x.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<BLOCK>().0);
        for ((x, codes), (scale, offset)) in blocks.zip(scales.iter_mut().zip(offsets)) {
            // Without their signs numbers ascend as their bits do, infinity and what is no number last.
            let most = x.iter().fold(0, |most, x| most.max(x.to_bits() & i32::MAX as u32));
            let most = f32::from_bits(most);
            // What is no number must not become zero.
            *scale = if most.is_finite() { most / 127.0 } else { f32::NAN };
            let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
            // Loops, because what `map` calls would not be vectorised with this.
            let mut sum = 0;
            for (code, x) in codes.iter_mut().zip(x) {
                let nearest = (x * inverse + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits());
                *code = nearest as i8;
                sum += i32::from(*code);
            }
            *offset = bias * sum;
        }
    }
}
