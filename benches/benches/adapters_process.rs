//! What do ten thousand adapters cost a process, when a few hundred at most fit in its memory?
//!
//! Ten thousand adapters lie on disk, each with an `alpha` of its own and hence another content hash. Eight
//! clients ask for 2,000 of them by Zipf's law, one question after the other, with room for 64 that are
//! ready and 128 as files. Then what a cold adapter's first token costs, and a change between two ready ones,
//! with nobody else asking. What is asked of the engine stands beside what was seen.
//!
//! Wants a Llama and some of its adapters, whose weights the ten thousand share by hard links:
//!
//! ```text
//! cargo bench -p openledger-benches --bench adapters_process -- MODEL ADAPTERS 3000
//! ```
//!
//! Linux only: it reads `/proc`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::{
    env, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use openledger_model::{AdapterFiles, Model, Network};
use openledger_serve::{
    AdapterOptions, AdapterPrecision, Adapters, Directory, Engine, EngineOptions, Event, Generate,
    ListAdapters, Sources,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::{Value, json};
use tower::{Service, ServiceExt};

const REGISTERED: usize = 10_000;
const ASKED_FOR: usize = 2_000;
const READY: u64 = 64;
const IN_MEMORY: u64 = 128;
const CLIENTS: u64 = 8;
const TOKENS: usize = 16;
/// Bytes of the engine's cache.
const CACHE: usize = 256 << 20;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [model, from, rest @ ..] = &args[..] else {
        println!("adapters_process: skipped, it wants the folders of a model and of adapters");
        return;
    };
    // As the example `serve` does.
    openledger_kernels::limit_arenas(2);
    let questions = rest.first().map_or(3_000, |n| n.parse().unwrap());
    // One thread computes; the other is left to loading, as on a server with more.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(run(Path::new(model), Path::new(from), questions));
}

async fn run(model: &Path, from: &Path, questions: u64) {
    // Beside the weights: links do not leave a file system.
    let folder = tempfile::tempdir_in(from.parent().unwrap()).unwrap();
    let weights = register(from, folder.path());
    let model = Arc::new(Model::open(model).unwrap().map_network(Network::in_bf16));
    // The first token packs the base's matrices.
    let small = EngineOptions::default().with_cache_bytes(8 << 20);
    let first = Generate::new(vec![0]).with_max_tokens(1).with_ignore_eos(true);
    let engine = Engine::start(Arc::clone(&model), small).unwrap();
    engine.oneshot(first).await.unwrap().collect_all().await.unwrap();
    let before = memory();

    let directory = Directory::open(folder.path()).unwrap();
    let begun = Instant::now();
    let listed = directory.list().await.unwrap().len();
    println!("{listed} adapters of {:.1} MB listed in {:.0?}", mb(weights), begun.elapsed());
    // What is ready is kept in bf16 and takes as much as its file, which has halves too.
    let [ready, in_memory] = [READY, IN_MEMORY].map(|adapters| adapters * (weights + (16 << 10)));
    let options = AdapterOptions::default()
        .with_sources(Sources::new().with_default(directory))
        .with_precision(AdapterPrecision::Bf16)
        .with_ready_bytes(ready)
        .with_memory_bytes(in_memory);
    let adapters = Adapters::with_options(Arc::clone(&model), options);
    let engine = Engine::start(model, EngineOptions::default().with_cache_bytes(CACHE)).unwrap();
    let server = Server { adapters, engine, asked: Arc::default() };

    traffic(&server, questions).await;
    let residency = server.adapters.residency();
    let budgets = residency.ready.max + residency.memory.max + CACHE as u64;
    for (tier, budget) in [("ready", residency.ready), ("in memory", residency.memory)] {
        println!("  {tier}: {:.0} MB of {:.0}", mb(budget.used), mb(budget.max));
        assert!(budget.used <= budget.max, "{tier} is over its budget");
    }
    println!(
        "  resident memory: {:.0} MB, of the model read and packed {:.0}, of all else {:.0}; budgets, cache included: {:.0} MB",
        mb(memory()),
        mb(before),
        mb(memory().saturating_sub(before)),
        mb(budgets)
    );
    alone(&server).await;
}

/// Makes ten thousand folders, and returns the bytes of an adapter's weights.
fn register(from: &Path, to: &Path) -> u64 {
    let entries = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
    let mut sources: Vec<_> =
        entries.filter(|path| path.join(AdapterFiles::CONFIG).exists()).collect();
    sources.sort();
    for number in 0..REGISTERED {
        let source = &sources[number % sources.len()];
        let folder = to.join(name(number));
        fs::create_dir(&folder).unwrap();
        let config = fs::read(source.join(AdapterFiles::CONFIG)).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        config["lora_alpha"] = json!(16.0 + number as f64 / 1024.0);
        fs::write(folder.join(AdapterFiles::CONFIG), config.to_string()).unwrap();
        fs::hard_link(source.join(AdapterFiles::WEIGHTS), folder.join(AdapterFiles::WEIGHTS))
            .unwrap();
    }
    fs::metadata(sources[0].join(AdapterFiles::WEIGHTS)).unwrap().len()
}

fn name(number: usize) -> String {
    format!("lora-{number:05}")
}

#[derive(Clone)]
struct Server {
    adapters: Adapters,
    engine: Engine,
    /// Questions so far: no two begin alike.
    asked: Arc<AtomicU64>,
}

/// What a client saw of one answer.
struct Seen {
    /// Whether the adapter was ready when it was asked for.
    was_ready: bool,
    /// Until the adapter was ready, and until the first token.
    lease: Duration,
    first: Duration,
    /// The longest time between two tokens.
    gap: Duration,
}

impl Server {
    async fn ask(&self, name: &str, tokens: usize) -> Seen {
        let question = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut random = ChaCha8Rng::seed_from_u64(question);
        let prompt: Vec<u32> = (0..8).map(|_| 300 + random.next_u32() % 30_000).collect();
        let begun = Instant::now();
        let ready = self.adapters.ready(name);
        let was_ready = ready.is_some();
        let adapter = match ready {
            Some(ready) => ready,
            None => self.adapters.lease(name).await.unwrap(),
        };
        let lease = begun.elapsed();
        let request = Generate::new(prompt).with_adapter(adapter).with_max_tokens(tokens);
        let mut engine = self.engine.clone();
        let service = engine.ready().await.unwrap();
        let mut answer = service.call(request.with_ignore_eos(true)).await.unwrap();
        let (mut times, mut written) = (Vec::new(), 0);
        while let Some(event) = answer.next().await {
            match event.unwrap() {
                Event::Token { .. } => times.push(begun.elapsed()),
                Event::End(end) => written = end.tokens_out,
                _ => {}
            }
        }
        assert_eq!((times.len(), written), (tokens, tokens), "an answer is not whole");
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        Seen { was_ready, lease, first: times[0], gap }
    }
}

/// Lets clients ask by Zipf's law.
async fn traffic(server: &Server, questions: u64) {
    let before = server.adapters.counts();
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let server = server.clone();
        tokio::spawn(async move {
            let (zipf, mut random) = (Zipf::new(ASKED_FOR), ChaCha8Rng::seed_from_u64(client));
            let mut seen = Vec::new();
            for _ in 0..questions / CLIENTS {
                // Those asked for lie among all, not in the order of their names.
                let number = zipf.draw(&mut random) * 7919 % REGISTERED;
                seen.push(server.ask(&name(number), TOKENS).await);
            }
            seen
        })
    });
    let mut seen = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        seen.extend(client.await.unwrap());
    }
    let counts = server.adapters.counts();
    assert_eq!(counts.failures + counts.refusals, 0, "adapters were not loaded");
    let (warm, cold): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(|seen| seen.was_ready);
    println!(
        "{} questions of {CLIENTS} clients in {:.0?}, no error: {} adapters read and {} made ready, \
         {:.1?} and {:.1?} each",
        seen.len(),
        begun.elapsed(),
        counts.fetches - before.fetches,
        counts.preparations - before.preparations,
        counts.fetching / counts.fetches.max(1) as u32,
        counts.preparing / counts.preparations.max(1) as u32,
    );
    let gaps = spread(warm.iter().map(|seen| seen.gap));
    println!("  longest gap of an answer by a ready adapter: {gaps}; at most 200 ms asked");
    println!("  first token, ready: {}", spread(warm.iter().map(|seen| seen.first)));
    println!("  first token, cold: {}", spread(cold.iter().map(|seen| seen.first)));
}

/// Asks one question at a time: for cold adapters, for ready ones in turn, and for one again and again.
async fn alone(server: &Server) {
    let before = server.adapters.counts();
    let mut cold = Vec::new();
    // Nobody asked for these: 7919 is a prime, so the first 2,000 multiples are others.
    let untouched = (ASKED_FOR..).map(|number| name(number * 7919 % REGISTERED)).take(100);
    for name in untouched {
        let seen = server.ask(&name, 1).await;
        assert!(!seen.was_ready);
        cold.push(seen);
    }
    let counts = server.adapters.counts();
    let reading = (counts.fetching - before.fetching) / cold.len() as u32;
    println!(
        "alone, a cold adapter's first token: {}, of which {reading:.1?} read its files and {:.1?} \
         passed before the engine had it; at most 50 ms and the reading asked",
        spread(cold.iter().map(|seen| seen.first)),
        median(cold.iter().map(|seen| seen.lease)),
    );
    let ready: Vec<String> =
        (ASKED_FOR + 90..ASKED_FOR + 100).map(|n| name(n * 7919 % REGISTERED)).collect();
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for turn in 0..200 {
        same.push(server.ask(&ready[0], 1).await);
        other.push(server.ask(&ready[1 + turn % 9], 1).await);
        // So that the next is a change of nothing.
        server.ask(&ready[0], 1).await;
    }
    assert!(same.iter().chain(&other).all(|seen| seen.was_ready));
    let [same, other] =
        [same, other].map(|seen| median(seen.iter().map(|seen| seen.first)).as_secs_f64() * 1e3);
    println!(
        "alone, first token of the adapter before: {same:.1} ms, of another that is ready: {other:.1} ms, \
         so a change takes {:.1} ms; at most 5 ms asked",
        other - same
    );
}

/// Ranks by Zipf's law with an exponent of 1.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=ranks)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> usize {
        let at = f64::from(random.next_u32()) / 2f64.powi(32) * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum <= at)
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("median {:.1}, 99 of 100 within {:.1}, all {:.1} ms", at(50), at(99), at(100))
}

fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
