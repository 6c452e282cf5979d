//! Rows in eight bits: codes, and a scale for each row of a head.

use super::PAGE;
use crate::isa::{Isa, vectorised};

/// Rounds a key and a value into row `slot` of a head's part of a page.
pub(super) fn write(head: &mut [f32], slot: usize, key: &[f32], value: &[f32], stride: usize) {
    let (codes, scales) = head.split_at_mut(head.len() - 2 * PAGE);
    let codes: &mut [i8] = bytemuck::cast_slice_mut(codes);
    let (keys, values) = codes.split_at_mut(key.len() * PAGE);
    let isa = Isa::best();
    let key_scale = scale_of(isa, key);
    let to = keys[slot..].iter_mut().step_by(PAGE);
    to.zip(key).for_each(|(to, x)| *to = code(*x, key_scale));
    let value_scale = scale_of(isa, value);
    let to = values[slot * stride..].iter_mut();
    to.zip(value).for_each(|(to, x)| *to = code(*x, value_scale));
    (scales[slot], scales[PAGE + slot]) = (key_scale, value_scale);
}

/// Reads a head's part of a page back, as a page in `f32` has it.
pub(super) fn read(out: &mut [f32], head: &[f32], dim: usize, stride: usize) {
    let (codes, scales) = head.split_at(head.len() - 2 * PAGE);
    let (keys, values) = bytemuck::cast_slice(codes).split_at(dim * PAGE);
    let (key_scales, value_scales) = scales.split_at(PAGE);
    let (key_out, value_out) = out.split_at_mut(dim * PAGE);
    read_keys(Isa::best(), key_out, keys, key_scales);
    read_values(Isa::best(), value_out, values, value_scales, stride);
}

fn code(x: f32, scale: f32) -> i8 {
    if scale > 0.0 { (x / scale).round_ties_even() as i8 } else { 0 }
}

vectorised! {
    /// No number if one of them is none.
    fn scale_of(row: &[f32]) -> f32 {
        let (mut largest, mut poison) = ([0f32; PAGE], [0f32; PAGE]);
        for part in row.chunks(PAGE) {
            for ((x, largest), poison) in part.iter().zip(&mut largest).zip(&mut poison) {
                *largest = if x.abs() > *largest { x.abs() } else { *largest };
                *poison += x * 0.0;
            }
        }
        let most = largest.iter().fold(0f32, |most, x| if *x > most { *x } else { most });
        most / 127.0 + poison.iter().sum::<f32>()
    }

    fn read_keys(out: &mut [f32], codes: &[i8], scales: &[f32]) {
        let Some(scales) = scales.first_chunk::<PAGE>() else { return };
        let codes = codes.as_chunks::<PAGE>().0;
        for (out, codes) in out.as_chunks_mut::<PAGE>().0.iter_mut().zip(codes) {
            *out = std::array::from_fn(|row| f32::from(codes[row]) * scales[row]);
        }
    }

    fn read_values(out: &mut [f32], codes: &[i8], scales: &[f32], stride: usize) {
        let rows = out.chunks_exact_mut(stride).zip(codes.chunks_exact(stride));
        for ((out, codes), scale) in rows.zip(scales) {
            out.iter_mut().zip(codes).for_each(|(out, code)| *out = f32::from(*code) * scale);
        }
    }
}
