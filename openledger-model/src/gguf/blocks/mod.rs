//! Blocks of quantised elements, as ggml lays them out.
//!
//! The structs are those of ggml's `ggml-common.h`; what decodes one computes what
//! `dequantize_row_…` of `ggml-quants.c` does, in the same order, so that results have the same bits.

mod nibbles;
mod super_blocks;

use half::f16;
use openledger_core::{Error, Result};

pub(super) use nibbles::{decode_q4_0, decode_q5_0, decode_q8_0, encode_q4_0, encode_q8_0};
pub(super) use super_blocks::{decode_q4_k, decode_q5_k, decode_q6_k};

/// Writes the elements of block after block.
pub(super) fn decode<const BYTES: usize, const ELEMENTS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    let blocks = bytes.as_chunks::<BYTES>().0;
    for (bytes, out) in blocks.iter().zip(out.as_chunks_mut::<ELEMENTS>().0) {
        block(bytes, out);
    }
}

/// Appends block after block; one without a finite scale is refused.
pub(super) fn encode<const BYTES: usize>(
    elements: &[f32],
    out: &mut Vec<u8>,
    block: impl Fn(&[f32; 32]) -> Option<[u8; BYTES]>,
) -> Result<()> {
    for elements in elements.as_chunks::<32>().0 {
        let block = block(elements).ok_or_else(|| {
            Error::invalid(format!("elements up to {} have no scale of 16 bits", largest(elements)))
        })?;
        out.extend(block);
    }
    Ok(())
}

fn largest(elements: &[f32]) -> f32 {
    elements.iter().fold(0f32, |largest, x| largest.max(x.abs()))
}

/// Reads the half at `at`.
fn half<const N: usize>(block: &[u8; N], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
