//! What all objectives share: answers go in, the `log p` of each comes out, and a gradient by it.

use openledger_core::{Error, Result};
use openledger_model::{Batch, Gradients, Lora, Network, Tape, Tokens, Trainable};

use super::{Judgement, LogP, Loss, Objective, Slope};

/// The tokens of an answer.
pub(super) fn count(answer: &Tokens) -> usize {
    answer.labels().iter().flatten().count()
}

fn labels(answers: &[&Tokens]) -> usize {
    answers.iter().map(|answer| count(answer)).sum()
}

/// Refuses what cannot be learned.
fn check(network: &Network, answers: &[&Tokens]) -> Result<()> {
    if answers.is_empty() || answers.iter().any(|answer| count(answer) == 0) {
        return Err(Error::invalid("a step without answers, or an answer without tokens"));
    }
    answers.iter().try_for_each(|answer| network.check_tokens(&answer.tokens))
}

/// How answers are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    pub(crate) network: &'a Network,
    pub(crate) lora: &'a Lora,
    /// Examples computed at a time; all of them if none is said.
    pub(crate) part: Option<usize>,
    /// Whether only what blocks return is kept for the way back.
    pub(crate) checkpointing: bool,
}

impl Pass<'_> {
    /// Returns the loss of `examples` and its gradient; `base` is the base model's `log p` of their
    /// answers, where it is known.
    ///
    /// In parts, each is run twice: slopes are known only when every answer's `log p` is.
    pub(crate) fn gradients<O: Objective>(
        &self,
        objective: &O,
        examples: &[&O::Example],
        base: Option<&[f64]>,
    ) -> Result<Slope> {
        let answers = self.answers(objective, examples)?;
        let rest = self.rest(objective, examples, &answers, base)?;
        let labels = labels(&answers);
        let mut gradients = Gradients::of_lora(self.lora);
        let part = self.answers_at_a_time(examples, &answers);
        if part >= answers.len() {
            let loss = |ours: &[f64]| objective.loss(examples, &rest.with(ours));
            let Loss { loss, .. } = self.differentiate(&answers, &mut gradients, loss)?;
            return Ok(Slope::new(loss, labels, gradients));
        }
        let ours = self.log_p(Some(self.lora), &answers, part)?;
        let Loss { loss, slopes, .. } = objective.loss(examples, &rest.with(&ours))?;
        for (answers, slopes) in answers.chunks(part).zip(slopes.chunks(part)) {
            let known = |_: &[f64]| Ok(Loss::new(loss, slopes.to_vec()));
            self.differentiate(answers, &mut gradients, known)?;
        }
        Ok(Slope::new(loss, labels, gradients))
    }

    /// Returns the base model's `log p` of answers.
    pub(crate) fn base(&self, answers: &[&Tokens]) -> Result<Vec<f64>> {
        check(self.network, answers)?;
        log_probabilities(self.network, None, answers)
    }

    /// Returns the loss of `examples` alone, and the tokens it is of.
    pub(crate) fn loss<O: Objective>(
        &self,
        objective: &O,
        examples: &[&O::Example],
        base: Option<&[f64]>,
    ) -> Result<(Loss, usize)> {
        let answers = self.answers(objective, examples)?;
        let rest = self.rest(objective, examples, &answers, base)?;
        let part = self.answers_at_a_time(examples, &answers);
        let ours = self.log_p(Some(self.lora), &answers, part)?;
        let loss = objective.loss(examples, &rest.with(&ours))?;
        Ok((loss, labels(&answers)))
    }

    /// The answers of all examples, none of which cannot be learned.
    fn answers<'a, O: Objective>(
        &self,
        objective: &O,
        examples: &[&'a O::Example],
    ) -> Result<Vec<&'a Tokens>> {
        let (given, least) = (examples.len(), objective.least());
        if given < least {
            return Err(Error::invalid(format!(
                "{given} examples in a step that compares {least} or more with each other"
            )));
        }
        let answers: Vec<&Tokens> = examples.iter().flat_map(|it| it.answers()).collect();
        check(self.network, &answers)?;
        Ok(answers)
    }

    fn answers_at_a_time<E>(&self, examples: &[E], answers: &[&Tokens]) -> usize {
        let each = answers.len().div_ceil(examples.len().max(1));
        self.part.map_or(answers.len(), |part| part.max(1) * each)
    }

    /// All that a loss depends on but the adapter's `log p` of the answers.
    fn rest<O: Objective>(
        &self,
        objective: &O,
        examples: &[&O::Example],
        answers: &[&Tokens],
        base: Option<&[f64]>,
    ) -> Result<Rest> {
        let part = self.answers_at_a_time(examples, answers);
        let base = match (objective.compares(), base) {
            (false, _) => vec![0.0; answers.len()],
            (true, Some(base)) => base.to_vec(),
            (true, None) => self.log_p(None, answers, part)?,
        };
        let strangers = objective.strangers(examples, self.network.decoder().max_positions());
        let strangers: Vec<&Tokens> = strangers.iter().collect();
        let ours = self.log_p(Some(self.lora), &strangers, part)?;
        let theirs = self.log_p(None, &strangers, part)?;
        let apart = ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect();
        Ok(Rest { base, apart })
    }

    /// `log p` of each answer, `part` answers at a time.
    fn log_p(&self, lora: Option<&Lora>, answers: &[&Tokens], part: usize) -> Result<Vec<f64>> {
        let mut found = Vec::with_capacity(answers.len());
        for answers in answers.chunks(part.max(1)) {
            found.extend(log_probabilities(self.network, lora, answers)?);
        }
        Ok(found)
    }

    /// Adds the gradient of the loss that `loss_of` makes of the answers' `log p`, and returns it.
    fn differentiate(
        &self,
        answers: &[&Tokens],
        gradients: &mut Gradients,
        loss_of: impl FnOnce(&[f64]) -> Result<Loss>,
    ) -> Result<Loss> {
        let batch = Batch::new(answers.iter().map(|answer| &answer.tokens[..]));
        let labels: Vec<Option<u32>> = answers.iter().flat_map(|answer| answer.labels()).collect();
        let mut tape = Tape::new(self.network, Some(self.lora), Trainable::Lora, &batch)
            .with_checkpointing(self.checkpointing);
        let hidden = tape.run()?;
        let loss = loss_of(&by_answer(&batch, &tape.log_probabilities(&hidden, &labels)))?;
        let mut scales = vec![0.0; labels.len()];
        for (rows, slope) in batch.sequences().iter().zip(&loss.slopes) {
            // The tape takes scales of `-log p`.
            scales[rows.clone()].fill(-slope as f32);
        }
        tape.loss_each(&hidden, &labels, &scales);
        tape.backward(gradients);
        Ok(loss)
    }
}

/// What does not depend on the step's own pass.
struct Rest {
    base: Vec<f64>,
    apart: Vec<f64>,
}

impl Rest {
    fn with<'a>(&'a self, ours: &'a [f64]) -> LogP<'a> {
        LogP { ours, base: &self.base, strangers: &self.apart }
    }
}

/// `log p` of each answer.
pub(crate) fn log_probabilities(
    network: &Network,
    lora: Option<&Lora>,
    answers: &[&Tokens],
) -> Result<Vec<f64>> {
    let batch = Batch::new(answers.iter().map(|answer| &answer.tokens[..]));
    let labels: Vec<Option<u32>> = answers.iter().flat_map(|answer| answer.labels()).collect();
    let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
    let hidden = tape.run()?;
    Ok(by_answer(&batch, &tape.log_probabilities(&hidden, &labels)))
}

fn by_answer(batch: &Batch, each: &[f64]) -> Vec<f64> {
    batch.sequences().iter().map(|rows| each[rows.clone()].iter().sum()).collect()
}
