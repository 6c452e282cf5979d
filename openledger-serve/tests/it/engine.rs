//! Answers: what the training forward says, alone or in a batch, in order, within limits.

use std::{path::PathBuf, sync::Arc};

use futures::{
    StreamExt,
    future::{join, join_all},
};
use openledger_core::ErrorKind;
use openledger_kernels::Arithmetic;
use openledger_model::{
    LoraConfig, Model, Network, Saved,
    gguf::{GgmlType, GgufWriter},
    testing,
};
use openledger_serve::{
    AdapterPrecision, Embed, Engine, EngineOptions, Event, Finish, Generate, Lease, Sampling,
};
use tower::{Service, ServiceExt};

use crate::support::{adapter, adapter_like, ask, by_tape, page_bytes};

#[tokio::test]
async fn mixed_adapters_in_one_batch_answer_as_each_alone_and_as_the_tape() {
    for family in testing::FAMILIES {
        mixed(testing::tiny_of(family, 3).unwrap(), |_| Kind::Pairs(AdapterPrecision::F32)).await;
    }
}

#[tokio::test]
async fn merged_copies_answer_in_one_batch_with_others_as_the_tape() {
    for family in testing::FAMILIES {
        let every_other = |n| [Kind::Merged, Kind::Pairs(AdapterPrecision::F32)][n % 2];
        mixed(testing::tiny_of(family, 3).unwrap(), every_other).await;
    }
    let rounded = testing::tiny_of("qwen2", 3).unwrap().map_network(Network::in_bf16);
    mixed(rounded, |_| Kind::Merged).await;
}

#[tokio::test]
async fn a_merged_copy_has_the_logprobs_of_its_adapter_but_for_rounding() {
    for (rounded, dora) in [(false, false), (false, true), (true, false), (true, true)] {
        let (model, within) = match rounded {
            true => (testing::tiny(3).unwrap().map_network(Network::in_bf16), 0.1),
            false => (testing::tiny(3).unwrap(), 1e-4),
        };
        let model = Arc::new(model);
        let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
        let config = LoraConfig::default().with_rank(4, 6.0).with_dora(dora);
        let adapter = adapter_like(config, &model, 1);
        let request = Generate::new((0..20).collect()).with_logprobs(1).with_max_tokens(30);
        let request = request.with_ignore_eos(true);
        let pairs = Lease::new(model.network(), &adapter);
        let merged = Lease::merged(model.network(), &adapter).unwrap();
        assert_eq!(merged.id(), pairs.id());
        let mut chosen = Vec::new();
        for lease in [pairs, merged] {
            let mut engine = engine.clone();
            let answer = engine.call(request.clone().with_adapter(lease)).await.unwrap();
            let events: Vec<Event> = answer.map(Result::unwrap).collect().await;
            let Some(Event::End(end)) = events.last() else { panic!("{events:?}") };
            assert_eq!(end.tokens_cached, 0, "they share no cache");
            let tokens = events.into_iter().filter_map(|event| match event {
                Event::Token { token, logprobs, .. } => Some((token, logprobs.unwrap().chosen)),
                _ => None,
            });
            chosen.push(tokens.collect::<Vec<(u32, f32)>>());
        }
        let [pairs, merged] = &chosen[..] else { unreachable!("two were pushed") };
        assert_eq!((pairs.len(), merged.len()), (30, 30));
        assert_ne!(pairs, merged, "not the same sums");
        for ((token, of_pairs), (same, of_merged)) in pairs.iter().zip(merged) {
            assert_eq!(token, same);
            assert!((of_pairs - of_merged).abs() < within, "{of_pairs} {of_merged}");
        }
    }
}

#[test]
fn what_would_be_rounded_away_is_not_merged() {
    for round in [Network::in_q8_0, Network::in_q4_0, Network::in_nf4] {
        let model = testing::tiny(3).unwrap().map_network(round);
        let error = Lease::merged(model.network(), &adapter(&model, 3, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("proj.weight"), "{error}");
    }
}

#[tokio::test]
async fn so_they_do_beside_a_base_in_any_precision() {
    for family in ["llama", "deepseek_v3"] {
        for round in [Network::in_bf16, Network::in_q8_0, Network::in_q4_0] {
            let model = testing::tiny_of(family, 3).unwrap().map_network(round);
            mixed(model, |_| Kind::Pairs(AdapterPrecision::F32)).await;
        }
    }
}

#[tokio::test]
async fn a_file_in_eight_bits_answers_as_the_model_rounded_to_them() {
    let files = testing::tiny_files(3).unwrap();
    let model = Model::load(&files).unwrap();
    for (ty, round) in [
        (GgmlType::Q8_0, Network::in_q8_0 as fn(Network) -> Network),
        (GgmlType::Q4_0, Network::in_q4_0),
    ] {
        let mut file = Vec::new();
        let weights = model.network().weights();
        let writer = GgufWriter::new(&files.config, model.tokenizer(), weights).with_type(ty);
        writer.write(&mut file).unwrap();
        let stored = Model::from_gguf_as_stored(&file.clone().into()).unwrap();
        assert_eq!(AdapterPrecision::beside(stored.network()), AdapterPrecision::Bf16);
        let rounded = Model::from_gguf(&file).unwrap();
        assert_eq!(AdapterPrecision::beside(rounded.network()), AdapterPrecision::F32);
        let lease = Lease::merged(rounded.network(), &adapter(&rounded, 3, 1)).unwrap();
        let mut answers = Vec::new();
        for model in [stored, rounded.map_network(round)] {
            let engine = Engine::start(Arc::new(model), EngineOptions::default()).unwrap();
            let request = Generate::new((0..20).collect()).with_max_tokens(30);
            let merged = request.clone().with_adapter(lease.clone());
            let error = engine.clone().call(merged).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "it was merged with exact numbers");
            answers.push(ask(&engine, request.with_ignore_eos(true)).await.tokens);
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test]
async fn rounded_adapters_answer_in_one_batch_as_each_alone() {
    let in_halves = |_| Kind::Pairs(AdapterPrecision::Bf16);
    mixed(testing::tiny(3).unwrap(), in_halves).await;
    let rounded = testing::tiny_of("qwen3", 3).unwrap().map_network(Network::in_bf16);
    mixed(rounded, in_halves).await;
}

/// What the engine multiplies by for an adapter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Pairs(AdapterPrecision),
    Merged,
}

/// Many requests of different adapters, whose answers are compared with those of the tape (which rounds
/// no adapters and no sums), in an engine with room for all, then in small ones: pieces of prompts of several sizes,
/// so few pages that what is kept is given up.
async fn mixed(model: Model, kind: impl Fn(usize) -> Kind) {
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
            let kind = kind((n % 5) as usize);
            let count = 6 + n as usize;
            let exact = model.network().weights().arithmetic() == Arithmetic::F32;
            let taped = match kind {
                _ if which.is_none() => true,
                Kind::Pairs(precision) => precision == AdapterPrecision::F32,
                Kind::Merged => exact,
            };
            let expected = taped.then(|| by_tape(&model, which, &prompt, count));
            let request = Generate::new(prompt).with_max_tokens(count);
            let lease = which.map(|adapter| match kind {
                Kind::Pairs(precision) => {
                    Lease::with_precision(model.network(), adapter, precision)
                }
                Kind::Merged => Lease::merged(model.network(), adapter).unwrap(),
            });
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
