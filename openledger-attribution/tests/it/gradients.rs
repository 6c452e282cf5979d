//! Influence on a real network: deterministic, and what it says comes true.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use openledger_attribution::{Corpus, GradientInfluence, Method, Preconditioner, Source};
use openledger_core::{Address, B256, DatanetVersion, ErrorKind, Row, Salt};
use openledger_model::{Adapter, LoraConfig, Model, Template, Tokens, testing};

fn setup() -> (Arc<Model>, Arc<Adapter>, Corpus) {
    let model = Arc::new(testing::tiny(1).unwrap());
    let config = LoraConfig::default().with_rank(2, 4.0);
    let files = testing::lora(&model, &config, 3).unwrap().to_files(model.network(), &config);
    let adapter = Arc::new(Adapter::load(model.network(), &files).unwrap());
    let texts =
        ["steam makes crust", "knead the dough", "a clean chain", "pump the tyre", "stars are far"];
    let rows = texts.map(|text| {
        let row = Row::passage(text).unwrap();
        (row.id(&Salt::from(B256::ZERO)), Address::repeat_byte(text.len() as u8), row)
    });
    let pin = DatanetVersion { datanet: B256::repeat_byte(1).into(), version: 1, root: B256::ZERO };
    let source = Source { pin, rows: rows.to_vec() };
    let corpus = Corpus::new(&model, &Template::default(), 64, [source]).unwrap();
    (model, adapter, corpus)
}

fn output(model: &Model, prompt: &str, completion: &str) -> Tokens {
    let prompt = model.tokenizer().encode(prompt, true).unwrap();
    Tokens::new(&prompt, &model.tokenizer().encode(completion, false).unwrap())
}

const ALL: [Preconditioner; 3] =
    [Preconditioner::Identity, Preconditioner::DataInf, Preconditioner::BlockExact];

#[test]
fn influence_has_the_same_bits_on_any_number_of_threads() {
    let (model, adapter, corpus) = setup();
    let query = output(&model, "steam makes", " the crust thin");
    for preconditioner in ALL {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let method = GradientInfluence::new(model.clone(), adapter.clone(), preconditioner);
                let influence = method.bind(&corpus).unwrap().influence(&query).unwrap();
                (
                    influence.iter().map(|i| i.to_bits()).collect::<Vec<_>>(),
                    corpus.shares(&influence).unwrap(),
                )
            })
        };
        assert_eq!(run(1), run(4));
    }
}

#[test]
fn a_row_helps_most_with_its_own_text() {
    let (model, adapter, corpus) = setup();
    for preconditioner in ALL {
        let method = GradientInfluence::new(model.clone(), adapter.clone(), preconditioner);
        let bound = method.bind(&corpus).unwrap();
        for (place, row) in corpus.rows().iter().enumerate() {
            let influence = bound.influence(&row.tokens).unwrap();
            let helps = (0..5).min_by(|&a, &b| influence[a].total_cmp(&influence[b])).unwrap();
            assert_eq!(helps, place, "{preconditioner:?}: {influence:?}");
        }
    }
}

#[test]
fn the_description_names_what_changes_the_result() {
    let (model, adapter, _) = setup();
    let describe = |preconditioner, damping| {
        let method = GradientInfluence::new(model.clone(), adapter.clone(), preconditioner);
        method.with_damping(damping).describe()
    };
    assert_eq!(describe(Preconditioner::DataInf, 0.1), "datainf;damping=0.1");
    assert_eq!(describe(Preconditioner::BlockExact, 0.01), "block-exact;damping=0.01");
    assert_eq!(describe(Preconditioner::Identity, 0.1), "gradient-dot");
}

#[test]
fn progress_is_told_and_limits_and_bad_outputs_are_named() {
    let (model, adapter, corpus) = setup();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let method = GradientInfluence::new(model.clone(), adapter, Preconditioner::DataInf)
        .with_progress(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
    let bound = method.bind(&corpus).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 5);
    let silent = bound.influence(&Tokens::new(&[1, 2], &[])).unwrap_err();
    assert!(silent.to_string().contains("without a completion"));
    let unknown = bound.influence(&Tokens::new(&[1], &[100_000])).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Invalid);
    let small = method.with_max_bytes(1000).bind(&corpus).unwrap_err();
    assert_eq!(small.kind(), ErrorKind::Limit);
    let cut = Source {
        pin: corpus.versions()[0],
        rows: vec![(
            B256::ZERO.into(),
            Address::ZERO,
            Row::exchange("a long question that fills it", "short").unwrap(),
        )],
    };
    let error = Corpus::new(&model, &Template::default(), 1, [cut]).unwrap_err();
    assert!(error.to_string().contains("nothing to learn in 1 tokens"), "{error}");
}
