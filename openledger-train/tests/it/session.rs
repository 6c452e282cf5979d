//! Runs that are interrupted, evaluated, ended early.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use openledger_core::{ErrorKind, ModelId};
use openledger_model::{Lora, Network, Tokens, testing};
use openledger_train::{
    AdamW, AdamW8bit, BaseRun, Checkpoint, Evaluate, Event, EventLog, Happening, Lesson, Lion,
    Meter, NativeRun, NextToken, Optimiser, Pair, Preference, PreferenceRun, Resume, Run, Session,
    Sgd, Stop, Trained, TrainingConfig, backend::conformance, curve,
};
use proptest::prelude::*;

fn network() -> Arc<Network> {
    Arc::new(testing::tiny(1).unwrap().network().clone())
}

fn rows(count: u32) -> Vec<Tokens> {
    (0..count).map(|i| Tokens::new(&[10 + i, 20, 30], &[40 + i % 3, 50, 60 + i, 70])).collect()
}

/// Six rows in steps of two, three passes: nine steps; evaluated every two, saved every `save`.
fn config(optimiser: Optimiser, save: usize) -> TrainingConfig {
    let json = format!(
        r#"{{"lora": {{"rank": 2}}, "seed": 7, "checkpoint_every": {save},
            "plan": {{"epochs": 3, "batch": 2, "rate": 0.01, "warmup": 2, "schedule": "cosine"}},
            "evaluation": {{"every": 2}}}}"#
    );
    let mut config = TrainingConfig::parse(json.as_bytes()).unwrap();
    config.optimiser = optimiser;
    config
}

fn optimisers() -> [Optimiser; 5] {
    [
        Optimiser::from(AdamW::default()),
        Optimiser::from(AdamW8bit::default().with_min_size(100)),
        Optimiser::from(Lion::default()),
        Optimiser::from(Sgd::default().with_momentum(0.9)),
        Optimiser::from(AdamW::default()).with_b_ratio(16.0),
    ]
}

fn native(config: &TrainingConfig) -> NativeRun {
    let network = network();
    let start = Lora::init(&network, &config.lora, config.seed).unwrap();
    let start = start.to_files(&network, &config.lora).weights;
    NativeRun::start(network, &config.lora, config.optimiser, &start).unwrap()
}

fn model() -> ModelId {
    testing::tiny(1).unwrap().id()
}

fn go_on(_: &Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Stops when the step `step` was taken.
fn until(step: u64) -> impl FnMut(&Event) -> ControlFlow<()> {
    move |event| match &event.what {
        Happening::Step(taken) if taken.step == step => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

/// What a power cut is to a run: the process is gone, and what was written stays.
#[derive(Debug)]
struct PowerCut;

/// Trains a new run on checkpoints at `path`.
fn train(
    run: impl Evaluate + Resume + Run,
    config: &TrainingConfig,
    path: &Path,
    watch: impl FnMut(&Event) -> ControlFlow<()>,
) -> Trained {
    let (rows, held_out) = (rows(6), rows(9).split_off(7));
    let mut lesson = NextToken::new(run, &rows).with_held_out(&held_out);
    let session = Session::new(model(), config).with_checkpoint(path).with_resume(true);
    session.train(&mut lesson, watch).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_run_stopped_after_any_step_ends_as_one_that_was_not(
        step in 1u64..9, save in 1usize..5, which in 0usize..5,
    ) {
        let config = config(optimisers()[which], save);
        let folder = tempfile::tempdir().unwrap();
        let whole = train(native(&config), &config, &folder.path().join("whole"), go_on);
        prop_assert_eq!((whole.course.losses.len(), &whole.reason), (9, &Stop::Finished));

        let path = folder.path().join("stopped");
        let stopped = train(native(&config), &config, &path, until(step));
        prop_assert_eq!((stopped.course.step(), stopped.reason), (step, Stop::Cancelled));
        let rest = train(native(&config), &config, &path, go_on);
        prop_assert_eq!(&rest.course, &whole.course);
        prop_assert_eq!(rest.adapter, whole.adapter);
        let again = train(native(&config), &config, &path, go_on);
        prop_assert_eq!(&again.course, &whole.course, "a run that ended does not go on");
    }

    #[test]
    fn a_run_killed_after_any_event_ends_as_one_that_was_not(
        event in 0u64..24, save in 1usize..5, which in 0usize..5,
    ) {
        let config = config(optimisers()[which], save);
        let folder = tempfile::tempdir().unwrap();
        let whole = train(native(&config), &config, &folder.path().join("whole"), go_on);

        let path = folder.path().join("killed");
        let killed = std::panic::catch_unwind(|| {
            train(native(&config), &config, &path, |seen| {
                if seen.number == event {
                    std::panic::resume_unwind(Box::new(PowerCut));
                }
                ControlFlow::Continue(())
            })
        });
        prop_assert!(killed.is_ok() || killed.is_err_and(|cause| cause.is::<PowerCut>()));
        let rest = train(native(&config), &config, &path, go_on);
        prop_assert_eq!(&rest.course, &whole.course);
        prop_assert_eq!(rest.adapter, whole.adapter);
    }

    #[test]
    fn bytes_that_are_no_checkpoint_are_an_error(bytes: Vec<u8>, flip in 0usize..4000, bit in 0u8..8) {
        prop_assert!(Checkpoint::parse(&bytes).is_err());
        // With a checksum that fits, it is what is inside that is read.
        let sealed = Checkpoint::seal(&bytes);
        prop_assert!(Checkpoint::parse(&sealed).is_ok_and(|it| it.to_bytes() == sealed) || Checkpoint::parse(&sealed).is_err());
        prop_assert!(native(&config(Optimiser::default(), 1)).restore(&bytes).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let config = config(Optimiser::default(), 9);
        train(native(&config), &config, &path, until(1));
        let mut bytes = std::fs::read(&path).unwrap();
        let flip = flip % bytes.len();
        bytes[flip] ^= 1 << bit;
        prop_assert_eq!(Checkpoint::parse(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        prop_assert!(Checkpoint::parse(&bytes[..flip]).is_err());
    }
}

#[test]
fn runs_keep_the_contract_of_going_on() {
    for optimiser in optimisers() {
        let config = config(optimiser, 1);
        conformance::check_resume(|| native(&config));
        let network = network();
        conformance::check_resume(|| BaseRun::new((*network).clone(), optimiser));
    }
}

#[test]
fn a_base_model_goes_on_too() {
    let config = config(Optimiser::default(), 2);
    let run = || BaseRun::new(testing::tiny(1).unwrap().network().clone(), config.optimiser);
    let folder = tempfile::tempdir().unwrap();
    let whole = train(run(), &config, &folder.path().join("whole"), go_on);
    let path = folder.path().join("stopped");
    train(run(), &config, &path, until(5));
    assert_eq!(train(run(), &config, &path, go_on).adapter, whole.adapter);
}

#[test]
fn a_run_of_preferences_goes_on_too() {
    let config = config(Optimiser::default(), 2);
    let network = network();
    let start = Lora::init(&network, &config.lora, 1).unwrap().to_files(&network, &config.lora);
    let begin = || {
        let objective = Preference::Dpo { beta: 0.1 };
        let (network, weights) = (Arc::clone(&network), &start.weights);
        PreferenceRun::start(network, &config.lora, config.optimiser, weights, objective).unwrap()
    };
    let rows = rows(2);
    let pair = Pair { chosen: rows[0].clone(), rejected: rows[1].clone() };
    let (mut one, mut two) = (begin(), begin());
    one.step(&[&pair], 1e-2, None).unwrap();
    two.restore(&one.state().unwrap()).unwrap();
    assert_eq!(two.step(&[&pair], 1e-2, None).unwrap(), one.step(&[&pair], 1e-2, None).unwrap());
    assert_eq!(two.snapshot(), one.snapshot());
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let ours = config(Optimiser::default(), 2);
    train(native(&ours), &ours, &path, until(3));
    let (same, fewer) = (rows(6), rows(5));
    let held_out = rows(9).split_off(7);
    let refused = |config: &TrainingConfig, model, rows: &Vec<Tokens>, resumes| {
        let mut lesson = NextToken::new(native(config), rows).with_held_out(&held_out);
        let session = Session::new(model, config).with_checkpoint(&path).with_resume(resumes);
        session.train(&mut lesson, go_on).unwrap_err()
    };
    assert_eq!(refused(&ours, model(), &same, false).kind(), ErrorKind::Conflict);
    let mut other = ours.clone();
    other.plan.rate *= 2.0;
    for (error, what) in [
        (refused(&other, model(), &same, true), "another configuration"),
        (refused(&ours, testing::tiny(2).unwrap().id(), &same, true), "another base model"),
        (refused(&ours, model(), &fewer, true), "other rows"),
    ] {
        assert!(error.report().contains(what), "{error:?}");
    }
}

#[test]
fn the_state_of_another_optimiser_or_rank_is_refused_and_changes_nothing() {
    let ours = config(Optimiser::default(), 2);
    let mut run = native(&ours);
    let row = &rows(1)[0];
    run.step(&[row], 1e-2, None).unwrap();
    let before = run.state().unwrap();
    let lion = config(Lion::default().into(), 2);
    let mut wide = ours;
    wide.lora = wide.lora.with_rank(3, 6.0);
    for other in [native(&lion), native(&wide)] {
        assert!(run.restore(&other.state().unwrap()).is_err());
        assert_eq!(run.state().unwrap(), before);
    }
}

#[test]
fn a_run_that_no_longer_learns_ends_early_and_its_best_comes_out() {
    let mut config = config(Optimiser::default(), 100);
    // Held-out rows that contradict what is learned, so that their loss falls at first and then rises.
    config.plan =
        config.plan.with_epochs(200).with_rate(0.02, 0, openledger_train::Schedule::Constant);
    config.evaluation.patience = Some(3);
    let folder = tempfile::tempdir().unwrap();
    let trained = train(native(&config), &config, &folder.path().join("checkpoint"), go_on);
    assert_eq!(trained.reason, Stop::Early);
    let best = trained.course.best().unwrap();
    let last = trained.course.evaluations.last().unwrap();
    assert!(
        best.step > 0 && last.step == best.step + 6 && last.loss > best.loss,
        "{best:?} {last:?}"
    );

    // The adapter that comes out is the best one's, not the last one's.
    let lora = Lora::from_safetensors(&network(), &config.lora, &trained.adapter).unwrap();
    let files = lora.to_files(&network(), &config.lora);
    let run = NativeRun::start(network(), &config.lora, config.optimiser, &files.weights).unwrap();
    let held_out = rows(9).split_off(7);
    let found = openledger_train::evaluate(&run, &held_out, 1).unwrap();
    assert!((found.loss() - best.loss).abs() < 1e-9, "whatever the batch: {found:?} {best:?}");
    assert!((found.perplexity().ln() - found.loss()).abs() < 1e-12);
}

#[test]
fn a_loss_that_is_not_finite_is_logged_with_its_step_and_rows() {
    let mut config = config(Optimiser::default(), 2);
    config.plan =
        config.plan.with_rate(1e30, 0, openledger_train::Schedule::Constant).with_clip(None);
    config.evaluation.every = None;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("events.jsonl");
    let rows = rows(6);
    let mut lesson = NextToken::new(native(&config), &rows);
    let session = Session::new(model(), &config).with_log(EventLog::open(&log).unwrap());
    let error = session.train(&mut lesson, go_on).unwrap_err();
    assert!(
        error.report().contains("at step") && error.report().contains("on rows ["),
        "{error:?}"
    );
    let last = EventLog::read(&log, None).unwrap().last().unwrap().unwrap();
    let Happening::Stopped { reason: Stop::Failed { message }, .. } = last.what else {
        panic!("{last:?}")
    };
    assert_eq!(message, error.report());
}

#[derive(Debug, Default)]
struct Ticks(std::sync::atomic::AtomicU32);

impl Meter for Ticks {
    fn seconds(&self) -> f64 {
        f64::from(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    fn peak_bytes(&self) -> Option<u64> {
        Some(123)
    }
}

#[test]
fn the_log_tells_the_whole_run_also_of_one_that_went_on() {
    let config = config(Optimiser::default(), 2);
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("checkpoint"), folder.path().join("events.jsonl"));
    let (rows, held_out) = (rows(6), rows(9).split_off(7));
    let meter = Ticks::default();
    let go = |watch: &mut dyn FnMut(&Event) -> ControlFlow<()>| {
        let mut lesson = NextToken::new(native(&config), &rows).with_held_out(&held_out);
        Session::new(model(), &config)
            .with_checkpoint(&path)
            .with_resume(true)
            .with_log(EventLog::open(&log).unwrap())
            .with_meter(&meter)
            .train(&mut lesson, watch)
            .unwrap()
    };
    go(&mut until(5));
    let trained = go(&mut go_on);
    let events: Vec<Event> = EventLog::read(&log, None).unwrap().map(Result::unwrap).collect();
    let curve = curve(&events);
    assert_eq!(curve.len(), 9);
    // JSON is read to the last digit but one; the checkpoint has every bit.
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-15 * b;
    assert!(curve.iter().zip(&trained.course.losses).all(near));
    let behind = EventLog::read(&log, Some(7)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(behind, events[8..]);
    let started = |event: &Event| matches!(event.what, Happening::Started { .. });
    for pair in events.windows(2).filter(|pair| !started(&pair[1])) {
        assert!(pair[0].seconds <= pair[1].seconds, "time goes on");
    }
    let resumed = events.iter().filter(|event| started(event)).nth(1).unwrap();
    assert!(resumed.seconds > 5.0, "from what the checkpoint says");
    let steps: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            Happening::Step(step) => Some(step),
            _ => None,
        })
        .collect();
    assert_eq!(steps.len(), 9);
    assert!(
        steps.iter().all(|step| (step.tokens, step.labels, step.peak_bytes) == (14, 8, Some(123)))
    );
    let saved = |event: &&Event| matches!(event.what, Happening::Checkpoint { .. });
    assert!(events.iter().filter(saved).count() > 4);
}

#[test]
fn parts_of_a_step_count_by_their_label_tokens() {
    let mut config = config(Sgd::default().into(), 2);
    config.lora = config.lora.with_rank(4, 8.0);
    let learned = |micro: Option<usize>, rows: &[Tokens]| {
        let mut run = native(&config).with_micro_batch(micro);
        let rows: Vec<&Tokens> = rows.iter().collect();
        // The first step moves `B` alone, `A`'s gradient being zero while `B` is.
        let steps = [1, 2].map(|_| run.step(&rows, 1.0, None).unwrap());
        (steps, Lora::from_safetensors(&network(), &config.lora, &run.snapshot().unwrap()).unwrap())
    };
    proptest!(ProptestConfig::with_cases(16), |(lens in prop::collection::vec((1usize..6, 0usize..9), 2..6))| {
        let mut rows: Vec<Tokens> = lens
            .iter()
            .zip(1u32..)
            .map(|(&(prompt, completion), seed)| {
                let tokens = |len: usize, by: u32| (0..len as u32).map(|i| (i * by * seed) % 258).collect::<Vec<_>>();
                Tokens::new(&tokens(prompt, 31), &tokens(completion, 57))
            })
            .collect();
        rows.push(Tokens::new(&[1], &[2, 3]));
        let (steps, whole) = learned(None, &rows);
        for micro in 1..rows.len() {
            let (parted_steps, parted) = learned(Some(micro), &rows);
            for (one, two) in steps.iter().zip(&parted_steps) {
                prop_assert_eq!(one.labels, two.labels);
                prop_assert!((one.loss - two.loss).abs() < 1e-6);
            }
            for ((_, one), (_, two)) in whole.pairs().zip(parted.pairs()) {
                let numbers = one.a.iter().chain(&one.b).zip(two.a.iter().chain(&two.b));
                for (one, two) in numbers {
                    prop_assert!((one - two).abs() < 1e-6 * one.abs().max(1.0), "{one} {two}");
                }
            }
        }
    });
}

#[test]
fn a_lesson_without_rows_is_an_error() {
    let config = config(Optimiser::default(), 2);
    let rows: Vec<Tokens> = Vec::new();
    let mut lesson = NextToken::new(native(&config), &rows);
    assert_eq!(lesson.count(), 0);
    assert!(Session::new(model(), &config).train(&mut lesson, go_on).is_err());
}
