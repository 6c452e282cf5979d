//! Two hundred clients, many of them rude, while adapters change under them.
//!
//! Every answer is compared with what its adapter, named by content in the answer, says on an idle server.
//! It fails for a wrong answer, for an end that is neither an answer nor a typed error, and for memory that
//! grows.

mod answers;
mod clients;
mod disk;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use openledger_model::{LoraConfig, Model, testing};
use serde_json::Value;

use crate::{
    client,
    peers::Peers,
    server::{self, Server},
    shell::Result,
};
use answers::Answers;
use clients::{Client, Count};
use disk::Disk;

const ADMIN: &str = "sk-admin-0123456789";
/// Adapters that stay as they are, those that others are made to, and names that change.
const STILL: usize = 12;
const POOL: usize = 6;
const MOVING: usize = 4;
/// By how much memory may vary once caches are full, in percent.
const RANGE: f64 = 3.0;
/// The part of the time in which caches fill, in percent.
const WARM_UP: usize = 30;
/// Looks at memory.
const SAMPLES: u32 = 60;

/// What the clients are, and for how long.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    #[arg(long, default_value_t = 200)]
    clients: u64,
    /// Folder of a model; a tiny one is made if none is named.
    #[arg(long)]
    model: Option<PathBuf>,
    /// What the base model's matrices are kept as.
    #[arg(long, default_value = "f32")]
    dtype: String,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 5)]
    seed: u64,
}

/// What all threads see.
struct Soak {
    server: Server,
    answers: Answers,
    end: Instant,
}

/// Runs it, and prints what happened.
///
/// # Errors
/// Says what must not happen and did.
pub(crate) fn run(options: &Options) -> Result {
    let peers = Peers::new();
    Disk::release(&peers.folder().join("soak"));
    let folder = peers.scratch("soak")?;
    let mut disk = prepare(options, folder)?;
    let mut serve = server::serve(true)?;
    serve.arg("--model").arg(disk.model()).arg("--adapters").arg(disk.adapters());
    serve.arg("--admin-key-file").arg(disk.admin_key());
    if options.model.is_none() {
        // A cache that is full before memory is compared, and is made room in.
        serve.args(["--cache-mib", "2"]);
    }
    serve.args(["--dtype", &options.dtype, "--threads", &options.threads.to_string()]);
    let server = Server::start(&mut serve)?;
    let mut answers = Answers::default();
    for name in disk.names() {
        answers.learn(&server, &name)?;
    }
    answers.check()?;

    let time = Duration::from_secs_f64(60.0 * options.minutes);
    let soak = Arc::new(Soak { server, answers, end: Instant::now() + time });
    let counts = Arc::new(Mutex::new(Count::default()));
    let clients = (0..options.clients).map(|number| {
        let (soak, counts) = (Arc::clone(&soak), Arc::clone(&counts));
        let seed = options.seed.wrapping_mul(1_000).wrapping_add(number);
        thread::Builder::new().stack_size(256 << 10).spawn(move || {
            let count = Client::new(&soak, seed).run();
            counts.lock().unwrap_or_else(PoisonError::into_inner).add(count);
        })
    });
    let clients = clients.collect::<std::io::Result<Vec<_>>>()?;
    let watching = {
        let soak = Arc::clone(&soak);
        thread::spawn(move || watch(&soak, time))
    };
    while Instant::now() < soak.end {
        disk.change(&soak.server)?;
        thread::sleep(Duration::from_millis(50));
    }
    for client in clients {
        client.join().map_err(|_| "a client panicked")?;
    }
    let memory = watching.join().map_err(|_| "the watch panicked")??;
    let count = counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("{count}\n{disk}");
    report(&memory)?;
    idle(&soak.server)?;
    for name in disk.names() {
        soak.answers.same(&soak.server, &name)?;
    }
    println!("afterwards idle, and every adapter answers as before");
    count.verdict()
}

/// Writes the model and the adapters.
fn prepare(options: &Options, folder: PathBuf) -> Result<Disk> {
    let base = match &options.model {
        Some(model) => fs::canonicalize(model)?,
        None => {
            testing::tiny_files(1)?.write(folder.join("tiny"))?;
            folder.join("tiny")
        }
    };
    // Strong ones, so that answers tell them apart.
    let (model, config) = (Model::open(&base)?, LoraConfig::default().with_rank(8, 64.0));
    fs::write(folder.join("admin"), ADMIN)?;
    let disk = Disk::open(base, folder, ADMIN, options.seed)?;
    for (seed, path) in (1..).zip(disk.originals()) {
        let lora = testing::lora(&model, &config, seed)?;
        lora.to_files(model.network(), &config).write(&path)?;
    }
    disk.begin()?;
    Ok(disk)
}

/// Looks at memory until the end.
fn watch(soak: &Soak, time: Duration) -> Result<Vec<u64>> {
    let mut seen = Vec::new();
    while Instant::now() < soak.end {
        seen.push(soak.server.memory()?);
        thread::sleep(time / SAMPLES);
    }
    Ok(seen)
}

/// Prints the memory seen, and compares the most with the least; whether it grows is told beside: what large
/// requests have under way comes and goes.
fn report(seen: &[u64]) -> Result {
    let megabytes = |bytes: &u64| format!("{:.1}", *bytes as f64 / 1e6);
    let series: Vec<String> = seen.iter().map(megabytes).collect();
    println!("memory, MB: {}", series.join(" "));
    let after = &seen[seen.len() * WARM_UP / 100..];
    let (least, most) = (after.iter().min(), after.iter().max());
    let ratio = |more: Option<&u64>, less: Option<&u64>| {
        let [more, less] = [more, less].map(|bytes| bytes.map_or(1.0, |bytes| *bytes as f64));
        100.0 * (more / less - 1.0)
    };
    let third = after.len() / 3;
    if third == 0 {
        return Err("memory was not looked at often enough to compare it".into());
    }
    let [first, last] = [&after[..third], &after[after.len() - third..]].map(median);
    let (range, growth) = (ratio(most, least), ratio(last.as_ref(), first.as_ref()));
    println!("after {WARM_UP} % of the time it was within {range:.1} %");
    println!("medians of the first and the last third of that are {growth:.1} % apart");
    match range <= RANGE {
        true => Ok(()),
        false => Err(format!("memory varied by more than {RANGE:.0} %").into()),
    }
}

fn median(bytes: &[u64]) -> Option<u64> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes.get(bytes.len() / 2).copied()
}

/// Waits until nothing runs, which is soon: those who asked have left.
fn idle(server: &Server) -> Result {
    let begun = Instant::now();
    loop {
        let metrics = client::send(server.address(), "GET", "/metrics", None, b"")?.text()?;
        let at_work = metrics.lines().filter(|line| {
            let is = |name| line.starts_with(name);
            is("vllm:num_requests_running") || is("vllm:num_requests_waiting")
        });
        if at_work.clone().all(|line| line.ends_with(" 0")) && at_work.count() == 2 {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("requests are still at work though nobody asks".into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Returns whether an answer is an error as OpenAI's API says them.
fn is_typed(body: &str) -> bool {
    let error = serde_json::from_str::<Value>(body);
    error
        .is_ok_and(|body| body["error"]["type"].is_string() && body["error"]["message"].is_string())
}
