//! The gated activation of Llama's feed-forward layer (`SwiGLU`, Shazeer 2020) and its gradient;
//! softmax and logistic function.

use crate::{
    exp::exp,
    isa::{Isa, vectorised},
    loss::{exp_in_place, max},
    threads::each,
};

/// Elements handed to a thread at a time.
const CHUNK: usize = 1 << 12;

/// Writes `silu(gate) * up` to `out`, element by element, where `silu(g) = g / (1 + e^-g)`.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu(out: &mut [f32], gate: &[f32], up: &[f32]) {
    assert!(out.len() == gate.len() && out.len() == up.len(), "vectors of one length");
    let isa = Isa::best();
    if out.len() <= CHUNK {
        return forward(isa, out, gate, up);
    }
    let chunks = out.chunks_mut(CHUNK).zip(gate.chunks(CHUNK)).zip(up.chunks(CHUNK));
    each(chunks, |((out, gate), up)| forward(isa, out, gate, up));
}

/// Writes the gradients with respect to `gate` and `up`, given that of the output.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu_backward(dgate: &mut [f32], dup: &mut [f32], dy: &[f32], gate: &[f32], up: &[f32]) {
    let len = dy.len();
    assert!(
        [dgate.len(), dup.len(), gate.len(), up.len()].iter().all(|&other| other == len),
        "vectors of one length"
    );
    let isa = Isa::best();
    let gradients = dgate.chunks_mut(CHUNK).zip(dup.chunks_mut(CHUNK));
    let inputs = dy.chunks(CHUNK).zip(gate.chunks(CHUNK)).zip(up.chunks(CHUNK));
    each(gradients.zip(inputs), |((dgate, dup), ((dy, gate), up))| {
        backward(isa, dgate, dup, dy, gate, up);
    });
}

/// Replaces a row by its softmax: `e^x` of each element, divided by their sum.
pub fn softmax(row: &mut [f32]) {
    softmax_of(Isa::best(), row);
}

/// Replaces each element by `1 / (1 + e^-x)`.
pub fn sigmoid(row: &mut [f32]) {
    sigmoid_of(Isa::best(), row);
}

vectorised! {
    /// Returns the largest element and the sum of the exponentials too.
    pub(crate) fn softmax_of(row: &mut [f32]) -> (f32, f32) {
        let largest = max(row);
        let sum = exp_in_place(row, largest);
        let inverse = 1.0 / sum;
        row.iter_mut().for_each(|weight| *weight *= inverse);
        (largest, sum)
    }

    fn sigmoid_of(row: &mut [f32]) {
        row.iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-*x)));
    }

    fn forward(out: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }

    fn backward(dgate: &mut [f32], dup: &mut [f32], dy: &[f32], gate: &[f32], up: &[f32]) {
        let inputs = dy.iter().zip(gate).zip(up);
        for ((dgate, dup), ((&dy, &g), &up)) in dgate.iter_mut().zip(dup).zip(inputs) {
            let sigmoid = 1.0 / (1.0 + exp(-g));
            *dup = dy * (g * sigmoid);
            *dgate = dy * up * (sigmoid * g.mul_add(1.0 - sigmoid, 1.0));
        }
    }
}
