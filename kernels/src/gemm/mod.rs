//! Matrix products whose every bit is specified.
//!
//! Each element of the result is one chain of fused multiply-adds over the inner dimension, in
//! ascending order:
//!
//! ```text
//! c = 0 (or what was there);  for p in 0..k { c = fma(a[i][p], b[p][j], c) }
//! ```
//!
//! Vector lanes run over columns and never over the chain, blocks of the inner dimension continue
//! the chain where the last left it, and threads divide rows and columns. So neither the
//! instruction set nor the tile sizes, the number of threads or the other rows of a batch change
//! a bit. The structure is that of BLIS (Van Zee and van de Geijn, 2015): `b` is packed into
//! panels as wide as a register tile, `a` into panels as high as one.

mod columns;
mod element;
mod out;
mod pack;
mod packing;
mod thin;
mod tile;

use std::ops::Range;

use crate::{
    isa::Isa,
    room::{Fixed, Room},
    scratch,
    threads::each,
    weight::{Halves, Shared},
};

pub(crate) use columns::Columns;
pub(crate) use element::{Element, Pair, Stored, to_bf16};
pub(crate) use pack::{ReadRows, Right};
#[cfg(target_arch = "x86_64")]
pub(crate) use tile::dots_pairs;

pub(crate) use out::{Block, Out};
pub(crate) use tile::{Left, prefetch};

pub use packing::Packing;

use out::Part;
use pack::pack_right;
use tile::Shape;

/// A borrowed matrix, by rows, by columns or strided.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Takes `rows * cols` elements, row by row.
    ///
    /// # Panics
    /// If `data` has another length.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "elements of a {rows} x {cols} matrix");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// Takes rows of `cols` elements that begin `stride` elements apart.
    ///
    /// # Panics
    /// If `data` is too short.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(span(rows, cols, stride) <= data.len(), "a {rows} x {cols} matrix by {stride}");
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// Returns the transpose, without moving anything.
    #[must_use]
    pub const fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    #[cfg(test)]
    pub(crate) fn get(&self, row: usize, col: usize) -> f32 {
        self.data[self.at(row, col)]
    }

    /// Returns the number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Whether another matrix is the same elements in the same place.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let place =
            |mat: &Self| (mat.data.as_ptr(), mat.rows, mat.cols, mat.row_stride, mat.col_stride);
        place(self) == place(other)
    }

    fn at(&self, row: usize, col: usize) -> usize {
        row * self.row_stride + col * self.col_stride
    }
}

/// What a product does with the elements already there.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way to store a sum")]
pub enum Into<'a> {
    /// Overwrites them.
    Set(&'a mut [f32]),
    /// Continues their sums.
    Add(&'a mut [f32]),
}

/// A right-hand matrix in the layout the kernel reads, for products that repeat: base weights,
/// adapters. Specific to this machine's instruction set.
#[derive(Clone, Debug)]
pub struct Packed(Kept);

#[derive(Clone, Debug)]
enum Kept {
    Whole(PackedOf<f32>),
    Half(PackedOf<Stored>),
    Rounded(Halves),
}

impl Packed {
    /// Packs `b`. Takes as much memory as `b`, rounded up to whole panels.
    pub fn new(b: Mat<'_>) -> Self {
        Self(Kept::Whole(PackedOf::new(b.into())))
    }

    /// Packs `b` rounded to `bf16`, in half the memory. Products are computed in `f32` as with the
    /// rounded numbers.
    pub fn new_bf16(b: Mat<'_>) -> Self {
        Self(Kept::Half(PackedOf::new(b.into())))
    }

    /// Packs `b` rounded to `bf16`, for products whose other rows are rounded, too: those of
    /// [`Arithmetic::Bf16`](crate::Arithmetic::Bf16).
    pub fn new_rounded(b: Mat<'_>) -> Self {
        Self(Kept::Rounded(Halves::new(b.into())))
    }

    /// Returns the number of rows of the matrix packed: the inner dimension of products.
    pub const fn rows(&self) -> usize {
        self.sizes()[0]
    }

    /// Returns the number of columns.
    pub const fn cols(&self) -> usize {
        self.sizes()[1]
    }

    const fn sizes(&self) -> [usize; 2] {
        match &self.0 {
            Kept::Whole(packed) => [packed.rows, packed.cols],
            Kept::Half(packed) | Kept::Rounded(Halves::Stored(packed)) => {
                [packed.rows, packed.cols]
            }
            Kept::Rounded(Halves::Dotted(packed)) => [packed.rows, packed.cols],
        }
    }

    /// A product with few rows, divided by columns.
    pub(crate) fn columns<'a>(
        &'a self,
        out: Into<'a>,
        a: Mat<'a>,
        rows: &mut Shared<'a>,
    ) -> Columns<'a> {
        match &self.0 {
            Kept::Whole(packed) => Columns::of(out, a, packed),
            Kept::Half(packed) => Columns::of(out, a, packed),
            Kept::Rounded(halves) => halves.columns(out, a, rows),
        }
    }

    /// Returns how many bytes it takes.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Kept::Whole(packed) => packed.bytes(),
            Kept::Half(packed) | Kept::Rounded(Halves::Stored(packed)) => packed.bytes(),
            Kept::Rounded(Halves::Dotted(packed)) => packed.bytes(),
        }
    }
}

/// [`Packed`] with elements of any kind.
#[derive(Clone, Debug)]
pub(crate) struct PackedOf<E: Element> {
    panels: Fixed<E>,
    rows: usize,
    cols: usize,
    /// Columns of a panel.
    width: usize,
    isa: Isa,
}

impl<E: Element> PackedOf<E> {
    pub(crate) fn new(b: Right<'_>) -> Self {
        Self::with_width(b, Self::fit(b.sizes()))
    }

    /// The width of panels that suits a matrix.
    fn fit([_, cols]: [usize; 2]) -> usize {
        Shape::of(Isa::best()).fit(cols)
    }

    /// How many elements a matrix takes in panels of a width.
    const fn len([rows, cols]: [usize; 2], width: usize) -> usize {
        cols.div_ceil(width) * width * rows.div_ceil(E::STEP)
    }

    /// Packs `b` in panels as wide as a tile, for [`multiply_part`](Self::multiply_part).
    pub(crate) fn wide(b: Right<'_>) -> Self {
        Self::with_width(b, Shape::of(Isa::best()).width)
    }

    fn with_width(b: Right<'_>, width: usize) -> Self {
        let isa = Isa::best();
        let [rows, cols] = b.sizes();
        let mut panels = Room::new(Self::len([rows, cols], width));
        pack_right(&mut panels, b, 0..rows, 0..cols, width);
        Self { panels: Fixed::Own(panels), rows, cols, width, isa }
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.panels[..])
    }

    /// A block of the inner dimension of a product.
    fn part<'a>(&'a self, a: Mat<'a>, depth: Range<usize>) -> Part<'a, E> {
        let (data, width, steps) = (&self.panels[..], self.width, self.rows.div_ceil(E::STEP));
        let b = Panels { data, steps, width, first: depth.start / E::STEP };
        Part { a, b, depth, cols: 0..self.cols, isa: self.isa }
    }
}

impl PackedOf<f32> {
    /// Multiplies by some rows of some columns, of which the first is a multiple of [`WIDEST`].
    pub(crate) fn multiply_part(
        &self,
        out: Into<'_>,
        a: Mat<'_>,
        [rows, cols]: [Range<usize>; 2],
        stride: usize,
    ) {
        assert!(rows.end <= self.rows && cols.end <= self.cols, "a part of what is packed");
        assert!(cols.start.is_multiple_of(self.width), "whole panels");
        assert_eq!(a.cols, rows.len(), "inner dimensions");
        let mut out = Out::new(out, [a.rows, a.cols, cols.len()], stride);
        let (data, steps, width) = (&self.panels[cols.start * self.rows..], self.rows, self.width);
        for depth in blocks(a.cols, KC) {
            let b = Panels { data, steps, width, first: rows.start + depth.start };
            out.multiply(&Part { a, b, depth, cols: 0..cols.len(), isa: self.isa });
        }
    }
}

/// Multiplies: `out = a b` or `out += a b`, with `out` row by row.
///
/// # Panics
/// If the sizes do not match.
///
/// # Examples
/// ```
/// use openledger_kernels::{Into, Mat, gemm};
///
/// let (a, b) = ([1.0, 2.0], [3.0, 4.0, 5.0, 6.0]);
/// let mut c = [0.0; 2];
/// gemm(Into::Set(&mut c), Mat::new(&a, 1, 2), Mat::new(&b, 2, 2));
/// assert_eq!(c, [13.0, 16.0]);
/// gemm(Into::Add(&mut c), Mat::new(&a, 1, 2), Mat::new(&b, 2, 2).t());
/// assert_eq!(c, [24.0, 33.0]);
/// ```
pub fn gemm(out: Into<'_>, a: Mat<'_>, b: Mat<'_>) {
    gemm_strided(out, a, b, b.cols);
}

/// [`gemm`] into a block of a wider matrix: rows of `out` begin `stride` elements apart.
///
/// # Panics
/// If the sizes do not match.
pub(crate) fn gemm_strided(out: Into<'_>, a: Mat<'_>, b: Mat<'_>, stride: usize) {
    let isa = Isa::best();
    if thin::suits(a, b) {
        return thin::multiply(isa, out, a, b, stride);
    }
    if thin::suits(b.t(), a.t()) {
        return thin::multiply_transposed(isa, out, a, b, stride);
    }
    gemm_on::<f32>(isa, out, a, b.into(), stride);
}

/// Multiplies by a packed matrix; the same bits as [`gemm`].
///
/// # Panics
/// If the sizes do not match.
pub fn gemm_packed(out: Into<'_>, a: Mat<'_>, b: &Packed) {
    match &b.0 {
        Kept::Whole(b) => multiply_packed(out, a, b),
        Kept::Half(b) => multiply_packed(out, a, b),
        Kept::Rounded(b) => b.multiply(out, a),
    }
}

/// [`gemm_packed`] with elements of any kind.
pub(crate) fn multiply_packed<E: Element>(out: Into<'_>, a: Mat<'_>, b: &PackedOf<E>) {
    if a.rows <= FEW {
        return Columns::run_all(&[Columns::of(out, a, b)]);
    }
    let mut out = Out::new(out, [a.rows, b.rows, b.cols], b.cols);
    assert_eq!(a.cols, b.rows, "inner dimensions");
    for depth in blocks(b.rows, E::STEP * KC) {
        out.multiply(&b.part(a, depth));
    }
}

/// Multiplies by a matrix that is packed as it is needed.
pub(crate) fn gemm_on<E: Element>(
    isa: Isa,
    out: Into<'_>,
    a: Mat<'_>,
    b: Right<'_>,
    stride: usize,
) {
    let [rows, cols] = b.sizes();
    let mut out = Out::new(out, [a.rows, rows, cols], stride);
    assert_eq!(a.cols, rows, "inner dimensions");
    let width = Shape::of(isa).width;
    let room = |cols: usize, rows: usize| cols.div_ceil(width) * width * rows.div_ceil(E::STEP);
    scratch::with(room(cols.min(NC), rows.min(E::STEP * KC)), |panels: &mut [E]| {
        for cols in blocks(cols, NC) {
            for depth in blocks(rows, E::STEP * KC) {
                let data = &mut panels[..room(cols.len(), depth.len())];
                pack_together(data, b, &depth, &cols, width);
                let steps = depth.len().div_ceil(E::STEP);
                let b = Panels { data, steps, width, first: 0 };
                out.multiply(&Part { a, b, depth, cols: cols.clone(), isa });
            }
        }
    });
}

/// [`pack_right`] by all threads, some panels each.
fn pack_together<E: Element>(
    panels: &mut [E],
    b: Right<'_>,
    depth: &Range<usize>,
    cols: &Range<usize>,
    width: usize,
) {
    let (steps, wide) = (depth.len().div_ceil(E::STEP), width * PANELS);
    if steps * cols.len() < PARALLEL_COPY {
        return pack_right(panels, b, depth.clone(), cols.clone(), width);
    }
    let pieces = blocks(cols.len(), wide);
    each(panels.chunks_mut(wide * steps).zip(pieces), |(panels, part)| {
        let cols = cols.start + part.start..cols.start + part.end;
        pack_right(panels, b, depth.clone(), cols, width);
    });
}

/// Panels that a thread packs at a time.
const PANELS: usize = 8;
/// Elements above which more than one thread copies them.
const PARALLEL_COPY: usize = 1 << 16;

/// What the width of every panel that is as wide as a tile divides.
pub(crate) const WIDEST: usize = 32;
/// Steps along the inner dimension taken at a time: sums are written and read again for each block.
const KC: usize = 512;
/// Columns packed at a time: a block of them fits the last-level cache.
const NC: usize = 4096;
/// Rows of `a` packed at a time: a block of them fits the second-level cache.
const MC: usize = 192;
/// Rows that are no more than two tiles.
pub(crate) const FEW: usize = 24;
/// Columns below which `a` is read where it lies however it lies.
const PACK_LEFT: usize = 256;
/// Elements apart which have the same place in the first-level cache.
const SAME_PLACE: usize = 1024;
/// Multiply-adds below which a second thread costs more than it brings.
pub(crate) const PARALLEL: usize = 1 << 21;

/// Packed columns of `b`: `[panel][steps][width]`, of which steps from `first` on are wanted.
#[derive(Clone, Copy)]
struct Panels<'a, E> {
    data: &'a [E],
    steps: usize,
    width: usize,
    first: usize,
}

fn blocks(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size.max(1)).map(move |first| first..len.min(first + size))
}

/// Returns how many elements rows of `cols` elements, `stride` apart, reach over.
const fn span(rows: usize, cols: usize, stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols }
}

#[cfg(test)]
pub(crate) mod tests;
