//! Operands in the order in which tiles read them.

use std::{fmt, ops::Range};

use super::{Element, Mat};
use crate::isa::Isa;

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
        let mut spare = vec![0.0; TOGETHER * depth.len()];
        for (index, panel) in
            panels.chunks_exact_mut(panel).take(cols.len().div_ceil(width)).enumerate()
        {
            let first = cols.start + index * width;
            let used = width.min(cols.end - first);
            for lane in (0..used).step_by(TOGETHER) {
                let rows: Vec<&[f32]> = (first + lane..first + used.min(lane + TOGETHER))
                    .zip(spare.chunks_exact_mut(depth.len()))
                    .map(|(row, spare)| matrix.look(row, depth.start, spare))
                    .collect();
                interleave(panel, width, lane, &rows, E::STEP, join);
            }
        }
        return;
    }
    let wide = cols.len();
    let mut spare = vec![0.0; BURST * E::STEP * wide];
    let nothing = vec![0.0; wide];
    for (burst, part) in super::blocks(depth.len(), BURST * E::STEP).enumerate() {
        let part = depth.start + part.start..depth.start + part.end;
        let mut spares = spare.chunks_exact_mut(wide);
        let rows: Vec<&[f32]> = part
            .map(|row| matrix.look(row, cols.start, spares.next().expect("one for each")))
            .collect();
        for (index, panel) in panels.chunks_exact_mut(panel).take(wide.div_ceil(width)).enumerate()
        {
            let lanes = index * width..wide.min((index + 1) * width);
            let target = panel[burst * BURST * width..].chunks_exact_mut(width);
            for (target, rows) in target.zip(rows.chunks(E::STEP)) {
                // Of an odd number of rows the last has no neighbour; in `f32` none has.
                let second = rows.get(1).copied().unwrap_or(&nothing);
                let pairs = rows[0][lanes.clone()].iter().zip(&second[lanes.clone()]);
                target
                    .iter_mut()
                    .zip(pairs)
                    .for_each(|(to, (one, other))| *to = E::join(*one, *other));
            }
        }
    }
}

/// Packs a block of `a` as `[panel][step][height]`; the last panel may be lower.
pub(super) fn pack_left<E: Element>(
    isa: Isa,
    panels: &mut [E::Factor],
    a: Mat<'_>,
    rows: Range<usize>,
    depth: Range<usize>,
    height: usize,
) {
    let steps = depth.len().div_ceil(E::STEP);
    let mut spare = vec![0.0; depth.len()];
    let mut factors = vec![E::Factor::default(); TOGETHER * steps];
    for (panel, target) in panels.chunks_mut(height * steps).enumerate() {
        let (first, used) = (rows.start + panel * height, target.len() / steps);
        for lane in (0..used).step_by(TOGETHER) {
            let count = TOGETHER.min(used - lane);
            for (row, factors) in (first + lane..).zip(factors.chunks_exact_mut(steps)).take(count)
            {
                E::factors(isa, a.look(row, depth.start, &mut spare), factors);
            }
            let rows: Vec<&[E::Factor]> = factors.chunks_exact(steps).take(count).collect();
            interleave(target, used, lane, &rows, 1, |factor| factor[0]);
        }
    }
}

/// Writes rows, [`TOGETHER`] or fewer, as columns from `lane` on of a target `width` wide, `step` neighbours of a
/// row joined to one.
fn interleave<S, T>(
    target: &mut [T],
    width: usize,
    lane: usize,
    rows: &[&[S]],
    step: usize,
    join: impl Fn(&[S]) -> T,
) {
    let columns = target.chunks_exact_mut(width).map(|column| &mut column[lane..lane + rows.len()]);
    if let &[one, two, three, four] = rows {
        // Neighbours are written together.
        let [one, two, three, four] = [one, two, three, four].map(|row| row.chunks(step));
        for (column, (((one, two), three), four)) in columns.zip(one.zip(two).zip(three).zip(four))
        {
            let [a, b, c, d] = column else { unreachable!("as many as there are rows") };
            (*a, *b, *c, *d) = (join(one), join(two), join(three), join(four));
        }
        return;
    }
    for (step_at, column) in columns.enumerate() {
        for (place, row) in column.iter_mut().zip(rows) {
            let first = step_at * step;
            *place = join(&row[first..row.len().min(first + step)]);
        }
    }
}

/// Rows that are packed together where they become columns.
const TOGETHER: usize = 4;
/// Steps that are packed together where rows stay rows: what a panel gets lies side by side, and panels
/// of a whole depth compete for the same few places in the cache.
const BURST: usize = 16;

fn join<E: Element>(group: &[f32]) -> E {
    E::join(group[0], group.get(1).copied().unwrap_or(0.0))
}
