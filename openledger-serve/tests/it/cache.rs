//! What is computed once: for whom, and that it changes nothing.

use std::sync::Arc;

use futures::future::join_all;
use openledger_model::testing;
use openledger_serve::{
    AdapterPrecision, Adapters, Embed, Engine, EngineOptions, Generate, Lease, Sampling,
};

use crate::support::{adapter, ask, page_bytes};

fn engine(options: EngineOptions) -> Engine {
    Engine::start(Arc::new(testing::tiny(3).unwrap()), options).unwrap()
}

/// A long prompt, and how it ends.
fn prompt(end: u32) -> Vec<u32> {
    (0..70).map(|i| (i * 13) % 200).chain([end]).collect()
}

#[tokio::test]
async fn what_is_cached_is_told_and_changes_no_token() {
    let cached = engine(EngineOptions::default());
    let plain = engine(EngineOptions::default().with_prefix_cache(false));
    let mut found = 0;
    for sampling in [Sampling::GREEDY, Sampling::with_temperature(1.0, 5)] {
        for end in [1, 1, 2, 3, 2] {
            let request =
                Generate::new(prompt(end)).with_sampling(sampling.clone()).with_max_tokens(30);
            let answer = ask(&cached, request.clone()).await;
            let expected = ask(&plain, request).await;
            assert_eq!((&answer.tokens, &answer.text), (&expected.tokens, &expected.text));
            assert_eq!(expected.end().tokens_cached, 0);
            found += answer.end().tokens_cached;
        }
    }
    // Nothing of the first; of the others all but the last token.
    assert_eq!(found, 9 * 70);
    cached.drain().await;
    let stats = cached.stats();
    assert_eq!((stats.requests, stats.prefix_hits, stats.tokens_cached), (10, 9, 9 * 70));
}

#[tokio::test]
async fn an_answer_is_the_beginning_of_the_next_prompt() {
    let engine = engine(EngineOptions::default());
    let first = ask(&engine, Generate::new(prompt(1)).with_max_tokens(20)).await;
    let mut next = prompt(1);
    next.extend(&first.tokens);
    next.extend([5, 6, 7]);
    let second = ask(&engine, Generate::new(next.clone()).with_max_tokens(20)).await;
    // The last token written was not read any more.
    assert_eq!(second.end().tokens_cached, 71 + first.tokens.len() - 1);
}

#[tokio::test]
async fn tenants_and_adapters_share_nothing() {
    let engine = engine(EngineOptions::default());
    let model = engine.model();
    let lease = |seed| Lease::new(model.network(), &adapter(model, 4, seed));
    let request = || Generate::new(prompt(1)).with_max_tokens(4);
    let requests = [
        request(),
        request().with_tenant("a"),
        request().with_tenant("b"),
        request().with_adapter(lease(1)),
        request().with_adapter(lease(2)),
        request().with_adapter(lease(1)).with_tenant("a"),
    ];
    for request in &requests {
        assert_eq!(ask(&engine, request.clone()).await.end().tokens_cached, 0);
    }
    for request in &requests {
        assert_eq!(ask(&engine, request.clone()).await.end().tokens_cached, 70);
    }
}

#[tokio::test]
async fn what_a_rounded_adapter_computed_is_not_what_the_whole_one_does() {
    let engine = engine(EngineOptions::default());
    let (model, adapter) = (engine.model(), adapter(engine.model(), 4, 1));
    let lease = |precision| Lease::with_precision(model.network(), &adapter, precision);
    for precision in [AdapterPrecision::F32, AdapterPrecision::Bf16] {
        let request = Generate::new(prompt(1)).with_adapter(lease(precision)).with_max_tokens(4);
        assert_eq!(ask(&engine, request.clone()).await.end().tokens_cached, 0);
        assert_eq!(ask(&engine, request).await.end().tokens_cached, 70);
    }
}

#[tokio::test]
async fn new_weights_under_an_old_name_find_nothing_of_the_old() {
    let engine = engine(EngineOptions::default());
    let model = engine.model();
    let adapters = Adapters::new(Arc::clone(model));
    let ask_law = || {
        let request = Generate::new(prompt(1)).with_max_tokens(10);
        ask(&engine, request.with_adapter(adapters.ready("law").unwrap()))
    };
    let [old, new] = [1, 2].map(|seed| Arc::new(adapter(model, 4, seed)));
    adapters.insert("law", Arc::clone(&old)).unwrap();
    let before = ask_law().await;
    adapters.insert("law", new).unwrap();
    let after = ask_law().await;
    assert_eq!(after.end().tokens_cached, 0);
    assert_ne!(after.tokens, before.tokens);
    adapters.insert("law", old).unwrap();
    let again = ask_law().await;
    assert_eq!((again.end().tokens_cached, &again.tokens), (70, &before.tokens));
}

#[tokio::test]
async fn who_comes_together_computes_a_beginning_once() {
    let engine = engine(EngineOptions::default().with_max_step_tokens(24));
    let requests = (0..8).map(|end| Generate::new(prompt(end)).with_max_tokens(1));
    let answers = join_all(requests.map(|request| ask(&engine, request))).await;
    assert_eq!(answers.len(), 8);
    engine.drain().await;
    assert_eq!(engine.stats().tokens_computed, 71 + 7);
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let options = EngineOptions::default().with_cache_bytes(10 * page_bytes(&model));
    let engine = Engine::start(model, options).unwrap();
    let request = |first: u32| {
        let prompt = [vec![first], prompt(1)].concat();
        Generate::new(prompt).with_max_tokens(1)
    };
    for first in [1, 2, 1, 3] {
        ask(&engine, request(first)).await;
    }
    assert_eq!(ask(&engine, request(1)).await.end().tokens_cached, 71);
    assert!(ask(&engine, request(2)).await.end().tokens_cached < 71);
    engine.drain().await;
    let stats = engine.stats();
    assert_eq!((stats.pages_total, stats.preemptions), (10, 0));
}

#[tokio::test]
async fn eight_bits_hold_more_and_an_answer_still_depends_on_its_request_alone() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let options = EngineOptions::default().with_cache_bytes(64 * page_bytes(&model));
    let plain = Engine::start(Arc::clone(&model), options.clone()).unwrap();
    let small =
        Engine::start(Arc::clone(&model), options.clone().with_cache_in_eight_bits(true)).unwrap();
    assert!(small.stats().pages_total > 2 * plain.stats().pages_total);

    let lease = Lease::new(model.network(), &adapter(&model, 3, 1));
    let requests: Vec<Generate> = (0..6u32)
        .map(|n| Generate::new(prompt(n / 2)).with_max_tokens(5 + n as usize))
        .map(|request| request.with_ignore_eos(true))
        .chain([Generate::new(prompt(9)).with_adapter(lease)])
        .collect();
    let together = join_all(requests.iter().map(|request| ask(&small, request.clone()))).await;
    for (request, together) in requests.iter().zip(together) {
        let options = options.clone().with_cache_in_eight_bits(true).with_prefix_cache(false);
        let fresh = Engine::start(Arc::clone(&model), options.with_max_step_tokens(7)).unwrap();
        assert_eq!(ask(&fresh, request.clone()).await.tokens, together.tokens);
    }

    let embed = |engine: &Engine| engine.embed(Embed::new(prompt(1)));
    let (one, other) = (embed(&plain).await.unwrap(), embed(&small).await.unwrap());
    let cosine: f32 = one.iter().zip(&other).map(|(x, y)| x * y).sum();
    assert!(cosine > 0.99 && one != other, "{cosine}");
}
