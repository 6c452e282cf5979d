//! Register tiles: the innermost loops.

use super::{Element, Pair, Stored};
use crate::isa::Isa;

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

/// The size of a register tile.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Shape {
    pub(super) const fn of(isa: Isa) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Self { height: 12, width: 32 },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self { height: 6, width: 16 },
            Isa::Portable => Self { height: 4, width: 8 },
        }
    }

    /// Returns the height of tiles for so many rows, at least one: one low tile waits for its sums longer than
    /// two of half the height.
    pub(super) const fn even(self, rows: usize) -> usize {
        match rows {
            0 => 1,
            _ => rows.div_ceil(rows.div_ceil(self.height)),
        }
    }

    /// Returns the width of panels that are kept for so many columns: where they are few, narrower than
    /// tiles can be if that leaves fewer columns empty.
    pub(super) fn fit(self, cols: usize) -> usize {
        let narrower =
            [16, 8].into_iter().filter(|&width| width < self.width && cols <= FEW_COLUMNS);
        let widths = std::iter::once(self.width).chain(narrower);
        widths.min_by_key(|width| cols.next_multiple_of(*width)).unwrap_or(self.width)
    }
}

/// Columns below which panels may be narrow: the ranks of adapters.
const FEW_COLUMNS: usize = 192;

/// The operands of one register tile.
pub(crate) struct Tile<'a, E: Element> {
    pub(super) left: Left<'a, E::Factor>,
    /// Panels side by side, `[panels, steps, shape.width]`.
    pub(super) right: &'a [E],
    /// As many as are multiplied, one result beside the other; whole ones if there are several.
    pub(super) panels: usize,
    pub(super) steps: usize,
    pub(super) height: usize,
    /// Columns wanted; those of the panel after them are not.
    pub(super) width: usize,
    pub(super) shape: Shape,
    pub(super) soon: Soon<E>,
}

/// What is multiplied soon, to be asked of the memory meanwhile: `step` elements at each step.
#[derive(Clone, Copy)]
pub(crate) struct Soon<E> {
    /// Never read through; it may lie outside of everything.
    from: *const E,
    step: usize,
    /// Whether so much is multiplied before it that the nearest cache would have lost it again.
    far: bool,
}

impl<E> Soon<E> {
    pub(super) fn new(near: &[E], offset: usize, step: usize) -> Self {
        Self { from: near.as_ptr().wrapping_add(offset), step, far: false }
    }

    /// The same, a line at each step, of what comes after the whole of a panel.
    pub(super) fn far(near: &[E], offset: usize) -> Self {
        Self { far: true, ..Self::new(near, offset, LINE) }
    }
}

/// Rows of `a`, from the first element on, packed or where they lie.
pub(crate) struct Left<'a, F> {
    pub(crate) data: &'a [F],
    pub(crate) row_stride: usize,
    pub(crate) step_stride: usize,
}

impl<E: Element> Tile<'_, E> {
    /// # Panics
    /// If an operand does not have all rows and columns that are named.
    fn check(&self, isa: Isa) {
        let Self { left, right, panels, steps, height, .. } = self;
        let loaded = lanes(isa, self.width);
        let rows = panels * steps;
        assert!(
            rows == 0 || right.len() >= (rows - 1) * self.shape.width + loaded,
            "whole rows of the panels"
        );
        assert!(*panels <= 1 || loaded == self.shape.width, "whole panels");
        assert!(
            *steps == 0
                || (height - 1) * left.row_stride + (steps - 1) * left.step_stride
                    < left.data.len(),
            "the tile's rows inside the left matrix"
        );
    }
}

pub(super) const MAX_TILE: usize = 12 * 32;

/// The columns computed for a tile of `width`: as few whole vectors as hold it.
pub(super) const fn lanes(isa: Isa, width: usize) -> usize {
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
/// `out` must be valid for `tile.height` rows of `lanes(isa, tile.width)` elements for each panel,
/// `stride` apart.
#[expect(unsafe_code, reason = "writes through a raw pointer")]
pub(super) unsafe fn run_tile(
    isa: Isa,
    tile: &Tile<'_, f32>,
    out: *mut f32,
    stride: usize,
    continues: bool,
) {
    tile.check(isa);
    // SAFETY: the caller's promise for `out`, the check for the rest; an `Isa` exists only on a
    // machine that has it.
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

/// # Safety
/// As for [`run_tile`].
///
/// # Panics
/// If there is no instruction for pairs.
#[expect(unsafe_code, reason = "writes through a raw pointer")]
pub(super) unsafe fn run_pair_tile(
    isa: Isa,
    tile: &Tile<'_, Pair>,
    out: *mut f32,
    stride: usize,
    continues: bool,
) {
    tile.check(isa);
    assert!(isa.dots_pairs(), "pairs are dotted only where there is an instruction for it");
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise for `out`, the check for the rest; the machine has the instruction.
    unsafe {
        x86::pair_tile_avx512_bf16(tile, out, stride, continues);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (out, stride, continues);
}

/// # Safety
/// As for [`run_tile`].
#[expect(unsafe_code, reason = "writes through a raw pointer")]
pub(super) unsafe fn run_stored_tile(
    isa: Isa,
    tile: &Tile<'_, Stored>,
    out: *mut f32,
    stride: usize,
    continues: bool,
) {
    tile.check(isa);
    // SAFETY: the caller's promise for `out`, the check for the rest; an `Isa` exists only on a
    // machine that has it.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::stored_tile_avx512(tile, out, stride, continues),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::stored_tile_avx2(tile, out, stride, continues),
            Isa::Portable if tile.width <= 4 => {
                by_height!(Stored4, 1, [4 3 2 1], tile, out, stride, continues)
            }
            Isa::Portable => by_height!(Stored4, 2, [4 3 2 1], tile, out, stride, continues),
        }
    }
}

/// Register tiles side by side: `HEIGHT` rows of `VECTORS` vectors for each panel.
///
/// # Safety
/// `out` must be valid for `HEIGHT` rows of `VECTORS * L::WIDTH` elements for each panel, `stride`
/// apart; the operands of `tile` must have all rows and columns it names; the machine must have the
/// instructions of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "vector loads and stores")]
unsafe fn kernel<L: Lanes, const HEIGHT: usize, const VECTORS: usize>(
    tile: &Tile<'_, L::Element>,
    out: *mut f32,
    stride: usize,
    continues: bool,
) {
    let (row_stride, step_stride) = (tile.left.row_stride, tile.left.step_stride);
    let (mut b, mut soon) = (tile.right.as_ptr(), tile.soon.from);
    for panel in 0..tile.panels {
        // SAFETY: the caller's promise.
        unsafe {
            let out = out.add(panel * VECTORS * L::WIDTH);
            let mut sums = [[L::zero(); VECTORS]; HEIGHT];
            if continues {
                for (r, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        *sum = L::load_sums(out.add(r * stride + v * L::WIDTH));
                    }
                }
            }
            let mut a = tile.left.data.as_ptr();
            for _ in 0..tile.steps {
                if tile.soon.far {
                    prefetch_far(soon);
                } else {
                    prefetch(soon);
                    if VECTORS * L::WIDTH > LINE {
                        prefetch(soon.wrapping_add(LINE));
                    }
                }
                soon = soon.wrapping_add(tile.soon.step);
                let columns: [L::Operand; VECTORS] =
                    std::array::from_fn(|v| L::load(b.add(v * L::WIDTH)));
                for (r, row) in sums.iter_mut().enumerate() {
                    let factor = L::splat(a.add(r * row_stride));
                    for (sum, column) in row.iter_mut().zip(columns) {
                        *sum = L::mul_add(factor, column, *sum);
                    }
                }
                // The last step leaves the slices: `wrapping` keeps that no more than arithmetic.
                a = a.wrapping_add(step_stride);
                b = b.wrapping_add(tile.shape.width);
            }
            for (r, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    L::store_sums(out.add(r * stride + v * L::WIDTH), *sum);
                }
            }
        }
    }
}

/// Elements in a line of the cache.
const LINE: usize = 16;

/// Asks for a line of the cache, without waiting for it.
#[inline(always)]
pub(crate) fn prefetch<E>(at: *const E) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "an intrinsic")]
    // SAFETY: the instruction is in every x86-64, and does nothing for an address that is none.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same for a line that is wanted later: into the second cache.
fn prefetch_far<E>(at: *const E) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "an intrinsic")]
    // SAFETY: as above.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

type Factor<L> = <<L as Lanes>::Element as Element>::Factor;

/// A vector register of sums, and how operands are multiplied into it.
///
/// # Safety
/// Callers must have the instructions, and pointers valid for `WIDTH` elements.
#[expect(unsafe_code, reason = "vector loads and stores")]
trait Lanes: Copy {
    type Element: Element;
    type Operand: Copy;
    const WIDTH: usize;
    unsafe fn zero() -> Self;
    unsafe fn load_sums(from: *const f32) -> Self;
    unsafe fn store_sums(to: *mut f32, value: Self);
    unsafe fn splat(from: *const Factor<Self>) -> Self::Operand;
    unsafe fn load(from: *const Self::Element) -> Self::Operand;
    unsafe fn mul_add(a: Self::Operand, b: Self::Operand, c: Self) -> Self;
}

/// Four elements in whatever registers the target has; NEON on Arm.
#[derive(Clone, Copy)]
struct F32x4([f32; 4]);

#[expect(unsafe_code, reason = "vector loads and stores")]
impl Lanes for F32x4 {
    type Element = f32;
    type Operand = Self;
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn load_sums(from: *const f32) -> Self {
        // SAFETY: the caller's promise; the read may be unaligned.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store_sums(to: *mut f32, value: Self) {
        // SAFETY: the caller's promise; the write may be unaligned.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value.0) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self([unsafe { *from }; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::load_sums(from) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|lane| a.0[lane].mul_add(b.0[lane], c.0[lane])))
    }
}

/// Sums of four columns of pairs that are multiplied by numbers of 32 bits.
#[derive(Clone, Copy)]
struct Stored4(F32x4);

#[expect(unsafe_code, reason = "vector loads and stores")]
impl Lanes for Stored4 {
    type Element = Stored;
    type Operand = [F32x4; 2];
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self(F32x4([0.0; 4]))
    }

    #[inline(always)]
    unsafe fn load_sums(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { F32x4::load_sums(from) })
    }

    #[inline(always)]
    unsafe fn store_sums(to: *mut f32, value: Self) {
        // SAFETY: the caller's promise.
        unsafe { F32x4::store_sums(to, value.0) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const [f32; 2]) -> [F32x4; 2] {
        // SAFETY: the caller's promise.
        unsafe { *from }.map(|value| F32x4([value; 4]))
    }

    #[inline(always)]
    unsafe fn load(from: *const Stored) -> [F32x4; 2] {
        // SAFETY: the caller's promise; the read may be unaligned.
        let pairs = unsafe { from.cast::<[Pair; 4]>().read_unaligned() };
        [0, 1].map(|half| F32x4(pairs.map(|pair| pair.split()[half])))
    }

    #[inline(always)]
    unsafe fn mul_add(a: [F32x4; 2], b: [F32x4; 2], c: Self) -> Self {
        // SAFETY: these are no instructions of their own.
        Self(unsafe { F32x4::mul_add(a[1], b[1], F32x4::mul_add(a[0], b[0], c.0)) })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::dots_pairs;
