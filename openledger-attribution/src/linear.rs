//! Small dense symmetric systems in `f64`, every sum in a fixed order.

/// The Cholesky factor of a positive definite matrix.
#[derive(Clone, Debug)]
pub(crate) struct Cholesky {
    size: usize,
    /// Lower triangle, row by row.
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors a symmetric matrix, of which the lower triangle is read; `None` if it is not positive
    /// definite. Costs `size^3 / 3` operations.
    pub(crate) fn new(size: usize, mut matrix: Vec<f64>) -> Option<Self> {
        for column in 0..size {
            let (done, rest) = matrix.split_at_mut(column * size);
            let (pivot_row, below) = rest.split_at_mut(size);
            let _ = done;
            let pivot = pivot_row[column] - dot(&pivot_row[..column], &pivot_row[..column]);
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            let root = pivot.sqrt();
            pivot_row[column] = root;
            for row in below.chunks_exact_mut(size) {
                row[column] = (row[column] - dot(&row[..column], &pivot_row[..column])) / root;
            }
        }
        Some(Self { size, lower: matrix })
    }

    /// Solves for one right-hand side, in place.
    pub(crate) fn solve(&self, x: &mut [f64]) {
        for row in 0..self.size {
            let line = &self.lower[row * self.size..(row + 1) * self.size];
            x[row] = (x[row] - dot(&line[..row], &x[..row])) / line[row];
        }
        for row in (0..self.size).rev() {
            x[row] /= self.lower[row * self.size + row];
            let value = x[row];
            let line = &self.lower[row * self.size..row * self.size + row];
            x[..row].iter_mut().zip(line).for_each(|(x, l)| *x -= l * value);
        }
    }
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
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..size {
                matrix[i * size + j] = (0..size).map(|k| value(i, k) * value(j, k)).sum();
            }
            matrix[i * size + i] += 1.0;
        }
        let expected: Vec<f64> = (0..size).map(|i| i as f64 - 4.0).collect();
        let mut x: Vec<f64> =
            (0..size).map(|i| dot(&matrix[i * size..(i + 1) * size], &expected)).collect();
        Cholesky::new(size, matrix).unwrap().solve(&mut x);
        assert!(x.iter().zip(&expected).all(|(x, e)| (x - e).abs() < 1e-9));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        assert!(Cholesky::new(2, vec![1.0, 2.0, 2.0, 1.0]).is_none());
        assert!(Cholesky::new(1, vec![f64::NAN]).is_none());
    }
}
