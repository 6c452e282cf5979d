//! Sessions that learn from judged answers.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use openledger_core::ErrorKind;
use openledger_model::{Lora, Model, Network, Template, Tokens, testing};
use openledger_train::{
    Event, EventLog, FromJudgements, Graded, Happening, Judged, Judgements, Kto, Lesson, NextToken,
    Objective, Pair, Preference, PreferenceRun, Session, SourceFile, StakeWeighted, Stop, Trained,
    TrainingConfig, TrainingRecord,
    data::{Encode, JudgedRows, LossMask, prepare},
    preference,
};
use proptest::prelude::*;

fn model() -> Model {
    testing::tiny(1).unwrap()
}

/// Seven examples in steps of three, three passes; the last step of a pass has one.
fn config(objective: Objective) -> TrainingConfig {
    let json = br#"{"lora": {"rank": 2}, "seed": 7, "checkpoint_every": 2,
        "plan": {"epochs": 3, "batch": 3, "rate": 0.01, "warmup": 2, "schedule": "cosine"},
        "evaluation": {"every": 2}}"#;
    let mut config = TrainingConfig::parse(json).unwrap();
    config.objective = objective;
    config
}

fn answer(prompt: u32, answer: u32) -> Tokens {
    let answer: Vec<u32> = (0..2 + answer % 3).map(|i| 100 + (answer * 7 + i * 3) % 150).collect();
    Tokens::new(&[10 + prompt, 20, 30], &answer)
}

fn pairs() -> Vec<Pair> {
    (0..10).map(|i| Pair { chosen: answer(i, i), rejected: answer(i, i + 11) }).collect()
}

fn judged() -> Vec<Judged> {
    (0..10).map(|i| Judged { answer: answer(i, i * 3), desirable: i % 3 != 0 }).collect()
}

fn graded() -> Vec<Graded> {
    (0..10).map(|i| Graded::new(answer(i / 3, i * 3), f64::from(i) / 10.0 - 0.4)).collect()
}

fn run<O: preference::Objective>(config: &TrainingConfig, objective: O) -> PreferenceRun<O> {
    let network: Arc<Network> = Arc::new(model().network().clone());
    let start = Lora::init(&network, &config.lora, config.seed).unwrap();
    let start = start.to_files(&network, &config.lora).weights;
    PreferenceRun::start(network, &config.lora, config.optimiser, &start, objective).unwrap()
}

fn go_on(_: &Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Trains on checkpoints at `path`, with a log beside them.
fn train(
    config: &TrainingConfig,
    path: &Path,
    watch: impl FnMut(&Event) -> ControlFlow<()>,
) -> Trained {
    let session = Session::new(model().id(), config)
        .with_checkpoint(path)
        .with_log(EventLog::open(path.with_extension("jsonl")).unwrap())
        .with_resume(true);
    fn lesson<'a, O: preference::Objective>(
        config: &TrainingConfig,
        objective: O,
        learned: &'a Vec<O::Example>,
        held_out: &'a Vec<O::Example>,
    ) -> FromJudgements<'a, O>
    where
        O::Example: Clone,
    {
        FromJudgements::new(run(config, objective), learned)
            .with_held_out(held_out)
            .with_evaluation_batch(2)
    }
    match config.objective {
        Objective::Preference(objective) => {
            let (learned, held_out) = (pairs()[..7].to_vec(), pairs()[7..].to_vec());
            session.train(&mut lesson(config, objective, &learned, &held_out), watch)
        }
        Objective::Kto(objective) => {
            let (learned, held_out) = (judged()[..7].to_vec(), judged()[7..].to_vec());
            session.train(&mut lesson(config, objective, &learned, &held_out), watch)
        }
        Objective::StakeWeighted(objective) => {
            let (learned, held_out) = (graded()[..7].to_vec(), graded()[7..].to_vec());
            session.train(&mut lesson(config, objective, &learned, &held_out), watch)
        }
        other => panic!("{other:?}"),
    }
    .unwrap()
}

fn objectives() -> [Objective; 6] {
    [
        Preference::Dpo { beta: 0.3 }.into(),
        Preference::Ipo { beta: 0.2 }.into(),
        Preference::Orpo { beta: 0.5 }.into(),
        Preference::Simpo { beta: 2.0, gamma: 0.5 }.into(),
        Kto::default().into(),
        StakeWeighted::default().into(),
    ]
}

fn events(path: &Path) -> Vec<Event> {
    let log = EventLog::read(path.with_extension("jsonl"), None).unwrap();
    log.map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(18))]

    #[test]
    fn a_run_of_any_objective_stopped_or_killed_after_any_event_ends_as_one_that_was_not(
        which in 0usize..6, event in 0u64..20, killed: bool,
    ) {
        let config = config(objectives()[which]);
        let folder = tempfile::tempdir().unwrap();
        let whole = train(&config, &folder.path().join("whole"), go_on);
        let steps = if matches!(config.objective, Objective::Kto(_)) { 6 } else { 9 };
        prop_assert_eq!((whole.course.losses.len(), &whole.reason), (steps, &Stop::Finished));

        let path = folder.path().join("broken");
        let broken = std::panic::catch_unwind(|| {
            train(&config, &path, |seen| match seen.number == event {
                true if killed => std::panic::resume_unwind(Box::new(())),
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        });
        prop_assert!(killed || broken.is_ok());
        let rest = train(&config, &path, go_on);
        prop_assert_eq!(&rest.course, &whole.course);
        prop_assert_eq!(rest.adapter, whole.adapter);
    }
}

#[test]
fn every_objective_is_learned_named_and_evaluated_by_its_own_measure() {
    for objective in objectives() {
        let mut config = config(objective);
        config.plan = config.plan.with_epochs(8);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let trained = train(&config, &path, go_on);
        let losses = &trained.course.losses;
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let pass = losses.len() / 8;
        let (first, last) = (mean(&losses[..pass]), mean(&losses[losses.len() - pass..]));
        assert!(last < first, "{objective:?}: {first} {last}");
        let events = events(&path);
        assert!(
            matches!(events[0].what, Happening::Started { objective: it, .. } if it == objective)
        );
        let measured = events.iter().filter_map(|event| match event.what {
            Happening::Evaluation { perplexity, accuracy, .. } => Some((perplexity, accuracy)),
            _ => None,
        });
        let told = !matches!(objective, Objective::StakeWeighted(_));
        for (perplexity, accuracy) in measured {
            assert_eq!(perplexity, None, "the loss is no mean of -ln p");
            assert_eq!(accuracy.is_some(), told);
            assert!(accuracy.is_none_or(|accuracy| (0.0..=1.0).contains(&accuracy)));
        }
        let record = TrainingRecord {
            model: model().id(),
            datanets: Vec::new(),
            config: config.clone(),
            federation: None,
            adapter: openledger_core::B256::ZERO.into(),
        };
        let read = TrainingRecord::parse(&record.to_json()).unwrap();
        assert_eq!(read.config.objective, objective);
        let mut other = record.clone();
        other.config.objective = Objective::NextToken;
        assert_ne!(other.digest(), record.digest());
    }
}

#[test]
fn what_the_base_model_says_is_kept_and_is_what_a_run_that_keeps_nothing_computes() {
    for objective in [Preference::Dpo { beta: 0.3 }, Preference::Ipo { beta: 0.2 }] {
        let config = config(objective.into());
        let pairs = pairs();
        let mut lesson = FromJudgements::new(run(&config, objective), &pairs);
        let mut alone = run(&config, objective);
        for _ in 0..3 {
            let numbers = [4, 1, 8];
            let chosen: Vec<&Pair> = numbers.iter().map(|&at| &pairs[at]).collect();
            let kept = lesson.step(&numbers, 1e-2, None).unwrap().step;
            let computed = alone.step(&chosen, 1e-2, None).unwrap();
            assert!((kept.loss - computed.loss).abs() < 1e-5, "{kept:?} {computed:?}");
            assert_eq!(kept.labels, computed.labels);
        }
    }
}

#[test]
fn parts_of_a_step_are_the_whole_step_and_checkpointing_does_not_change_a_bit() {
    fn check<O: preference::Objective + Copy>(objective: O, examples: &[O::Example])
    where
        Objective: From<O>,
    {
        let config = config(objective.into());
        let step = |part, checkpointing| {
            let mut run =
                run(&config, objective).with_micro_batch(part).with_checkpointing(checkpointing);
            let examples: Vec<&O::Example> = examples.iter().collect();
            // The first step moves `B` alone.
            let steps = [1, 2].map(|_| run.step(&examples, 1e-2, None).unwrap());
            (steps, run.snapshot())
        };
        let (whole, snapshot) = step(None, false);
        assert_eq!(step(None, true), (whole, snapshot));
        for part in [1, 3, 20] {
            let (parts, _) = step(Some(part), false);
            for (part, whole) in parts.iter().zip(&whole) {
                assert!((part.loss - whole.loss).abs() < 1e-5, "{objective:?}");
                let apart = (part.gradient_norm - whole.gradient_norm).abs();
                assert!(apart < 1e-4 * whole.gradient_norm, "{objective:?}: {part:?} {whole:?}");
                assert_eq!(part.labels, whole.labels);
            }
        }
    }
    check(Preference::Dpo { beta: 0.3 }, &pairs());
    check(Preference::Orpo { beta: 0.5 }, &pairs());
    check(Kto::default(), &judged());
    check(StakeWeighted::default(), &graded());
}

#[test]
fn a_lesson_of_another_objective_than_the_configurations_is_refused() {
    let pairs = pairs();
    let ours = config(Preference::Dpo { beta: 0.3 }.into());
    let mut lesson = FromJudgements::new(run(&ours, Preference::Dpo { beta: 0.3 }), &pairs);
    for other in [Objective::NextToken, Preference::Dpo { beta: 0.1 }.into(), Kto::default().into()]
    {
        let config = config(other);
        let error = Session::new(model().id(), &config).train(&mut lesson, go_on).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("does not learn"), "{error}");
    }
    let rows = vec![answer(1, 2)];
    let network = Arc::new(model().network().clone());
    let start = Lora::init(&network, &ours.lora, 1).unwrap().to_files(&network, &ours.lora);
    let native =
        openledger_train::NativeRun::start(network, &ours.lora, ours.optimiser, &start.weights);
    let mut imitate = NextToken::new(native.unwrap(), &rows);
    assert!(Session::new(model().id(), &ours).train(&mut imitate, go_on).is_err());
    // One example cannot be compared with any other.
    let (config, one) = (config(Kto::default().into()), vec![judged().remove(0)]);
    let mut lesson = FromJudgements::new(run(&config, Kto::default()), &one);
    let error = Session::new(model().id(), &config).train(&mut lesson, go_on).unwrap_err();
    assert!(error.to_string().contains("compares 2 or more"), "{error}");
}

#[test]
fn an_answer_with_a_token_the_model_does_not_know_is_an_error_that_names_its_number() {
    let config = config(Preference::Dpo { beta: 0.3 }.into());
    let mut pairs = pairs();
    pairs[3].rejected = Tokens::new(&[1], &[9_999]);
    let mut lesson = FromJudgements::new(run(&config, Preference::Dpo { beta: 0.3 }), &pairs);
    let error = Session::new(model().id(), &config).train(&mut lesson, go_on).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.report().contains("token 9999") && error.report().contains("on rows ["));
}

#[test]
fn other_judgements_of_the_same_answers_are_other_rows() {
    let config = config(Kto::default().into());
    let ours = judged();
    let digest = |judged: &Vec<Judged>| {
        FromJudgements::new(run(&config, Kto::default()), judged).digest().unwrap()
    };
    assert_eq!(digest(&ours), digest(&judged()));
    for change in 0..3 {
        let mut other = ours.clone();
        match change {
            0 => other[3].desirable ^= true,
            1 => other.swap(0, 1),
            _ => other[9].answer.learn[3] = false,
        }
        assert_ne!(digest(&other), digest(&ours), "{change}");
    }
}

/// Writes rows to a file of JSON lines in `folder`.
fn file(folder: &Path, name: &str, rows: &[&str]) -> SourceFile {
    let path = folder.join(name);
    std::fs::write(&path, rows.join("\n")).unwrap();
    SourceFile::new(path.display().to_string())
}

#[test]
fn files_of_pairs_and_of_labels_become_judgements() {
    let folder = tempfile::tempdir().unwrap();
    let (model, template) = (model(), Template::new("", "?"));
    let data = TrainingConfig::default().data;
    let encode = Encode::plain(&model, &template, 64);
    let text = |tokens: &Tokens| {
        let answer = &tokens.tokens[tokens.prompt()..];
        (model.tokenizer().decode(answer).unwrap(), tokens.learned())
    };
    let dpo = Preference::Dpo { beta: 0.1 }.into();
    let mut pairs = [file(
        folder.path(),
        "pairs.jsonl",
        &[
            r#"{"prompt": "Why", "chosen": "Because.", "rejected": "No."}"#,
            r#"{"prompt": "How", "chosen": "So.", "rejected": "Never."}"#,
        ],
    )];
    let rows = prepare(&mut pairs, &data, &dpo, &encode, folder.path().join("a.tokens")).unwrap();
    assert!(pairs[0].hash.is_some());
    let read = JudgedRows::<Pair>::new(&rows).unwrap();
    assert_eq!(read.count(), 2);
    let second = read.judgement(1).unwrap();
    assert_eq!(text(&second.chosen).0.trim(), "So.");
    assert_eq!(text(&second.rejected).0.trim(), "Never.");
    let tokens = second.chosen.tokens.len() + second.rejected.tokens.len();
    assert_eq!(read.length(1).unwrap(), tokens);
    assert_eq!(read.judgement(2).unwrap_err().kind(), ErrorKind::NotFound);
    // Even where everything of a row is learned, of a pair only the answers are.
    let all = Encode::plain(&model, &template, 64).with_mask(LossMask::Everything);
    let rows = prepare(&mut pairs, &data, &dpo, &all, folder.path().join("b.tokens")).unwrap();
    assert_eq!(JudgedRows::<Pair>::new(&rows).unwrap().judgement(1).unwrap(), second);

    let kto = Kto::default().into();
    let mut labels = [
        file(
            folder.path(),
            "labels.jsonl",
            &[
                r#"{"prompt": "Why", "completion": "Because.", "label": true}"#,
                r#"{"prompt": "How", "completion": "Never.", "label": false}"#,
            ],
        ),
        pairs[0].clone(),
    ];
    let rows = prepare(&mut labels, &data, &kto, &encode, folder.path().join("c.tokens")).unwrap();
    let read = JudgedRows::<Judged>::new(&rows).unwrap();
    let judged: Vec<Judged> = (0..read.count()).map(|at| read.judgement(at).unwrap()).collect();
    let said: Vec<_> = judged.iter().map(|it| (text(&it.answer).0, it.desirable)).collect();
    let said: Vec<_> = said.iter().map(|(text, good)| (text.trim(), *good)).collect();
    let expected = [("Because.", true), ("Never.", false)];
    let of_pairs = [("Because.", true), ("No.", false), ("So.", true), ("Never.", false)];
    assert_eq!(said, [&expected[..], &of_pairs].concat(), "a pair is a good answer and a bad one");
    let [learned, held_out] = JudgedRows::<Judged>::hold_out(&rows, 0.3, 1).unwrap();
    assert_eq!((learned.count(), held_out.count()), (4, 2));
    assert_eq!(openledger_train::Rows::count(&learned.answers().unwrap()), 4);

    for (objective, files, what) in [
        (Objective::NextToken, &pairs[..], "choose a preference objective"),
        (dpo, &labels[..1], "row 1: a row without two answers"),
        (StakeWeighted::default().into(), &labels[..], "no files"),
    ] {
        let mut files = files.to_vec();
        let error = prepare(&mut files, &data, &objective, &encode, folder.path().join("d.tokens"));
        assert!(error.as_ref().unwrap_err().report().contains(what), "{error:?}");
    }
    let short = Encode::plain(&model, &template, 1);
    let error = prepare(&mut pairs, &data, &dpo, &short, folder.path().join("e.tokens"));
    assert!(error.unwrap_err().report().contains("row 1: an answer of which nothing is left"));
}
