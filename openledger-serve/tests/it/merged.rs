//! Merged copies by name: asked for, forgotten, within their bytes.

use openledger_core::ErrorKind;
use openledger_model::Network;
use openledger_serve::{AdapterOptions, Compose, Tier};

use crate::shelf::{Shelf, adapter, files, model};

#[tokio::test]
async fn a_name_is_answered_from_its_merged_copy_until_that_is_taken_away() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    assert_eq!(adapters.unmerge("law").unwrap_err().kind(), ErrorKind::NotFound);
    let pairs = adapters.pin("law").await.unwrap();
    let merged = adapters.merge("law").await.unwrap();
    assert_eq!(merged.id(), pairs.id());
    assert_ne!(merged.bytes(), pairs.bytes());
    assert_eq!(adapters.ready("law").unwrap().bytes(), merged.bytes());
    assert_eq!(adapters.lease("law").await.unwrap().bytes(), merged.bytes());
    adapters.merge("law").await.unwrap();

    let residency = adapters.residency();
    let law = &residency.adapters[0];
    assert_eq!((law.tier, law.merged_bytes), (Tier::Ready, merged.bytes() as u64));
    assert_eq!(law.ready_bytes, pairs.bytes() as u64, "to be unmerged at once");
    assert!(law.pinned);
    assert_eq!(law.leases, 2, "one of each");
    assert_eq!(residency.merged.used, merged.bytes() as u64);

    let again = adapters.unmerge("law").unwrap();
    assert_eq!(again.bytes(), pairs.bytes());
    assert_eq!(adapters.ready("law").unwrap().bytes(), pairs.bytes());
    drop(merged);
    assert_eq!(adapters.residency().merged.used, 0);
    assert!(adapters.residency().adapters[0].pinned);
    assert_eq!(shelf.fetches(), 1);
}

#[tokio::test]
async fn new_weights_under_the_name_are_not_the_merged_ones() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let merged = adapters.merge("law").await.unwrap();
    shelf.put("law", files(&model, 2));
    assert_eq!(adapters.lease("law").await.unwrap().id(), merged.id());
    let new = adapters.load("law").await.unwrap();
    assert_eq!(new.id(), files(&model, 2).id());
    drop(merged);
    assert_eq!(adapters.residency().merged.used, 0, "nobody names the old ones");

    // Another name for what is merged keeps it.
    adapters.merge("law").await.unwrap();
    adapters.insert("also", adapter(&model, 2)).unwrap();
    adapters.insert("law", adapter(&model, 3)).unwrap();
    assert!(adapters.residency().merged.used > 0);
    let also = adapters.lease("also").await.unwrap();
    assert_eq!(also.bytes() as u64, adapters.residency().merged.used);
    drop(also);
    adapters.unload("also").unwrap();
    assert_eq!(adapters.residency().merged.used, 0);
}

#[tokio::test]
async fn a_copy_is_of_what_the_name_names_whatever_its_source_has_now() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    shelf.put("tax", files(&model, 2));
    // Room for one as its files are.
    let one = files(&model, 1);
    let one = one.config.len() + one.weights.len();
    let options = AdapterOptions::default().with_memory_bytes(3 * one as u64 / 2);
    let adapters = shelf.serve(&model, options);
    let law = adapters.lease("law").await.unwrap();
    adapters.merge("law").await.unwrap();
    shelf.put("law", files(&model, 3));
    for seed in 4..10 {
        shelf.put(format!("a{seed}"), files(&model, seed));
        adapters.lease(&format!("a{seed}")).await.unwrap();
    }
    shelf.fail(Some(ErrorKind::Unavailable));
    assert!(adapters.merge("law").await.unwrap().is_merged(), "it is there");
    let pairs = adapters.unmerge("law").unwrap();
    assert_eq!((pairs.id(), pairs.is_merged()), (law.id(), false));
    shelf.fail(None);
    // Now the source would have to give what it has no more.
    let error = adapters.merge("law").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(adapters.lease("law").await.unwrap().id(), law.id());
}

#[tokio::test]
async fn what_is_pinned_is_kept_beside_its_base_and_a_copy_in_use_counts() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let merged = adapters.merge("law").await.unwrap();
    assert!(adapters.pin("law").await.unwrap().is_merged());
    let bytes = merged.bytes() as u64;
    assert!(!adapters.unmerge("law").unwrap().is_merged());
    assert_eq!(adapters.residency().merged.used, bytes, "somebody uses it");
    drop(merged);
    assert_eq!(adapters.residency().merged.used, 0, "the pin does not");
    let law = &adapters.residency().adapters[0];
    assert_eq!((law.pinned, law.leases, law.merged_bytes), (true, 0, 0));
}

#[tokio::test]
async fn a_composition_may_be_merged() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    shelf.put("polite", files(&model, 2));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let both = Compose::sum([("law", 1.0), ("polite", 0.5)]);
    let composed = adapters.assign("both", both.clone()).await.unwrap();
    let merged = adapters.merge("both").await.unwrap();
    assert_eq!(merged.id(), composed.id());
    assert_eq!(adapters.compose(&both).await.unwrap().bytes(), merged.bytes());
}

#[tokio::test]
async fn a_copy_without_room_is_refused_and_the_adapter_still_answers() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    shelf.put("tax", files(&model, 2));
    let bytes = {
        let adapters = shelf.serve(&model, AdapterOptions::default());
        adapters.merge("law").await.unwrap().bytes() as u64
    };
    let none = shelf.serve(&model, AdapterOptions::default().with_merged_bytes(7));
    let error = none.merge("law").await.unwrap_err();
    assert!(error.to_string().contains("0 of 7 are taken"), "{error}");
    let options = AdapterOptions::default().with_merged_bytes(bytes + bytes / 2);
    let adapters = shelf.serve(&model, options);
    adapters.merge("law").await.unwrap();
    let error = adapters.merge("tax").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Limit, false));
    assert!(error.to_string().contains("merged_bytes"), "{error}");
    let tax = adapters.lease("tax").await.unwrap();
    assert_ne!(tax.bytes() as u64, bytes);
    adapters.unmerge("law").unwrap();
    adapters.merge("tax").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_merged_goes_on_as_it_is() {
    let model = std::sync::Arc::new(
        openledger_model::testing::tiny(1).unwrap().map_network(Network::in_q8_0),
    );
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    let adapters = shelf.serve(&model, AdapterOptions::default());
    assert_eq!(adapters.merge("law").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(adapters.merge("low").await.unwrap_err().kind(), ErrorKind::NotFound);
    adapters.lease("law").await.unwrap();
}
