//! Matrix products: ours beside candle's, in the shapes of a small Llama.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(missing_docs, reason = "criterion makes public functions")]

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openledger_kernels::{Into, Mat, Packed, gemm, gemm_packed};

/// Rows, inner dimension, columns: `[rows, inner] x [columns, inner]'`.
const SHAPES: [(&str, usize, usize, usize); 4] = [
    ("square", 512, 512, 512),
    ("batch of tokens", 1024, 192, 512),
    ("vocabulary", 256, 192, 2048),
    ("into a rank of 8", 1024, 512, 8),
];

fn products(criterion: &mut Criterion) {
    for (name, rows, inner, cols) in SHAPES {
        let fill = |count: usize| -> Vec<f32> {
            (0..count).map(|index| (index % 17) as f32 * 0.01 - 0.08).collect()
        };
        let (x, w) = (fill(rows * inner), fill(cols * inner));
        let mut out = vec![0.0; rows * cols];
        let mut group = criterion.benchmark_group(format!("gemm/{name}"));
        group.throughput(Throughput::Elements(2 * (rows * inner * cols) as u64));

        let (x_mat, w_mat) = (Mat::new(&x, rows, inner), Mat::new(&w, cols, inner));
        group.bench_function("ours", |b| {
            b.iter(|| gemm(Into::Set(&mut out), x_mat, w_mat.t()));
        });
        let packed = Packed::new(w_mat.t());
        group.bench_function("ours, weights packed", |b| {
            b.iter(|| gemm_packed(Into::Set(&mut out), x_mat, &packed));
        });
        let x_tensor = Tensor::from_slice(&x, (rows, inner), &Device::Cpu).unwrap();
        let w_tensor = Tensor::from_slice(&w, (cols, inner), &Device::Cpu).unwrap().t().unwrap();
        group.bench_function("candle", |b| b.iter(|| x_tensor.matmul(&w_tensor).unwrap()));
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
