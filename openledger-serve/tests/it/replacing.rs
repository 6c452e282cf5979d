//! Names that are given, moved, loaded again.

use futures::future::{join, poll_immediate};
use openledger_core::ErrorKind;
use openledger_model::Adapter;
use openledger_serve::{AdapterOptions, Adapters, Tier};

use crate::shelf::{Shelf, adapter, files, model};

#[tokio::test]
async fn new_weights_under_an_old_name_are_known_after_a_load_and_never_mixed() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let old = adapters.lease("law").await.unwrap();
    shelf.put("law", files(&model, 2));
    assert_eq!(adapters.lease("law").await.unwrap().id(), old.id());
    let new = adapters.load("law").await.unwrap();
    assert_eq!(new.id(), files(&model, 2).id());
    assert_eq!(adapters.lease("law").await.unwrap().id(), new.id());
    let residency = adapters.residency();
    let retired = residency.adapters.iter().find(|found| found.id == old.id()).unwrap();
    assert_eq!((retired.aliases.len(), retired.leases, retired.tier), (0, 1, Tier::Ready));
}

#[tokio::test]
async fn a_load_does_not_wait_for_what_was_asked_before_and_is_not_undone_by_it() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let release = shelf.hold("law");
    let mut before = Box::pin(adapters.lease("law"));
    assert!(poll_immediate(&mut before).await.is_none());
    shelf.put("law", files(&model, 2));
    shelf.hold_no_more("law");
    let new = adapters.load("law").await.unwrap();
    assert_eq!(new.id(), files(&model, 2).id());
    assert_eq!(shelf.under_way(), 1, "the first is still on its way");
    drop(release);
    assert_eq!(before.await.unwrap().id(), files(&model, 1).id(), "it asked before");
    assert_eq!(adapters.lease("law").await.unwrap().id(), new.id(), "the later one stays");
}

#[tokio::test]
async fn a_name_is_moved_only_from_what_it_is_said_to_name() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("v1", files(&model, 1));
    shelf.put("v2", files(&model, 2));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let first = adapters.replace("prod", None, "v1").await.unwrap();
    let error = adapters.replace("prod", None, "v2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let wrong = files(&model, 2).id();
    let error = adapters.replace("prod", Some(wrong), "v2").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&wrong.to_string()) && text.contains(&first.id().to_string()), "{text}");
    assert_eq!(adapters.lease("prod").await.unwrap().id(), first.id());
    let second = adapters.replace("prod", Some(first.id()), "v2").await.unwrap();
    assert_eq!(adapters.lease("prod").await.unwrap().id(), second.id());

    // Of two who saw the same, one wins.
    let third = adapter(&model, 3);
    let fourth = adapter(&model, 4);
    let both = join(
        adapters.replace("prod", Some(second.id()), third),
        adapters.replace("prod", Some(second.id()), fourth),
    )
    .await;
    assert!(both.0.is_ok() != both.1.is_ok());
}

#[tokio::test]
async fn a_pin_follows_its_name() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let old = adapters.pin("law").await.unwrap().id();
    shelf.put("law", files(&model, 2));
    let new = adapters.load("law").await.unwrap().id();
    let pinned = |id| {
        let adapters = adapters.residency().adapters;
        adapters.into_iter().any(|found| found.id == id && found.pinned)
    };
    assert!(pinned(new) && !pinned(old));
    let third = adapters.insert("law", adapter(&model, 3)).unwrap().id();
    assert!(pinned(third) && !pinned(new));
    adapters.unload("law").unwrap();
    assert!(!pinned(third));
    assert_eq!(adapters.unpin("law").unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_the_application_gave_comes_back_without_a_source() {
    let model = model();
    let room = crate::shelf::ready_bytes(&model);
    let options = AdapterOptions::default().with_ready_bytes(room);
    let adapters = Adapters::with_options(model.clone(), options);
    for seed in 0..20 {
        adapters.insert(&format!("a{seed}"), adapter(&model, seed)).unwrap();
    }
    for seed in 0..20 {
        let lease = adapters.lease(&format!("a{seed}")).await.unwrap();
        assert_eq!(lease.id(), files(&model, seed).id());
    }
    let residency = adapters.residency();
    assert_eq!((residency.ready.used, residency.ready.max), (room, room));
    assert_eq!(residency.adapters.len(), 20);
    adapters.unload("a3").unwrap();
    assert_eq!(adapters.residency().adapters.len(), 19, "nothing of it stays");
}

#[tokio::test]
async fn what_is_held_for_aliases_is_within_memory() {
    let model = model();
    let one = Adapter::load(model.network(), &files(&model, 1)).unwrap();
    let bytes = 4 * one.lora().elements() as u64;
    let options = AdapterOptions::default().with_memory_bytes(2 * bytes);
    let adapters = Adapters::with_options(model.clone(), options);
    adapters.insert("a", adapter(&model, 1)).unwrap();
    adapters.insert("b", adapter(&model, 2)).unwrap();
    let error = adapters.insert("c", adapter(&model, 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(adapters.lease("c").await.is_err());
    adapters.insert("b", adapter(&model, 2)).unwrap();
    adapters.unload("a").unwrap();
    adapters.insert("c", adapter(&model, 3)).unwrap();
}
