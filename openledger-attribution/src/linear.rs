//! Small dense symmetric systems in `f64`, every sum in a fixed order.

use rayon::prelude::*;

/// The lower triangle of a symmetric matrix, row after row without gaps: row `i` has `i + 1`
/// numbers.
#[derive(Clone, Debug)]
pub(crate) struct Triangle {
    size: usize,
    values: Vec<f64>,
}

impl Triangle {
    /// Makes the matrix of `value(i, j)`, called for `j <= i`, from any thread.
    pub(crate) fn new(size: usize, value: impl Fn(usize, usize) -> f64 + Sync) -> Self {
        let mut values = vec![0.0; begin(size)];
        let mut rows = Vec::with_capacity(size);
        let mut rest = &mut values[..];
        for row in 0..size {
            let (line, after) = rest.split_at_mut(row + 1);
            rows.push(line);
            rest = after;
        }
        rows.par_chunks_mut(PANEL).enumerate().for_each(|(panel, lines)| {
            let first = panel * PANEL;
            for j in 0..first + lines.len() {
                let below = j.saturating_sub(first);
                for (line, i) in lines.iter_mut().zip(first..).skip(below) {
                    line[j] = value(i, j);
                }
            }
        });
        Self { size, values }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[begin(row)..=begin(row) + row]
    }
}

/// Rows worked on together: what one of them reads from memory serves all.
const PANEL: usize = 8;

/// Where a row begins in a triangle.
const fn begin(row: usize) -> usize {
    row * (row + 1) / 2
}

/// The Cholesky factor of a positive definite matrix.
#[derive(Clone, Debug)]
pub(crate) struct Cholesky(Triangle);

impl Cholesky {
    /// Factors a symmetric matrix; `None` if it is not positive definite. Costs `size^3 / 3`
    /// operations.
    pub(crate) fn new(mut matrix: Triangle) -> Option<Self> {
        for first in (0..matrix.size).step_by(PANEL) {
            let end = (first + PANEL).min(matrix.size);
            let (above, rest) = matrix.values.split_at_mut(begin(first));
            let mut lines: Vec<&mut [f64]> = Vec::with_capacity(PANEL);
            let mut rest = &mut rest[..begin(end) - begin(first)];
            for row in first..end {
                let (line, after) = rest.split_at_mut(row + 1);
                lines.push(line);
                rest = after;
            }
            for column in 0..first {
                let other = &above[begin(column)..=begin(column) + column];
                lines.iter_mut().for_each(|line| eliminate(line, other, column));
            }
            for at in 0..lines.len() {
                let (before, from) = lines.split_at_mut(at);
                let (line, row) = (&mut *from[0], first + at);
                for (other, column) in before.iter().zip(first..) {
                    eliminate(line, other, column);
                }
                let pivot = line[row] - dot(&line[..row], &line[..row]);
                if pivot.is_nan() || pivot <= 0.0 {
                    return None;
                }
                line[row] = pivot.sqrt();
            }
        }
        Some(Self(matrix))
    }

    /// Solves for one right-hand side, in place.
    pub(crate) fn solve(&self, x: &mut [f64]) {
        for row in 0..self.0.size {
            let line = self.0.row(row);
            x[row] = (x[row] - dot(&line[..row], &x[..row])) / line[row];
        }
        for row in (0..self.0.size).rev() {
            let line = self.0.row(row);
            x[row] /= line[row];
            let value = x[row];
            x[..row].iter_mut().zip(line).for_each(|(x, l)| *x -= l * value);
        }
    }
}

/// Computes one entry of a row of the factor from an earlier row, which is done.
fn eliminate(line: &mut [f64], other: &[f64], column: usize) {
    line[column] = (line[column] - dot(&line[..column], &other[..column])) / other[column];
}

/// The dot product over eight lanes.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((x_chunks, x_rest), (y_chunks, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += x * y;
    }
    (lanes[0] + lanes[4]) + (lanes[1] + lanes[5]) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solved_system_gives_the_right_hand_side_back() {
        let size = 19;
        let value = |i: usize, j: usize| ((i * 31 + j * 17) % 13) as f64 / 7.0 - 0.9;
        let entry = |i: usize, j: usize| {
            let sum: f64 = (0..size).map(|k| value(i, k) * value(j, k)).sum();
            sum + if i == j { 1.0 } else { 0.0 }
        };
        let expected: Vec<f64> = (0..size).map(|i| i as f64 - 4.0).collect();
        let product = |i| (0..size).map(|j| entry(i, j) * expected[j]).sum();
        let mut x: Vec<f64> = (0..size).map(product).collect();
        Cholesky::new(Triangle::new(size, entry)).unwrap().solve(&mut x);
        assert!(x.iter().zip(&expected).all(|(x, e)| (x - e).abs() < 1e-9));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        let indefinite = Triangle::new(2, |i, j| if i == j { 1.0 } else { 2.0 });
        assert!(Cholesky::new(indefinite).is_none());
        assert!(Cholesky::new(Triangle::new(1, |_, _| f64::NAN)).is_none());
    }
}
