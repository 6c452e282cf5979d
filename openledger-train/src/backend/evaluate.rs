//! How well rows are predicted that were not learned.

use openledger_core::{Error, Result};
use openledger_model::{Batch, Lora, Network, Tape, Tokens, Trainable};

use crate::Rows;

/// What a run can do that knows how good it is: implement it beside [`Run`](crate::Run).
pub trait Evaluate {
    /// Returns the loss of `rows` with what has been learned so far, and changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if a token is unknown;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if a device fails.
    fn evaluate(&self, rows: &[&Tokens]) -> Result<Evaluation>;
}

/// A sum of losses: two sums added are the sum of both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Sum of the label tokens' `-ln p`, in nats.
    pub sum: f64,
    /// Label tokens.
    pub labels: usize,
}

impl Evaluation {
    /// Takes a sum over so many label tokens, for backends.
    pub const fn new(sum: f64, labels: usize) -> Self {
        Self { sum, labels }
    }

    /// Computes it on our own kernels.
    pub(crate) fn of(network: &Network, lora: Option<&Lora>, rows: &[&Tokens]) -> Result<Self> {
        rows.iter().try_for_each(|row| network.check_tokens(&row.tokens))?;
        let labels: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
        let hidden = tape.run()?;
        let sum: f64 = tape.log_probabilities(&hidden, &labels).iter().sum();
        Ok(Self { sum: -sum, labels: labels.iter().flatten().count() })
    }

    /// Returns the mean over the label tokens: rows count by their length.
    pub fn loss(&self) -> f64 {
        self.sum / self.labels as f64
    }

    /// Returns `e` to the [`loss`](Self::loss), the number of tokens the model is undecided between;
    /// the largest number there is where that is too large for one.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.loss()).min(f64::MAX)
    }
}

/// Evaluates `run` on all of `rows`, `batch` at a time: memory depends on `batch`, not on how many
/// rows there are.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if no row has a label token, or the
/// loss is not finite; those of the rows and of [`Evaluate::evaluate`], naming the rows.
pub fn evaluate(
    run: &(impl Evaluate + ?Sized),
    rows: &(impl Rows + ?Sized),
    batch: usize,
) -> Result<Evaluation> {
    let (batch, count) = (batch.max(1), rows.count());
    let mut whole = Evaluation::default();
    for first in (0..count).step_by(batch) {
        let range = first..count.min(first + batch);
        let failed = |e: Error| {
            let message = format!("cannot evaluate the rows {range:?} held out");
            Error::new(e.kind(), message).with_source(e)
        };
        let chosen: Vec<Tokens> =
            range.clone().map(|row| rows.row(row)).collect::<Result<_>>().map_err(failed)?;
        let part = run.evaluate(&chosen.iter().collect::<Vec<_>>()).map_err(failed)?;
        whole = Evaluation::new(whole.sum + part.sum, whole.labels + part.labels);
    }
    if whole.labels == 0 {
        return Err(Error::invalid(format!("no label token in the {count} rows held out")));
    }
    if !whole.sum.is_finite() {
        return Err(Error::invalid(
            "the loss of the rows held out is not finite: lower the step size",
        ));
    }
    Ok(whole)
}
