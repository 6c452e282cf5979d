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

use rayon::prelude::*;

use crate::isa::Isa;

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
pub struct Packed {
    panels: Vec<f32>,
    rows: usize,
    cols: usize,
    isa: Isa,
}

impl Packed {
    /// Packs `b`. Takes as much memory as `b`, rounded up to whole panels.
    pub fn new(b: Mat<'_>) -> Self {
        let isa = Isa::best();
        let width = Shape::of(isa).width;
        let mut panels = vec![0.0; b.cols.div_ceil(width) * width * b.rows];
        pack_right(&mut panels, b, 0..b.rows, 0..b.cols, width);
        Self { panels, rows: b.rows, cols: b.cols, isa }
    }

    /// Returns the number of rows of the matrix packed: the inner dimension of products.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub const fn cols(&self) -> usize {
        self.cols
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
    gemm_on(Isa::best(), out, a, b, b.cols);
}

/// [`gemm`] into a block of a wider matrix: rows of `out` begin `stride` elements apart.
///
/// # Panics
/// If the sizes do not match.
pub(crate) fn gemm_strided(out: Into<'_>, a: Mat<'_>, b: Mat<'_>, stride: usize) {
    gemm_on(Isa::best(), out, a, b, stride);
}

/// Multiplies by a packed matrix; the same bits as [`gemm`].
///
/// # Panics
/// If the sizes do not match.
pub fn gemm_packed(out: Into<'_>, a: Mat<'_>, b: &Packed) {
    let mut out = Out::new(out, [a.rows, b.rows, b.cols], b.cols);
    assert_eq!(a.cols, b.rows, "inner dimensions");
    let shape = Shape::of(b.isa);
    for depth in blocks(b.rows, KC) {
        let panels = Panels { data: &b.panels, rows: b.rows, first: depth.start };
        out.multiply(a, panels, depth, 0..b.cols, shape, b.isa);
    }
}

fn gemm_on(isa: Isa, out: Into<'_>, a: Mat<'_>, b: Mat<'_>, stride: usize) {
    let mut out = Out::new(out, [a.rows, b.rows, b.cols], stride);
    assert_eq!(a.cols, b.rows, "inner dimensions");
    let shape = Shape::of(isa);
    let mut panels = vec![0.0; b.cols.min(NC).div_ceil(shape.width) * shape.width * b.rows.min(KC)];
    for cols in blocks(b.cols, NC) {
        for depth in blocks(b.rows, KC) {
            let rows = depth.len();
            let used = cols.len().div_ceil(shape.width) * shape.width * rows;
            pack_right(&mut panels[..used], b, depth.clone(), cols.clone(), shape.width);
            let panels = Panels { data: &panels[..used], rows, first: 0 };
            out.multiply(a, panels, depth, cols.clone(), shape, isa);
        }
    }
}

/// Calls the kernel for the tile's height. `by_height!(L, 2, [2 1], ..)` expands to
/// `match tile.height { 2 => kernel::<L, 2, 2>(..), 1 => kernel::<L, 1, 2>(..), _ => unreachable!() }`.
macro_rules! by_height {
    ($lanes:ty, $vectors:literal, [$($rows:literal)*], $tile:ident, $out:ident, $stride:ident, $continues:ident) => {
        match $tile.height {
            $($rows => kernel::<$lanes, $rows, $vectors>($tile, $out, $stride, $continues),)*
            _ => unreachable!("a tile is at most as high as its shape"),
        }
    };
}

/// Rows of the inner dimension taken at a time: a panel of them fits the first-level cache.
const KC: usize = 256;
/// Columns packed at a time: a block of them fits the last-level cache.
const NC: usize = 4096;
/// Rows of `a` packed at a time: a block of them fits the second-level cache.
const MC: usize = 96;
/// Columns below which rows of `a` are read where they lie instead of packed.
const PACK_LEFT: usize = 256;
/// Multiply-adds below which a second thread costs more than it brings.
const PARALLEL: usize = 1 << 21;

/// The size of a register tile.
#[derive(Clone, Copy)]
struct Shape {
    height: usize,
    width: usize,
}

impl Shape {
    const fn of(isa: Isa) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Self { height: 12, width: 32 },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self { height: 6, width: 16 },
            Isa::Portable => Self { height: 4, width: 8 },
        }
    }
}

/// Packed columns of `b`: `[panel][rows][width]`, of which rows from `first` on are wanted.
#[derive(Clone, Copy)]
struct Panels<'a> {
    data: &'a [f32],
    rows: usize,
    first: usize,
}

/// The result, shared by threads that write different elements of it.
struct Out {
    data: *mut f32,
    len: usize,
    stride: usize,
    /// Whether the next block of the inner dimension continues the sums already there.
    continues: bool,
}

#[expect(unsafe_code, reason = "rows and columns of one matrix are divided among threads")]
// SAFETY: every element is written by one task of `multiply` only, and the borrow it was made
// from is held by the caller for as long as the value lives.
unsafe impl Sync for Out {}

impl Out {
    /// Sums over an empty inner dimension are zero, which no kernel will write.
    fn new(out: Into<'_>, [rows, inner, cols]: [usize; 3], stride: usize) -> Self {
        let (data, continues) = match out {
            Into::Set(data) => (data, false),
            Into::Add(data) => (data, true),
        };
        assert!(stride >= cols && span(rows, cols, stride) <= data.len(), "room for the product");
        if inner == 0 && !continues {
            for row in data.chunks_mut(stride.max(1)).take(rows) {
                row[..cols].fill(0.0);
            }
        }
        Self { data: data.as_mut_ptr(), len: data.len(), stride, continues }
    }

    /// Adds the part of the product that one block of the inner dimension makes.
    fn multiply(
        &mut self,
        a: Mat<'_>,
        b: Panels<'_>,
        depth: std::ops::Range<usize>,
        cols: std::ops::Range<usize>,
        shape: Shape,
        isa: Isa,
    ) {
        let row_blocks: Vec<_> = blocks(a.rows, MC).collect();
        let panels = cols.len().div_ceil(shape.width);
        let work = a.rows * cols.len() * depth.len();
        let task = |rows: &std::ops::Range<usize>, panels: std::ops::Range<usize>| {
            // Packing pays where each element is read for many columns.
            let mut packed = Vec::new();
            if panels.len() * shape.width > PACK_LEFT {
                packed.resize(rows.len() * depth.len(), 0.0);
                pack_left(&mut packed, a, rows.clone(), depth.clone(), shape.height);
            }
            for panel in panels {
                let begin = (panel * b.rows + b.first) * shape.width;
                let right = &b.data[begin..begin + depth.len() * shape.width];
                let col = cols.start + panel * shape.width;
                let width = shape.width.min(cols.end - col);
                for first in (0..rows.len()).step_by(shape.height) {
                    let height = shape.height.min(rows.len() - first);
                    let left = match packed.is_empty() {
                        true => Left {
                            data: &a.data[a.at(rows.start + first, depth.start)..],
                            row_stride: a.row_stride,
                            col_stride: a.col_stride,
                        },
                        false => Left {
                            data: &packed[first * depth.len()..(first + height) * depth.len()],
                            row_stride: 1,
                            col_stride: height,
                        },
                    };
                    let tile = Tile { left, right, depth: depth.len(), height, width, shape };
                    self.tile(isa, &tile, rows.start + first, col);
                }
            }
        };
        if work < PARALLEL || rayon::current_num_threads() == 1 {
            row_blocks.iter().for_each(|rows| task(rows, 0..panels));
        } else {
            // Few rows: divide the panels too, so that every thread has something to do.
            let pieces = (4 * rayon::current_num_threads()).div_ceil(row_blocks.len()).min(panels);
            let size = panels.div_ceil(pieces);
            row_blocks.par_iter().for_each(|rows| {
                blocks(panels, size)
                    .collect::<Vec<_>>()
                    .into_par_iter()
                    .for_each(|p| task(rows, p));
            });
        }
        self.continues = true;
    }

    #[expect(unsafe_code, reason = "tiles are read and written through raw pointers")]
    fn tile(&self, isa: Isa, tile: &Tile<'_>, row: usize, col: usize) {
        let (height, width) = (tile.height, tile.width);
        let corner = row * self.stride + col;
        assert!(corner + span(height, width, self.stride) <= self.len, "a tile inside the result");
        let lanes = lanes(isa, width);
        // A ragged tile is computed beside the result and copied.
        let mut spare = [0.0f32; MAX_TILE];
        // SAFETY: the assertion above keeps `height` rows of `width` elements inside the result;
        // `spare` holds the largest tile.
        unsafe {
            let target = self.data.add(corner);
            if width == lanes {
                run_tile(isa, tile, target, self.stride, self.continues);
                return;
            }
            if self.continues {
                for r in 0..height {
                    let source = target.add(r * self.stride);
                    std::ptr::copy_nonoverlapping(source, spare.as_mut_ptr().add(r * lanes), width);
                }
            }
            run_tile(isa, tile, spare.as_mut_ptr(), lanes, self.continues);
            for r in 0..height {
                let source = spare.as_ptr().add(r * lanes);
                std::ptr::copy_nonoverlapping(source, target.add(r * self.stride), width);
            }
        }
    }
}

/// The operands of one register tile.
struct Tile<'a> {
    left: Left<'a>,
    /// One panel, `[depth, shape.width]`.
    right: &'a [f32],
    depth: usize,
    height: usize,
    /// Columns wanted; those of the panel after them are not.
    width: usize,
    shape: Shape,
}

/// Rows of `a`, from the first element on, packed or where they lie.
struct Left<'a> {
    data: &'a [f32],
    row_stride: usize,
    col_stride: usize,
}

const MAX_TILE: usize = 12 * 32;

/// The columns computed for a tile of `width`: as few whole vectors as hold it.
const fn lanes(isa: Isa, width: usize) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if width <= 8 => 8,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if width <= 16 => 16,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if width <= 8 => 8,
        Isa::Portable if width <= 4 => 4,
        _ => Shape::of(isa).width,
    }
}

/// # Safety
/// `out` must be valid for `tile.height` rows of `lanes(isa, tile.width)` elements, `stride` apart.
#[expect(unsafe_code, reason = "writes through a raw pointer")]
unsafe fn run_tile(isa: Isa, tile: &Tile<'_>, out: *mut f32, stride: usize, continues: bool) {
    let Tile { left, right, depth, height, .. } = tile;
    assert!(right.len() >= depth * tile.shape.width, "whole rows of the panel");
    assert!(
        *depth == 0
            || (height - 1) * left.row_stride + (depth - 1) * left.col_stride < left.data.len(),
        "the tile's rows inside the left matrix"
    );
    // SAFETY: the caller's promise for `out`, the assertions for the rest; an `Isa` exists only on
    // a machine that has it.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::tile_avx512(tile, out, stride, continues),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::tile_avx2(tile, out, stride, continues),
            Isa::Portable if tile.width <= 4 => {
                by_height!(F32x4, 1, [4 3 2 1], tile, out, stride, continues)
            }
            Isa::Portable => by_height!(F32x4, 2, [4 3 2 1], tile, out, stride, continues),
        }
    }
}

/// One register tile: `HEIGHT` rows of `VECTORS` vectors.
///
/// # Safety
/// `out` must be valid for `HEIGHT` rows of `VECTORS * L::WIDTH` elements, `stride` apart; the
/// operands of `tile` must have all rows and columns it names; the machine must have the
/// instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "vector loads and stores")]
unsafe fn kernel<L: Lanes, const HEIGHT: usize, const VECTORS: usize>(
    tile: &Tile<'_>,
    out: *mut f32,
    stride: usize,
    continues: bool,
) {
    let (row_stride, col_stride) = (tile.left.row_stride, tile.left.col_stride);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.0); VECTORS]; HEIGHT];
        if continues {
            for (r, row) in sums.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = L::load(out.add(r * stride + v * L::WIDTH));
                }
            }
        }
        let (mut a, mut b) = (tile.left.data.as_ptr(), tile.right.as_ptr());
        for _ in 0..tile.depth {
            let mut columns = [L::splat(0.0); VECTORS];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = L::load(b.add(v * L::WIDTH));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let factor = L::splat(*a.add(r * row_stride));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = L::mul_add(factor, column, *sum);
                }
            }
            // The last step leaves the slices: `wrapping` keeps that no more than arithmetic.
            a = a.wrapping_add(col_stride);
            b = b.wrapping_add(tile.shape.width);
        }
        for (r, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                L::store(out.add(r * stride + v * L::WIDTH), *sum);
            }
        }
    }
}

/// A vector register.
///
/// # Safety
/// Callers must have the instructions, and pointers valid for `WIDTH` elements.
#[expect(unsafe_code, reason = "vector loads and stores")]
trait Lanes: Copy {
    const WIDTH: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(to: *mut f32, value: Self);
    unsafe fn mul_add(a: Self, b: Self, c: Self) -> Self;
}

/// Four elements in whatever registers the target has; NEON on Arm.
#[derive(Clone, Copy)]
struct F32x4([f32; 4]);

#[expect(unsafe_code, reason = "vector loads and stores")]
impl Lanes for F32x4 {
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; the read may be unaligned.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self) {
        // SAFETY: the caller's promise; the write may be unaligned.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|lane| a.0[lane].mul_add(b.0[lane], c.0[lane])))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    use super::{Lanes, Tile, kernel};

    /// # Safety
    /// As for [`kernel`]; the machine must have AVX-512F and VL.
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    #[expect(unsafe_code, reason = "writes through a raw pointer")]
    pub(super) unsafe fn tile_avx512(
        tile: &Tile<'_>,
        out: *mut f32,
        stride: usize,
        continues: bool,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match tile.width {
                0..=8 => {
                    by_height!(F32x8, 1, [12 11 10 9 8 7 6 5 4 3 2 1], tile, out, stride, continues)
                }
                9..=16 => {
                    by_height!(F32x16, 1, [12 11 10 9 8 7 6 5 4 3 2 1], tile, out, stride, continues)
                }
                _ => {
                    by_height!(F32x16, 2, [12 11 10 9 8 7 6 5 4 3 2 1], tile, out, stride, continues)
                }
            }
        }
    }

    /// # Safety
    /// As for [`kernel`]; the machine must have AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "writes through a raw pointer")]
    pub(super) unsafe fn tile_avx2(tile: &Tile<'_>, out: *mut f32, stride: usize, continues: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            match tile.width {
                ..=8 => by_height!(F32x8, 1, [6 5 4 3 2 1], tile, out, stride, continues),
                _ => by_height!(F32x8, 2, [6 5 4 3 2 1], tile, out, stride, continues),
            }
        }
    }

    /// Implements [`Lanes`] by intrinsics: `lanes!(F32x8, __m256, 8, set1, load, store, fmadd)`
    /// expands to `struct F32x8(__m256)` and its four functions.
    macro_rules! lanes {
        ($name:ident, $register:ty, $width:literal, $set1:ident, $load:ident, $store:ident, $fmadd:ident) => {
            #[derive(Clone, Copy)]
            pub(super) struct $name($register);

            #[expect(unsafe_code, reason = "intrinsics")]
            impl Lanes for $name {
                const WIDTH: usize = $width;

                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: the caller has the instructions.
                    Self(unsafe { $set1(value) })
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: the caller's promise.
                    Self(unsafe { $load(from) })
                }

                #[inline(always)]
                unsafe fn store(to: *mut f32, value: Self) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(to, value.0) }
                }

                #[inline(always)]
                unsafe fn mul_add(a: Self, b: Self, c: Self) -> Self {
                    // SAFETY: the caller has the instructions.
                    Self(unsafe { $fmadd(a.0, b.0, c.0) })
                }
            }
        };
    }

    lanes!(F32x16, __m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
    lanes!(F32x8, __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
}

/// Packs a block of `b` as `[panel][depth][width]`; columns past the last are zero.
fn pack_right(
    panels: &mut [f32],
    b: Mat<'_>,
    depth: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    width: usize,
) {
    // An empty inner dimension packs to nothing.
    for (panel, target) in panels.chunks_exact_mut((depth.len() * width).max(1)).enumerate() {
        let first = cols.start + panel * width;
        let used = width.min(cols.end - first);
        if b.col_stride == 1 {
            for (p, row) in depth.clone().zip(target.chunks_exact_mut(width)) {
                let from = b.at(p, first);
                row[..used].copy_from_slice(&b.data[from..from + used]);
                row[used..].fill(0.0);
            }
        } else {
            if used < width {
                target.fill(0.0);
            }
            for col in 0..used {
                let from = b.at(depth.start, first + col);
                let column = b.data[from..].iter().step_by(b.row_stride);
                for (element, row) in column.zip(target.chunks_exact_mut(width)) {
                    row[col] = *element;
                }
            }
        }
    }
}

/// Packs a block of `a` as `[panel][depth][height]`; the last panel may be lower.
fn pack_left(
    panels: &mut [f32],
    a: Mat<'_>,
    rows: std::ops::Range<usize>,
    depth: std::ops::Range<usize>,
    height: usize,
) {
    for (panel, target) in panels.chunks_mut(height * depth.len()).enumerate() {
        let first = rows.start + panel * height;
        let used = target.len() / depth.len();
        for r in 0..used {
            let row = a.data[a.at(first + r, depth.start)..].iter().step_by(a.col_stride);
            for (element, column) in row.zip(target.chunks_exact_mut(used)) {
                column[r] = *element;
            }
        }
    }
}

fn blocks(len: usize, size: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..len).step_by(size.max(1)).map(move |first| first..len.min(first + size))
}

/// Returns how many elements rows of `cols` elements, `stride` apart, reach over.
const fn span(rows: usize, cols: usize, stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols }
}

#[cfg(test)]
mod tests;
