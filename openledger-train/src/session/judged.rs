//! Judged answers as a session learns them.

use std::cell::OnceCell;

use openledger_core::{B256, Error, Result, digest};

use super::{HeldOut, Learned, Lesson};
use crate::{
    Judgements, Plan, PreferenceRun, Resume,
    preference::{Judgement, Objective},
};

/// Learns from what people think of answers.
///
/// The base model's `log p` of an answer never changes. It is computed once, when it is first asked for
/// and with nothing beside it, so that a run which goes on from a checkpoint finds the same bits.
///
/// # Examples
/// ```
/// use std::{ops::ControlFlow, sync::Arc};
/// use openledger_model::{Lora, Tokens, testing};
/// use openledger_train::{
///     FromJudgements, Objective, Pair, Preference, PreferenceRun, Session, TrainingConfig,
/// };
///
/// let model = testing::tiny(1)?;
/// let network = Arc::new(model.network().clone());
/// let config = TrainingConfig::parse(
///     br#"{"objective": {"preference": {"dpo": {"beta": 0.1}}}, "lora": {"rank": 2},
///          "plan": {"epochs": 6, "batch": 1, "warmup": 0, "rate": 0.01}}"#,
/// )?;
/// let Objective::Preference(objective) = config.objective else { unreachable!() };
/// let start = Lora::init(&network, &config.lora, 7)?.to_files(&network, &config.lora).weights;
/// let run = PreferenceRun::start(network, &config.lora, config.optimiser, &start, objective)?;
/// let pairs = vec![Pair {
///     chosen: Tokens::new(&[72, 105], &[89, 101, 115]),
///     rejected: Tokens::new(&[72, 105], &[78, 111]),
/// }];
/// let mut lesson = FromJudgements::new(run, &pairs);
/// let trained =
///     Session::new(model.id(), &config).train(&mut lesson, |_| ControlFlow::Continue(()))?;
/// assert!(trained.course.losses[5] < trained.course.losses[0]);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FromJudgements<'a, O: Objective> {
    run: PreferenceRun<O>,
    learned: Known<'a, O::Example>,
    held_out: Option<Known<'a, O::Example>>,
    batch: usize,
}

impl<'a, O: Objective> FromJudgements<'a, O> {
    /// Learns `judgements` with `run`.
    pub fn new(run: PreferenceRun<O>, judgements: &'a dyn Judgements<O::Example>) -> Self {
        Self { run, learned: Known::new(judgements), held_out: None, batch: 8 }
    }

    /// Returns this with judgements to be evaluated on.
    #[must_use]
    pub fn with_held_out(mut self, judgements: &'a dyn Judgements<O::Example>) -> Self {
        self.held_out = Some(Known::new(judgements));
        self
    }

    /// Returns this with so many judgements evaluated at a time; eight unless told otherwise. Where an
    /// objective compares examples with each other, it is with those evaluated at the same time.
    #[must_use]
    pub const fn with_evaluation_batch(mut self, judgements: usize) -> Self {
        self.batch = judgements;
        self
    }

    /// The base model's `log p` of the answers of these examples, if the objective asks for it.
    fn base(
        &self,
        known: &Known<'_, O::Example>,
        numbers: &[usize],
        examples: &[&O::Example],
    ) -> Result<Option<Vec<f64>>> {
        if !self.run.objective().compares() {
            return Ok(None);
        }
        let mut base = Vec::new();
        for (&number, example) in numbers.iter().zip(examples) {
            let cell = known.base.get(number);
            match cell.and_then(OnceCell::get) {
                Some(kept) => base.extend_from_slice(kept),
                None => {
                    let found = self.run.base(example)?;
                    base.extend_from_slice(&found);
                    if let Some(cell) = cell {
                        // Only the first of two is kept, and they are the same.
                        let _ = cell.set(found.into());
                    }
                }
            }
        }
        Ok(Some(base))
    }
}

impl<O: Objective> Resume for FromJudgements<'_, O> {
    fn state(&self) -> Result<Vec<u8>> {
        self.run.state()
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.run.restore(state)
    }
}

impl<O: Objective + Copy + Into<crate::Objective>> Lesson for FromJudgements<'_, O> {
    fn learns(&self, objective: &crate::Objective) -> bool {
        *objective == (*self.run.objective()).into()
    }

    fn count(&self) -> usize {
        self.learned.judgements.count()
    }

    /// As the plan says; a step of fewer examples than the objective compares joins the one before.
    fn order(&self, plan: &Plan) -> Result<Vec<Vec<usize>>> {
        let (judgements, least) = (self.learned.judgements, self.run.objective().least());
        let count = judgements.count();
        if count < least {
            let message = format!("{count} examples, and the objective compares {least} or more");
            return Err(Error::invalid(message));
        }
        let steps = plan.order_by(count, |number| judgements.length(number))?;
        Ok(joined(steps, least))
    }

    fn digest(&self) -> Result<B256> {
        let held_out = self.held_out.as_ref().map(Known::digest).transpose()?;
        Ok(digest("openledger.judgements.v1", &(self.learned.digest()?, held_out)))
    }

    fn step(&mut self, rows: &[usize], rate: f64, clip: Option<f64>) -> Result<Learned> {
        let examples = self.learned.take(rows)?;
        let examples: Vec<&O::Example> = examples.iter().collect();
        let answers = examples.iter().flat_map(|example| example.answers());
        let tokens = answers.map(|answer| answer.tokens.len()).sum();
        let base = self.base(&self.learned, rows, &examples)?;
        let step = self.run.step_from(&examples, base.as_deref(), rate, clip)?;
        Ok(Learned { step, tokens })
    }

    fn evaluate(&self) -> Result<Option<HeldOut>> {
        let Some(known) = &self.held_out else { return Ok(None) };
        let numbers: Vec<usize> = (0..known.judgements.count()).collect();
        let batches = numbers.chunks(self.batch.max(1)).map(<[usize]>::to_vec).collect();
        let (mut sum, mut labels, mut right) = (0.0, 0, Some(0));
        for batch in joined(batches, self.run.objective().least()) {
            let failed = |e: Error| {
                let message = format!("cannot evaluate the judgements {batch:?} held out");
                Error::new(e.kind(), message).with_source(e)
            };
            let examples = known.take(&batch).map_err(failed)?;
            let examples: Vec<&O::Example> = examples.iter().collect();
            let base = self.base(known, &batch, &examples).map_err(failed)?;
            let (loss, of) = self.run.evaluate(&examples, base.as_deref()).map_err(failed)?;
            sum += loss.loss * batch.len() as f64;
            labels += of;
            right = right.zip(loss.right).map(|(all, right)| all + right);
        }
        let count = numbers.len() as f64;
        if !(sum / count).is_finite() {
            return Err(Error::invalid(format!(
                "the loss of the {count} judgements held out is {}",
                sum / count
            )));
        }
        let accuracy = right.map(|right| right as f64 / count);
        Ok(Some(HeldOut::new(sum / count, labels).with_accuracy(accuracy)))
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.run.snapshot())
    }
}

/// Judgements, and what the base model gives their answers, once it was computed.
#[derive(Debug)]
struct Known<'a, J: Judgement> {
    judgements: &'a dyn Judgements<J>,
    base: Vec<OnceCell<Box<[f64]>>>,
}

impl<'a, J: Judgement> Known<'a, J> {
    fn new(judgements: &'a dyn Judgements<J>) -> Self {
        let base = (0..judgements.count()).map(|_| OnceCell::new()).collect();
        Self { judgements, base }
    }

    fn take(&self, numbers: &[usize]) -> Result<Vec<J>> {
        numbers.iter().map(|&number| self.judgements.judgement(number)).collect()
    }

    /// A digest of judgement after judgement: nothing is held but one.
    fn digest(&self) -> Result<B256> {
        (0..self.judgements.count()).try_fold(B256::ZERO, |before, number| {
            let judgement = self.judgements.judgement(number)?.digest();
            Ok(digest("openledger.judgements.v1", &(before, judgement)))
        })
    }
}

/// Joins steps of fewer than `least` with the one before, the first with the next.
fn joined(steps: Vec<Vec<usize>>, least: usize) -> Vec<Vec<usize>> {
    let mut joined: Vec<Vec<usize>> = Vec::with_capacity(steps.len());
    for step in steps {
        match joined.last_mut().filter(|last| step.len().min(last.len()) < least) {
            Some(last) => last.extend(step),
            None => joined.push(step),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_too_small_to_compare_join_the_one_before_and_the_first_the_next() {
        let steps = vec![vec![1], vec![2, 3], vec![4, 5], vec![6]];
        assert_eq!(joined(steps.clone(), 2), [vec![1, 2, 3], vec![4, 5, 6]]);
        assert_eq!(joined(steps.clone(), 1), steps);
    }
}
