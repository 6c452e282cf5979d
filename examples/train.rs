//! Trains an adapter on rows in files.
//!
//! ```text
//! cargo run --release --example train -- --model base --data rows.jsonl --out adapter
//! ```
//! A run that was interrupted goes on with `--resume`, and ends with the same bytes. Ctrl-C ends it behind
//! the step it is at, with a checkpoint and the adapter so far; a second one ends it at once.
#![expect(clippy::print_stdout, reason = "an app talks to its user")]

#[path = "train/export.rs"]
mod export;
#[path = "train/interrupt.rs"]
mod interrupt;
#[path = "train/material.rs"]
mod material;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use clap::{Parser, ValueEnum};
use indicatif::ProgressBar;
use openledger_core::{Error, ErrorKind, Result, file};
use openledger_examples::{Process, bar, cpu_seconds};
use openledger_model::{ChatTemplate, Lora, Model, ModelFiles, Start, gguf::GgmlType};
use openledger_train::{
    Course, Event, EventLog, Happening, Precision, Session, SourceFile, Stop, TrainingConfig,
    TrainingRecord,
    data::{Encode, TokenFile, prepare},
    preflight,
};

use material::Material;

/// Trains an adapter on rows in files.
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the base model, as Hugging Face has it.
    #[arg(long)]
    model: PathBuf,
    /// Files of rows: JSON lines, JSON, CSV, Parquet; those of the configuration if none is given.
    #[arg(long, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Files of rows that are held out.
    #[arg(long, num_args = 1..)]
    eval: Vec<PathBuf>,
    /// Folder for the adapter, the training record and the checkpoint.
    #[arg(long)]
    out: PathBuf,
    /// Configuration in JSON; what it leaves out has its default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// File for events, one a line; `events.jsonl` beside the adapter if none is given.
    #[arg(long)]
    events: Option<PathBuf>,
    /// Goes on from the checkpoint, if there is one.
    #[arg(long)]
    resume: bool,
    /// Refuses a run that needs more memory, in MB.
    #[arg(long)]
    memory: Option<u64>,
    /// Writes the base model with the adapter in its weights as well.
    #[arg(long, value_enum)]
    merge: Option<Dtype>,
    /// GGUF file for the base model with the adapter in its weights.
    #[arg(long)]
    gguf: Option<PathBuf>,
    /// What matrices are stored as in the GGUF file.
    #[arg(long, value_enum, default_value = "f16")]
    gguf_type: GgufType,
    /// GGUF file for the adapter alone, as llama.cpp loads it beside the model.
    #[arg(long)]
    gguf_adapter: Option<PathBuf>,
    /// Threads that compute; the result does not depend on it.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

impl From<Dtype> for Precision {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::Bf16 => Self::Bf16,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum GgufType {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8,
    #[value(name = "q4_0")]
    Q4,
}

impl From<GgufType> for GgmlType {
    fn from(ty: GgufType) -> Self {
        match ty {
            GgufType::F32 => Self::F32,
            GgufType::F16 => Self::F16,
            GgufType::Bf16 => Self::BF16,
            GgufType::Q8 => Self::Q8_0,
            GgufType::Q4 => Self::Q4_0,
        }
    }
}

/// The largest configuration read: 1 MiB.
const MAX_CONFIG: u64 = 1 << 20;

fn main() {
    if let Err(error) = run(&Options::parse()) {
        openledger_examples::exit(&error);
    }
}

fn run(options: &Options) -> Result<()> {
    if let Some(threads) = options.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|e| Error::invalid("cannot start threads").with_source(e.to_string()))?;
    }
    let mut config = configuration(options)?;
    let base = ModelFiles::read(&options.model)?;
    let model = Model::load(&base)?;
    make_folder(&options.out)?;
    let [all, more] = tokens(options, &mut config, &model)?;
    let material = Material::divide(&config, &all, &more)?;

    let (network, pissa) = match config.lora.start {
        Start::Pissa => {
            let (residual, start) = Lora::pissa(model.network(), &config.lora)?;
            (residual, Some(start))
        }
        _ => (model.network().clone(), None),
    };
    let network = Arc::new(config.base.apply(network));
    let start = match &pissa {
        Some(start) => start.clone(),
        None => Lora::init(&network, &config.lora, config.seed)?,
    };
    let start = start.to_files(&network, &config.lora);
    let mut lesson = material.lesson(&network, &config, &start.weights)?;
    let (steps, [learned, held_out]) = (lesson.order(&config.plan)?.len(), material.counts());
    if held_out > 0 && config.evaluation.every.is_none() {
        config.evaluation.every = Some(steps.div_ceil(10).max(1));
    }
    println!("{learned} {material} to learn in {steps} steps, {held_out} held out");
    let (rows, limit) = (material.rows()?, options.memory.map(|mb| mb * 1_000_000));
    println!("{}", preflight(&network, &*rows, &config, limit)?);

    let events = options.events.clone().unwrap_or_else(|| options.out.join("events.jsonl"));
    let checkpoint = options.out.join("checkpoint");
    let (progress, meter) = (bar("training", steps), Process::new());
    let interrupted = interrupt::listen(&progress)?;
    let trained = Session::new(model.id(), &config)
        .with_checkpoint(&checkpoint)
        .with_resume(options.resume)
        .with_log(EventLog::open(&events)?)
        .with_meter(&meter)
        .train(&mut *lesson, |event| {
            show(&progress, event);
            match interrupted.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
    progress.finish_and_clear();

    let mut lora = Lora::from_safetensors(&network, &config.lora, &trained.adapter)?;
    let mut shape = config.lora.clone();
    if let Some(start) = &pissa {
        // For the base as it was.
        (lora, shape) = (lora.without_pissa(start)?, shape.without_pissa()?);
    }
    let files = lora.to_files(&network, &shape);
    files.write(&options.out)?;
    report(&trained.course, &trained.reason, steps);
    println!("adapter    {} in `{}`", files.id(), options.out.display());
    println!("events     `{}`", events.display());
    println!("checkpoint `{}`", checkpoint.display());
    if trained.reason == Stop::Cancelled {
        println!("go on with the same command and `--resume`; it ends with the same bytes");
        return Ok(());
    }
    let record = TrainingRecord {
        model: model.id(),
        datanets: Vec::new(),
        config: config.clone(),
        federation: None,
        adapter: files.id(),
    };
    let record_path = options.out.join("training.json");
    file::write(&record_path, &record.to_json())?;
    println!("record     `{}`", record_path.display());
    export::Trained { base: &base, model: &model, lora: &lora, rows: &*rows }.export(options)
}

/// The rows of the configuration as tokens: those to learn from, and files held out.
fn tokens(options: &Options, config: &mut TrainingConfig, model: &Model) -> Result<[TokenFile; 2]> {
    let data = config.data.clone();
    let chat = data.chat.then(|| ChatTemplate::open(&options.model)).transpose()?;
    let encode = match &chat {
        Some(template) => Encode::chat(model, template, data.max_tokens),
        None => Encode::plain(model, &data.template, data.max_tokens),
    }
    .with_mask(data.mask.clone());
    let objective = config.objective;
    let tokens = |name: &str, files: &mut [SourceFile]| {
        prepare(files, &data, &objective, &encode, options.out.join(name))
    };
    Ok([
        tokens("rows.tokens", &mut config.data.files)?,
        tokens("held-out.tokens", &mut config.evaluation.files)?,
    ])
}

/// Says how a run went.
fn report(course: &Course, reason: &Stop, planned: usize) {
    if let (Some(first), Some(last), Some(best)) =
        (course.evaluations.first(), course.evaluations.last(), course.best())
    {
        println!(
            "loss of rows held out {:.4} at first, {:.4} at last, {:.4} at best (step {})",
            first.loss, last.loss, best.loss, best.step
        );
    }
    let how = match reason {
        Stop::Early => ", ended early".to_owned(),
        Stop::Cancelled => format!(" of {planned}, stopped"),
        _ => String::new(),
    };
    println!("{} steps{how} in {:.1} CPU seconds", course.losses.len(), cpu_seconds());
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| {
        Error::new(ErrorKind::Unavailable, format!("cannot make `{}`", folder.display()))
            .with_source(e)
    })
}

/// The configuration, with the files named on the command line.
fn configuration(options: &Options) -> Result<TrainingConfig> {
    let mut config = match &options.config {
        Some(path) => TrainingConfig::parse(&file::read(path, MAX_CONFIG)?).map_err(|e| {
            Error::new(e.kind(), format!("cannot use `{}`", path.display())).with_source(e)
        })?,
        None => TrainingConfig::default(),
    };
    let named = |files: &[PathBuf]| {
        files.iter().map(|path| SourceFile::new(path.display().to_string())).collect()
    };
    if !options.data.is_empty() {
        config.data.files = named(&options.data);
    }
    if !options.eval.is_empty() {
        config.evaluation.files = named(&options.eval);
    }
    if config.data.files.is_empty() {
        return Err(Error::invalid("no file of rows: give `--data` or `data.files`"));
    }
    Ok(config)
}

/// Shows an event on the bar.
fn show(progress: &ProgressBar, event: &Event) {
    match &event.what {
        Happening::Started { step, .. } => progress.set_position(*step),
        Happening::Step(step) => {
            progress.set_position(step.step);
            progress.set_message(format!("loss {:.3}", step.loss));
        }
        Happening::Evaluation { step, loss, perplexity, accuracy, best, .. } => {
            let perplexity = perplexity.map(|it| format!(", perplexity {it:.2}"));
            let accuracy = accuracy.map(|it| format!(", {:.0} % told right", 100.0 * it));
            let [perplexity, accuracy] = [perplexity, accuracy].map(Option::unwrap_or_default);
            let best = if *best { ", the best so far" } else { "" };
            progress.suspend(|| {
                println!("step {step}: held out {loss:.4}{perplexity}{accuracy}{best}");
            });
        }
        _ => {}
    }
}
