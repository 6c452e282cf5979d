//! One step of LoRA training: our tape beside candle's autograd on the same decoder.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(missing_docs, reason = "criterion makes public functions")]

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openledger_model::{LlamaConfig, Lora, LoraConfig, Network, Tokens};
use openledger_train::{AdamW, Backend, Candle, Native};

/// Rows of a batch, and tokens of a row.
const BATCH: usize = 8;
const TOKENS: usize = 128;

fn steps(criterion: &mut Criterion) {
    let config = LlamaConfig::small(2048, 192, 4, 6, 0).unwrap();
    let network = Network::init(&config.to_json(), 1).unwrap();
    let network = Arc::new(network);
    let lora = LoraConfig::default().with_rank(8, 16.0);
    let start = Lora::init(&network, &lora, 7).unwrap().to_files(&network, &lora);
    let rows: Vec<Tokens> = (0..BATCH as u32)
        .map(|row| {
            let tokens: Vec<u32> =
                (0..TOKENS as u32).map(|at| (at * 31 + row * 97) % 2048).collect();
            Tokens::new(&[], &tokens)
        })
        .collect();
    let rows: Vec<&Tokens> = rows.iter().collect();

    let mut group = criterion.benchmark_group("training/a step of rank 8");
    group.throughput(Throughput::Elements((BATCH * TOKENS) as u64)).sample_size(10);
    let backends: [(&str, &dyn Backend); 2] = [("ours", &Native), ("candle", &Candle::default())];
    for (name, backend) in backends {
        let network = Arc::clone(&network);
        let mut run =
            backend.start(network, &lora, AdamW::default().into(), &start.weights).unwrap();
        group.bench_function(name, |b| b.iter(|| run.step(&rows, 1e-3, None).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
