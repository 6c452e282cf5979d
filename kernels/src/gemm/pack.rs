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
        let mut spare = vec![0.0; TOGETHER * depth.len()];
        for (index, panel) in
            panels.chunks_exact_mut(panel).take(cols.len().div_ceil(width)).enumerate()
        {
            let first = cols.start + index * width;
            let rows = first..cols.end.min(first + width);
            interleave(panel, width, E::STEP, matrix, rows, depth.clone(), &mut spare, join);
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
    panels: &mut [E::Factor],
    a: Mat<'_>,
    rows: Range<usize>,
    depth: Range<usize>,
    height: usize,
) {
    let steps = depth.len().div_ceil(E::STEP);
    let mut spare = vec![0.0; TOGETHER * depth.len()];
    for (panel, target) in panels.chunks_mut(height * steps).enumerate() {
        let (first, used) = (rows.start + panel * height, target.len() / steps);
        let rows = first..first + used;
        interleave(target, used, E::STEP, &a, rows, depth.clone(), &mut spare, factor::<E>);
    }
}

/// Writes rows as columns `width` apart, `step` elements of a row joined to one; `spare` holds [`TOGETHER`] rows.
#[expect(clippy::too_many_arguments, reason = "what both operands are packed by")]
fn interleave<T: Copy>(
    target: &mut [T],
    width: usize,
    step: usize,
    matrix: &dyn ReadRows,
    rows: Range<usize>,
    depth: Range<usize>,
    spare: &mut [f32],
    join: impl Fn(&[f32]) -> T,
) {
    let mut lane = 0;
    // Several at a time, so that neighbours are written together.
    while lane + TOGETHER <= rows.len() {
        let mut spares = spare.chunks_exact_mut(depth.len());
        let rows: [&[f32]; TOGETHER] = std::array::from_fn(|row| {
            let spare = spares.next().expect("one for each");
            matrix.look(rows.start + lane + row, depth.start, spare)
        });
        let [one, two, three, four] = rows.map(|row| row.chunks(step));
        let places =
            target.chunks_exact_mut(width).map(|column| &mut column[lane..lane + TOGETHER]);
        for (place, (((a, b), c), d)) in places.zip(one.zip(two).zip(three).zip(four)) {
            place.copy_from_slice(&[join(a), join(b), join(c), join(d)]);
        }
        lane += TOGETHER;
    }
    for lane in lane..rows.len() {
        let row = matrix.look(rows.start + lane, depth.start, &mut spare[..depth.len()]);
        let column = target[lane..].iter_mut().step_by(width);
        column.zip(row.chunks(step)).for_each(|(place, group)| *place = join(group));
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

fn factor<E: Element>(group: &[f32]) -> E::Factor {
    E::factor(group[0], group.get(1).copied().unwrap_or(0.0))
}
