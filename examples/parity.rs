//! Compares a model with what transformers and PEFT computed for it, number by number.
//!
//! ```text
//! cargo run --release --example parity -- --case cases/train/arch/qwen2 --json parity.json
//! ```
//! With `--threads` it also times training steps.
#![expect(clippy::print_stdout, reason = "an app talks to its user")]

use std::{path::PathBuf, time::Instant};

use clap::{Parser, ValueEnum};
use openledger_core::{Error, Result, file};
use openledger_examples::{bar, cpu_seconds, peak_mb};
use openledger_train::parity::{self, Check, Report, Training};
use serde_json::json;

/// Compares everything a case holds with what is computed here.
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the case.
    #[arg(long)]
    case: PathBuf,
    /// File for the results.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Time training steps on so many threads.
    #[arg(long)]
    threads: Option<usize>,
    /// What the base model is stored and computed in where steps are timed; comparisons are in f32.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Time steps that keep only what blocks return.
    #[arg(long)]
    checkpointing: bool,
    /// Steps that are timed, after two that are not.
    #[arg(long, default_value_t = 7)]
    steps: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

fn main() {
    match run(&Options::parse()) {
        Err(error) => openledger_examples::exit(&error),
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
    }
}

/// Returns whether everything is within tolerance.
fn run(options: &Options) -> Result<bool> {
    if let Some(threads) = options.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|e| Error::invalid("cannot start threads").with_source(e.to_string()))?;
    }
    let seconds = options.threads.map(|_| time(options)).transpose()?;
    // Before the comparisons, which hold more in memory than training does.
    let peak = peak_mb();
    let Report { checks, not_compared, .. } = parity::compare(&options.case)?;
    for Check { name, max_difference, tolerance, pass, .. } in &checks {
        let verdict = if *pass { "ok" } else { "NOT WITHIN" };
        println!("{name:<48} {max_difference:>9.2e}  {verdict} {tolerance:.0e}");
    }
    let passed = checks.iter().filter(|check| check.pass).count();
    println!("{passed} of {} within tolerance", checks.len());
    if !not_compared.is_empty() {
        println!("stored and not compared, being not there yet: {}", not_compared.join(", "));
    }
    if let Some([cpu, wall]) = seconds {
        println!("{cpu:.3} CPU seconds a step, {wall:.3} by the clock (medians)");
    }
    if let Some(path) = &options.json {
        let report = json!({
            "case": options.case,
            "results": checks,
            "not_compared": not_compared,
            "cpu_seconds_per_step": seconds.map(|[cpu, _]| cpu),
            "seconds_per_step": seconds.map(|[_, wall]| wall),
            "peak_rss_mb": peak,
        });
        let report = serde_json::to_vec_pretty(&report)
            .map_err(|e| Error::invalid("results that are no JSON").with_source(e))?;
        file::write(path, &report)?;
    }
    Ok(passed == checks.len())
}

/// Returns the medians of the CPU seconds of some steps, and of their seconds by the clock.
fn time(options: &Options) -> Result<[f64; 2]> {
    if options.steps == 0 {
        return Err(Error::invalid("`--steps` is 0: time 1"));
    }
    let mut training = Training::open(&options.case, |network| match options.dtype {
        Dtype::F32 => network,
        Dtype::Bf16 => network.in_bf16(),
    })?
    .with_checkpointing(options.checkpointing);
    let warm_up = 2;
    let clock = Instant::now();
    let progress = bar("timing", warm_up + options.steps);
    let mut seconds = [Vec::new(), Vec::new()];
    for step in 0..warm_up + options.steps {
        let begun = [cpu_seconds(), clock.elapsed().as_secs_f64()];
        training.step()?;
        let now = [cpu_seconds(), clock.elapsed().as_secs_f64()];
        if step >= warm_up {
            seconds.iter_mut().enumerate().for_each(|(n, all)| all.push(now[n] - begun[n]));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    Ok(seconds.map(median))
}
