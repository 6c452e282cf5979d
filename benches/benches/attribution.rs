//! What a query costs by each method, on gradients in the shape of a rank-8 adapter. The plain dot
//! product, which every peer offers, is what the others are measured against.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(missing_docs, reason = "criterion makes public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openledger_attribution::{Blocks, Preconditioned, Preconditioner};

/// Rows of the corpus, LoRA matrices, and the length of each one's gradient.
const ROWS: usize = 360;
const MATRICES: usize = 16;
const LENGTH: usize = 8 * 192;

fn queries(criterion: &mut Criterion) {
    let gradient = |row: usize| -> Vec<Vec<f32>> {
        let entry = |matrix: usize, at: usize| ((row * 31 + matrix * 17 + at * 7) % 101) as f32;
        let block = |matrix| (0..LENGTH).map(|at| entry(matrix, at) * 1e-3 - 0.05).collect();
        (0..MATRICES).map(block).collect()
    };
    let rows: Vec<Vec<Vec<f32>>> = (0..ROWS).map(gradient).collect();
    let query = gradient(ROWS);
    let mut group = criterion.benchmark_group("attribution/a query over 360 rows");
    group.throughput(Throughput::Elements(ROWS as u64));
    let methods = [
        ("gradient dot", Preconditioner::Identity),
        ("DataInf", Preconditioner::DataInf),
        ("block exact", Preconditioner::BlockExact),
    ];
    for (name, preconditioner) in methods {
        let blocks = Blocks::new(rows.clone()).unwrap();
        let bound = Preconditioned::new(blocks, preconditioner, 0.1).unwrap();
        group.bench_function(name, |b| b.iter(|| bound.influence(&query).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, queries);
criterion_main!(benches);
