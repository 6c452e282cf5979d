//! Tokens that are guessed: sooner, and the same.

use std::sync::Arc;

use futures::future::join_all;
use openledger_model::testing;
use openledger_serve::{Engine, EngineOptions, Generate, Lease, Sampling, Stats};

use crate::support::{adapter, ask, page_bytes};

/// Texts that go round, and some that do not: those of the first kind are continued as they began.
fn requests(lease: &Lease) -> Vec<Generate> {
    let mut requests = Vec::new();
    for n in 0..9u32 {
        let prompt: Vec<u32> = (0..20 + n).map(|i| (i % (2 + n)) * 11 % 250).collect();
        let request = Generate::new(prompt).with_max_tokens(8 * n as usize + 1);
        requests.push(match n % 4 {
            0 => request.with_ignore_eos(true),
            1 => request.with_ignore_eos(true).with_adapter(lease.clone()),
            2 => request.with_ignore_eos(true).with_sampling(Sampling::with_temperature(0.7, 9)),
            _ => request.with_stop(["e".to_owned(), "\u{fffd}a".to_owned()]).with_logprobs(2),
        });
    }
    requests
}

async fn answers(engine: &Engine, requests: &[Generate]) -> Stats {
    let options = EngineOptions::default().with_prefix_cache(false);
    let expected = Engine::start(Arc::clone(engine.model()), options).unwrap();
    let together = join_all(requests.iter().map(|request| ask(engine, request.clone()))).await;
    for (request, together) in requests.iter().zip(together) {
        assert_eq!(together, ask(&expected, request.clone()).await);
        assert_eq!(together, ask(engine, request.clone()).await);
    }
    engine.drain().await;
    engine.stats()
}

#[tokio::test]
async fn guesses_change_no_answer_and_save_steps() {
    for family in testing::FAMILIES {
        let model = Arc::new(testing::tiny_of(family, 3).unwrap());
        let lease = Lease::new(model.network(), &adapter(&model, 3, 1));
        let requests = requests(&lease);
        // Without what `End` tells of a cache, answers are equal as a whole.
        let plain = EngineOptions::default().with_prefix_cache(false);
        let engine = |options| Engine::start(Arc::clone(&model), options).unwrap();
        let without = answers(&engine(plain.clone()), &requests).await;
        let with = answers(&engine(plain.with_draft_tokens(4)), &requests).await;
        assert_eq!((without.tokens_drafted, without.tokens_accepted), (0, 0));
        assert!(with.tokens_accepted > 0 && with.tokens_accepted <= with.tokens_drafted);
        assert!(with.steps < without.steps, "{} of {}", with.steps, without.steps);
        assert_eq!(with.tokens_out, without.tokens_out);
        assert_eq!((with.pages_used, with.running), (0, 0));
    }
}

#[tokio::test]
async fn where_there_are_few_pages_guesses_go_first() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let lease = Lease::new(model.network(), &adapter(&model, 3, 1));
    let options = EngineOptions::default()
        .with_prefix_cache(false)
        .with_cache_bytes(7 * page_bytes(&model))
        .with_draft_tokens(5);
    let engine = Engine::start(Arc::clone(&model), options).unwrap();
    let stats = answers(&engine, &requests(&lease)).await;
    assert!(stats.tokens_accepted > 0 && stats.preemptions > 0);
    assert_eq!(stats.pages_used, 0);
}
