//! Three workers with a third of the rows each train one adapter, in processes of their own, over HTTP; one of them
//! dies or lies. It asserts that the result is within 3 % of what one worker learns from all rows in as many steps
//! of as many rows. That worker reads a third of the tokens; `--same-tokens` also shows one who reads as many.
//!
//! ```text
//! cargo run --release --example federated
//! cargo run --release --example federated -- --model DIR --data rows.jsonl
//! ```
//! Without arguments it takes stories260K and GSM8K from `../shared` where that is, and the model and the texts of
//! these examples where it is not. It starts itself as coordinator and workers.
#![expect(clippy::print_stdout, reason = "an app talks to its user")]

#[path = "federated/data.rs"]
mod data;
#[path = "federated/liar.rs"]
mod liar;
#[path = "federated/processes.rs"]
mod processes;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Parser, Subcommand};
use openledger_core::{
    Address, B256, Error, ErrorKind, Key, Result, digest, file, message::Domain,
};
use openledger_examples::cpu_seconds;
use openledger_model::{Lora, LoraConfig, Model, Network, Tokens};
use openledger_train::{
    NativeRun, Optimiser, Plan, Schedule,
    federated::{
        Coordinator, Exchange, Federation, FederationRecord, HeldOut, HeldOutRows, Host, Matrices,
        Outcome, Round, Turn, Worker,
    },
};
use openledger_train_http::{Client, Server};

use crate::{liar::Lie, processes::Scene};

/// Workers.
const WORKERS: usize = 3;
/// How much worse than one worker with all rows three may be.
const TOLERANCE: f64 = 0.03;

/// Trains an adapter on rows that three workers keep.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    run: RunOptions,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What every process of a run must agree on.
#[derive(Args, Clone, Debug)]
struct RunOptions {
    /// Folder of the base model.
    #[arg(long, global = true)]
    model: Option<PathBuf>,
    /// Rows: JSON lines with `question` and `answer`.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// Rows to learn, from the first; those that follow are held out.
    #[arg(long, global = true, default_value_t = 1000)]
    rows: usize,
    /// Tokens of a row at the most.
    #[arg(long, global = true, default_value_t = 256)]
    max_tokens: usize,
    /// Rounds.
    #[arg(long, global = true, default_value_t = 16)]
    rounds: u64,
    /// Steps in a round.
    #[arg(long, global = true, default_value_t = 4)]
    steps: u64,
    /// Rows in a worker's step.
    #[arg(long, global = true, default_value_t = 8)]
    batch: usize,
    /// Largest step size.
    #[arg(long, global = true, default_value_t = 5e-3)]
    rate: f64,
    /// Measure also one worker whose steps are of as many rows as those of all together.
    #[arg(long)]
    same_tokens: bool,
    /// Seconds after which a round closes without the missing.
    #[arg(long, global = true, default_value_t = 30)]
    seconds: u64,
}

/// The parts this program starts itself in.
#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Keeps the shared matrices; prints its URL, writes `record.json` and the adapter to `out` at the end.
    Coordinate {
        /// Folder for the result.
        #[arg(long)]
        out: PathBuf,
    },
    /// Trains on a third of the rows.
    Work {
        /// The coordinator.
        #[arg(long)]
        url: String,
        /// Which third, from 0.
        #[arg(long)]
        index: usize,
        /// What it does to its updates.
        #[arg(long, value_enum, default_value_t = Lie::None)]
        lie: Lie,
    },
}

fn main() {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime.map_err(|e| Error::invalid("cannot start tokio").with_source(e)).and_then(
        |runtime| {
            runtime.block_on(async {
                let world = World::open(options.run)?;
                match options.part {
                    None => tell(&world).await,
                    Some(Part::Coordinate { out }) => coordinate(&world, &out).await,
                    Some(Part::Work { url, index, lie }) => work(&world, &url, index, lie).await,
                }
            })
        },
    );
    if let Err(error) = done {
        openledger_examples::exit(&error);
    }
}

/// A model, an adapter to start with, and rows.
struct World {
    options: RunOptions,
    network: Arc<Network>,
    config: LoraConfig,
    start: Vec<u8>,
    rows: Vec<Tokens>,
    /// Rows the coordinator tries updates on.
    tried: Vec<Tokens>,
    /// Rows nobody sees before the end.
    unseen: Vec<Tokens>,
}

impl World {
    fn open(options: RunOptions) -> Result<Self> {
        let model = Model::open(data::model(options.model.as_deref()))?;
        let rows = data::rows(&model, &options)?;
        let count = options.rows.min(rows.len() * 5 / 6);
        let (rows, held_out) = rows.split_at(count);
        // By number, so that every process splits alike.
        let (tried, unseen): (Vec<_>, Vec<_>) =
            held_out.iter().take(200).cloned().enumerate().partition(|(index, _)| index % 4 == 0);
        let [tried, unseen] =
            [tried, unseen].map(|rows| rows.into_iter().map(|(_, row)| row).collect());
        let network = Arc::new(model.network().clone());
        let config = LoraConfig::default().with_rank(8, 16.0);
        let start = Lora::init(&network, &config, 7)?.to_files(&network, &config).weights.into();
        Ok(Self { options, network, config, start, rows: rows.to_vec(), tried, unseen })
    }

    fn terms(&self) -> Federation {
        let RunOptions { rounds, steps, seconds, .. } = self.options;
        let workers = (0..WORKERS).map(|index| key(index).address());
        Federation::new(digest("openledger.example.federated", "gsm8k"), domain(), workers)
            .with_rounds(rounds, steps)
            .with_deadline(seconds, 2)
    }

    fn held_out(&self, rows: &[Tokens]) -> Result<HeldOutRows> {
        HeldOutRows::new(Arc::clone(&self.network), self.config.clone(), rows.to_vec())
    }

    /// The loss nobody trained or judged for.
    fn loss(&self, matrices: &[u8]) -> Result<f64> {
        self.held_out(&self.unseen)?.loss(matrices)
    }

    /// Worker `index` of `of`: each has every `of`-th row.
    fn worker(&self, index: usize, of: usize, batch: usize) -> Result<Worker<Vec<Tokens>>> {
        let network = Arc::clone(&self.network);
        let run = NativeRun::start(network, &self.config, Optimiser::default(), &self.start)?;
        let rows = self.rows.iter().skip(index).step_by(of).cloned().collect();
        let plan = Plan::default()
            .with_batch(batch)
            .with_rate(self.options.rate, 10, Schedule::Cosine)
            .with_seed(1);
        Ok(Worker::new(key(index), domain(), Box::new(run), rows, plan))
    }

    /// What one worker with all rows learns in so many steps.
    fn alone(&self, steps: u64, batch: usize) -> Result<f64> {
        let terms = Federation::new(B256::ZERO, domain(), [key(0).address()]).with_rounds(1, steps);
        let coordinator = Coordinator::new(terms, &self.start, 0)?;
        let gate = coordinator.gate();
        let (_, update) = self.worker(0, 1, batch)?.train(gate.round(), gate.matrices())?;
        let start = Matrices::parse(gate.matrices())?;
        self.loss(&start.moved(&start.parse_like(&update)?).to_bytes())
    }
}

/// The whole story: alone, together, and together with one who dies or lies.
async fn tell(world: &World) -> Result<()> {
    let RunOptions { rounds, steps, batch, .. } = world.options;
    let before = world.loss(&world.start)?;
    println!(
        "{} rows to learn, {} to try updates on, {} unseen; {rounds} rounds of {steps} steps of {batch} rows, \
         {WORKERS} workers",
        world.rows.len(),
        world.tried.len(),
        world.unseen.len()
    );
    let begun = cpu_seconds();
    let alone = world.alone(rounds * steps, batch)?;
    println!("loss of the unseen rows before: {before:.4}");
    println!("one worker with all rows, as many steps of as many rows: {alone:.4}");
    if world.options.same_tokens {
        let same_tokens = world.alone(rounds * steps, batch * WORKERS)?;
        println!(
            "one worker with all rows, as many steps of {WORKERS} x the rows: {same_tokens:.4}"
        );
    }
    println!("({:.1} CPU seconds)\n", cpu_seconds() - begun);

    println!(
        "{:<34} {:>8} {:>9} {:>9}  refused",
        "three workers, a third each", "loss", "of alone", "seconds"
    );
    let mut worst = 0f64;
    for scene in Scene::ALL {
        let begun = Instant::now();
        let (matrices, record) = scene.play(world).await?;
        let loss = world.loss(&matrices)?;
        let apart = loss / alone - 1.0;
        println!(
            "{:<34} {loss:>8.4} {:>+8.2}% {:>9.1}  {}",
            scene.title(),
            100.0 * apart,
            begun.elapsed().as_secs_f64(),
            refused(&record)
        );
        scene.check(&record)?;
        worst = worst.max(apart);
    }
    if before - alone < 0.5 {
        return Err(Error::invalid(format!("nothing was learned: {before} {alone}")));
    }
    if worst > TOLERANCE {
        let message = format!("{:.1} % worse than one worker, 3 % allowed", 100.0 * worst);
        return Err(Error::invalid(message));
    }
    println!("\nall within {:.0} % of one worker with all rows", 100.0 * TOLERANCE);
    Ok(())
}

/// Says who was refused how often and why.
fn refused(record: &FederationRecord) -> String {
    let updates = record.rounds.iter().flat_map(|round| &round.updates);
    let reasons: Vec<_> = updates
        .filter_map(|update| match update.outcome {
            Outcome::Refused { reason } => Some(reason),
            _ => None,
        })
        .collect();
    match reasons.first() {
        None => "none".to_owned(),
        Some(first) => format!("{} ({first:?})", reasons.len()),
    }
}

async fn coordinate(world: &World, out: &std::path::Path) -> Result<()> {
    let coordinator = Coordinator::new(world.terms(), &world.start, now())?
        .with_held_out(world.held_out(&world.tried)?)?;
    let host = Host::new(coordinator, now);
    let server = Server::bind(([127, 0, 0, 1], 0).into(), host.clone()).await?;
    println!("{}", server.url());
    let over = async {
        while !host.gate().round().is_over() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let written = file::write(out.join("adapter_model.safetensors"), host.gate().matrices())
            .and_then(|()| file::write(out.join("record.json"), &host.record().to_json()));
        if written.is_ok() {
            // Workers fetch the result; then whoever started this ends it.
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
    };
    server.serve_until(over).await;
    Ok(())
}

async fn work(world: &World, url: &str, index: usize, lie: Lie) -> Result<()> {
    let mut worker = world.worker(index, WORKERS, world.options.batch)?;
    let line = liar::Line::new(Client::connect(url)?, key(index), lie);
    loop {
        match worker.turn(&line).await {
            Ok(Turn::Over(_)) => return Ok(()),
            Ok(_) => {}
            // The round closed meanwhile, or the network fails: look again.
            Err(e)
                if e.is_retryable()
                    || matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
            Err(e) => return Err(e),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the run is in `round` or past it.
async fn reach(client: &Client, number: u64) -> Result<Round> {
    loop {
        let round = client.round().await?;
        if round.number >= number {
            return Ok(round);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Keys of this example, which everybody knows.
fn key(index: usize) -> Key {
    let seed = digest("openledger.example.federated.key", &(index as u64));
    Key::from_bytes(seed).expect("a hash is a key but once in 2^128")
}

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(1) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
