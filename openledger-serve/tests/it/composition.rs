//! Several adapters in one request.

use openledger_core::ErrorKind;
use openledger_kernels::argmax;
use openledger_model::{Batch, Combine, Election, LoraConfig, Tape, Trainable};
use openledger_serve::{AdapterOptions, Compose, Engine, EngineOptions, Generate};
use std::sync::Arc;
use tower::{Service, ServiceExt};

use crate::shelf::{Shelf, adapter, files, files_like, model};

#[tokio::test]
async fn a_sum_answers_as_the_base_with_both_merged() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    shelf.put("polite", files_like(&model, &LoraConfig::default(), 2));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let lease = adapters.compose(&Compose::sum([("law", 1.5), ("polite", -0.5)])).await.unwrap();
    let prompt = vec![1, 2, 3, 4];
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = Generate::new(prompt.clone()).with_adapter(lease).with_max_tokens(12);
    let answer = engine.ready().await.unwrap().call(request).await.unwrap();
    let tokens = answer.collect_all().await.unwrap().tokens;

    // The same with both in the weights, by whole passes.
    let mut merged = model.network().clone();
    let parts = [(files(&model, 1), 1.5), (files_like(&model, &LoraConfig::default(), 2), -0.5)];
    for (files, coefficient) in parts {
        let adapter = openledger_model::Adapter::load(model.network(), &files).unwrap();
        for (site, _) in adapter.lora().pairs() {
            let with = adapter.lora().merged(model.network(), site);
            let base = model.network().weights().data(site).to_vec();
            let weight = merged.data_mut(site).iter_mut();
            weight.zip(with.iter().zip(base)).for_each(|(w, (with, base))| {
                *w += coefficient * (with - base);
            });
        }
    }
    let mut text = prompt.clone();
    for _ in 0..tokens.len() {
        let batch = Batch::new([&text[..]]);
        let mut tape = Tape::new(&merged, None, Trainable::Nothing, &batch);
        let hidden = tape.run().unwrap();
        let logits = tape.logits(&hidden);
        let last = logits.chunks_exact(merged.decoder().vocabulary()).next_back().unwrap();
        text.push(argmax(last).unwrap() as u32);
    }
    assert_eq!(tokens, text[prompt.len()..]);
}

#[tokio::test]
async fn a_composition_is_kept_by_its_parts_contents() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    adapters.insert("mine", adapter(&model, 2)).unwrap();
    let both = Compose::sum([("law", 1.0), ("mine", 1.0)]);
    let first = adapters.compose(&both).await.unwrap();
    let hits = adapters.counts().hits;
    assert_eq!(adapters.compose(&both).await.unwrap().id(), first.id());
    assert_eq!(adapters.counts().hits, hits + 1);
    let less = Compose::sum([("law", 1.0), ("mine", 0.5)]);
    assert_ne!(adapters.compose(&less).await.unwrap().id(), first.id());
    let ties = Combine::Ties { rank: 4, density: 0.5, election: Election::Total };
    let ties = adapters.compose(&Compose::new(ties, both.parts.clone())).await.unwrap();
    assert_ne!(ties.id(), first.id());

    // New weights under an old name make another.
    shelf.put("law", files(&model, 3));
    assert_eq!(adapters.compose(&both).await.unwrap().id(), first.id());
    adapters.load("law").await.unwrap();
    assert_ne!(adapters.compose(&both).await.unwrap().id(), first.id());

    // As an alias, and back again after it made room.
    let named = adapters.assign("both", both.clone()).await.unwrap();
    assert_eq!(adapters.ready("both").unwrap().id(), named.id());
    assert_eq!(adapters.residency().adapters.iter().filter(|a| a.aliases == ["both"]).count(), 1);
}

#[tokio::test]
async fn a_composition_that_cannot_be_is_an_error() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    shelf.put("dora", files_like(&model, &crate::shelf::config().with_dora(true), 1));
    let adapters = shelf.serve(&model, AdapterOptions::default().with_max_rank(3));
    adapters.assign("alias", Compose::sum([("law", 1.0)])).await.unwrap();
    for (compose, kind) in [
        (Compose::sum([("law", 1.0), ("nobody", 1.0)]), ErrorKind::NotFound),
        (Compose::sum([("law", 1.0), ("dora", 1.0)]), ErrorKind::Unsupported),
        (Compose::sum([("law", f64::NAN)]), ErrorKind::Invalid),
        (Compose::sum([("law", 0.0)]), ErrorKind::Invalid),
        (Compose::sum([("alias", 1.0)]), ErrorKind::Invalid),
        (Compose::sum([("law", 1.0), ("law", 1.0)]), ErrorKind::Limit),
        (Compose::sum::<&str>([]), ErrorKind::Invalid),
    ] {
        let error = adapters.compose(&compose).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{compose:?}: {error:?}");
    }
}
