//! A backend's contract, executable: every backend runs [`check`].

use std::sync::Arc;

use openledger_core::ErrorKind;
use openledger_model::{Lora, LoraConfig, Network, Tokens};

use super::{Backend, Resume, Run};
use crate::Optimiser;

/// Checks `backend` against the contract of [`Run`], on a small network.
///
/// # Panics
/// On the first line of the contract that does not hold.
pub fn check(backend: &dyn Backend, network: &Arc<Network>) {
    let config = LoraConfig::default().with_rank(2, 4.0);
    let lora = Lora::init(network, &config, 1).expect("the network has the layers of a Llama");
    let start = lora.to_files(network, &config).weights;
    let begin = || {
        let run = backend.start(Arc::clone(network), &config, Optimiser::default(), &start);
        run.expect("a start that fits is taken")
    };
    let rows = [Tokens::new(&[1, 2], &[3, 4, 5]), Tokens::new(&[], &[6, 7, 8, 9])];
    let rows: Vec<&Tokens> = rows.iter().collect();

    snapshot_of_the_start_is_the_start(&*begin(), &start);
    the_loss_falls(&mut *begin(), &rows);
    a_step_of_size_zero_changes_nothing(&mut *begin(), &rows, &start);
    a_refused_step_changes_nothing(&mut *begin(), network, &start);
    equal_steps_give_equal_results(&mut *begin(), &mut *begin(), &rows);
    assert!(
        backend.start(Arc::clone(network), &config, Optimiser::default(), b"garbage").is_err(),
        "a start that is no safetensors file is refused"
    );
}

/// Checks that runs which `begin` starts, each as the others, keep the contract of [`Resume`].
///
/// # Panics
/// On the first line of the contract that does not hold.
pub fn check_resume<R: Resume + Run>(begin: impl Fn() -> R) {
    let rows = [Tokens::new(&[1, 2], &[3, 4, 5]), Tokens::new(&[], &[6, 7, 8, 9])];
    let rows: Vec<&Tokens> = rows.iter().collect();
    let mut first = begin();
    for taken in 0..4 {
        let mut second = begin();
        let state = first.state().expect("a state");
        second.restore(&state).expect("the state of a run like this");
        assert_eq!(second.state().expect("a state"), state, "after {taken} steps");
        assert!(second.restore(&state[..state.len() / 2]).is_err(), "half a state is refused");
        assert_eq!(second.state().expect("a state"), state, "and changes nothing");
        let step = first.step(&rows, 1e-2, Some(1.0)).expect("a step is taken");
        assert_eq!(second.step(&rows, 1e-2, Some(1.0)).expect("a step is taken"), step);
        assert_eq!(second.snapshot().expect("a snapshot"), first.snapshot().expect("a snapshot"));
    }
}

fn snapshot_of_the_start_is_the_start(run: &dyn Run, start: &[u8]) {
    assert_eq!(run.snapshot().expect("a snapshot"), start);
}

fn the_loss_falls(run: &mut dyn Run, rows: &[&Tokens]) {
    let losses: Vec<f64> =
        (0..10).map(|_| run.step(rows, 1e-2, Some(1.0)).expect("a step is taken").loss).collect();
    assert!(losses[9] < losses[0], "{losses:?}");
}

fn a_step_of_size_zero_changes_nothing(run: &mut dyn Run, rows: &[&Tokens], start: &[u8]) {
    let step = run.step(rows, 0.0, None).expect("a step is taken");
    assert_eq!(step.labels, 3 + 3, "labels of the completions");
    assert!(step.gradient_norm > 0.0);
    assert_eq!(run.snapshot().expect("a snapshot"), start);
}

fn a_refused_step_changes_nothing(run: &mut dyn Run, network: &Network, start: &[u8]) {
    let unknown = Tokens::new(&[], &[1, network.decoder().vocabulary() as u32]);
    let silent = Tokens::new(&[1, 2], &[]);
    for row in [&unknown, &silent] {
        let error = run.step(&[row], 1e-2, None).expect_err("a bad row is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(run.snapshot().expect("a snapshot"), start);
}

fn equal_steps_give_equal_results(one: &mut dyn Run, two: &mut dyn Run, rows: &[&Tokens]) {
    for _ in 0..3 {
        let step = one.step(rows, 1e-2, Some(0.1)).expect("a step is taken");
        assert_eq!(two.step(rows, 1e-2, Some(0.1)).expect("a step is taken"), step);
    }
    assert_eq!(one.snapshot().expect("a snapshot"), two.snapshot().expect("a snapshot"));
}
