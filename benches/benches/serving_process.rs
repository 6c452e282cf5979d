//! What does a second thread gain a server, and what does an adapter cost it?
//!
//! One, eight and sixteen clients ask an engine in this process, of one thread and of two in turns: the base
//! alone, all one adapter, its merged copy (`f32` and `bf16`), each another one; and for a prompt of 128 tokens to be read. Ratios are of medians
//! of all rounds, so that a neighbour's busy minute weighs little. llama.cpp stands beside in
//! `cargo xtask llama`, which asks over HTTP.
//!
//! ```text
//! cargo bench -p openledger-benches --bench serving_process -- MODEL ADAPTERS q4_0 5
//! ```
//!
//! Linux only: it reads `/proc`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::{env, fs, path::Path, sync::Arc, time::Instant};

use futures::future::join_all;
use openledger_core::ErrorKind;
use openledger_model::{Model, Network};
use openledger_serve::{
    AdapterOptions, AdapterPrecision, Adapters, Directory, Engine, EngineOptions, Generate, Lease,
    ListAdapters, Sources,
};
use tower::{Service, ServiceExt};

const WRITTEN: usize = 48;
const PROMPT: usize = 8;
const LONG_PROMPT: usize = 128;
const THREADS: [usize; 2] = [1, 2];

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [model, adapters, rest @ ..] = &args[..] else {
        println!("serving_process: skipped, it wants the folders of a model and of 16 adapters");
        return;
    };
    let dtype = rest.first().map_or("f32", |dtype| dtype);
    let rounds = rest.get(1).map_or(5, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(Path::new(model), Path::new(adapters), dtype, rounds));
}

/// What clients ask for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Prompt,
    Base,
    OneAdapter,
    Merged,
    AllDifferent,
}

/// Seconds that the processor worked and that passed, in each round.
#[derive(Default)]
struct Spent {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

async fn run(model: &Path, adapters: &Path, dtype: &str, rounds: usize) {
    let model = Model::open(model).unwrap();
    let (model, precision) = match dtype {
        "f32" => (model, AdapterPrecision::F32),
        "bf16" => (model.map_network(Network::in_bf16), AdapterPrecision::Bf16),
        "q8_0" => (model.map_network(Network::in_q8_0), AdapterPrecision::Bf16),
        "q4_0" => (model.map_network(Network::in_q4_0), AdapterPrecision::Bf16),
        other => panic!("no type `{other}`: there are f32, bf16, q8_0 and q4_0"),
    };
    let model = Arc::new(model);
    let directory = Directory::open(adapters).unwrap();
    let names = directory.list().await.unwrap();
    let sources = Sources::new().with_default(directory);
    let options = AdapterOptions::default().with_sources(sources).with_precision(precision);
    let shelf = Adapters::with_options(Arc::clone(&model), options);
    let mut leases = Vec::new();
    for name in names.iter().take(16) {
        leases.push(shelf.lease(name.as_str()).await.unwrap());
    }
    assert_eq!(leases.len(), 16, "16 adapters are wanted");
    let merged = match shelf.merge(names[0].as_str()).await {
        Ok(merged) => Some(merged),
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            println!("no merged copy: {}", e.report());
            None
        }
        Err(e) => panic!("{}", e.report()),
    };
    let leases = Leases { beside: leases, merged };

    let engines = THREADS.map(|threads| {
        let options = EngineOptions::default().with_threads(threads).with_prefix_cache(false);
        Engine::start(Arc::clone(&model), options).unwrap()
    });
    let mut cases = vec![(1, Asked::Prompt)];
    for clients in [1, 8, 16] {
        let kinds = [Asked::Base, Asked::OneAdapter, Asked::Merged, Asked::AllDifferent];
        cases.extend(kinds.map(|asked| (clients, asked)));
    }
    cases.retain(|&(clients, asked)| match asked {
        Asked::Merged => leases.merged.is_some(),
        Asked::AllDifferent => clients > 1,
        _ => true,
    });
    for engine in &engines {
        ask(engine, &leases, 16, Asked::AllDifferent).await;
    }
    let mut spent: Vec<[Spent; 2]> = cases.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        for (&(clients, asked), spent) in cases.iter().zip(&mut spent) {
            for (engine, spent) in engines.iter().zip(spent) {
                let (cpu, wall) = (cpu_seconds(), Instant::now());
                ask(engine, &leases, clients, asked).await;
                spent.wall.push(wall.elapsed().as_secs_f64());
                spent.cpu.push(cpu_seconds() - cpu);
            }
        }
    }

    println!("{dtype}: tokens a second, medians of {rounds} rounds");
    println!(
        "clients  asked          CPU, one thread  clock, one  clock, two  two over one  adapter"
    );
    let mut base = 0.0;
    for (&(clients, asked), spent) in cases.iter().zip(&spent) {
        let tokens = match asked {
            Asked::Prompt => LONG_PROMPT,
            _ => clients * WRITTEN,
        } as f64;
        let [cpu, one, two] =
            [&spent[0].cpu, &spent[0].wall, &spent[1].wall].map(|all| tokens / median(all));
        if let Asked::Base = asked {
            base = cpu;
        }
        let costs = match asked {
            Asked::OneAdapter | Asked::Merged => format!("{:.1} %", 100.0 * (base / cpu - 1.0)),
            _ => String::new(),
        };
        println!(
            "{clients:>7}  {:<13}  {cpu:>15.0}  {one:>10.0}  {two:>10.0}  {:>12.2}  {costs:>7}",
            format!("{asked:?}"),
            two / one,
        );
    }
}

/// What is asked for by, one after another.
struct Leases {
    beside: Vec<Lease>,
    /// Of the first, where the base can be merged with.
    merged: Option<Lease>,
}

async fn ask(engine: &Engine, leases: &Leases, clients: usize, asked: Asked) {
    let (read, written) = match asked {
        Asked::Prompt => (LONG_PROMPT, 1),
        _ => (PROMPT, WRITTEN),
    };
    let answers = (0..clients).map(|client| {
        let prompt = (0..read).map(|at| 300 + (client * 977 + at * 131) as u32 % 30_000).collect();
        let request = Generate::new(prompt).with_max_tokens(written).with_ignore_eos(true);
        let request = match asked {
            Asked::Prompt | Asked::Base => request,
            Asked::OneAdapter => request.with_adapter(leases.beside[0].clone()),
            Asked::Merged => request.with_adapter(leases.merged.clone().unwrap()),
            Asked::AllDifferent => request.with_adapter(leases.beside[client].clone()),
        };
        let mut engine = engine.clone();
        async move {
            let answer = engine.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(answer.collect_all().await.unwrap().tokens.len(), written);
        }
    });
    join_all(answers).await;
}

fn median(seconds: &[f64]) -> f64 {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Returns for how long the threads of this process have run, to the nanosecond.
fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds = threads.filter_map(|thread| {
        // One may have ended meanwhile.
        let stat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}
