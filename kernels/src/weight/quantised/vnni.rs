//! Products of bytes by AVX-512's `VPDPBUSD`, which multiplies four pairs and adds them in 32 bits.

use std::arch::x86_64::{
    __m512i, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_srli_epi16,
    _mm512_storeu_ps,
};

use super::{BLOCK, Bits, HEIGHT, LANES, Rows, Tile};
use crate::gemm::prefetch;

/// Bytes ahead of the codes multiplied that are asked of the memory.
const AHEAD: usize = 6144;

/// Adds the products with the rows from `first` on. Only for machines that have the instructions.
pub(super) fn run(tile: &Tile<'_>, rows: &Rows, first: usize, sums: &mut [[f32; LANES]]) {
    assert!(
        (first + sums.len()) * rows.blocks <= rows.scales.len()
            && tile.codes.len() == rows.blocks * tile.bits.bytes()
            && tile.scales.len() == rows.blocks * LANES
            && sums.len() <= HEIGHT,
        "operands of one size"
    );
    // SAFETY: the sizes were checked; the caller checked the machine.
    #[expect(unsafe_code, reason = "vector loads and stores")]
    unsafe {
        match tile.bits {
            Bits::Eight => by_height::<false>(tile, rows, first, sums),
            Bits::Four => by_height::<true>(tile, rows, first, sums),
        }
    }
}

/// # Safety
/// The operands must have the sizes that [`run`] checks, and the machine the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "vector loads and stores")]
unsafe fn by_height<const FOUR: bool>(
    tile: &Tile<'_>,
    rows: &Rows,
    first: usize,
    sums: &mut [[f32; LANES]],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match sums.len() {
            1 => kernel::<1, FOUR>(tile, rows, first, sums),
            2 => kernel::<2, FOUR>(tile, rows, first, sums),
            3 => kernel::<3, FOUR>(tile, rows, first, sums),
            4 => kernel::<4, FOUR>(tile, rows, first, sums),
            5 => kernel::<5, FOUR>(tile, rows, first, sums),
            6 => kernel::<6, FOUR>(tile, rows, first, sums),
            7 => kernel::<7, FOUR>(tile, rows, first, sums),
            8 => kernel::<8, FOUR>(tile, rows, first, sums),
            _ => {}
        }
    }
}

/// # Safety
/// As for [`by_height`]; `sums` must have `ROWS` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
#[expect(unsafe_code, reason = "vector loads and stores")]
unsafe fn kernel<const ROWS: usize, const FOUR: bool>(
    tile: &Tile<'_>,
    rows: &Rows,
    first: usize,
    sums: &mut [[f32; LANES]],
) {
    let blocks = rows.blocks;
    let bytes = if FOUR { Bits::Four.bytes() } else { Bits::Eight.bytes() };
    let low = _mm512_set1_epi8(15);
    // SAFETY: all reads are inside the operands, whose sizes the caller promises; blocks ahead of them are
    // only asked for.
    unsafe {
        let mut totals = [_mm512_setzero_ps(); ROWS];
        for (total, sums) in totals.iter_mut().zip(sums.iter()) {
            *total = _mm512_loadu_ps(sums.as_ptr());
        }
        let row_codes = rows.codes.as_ptr().add(first * blocks * BLOCK);
        let (row_scales, offsets) =
            (rows.scales.as_ptr().add(first * blocks), rows.offsets.as_ptr().add(first * blocks));
        for block in 0..blocks {
            let codes = tile.codes.as_ptr().add(block * bytes);
            for line in (0..bytes).step_by(64) {
                prefetch(codes.wrapping_add(AHEAD + line));
            }
            let load = |four: usize| _mm512_loadu_si512(codes.add(64 * four).cast());
            let weight: [__m512i; 8] = if FOUR {
                let pairs: [__m512i; 4] = std::array::from_fn(load);
                std::array::from_fn(|four| match pairs.get(four) {
                    Some(pair) => _mm512_and_si512(*pair, low),
                    None => _mm512_and_si512(_mm512_srli_epi16::<4>(pairs[four - 4]), low),
                })
            } else {
                std::array::from_fn(load)
            };
            let scales = tile.scales.as_ptr().add(block * LANES);
            prefetch(scales.wrapping_add(AHEAD / 16));
            let scales = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
            for (row, total) in totals.iter_mut().enumerate() {
                let at = row * blocks + block;
                let fours = row_codes.add(at * BLOCK).cast::<i32>();
                let mut products = _mm512_set1_epi32(*offsets.add(at));
                for (four, weight) in weight.iter().enumerate() {
                    let codes = _mm512_set1_epi32(fours.add(four).read_unaligned());
                    products = _mm512_dpbusd_epi32(products, *weight, codes);
                }
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(*row_scales.add(at)));
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, *total);
            }
        }
        for (total, sums) in totals.iter().zip(sums) {
            _mm512_storeu_ps(sums.as_mut_ptr(), *total);
        }
    }
}
