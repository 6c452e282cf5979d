//! What goes wrong while adapters are loaded, and what goes on.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use openledger_core::ErrorKind;
use openledger_model::{AdapterFiles, Model};
use openledger_serve::{
    AdapterOptions, Adapters, Directory, Engine, EngineOptions, Generate, Lease, Only, Sources,
};
use tower::{Service, ServiceExt};

use crate::shelf::{Shelf, config, files, files_like, model};

fn serve(model: &Arc<Model>, folder: &Path) -> Adapters {
    let sources = Sources::new().with_default(Directory::open(folder).unwrap());
    Adapters::with_options(Arc::clone(model), AdapterOptions::default().with_sources(sources))
}

async fn answer(model: &Arc<Model>, lease: &Lease) -> Vec<u32> {
    let mut engine = Engine::start(Arc::clone(model), EngineOptions::default()).unwrap();
    let request = Generate::new(vec![1, 2, 3]).with_adapter(lease.clone()).with_max_tokens(8);
    engine.ready().await.unwrap().call(request).await.unwrap().collect_all().await.unwrap().tokens
}

#[tokio::test]
async fn a_load_that_fails_leaves_the_generation_before_in_its_place() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let law = folder.path().join("law");
    files(&model, 1).write(&law).unwrap();
    let adapters = serve(&model, folder.path());
    let lease = adapters.lease("law").await.unwrap();
    let before = answer(&model, &lease).await;

    let whole = files(&model, 2);
    let other = files_like(&model, &config().with_rank(3, 1.0), 2);
    let part = whole.weights[..whole.weights.len() / 2].to_vec();
    let bad = [
        (AdapterFiles::new(whole.config.clone(), part), ErrorKind::Corrupt),
        (AdapterFiles::new(whole.config.clone(), Vec::new()), ErrorKind::Corrupt),
        (AdapterFiles::new(b"{".to_vec(), whole.weights.clone()), ErrorKind::Corrupt),
        (AdapterFiles::new(whole.config.clone(), other.weights), ErrorKind::Invalid),
    ];
    for (bad, kind) in bad {
        bad.write(&law).unwrap();
        let error = adapters.load("law").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(adapters.lease("law").await.unwrap().id(), lease.id());
    }
    fs::remove_file(law.join(AdapterFiles::WEIGHTS)).unwrap();
    let error = adapters.load("law").await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotFound && error.to_string().contains(AdapterFiles::WEIGHTS),
        "{error}"
    );
    fs::remove_dir_all(&law).unwrap();
    assert_eq!(adapters.load("law").await.unwrap_err().kind(), ErrorKind::NotFound);
    let after = adapters.lease("law").await.unwrap();
    assert_eq!(answer(&model, &after).await, before);

    whole.write(&law).unwrap();
    assert_eq!(adapters.load("law").await.unwrap().id(), whole.id());
}

#[tokio::test]
async fn a_bad_adapter_is_never_served_in_part_and_a_mended_one_is_found() {
    let model = model();
    let shelf = Shelf::default();
    let (good, wide) = (files(&model, 1), files_like(&model, &config().with_rank(3, 1.0), 1));
    shelf.put("law", AdapterFiles::new(good.config.clone(), wide.weights));
    let now = std::time::Duration::ZERO;
    let adapters = shelf.serve(&model, AdapterOptions::default().with_failures(now, now));
    let error = adapters.lease("law").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("q_proj.lora_A.weight"), "{error}");
    assert_eq!(adapters.residency().ready.used, 0);
    shelf.put("law", good.clone());
    assert_eq!(adapters.lease("law").await.unwrap().id(), good.id());
}

#[tokio::test]
async fn a_source_that_is_away_does_not_take_away_what_is_here() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("law", files(&model, 1));
    shelf.put("other", files(&model, 2));
    let room = AdapterOptions::default().with_ready_bytes(crate::shelf::ready_bytes(&model));
    let adapters = shelf.serve(&model, room);
    let law = adapters.lease("law").await.unwrap().id();
    adapters.lease("other").await.unwrap();
    shelf.fail(Some(ErrorKind::Unavailable));
    shelf.take("law");
    assert_eq!(adapters.lease("law").await.unwrap().id(), law, "from memory");
    let error = adapters.load("law").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable());
    assert_eq!(adapters.lease("law").await.unwrap().id(), law);
}

#[tokio::test]
async fn what_is_not_allowed_is_not_even_looked_for() {
    let model = model();
    let shelf = Shelf::default();
    shelf.put("ours/law", files(&model, 1));
    shelf.put("theirs/law", files(&model, 2));
    let only = Only::new(shelf.clone(), |name| name.as_str().starts_with("ours/"));
    let options = AdapterOptions::default().with_sources(Sources::new().with_default(only));
    let adapters = Adapters::with_options(model, options);
    adapters.lease("ours/law").await.unwrap();
    for name in ["theirs/law", "nobody"] {
        assert_eq!(adapters.lease(name).await.unwrap_err().kind(), ErrorKind::Denied);
    }
    assert_eq!(shelf.fetches(), 1);
}

#[test]
fn files_replaced_while_they_are_read_are_never_mixed() {
    let model = model();
    let folder = tempfile::tempdir().unwrap();
    let law = folder.path().join("law");
    let generations =
        [1, 2].map(|seed| files_like(&model, &config().with_rank(seed as usize + 1, 1.0), seed));
    generations[0].write(&law).unwrap();
    let adapters = serve(&model, folder.path());
    // Whole folders take each other's place.
    let staged = [0, 1].map(|n| folder.path().join(format!("staged{n}")));
    let seen_all = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let generations = generations.clone();
        let seen_all = Arc::clone(&seen_all);
        move || {
            // Enough for whoever reads to see both, or to be wrong about something.
            for turn in 0..100_000 {
                if seen_all.load(Ordering::Relaxed) && turn >= 200 {
                    break;
                }
                generations[turn % 2].write(&staged[0]).unwrap();
                fs::rename(&law, &staged[1]).unwrap();
                fs::rename(&staged[0], &law).unwrap();
                fs::remove_dir_all(&staged[1]).unwrap();
            }
        }
    });
    let ids = generations.map(|files| files.id());
    let mut seen = BTreeSet::new();
    while !writer.is_finished() {
        match futures::executor::block_on(adapters.load("law")) {
            Ok(lease) => {
                assert!(ids.contains(&lease.id()));
                seen.insert(lease.id());
                seen_all.store(seen.len() == 2, Ordering::Relaxed);
            }
            // Between the two renames there is none.
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable), "{error:?}");
            }
        }
    }
    writer.join().unwrap();
    assert_eq!(seen.len(), 2, "each was read whole at least once");
    assert!(ids.contains(&futures::executor::block_on(adapters.load("law")).unwrap().id()));
}
