//! The worker without its thread: turns are made one by one, at times that the test says.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use openledger_core::{AdapterId, ErrorKind};
use openledger_kernels::PageLayout;
use openledger_model::{Adapter, LoraConfig, testing};
use tower::Service;

use super::*;
use crate::{Engine, Event, Generate, Lease, Sampling, TokenStream};

fn assemble(options: EngineOptions) -> (Engine, Worker) {
    Engine::assemble(Arc::new(testing::tiny(3).unwrap()), options).unwrap()
}

fn lease(model: &Model, seed: u64) -> Lease {
    let config = LoraConfig::default();
    let files = testing::lora(model, &config, seed).unwrap().to_files(model.network(), &config);
    Lease::new(model.network(), &Adapter::load(model.network(), &files).unwrap())
}

fn start(engine: &Engine, request: Generate) -> TokenStream {
    engine.clone().call(request).now_or_never().unwrap().unwrap()
}

fn long(first: u32) -> Generate {
    Generate::new(vec![first]).with_max_tokens(500).with_ignore_eos(true)
}

/// What came since the last time, and the error it ended with.
fn events(stream: &mut TokenStream) -> (Vec<Event>, Option<Error>) {
    let mut events = Vec::new();
    loop {
        match stream.next().now_or_never().flatten() {
            Some(Ok(event)) => events.push(event),
            Some(Err(error)) => return (events, Some(error)),
            None => return (events, None),
        }
    }
}

#[test]
fn a_deadline_ends_what_waits_and_what_runs() {
    let (engine, mut worker) = assemble(EngineOptions::default().with_max_running(1));
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let mut running = start(&engine, long(1).with_deadline(after(2000)));
    let mut waiting = start(&engine, long(2).with_deadline(after(1000)));
    assert!(worker.receive());
    worker.turn(begun);
    assert_eq!((events(&mut running).0.len(), events(&mut waiting).0.len()), (1, 0));

    worker.turn(after(1000));
    let error = events(&mut waiting).1.unwrap();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.to_string(), "the deadline passed while the request waited");
    assert_eq!(events(&mut running).0.len(), 1);

    worker.turn(after(2000));
    let error = events(&mut running).1.unwrap();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.to_string(), "the deadline passed after 2 tokens were written");
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting, stats.pages_used), (0, 0, 0));
}

#[test]
fn a_handle_knows_when_nobody_works_for_it() {
    let (mut engine, mut worker) = assemble(EngineOptions::default());
    let mut stream = start(&engine, long(1));
    assert!(worker.receive());
    worker.turn(Instant::now());
    assert!(engine.is_alive());
    drop(worker);
    assert!(!engine.is_alive());
    assert_eq!(events(&mut stream).0.len(), 1);
    let error = engine.call(long(1)).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_panic_in_a_step_ends_the_answers_it_was_made_for_and_no_others() {
    let (engine, mut worker) = assemble(EngineOptions::default().with_max_running(3));
    let mut streams = [1, 2, 3, 4].map(|token| start(&engine, long(token)));
    let turn = |worker: &mut Worker| {
        assert!(worker.receive());
        worker.turn(Instant::now());
    };
    turn(&mut worker);
    let mut written = streams.each_mut().map(|stream| events(stream).0);
    assert_eq!(written.each_ref().map(Vec::len), [1, 1, 1, 0]);

    // What no check lets through, in a step that the third has no part in.
    *worker.running[0].job.tokens.last_mut().unwrap() = u32::MAX;
    let tokens = worker.make_room(vec![1, 1, 0]);
    worker.step(&tokens);
    worker.tell();
    for stream in &mut streams[..2] {
        let (written, error) = events(stream);
        assert_eq!((written.len(), error.unwrap().kind()), (0, ErrorKind::Unavailable));
    }
    assert_eq!((engine.stats().running, engine.stats().waiting), (1, 1));
    (0..20).for_each(|_| turn(&mut worker));
    for (stream, written) in streams[2..].iter_mut().zip(&mut written[2..]) {
        let (more, error) = events(stream);
        assert!(error.is_none());
        written.extend(more);
    }
    // They, and whoever comes after, are told what they are told alone.
    for (token, written) in [(3, &written[2]), (4, &written[3])] {
        let (engine, mut worker) = assemble(EngineOptions::default());
        let mut stream = start(&engine, long(token));
        (0..written.len()).for_each(|_| turn(&mut worker));
        assert_eq!(events(&mut stream).0, *written);
    }
}

#[test]
fn a_panic_in_a_choice_is_that_of_one_answer() {
    let (engine, mut worker) = assemble(EngineOptions::default());
    let mut alone = start(&engine, long(2));
    (0..2).for_each(|_| {
        worker.receive();
        worker.turn(Instant::now());
    });
    let tokens = events(&mut alone).0.into_iter().map(|event| match event {
        Event::Token { token, .. } => token,
        other => panic!("{other:?}"),
    });
    let [first, second] = tokens.collect::<Vec<u32>>()[..] else { panic!("two tokens") };
    drop(alone);

    let mut streams = [1, 2].map(|token| start(&engine, long(token)));
    assert!(worker.receive());
    worker.turn(Instant::now());
    assert_eq!(streams.each_mut().map(|stream| events(stream).0.len()), [1, 1]);
    // Guesses that are right, of which the step finds no logits.
    let tokens = worker.make_room(vec![1, 1]);
    worker.running[1].draft = vec![first, second, second];
    worker.step(&tokens);
    let errors = streams.each_mut().map(|stream| events(stream).1.map(|error| error.kind()));
    assert_eq!(errors, [None, Some(ErrorKind::Unavailable)]);
    assert_eq!(worker.running.len(), 1);
}

#[test]
fn one_tenants_queue_does_not_hold_up_another() {
    let (engine, mut worker) = assemble(EngineOptions::default().with_max_running(1));
    let request = |tenant: &str| {
        let request = Generate::new(vec![1, 2, 3]).with_tenant(tenant);
        request.with_max_tokens(9).with_ignore_eos(true)
    };
    let mut flood: Vec<TokenStream> = (0..30).map(|_| start(&engine, request("flood"))).collect();
    let mut late = start(&engine, request("late"));
    let now = Instant::now();
    let mut written = 0;
    while written < 10 {
        assert!(worker.receive());
        worker.turn(now);
        written += events(&mut late).0.len();
    }
    let done = flood.iter_mut().map(events).filter(|(events, _)| !events.is_empty()).count();
    assert!(done <= 1, "{done} of those that came before went first");
}

/// The slowest first token comes after no more than twice the steps of the fastest.
#[test]
fn prompts_of_different_adapters_that_come_together_are_read_together() {
    let (engine, mut worker) = assemble(EngineOptions::default().with_max_step_tokens(64));
    let mut streams: Vec<TokenStream> = (0..8)
        .map(|n| {
            let request = Generate::new(vec![7; 150 + 10 * n]).with_max_tokens(2);
            start(&engine, request.with_adapter(lease(engine.model(), n as u64)))
        })
        .collect();
    let now = Instant::now();
    let mut first = [0; 8];
    for turn in 1.. {
        assert!(worker.receive());
        worker.turn(now);
        for (first, stream) in first.iter_mut().zip(&mut streams) {
            if *first == 0 && !events(stream).0.is_empty() {
                *first = turn;
            }
        }
        if first.iter().all(|&turn| turn > 0) {
            break;
        }
    }
    let (fastest, slowest) = (first.iter().min().unwrap(), first.iter().max().unwrap());
    assert!(*fastest > 10 && *slowest <= 2 * fastest, "{first:?}");
}

#[test]
fn nothing_at_a_time_is_one_at_a_time() {
    let mut options = EngineOptions::default();
    (options.max_running, options.max_step_tokens) = (0, 0);
    let (engine, mut worker) = assemble(options);
    let mut streams = [1, 2].map(|n| start(&engine, Generate::new(vec![n; 3]).with_max_tokens(1)));
    for _ in 0..6 {
        assert!(worker.receive());
        worker.turn(Instant::now());
    }
    for stream in &mut streams {
        assert!(!events(stream).0.is_empty());
    }
}

#[test]
fn a_long_prompt_does_not_stall_an_answer_under_way() {
    let (engine, mut worker) = assemble(EngineOptions::default().with_max_step_tokens(17));
    let mut answer = start(&engine, long(1));
    let turn = |worker: &mut Worker| {
        assert!(worker.receive());
        worker.turn(Instant::now());
    };
    turn(&mut worker);
    assert_eq!(events(&mut answer).0.len(), 1);
    let mut reads = start(&engine, Generate::new(vec![3; 400]).with_max_tokens(1));
    let mut turns = 0;
    while events(&mut reads).0.is_empty() {
        turn(&mut worker);
        assert_eq!(events(&mut answer).0.len(), 1);
        turns += 1;
    }
    assert_eq!(turns, 400 / 16);
}

#[test]
fn a_full_queue_says_so_and_frees_up() {
    let options = EngineOptions::default().with_max_running(1).with_max_queued(2);
    let (engine, mut worker) = assemble(options);
    let [first, second] = [1, 2].map(|n| start(&engine, long(n)));
    let error = engine.clone().call(long(3)).now_or_never().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.is_retryable(), "{error}");
    drop(first);
    assert!(worker.receive());
    worker.turn(Instant::now());
    drop((start(&engine, long(3)), second));
}

/// Both read the beginning of a page that is kept, so neither can take the page from the other.
#[test]
fn who_cannot_find_a_page_does_not_wait_for_it() {
    let (engine, mut worker) = assemble(EngineOptions::default());
    let mut turn = || {
        assert!(worker.receive());
        worker.turn(Instant::now());
    };
    let prompt: Vec<u32> = (0..40).collect();
    let request = |read: usize| Generate::new(prompt[..read].to_vec()).with_max_tokens(1);
    let mut first = start(&engine, request(9));
    turn();
    assert!(!events(&mut first).0.is_empty());
    let mut both = [(); 2].map(|()| start(&engine, request(40)));
    turn();
    assert!(both.iter_mut().all(|stream| !events(stream).0.is_empty()));
    assert_eq!(engine.stats().tokens_cached, 2 * 9);
}

#[test]
fn what_was_not_written_is_not_counted() {
    let (engine, mut worker) = assemble(EngineOptions::default());
    let sampling = (0..258).fold(Sampling::GREEDY, |s, token| s.with_bias(token, -100.0));
    let mut stream = start(&engine, long(1).with_sampling(sampling));
    assert!(worker.receive());
    worker.turn(Instant::now());
    let (events, error) = events(&mut stream);
    assert!(events.is_empty() && error.is_some());
    assert_eq!((engine.stats().tokens_in, engine.stats().tokens_out), (1, 0));
}

/// One waits for pages, and its beginning is kept: that goes as early as if nobody waited.
#[test]
fn who_waits_keeps_no_pages_from_others() {
    let heads = testing::tiny(3).unwrap();
    let heads = heads.network().decoder().heads();
    let page: usize = heads.map(|heads| 4 * PageLayout::new(&heads).len()).sum();
    let (engine, mut worker) = assemble(EngineOptions::default().with_cache_bytes(12 * page));
    let mut turn = || {
        assert!(worker.receive());
        worker.turn(Instant::now());
    };
    // Three pages each.
    let request = |token: u32, read: usize| Generate::new(vec![token; read]).with_max_tokens(1);
    for token in [1, 2] {
        let mut stream = start(&engine, request(token, 33));
        turn();
        assert!(!events(&mut stream).0.is_empty());
    }
    let mut runs = start(&engine, long(3).with_max_tokens(150));
    turn();
    let waits = start(&engine, request(1, 170));
    while events(&mut runs).0.iter().all(|event| matches!(event, Event::Token { .. })) {
        assert_eq!(engine.stats().running, 1);
        turn();
    }
    drop(waits);
    let mut again = start(&engine, request(2, 33));
    turn();
    let (events, _) = events(&mut again);
    assert!(
        matches!(events.last(), Some(Event::End(end)) if end.tokens_cached == 32),
        "{events:?}"
    );
}

#[test]
fn stats_name_what_runs_and_waits() {
    let (engine, mut worker) = assemble(EngineOptions::default().with_max_running(1));
    let leases = [1, 2].map(|seed| lease(engine.model(), seed));
    let ids: [AdapterId; 2] = leases.each_ref().map(Lease::id);
    let [first, second] = leases;
    let streams =
        [start(&engine, long(1).with_adapter(first)), start(&engine, long(1).with_adapter(second))];
    let now = Instant::now();
    assert!(worker.receive());
    worker.turn(now);
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting), (1, 1));
    assert_eq!((stats.running_adapters, stats.waiting_adapters), (vec![ids[0]], vec![ids[1]]));
    assert_eq!((stats.pages_used, stats.tokens_in, stats.tokens_out, stats.steps), (1, 1, 1, 1));
    drop(streams);
    worker.turn(now);
    let stats = engine.stats();
    assert!(stats.running_adapters.is_empty() && stats.waiting_adapters.is_empty());
    assert_eq!((stats.running, stats.waiting, stats.pages_used), (0, 0, 0));
}
