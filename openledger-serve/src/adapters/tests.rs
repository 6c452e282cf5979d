//! What happens between steps, with the gates held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{FutureExt, executor::block_on, future::BoxFuture};
use openledger_core::{AdapterId, ErrorKind, Result};
use openledger_model::{Adapter, AdapterFiles, Combine, Election, LoraConfig, Model, testing};

use super::{
    AdapterName, AdapterOptions, AdapterSource, Adapters, Compose, FileLimits, Sources, Tier,
    gate::{Gate, Permit},
};
use crate::Lease;

/// Has one adapter for each name that is a number, `dora` and `misfit`.
#[derive(Clone, Debug)]
struct Numbers {
    model: Arc<Model>,
    fetches: Arc<AtomicUsize>,
    panics: Arc<AtomicBool>,
}

#[async_trait]
impl AdapterSource for Numbers {
    async fn fetch(&self, name: &AdapterName, _: FileLimits) -> Result<AdapterFiles> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.swap(false, Ordering::Relaxed), "a bug in a source");
        Ok(match name.as_str() {
            "dora" => files(&self.model, &config().with_dora(true), 1),
            "misfit" => {
                let wide = files(&self.model, &config().with_rank(3, 1.0), 1);
                AdapterFiles::new(wide.config, files(&self.model, &config(), 1).weights)
            }
            number => files(&self.model, &config(), number.parse().unwrap()),
        })
    }
}

fn config() -> LoraConfig {
    LoraConfig::default().with_rank(2, 6.0).with_targets(["q_proj"])
}

fn files(model: &Model, config: &LoraConfig, seed: u64) -> AdapterFiles {
    testing::lora(model, config, seed).unwrap().to_files(model.network(), config)
}

impl Numbers {
    fn new() -> Self {
        let model = Arc::new(testing::tiny(1).unwrap());
        Self { model, fetches: Arc::default(), panics: Arc::default() }
    }

    fn serve(&self, options: AdapterOptions) -> Adapters {
        let sources = Sources::new().with_default(self.clone());
        Adapters::with_options(Arc::clone(&self.model), options.with_sources(sources))
    }

    fn adapter(&self, seed: u64) -> Adapter {
        Adapter::load(self.model.network(), &files(&self.model, &config(), seed)).unwrap()
    }

    fn id(&self, seed: u64) -> AdapterId {
        files(&self.model, &config(), seed).id()
    }

    fn ready_bytes(&self) -> u64 {
        Lease::new(self.model.network(), &self.adapter(1)).bytes() as u64
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

/// Takes all that a gate has.
fn close(gate: &Gate, places: usize) -> Vec<Permit> {
    (0..places).map(|_| gate.pass().now_or_never().unwrap().unwrap()).collect()
}

/// A lease that somebody waits for.
fn asked(adapters: &Adapters, name: &'static str) -> BoxFuture<'static, Result<Lease>> {
    let adapters = adapters.clone();
    async move { adapters.lease(name).await }.boxed()
}

/// Polls until `so` holds.
fn drive<T>(work: &mut BoxFuture<'_, T>, so: impl Fn() -> bool) {
    while !so() {
        assert!(work.as_mut().now_or_never().is_none(), "it is not to end before");
        std::thread::yield_now();
    }
}

#[test]
fn what_waits_to_be_made_ready_is_not_fetched_again() {
    let numbers = Numbers::new();
    let adapters = numbers.serve(AdapterOptions::default());
    let closed = close(&adapters.0.preparing, 2);
    let mut first = asked(&adapters, "1");
    drive(&mut first, || adapters.0.lock().memory.used() > 0);
    // It is here, and nothing is called so yet.
    assert!(adapters.0.lock().aliases.is_empty());
    let mut second = asked(&adapters, "1");
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    let mut third = asked(&adapters, "1");
    assert!(third.as_mut().now_or_never().is_none());
    drop(closed);
    assert_eq!(block_on(second).unwrap().id(), numbers.id(1));
    assert_eq!(block_on(third).unwrap().id(), numbers.id(1));
    assert_eq!(numbers.fetches(), 1);
}

#[test]
fn a_name_taken_away_while_it_is_loaded_does_not_come_back() {
    let numbers = Numbers::new();
    let room = AdapterOptions::default().with_ready_bytes(numbers.ready_bytes());
    let adapters = numbers.serve(room);
    for given in [true, false] {
        match given {
            true => drop(block_on(adapters.assign("prod", "1")).unwrap()),
            false => drop(adapters.insert("prod", numbers.adapter(1)).unwrap()),
        }
        drop(block_on(adapters.lease("2")).unwrap());
        assert!(adapters.ready("prod").is_none());
        let closed = close(&adapters.0.preparing, 2);
        let mut waits = asked(&adapters, "prod");
        assert!(waits.as_mut().now_or_never().is_none());
        let mut loads = adapters.load("prod").boxed();
        assert!(loads.as_mut().now_or_never().is_none());
        adapters.unload("prod").unwrap();
        drop(closed);
        assert_eq!(block_on(waits).unwrap().id(), numbers.id(1), "who waited gets what it named");
        assert_eq!(block_on(loads).unwrap_err().kind(), ErrorKind::Conflict);
        assert!(adapters.ready("prod").is_none());
        assert!(!adapters.0.lock().aliases.contains_key("prod"));
        adapters.unload("2").unwrap();
    }
}

#[test]
fn a_name_given_while_its_origin_is_read_keeps_what_it_was_given() {
    let numbers = Numbers::new();
    let adapters = numbers.serve(AdapterOptions::default());
    block_on(adapters.assign("prod", "1")).unwrap();
    // A lease that has read where `prod` comes from and gets no further for now.
    let (origin, then) = adapters.0.origin(&mut adapters.0.lock(), "prod").unwrap();
    let given = block_on(adapters.assign("prod", "2")).unwrap();
    let found = block_on(adapters.0.realise(&origin, then, true)).unwrap();
    let old = block_on(adapters.0.prepare_named("prod", found)).unwrap();
    assert_eq!(old.id(), numbers.id(1));
    assert_eq!(adapters.ready("prod").unwrap().id(), given.id());
}

#[test]
fn a_pinned_name_taken_away_leaves_nothing() {
    let numbers = Numbers::new();
    let adapters = numbers.serve(AdapterOptions::default());
    drop(block_on(adapters.pin("1")).unwrap());
    adapters.unload("1").unwrap();
    assert!(adapters.residency().adapters.is_empty());
}

#[test]
fn what_has_no_room_in_memory_while_it_waits_is_bounded() {
    let numbers = Numbers::new();
    let options = AdapterOptions::default().with_memory_bytes(0).with_parallel(2, 1, 99);
    let adapters = numbers.serve(options);
    let closed = close(&adapters.0.preparing, 1);
    let (mut first, mut second) = (asked(&adapters, "1"), asked(&adapters, "2"));
    drive(&mut first, || adapters.0.lock().loose.len() == 1);
    drive(&mut second, || adapters.0.lock().loose.len() == 2);
    let error = block_on(asked(&adapters, "3")).unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.is_retryable(), "{error:?}");
    assert_eq!((numbers.fetches(), adapters.counts().refusals), (2, 1));
    drop(closed);
    block_on(first).unwrap();
    block_on(second).unwrap();
    block_on(asked(&adapters, "3")).unwrap();
}

#[test]
fn what_was_made_ready_for_nothing_is_not_made_again_before_there_is_room() {
    let numbers = Numbers::new();
    let bytes = numbers.ready_bytes();
    // Room for one and a part of another.
    let adapters = numbers.serve(AdapterOptions::default().with_ready_bytes(bytes + bytes / 2));
    let leased = block_on(adapters.lease("1")).unwrap();
    for _ in 0..5 {
        assert!(block_on(adapters.lease("2")).unwrap_err().is_retryable());
    }
    assert_eq!((adapters.counts().preparations, adapters.counts().refusals), (2, 5));
    drop(leased);
    block_on(adapters.lease("2")).unwrap();
}

#[test]
fn one_that_goes_on_being_bad_is_left_alone_for_longer_each_time() {
    let numbers = Numbers::new();
    let (start, seconds) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let clock = Arc::clone(&seconds);
    let options = AdapterOptions::default()
        .with_failures(Duration::from_secs(1), Duration::from_secs(60))
        .with_clock(move || start + Duration::from_secs(clock.load(Ordering::Relaxed)));
    let adapters = numbers.serve(options);
    let mut fetches = Vec::new();
    for now in 0..8 {
        seconds.store(now, Ordering::Relaxed);
        assert!(block_on(adapters.lease("misfit")).is_err());
        fetches.push(numbers.fetches());
    }
    assert_eq!(fetches, [1, 2, 2, 3, 3, 3, 3, 4], "after 1, 2 and 4 seconds");
}

#[test]
fn a_composition_that_cannot_be_costs_its_parts_nothing() {
    let numbers = Numbers::new();
    let adapters = numbers.serve(AdapterOptions::default());
    let ties = |density| Combine::Ties { rank: 2, density, election: Election::Total };
    let none = Compose::new(ties(2.0), [("1", 1.0), ("2", 1.0)]);
    assert_eq!(block_on(adapters.compose(&none)).unwrap_err().kind(), ErrorKind::Invalid);
    let many = Compose::sum([("1", 1.0); 65]);
    assert_eq!(block_on(adapters.compose(&many)).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(numbers.fetches(), 0, "known without them");

    let mixed = Compose::sum([("1", 1.0), ("dora", 1.0)]);
    assert_eq!(block_on(adapters.compose(&mixed)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(block_on(adapters.lease("1")).unwrap().id(), numbers.id(1));
    assert_eq!(numbers.fetches(), 2, "the good part is still in memory");
    // One that is bad by itself is not kept.
    let bad = Compose::sum([("1", 1.0), ("misfit", 1.0)]);
    assert!(block_on(adapters.compose(&bad)).is_err());
    let resident = adapters.residency().adapters;
    assert!(resident.iter().all(|found| found.aliases != ["misfit"]), "{resident:?}");
}

#[test]
fn a_composition_that_takes_long_keeps_nobody_waiting_and_is_kept_though_nobody_waits() {
    let numbers = Numbers::new();
    let adapters = numbers.serve(AdapterOptions::default());
    block_on(adapters.lease("1")).unwrap();
    let ties = Combine::Ties { rank: 2, density: 0.5, election: Election::Total };
    let ties = Compose::new(ties, [("1", 1.0)]);
    let sum = Compose::sum([("1", 0.5)]);
    let closed = close(&adapters.0.preparing, 2);
    let made = block_on(adapters.compose(&ties)).unwrap().id();
    drop(closed);
    let composing = close(&adapters.0.composing, 1);
    block_on(adapters.compose(&sum)).unwrap();
    drop(composing);

    // Asked for and left as soon as it has begun.
    let again = numbers.serve(AdapterOptions::default());
    block_on(again.lease("1")).unwrap();
    let mut left = again.compose(&ties).boxed();
    let _ = left.as_mut().now_or_never();
    drop(left);
    drop(block_on(again.0.composing.pass()).unwrap());
    let kept = again.residency().adapters.into_iter().find(|found| found.id == made).unwrap();
    assert_eq!((kept.tier, again.counts().preparations), (Tier::Ready, 2));
    block_on(again.compose(&ties)).unwrap();
    assert_eq!(again.counts().preparations, 2);
}

#[test]
fn a_source_that_panics_is_an_error_of_those_who_wait_and_of_nobody_after() {
    let numbers = Numbers::new();
    let adapters = numbers.serve(AdapterOptions::default());
    numbers.panics.store(true, Ordering::Relaxed);
    let error = block_on(adapters.lease("1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    block_on(adapters.lease("1")).unwrap();
}
