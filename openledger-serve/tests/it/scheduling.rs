//! Who runs when there is not enough for all, and how requests end before their time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::join_all};
use openledger_core::ErrorKind;
use openledger_model::testing;
use openledger_serve::{Engine, EngineOptions, Event, Generate, Lease, Sampling, TokenStream};
use tower::{Service, ServiceExt};

use crate::support::{adapter, ask, page_bytes};

fn engine(options: EngineOptions) -> Engine {
    Engine::start(Arc::new(testing::tiny(3).unwrap()), options).unwrap()
}

/// An engine with so many pages.
fn engine_of(pages: usize, options: EngineOptions) -> Engine {
    let model = Arc::new(testing::tiny(3).unwrap());
    let options = options.with_cache_bytes(pages * page_bytes(&model));
    Engine::start(model, options).unwrap()
}

/// Starts an answer without waiting for it.
fn start(engine: &Engine, request: Generate) -> TokenStream {
    engine.clone().call(request).now_or_never().unwrap().unwrap()
}

/// A request that takes until it is told to end.
fn long(first: u32) -> Generate {
    Generate::new(vec![first]).with_max_tokens(500).with_ignore_eos(true)
}

#[tokio::test]
async fn cancelled_answers_leave_nothing_and_change_no_other() {
    let engine = engine_of(12, EngineOptions::default().with_max_step_tokens(20));
    let request = |n: u32| {
        Generate::new((0..n * 5 + 1).map(|i| (i * n) % 90).collect())
            .with_max_tokens(60)
            .with_tenant(format!("{}", n % 3))
            .with_ignore_eos(true)
    };
    let expected = join_all((0..12).map(|n| ask(&engine, request(n)))).await;
    for seed in 0..20usize {
        let streams: Vec<TokenStream> = (0..12).map(|n| start(&engine, request(n))).collect();
        let work = streams.into_iter().zip(&expected).enumerate().map(|(n, (stream, expected))| {
            let reads = (seed * 7 + n * 5) % 40;
            async move {
                let events: Vec<Event> = stream.take(reads).map(Result::unwrap).collect().await;
                let tokens = events.into_iter().filter_map(|event| match event {
                    Event::Token { token, .. } => Some(token),
                    _ => None,
                });
                let tokens: Vec<u32> = tokens.collect();
                assert_eq!(tokens, expected.tokens[..reads]);
            }
        });
        join_all(work).await;
    }
    engine.drain().await;
    let stats = engine.stats();
    assert_eq!((stats.pages_used, stats.running, stats.waiting), (0, 0, 0));
    assert!(stats.preemptions > 0 && stats.pages_cached <= stats.pages_total, "{stats:?}");
}

/// Three that come within a second of each other are one step; the engine does not wait for a fourth.
#[tokio::test]
async fn requests_that_come_together_begin_together() {
    let gather = |gather| EngineOptions::default().with_max_running(3).with_gather(gather);
    let request = |n| Generate::new(vec![n, 5, 6]).with_max_tokens(1).with_ignore_eos(true);
    let engine = engine(gather(Duration::MAX));
    let alone: Vec<_> = {
        let engine = self::engine(gather(Duration::ZERO));
        join_all((0..3).map(|n| ask(&engine, request(n)))).await
    };
    let mut streams = Vec::new();
    for n in 0..3 {
        streams.push(start(&engine, request(n)));
        // Long enough for a step of the first alone.
        std::thread::sleep(Duration::from_millis(30));
    }
    for (stream, alone) in streams.into_iter().zip(alone) {
        assert_eq!(stream.collect_all().await.unwrap().tokens, alone.tokens);
    }
    engine.drain().await;
    assert_eq!(engine.stats().steps, 1);
}

#[tokio::test]
async fn an_engine_with_threads_of_its_own_answers_as_one_without() {
    let request = |n| Generate::new(vec![n, 5, 6]).with_max_tokens(20).with_ignore_eos(true);
    let answers = async |threads| {
        let engine = engine(EngineOptions::default().with_threads(threads));
        join_all((0..4).map(|n| ask(&engine, request(n)))).await
    };
    let shared = answers(0).await;
    for threads in [1, 3] {
        for (own, shared) in answers(threads).await.iter().zip(&shared) {
            assert_eq!(own.tokens, shared.tokens);
        }
    }
    let too_many = EngineOptions::default().with_threads(usize::MAX);
    let refused = Engine::start(Arc::new(testing::tiny(3).unwrap()), too_many);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_can_never_fit_is_refused_with_what_to_change() {
    let engine = engine_of(4, EngineOptions::default());
    let request = |read, write| Generate::new(vec![1; read]).with_max_tokens(write);
    let error = engine.clone().call(request(60, 6)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let says = "60 tokens to read and 6 to write need room for 65, the cache has it for 64";
    assert!(error.to_string().contains(says), "{error}");
    assert!(ask(&engine, request(60, 5)).await.tokens.len() <= 5);

    let model = Arc::clone(engine.model());
    let options = EngineOptions::default().with_cache_bytes(page_bytes(&model) - 1);
    let error = Engine::start(model, options).unwrap_err();
    assert!(error.to_string().contains("no page"), "{error}");
}

/// Greedy and by chance, alone in a roomy engine and with others in one that holds two of them.
#[tokio::test]
async fn an_answer_that_makes_way_comes_out_the_same() {
    for family in testing::FAMILIES {
        let model = Arc::new(testing::tiny_of(family, 3).unwrap());
        let lease = Lease::new(model.network(), &adapter(&model, 4, 1));
        let request = |n: u32| {
            let request = Generate::new((0..n * 9 + 2).map(|i| (i * 7 + n) % 90).collect())
                .with_max_tokens(90)
                .with_ignore_eos(true)
                .with_tenant(format!("{}", n % 2));
            let request = match n % 3 {
                0 => request.with_adapter(lease.clone()),
                _ => request,
            };
            match n % 2 {
                0 => request,
                _ => request.with_sampling(Sampling::with_temperature(1.0, u64::from(n))),
            }
        };
        let roomy = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
        let options = EngineOptions::default().with_cache_bytes(16 * page_bytes(&model));
        for options in [options.clone(), options.with_prefix_cache(false).with_max_step_tokens(7)] {
            let tight = Engine::start(Arc::clone(&model), options).unwrap();
            let together = join_all((0..6).map(|n| ask(&tight, request(n)))).await;
            for (n, together) in (0..).zip(together) {
                assert_eq!(together.tokens, ask(&roomy, request(n)).await.tokens, "{family} {n}");
                assert_eq!((together.tokens.len(), together.end().tokens_out), (90, 90));
            }
            tight.drain().await;
            let stats = tight.stats();
            assert!(stats.preemptions > 0, "{stats:?}");
            assert_eq!((stats.pages_used, stats.tokens_out), (0, 6 * 90));
        }
    }
}

#[tokio::test]
async fn what_comes_too_late_or_too_often_is_refused_at_once() {
    let engine = engine(EngineOptions::default().with_max_tenant_queued(0));
    let error = engine.clone().call(long(1).with_deadline(Instant::now())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.to_string(), "the deadline has passed already");
    let error = engine.clone().call(long(1).with_tenant("greedy")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.is_retryable());
    assert_eq!(error.to_string(), "0 requests of `greedy` are queued already");
}

#[tokio::test]
async fn a_drained_engine_finishes_what_it_has_and_takes_no_more() {
    let mut engine = engine(EngineOptions::default().with_max_running(2));
    let answers: Vec<TokenStream> =
        (0..6).map(|n| start(&engine, Generate::new(vec![n]).with_max_tokens(40))).collect();
    let drained = engine.drain();
    let error = engine.ready().await.unwrap().call(long(1)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable(), "{error}");
    drained.await;
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting, stats.pages_used), (0, 0, 0));
    for answer in answers {
        assert!(answer.collect_all().await.is_ok());
    }
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle() {
    let model = Arc::new(testing::tiny(3).unwrap());
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let mut answer = start(&engine, long(1));
    drop(engine);
    // A stream keeps it at work.
    assert!(answer.next().await.unwrap().is_ok());
    drop(answer);
    let begun = Instant::now();
    while Arc::strong_count(&model) > 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the thread still runs");
        std::thread::yield_now();
    }
}
