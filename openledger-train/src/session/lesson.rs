//! What a session drives: rows, and the run that learns them.

use std::fmt;

use openledger_core::{B256, Result, digest};
use openledger_model::Tokens;

use crate::{Evaluate, Evaluation, Objective, Plan, Resume, Rows, Run, Step, evaluate};

/// Something to learn, in numbered parts. Implement this for another objective; call
/// [`Session::train`](crate::Session::train).
///
/// # Contract
/// - As of [`Run`] and [`Resume`], with rows given by number.
pub trait Lesson: Resume {
    /// Returns whether this is what a configuration with that objective learns: a training record must not
    /// say otherwise.
    fn learns(&self, objective: &Objective) -> bool;

    /// Returns how many rows there are to learn.
    fn count(&self) -> usize;

    /// Returns the rows of each step by `plan`.
    ///
    /// # Errors
    /// Those of reading rows.
    fn order(&self, plan: &Plan) -> Result<Vec<Vec<usize>>>;

    /// Returns a digest of all rows, those held out included: a run does not go on with others.
    ///
    /// # Errors
    /// Those of reading rows.
    fn digest(&self) -> Result<B256>;

    /// Takes a step on the rows with these numbers, as [`Run::step`].
    ///
    /// # Errors
    /// Those of [`Run::step`] and of reading rows.
    fn step(&mut self, rows: &[usize], rate: f64, clip: Option<f64>) -> Result<Learned>;

    /// Returns how well the rows held out are told, if there are any.
    ///
    /// # Errors
    /// Those of [`evaluate`].
    fn evaluate(&self) -> Result<Option<HeldOut>>;

    /// Returns what has been learned so far, as [`Run::snapshot`].
    ///
    /// # Errors
    /// Those of [`Run::snapshot`].
    fn snapshot(&self) -> Result<Vec<u8>>;
}

/// What a step of a [`Lesson`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Learned {
    /// What the run says.
    pub step: Step,
    /// Tokens read.
    pub tokens: usize,
}

/// How well rows held out are told.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeldOut {
    /// Their loss.
    pub loss: f64,
    /// Label tokens.
    pub labels: usize,
    /// `e` to the loss, where that is the mean of `-ln p` of the label tokens.
    pub perplexity: Option<f64>,
    /// The part of judged answers told the right way round, where rows are such.
    pub accuracy: Option<f64>,
}

impl HeldOut {
    /// Takes a loss of so many label tokens, for lessons.
    pub const fn new(loss: f64, labels: usize) -> Self {
        Self { loss, labels, perplexity: None, accuracy: None }
    }

    /// Returns this with the part of judged answers told the right way round.
    #[must_use]
    pub const fn with_accuracy(mut self, accuracy: Option<f64>) -> Self {
        self.accuracy = accuracy;
        self
    }
}

impl From<Evaluation> for HeldOut {
    fn from(found: Evaluation) -> Self {
        Self { perplexity: Some(found.perplexity()), ..Self::new(found.loss(), found.labels) }
    }
}

/// Learns to say the next token of each row.
#[derive(Debug)]
pub struct NextToken<'a, R> {
    run: R,
    rows: &'a dyn Rows,
    held_out: Option<&'a dyn Rows>,
    batch: usize,
}

impl<'a, R> NextToken<'a, R> {
    /// Learns `rows` with `run`.
    pub fn new(run: R, rows: &'a dyn Rows) -> Self {
        Self { run, rows, held_out: None, batch: 8 }
    }

    /// Returns this with rows to be evaluated on.
    #[must_use]
    pub fn with_held_out(mut self, rows: &'a dyn Rows) -> Self {
        self.held_out = Some(rows);
        self
    }

    /// Returns this with so many rows evaluated at a time; eight unless told otherwise.
    #[must_use]
    pub const fn with_evaluation_batch(mut self, rows: usize) -> Self {
        self.batch = rows;
        self
    }

    /// Returns the run.
    pub const fn run(&self) -> &R {
        &self.run
    }
}

impl<R: Resume> Resume for NextToken<'_, R> {
    fn state(&self) -> Result<Vec<u8>> {
        self.run.state()
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.run.restore(state)
    }
}

impl<R: Evaluate + Resume + Run + fmt::Debug> Lesson for NextToken<'_, R> {
    fn learns(&self, objective: &Objective) -> bool {
        *objective == Objective::NextToken
    }

    fn count(&self) -> usize {
        self.rows.count()
    }

    fn order(&self, plan: &Plan) -> Result<Vec<Vec<usize>>> {
        plan.order(self.rows)
    }

    fn digest(&self) -> Result<B256> {
        let held_out = self.held_out.map(of_rows).transpose()?;
        Ok(digest("openledger.rows.v1", &(of_rows(self.rows)?, held_out)))
    }

    fn step(&mut self, rows: &[usize], rate: f64, clip: Option<f64>) -> Result<Learned> {
        let rows: Vec<Tokens> =
            rows.iter().map(|&row| self.rows.row(row)).collect::<Result<_>>()?;
        let tokens = rows.iter().map(|row| row.tokens.len()).sum();
        let step = self.run.step(&rows.iter().collect::<Vec<_>>(), rate, clip)?;
        Ok(Learned { step, tokens })
    }

    fn evaluate(&self) -> Result<Option<HeldOut>> {
        let found = self.held_out.map(|rows| evaluate(&self.run, rows, self.batch)).transpose()?;
        Ok(found.map(HeldOut::from))
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        self.run.snapshot()
    }
}

/// A digest of tokens and labels, row after row: nothing is held but one row.
fn of_rows(rows: &dyn Rows) -> Result<B256> {
    (0..rows.count()).try_fold(B256::ZERO, |before, index| {
        let row = rows.row(index)?;
        Ok(digest("openledger.rows.v1", &(before, &row.tokens, row.labels())))
    })
}
