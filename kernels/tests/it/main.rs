//! Every kernel against candle, forward and backward.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod attention;
mod blocks;

use candle_core::{Device, Tensor, Var};

/// Reproducible numbers between -1 and 1.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn var(data: &[f32], shape: &[usize]) -> Var {
    Var::from_slice(data, shape, &Device::Cpu).unwrap()
}

fn tensor(data: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(data, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that two vectors agree within `tolerance` of the second's largest element.
#[track_caller]
fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let difference = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(largest > 0.0, "a comparison with zeros shows nothing");
    assert!(difference <= tolerance * largest, "{difference} apart, largest {largest}");
}
