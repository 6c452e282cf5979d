//! Tiers: what is kept, shared, dropped, bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::{join, join_all, poll_immediate};
use openledger_core::ErrorKind;
use openledger_model::Model;
use openledger_serve::{AdapterOptions, AdapterPrecision, FileLimits, Tier};

use crate::shelf::{Shelf, config, files, files_like, model, ready_bytes};

fn shelf(model: &Model, names: u64) -> Shelf {
    let shelf = Shelf::default();
    (0..names).for_each(|n| shelf.put(format!("a{n}"), files(model, n)));
    shelf
}

/// Room for so many of the shelf's adapters.
fn room_for(model: &Model, ready: u64, memory: u64) -> AdapterOptions {
    let file = files(model, 1);
    let file = (file.config.len() + file.weights.len()) as u64;
    AdapterOptions::default()
        .with_ready_bytes(ready * ready_bytes(model))
        .with_memory_bytes(memory * (file + 16))
}

#[tokio::test]
async fn many_who_ask_for_one_share_a_load() {
    let model = model();
    let shelf = shelf(&model, 1);
    let release = shelf.hold("a0");
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let asked = async {
        let leases = join_all((0..50).map(|_| adapters.lease("a0"))).await;
        leases.into_iter().map(|lease| lease.unwrap().id()).collect::<Vec<_>>()
    };
    let (ids, ()) = join(asked, async {
        while shelf.under_way() == 0 {
            tokio::task::yield_now().await;
        }
        drop(release);
    })
    .await;
    assert!(ids.iter().all(|id| *id == files(&model, 0).id()));
    assert_eq!(shelf.fetches(), 1);
    let counts = adapters.counts();
    assert_eq!((counts.fetches, counts.preparations, counts.misses), (1, 1, 50));
    adapters.lease("a0").await.unwrap();
    assert_eq!((adapters.counts().hits, shelf.fetches()), (1, 1));
}

#[tokio::test]
async fn a_load_ends_when_nobody_waits_and_another_begins_anew() {
    let model = model();
    let shelf = shelf(&model, 1);
    let release = shelf.hold("a0");
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let (mut first, mut second) = (Box::pin(adapters.lease("a0")), Box::pin(adapters.lease("a0")));
    assert!(poll_immediate(&mut first).await.is_none());
    assert!(poll_immediate(&mut second).await.is_none());
    drop(first);
    assert_eq!(shelf.under_way(), 1, "the other still waits");
    drop(second);
    assert_eq!(shelf.under_way(), 0);
    drop(release);
    adapters.lease("a0").await.unwrap();
    assert_eq!(shelf.fetches(), 2);
}

#[tokio::test]
async fn a_slow_source_keeps_only_its_own_waiting_and_loads_are_bounded() {
    let model = model();
    let shelf = shelf(&model, 9);
    let options = AdapterOptions::default().with_parallel(3, 1, 2);
    let adapters = shelf.serve(&model, options);
    let _slow = [shelf.hold("a0"), shelf.hold("a1")];
    let mut slow = ["a0", "a1"].map(|name| Box::pin(adapters.lease(name)));
    for slow in &mut slow {
        assert!(poll_immediate(slow).await.is_none());
    }
    for n in 2..9 {
        adapters.lease(&format!("a{n}")).await.unwrap();
    }
    assert_eq!(shelf.most_under_way(), 3);
    let _third = shelf.hold("a8");
    adapters.unload("a8").unwrap();
    let mut waiting = ["a8", "b1", "b2"].map(|name| Box::pin(adapters.lease(name)));
    for waiting in &mut waiting {
        assert!(poll_immediate(waiting).await.is_none());
    }
    let error = adapters.lease("b3").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.is_retryable(), "{error}");
    assert_eq!(adapters.counts().refusals, 1);
    assert_eq!(shelf.most_under_way(), 3);
}

#[tokio::test]
async fn what_makes_room_comes_back_from_memory_or_from_its_source() {
    let model = model();
    let shelf = shelf(&model, 4);
    let adapters = shelf.serve(&model, room_for(&model, 1, 2));
    for n in [0, 1, 0, 1, 0] {
        adapters.lease(&format!("a{n}")).await.unwrap();
    }
    assert_eq!(shelf.fetches(), 2, "both stay in memory");
    let counts = adapters.counts();
    assert_eq!((counts.preparations, counts.ready_evictions, counts.memory_evictions), (5, 4, 0));
    adapters.lease("a2").await.unwrap();
    adapters.lease("a1").await.unwrap();
    assert_eq!((shelf.fetches(), adapters.counts().memory_evictions), (4, 2));
    let residency = adapters.residency();
    assert!(residency.ready.used <= residency.ready.max);
    assert!(residency.memory.used <= residency.memory.max);
    assert_eq!(residency.adapters[0].aliases, ["a1"]);
    assert_eq!(residency.adapters[0].tier, Tier::Ready);
    assert_eq!(residency.adapters[0].ranks, [2]);
    assert_eq!(residency.adapters[1].tier, Tier::Memory);
}

#[tokio::test]
async fn leased_and_pinned_adapters_stay_and_a_full_tier_says_so() {
    let model = model();
    let shelf = shelf(&model, 4);
    let adapters = shelf.serve(&model, room_for(&model, 2, 9));
    let leased = adapters.lease("a0").await.unwrap();
    adapters.pin("a1").await.unwrap();
    let error = adapters.lease("a2").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.is_retryable(), "{error}");
    assert_eq!(adapters.counts().refusals, 1);
    let of = |name: &str| {
        let adapters = adapters.residency().adapters;
        adapters.into_iter().find(|found| found.aliases == [name]).unwrap()
    };
    assert_eq!((of("a0").leases, of("a0").pinned), (1, false));
    assert_eq!((of("a1").leases, of("a1").pinned), (0, true));
    drop(leased);
    adapters.lease("a2").await.unwrap();
    assert!(adapters.ready("a0").is_none() && adapters.ready("a1").is_some());
    assert_eq!(shelf.fetches(), 3, "what was refused for want of room was not fetched again");
    adapters.unpin("a1").unwrap();
    adapters.lease("a0").await.unwrap();
    adapters.lease("a2").await.unwrap();
    assert!(adapters.ready("a1").is_none());
}

#[tokio::test]
async fn failures_are_told_again_for_a_while_and_not_for_ever() {
    let model = model();
    let shelf = Shelf::default();
    let (start, seconds) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let clock = Arc::clone(&seconds);
    let options = AdapterOptions::default()
        .with_failures(Duration::from_secs(10), Duration::from_secs(15))
        .with_clock(move || start + Duration::from_secs(clock.load(Ordering::Relaxed)));
    let adapters = shelf.serve(&model, options);
    for _ in 0..5 {
        assert_eq!(adapters.lease("a0").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(shelf.fetches(), 1);
    seconds.store(10, Ordering::Relaxed);
    shelf.fail(Some(ErrorKind::Unavailable));
    for _ in 0..5 {
        assert_eq!(adapters.lease("a0").await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!((shelf.fetches(), adapters.counts().failures), (2, 2));
    shelf.fail(None);
    shelf.put("a0", files(&model, 0));
    seconds.store(24, Ordering::Relaxed);
    assert!(adapters.lease("a0").await.is_err(), "left alone for 15 seconds");
    seconds.store(25, Ordering::Relaxed);
    adapters.lease("a0").await.unwrap();
    seconds.store(125, Ordering::Relaxed);
    assert_eq!(adapters.residency().adapters[0].idle, Some(Duration::from_secs(100)));
}

#[tokio::test]
async fn limits_hold_for_each_adapter() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("small", files(&model, 1));
    let wide = config().with_rank_pattern(r"layers\.1\..*", 9);
    shelf.put("wide", files_like(&model, &wide, 1));
    let bytes = files(&model, 1).weights.len() as u64;
    let small = FileLimits::default().with_weights(bytes);
    let options = AdapterOptions::default().with_max_rank(8);
    let refused = [
        (options.clone(), "rank 9"),
        (options.clone().with_max_rank(99).with_files(small), "adapter_model.safetensors"),
        (options.clone().with_max_rank(99).with_max_bytes(ready_bytes(&model)), "bytes of memory"),
    ];
    for (options, says) in refused {
        let adapters = shelf.serve(&model, options);
        adapters.lease("small").await.unwrap();
        let error = adapters.lease("wide").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(!error.is_retryable() && error.to_string().contains(says), "{error}");
    }
}

/// Names as they are asked for: the second half as often as the first, the third a third as often, by
/// Zipf's law.
fn zipf(names: usize, turns: usize) -> impl Iterator<Item = usize> {
    let weights: Vec<f64> = (1..=names).map(|rank| 1.0 / rank as f64).collect();
    let sum: f64 = weights.iter().sum();
    let mut state = 7u64;
    (0..turns).map(move |_| {
        // A congruential generator (Knuth) is random enough for traffic.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut left = (state >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let falls = |weight: &f64| {
            left -= weight;
            left < 0.0
        };
        weights.iter().position(falls).unwrap_or(names - 1)
    })
}

#[tokio::test]
async fn ten_thousand_names_and_room_for_sixty_four() {
    let model = model();
    let shelf = Shelf::default();
    // Contents differ in their configuration, which is in the hash: making matrices takes longer.
    let some = files(&model, 1);
    for n in 0..10_000 {
        let mut files = some.clone();
        files.config.extend(format!("{:1$}", "", n).bytes());
        shelf.put(format!("tenant-{}/a{n}", n % 100), files);
    }
    let options = room_for(&model, 64, 0).with_memory_bytes(64 * 20_000);
    let adapters = shelf.serve(&model, options);
    let mut asked = std::collections::BTreeSet::new();
    let traffic: Vec<usize> = zipf(2_000, 4_000).collect();
    for turn in traffic.chunks(32) {
        let names: Vec<String> = turn.iter().map(|n| format!("tenant-{}/a{n}", n % 100)).collect();
        let leases = join_all(names.iter().map(|name| adapters.lease(name))).await;
        let residency = adapters.residency();
        for budget in [residency.ready, residency.memory] {
            assert!(budget.used <= budget.max, "{budget:?}");
        }
        let ready: u64 = residency.adapters.iter().map(|found| found.ready_bytes).sum();
        assert_eq!(ready, residency.ready.used);
        asked.extend(leases.into_iter().map(|lease| lease.unwrap().id()));
    }
    let counts = adapters.counts();
    assert_eq!(counts.hits + counts.misses, 4_000);
    assert_eq!((counts.failures, counts.refusals), (0, 0));
    assert!(counts.hits > 1_000 && counts.ready_evictions > 500, "{counts:?}");
    assert!(asked.len() > 500, "{}", asked.len());
    let residency = adapters.residency().adapters;
    assert!(residency.iter().all(|found| found.tier > Tier::Source && found.leases == 0));
}

#[tokio::test]
async fn what_is_ready_may_be_rounded_to_take_less() {
    let model = model();
    let shelf = Shelf::default();
    let wide = files_like(&model, &config().with_rank(16, 1.0), 1);
    shelf.put("law", wide.clone());
    let used = async |precision| {
        let options = AdapterOptions::default().with_precision(precision);
        let adapters = shelf.serve(&model, options);
        assert_eq!(adapters.lease("law").await.unwrap().id(), wide.id());
        adapters.residency().ready.used
    };
    let (whole, rounded) = (used(AdapterPrecision::F32).await, used(AdapterPrecision::Bf16).await);
    assert_eq!(rounded * 2, whole);
}
