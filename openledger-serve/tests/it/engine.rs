//! Answers: what the training forward says, alone or in a batch, in order, within limits.

use std::{path::PathBuf, sync::Arc};

use futures::{
    StreamExt,
    future::{join, join_all},
};
use openledger_core::ErrorKind;
use openledger_model::{LoraConfig, Model, Network, Saved, testing};
use openledger_serve::{
    AdapterPrecision, Embed, Engine, EngineOptions, Event, Finish, Generate, Lease, Sampling,
};
use tower::{Service, ServiceExt};

use crate::support::{adapter, adapter_like, ask, by_tape, page_bytes};

#[tokio::test]
async fn mixed_adapters_in_one_batch_answer_as_each_alone_and_as_the_tape() {
    for family in testing::FAMILIES {
        mixed(testing::tiny_of(family, 3).unwrap(), AdapterPrecision::F32).await;
    }
}

#[tokio::test]
async fn so_they_do_beside_a_base_in_any_precision() {
    for family in ["llama", "deepseek_v3"] {
        for round in [Network::in_bf16, Network::in_q8_0, Network::in_q4_0] {
            let model = testing::tiny_of(family, 3).unwrap().map_network(round);
            mixed(model, AdapterPrecision::F32).await;
        }
    }
}

#[tokio::test]
async fn rounded_adapters_answer_in_one_batch_as_each_alone() {
    mixed(testing::tiny(3).unwrap(), AdapterPrecision::Bf16).await;
    let rounded = testing::tiny_of("qwen3", 3).unwrap().map_network(Network::in_bf16);
    mixed(rounded, AdapterPrecision::Bf16).await;
}

/// Many requests of different adapters, whose answers are compared with those of the tape (which rounds
/// no adapters), in an engine with room for all, then in small ones: pieces of prompts of several sizes,
/// so few pages that what is kept is given up.
async fn mixed(model: Model, precision: AdapterPrecision) {
    let model = Arc::new(model);
    let dora = LoraConfig::default().with_rank(2, 6.0).with_dora(true);
    let tables = [Saved::Embedding, Saved::Head];
    let adapters = [
        adapter(&model, 3, 1),
        adapter_like(dora.clone(), &model, 2),
        adapter(&model, 8, 3),
        adapter_like(dora.with_saved(tables), &model, 4),
    ];
    let requests: Vec<(Generate, Option<Vec<u32>>)> = (0..15u32)
        .map(|n| {
            let prompt: Vec<u32> = (0..1 + n * 3).map(|i| (n * 17 + i * 7) % 250).collect();
            let which = adapters.get((n % 5) as usize);
            let count = 6 + n as usize;
            let taped = which.is_none() || precision == AdapterPrecision::F32;
            let expected = taped.then(|| by_tape(&model, which, &prompt, count));
            let request = Generate::new(prompt).with_max_tokens(count);
            let lease =
                which.map(|adapter| Lease::with_precision(model.network(), adapter, precision));
            match lease {
                Some(lease) => (request.with_adapter(lease), expected),
                None => (request, expected),
            }
        })
        .collect();
    let roomy = EngineOptions::default();
    let tight = roomy.clone().with_cache_bytes(5 * page_bytes(&model));
    for options in [
        roomy.clone(),
        roomy.clone().with_prefix_cache(false).with_max_step_tokens(1),
        roomy.with_max_step_tokens(23),
        tight.clone().with_max_step_tokens(3),
        tight.clone().with_max_step_tokens(16).with_prefix_cache(false),
        tight,
    ] {
        let engine = Engine::start(Arc::clone(&model), options.clone()).unwrap();
        let together =
            join_all(requests.iter().map(|(request, _)| ask(&engine, request.clone()))).await;
        for ((request, expected), together) in requests.iter().zip(together) {
            if let Some(expected) = expected {
                assert_eq!(together.tokens, *expected, "{options:?}");
            }
            let alone = ask(&engine, request.clone()).await;
            assert_eq!((alone.tokens, alone.text), (together.tokens, together.text));
        }
        engine.drain().await;
        let stats = engine.stats();
        assert_eq!((stats.pages_used, stats.running, stats.waiting), (0, 0, 0));
    }
}

#[tokio::test]
async fn an_adapter_changes_the_answer() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let base = ask(&engine, Generate::new(vec![1, 2, 3])).await;
    let lease = Lease::new(model.network(), &adapter(&model, 4, 9));
    let adapted = ask(&engine, Generate::new(vec![1, 2, 3]).with_adapter(lease)).await;
    assert_ne!(base.tokens, adapted.tokens);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_tokens_whatever_else_runs() {
    let model = Arc::new(testing::tiny(4).unwrap());
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = Generate::new(vec![9, 8]).with_sampling(Sampling::with_temperature(1.0, 5));
    let alone = ask(&engine, request.clone()).await;
    let others = (0..5).map(|n| ask(&engine, Generate::new(vec![n]).with_max_tokens(20)));
    let (again, _) = join(ask(&engine, request.clone()), join_all(others)).await;
    assert_eq!(alone.tokens, again.tokens);
    let other = request.with_sampling(Sampling::with_temperature(1.0, 6));
    assert_ne!(ask(&engine, other).await.tokens, alone.tokens);
}

#[tokio::test]
async fn events_are_tokens_and_then_one_end() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = Generate::new(vec![1, 2, 3, 4]).with_max_tokens(5);
    let stream = engine.ready().await.unwrap().call(request).await.unwrap();
    let events: Vec<Event> = stream.map(Result::unwrap).collect().await;
    let tokens = events.iter().filter(|event| matches!(event, Event::Token { .. })).count();
    let Some(Event::End(end)) = events.last() else { panic!("{events:?}") };
    assert_eq!((end.tokens_in, end.tokens_out, tokens), (4, 5, 5));
    assert_eq!((end.finish, events.len()), (Finish::Length, 6));
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_at_once() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    for (request, says) in [
        (Generate::new(vec![]), "0 tokens to read"),
        (Generate::new(vec![1]).with_max_tokens(0), "0 to write"),
        (Generate::new(vec![100_000]), "token 100000"),
        (Generate::new(vec![1; 512]), "leaves no room"),
        (Generate::new(vec![1; 513]), "the model holds 512"),
    ] {
        let error = engine.ready().await.unwrap().call(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn an_adapter_for_another_base_is_refused_and_the_engine_goes_on() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = || Generate::new(vec![1, 2, 3]).with_max_tokens(4);
    // Of the same sizes, of others, and the same base rounded.
    for other in [
        testing::tiny(4).unwrap(),
        testing::tiny_of("qwen3", 3).unwrap(),
        testing::tiny(3).unwrap().map_network(|network| network.in_q8_0()),
    ] {
        let lease = Lease::new(other.network(), &adapter(&other, 4, 1));
        let asked = request().with_adapter(lease.clone());
        let error = engine.ready().await.unwrap().call(asked).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().ends_with("was made ready for another base"), "{error}");
        let error = engine.embed(Embed::new(vec![1]).with_adapter(lease)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    // Opened once more it is the same.
    let again = testing::tiny(3).unwrap();
    let lease = Lease::new(again.network(), &adapter(&again, 4, 1));
    ask(&engine, request().with_adapter(lease)).await;
    assert!(engine.is_alive());
}

#[tokio::test]
async fn an_answer_ends_where_the_model_is_full() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let answer = ask(&engine, Generate::new(vec![1; 509]).with_max_tokens(100)).await;
    assert!(answer.tokens.len() <= 3, "{}", answer.tokens.len());
    assert_eq!(answer.end().finish, Finish::Length);
}

#[tokio::test]
async fn golden_text_streams_out_of_a_real_model() {
    let folder =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/models/stories260K"));
    if !folder.exists() {
        println!("skipped: `{}` is not there", folder.display());
        return;
    }
    let model = Arc::new(Model::open(folder.join("hf")).unwrap());
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
    let prompt = model.tokenizer().encode("", true).unwrap();
    let answer = ask(&engine, Generate::new(prompt).with_max_tokens(256)).await;
    let text = serde_json::to_string(&answer.text).unwrap();
    assert!(golden.contains(text.trim_matches('"')), "{text}");
    assert_eq!(answer.tokens.len(), 256);
}
