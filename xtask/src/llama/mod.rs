//! What serving costs beside llama.cpp: the same model and adapters, the same questions, in turns.

mod build;
mod load;

use std::{
    fs,
    io::BufWriter,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::{Args, ValueEnum};
use openledger_model::{
    Model,
    gguf::{GgmlType, GgufWriter},
};
use serde_json::{Value, json};

use crate::{
    peers::Peers,
    server::{self, Server},
    shell::{Result, json as read, output, root},
};
use load::{Asked, Cost, Side};

/// How many adapters both have, and how many clients there are at most.
const ADAPTERS: u64 = 16;
/// Tokens a client of llama.cpp has room for.
const ROOM: u64 = 512;
const PACKAGES: [&str; 3] = ["gguf==0.19.0", "numpy", "safetensors"];

/// What is measured.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of a Llama, as Hugging Face has it.
    #[arg(long)]
    model: PathBuf,
    /// Folder of its adapters: lora-00 to lora-15, on its seven projections.
    #[arg(long)]
    adapters: PathBuf,
    /// What the base model's matrices are kept as.
    #[arg(long, value_enum, default_values = ["f32", "bf16", "q8_0", "q4_0"])]
    dtype: Vec<Dtype>,
    /// Threads that compute, of each.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How often each is asked; the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// A llama-server that is there, instead of one built from source.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
    #[value(name = "q8_0")]
    Q8,
    #[value(name = "q4_0")]
    Q4,
}

impl Dtype {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8_0",
            Self::Q4 => "q4_0",
        }
    }

    const fn ggml(self) -> GgmlType {
        match self {
            Self::F32 => GgmlType::F32,
            Self::Bf16 => GgmlType::BF16,
            Self::Q8 => GgmlType::Q8_0,
            Self::Q4 => GgmlType::Q4_0,
        }
    }
}

/// Measures both and prints a table.
///
/// # Errors
/// If one does not start, or they do not answer the same in `f32`.
pub(crate) fn measure(options: &Options) -> Result {
    let peers = Peers::new();
    let program = match &options.server {
        Some(server) => server.clone(),
        None => build::server(&peers)?,
    };
    let folder = peers.scratch("llama")?;
    adapters(&peers, &options.adapters, &options.model, &folder)?;
    println!(
        "generated tokens a CPU second on {} threads, ours | llama.cpp; best of {}",
        options.threads, options.rounds
    );
    for &dtype in &options.dtype {
        let file = folder.join("model.gguf");
        base(&options.model, dtype, &file)?;
        let sides = [ours(options, dtype)?, theirs(options, &program, &folder)?];
        if dtype == Dtype::F32 {
            same(&sides)?;
        }
        compare(options, dtype, &sides)?;
    }
    Ok(())
}

fn compare(options: &Options, dtype: Dtype, sides: &[Side; 2]) -> Result {
    // What is asked first is slower: adapters are read, and memory is taken.
    for side in sides {
        load::round(side, ADAPTERS, Asked::AllDifferent, 0)?;
    }
    let mut seed = 0;
    for clients in [8, 16] {
        for asked in Asked::ALL {
            let mut best: [Option<Cost>; 2] = [None; 2];
            for _ in 0..options.rounds {
                seed += 1;
                for (side, best) in sides.iter().zip(&mut best) {
                    let cost = load::round(side, clients, asked, seed)?;
                    *best = Some(best.map_or(cost, |best| best.better(cost)));
                }
            }
            let [Some(our), Some(their)] = best else { return Err("no rounds".into()) };
            println!(
                "{} {clients} clients, {asked:?}: {:.0} | {:.0}; first token {:.0?} | {:.0?} ms",
                dtype.name(),
                our.per_cpu_second,
                their.per_cpu_second,
                our.first.map(|seconds| seconds * 1e3),
                their.first.map(|seconds| seconds * 1e3),
            );
        }
    }
    for (what, clients) in [("one client", Some(1)), ("prefill of 128 tokens", None)] {
        let mut best = [0f64; 2];
        for _ in 0..options.rounds {
            seed += 1;
            for (side, best) in sides.iter().zip(&mut best) {
                let now = match clients {
                    Some(n) => load::round(side, n, Asked::Base, seed)?.per_cpu_second,
                    None => load::prefill(side, seed)?,
                };
                *best = best.max(now);
            }
        }
        println!("{} {what}: {:.0} | {:.0}", dtype.name(), best[0], best[1]);
    }
    Ok(())
}

/// Checks that both are asked the same: the same model and the same adapters answer the same.
fn same(sides: &[Side; 2]) -> Result {
    let adapters = (0..ADAPTERS).map(Some).chain([None]);
    for (seed, adapter) in (1000..).zip(adapters) {
        let [our, their] = sides.each_ref().map(|side| load::greedy(side, adapter, seed));
        let (our, their) = (our?, their?);
        // Sums in another order may choose otherwise in the end, where two tokens are as likely.
        let alike = our.chars().zip(their.chars()).take_while(|(a, b)| a == b).count();
        if alike * 2 < our.chars().count() {
            return Err(format!("adapter {adapter:?} answers\n{our}\nand there\n{their}").into());
        }
    }
    Ok(())
}

fn ours(options: &Options, dtype: Dtype) -> Result<Side> {
    let mut serve = server::serve(true)?;
    serve.arg("--model").arg(&options.model).arg("--adapters").arg(&options.adapters);
    serve.args(["--dtype", dtype.name(), "--threads", &options.threads.to_string()]);
    let name = fs::canonicalize(&options.model)?;
    let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
    let naming = Box::new(move |adapter: Option<u64>| match adapter {
        Some(number) => json!({"model": format!("lora-{number:02}")}),
        None => json!({"model": name}),
    });
    Ok(Side { server: Server::start(&mut serve)?, naming })
}

/// Starts llama.cpp with a place for each client, and without keeping prompts aside in memory, which
/// would only cost it here.
fn theirs(options: &Options, program: &Path, folder: &Path) -> Result<Side> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut serve = Command::new(program);
    serve.arg("--model").arg(folder.join("model.gguf"));
    serve.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    for threads in ["--threads", "--threads-batch"] {
        serve.args([threads, &options.threads.to_string()]);
    }
    serve.args(["--parallel", &ADAPTERS.to_string()]);
    serve.args(["--ctx-size", &(ADAPTERS * ROOM).to_string(), "--cache-ram", "0"]);
    let files = (0..ADAPTERS).map(|number| format!("{}/{number}.gguf", folder.display()));
    serve.arg("--lora").arg(files.collect::<Vec<_>>().join(",")).arg("--lora-init-without-apply");
    let log = fs::File::create(folder.join("llama.log"))?;
    serve.stdout(Stdio::null()).stderr(log);
    let naming = Box::new(|adapter: Option<u64>| match adapter {
        Some(number) => json!({"lora": [{"id": number, "scale": 1.0}]}),
        None => json!({"lora": [{"id": 0, "scale": 0.0}]}),
    });
    Ok(Side { server: Server::start_on(&mut serve, port)?, naming })
}

/// Writes the base model as llama.cpp reads it, every matrix of one type as ours are.
fn base(model: &Path, dtype: Dtype, to: &Path) -> Result {
    let config = fs::read(model.join("config.json"))?;
    let model = Model::open(model)?;
    GgufWriter::new(&config, model.tokenizer(), model.network().weights())
        .with_type(dtype.ggml())
        .write(BufWriter::new(fs::File::create(to)?))?;
    Ok(())
}

/// Writes the adapters as llama.cpp reads them.
fn adapters(peers: &Peers, from: &Path, model: &Path, to: &Path) -> Result {
    let config: Value = read(&model.join("config.json"))?;
    let heads = |key: &str| config[key].to_string();
    let python = peers.python_packages("llama-adapters", &PACKAGES)?;
    let mut convert = Command::new(python);
    convert.arg(root().join("xtask/peers/gguf_adapter.py"));
    convert.args([heads("num_attention_heads"), heads("num_key_value_heads"), "f32".to_owned()]);
    for number in 0..ADAPTERS {
        convert.arg(from.join(format!("lora-{number:02}"))).arg(to.join(format!("{number}.gguf")));
    }
    output(&mut convert).map(drop)
}
