//! The largest singular values of a matrix, and their vectors.
//!
//! Golub-Kahan-Lanczos bidiagonalisation (Golub & Kahan, 1965) with full reorthogonalisation in `f64`:
//! each step costs two products of the matrix with a vector and a pass over the vectors so far. It
//! makes `W V = U B` with a small bidiagonal `B`, whose singular values are found by one-sided Jacobi
//! rotations (Hestenes, 1958). It ends when the wanted ones have converged, at the latest when the
//! basis is complete and the result exact.
//!
//! Of a value that occurs several times only one vector may be found before that: one start sees one
//! direction of each. Weights that were trained have no such values.
//!
//! Sums have one order, so the result has the same bits on every machine.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::random::symmetric;

/// How far from a singular vector a result may be, relative to the largest value.
const TOLERANCE: f64 = 1e-11;
/// A direction shorter than this, relative to the largest element, is none.
const BREAKDOWN: f64 = 1e-13;
/// The most sweeps of rotations; ten are usual.
const SWEEPS: usize = 60;

/// `u[i] * values[i] * v[i]'` summed is the best approximation of its rank.
#[derive(Debug)]
pub(super) struct Svd {
    /// Left vectors, each `[rows]`.
    pub(super) u: Vec<Vec<f64>>,
    /// By descending size.
    pub(super) values: Vec<f64>,
    /// Right vectors, each `[columns]`.
    pub(super) v: Vec<Vec<f64>>,
}

/// Finds the `rank` largest singular values of a matrix `[rows, columns]`; as many as it has, if that
/// is fewer.
pub(super) fn truncated(matrix: &[f32], rows: usize, columns: usize, rank: usize) -> Svd {
    let most = rows.min(columns);
    let rank = rank.min(most);
    // A complete basis of the shorter side makes the result exact.
    let mut basis = Basis::new(Tall { matrix, columns, turned: rows < columns }, rows, columns);
    let mut steps = (2 * rank + 10).min(most);
    loop {
        while basis.v.len() < steps {
            basis.step();
        }
        let (left, values, right) = basis.small();
        let largest = values.first().copied().unwrap_or(0.0);
        let apart = left.iter().take(rank).filter_map(|vector| vector.last());
        let apart = apart.fold(0.0, |most: f64, last| most.max(last.abs() * basis.beyond));
        if steps == most || apart <= TOLERANCE * largest {
            let lift = |basis: &[Vec<f64>], small: &[Vec<f64>]| -> Vec<Vec<f64>> {
                small.iter().take(rank).map(|weights| combine(basis, weights)).collect()
            };
            let (u, v) = (lift(&basis.u, &left), lift(&basis.v, &right));
            let values = values.into_iter().take(rank).collect();
            return match rows < columns {
                true => Svd { u: v, values, v: u },
                false => Svd { u, values, v },
            };
        }
        // The small problem costs about as much as these steps.
        steps = (steps + steps / 2).min(most);
    }
}

/// A matrix, turned so that it has no fewer rows than columns.
struct Tall<'a> {
    matrix: &'a [f32],
    columns: usize,
    turned: bool,
}

impl Tall<'_> {
    fn times(&self, x: &[f64]) -> Vec<f64> {
        match self.turned {
            true => self.down(x),
            false => self.across(x),
        }
    }

    fn transposed_times(&self, x: &[f64]) -> Vec<f64> {
        match self.turned {
            true => self.across(x),
            false => self.down(x),
        }
    }

    fn across(&self, x: &[f64]) -> Vec<f64> {
        let product = |row: &[f32]| {
            let mut lanes = [0.0; 8];
            let mut chunks = row.chunks_exact(8).zip(x.chunks_exact(8));
            for (w, x) in &mut chunks {
                for (lane, (&w, x)) in lanes.iter_mut().zip(w.iter().zip(x)) {
                    *lane += f64::from(w) * x;
                }
            }
            let tail = row.len() / 8 * 8;
            let rest: f64 =
                row[tail..].iter().zip(&x[tail..]).map(|(&w, x)| f64::from(w) * x).sum();
            lanes.iter().sum::<f64>() + rest
        };
        self.matrix.chunks_exact(self.columns).map(product).collect()
    }

    fn down(&self, x: &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.columns];
        for (row, x) in self.matrix.chunks_exact(self.columns).zip(x) {
            for (sum, &w) in sum.iter_mut().zip(row) {
                *sum += f64::from(w) * x;
            }
        }
        sum
    }
}

/// What the steps so far have made: `W v[k] = diagonal[k] u[k] + above[k - 1] u[k - 1]`.
struct Basis<'a> {
    matrix: Tall<'a>,
    u: Vec<Vec<f64>>,
    v: Vec<Vec<f64>>,
    diagonal: Vec<f64>,
    above: Vec<f64>,
    /// The length of what the next `v` is made of, and itself.
    beyond: f64,
    next: Vec<f64>,
    random: ChaCha8Rng,
    least: f64,
}

impl<'a> Basis<'a> {
    fn new(matrix: Tall<'a>, rows: usize, columns: usize) -> Self {
        let largest = matrix.matrix.iter().fold(0f32, |most, w| most.max(w.abs()));
        let mut basis = Self {
            matrix,
            u: Vec::new(),
            v: Vec::new(),
            diagonal: Vec::new(),
            above: Vec::new(),
            beyond: 0.0,
            next: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(0),
            least: f64::from(largest) * BREAKDOWN,
        };
        basis.next = direction(&mut basis.random, &[], rows.min(columns));
        basis
    }

    fn step(&mut self) {
        let v = std::mem::take(&mut self.next);
        let mut u = self.matrix.times(&v);
        let length = orthogonalise(&mut u, &self.u);
        let length = self.unit(&mut u, length, true);
        self.diagonal.push(length);
        let mut next = self.matrix.transposed_times(&u);
        self.u.push(u);
        self.v.push(v);
        let length = orthogonalise(&mut next, &self.v);
        self.beyond = self.unit(&mut next, length, false);
        self.above.push(self.beyond);
        self.next = next;
    }

    /// Makes a vector a unit vector and returns its length; where nothing is left of it, takes
    /// another direction.
    fn unit(&mut self, x: &mut Vec<f64>, length: f64, left: bool) -> f64 {
        if length > self.least {
            x.iter_mut().for_each(|x| *x /= length);
            return length;
        }
        let others = if left { &self.u } else { &self.v };
        // A complete basis has no other direction, and needs none.
        *x = match others.len() < x.len() {
            true => direction(&mut self.random, others, x.len()),
            false => vec![0.0; x.len()],
        };
        0.0
    }

    /// The singular values of the bidiagonal matrix: left vectors, values, right vectors.
    fn small(&self) -> (Vec<Vec<f64>>, Vec<f64>, Vec<Vec<f64>>) {
        let size = self.v.len();
        let unit = |at: usize| (0..size).map(move |i| f64::from(u8::from(i == at)));
        // Columns, rotated against each other until all are orthogonal.
        let mut columns: Vec<Vec<f64>> = (0..size)
            .map(|at| {
                let mut column = vec![0.0; size];
                column[at] = self.diagonal[at];
                if let Some(before) = at.checked_sub(1) {
                    column[before] = self.above[before];
                }
                column
            })
            .collect();
        let mut right: Vec<Vec<f64>> = (0..size).map(|at| unit(at).collect()).collect();
        for _ in 0..SWEEPS {
            let mut turned = false;
            for first in 0..size {
                for second in first + 1..size {
                    let Some(turn) = rotation(&columns[first], &columns[second]) else { continue };
                    turned = true;
                    for vectors in [&mut columns, &mut right] {
                        let (head, tail) = vectors.split_at_mut(second);
                        rotate(&mut head[first], &mut tail[0], turn);
                    }
                }
            }
            if !turned {
                break;
            }
        }
        let lengths: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&a, &b| lengths[b].total_cmp(&lengths[a]));
        let left = order.iter().map(|&at| {
            let length = if lengths[at] > 0.0 { lengths[at] } else { 1.0 };
            columns[at].iter().map(|x| x / length).collect()
        });
        let left = left.collect();
        let right = order.iter().map(|&at| std::mem::take(&mut right[at])).collect();
        (left, order.iter().map(|&at| lengths[at]).collect(), right)
    }
}

/// The cosine and sine that make two columns orthogonal; nothing if they are.
fn rotation(x: &[f64], y: &[f64]) -> Option<[f64; 2]> {
    let (xx, yy, xy) = (dot(x, x), dot(y, y), dot(x, y));
    if xy.abs() <= 1e-15 * (xx * yy).sqrt() {
        return None;
    }
    let zeta = (yy - xx) / (2.0 * xy);
    let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    Some([cosine, cosine * tangent])
}

fn rotate(x: &mut [f64], y: &mut [f64], [cosine, sine]: [f64; 2]) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

/// Takes away from `x` what lies along `others`, and returns the length of the rest.
fn orthogonalise(x: &mut [f64], others: &[Vec<f64>]) -> f64 {
    // Twice is enough (Giraud et al., 2005).
    for _ in 0..2 {
        for other in others {
            let along = dot(x, other);
            x.iter_mut().zip(other).for_each(|(x, other)| *x -= along * other);
        }
    }
    dot(x, x).sqrt()
}

/// A unit vector orthogonal to `others`, of which there are fewer than dimensions.
fn direction(random: &mut ChaCha8Rng, others: &[Vec<f64>], len: usize) -> Vec<f64> {
    loop {
        let mut x: Vec<f64> = (0..len).map(|_| f64::from(symmetric(random))).collect();
        let length = orthogonalise(&mut x, others);
        if length > 1e-6 {
            x.iter_mut().for_each(|x| *x /= length);
            return x;
        }
    }
}

fn combine(basis: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; basis.first().map_or(0, Vec::len)];
    for (vector, weight) in basis.iter().zip(weights) {
        sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * x);
    }
    sum
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let tail = x.len() / 8 * 8;
    for (x, y) in x.chunks_exact(8).zip(y.chunks_exact(8)) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + x[tail..].iter().zip(&y[tail..]).map(|(x, y)| x * y).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..rows * columns).map(|_| symmetric(&mut random)).collect()
    }

    /// The sum of the parts.
    fn rebuilt(svd: &Svd, rows: usize, columns: usize) -> Vec<f64> {
        let mut sum = vec![0.0; rows * columns];
        for ((u, value), v) in svd.u.iter().zip(&svd.values).zip(&svd.v) {
            for (row, u) in sum.chunks_exact_mut(columns).zip(u) {
                row.iter_mut().zip(v).for_each(|(sum, v)| *sum += u * value * v);
            }
        }
        sum
    }

    fn assert_orthonormal(vectors: &[Vec<f64>]) {
        for (i, x) in vectors.iter().enumerate() {
            for (j, y) in vectors.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(x, y) - expected).abs() < 1e-10, "{i} {j}");
            }
        }
    }

    #[test]
    fn a_whole_decomposition_gives_the_matrix_back() {
        for (rows, columns) in [(7, 7), (12, 5), (5, 12), (1, 9), (9, 1), (40, 33)] {
            let matrix = matrix(rows, columns, 1);
            let svd = truncated(&matrix, rows, columns, 100);
            assert_eq!(svd.values.len(), rows.min(columns));
            assert_orthonormal(&svd.u);
            assert_orthonormal(&svd.v);
            assert!(svd.values.is_sorted_by(|a, b| a >= b));
            for (rebuilt, &w) in rebuilt(&svd, rows, columns).iter().zip(&matrix) {
                assert!((rebuilt - f64::from(w)).abs() < 1e-12, "{rows} {columns}");
            }
        }
    }

    #[test]
    fn the_largest_are_the_same_as_of_the_whole() {
        let (rows, columns) = (90, 120);
        // Falling like those of a trained weight.
        let mut sum = vec![0f32; rows * columns];
        let (left, right) = (matrix(rows, 90, 2), matrix(90, columns, 3));
        for k in 0..90 {
            for (at, sum) in sum.iter_mut().enumerate() {
                let product = left[at / columns * 90 + k] * right[k * columns + at % columns];
                *sum += product / (1.0 + k as f32);
            }
        }
        let few = truncated(&sum, rows, columns, 4);
        let all = truncated(&sum, rows, columns, 90);
        assert_orthonormal(&few.u);
        assert_orthonormal(&few.v);
        for i in 0..4 {
            assert!((few.values[i] / all.values[i] - 1.0).abs() < 1e-12);
            let same = dot(&few.u[i], &all.u[i]) * dot(&few.v[i], &all.v[i]);
            assert!((same - 1.0).abs() < 1e-9, "{same}");
        }
    }

    #[test]
    fn values_are_the_roots_of_the_eigenvalues_of_the_square() {
        // The trace and the Frobenius norm of W'W by hand: sums of squares and of fourth powers.
        let (rows, columns) = (17, 11);
        let matrix = matrix(rows, columns, 4);
        let svd = truncated(&matrix, rows, columns, 11);
        let entry = |i: usize, j: usize| -> f64 {
            let at = |row: usize, column: usize| f64::from(matrix[row * columns + column]);
            (0..rows).map(|row| at(row, i) * at(row, j)).sum()
        };
        let trace: f64 = (0..columns).map(|i| entry(i, i)).sum();
        let fourth: f64 =
            (0..columns * columns).map(|at| entry(at / columns, at % columns).powi(2)).sum();
        let of = |power: i32| svd.values.iter().map(|value| value.powi(power)).sum::<f64>();
        assert!((of(2) / trace - 1.0).abs() < 1e-13);
        assert!((of(4) / fourth - 1.0).abs() < 1e-13);
    }

    #[test]
    fn a_matrix_of_lower_rank_or_of_nothing_is_no_problem() {
        let zero = truncated(&[0.0; 20], 4, 5, 3);
        assert_eq!(zero.values, [0.0; 3]);
        let ones = truncated(&[1.0; 20], 4, 5, 3);
        assert!((ones.values[0] - 20f64.sqrt()).abs() < 1e-12);
        assert!(ones.values[1..].iter().all(|value| value.abs() < 1e-12));
        let identity: Vec<f32> = (0..25).map(|at| f32::from(u8::from(at % 6 == 0))).collect();
        let values = truncated(&identity, 5, 5, 5).values;
        assert!(values.iter().all(|value| (value - 1.0).abs() < 1e-12), "{values:?}");
        assert!(rebuilt(&zero, 4, 5).iter().all(|x| *x == 0.0));
    }
}
