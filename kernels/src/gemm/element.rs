//! What products are computed in: `f32`, or pairs of `bf16`.

use std::fmt;

use bytemuck::{AnyBitPattern, NoUninit, Zeroable};

use super::{
    Mat,
    tile::{Left, Tile, run_pair_tile, run_stored_tile, run_tile},
};
use crate::isa::{Isa, vectorised};

/// One or two neighbours along the inner dimension, as packed right-hand operands hold them.
pub(crate) trait Element:
    AnyBitPattern + Copy + Default + fmt::Debug + NoUninit + Send + Sync
{
    /// How many neighbours.
    const STEP: usize;

    /// The neighbours they are multiplied by.
    type Factor: AnyBitPattern + Copy + Default + fmt::Debug + NoUninit + Send + Sync;

    /// Makes one of neighbours; those past [`STEP`](Self::STEP) do not count.
    fn join(first: f32, second: f32) -> Self;

    /// Makes a factor of neighbours, likewise.
    fn factor(first: f32, second: f32) -> Self::Factor;

    /// Joins the neighbours of a row to factors; the last of an odd number has zero beside it.
    fn factors(isa: Isa, row: &[f32], out: &mut [Self::Factor]) {
        let _ = isa;
        for (out, group) in out.iter_mut().zip(row.chunks(Self::STEP)) {
            *out = Self::factor(group[0], group.get(1).copied().unwrap_or(0.0));
        }
    }

    /// Returns rows of `a` from an element on, if tiles can read them without packing.
    fn where_it_lies(a: Mat<'_>, row: usize, depth: usize) -> Option<Left<'_, Self::Factor>>;

    /// Runs a register tile.
    ///
    /// # Safety
    /// `out` must be valid for `tile.height` rows of `lanes(isa, tile.width)` elements for each panel,
    /// `stride` apart.
    #[expect(unsafe_code, reason = "writes through a raw pointer")]
    unsafe fn run(isa: Isa, tile: &Tile<'_, Self>, out: *mut f32, stride: usize, continues: bool);
}

impl Element for f32 {
    const STEP: usize = 1;

    type Factor = Self;

    #[inline(always)]
    fn join(first: f32, _: f32) -> Self {
        first
    }

    #[inline(always)]
    fn factor(first: f32, _: f32) -> Self {
        first
    }

    fn where_it_lies(a: Mat<'_>, row: usize, depth: usize) -> Option<Left<'_, Self>> {
        let data = a.data.get(a.at(row, depth)..).unwrap_or_default();
        Some(Left { data, row_stride: a.row_stride, step_stride: a.col_stride })
    }

    #[expect(unsafe_code, reason = "writes through a raw pointer")]
    unsafe fn run(isa: Isa, tile: &Tile<'_, Self>, out: *mut f32, stride: usize, continues: bool) {
        // SAFETY: the caller's promise.
        unsafe { run_tile(isa, tile, out, stride, continues) }
    }
}

/// Two `bf16` neighbours along the inner dimension, the first in the upper half.
///
/// The product of two `bf16` is exact in `f32`, and the instruction `VDPBF16PS` adds that of the upper
/// halves before that of the lower (Intel's manual, volume 2). So a product in pairs has the bits of
/// one in `f32` whose operands were rounded to `bf16`, but that the instruction takes numbers below
/// 2^-126 for zero.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(transparent)]
pub(crate) struct Pair(pub(super) u32);

#[expect(unsafe_code, reason = "an integer by another name")]
// SAFETY: every pattern of 32 bits is one, zero among them, and there is no padding.
unsafe impl Zeroable for Pair {}
#[expect(unsafe_code, reason = "an integer by another name")]
// SAFETY: as above.
unsafe impl AnyBitPattern for Pair {}
#[expect(unsafe_code, reason = "an integer by another name")]
// SAFETY: as above.
unsafe impl NoUninit for Pair {}

impl Pair {
    /// Returns both numbers, the first first.
    #[inline(always)]
    pub(crate) fn split(self) -> [f32; 2] {
        [f32::from_bits(self.0 & 0xFFFF_0000), f32::from_bits(self.0 << 16)]
    }
}

impl Element for Pair {
    const STEP: usize = 2;

    type Factor = Self;

    #[inline(always)]
    fn join(first: f32, second: f32) -> Self {
        Self(u32::from(to_bf16(first)) << 16 | u32::from(to_bf16(second)))
    }

    #[inline(always)]
    fn factor(first: f32, second: f32) -> Self {
        Self::join(first, second)
    }

    fn factors(isa: Isa, row: &[f32], out: &mut [Self]) {
        join_pairs(isa, row, out);
    }

    fn where_it_lies(_: Mat<'_>, _: usize, _: usize) -> Option<Left<'_, Self>> {
        None
    }

    #[expect(unsafe_code, reason = "writes through a raw pointer")]
    unsafe fn run(isa: Isa, tile: &Tile<'_, Self>, out: *mut f32, stride: usize, continues: bool) {
        // SAFETY: the caller's promise.
        unsafe { run_pair_tile(isa, tile, out, stride, continues) }
    }
}

/// A [`Pair`] that is multiplied by numbers of 32 bits: stored in half the memory, and multiplied as if
/// it were not.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Stored(pub(super) Pair);

#[expect(unsafe_code, reason = "an integer by another name")]
// SAFETY: every pattern of 32 bits is one, zero among them, and there is no padding.
unsafe impl Zeroable for Stored {}
#[expect(unsafe_code, reason = "an integer by another name")]
// SAFETY: as above.
unsafe impl AnyBitPattern for Stored {}
#[expect(unsafe_code, reason = "an integer by another name")]
// SAFETY: as above.
unsafe impl NoUninit for Stored {}

impl Element for Stored {
    const STEP: usize = 2;

    type Factor = [f32; 2];

    #[inline(always)]
    fn join(first: f32, second: f32) -> Self {
        Self(Pair::join(first, second))
    }

    #[inline(always)]
    fn factor(first: f32, second: f32) -> [f32; 2] {
        [first, second]
    }

    fn where_it_lies(a: Mat<'_>, row: usize, depth: usize) -> Option<Left<'_, [f32; 2]>> {
        // Pairs of neighbours, if all rows are whole ones.
        let even = a.col_stride == 1 && a.row_stride.is_multiple_of(2) && a.cols.is_multiple_of(2);
        let (data, _) = a.data.get(a.at(row, depth)..).unwrap_or_default().as_chunks();
        even.then_some(Left { data, row_stride: a.row_stride / 2, step_stride: 1 })
    }

    #[expect(unsafe_code, reason = "writes through a raw pointer")]
    unsafe fn run(isa: Isa, tile: &Tile<'_, Self>, out: *mut f32, stride: usize, continues: bool) {
        // SAFETY: the caller's promise.
        unsafe { run_stored_tile(isa, tile, out, stride, continues) }
    }
}

/// Rounds to the nearest `bf16`, ties to even; what is no number stays none.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if x.is_nan() { quiet } else { rounded }) as u16
}

vectorised! {
    fn join_pairs(row: &[f32], out: &mut [Pair]) {
        let (pairs, rest) = row.as_chunks::<2>();
        for (out, [first, second]) in out.iter_mut().zip(pairs) {
            *out = Pair::join(*first, *second);
        }
        if let ([last], Some(out)) = (rest, out.get_mut(pairs.len())) {
            *out = Pair::join(*last, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_is_that_of_the_half_crate(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assert_eq!(to_bf16(x), half::bf16::from_f32(x).to_bits());
        }
    }
}
