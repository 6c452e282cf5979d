//! Register tiles of AVX2 and AVX-512.

use std::arch::x86_64::{
    __cpuid, __m256, __m256bh, __m256i, __m512, __m512bh, __m512i, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_dpbf16_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32, _mm256_storeu_ps, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_ps,
};

use super::{Element, Factor, Isa, Lanes, Left, Pair, Shape, Soon, Stored, Tile, kernel};

/// Compiles tiles of one kind for a set of instructions.
///
/// `tiles!(tile_avx2, f32, "avx2,fma", [6 5 4 3 2 1], 0..=8 => F32x8 * 1, _ => F32x8 * 2)` expands to
/// a function `tile_avx2` that takes the kernel with as many vectors as the tile's width asks for.
macro_rules! tiles {
    ($name:ident, $element:ty, $features:literal, $heights:tt, $($widths:pat => $lanes:ident * $vectors:literal),*) => {
        /// # Safety
        /// As for [`kernel`]; the machine must have the instructions.
        #[target_feature(enable = $features)]
        #[expect(unsafe_code, reason = "writes through a raw pointer")]
        pub(super) unsafe fn $name(
            tile: &Tile<'_, $element>,
            out: *mut f32,
            stride: usize,
            continues: bool,
        ) {
            // SAFETY: the caller's promise.
            unsafe {
                match tile.width {
                    $($widths => by_height!($lanes, $vectors, $heights, tile, out, stride, continues),)*
                }
            }
        }
    };
}

tiles!(tile_avx512, f32, "avx512f,avx512vl,avx2,fma", [12 11 10 9 8 7 6 5 4 3 2 1],
    0..=8 => F32x8 * 1, 9..=16 => F32x16 * 1, _ => F32x16 * 2);
tiles!(tile_avx2, f32, "avx2,fma", [6 5 4 3 2 1],
    0..=8 => F32x8 * 1, _ => F32x8 * 2);
tiles!(pair_tile_avx512_bf16, Pair, "avx512bf16,avx512f,avx512vl,avx2,fma", [12 11 10 9 8 7 6 5 4 3 2 1],
    0..=8 => Dot8 * 1, 9..=16 => Dot16 * 1, _ => Dot16 * 2);
tiles!(stored_tile_avx512, Stored, "avx512f,avx512vl,avx2,fma", [12 11 10 9 8 7 6 5 4 3 2 1],
    0..=8 => Stored8 * 1, 9..=16 => Stored16 * 1, _ => Stored16 * 2);
tiles!(stored_tile_avx2, Stored, "avx2,fma", [6 5 4 3 2 1],
    0..=8 => Stored8 * 1, _ => Stored8 * 2);

/// Implements [`Lanes`] by intrinsics. `sums!(F32x8, __m256, 8, f32, __m256, set1, load, store;
/// splat = .., load = .., mul_add = ..)` expands to `struct F32x8(__m256)` and its functions.
macro_rules! sums {
    (
        $name:ident, $register:ty, $width:literal, $element:ty, $operand:ty,
        $set1:ident, $loadu:ident, $storeu:ident;
        $splat:expr, $load:expr, $mul_add:expr
    ) => {
        #[derive(Clone, Copy)]
        struct $name($register);

        #[expect(unsafe_code, reason = "intrinsics")]
        impl Lanes for $name {
            type Element = $element;
            type Operand = $operand;
            const WIDTH: usize = $width;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller has the instructions.
                Self(unsafe { $set1(0.0) })
            }

            #[inline(always)]
            unsafe fn load_sums(from: *const f32) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { $loadu(from) })
            }

            #[inline(always)]
            unsafe fn store_sums(to: *mut f32, value: Self) {
                // SAFETY: the caller's promise.
                unsafe { $storeu(to, value.0) }
            }

            #[inline(always)]
            unsafe fn splat(from: *const Factor<Self>) -> $operand {
                // SAFETY: the caller's promise.
                unsafe { $splat(from) }
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> $operand {
                // SAFETY: the caller's promise.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn mul_add(a: $operand, b: $operand, c: Self) -> Self {
                // SAFETY: the caller has the instructions.
                Self(unsafe { $mul_add(a, b, c.0) })
            }
        }
    };
}

sums!(F32x16, __m512, 16, f32, __m512, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps;
    |from: *const f32| _mm512_set1_ps(*from), _mm512_loadu_ps, _mm512_fmadd_ps);
sums!(F32x8, __m256, 8, f32, __m256, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps;
    |from: *const f32| _mm256_set1_ps(*from), _mm256_loadu_ps, _mm256_fmadd_ps);
sums!(Dot16, __m512, 16, Pair, __m512i, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps;
    |pair: *const Pair| _mm512_set1_epi32((*pair).0.cast_signed()),
    |from: *const Pair| _mm512_loadu_si512(from.cast()),
    |a, b, c| _mm512_dpbf16_ps(c, as_bf16x32(a), as_bf16x32(b)));
sums!(Dot8, __m256, 8, Pair, __m256i, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps;
    |pair: *const Pair| _mm256_set1_epi32((*pair).0.cast_signed()),
    |from: *const Pair| _mm256_loadu_si256(from.cast()),
    |a, b, c| _mm256_dpbf16_ps(c, as_bf16x16(a), as_bf16x16(b)));
sums!(Stored16, __m512, 16, Stored, [__m512; 2], _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps;
|pair: *const [f32; 2]| splat16(pair.cast()),
|from: *const Stored| halves16(_mm512_loadu_si512(from.cast())),
|a: [__m512; 2], b: [__m512; 2], c| {
    _mm512_fmadd_ps(a[1], b[1], _mm512_fmadd_ps(a[0], b[0], c))
});
sums!(Stored8, __m256, 8, Stored, [__m256; 2], _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps;
|pair: *const [f32; 2]| splat8(pair.cast()),
|from: *const Stored| halves8(_mm256_loadu_si256(from.cast())),
|a: [__m256; 2], b: [__m256; 2], c| {
    _mm256_fmadd_ps(a[1], b[1], _mm256_fmadd_ps(a[0], b[0], c))
});

#[inline(always)]
#[expect(unsafe_code, reason = "registers of one size")]
fn as_bf16x32(pairs: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits without invalid values.
    unsafe { std::mem::transmute(pairs) }
}

#[inline(always)]
#[expect(unsafe_code, reason = "registers of one size")]
fn as_bf16x16(pairs: __m256i) -> __m256bh {
    // SAFETY: both are 256 bits without invalid values.
    unsafe { std::mem::transmute(pairs) }
}

/// Two numbers, each in all lanes. Read one by one: both at once would go through an integer register.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
#[expect(unsafe_code, reason = "intrinsics")]
unsafe fn splat16(from: *const f32) -> [__m512; 2] {
    // SAFETY: the caller's promise.
    unsafe { [_mm512_set1_ps(*from), _mm512_set1_ps(*from.add(1))] }
}

/// Likewise.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
#[expect(unsafe_code, reason = "intrinsics")]
unsafe fn splat8(from: *const f32) -> [__m256; 2] {
    // SAFETY: the caller's promise.
    unsafe { [_mm256_set1_ps(*from), _mm256_set1_ps(*from.add(1))] }
}

/// The firsts of 16 pairs and the seconds.
///
/// # Safety
/// The machine must have AVX-512F.
#[inline(always)]
#[expect(unsafe_code, reason = "intrinsics")]
unsafe fn halves16(pairs: __m512i) -> [__m512; 2] {
    // SAFETY: the caller has the instructions.
    unsafe {
        let first = _mm512_and_si512(pairs, _mm512_set1_epi32(0xFFFF_0000u32.cast_signed()));
        [_mm512_castsi512_ps(first), _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))]
    }
}

/// The firsts of eight pairs and the seconds.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
#[expect(unsafe_code, reason = "intrinsics")]
unsafe fn halves8(pairs: __m256i) -> [__m256; 2] {
    // SAFETY: the caller has the instructions.
    unsafe {
        let first = _mm256_and_si256(pairs, _mm256_set1_epi32(0xFFFF_0000u32.cast_signed()));
        [_mm256_castsi256_ps(first), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))]
    }
}

/// Returns whether the machine has `VDPBF16PS`, it adds in the order [`Pair`] asks for, and it is the
/// fastest way to multiply many rows.
///
/// On AMD's processors (Zen 4, Zen 5) it is, on Intel's before AMX it does a quarter as many a second
/// as there are multiply-adds of `f32`.
pub(crate) fn dots_pairs() -> bool {
    is_x86_feature_detected!("avx512bf16") && vendor() == *b"AuthenticAMD" && keeps_the_order()
}

fn vendor() -> [u8; 12] {
    let id = __cpuid(0);
    let mut name = [0; 12];
    for (part, register) in name.chunks_exact_mut(4).zip([id.ebx, id.edx, id.ecx]) {
        part.copy_from_slice(&register.to_le_bytes());
    }
    name
}

/// Tries it with sums whose last bits tell the order.
#[expect(unsafe_code, reason = "calls code for instructions the machine has")]
fn keeps_the_order() -> bool {
    let numbers: Vec<f32> = (0..2048u16).map(|i| (f32::from(i) * 0.37).sin() * 1.7).collect();
    let pairs: Vec<Pair> = numbers.chunks(2).map(|x| Pair::join(x[0], x[1])).collect();
    let left = Left { data: &pairs, row_stride: 1, step_stride: 1 };
    let shape = Shape::of(Isa::Avx512);
    let steps = pairs.len() / shape.width;
    let soon = Soon::new(&pairs, 0, 0);
    let (right, width) = (&pairs[..], shape.width);
    let tile = Tile { left, right, panels: 1, steps, height: 1, width, shape, soon };
    let mut out = [0.0; 32];
    // SAFETY: one row of 32 columns; the caller asked for the instruction.
    unsafe { pair_tile_avx512_bf16(&tile, out.as_mut_ptr(), 32, false) };
    // What it ought to be: one chain for each column.
    let expected: [f32; 32] = std::array::from_fn(|column| {
        let right = pairs.iter().skip(column).step_by(32);
        pairs.iter().zip(right).fold(0f32, |sum, (a, b)| {
            let ([a, c], [b, d]) = (a.split(), b.split());
            c.mul_add(d, a.mul_add(b, sum))
        })
    });
    out == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_adds_in_order() {
        if !is_x86_feature_detected!("avx512bf16") {
            println!("skipped: no AVX512-BF16 on this machine");
            return;
        }
        println!("{}: in order: {}", String::from_utf8_lossy(&vendor()), keeps_the_order());
        // Where it does not, it is not used.
        assert!(keeps_the_order() || !dots_pairs());
    }
}
