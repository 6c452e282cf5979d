//! Compares what is computed here with what transformers and PEFT computed, number by number.
//!
//! A case is a folder with a checkpoint, inputs and everything the reference found for them. Where it
//! has no weights they follow from the names of the tensors, so that a large case is small. Two
//! layouts are known: that of one pass and a short run (`reference.safetensors` with `input_ids`),
//! and that of longer runs over several batches (`ids.safetensors`).

mod once;
mod portable;
mod runs;
mod tensors;

use std::{path::Path, sync::Arc};

use openledger_core::{Error, ErrorKind, Result, file};
use openledger_model::{
    Batch, Gradients, Lora, LoraConfig, Network, Tape, Tokens, Trainable, Weights,
};
use serde::Serialize;
use serde_json::Value;

use crate::{NativeRun, Optimiser, Run, Step};
use tensors::Tensors;

/// The largest file of a case: 8 GiB.
const MAX_FILE: u64 = 8 << 30;
/// The largest `reference.json`: 64 MiB.
const MAX_JSON: u64 = 64 << 20;

/// The largest difference of logits and hidden states.
const LOGITS: f64 = 5e-5;
/// The largest difference of a loss at any step of a run.
const LOSS: f64 = 2e-5;
/// The largest difference of gradients, relative to the largest element of the matrix.
const GRADIENT: f64 = 1e-4;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was compared.
    pub name: String,
    /// The largest difference; of tokens and choices, how many differ.
    pub max_difference: f64,
    /// How large it may be.
    pub tolerance: f64,
    /// Whether it is no larger.
    pub pass: bool,
}

/// Everything compared.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The comparisons.
    pub checks: Vec<Check>,
    /// What the case holds and this version cannot compute yet.
    pub not_compared: Vec<String>,
}

impl Check {
    fn new(name: impl Into<String>, max_difference: f64, tolerance: f64) -> Self {
        let pass = max_difference <= tolerance;
        Self { name: name.into(), max_difference, tolerance, pass }
    }
}

/// Compares everything the case in `folder` holds, and says what it cannot.
///
/// # Errors
/// [`ErrorKind::NotFound`] if it is no case, or naming the file or tensor that is missing; those of
/// [`Network::new`] and [`Lora::from_safetensors`].
///
/// # Examples
/// ```no_run
/// for check in openledger_train::parity::compare("cases/train/arch/qwen2")?.checks {
///     println!("{} {:e} {}", check.name, check.max_difference, check.pass);
/// }
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub fn compare(folder: impl AsRef<Path>) -> Result<Report> {
    let case = Case::open(folder.as_ref())?;
    if case.has("reference.safetensors") {
        return Ok(Report { checks: once::compare(&case)?, not_compared: Vec::new() });
    }
    if case.has("ids.safetensors") {
        return Ok(Report { checks: runs::compare(&case)?, not_compared: runs::missing(&case) });
    }
    let message = format!(
        "`{}` is no case: it has neither `reference.safetensors` nor `ids.safetensors`",
        folder.as_ref().display()
    );
    Err(Error::new(ErrorKind::NotFound, message))
}

/// The run that a case's main loss curve is of, to be timed step by step.
#[derive(Debug)]
pub struct Training {
    run: NativeRun,
    batches: Vec<Vec<Tokens>>,
    steps: usize,
}

impl Training {
    /// Prepares the run of the case in `folder`, over its base model as `prepare` returns it.
    ///
    /// # Errors
    /// Those of [`compare`].
    pub fn open(
        folder: impl AsRef<Path>,
        prepare: impl FnOnce(Network) -> Network,
    ) -> Result<Self> {
        let case = Case::open(folder.as_ref())?;
        let (config, start, batches) = match case.has("reference.safetensors") {
            true => {
                let config = once::config(&case)?;
                let sequences = case.tensors("reference.safetensors")?.tokens("input_ids")?;
                let rows = sequences.iter().map(|row| Tokens::new(&[], row)).collect();
                (config, case.read("adapter_bnz.safetensors")?, vec![rows])
            }
            false => {
                let config = runs::config(&case)?;
                let start = case.start(&config, Start::Zero)?;
                (config, start, runs::batches(&case.tensors("ids.safetensors")?)?)
            }
        };
        let network = Arc::new(prepare(Network::clone(&case.network)));
        let run = NativeRun::start(network, &config, Optimiser::default(), &start)?;
        Ok(Self { run, batches, steps: 0 })
    }

    /// Returns this with activation checkpointing or without.
    #[must_use]
    pub fn with_checkpointing(mut self, checkpointing: bool) -> Self {
        self.run = self.run.with_checkpointing(checkpointing);
        self
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// Those of [`Run::step`].
    pub fn step(&mut self) -> Result<Step> {
        let rows: Vec<&Tokens> = self.batches[self.steps % self.batches.len()].iter().collect();
        self.steps += 1;
        self.run.step(&rows, 1e-3, None)
    }
}

/// A folder opened.
struct Case<'a> {
    folder: &'a Path,
    config: Vec<u8>,
    network: Arc<Network>,
    reference: Value,
}

impl<'a> Case<'a> {
    fn open(folder: &'a Path) -> Result<Self> {
        let config = file::read(folder.join("config.json"), MAX_JSON)?;
        let weights = folder.join("model.safetensors");
        let weights = match weights.exists() {
            true => Weights::from_safetensors(file::read(weights, MAX_FILE)?)?,
            false => portable::weights(&config)?,
        };
        let network = Network::new(&config, weights)?;
        let reference = file::read(folder.join("reference.json"), MAX_JSON)?;
        let reference = serde_json::from_slice(&reference)
            .map_err(|e| Error::corrupt("`reference.json` is not JSON").with_source(e))?;
        Ok(Self { folder, config, network: Arc::new(network), reference })
    }

    fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        file::read(self.folder.join(name), MAX_FILE)
    }

    /// The matrices a run starts from: stored, or those that follow from their names.
    fn start(&self, config: &LoraConfig, start: Start) -> Result<Vec<u8>> {
        let stored = match start {
            Start::Zero => "adapter_init_b0.safetensors",
            Start::Nonzero => "adapter_init_bnz.safetensors",
        };
        match self.has(stored) {
            true => self.read(stored),
            false => portable::adapter(&self.network, config, start),
        }
    }

    fn lora(&self, config: &LoraConfig, start: Start) -> Result<Lora> {
        Lora::from_safetensors(&self.network, config, &self.start(config, start)?)
    }

    fn tensors(&self, name: &str) -> Result<Tensors> {
        Tensors::parse(&self.read(name)?).map_err(|e| {
            Error::new(e.kind(), format!("cannot use `{name}` of the case")).with_source(e)
        })
    }

    /// A number of `reference.json`.
    fn number(&self, path: &[&str]) -> Result<f64> {
        number(self.value(path)?, path)
    }

    /// A whole number of `reference.json`.
    fn size(&self, path: &[&str]) -> Result<usize> {
        let value = self.value(path)?;
        value.as_u64().and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
            Error::corrupt(format!("`{}` of `reference.json` is {value}", path.join(".")))
        })
    }

    /// A list of numbers of `reference.json`.
    fn numbers(&self, path: &[&str]) -> Result<Vec<f64>> {
        let list = self.value(path)?.as_array();
        let list = list.ok_or_else(|| {
            Error::corrupt(format!("`{}` of `reference.json` is no list", path.join(".")))
        })?;
        list.iter().map(|value| number(value, path)).collect()
    }

    fn value(&self, path: &[&str]) -> Result<&Value> {
        let found = path.iter().try_fold(&self.reference, |value, name| value.get(name));
        found.ok_or_else(|| {
            let message = format!("`reference.json` lacks `{}`", path.join("."));
            Error::new(ErrorKind::NotFound, message)
        })
    }
}

fn number(value: &Value, path: &[&str]) -> Result<f64> {
    value.as_f64().ok_or_else(|| {
        Error::corrupt(format!("`{}` of `reference.json` is {value}", path.join(".")))
    })
}

/// What `B` is at the start of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    Zero,
    Nonzero,
}

/// A forward pass of some sequences.
struct Pass {
    logits: Vec<f32>,
    /// The stream before the first block and after each, and the hidden states before the head.
    hidden: Vec<Vec<f32>>,
    /// Of each layer with experts, each token's: expert and weight, by expert.
    routes: Vec<Vec<Vec<(usize, f32)>>>,
}

fn forward(network: &Network, lora: Option<&Lora>, sequences: &[Vec<u32>]) -> Result<Pass> {
    sequences.iter().try_for_each(|sequence| network.check_tokens(sequence))?;
    let batch = Batch::new(sequences.iter().map(Vec::as_slice));
    let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
    let mut hidden = Vec::new();
    let last = network
        .decoder()
        .hidden_each(&mut tape, |tape, rows| hidden.push(tape.value(rows).to_vec()))?;
    // The reference keeps the last state as the head sees it.
    hidden.pop();
    hidden.push(tape.value(&last).to_vec());
    let routes = tape.routes().map(|tokens| {
        let of = |chosen: &Vec<openledger_model::Chosen>| {
            let mut chosen: Vec<_> = chosen.iter().map(|c| (c.expert, c.weight)).collect();
            chosen.sort_by_key(|&(expert, _)| expert);
            chosen
        };
        tokens.iter().map(of).collect()
    });
    let routes = routes.collect();
    Ok(Pass { logits: tape.logits(&last), hidden, routes })
}

/// The mean loss over the label tokens of some rows, and its gradient.
fn gradients(network: &Network, lora: &Lora, rows: &[&Tokens]) -> Result<(f64, Gradients)> {
    let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
    let labels: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
    let count = labels.iter().flatten().count().max(1);
    let mut tape = Tape::new(network, Some(lora), Trainable::Lora, &batch);
    let hidden = tape.run()?;
    let loss = tape.loss(&hidden, &labels, 1.0 / count as f32);
    let mut gradients = Gradients::of_lora(lora);
    tape.backward(&mut gradients);
    Ok((loss.sum / count as f64, gradients))
}

/// Compares gradients with those stored, matrix by matrix, and returns the worst.
fn check_gradients(
    name: &str,
    network: &Network,
    lora: &Lora,
    ours: &Gradients,
    theirs: &Tensors,
) -> Result<Check> {
    let names = lora.tensors(network).into_iter().map(|(name, _)| name);
    let (mut differences, mut found) = (Vec::new(), 0);
    for (name, ours) in names.zip(ours.matrices()) {
        // Stored may be the gradients of some layers only.
        let Some(theirs) = theirs.get(&name) else { continue };
        let largest = theirs.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
        let difference = difference(ours, theirs)?;
        // A matrix of zeros, as `A`'s gradient is while `B` is zero, must be zero.
        differences.push(if largest > 0.0 { difference / largest } else { difference });
        found += 1;
    }
    if found != theirs.len() {
        let stored = theirs.len();
        return Err(Error::invalid(format!(
            "{found} of {stored} gradients stored are the adapter's"
        )));
    }
    Ok(Check::new(name, worst(differences), GRADIENT))
}

/// Trains as the reference did, and compares each step's loss and gradient norm.
fn check_curve(
    name: &str,
    run: &mut dyn Run,
    batches: &[Vec<Tokens>],
    (losses, norms): (&[f64], &[f64]),
    rate: impl Fn(usize) -> f64,
    clip: Option<f64>,
) -> Result<[Check; 2]> {
    if losses.len() != norms.len() {
        let (losses, norms) = (losses.len(), norms.len());
        return Err(Error::corrupt(format!("`{name}` has {losses} losses and {norms} norms")));
    }
    let (mut of_loss, mut of_norm) = (Vec::new(), Vec::new());
    for (step, (loss, norm)) in losses.iter().zip(norms).enumerate() {
        let rows: Vec<&Tokens> = batches[step % batches.len()].iter().collect();
        let done = run.step(&rows, rate(step), clip)?;
        of_loss.push((done.loss - loss).abs());
        of_norm.push((done.gradient_norm - norm).abs() / norm);
    }
    Ok([
        Check::new(format!("{name} loss"), worst(of_loss), LOSS),
        Check::new(format!("{name} gradient norm"), worst(of_norm), GRADIENT),
    ])
}

/// The largest difference of two lists, infinite if something is not a number.
fn difference(ours: &[f32], theirs: &[f32]) -> Result<f64> {
    if ours.len() != theirs.len() {
        let (ours, theirs) = (ours.len(), theirs.len());
        return Err(Error::invalid(format!("{ours} numbers to compare with {theirs}")));
    }
    let of = |(ours, theirs): (&f32, &f32)| (f64::from(*ours) - f64::from(*theirs)).abs();
    Ok(worst(ours.iter().zip(theirs).map(of)))
}

/// The largest of some differences: infinite if one is not a number, or if nothing was compared.
fn worst(differences: impl IntoIterator<Item = f64>) -> f64 {
    let counted = differences.into_iter().map(|one| if one.is_nan() { f64::INFINITY } else { one });
    counted.reduce(f64::max).unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_compared_is_not_equal() {
        assert_eq!(worst([0.5, 2.0, 1.0]), 2.0);
        for differences in [vec![], vec![f64::NAN], vec![f64::NAN, 0.0], vec![0.0, f64::NAN, 0.0]] {
            assert!(!Check::new("nothing", worst(differences), 1.0).pass);
        }
        assert!(difference(&[1.0], &[1.0, 2.0]).is_err());
    }
}
