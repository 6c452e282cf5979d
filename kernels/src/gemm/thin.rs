//! Products of few rows, which read the right-hand matrix where it lies.
//!
//! Packing pays where each element is multiplied by many rows. The gradients of an adapter's matrices
//! have as many as its rank, and a right-hand matrix as long as the batch.

use std::ops::Range;

use super::{Block, Element, Into, Mat, Out, PARALLEL, blocks, tile::Shape};
use crate::{isa::Isa, scratch, threads::each};

/// Rows above which the right-hand matrix is packed.
const THIN: usize = 32;
/// Rows of the right-hand matrix taken at a time: the columns of a tile among them fit the first-level
/// cache, for the next rows of the left.
const DEPTH: usize = 128;

/// Returns whether `b` is better read where it lies.
pub(super) fn suits(a: Mat<'_>, b: Mat<'_>) -> bool {
    let whole = b.cols.is_multiple_of(8) && b.row_stride.is_multiple_of(8);
    let something = a.rows > 0 && b.rows > 0 && b.cols > 0;
    something && a.rows <= THIN && b.col_stride == 1 && whole
}

/// Multiplies so.
pub(super) fn multiply(isa: Isa, out: Into<'_>, a: Mat<'_>, b: Mat<'_>, stride: usize) {
    let continues = matches!(out, Into::Add(_));
    let out = Out::new(out, [a.rows, b.rows, b.cols], stride);
    assert_eq!(a.cols, b.rows, "inner dimensions");
    let width = Shape::of(isa).width;
    let columns = |cols: Range<usize>| {
        for depth in blocks(b.rows, DEPTH) {
            let mut col = cols.start;
            while col < cols.end {
                let wide = [width, 16, 8].into_iter().find(|&w| w <= width && w <= cols.end - col);
                let wide = wide.expect("columns are a multiple of eight");
                let left = f32::where_it_lies(a, 0, depth.start)
                    .expect("numbers of 32 bits are read where they lie");
                let right = &b.data[b.at(depth.start, col)..];
                let (rows, steps, wider) = (a.rows, depth.len(), b.row_stride);
                let block = Block { left, rows, right, steps, stride: wider, cols: wide };
                out.multiply_block(isa, block, col, stride, continues || depth.start > 0);
                col += wide;
            }
        }
    };
    let threads = rayon::current_num_threads();
    if threads == 1 || a.rows * b.rows * b.cols < PARALLEL {
        return columns(0..b.cols);
    }
    let size = b.cols.div_ceil(2 * threads).next_multiple_of(width);
    each(blocks(b.cols, size), columns);
}

/// Multiplies as the transpose of the product of the transposes: few columns are few rows then.
pub(super) fn multiply_transposed(isa: Isa, out: Into<'_>, a: Mat<'_>, b: Mat<'_>, stride: usize) {
    let [rows, cols] = [a.rows, b.cols];
    scratch::with(rows * cols, |turned: &mut [f32]| match out {
        Into::Set(out) => {
            multiply(isa, Into::Set(turned), b.t(), a.t(), rows);
            turn_back(turned, out, [rows, cols], stride);
        }
        Into::Add(out) => {
            for (col, turned) in turned.chunks_exact_mut(rows).enumerate() {
                let column = out[col..].iter().step_by(stride);
                turned.iter_mut().zip(column).for_each(|(turned, x)| *turned = *x);
            }
            multiply(isa, Into::Add(turned), b.t(), a.t(), rows);
            turn_back(turned, out, [rows, cols], stride);
        }
    });
}

fn turn_back(turned: &[f32], out: &mut [f32], [rows, cols]: [usize; 2], stride: usize) {
    for (row, out) in out.chunks_mut(stride).take(rows).enumerate() {
        let column = turned[row..].iter().step_by(rows);
        out[..cols].iter_mut().zip(column).for_each(|(out, x)| *out = *x);
    }
}
