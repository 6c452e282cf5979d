//! Blocks of 32 elements that share one scale.

use half::f16;

use super::{half, largest};

/// `block_q8_0`: a half, and 32 signed bytes.
pub(crate) fn decode_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (x, &q) in out.iter_mut().zip(&block[2..]) {
        *x = f32::from(q.cast_signed()) * scale;
    }
}

/// `block_q4_0`: a half, and 16 bytes whose lower nibbles are the first 16 elements, the upper ones the
/// others, each with 8 added.
pub(crate) fn decode_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half(block, 0);
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &pair) in low.iter_mut().zip(high).zip(&block[2..]) {
        *low = (f32::from(pair & 15) - 8.0) * scale;
        *high = (f32::from(pair >> 4) - 8.0) * scale;
    }
}

/// `block_q5_0`: as [`decode_q4_0`], with the fifth bits of all elements in 32 bits between, and 16
/// added.
pub(crate) fn decode_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half(block, 0);
    let fifths = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    let (low, high) = out.split_at_mut(16);
    for (j, ((low, high), &pair)) in low.iter_mut().zip(high).zip(&block[6..]).enumerate() {
        let fifth = |bit: usize| ((fifths >> bit & 1) as u8) << 4;
        *low = (f32::from(pair & 15 | fifth(j)) - 16.0) * scale;
        *high = (f32::from(pair >> 4 | fifth(j + 16)) - 16.0) * scale;
    }
}

/// Rounds to the nearest of 255 steps, halves away from zero. None without a finite scale.
pub(crate) fn encode_q8_0(elements: &[f32; 32]) -> Option<[u8; 34]> {
    let scale = largest(elements) / 127.0;
    let stored = f16::from_f32(scale);
    let mut block = [0; 34];
    block[..2].copy_from_slice(&stored.to_le_bytes());
    let inverse = inverse(scale);
    for (q, x) in block[2..].iter_mut().zip(elements) {
        *q = ((x * inverse).round() as i8).cast_unsigned();
    }
    stored.is_finite().then_some(block)
}

/// The element farthest from zero becomes -8 exactly; the others are rounded to one of 16 steps. None
/// without a finite scale.
#[expect(clippy::cast_sign_loss, reason = "0 to 16, cut to 15")]
pub(crate) fn encode_q4_0(elements: &[f32; 32]) -> Option<[u8; 18]> {
    let farthest = elements.iter().fold(0f32, |far, &x| if x.abs() > far.abs() { x } else { far });
    let scale = farthest / -8.0;
    let stored = f16::from_f32(scale);
    let mut block = [0; 18];
    block[..2].copy_from_slice(&stored.to_le_bytes());
    let inverse = inverse(scale);
    let step = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    let (low, high) = elements.split_at(16);
    for ((pair, &low), &high) in block[2..].iter_mut().zip(low).zip(high) {
        *pair = step(low) | step(high) << 4;
    }
    stored.is_finite().then_some(block)
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
