//! Super-blocks of 256 elements: groups with small scales of their own, which share one half.

use super::half;

/// `block_q4_K`: two halves, 12 bytes of scales and minima, 128 bytes of nibbles. An element of group
/// `g` is `d * scale[g] * q - dmin * min[g]`.
pub(crate) fn decode_q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    // Pairs of groups share 32 bytes.
    let groups = out.as_chunks_mut::<64>().0.iter_mut().zip(block[16..].as_chunks::<32>().0);
    for (pair, (out, nibbles)) in groups.enumerate() {
        let (low, high) = out.split_at_mut(32);
        let [(a, b), (c, e)] = scales(block, d, dmin, pair);
        for ((low, high), &q) in low.iter_mut().zip(high).zip(nibbles) {
            *low = a * f32::from(q & 15) - b;
            *high = c * f32::from(q >> 4) - e;
        }
    }
}

/// `block_q5_K`: as [`decode_q4_k`], with the fifth bits of all elements in 32 bytes before the
/// nibbles.
pub(crate) fn decode_q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let fifths = &block[16..48];
    let groups = out.as_chunks_mut::<64>().0.iter_mut().zip(block[48..].as_chunks::<32>().0);
    for (pair, (out, nibbles)) in groups.enumerate() {
        let (low, high) = out.split_at_mut(32);
        let [(a, b), (c, e)] = scales(block, d, dmin, pair);
        for (((low, high), &q), &fifth) in low.iter_mut().zip(high).zip(nibbles).zip(fifths) {
            let bit = |group: usize| (fifth >> group & 1) << 4;
            *low = a * f32::from(q & 15 | bit(2 * pair)) - b;
            *high = c * f32::from(q >> 4 | bit(2 * pair + 1)) - e;
        }
    }
}

/// The scale and minimum of the two groups of a pair (`get_scale_min_k4`): 6 bits each, those of the
/// upper four groups in two pieces.
fn scales<const N: usize>(block: &[u8; N], d: f32, dmin: f32, pair: usize) -> [(f32, f32); 2] {
    let packed = &block[4..16];
    [2 * pair, 2 * pair + 1].map(|group| {
        let (scale, min) = match group {
            0..4 => (packed[group] & 63, packed[group + 4] & 63),
            _ => (
                packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
                packed[group + 4] >> 4 | packed[group] >> 6 << 4,
            ),
        };
        (d * f32::from(scale), dmin * f32::from(min))
    })
}

/// `block_q6_K`: 128 bytes of lower nibbles, 64 of upper bits, 16 signed scales, a half. An element of
/// group `g` is `d * scale[g] * (q - 32)`.
pub(crate) fn decode_q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half(block, 208);
    let (lower, upper) = (&block[..128], &block[128..192]);
    for (n, out) in out.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let lower = &lower[64 * n..64 * (n + 1)];
        let upper = &upper[32 * n..32 * (n + 1)];
        for quarter in 0..4 {
            // The lower bits of two quarters lie in the same bytes.
            let lower = &lower[32 * (quarter % 2)..][..32];
            let shift = 4 * (quarter / 2);
            for (half, out) in
                out[32 * quarter..][..32].as_chunks_mut::<16>().0.iter_mut().enumerate()
            {
                let scale = block[192 + 8 * n + 2 * quarter + half].cast_signed();
                let scale = d * f32::from(scale);
                let bits = lower[16 * half..].iter().zip(&upper[16 * half..]);
                for (x, (&low, &high)) in out.iter_mut().zip(bits) {
                    let q = low >> shift & 15 | (high >> (2 * quarter) & 3) << 4;
                    *x = scale * (f32::from(q) - 32.0);
                }
            }
        }
    }
}
