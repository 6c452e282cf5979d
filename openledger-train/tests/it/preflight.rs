//! What is known before a run.

use std::sync::Arc;

use openledger_core::ErrorKind;
use openledger_model::{Lora, Network, Tokens, testing};
use openledger_train::{
    AdamW, AdamW8bit, Lion, Memory, NativeRun, Optimiser, Resume, Run, TrainingConfig, preflight,
};

fn network(family: &str) -> Arc<Network> {
    Arc::new(testing::tiny_of(family, 1).unwrap().network().clone())
}

fn config() -> TrainingConfig {
    let mut config = TrainingConfig::default();
    config.data.max_tokens = 64;
    config.lora = config.lora.with_pattern("all-linear").with_rank(4, 8.0);
    config
}

#[test]
fn every_family_is_looked_at_and_the_report_says_what_was_found() {
    let rows =
        vec![Tokens::new(&[1, 2], &[3; 64]), Tokens::new(&[1], &[]), Tokens::new(&[5], &[6, 7])];
    for family in testing::FAMILIES {
        let found = preflight(&network(family), &rows, &config(), None).unwrap();
        let seen = found.rows;
        assert_eq!((seen.rows, seen.tokens, seen.labels), (3, 70, 66), "{family}");
        assert_eq!((seen.silent, seen.full, seen.longest), (1, 1, 66));
        assert!(found.matrices >= 28 && found.loss > 1.0, "{family}: {found:?}");
        let text = found.to_string();
        assert!(text.contains("66 of them learned") && text.contains("MB"), "{text}");
    }
}

#[test]
fn a_run_that_does_not_fit_is_refused_with_what_to_lower() {
    let (network, config) = (network("llama"), config());
    let rows = vec![Tokens::new(&[1, 2], &[3; 60]); 20];
    let needs = Memory::estimate(&network, &config, 62).unwrap();
    let refused = |limit: u64| {
        let error = preflight(&network, &rows, &config, Some(limit)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        error.to_string()
    };
    assert!(preflight(&network, &rows, &config, Some(needs.total())).is_ok());
    let advice = refused(needs.total() - 1);
    assert!(advice.contains("set `micro_batch` to 7"), "{advice}");
    let mut smaller = config.clone();
    smaller.micro_batch = Some(7);
    assert!(preflight(&network, &rows, &smaller, Some(needs.total() - 1)).is_ok(), "as advised");
    let rest = needs.total() - needs.activations;
    assert!(refused(rest + 1000).contains("max_tokens"));
    assert!(refused(needs.weights + 1).contains("lora.rank"));
    assert!(refused(1000).contains("smaller base model"));
}

#[test]
fn what_an_optimiser_and_an_adapter_take_is_what_is_estimated() {
    let (network, mut config) = (network("llama"), config());
    for optimiser in [
        Optimiser::from(AdamW::default()),
        AdamW8bit::default().with_min_size(0).into(),
        Lion::default().into(),
    ] {
        config.optimiser = optimiser;
        let start = Lora::init(&network, &config.lora, 1).unwrap();
        let files = start.to_files(&network, &config.lora);
        let begin = NativeRun::start(Arc::clone(&network), &config.lora, optimiser, &files.weights);
        let mut run = begin.unwrap();
        let before = run.state().unwrap().len();
        run.step(&[&Tokens::new(&[1], &[2, 3])], 1e-3, None).unwrap();
        let grown = (run.state().unwrap().len() - before) as f64;
        let memory = Memory::estimate(&network, &config, 8).unwrap();
        // What is stored has lengths and tags beside the numbers.
        let lengths = 32.0 * 28.0;
        assert!((grown - memory.optimiser as f64).abs() < lengths, "{grown} {memory:?}");
        assert_eq!(memory.adapter, 2 * 4 * start.elements() as u64);
    }
}

#[test]
fn rows_that_teach_nothing_are_refused() {
    let silent = vec![Tokens::new(&[1, 2, 3], &[]); 3];
    let error = preflight(&network("llama"), &silent, &config(), None).unwrap_err();
    assert!(error.to_string().contains("max_tokens"), "{error}");
    let unknown = vec![Tokens::new(&[1], &[9999])];
    assert!(preflight(&network("llama"), &unknown, &config(), None).is_err());
}
