//! Trains the small base model that ships with the examples, from nothing, on texts of our own.
//!
//! ```text
//! cargo run --release --example pretrain -- --out examples/models/base
//! ```
#![expect(clippy::print_stdout, reason = "an app talks to its user")]

use std::{ops::ControlFlow, path::PathBuf};

use clap::Parser;
use openledger_core::{Error, Result};
use openledger_datanet::{Limits, intake};
use openledger_examples::bar;
use openledger_model::{
    Batch, LlamaConfig, Model, ModelFiles, Network, Tape, Template, Tokenizer, Tokens, Trainable,
};
use openledger_train::{AdamW, BaseRun, Plan, Schedule, fit};

/// Trains a small Llama from nothing on questions and answers.
#[derive(Debug, Parser)]
struct Options {
    /// Folder of files with questions and answers.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/base"))]
    data: PathBuf,
    /// Folder for the model.
    #[arg(long)]
    out: PathBuf,
    /// Tokens of the vocabulary.
    #[arg(long, default_value_t = 2048)]
    vocabulary: usize,
    /// Width.
    #[arg(long, default_value_t = 192)]
    hidden: usize,
    /// Blocks.
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Attention heads.
    #[arg(long, default_value_t = 6)]
    heads: usize,
    /// Passes over the texts.
    #[arg(long, default_value_t = 6)]
    epochs: usize,
    /// Largest step size.
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// Part of each weight that decays, times the step size.
    #[arg(long, default_value_t = 0.1)]
    weight_decay: f64,
}

/// One row in this many is held out, to see what the model makes of texts it never saw.
const HELD_OUT: usize = 25;

fn main() {
    if let Err(error) = run(&Options::parse()) {
        openledger_examples::exit(&error);
    }
}

fn run(options: &Options) -> Result<()> {
    let mut rows = Vec::new();
    let listed = std::fs::read_dir(&options.data).map_err(|e| {
        Error::invalid(format!("cannot list `{}`", options.data.display())).with_source(e)
    })?;
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let drafts = intake::read(&file, &intake::Fields::Found, &Limits::default())?;
        rows.extend(drafts.into_iter().map(|draft| draft.row));
    }
    let texts: Vec<String> = rows
        .iter()
        .map(|row| format!("Question: {}\nAnswer: {}", row.prompt(), row.completion()))
        .collect();
    let tokenizer = Tokenizer::train(&texts, options.vocabulary)?;
    let eos = tokenizer.token("</s>").unwrap_or_default();
    let tokens: Vec<Tokens> = rows
        .iter()
        // The model learns the questions as well: they are texts like any other.
        .map(|row| {
            let row = Template::default().row(&tokenizer, row, Some(eos), 256)?;
            Ok(Tokens::new(&[], &row.tokens))
        })
        .collect::<Result<_>>()?;
    let (held_out, learned): (Vec<_>, Vec<_>) =
        tokens.into_iter().enumerate().partition(|(index, _)| index % HELD_OUT == 0);
    let [held_out, learned] =
        [held_out, learned].map(|rows| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>());

    let config =
        LlamaConfig::small(options.vocabulary, options.hidden, options.layers, options.heads, eos)?;
    let network = Network::init(&config.to_json(), 1)?;
    let count: usize = learned.iter().map(|row| row.tokens.len()).sum();
    println!(
        "{} rows, {count} tokens; a model of {} weights",
        learned.len(),
        network.weights().elements()
    );
    let optimiser = AdamW::default().with_weight_decay(options.weight_decay).with_beta2(0.99);
    let mut run = BaseRun::new(network, optimiser);
    let plan = Plan::default()
        .with_epochs(options.epochs)
        .with_batch(16)
        .with_rate(options.rate, 100, Schedule::Cosine)
        .with_seed(1);
    let progress = bar("training", plan.steps(learned.len()));
    let fitted = fit(&mut run, &learned, &plan, |event| {
        progress.set_message(format!("loss {:.3}", event.done.loss));
        progress.inc(1);
        ControlFlow::Continue(())
    })?;
    progress.finish_and_clear();
    let (first, last) = fitted.first_and_last(&plan);
    println!("loss of the first pass {first:.3}, of the last {last:.3}");
    println!("loss of rows held out {:.3}", loss(run.network(), &held_out)?);

    let files = ModelFiles::new(
        config.to_json(),
        tokenizer.to_json(),
        run.network().weights().to_safetensors_bf16(),
    );
    files.write(&options.out)?;
    let model = Model::open(&options.out)?;
    println!("written to `{}`: model {}", options.out.display(), model.id());
    println!("loss of rows held out, weights rounded {:.3}", loss(model.network(), &held_out)?);
    Ok(())
}

fn loss(network: &Network, rows: &[Tokens]) -> Result<f64> {
    let (mut sum, mut labels) = (0.0, 0);
    for row in rows {
        let batch = Batch::new([&row.tokens[..]]);
        let mut tape = Tape::new(network, None, Trainable::Nothing, &batch);
        let hidden = tape.run()?;
        let loss = tape.loss(&hidden, &row.labels(), 1.0);
        sum += loss.sum;
        labels += loss.labels;
    }
    Ok(sum / labels.max(1) as f64)
}
