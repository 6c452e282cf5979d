//! Trees in OpenZeppelin's layout. The peer is their JavaScript library, which
//! `merkle.mjs` beside it runs on the same leaves.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(missing_docs, reason = "criterion makes public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openledger_core::{B256, U256, merkle::StandardTree};

fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merkle/a tree");
    group.sample_size(10);
    for leaves in [1_000_u64, 100_000] {
        let values: Vec<(B256,)> = (0..leaves).map(|n| (B256::from(U256::from(n)),)).collect();
        group.throughput(Throughput::Elements(leaves));
        group.bench_function(format!("of {leaves} leaves"), |b| {
            b.iter(|| StandardTree::new(values.clone()).unwrap().root());
        });
    }
    group.finish();
}

criterion_group!(benches, trees);
criterion_main!(benches);
