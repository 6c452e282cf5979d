//! Operands in the order in which tiles read them.

use std::{fmt, ops::Range};

use super::{Element, Mat};

/// A matrix that is read a piece of a row at a time, whatever it is stored as.
pub(crate) trait ReadRows: fmt::Debug + Sync {
    /// Returns the number of rows and of columns.
    fn sizes(&self) -> [usize; 2];

    /// Reads as many elements of `row` as `out` holds, from the column `from` on.
    fn read(&self, row: usize, from: usize, out: &mut [f32]);

    /// Returns the same elements where they lie, if they lie side by side as numbers.
    fn slice(&self, row: usize, from: usize, len: usize) -> Option<&[f32]>;

    /// Returns the same elements, read into `spare` if there is no other way.
    fn look<'a>(&'a self, row: usize, from: usize, spare: &'a mut [f32]) -> &'a [f32] {
        let len = spare.len();
        match self.slice(row, from, len) {
            Some(slice) => slice,
            None => {
                self.read(row, from, spare);
                spare
            }
        }
    }
}

impl ReadRows for Mat<'_> {
    fn sizes(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    fn read(&self, row: usize, from: usize, out: &mut [f32]) {
        let begin = self.at(row, from);
        if self.col_stride == 1 {
            out.copy_from_slice(&self.data[begin..begin + out.len()]);
        } else {
            let elements = self.data[begin..].iter().step_by(self.col_stride);
            out.iter_mut().zip(elements).for_each(|(out, x)| *out = *x);
        }
    }

    fn slice(&self, row: usize, from: usize, len: usize) -> Option<&[f32]> {
        let begin = self.at(row, from);
        (self.col_stride == 1).then(|| &self.data[begin..begin + len])
    }
}

/// A right-hand matrix, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a> {
    matrix: Matrix<'a>,
    transposed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Matrix<'a> {
    Here(Mat<'a>),
    Stored(&'a dyn ReadRows),
}

impl<'a> From<Mat<'a>> for Right<'a> {
    fn from(mat: Mat<'a>) -> Self {
        // Whichever way its elements lie side by side.
        let transposed = mat.col_stride != 1;
        Self { matrix: Matrix::Here(if transposed { mat.t() } else { mat }), transposed }
    }
}

impl<'a> Right<'a> {
    /// Takes a matrix as it is.
    pub(crate) const fn of(matrix: &'a dyn ReadRows) -> Self {
        Self { matrix: Matrix::Stored(matrix), transposed: false }
    }

    /// Takes the transpose of a matrix.
    pub(crate) const fn transpose_of(matrix: &'a dyn ReadRows) -> Self {
        Self { matrix: Matrix::Stored(matrix), transposed: true }
    }

    fn matrix(&self) -> &dyn ReadRows {
        match &self.matrix {
            Matrix::Here(mat) => mat,
            Matrix::Stored(matrix) => *matrix,
        }
    }

    /// Returns the inner dimension of products, and the number of columns.
    pub(super) fn sizes(&self) -> [usize; 2] {
        let [rows, cols] = self.matrix().sizes();
        if self.transposed { [cols, rows] } else { [rows, cols] }
    }
}

/// Packs a block of `b` as `[panel][step][width]`; columns past the last are zero.
pub(super) fn pack_right<E: Element>(
    panels: &mut [E],
    b: Right<'_>,
    depth: Range<usize>,
    cols: Range<usize>,
    width: usize,
) {
    let steps = depth.len().div_ceil(E::STEP);
    if steps == 0 || cols.is_empty() {
        return;
    }
    let (panel, ragged) = (steps * width, cols.len() % width);
    if ragged != 0 {
        let last = cols.len() / width * panel;
        for row in panels[last..last + panel].chunks_exact_mut(width) {
            row[ragged..].fill(E::default());
        }
    }
    let matrix = b.matrix();
    if b.transposed {
        let mut spare = vec![0.0; depth.len()];
        for (index, col) in cols.enumerate() {
            let column = matrix.look(col, depth.start, &mut spare);
            let target = &mut panels[index / width * panel..][..panel];
            let lane = target[index % width..].iter_mut().step_by(width);
            lane.zip(column.chunks(E::STEP)).for_each(|(element, group)| *element = join(group));
        }
    } else {
        let mut spare = [vec![0.0; cols.len()], vec![0.0; (E::STEP - 1) * cols.len()]];
        let nothing = vec![0.0; (E::STEP - 1) * cols.len()];
        for (step, row) in depth.clone().step_by(E::STEP).enumerate() {
            let [one, other] = &mut spare;
            let first = matrix.look(row, cols.start, one);
            // Of an odd number of rows the last has no neighbour; in `f32` none has.
            let second = match E::STEP {
                1 => first,
                _ if row + 1 < depth.end => matrix.look(row + 1, cols.start, other),
                _ => &nothing,
            };
            let pieces = first.chunks(width).zip(second.chunks(width));
            for (panel, (first, second)) in panels.chunks_exact_mut(panel).zip(pieces) {
                let target = panel[step * width..].iter_mut();
                for (element, (first, second)) in target.zip(first.iter().zip(second)) {
                    *element = E::join(*first, *second);
                }
            }
        }
    }
}

/// Packs a block of `a` as `[panel][step][height]`; the last panel may be lower.
pub(super) fn pack_left<E: Element>(
    panels: &mut [E::Factor],
    a: Mat<'_>,
    rows: Range<usize>,
    depth: Range<usize>,
    height: usize,
) {
    let steps = depth.len().div_ceil(E::STEP);
    let mut spare = vec![0.0; TOGETHER * depth.len()];
    for (panel, target) in panels.chunks_mut(height * steps).enumerate() {
        let first = rows.start + panel * height;
        let used = target.len() / steps;
        let mut r = 0;
        // Several rows at a time, so that neighbours are written together.
        while r + TOGETHER <= used {
            let mut spares = spare.chunks_exact_mut(depth.len());
            let rows: [&[f32]; TOGETHER] = std::array::from_fn(|row| {
                let spare = spares.next().expect("one for each");
                a.look(first + r + row, depth.start, spare)
            });
            let [one, two, three, four] = rows.map(|row| row.chunks(E::STEP));
            let places = target.chunks_exact_mut(used).map(|column| &mut column[r..r + TOGETHER]);
            for (place, (((a, b), c), d)) in places.zip(one.zip(two).zip(three).zip(four)) {
                place.copy_from_slice(&[
                    factor::<E>(a),
                    factor::<E>(b),
                    factor::<E>(c),
                    factor::<E>(d),
                ]);
            }
            r += TOGETHER;
        }
        for r in r..used {
            let row = a.look(first + r, depth.start, &mut spare[..depth.len()]);
            let column = target[r..].iter_mut().step_by(used);
            column.zip(row.chunks(E::STEP)).for_each(|(place, group)| *place = factor::<E>(group));
        }
    }
}

/// Rows of a left-hand matrix that are packed together.
const TOGETHER: usize = 4;

fn join<E: Element>(group: &[f32]) -> E {
    E::join(group[0], group.get(1).copied().unwrap_or(0.0))
}

fn factor<E: Element>(group: &[f32]) -> E::Factor {
    E::factor(group[0], group.get(1).copied().unwrap_or(0.0))
}
