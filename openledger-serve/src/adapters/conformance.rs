//! The contract of sources, executable: every source runs [`check`].
//!
//! Put [`shelf`] where the source looks, and hand the source over.

use std::sync::Arc;

use openledger_core::ErrorKind;
use openledger_model::{Adapter, AdapterFiles, LoraConfig, Model, testing};

use super::{
    AdapterName, AdapterOptions, AdapterSource, Adapters, FileLimits, ListAdapters, Sources,
};

/// The adapters that must be there.
///
/// # Panics
/// Never.
pub fn shelf() -> Vec<(AdapterName, AdapterFiles)> {
    let model = model();
    let files = |seed, rank| {
        let config = LoraConfig::default().with_rank(rank, 4.0).with_targets(["q_proj"]);
        let lora = testing::lora(&model, &config, seed).expect("the model has queries");
        lora.to_files(model.network(), &config)
    };
    // Of another rank than it says.
    let misfit = AdapterFiles::new(files(4, 2).config, files(4, 3).weights);
    let mut cut = files(5, 2);
    cut.weights.truncate(cut.weights.len() - 1);
    let shelf = [
        ("law", files(1, 2)),
        ("team/health", files(2, 2)),
        ("team/law", files(3, 2)),
        ("team/misfit", misfit),
        ("team/cut", cut),
    ];
    shelf.map(|(name, files)| (self::name(name), files)).to_vec()
}

/// Checks `source` against the contract of [`AdapterSource`].
///
/// # Panics
/// On the first line of the contract that does not hold.
pub async fn check(source: impl AdapterSource + 'static) {
    let source: Arc<dyn AdapterSource> = Arc::new(source);
    files_come_back_whole(&source).await;
    unknown_names_are_not_found(&source).await;
    files_over_their_limit_are_refused(&source).await;
    through_the_handle(&source).await;
}

/// Checks that `source` lists the adapters that are there and no others.
///
/// # Panics
/// If it does not.
pub async fn check_list(source: &impl ListAdapters) {
    let mut names: Vec<AdapterName> = shelf().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(source.list().await.expect("listed"), names);
}

async fn files_come_back_whole(source: &dyn AdapterSource) {
    for (name, files) in shelf() {
        let exact = FileLimits { config: files.config.len() as u64, ..FileLimits::default() };
        let exact = exact.with_weights(files.weights.len() as u64);
        let found = source.fetch(&name, exact).await.expect("what is on the shelf is found");
        assert_eq!(found.config, files.config, "`{name}` has the configuration it was given");
        assert_eq!(found.weights, files.weights, "`{name}` has the weights it was given");
    }
}

async fn unknown_names_are_not_found(source: &dyn AdapterSource) {
    let long = "a".repeat(256);
    for unknown in ["nobody", "team/nobody", "law/more", "team", "laws", "la", &long] {
        let unknown = name(unknown);
        let error = source.fetch(&unknown, FileLimits::default()).await.expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{unknown}: {error:?}");
        assert!(!error.is_retryable(), "{unknown}: {error:?}");
    }
}

async fn files_over_their_limit_are_refused(source: &dyn AdapterSource) {
    for (name, files) in shelf() {
        let weights = FileLimits::default().with_weights(files.weights.len() as u64 - 1);
        let config = FileLimits { config: files.config.len() as u64 - 1, ..FileLimits::default() };
        for (limits, file) in [(weights, AdapterFiles::WEIGHTS), (config, AdapterFiles::CONFIG)] {
            let error = source.fetch(&name, limits).await.expect_err("too large");
            assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
            assert!(error.report().contains(file), "the file is named: {error:?}");
            assert!(!error.is_retryable(), "{error:?}");
        }
    }
}

async fn through_the_handle(source: &Arc<dyn AdapterSource>) {
    let model = Arc::new(model());
    let sources = Sources::new().with_default(Arc::clone(source)).with("named", Arc::clone(source));
    let options = AdapterOptions::default().with_sources(sources);
    let adapters = Adapters::with_options(Arc::clone(&model), options);
    for (name, files) in shelf() {
        let fits = Adapter::load(model.network(), &files);
        match (adapters.lease(name.as_str()).await, fits) {
            (Ok(lease), Ok(adapter)) => {
                assert_eq!(lease.id(), adapter.id());
                let same = adapters.lease(&format!("named:{name}")).await.expect("it fits");
                assert_eq!(same.id(), lease.id());
            }
            (Err(error), Err(reason)) => {
                assert_eq!(error.report(), reason.report(), "what does not fit is named");
                let text = error.report();
                assert!(text.contains("lora_") || error.kind() == ErrorKind::Corrupt, "{text}");
            }
            (found, expected) => panic!("`{name}` gave {found:?}, not {expected:?}"),
        }
    }
    let hostile = [
        "",
        "/",
        ".",
        "..",
        "../law",
        "law/../law",
        "/law",
        "law/",
        "team//law",
        "./law",
        "law\0",
        "la w",
        "law\\..\\law",
        "%2e%2e/law",
        "law?x",
        "law#x",
        "named:../law",
        "named:",
        ":law",
        "law\n",
    ];
    for name in hostile {
        let error = adapters.lease(name).await.expect_err("hostile");
        let refused = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound);
        assert!(refused, "{name:?}: {error:?}");
    }
    let error = adapters.lease("other:law").await.expect_err("a source that is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn model() -> Model {
    testing::tiny(1).expect("a tiny model needs nothing")
}

fn name(text: &str) -> AdapterName {
    text.parse().expect("a plain name")
}
