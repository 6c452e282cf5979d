//! The training loop.

use std::ops::ControlFlow;

use openledger_core::{Error, Result};
use openledger_model::Tokens;

use crate::{Plan, Rows, Run, Step};

/// One step of a run, as it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The step, from 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// The step size used.
    pub rate: f64,
    /// What the step did.
    pub done: Step,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fitted {
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// Steps that were planned.
    pub steps: usize,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
}

impl Fitted {
    /// Returns the mean loss of the first and of the last pass over the rows: the losses of single
    /// steps differ by which rows they hold.
    ///
    /// With one pass only it is the first and last tenth of the steps.
    pub fn first_and_last(&self, plan: &Plan) -> (f64, f64) {
        let pass = self.steps.div_ceil(plan.epochs.max(1));
        let span = if plan.epochs > 1 { pass } else { pass.div_ceil(10) }.min(self.losses.len());
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        (mean(&self.losses[..span]), mean(&self.losses[self.losses.len() - span..]))
    }
}

/// Trains `run` on `rows` by `plan`, telling `watch` of each step.
///
/// `watch` may stop the run after any step; what was learned until then is in
/// [`Run::snapshot`].
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without rows or with a batch of
/// none; an error of [`Run::step`], naming the step and its rows.
pub fn fit(
    run: &mut dyn Run,
    rows: &(impl Rows + ?Sized),
    plan: &Plan,
    mut watch: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Fitted> {
    let count = rows.count();
    if count == 0 || plan.batch == 0 {
        return Err(Error::invalid(format!("{count} rows in batches of {}", plan.batch)));
    }
    let batches = plan.order(rows)?;
    let steps = batches.len();
    let mut losses = Vec::with_capacity(steps);
    for (index, batch) in batches.into_iter().enumerate() {
        let rate = plan.rate(index, steps);
        let stopped = |e: Error| {
            let message = format!("training stopped at step {} on rows {batch:?}", index + 1);
            Error::new(e.kind(), message).with_source(e)
        };
        let chosen: Vec<Tokens> =
            batch.iter().map(|&row| rows.row(row)).collect::<Result<_>>().map_err(stopped)?;
        let chosen: Vec<&Tokens> = chosen.iter().collect();
        let done = run.step(&chosen, rate, plan.clip).map_err(stopped)?;
        losses.push(done.loss);
        let event = Progress { step: index + 1, steps, rate, done };
        if watch(&event).is_break() {
            return Ok(Fitted { losses, steps, stopped: index + 1 < steps });
        }
    }
    Ok(Fitted { losses, steps, stopped: false })
}
