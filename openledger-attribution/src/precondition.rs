//! Influence from gradients: a query's gradient, preconditioned, times each row's.
//!
//! With `g_i` the gradient of row `i` and `v` that of the query, in one block `l` of the
//! parameters (a LoRA matrix), the influence of row `k` on the query's loss is
//!
//! ```text
//! identity     I(k) = - sum_l  v.g_k
//! block exact  I(k) = - sum_l  v' (F_l + lambda_l I)^-1 g_k       F_l = (1/n) sum_i g_i g_i'
//! DataInf      I(k) =   sum_l  (1/lambda_l) [ (1/n) sum_i (v.g_i / (lambda_l + g_i.g_i)) (g_i.g_k) - v.g_k ]
//! ```
//!
//! with `lambda_l = damping / (n d_l) sum_i g_i.g_i`. `DataInf` (Kwon, Wu, Wu and Zou, 2024, eq. 5)
//! swaps mean and inverse, which costs `O(n d)` a query. The exact inverse is taken in whichever of
//! the two spaces is smaller: `d x d`, or by Woodbury's identity `n x n`; it is factored once.
//!
//! Gradients are kept in `f32`; everything else is `f64` in a fixed order.

use openledger_core::{Error, Result};
use openledger_kernels::dot_f64;
use rayon::prelude::*;

use crate::linear::{Cholesky, Triangle};

/// How a query's gradient is preconditioned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Preconditioner {
    /// Not at all: the dot product of gradients.
    Identity,
    /// By `DataInf`'s closed form.
    DataInf,
    /// By the inverse of each block's damped Fisher matrix.
    BlockExact,
}

/// The gradients of all rows, block by block.
#[derive(Clone, Debug)]
pub struct Blocks {
    rows: usize,
    blocks: Vec<Block>,
}

/// One block's gradients, `[rows, size]`.
#[derive(Clone, Debug)]
struct Block {
    size: usize,
    gradients: Vec<f32>,
}

impl Blocks {
    /// Takes each row's gradient as a list of blocks; a row's memory is freed as it is taken over.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without rows, or if two rows
    /// differ in the blocks they have.
    pub fn new(rows: Vec<Vec<Vec<f32>>>) -> Result<Self> {
        let first = rows.first().ok_or_else(|| Error::invalid("gradients of no row"))?;
        let sizes: Vec<usize> = first.iter().map(Vec::len).collect();
        if rows.iter().any(|row| !row.iter().map(Vec::len).eq(sizes.iter().copied())) {
            return Err(Error::invalid("gradients of different shapes"));
        }
        let count = rows.len();
        let empty = |size| Block { size, gradients: Vec::with_capacity(size * count) };
        let mut blocks: Vec<Block> = sizes.into_iter().map(empty).collect();
        for row in rows {
            for (block, gradient) in blocks.iter_mut().zip(row) {
                block.gradients.extend_from_slice(&gradient);
            }
        }
        Ok(Self { rows: count, blocks })
    }

    /// Appends the rows of another.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if its blocks have other sizes.
    pub(crate) fn append(&mut self, other: &Self) -> Result<()> {
        let sizes = |blocks: &Self| blocks.blocks.iter().map(|b| b.size).collect::<Vec<_>>();
        if sizes(self) != sizes(other) {
            return Err(Error::invalid("gradients of different shapes"));
        }
        for (ours, theirs) in self.blocks.iter_mut().zip(&other.blocks) {
            ours.gradients.extend_from_slice(&theirs.gradients);
        }
        self.rows += other.rows;
        Ok(())
    }

    /// Makes room for `rows` more rows.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.blocks.iter_mut().for_each(|block| block.gradients.reserve_exact(rows * block.size));
    }

    /// Returns the number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }
}

impl Block {
    fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.gradients.chunks_exact(self.size)
    }

    fn products(&self, with: &[f32]) -> Vec<f64> {
        self.rows().map(|row| dot_f64(row, with)).collect()
    }

    fn squares(&self) -> Vec<f64> {
        self.rows().map(|row| dot_f64(row, row)).collect()
    }
}

/// Gradients with what a preconditioner needs of them.
#[derive(Debug)]
pub struct Preconditioned {
    rows: usize,
    blocks: Vec<(Block, Prepared)>,
}

#[derive(Debug)]
enum Prepared {
    Identity,
    DataInf {
        lambda: f64,
        squares: Vec<f64>,
    },
    /// `F + lambda I`, factored.
    Direct {
        factor: Cholesky,
    },
    /// `n lambda I + G G'`, factored.
    Woodbury {
        lambda: f64,
        factor: Cholesky,
    },
    /// No row has any gradient here.
    Silent,
}

impl Preconditioned {
    /// Prepares all blocks. `damping` is the part of the mean squared gradient added to the diagonal;
    /// `DataInf`'s authors use 0.1.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `damping` is not positive or a
    /// gradient is not finite.
    pub fn new(blocks: Blocks, preconditioner: Preconditioner, damping: f64) -> Result<Self> {
        if !(damping > 0.0 && damping.is_finite()) {
            return Err(Error::invalid(format!("a damping of {damping}, not positive")));
        }
        let rows = blocks.rows;
        let prepared = blocks
            .blocks
            .into_par_iter()
            .map(|block| {
                let prepared = prepare(&block, preconditioner, damping)?;
                Ok((block, prepared))
            })
            .collect::<Result<_>>()?;
        Ok(Self { rows, blocks: prepared })
    }

    /// Returns the influence of each row on a query with gradient `query`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `query` has other blocks.
    pub fn influence(&self, query: &[Vec<f32>]) -> Result<Vec<f64>> {
        let sizes = self.blocks.iter().map(|(block, _)| block.size);
        if !query.iter().map(Vec::len).eq(sizes) {
            return Err(Error::invalid("a query's gradient of another shape"));
        }
        let by_block: Vec<Vec<f64>> = self
            .blocks
            .par_iter()
            .zip(query)
            .map(|((block, prepared), query)| prepared.influence(block, query))
            .collect();
        let sum = |row: usize| by_block.iter().map(|block| block[row]).sum();
        Ok((0..self.rows).map(sum).collect())
    }
}

fn prepare(block: &Block, preconditioner: Preconditioner, damping: f64) -> Result<Prepared> {
    let (n, d) = (block.gradients.len() / block.size, block.size);
    let squares = block.squares();
    let sum: f64 = squares.iter().sum();
    if !sum.is_finite() {
        return Err(Error::invalid("a row's gradient is not finite"));
    }
    if sum == 0.0 {
        return Ok(Prepared::Silent);
    }
    let lambda = damping * sum / (n as f64 * d as f64);
    let indefinite =
        || Error::invalid("a block of gradients is too ill-conditioned: raise the damping");
    Ok(match preconditioner {
        Preconditioner::Identity => Prepared::Identity,
        Preconditioner::DataInf => Prepared::DataInf { lambda, squares },
        Preconditioner::BlockExact if d <= n => {
            let mut columns = vec![0f32; n * d];
            for (row, gradient) in block.rows().enumerate() {
                for (column, value) in gradient.iter().enumerate() {
                    columns[column * n + row] = *value;
                }
            }
            let fisher = gram(&columns, d, n, 1.0 / n as f64, lambda);
            Prepared::Direct { factor: Cholesky::new(fisher).ok_or_else(indefinite)? }
        }
        Preconditioner::BlockExact => {
            let gram = gram(&block.gradients, n, d, 1.0, n as f64 * lambda);
            Prepared::Woodbury { lambda, factor: Cholesky::new(gram).ok_or_else(indefinite)? }
        }
    })
}

/// `scale * X X' + diagonal * I` for `X` of `size` rows of `width`.
fn gram(x: &[f32], size: usize, width: usize, scale: f64, diagonal: f64) -> Triangle {
    let row = |index: usize| &x[index * width..(index + 1) * width];
    Triangle::new(size, |i, j| {
        let product = scale * dot_f64(row(i), row(j));
        if i == j { product + diagonal } else { product }
    })
}

impl Prepared {
    fn influence(&self, block: &Block, query: &[f32]) -> Vec<f64> {
        let n = block.gradients.len() / block.size;
        match self {
            Self::Silent => vec![0.0; n],
            Self::Identity => block.products(query).into_iter().map(|product| -product).collect(),
            Self::DataInf { lambda, squares } => {
                let products = block.products(query);
                let weights = products
                    .iter()
                    .zip(squares)
                    .map(|(product, square)| product / (lambda + square));
                let mean = combine(block, weights.map(|weight| weight / n as f64));
                let corrections = block.rows().map(|row| mixed_dot(row, &mean));
                corrections
                    .zip(&products)
                    .map(|(correction, product)| (correction - product) / lambda)
                    .collect()
            }
            Self::Direct { factor } => {
                let mut solved: Vec<f64> = query.iter().map(|&v| f64::from(v)).collect();
                factor.solve(&mut solved);
                block.rows().map(|row| -mixed_dot(row, &solved)).collect()
            }
            Self::Woodbury { lambda, factor } => {
                let products = block.products(query);
                let mut solved = products.clone();
                factor.solve(&mut solved);
                let correction = combine(block, solved.into_iter());
                let corrections = block.rows().map(|row| mixed_dot(row, &correction));
                corrections
                    .zip(&products)
                    .map(|(correction, product)| (correction - product) / lambda)
                    .collect()
            }
        }
    }
}

/// The sum of all rows' gradients, each times its weight, rows ascending.
fn combine(block: &Block, weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = vec![0.0; block.size];
    for (row, weight) in block.rows().zip(weights) {
        sum.iter_mut().zip(row).for_each(|(sum, &g)| *sum += weight * f64::from(g));
    }
    sum
}

fn mixed_dot(x: &[f32], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((x_chunks, x_rest), (y_chunks, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..8 {
            lanes[lane] += f64::from(x[lane]) * y[lane];
        }
    }
    for ((lane, &x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += f64::from(x) * y;
    }
    (lanes[0] + lanes[4]) + (lanes[1] + lanes[5]) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}
