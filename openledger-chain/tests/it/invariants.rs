//! What holds whatever people do, through the client: random lists of steps, each from the same
//! beginning, beside a model in Rust.
//!
//! These are the invariants of `contracts/test/**/*.invariant.t.sol`, said again where the client,
//! the ABI and the embedded chain stand between. The model says before a step what must come of it,
//! and for which reason it must be refused; after each step, what the chain must show.
//!
//! The lists are the same in every run; with `PROPTEST_CASES=1000` they are a thousand new ones.

mod escrow;
mod fees;
mod l2;
mod pauses;
mod powers;
mod registry;
mod rewards;
mod staking;

use std::{cell::RefCell, collections::BTreeMap, fmt::Debug, ops::RangeInclusive};

use openledger_chain::Revert;
use openledger_core::{Error, Result};
use proptest::{
    collection::vec,
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::stage::Stage;

/// How often each step did what it is for.
///
/// A contract that refuses everything would keep every invariant: this is what such a one fails.
#[derive(Debug, Default)]
struct Done(RefCell<BTreeMap<&'static str, u32>>);

impl Done {
    fn note(&self, step: &'static str) {
        *self.0.borrow_mut().entry(step).or_default() += 1;
    }

    #[track_caller]
    fn assert_all(&self, steps: &[&'static str]) {
        for step in steps {
            assert!(self.0.borrow().contains_key(step), "never done: {step} ({self:?})");
        }
    }
}

/// Runs `play` over lists of steps; the chain begins anew with each.
#[expect(clippy::needless_pass_by_value, reason = "a closure written where it is used")]
fn explore<S: Debug + Clone>(
    (stage, runtime): &(Stage, tokio::runtime::Runtime),
    (cases, length): (u32, RangeInclusive<usize>),
    step: impl Strategy<Value = S>,
    play: impl AsyncFn(&Stage, Vec<S>),
) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let config = Config {
        cases: asked.unwrap_or(cases),
        rng_seed: asked.map_or(RngSeed::Fixed(0), |_| RngSeed::Random),
        failure_persistence: None,
        max_shrink_iters: 256,
        ..Config::default()
    };
    let done = TestRunner::new(config).run(&vec(step, length), |steps| {
        stage.restart();
        runtime.block_on(play(stage, steps));
        Ok(())
    });
    done.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A stage with what `adapt` does before everything begins.
fn set(adapt: impl AsyncFnOnce(&Stage)) -> (Stage, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(async {
        let mut stage = Stage::new().await;
        adapt(&stage).await;
        stage.begin_here();
        stage
    });
    (stage, runtime)
}

/// Why a step must be refused, or that it must not be.
type Said = Option<&'static str>;

/// What the model says of this second and of the next: a step is tried in the one and made in the
/// other.
fn around(now: u64, said: impl Fn(u64) -> Said) -> [Said; 2] {
    [said(now), said(now + 1)]
}

/// Asserts that a step came to what was said; returns what it came to if it was done.
#[track_caller]
fn judge<T: Debug>(came: Result<T>, said: [Said; 2]) -> Option<T> {
    judge_revert(came.map_err(|error| reason(&error)), said)
}

#[track_caller]
fn judge_revert<T: Debug>(came: Result<T, Revert>, said: [Said; 2]) -> Option<T> {
    match came {
        Ok(done) => {
            assert!(said.contains(&None), "done, though it must be refused: {said:?}");
            Some(done)
        }
        Err(revert) => {
            let name = revert.name();
            let expected = said.contains(&Some(name.as_str()));
            assert!(expected, "refused for {revert} ({name}), but {said:?}");
            None
        }
    }
}

#[track_caller]
fn reason(error: &Error) -> Revert {
    Revert::of(error).unwrap_or_else(|| panic!("{}", error.report())).clone()
}
