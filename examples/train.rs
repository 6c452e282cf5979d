//! Trains an adapter on rows in files.
//!
//! ```text
//! cargo run --release --example train -- --model base --data rows.jsonl --out adapter
//! ```
//! A run that was interrupted goes on with `--resume`, and ends with the same bytes.
#![expect(clippy::print_stdout, reason = "an app talks to its user")]

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Parser, ValueEnum};
use indicatif::ProgressBar;
use openledger_core::{Error, ErrorKind, Result, file};
use openledger_examples::{Process, bar, cpu_seconds};
use openledger_model::{ChatTemplate, Lora, Model, ModelFiles, Start, Tokens};
use openledger_train::{
    Event, EventLog, Happening, NativeRun, NextToken, Objective, Precision, Rows, Session,
    SourceFile, Stop, Subset, TrainingConfig, TrainingRecord, check_export,
    data::{Encode, prepare},
    merge, preflight,
};

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
    /// Threads that compute; the result does not depend on it.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
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
    if config.objective != Objective::NextToken {
        let message = "rows with one answer teach no preference: set `objective` to `next_token`";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let base = ModelFiles::read(&options.model)?;
    let model = Model::load(&base)?;
    make_folder(&options.out)?;
    let data = config.data.clone();
    let chat = data.chat.then(|| ChatTemplate::open(&options.model)).transpose()?;
    let encode = match &chat {
        Some(template) => Encode::chat(&model, template, data.max_tokens),
        None => Encode::plain(&model, &data.template, data.max_tokens),
    }
    .with_mask(data.mask.clone());
    let tokens = |name: &str, files: &mut [SourceFile]| {
        prepare(files, &data, &encode, options.out.join(name))
    };
    let all = tokens("rows.tokens", &mut config.data.files)?;
    let more = tokens("held-out.tokens", &mut config.evaluation.files)?;
    let [learned, part] = Subset::hold_out(&all, config.evaluation.share, config.seed);
    let rows =
        |rows: &dyn Rows| (0..rows.count()).map(|row| rows.row(row)).collect::<Result<Vec<_>>>();
    let held_out = [rows(&part)?, rows(&more)?].concat();
    let steps = config.plan.steps_of(&learned)?;
    if !held_out.is_empty() && config.evaluation.every.is_none() {
        config.evaluation.every = Some(steps.div_ceil(10).max(1));
    }
    println!("{} rows to learn in {steps} steps, {} held out", learned.count(), held_out.len());

    let (network, pissa) = match config.lora.start {
        Start::Pissa => {
            let (residual, start) = Lora::pissa(model.network(), &config.lora)?;
            (residual, Some(start))
        }
        _ => (model.network().clone(), None),
    };
    let network = Arc::new(config.base.apply(network));
    let limit = options.memory.map(|mb| mb * 1_000_000);
    println!("{}", preflight(&network, &learned, &config, limit)?);

    let events = options.events.clone().unwrap_or_else(|| options.out.join("events.jsonl"));
    let checkpoint = options.out.join("checkpoint");
    let start = match &pissa {
        Some(start) => start.clone(),
        None => Lora::init(&network, &config.lora, config.seed)?,
    };
    let start = start.to_files(&network, &config.lora);
    let run =
        NativeRun::start(Arc::clone(&network), &config.lora, config.optimiser, &start.weights)?
            .with_micro_batch(config.micro_batch)
            .with_checkpointing(config.checkpointing);
    let mut lesson = NextToken::new(run, &learned).with_evaluation_batch(config.plan.batch);
    if !held_out.is_empty() {
        lesson = lesson.with_held_out(&held_out);
    }
    let (progress, meter) = (bar("training", steps), Process::new());
    let trained = Session::new(model.id(), &config)
        .with_checkpoint(&checkpoint)
        .with_resume(options.resume)
        .with_log(EventLog::open(&events)?)
        .with_meter(&meter)
        .train(&mut lesson, |event| show(&progress, event))?;
    progress.finish_and_clear();

    let mut lora = Lora::from_safetensors(&network, &config.lora, &trained.adapter)?;
    let mut shape = config.lora.clone();
    if let Some(start) = &pissa {
        // For the base as it was.
        (lora, shape) = (lora.without_pissa(start)?, shape.without_pissa()?);
    }
    let files = lora.to_files(&network, &shape);
    files.write(&options.out)?;
    let record = TrainingRecord {
        model: model.id(),
        datanets: Vec::new(),
        config: config.clone(),
        federation: None,
        adapter: files.id(),
    };
    let record_path = options.out.join("training.json");
    file::write(&record_path, &record.to_json())?;
    let course = &trained.course;
    if let (Some(first), Some(last), Some(best)) =
        (course.evaluations.first(), course.evaluations.last(), course.best())
    {
        println!(
            "loss of rows held out {:.4} at first, {:.4} at last, {:.4} at best (step {})",
            first.loss, last.loss, best.loss, best.step
        );
    }
    let steps = course.losses.len();
    let early = if trained.reason == Stop::Early { ", ended early" } else { "" };
    println!("{steps} steps{early} in {:.1} CPU seconds", cpu_seconds());
    println!("adapter    {} in `{}`", files.id(), options.out.display());
    println!("record     `{}`", record_path.display());
    println!("events     `{}`", events.display());
    println!("checkpoint `{}`", checkpoint.display());
    match options.merge {
        Some(dtype) => export(options, dtype, &base, &model, &lora, &learned),
        None => Ok(()),
    }
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
fn show(progress: &ProgressBar, event: &Event) -> ControlFlow<()> {
    match &event.what {
        Happening::Started { step, .. } => progress.set_position(*step),
        Happening::Step(step) => {
            progress.set_position(step.step);
            progress.set_message(format!("loss {:.3}", step.loss));
        }
        Happening::Evaluation { step, loss, perplexity, best, .. } => {
            let best = if *best { ", the best so far" } else { "" };
            progress.suspend(|| {
                println!("step {step}: held out {loss:.4}, perplexity {perplexity:.2}{best}");
            });
        }
        _ => {}
    }
    ControlFlow::Continue(())
}

/// Writes the merged model and checks that it answers as base and adapter do.
fn export(
    options: &Options,
    dtype: Dtype,
    base: &ModelFiles,
    model: &Model,
    lora: &Lora,
    rows: &impl Rows,
) -> Result<()> {
    let precision = match dtype {
        Dtype::F32 => Precision::F32,
        Dtype::Bf16 => Precision::Bf16,
    };
    let network = model.network();
    let merged = merge(base, network, lora, precision)?;
    let folder = options.out.join("merged");
    merged.write(&folder)?;
    let prompts: Vec<Tokens> =
        (0..rows.count().min(4)).map(|row| rows.row(row)).collect::<Result<_>>()?;
    let prompts: Vec<&[u32]> =
        prompts.iter().map(|row| &row.tokens[..row.prompt().max(1)]).collect();
    let check = check_export(&ModelFiles::read(&folder)?, precision, network, lora, &prompts)?;
    println!(
        "merged     `{}`, logits within {:.1e} of {:.1e} allowed",
        folder.display(),
        check.max_difference,
        check.tolerance
    );
    Ok(())
}
