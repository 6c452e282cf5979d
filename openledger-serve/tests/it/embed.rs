//! One vector for a text.

use std::sync::Arc;

use futures::future::join_all;
use openledger_core::ErrorKind;
use openledger_kernels::dot;
use openledger_model::{Adapter, Batch, Model, Tape, Trainable, testing};
use openledger_serve::{Embed, Engine, EngineOptions, Generate, Lease, Pooling};

use crate::support::{adapter, ask, page_bytes};

/// The hidden states of a whole pass, pooled in the plainest way.
fn by_tape(model: &Model, adapter: Option<&Adapter>, tokens: &[u32], pooling: Pooling) -> Vec<f32> {
    let batch = Batch::new([tokens]);
    let lora = adapter.map(Adapter::lora);
    let mut tape = Tape::new(model.network(), lora, Trainable::Nothing, &batch);
    let hidden = tape.run().unwrap();
    let hidden = tape.value(&hidden);
    let width = hidden.len() / tokens.len();
    let rows = hidden.chunks_exact(width);
    let pooled: Vec<f32> = match pooling {
        Pooling::Mean => (0..width)
            .map(|i| rows.clone().map(|row| row[i]).sum::<f32>() / tokens.len() as f32)
            .collect(),
        _ => rows.last().unwrap().to_vec(),
    };
    let length = dot(&pooled, &pooled).sqrt();
    pooled.iter().map(|x| x / length).collect()
}

#[tokio::test]
async fn vectors_are_those_of_the_training_forward_whatever_else_runs() {
    for family in testing::FAMILIES {
        let model = Arc::new(testing::tiny_of(family, 3).unwrap());
        let own = adapter(&model, 4, 1);
        let lease = Lease::new(model.network(), &own);
        let roomy = EngineOptions::default();
        let tight = roomy.clone().with_cache_bytes(6 * page_bytes(&model)).with_max_step_tokens(9);
        for options in [roomy, tight] {
            let engine = Engine::start(Arc::clone(&model), options).unwrap();
            let answers = join_all(
                (0..4).map(|n| ask(&engine, Generate::new(vec![n; 9]).with_max_tokens(20))),
            );
            let vectors = join_all((0..8usize).map(|n| {
                let tokens: Vec<u32> = (0..60).map(|i| (i + n as u32 / 4) % 200).collect();
                let pooling = if n % 2 == 0 { Pooling::Last } else { Pooling::Mean };
                let which = (n % 4 < 2).then_some(&own);
                let request = Embed::new(tokens.clone()).with_pooling(pooling);
                let vector = engine.embed(match which {
                    Some(_) => request.with_adapter(lease.clone()),
                    None => request,
                });
                let expected = by_tape(&model, which, &tokens, pooling);
                async move { (vector.await.unwrap(), expected) }
            }));
            let (vectors, _) = futures::future::join(vectors, answers).await;
            for (vector, expected) in vectors {
                assert_eq!(vector, expected, "{family}");
            }
            engine.drain().await;
            assert_eq!(engine.stats().pages_used, 0);
        }
    }
}

#[tokio::test]
async fn what_has_no_vector_is_refused() {
    let engine = Engine::start(Arc::new(testing::tiny(3).unwrap()), EngineOptions::default());
    let engine = engine.unwrap();
    for (tokens, says) in [
        (vec![], "0 tokens to read"),
        (vec![100_000], "token 100000"),
        (vec![1; 513], "the model holds 512"),
    ] {
        let error = engine.embed(Embed::new(tokens)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(engine.embed(Embed::new(vec![1; 512])).await.unwrap().len(), 32);
}
