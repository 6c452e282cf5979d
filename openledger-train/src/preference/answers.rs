//! What all objectives share: answers go in, the `log p` of each comes out, and a gradient by it.

use openledger_core::{Error, Result};
use openledger_model::{Batch, Gradients, Lora, Network, Tape, Tokens, Trainable};

use super::Slope;

/// The tokens of an answer.
pub(super) fn count(answer: &Tokens) -> usize {
    answer.labels().iter().flatten().count()
}

/// Refuses what cannot be learned.
pub(super) fn check(network: &Network, answers: &[&Tokens]) -> Result<()> {
    if answers.is_empty() || answers.iter().any(|answer| count(answer) == 0) {
        return Err(Error::invalid("a step without answers, or an answer without tokens"));
    }
    answers.iter().try_for_each(|answer| network.check_tokens(&answer.tokens))
}

/// Differentiates a loss of the answers' `log p`: `loss_of` is given the `log p` of each answer under
/// the adapter and returns the loss and its slope by each.
pub(super) fn differentiate(
    network: &Network,
    lora: &Lora,
    answers: &[&Tokens],
    loss_of: impl FnOnce(&[f64]) -> (f64, Vec<f64>),
) -> Result<Slope> {
    let batch = Batch::new(answers.iter().map(|answer| &answer.tokens[..]));
    let labels: Vec<Option<u32>> = answers.iter().flat_map(|answer| answer.labels()).collect();
    let mut tape = Tape::new(network, Some(lora), Trainable::Lora, &batch);
    let hidden = tape.run()?;
    let (loss, slopes) = loss_of(&by_answer(&batch, &tape.log_probabilities(&hidden, &labels)));
    let mut scales = vec![0.0; labels.len()];
    for (rows, slope) in batch.sequences().iter().zip(slopes) {
        // The tape takes scales of `-log p`.
        scales[rows.clone()].fill(-slope as f32);
    }
    tape.loss_each(&hidden, &labels, &scales);
    let mut gradients = Gradients::of_lora(lora);
    tape.backward(&mut gradients);
    Ok(Slope::new(loss, labels.iter().flatten().count(), gradients))
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
