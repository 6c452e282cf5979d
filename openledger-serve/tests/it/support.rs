//! What several tests begin with.

use openledger_kernels::{PageLayout, argmax};
use openledger_model::{Adapter, Batch, LoraConfig, Model, Tape, Trainable, testing};
use openledger_serve::{Completion, Engine, Generate};
use tower::{Service, ServiceExt};

pub(crate) fn adapter(model: &Model, rank: usize, seed: u64) -> Adapter {
    adapter_like(LoraConfig::default().with_rank(rank, 6.0), model, seed)
}

pub(crate) fn adapter_like(config: LoraConfig, model: &Model, seed: u64) -> Adapter {
    let config = config.with_pattern("all-linear");
    let files = testing::lora(model, &config, seed).unwrap().to_files(model.network(), &config);
    Adapter::load(model.network(), &files).unwrap()
}

/// Greedy decoding by whole passes of the tape, without a cache.
pub(crate) fn by_tape(
    model: &Model,
    adapter: Option<&Adapter>,
    prompt: &[u32],
    count: usize,
) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..count {
        let batch = Batch::new([&tokens[..]]);
        let lora = adapter.map(Adapter::lora);
        let mut tape = Tape::new(model.network(), lora, Trainable::Nothing, &batch);
        let hidden = tape.run().unwrap();
        let logits = tape.logits(&hidden);
        let last = logits.chunks_exact(model.network().decoder().vocabulary()).next_back().unwrap();
        let token = argmax(last).unwrap() as u32;
        tokens.push(token);
        if model.network().decoder().eos().contains(&token) {
            break;
        }
    }
    tokens.split_off(prompt.len())
}

pub(crate) async fn ask(engine: &Engine, request: Generate) -> Completion {
    let mut engine = engine.clone();
    engine.ready().await.unwrap().call(request).await.unwrap().collect_all().await.unwrap()
}

/// What 16 tokens take in the cache.
pub(crate) fn page_bytes(model: &Model) -> usize {
    let heads = model.network().decoder().heads();
    heads.map(|heads| 4 * PageLayout::new(&heads).len()).sum()
}
