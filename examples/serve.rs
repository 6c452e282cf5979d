//! Serves a model and its adapters over OpenAI's API.
//!
//! ```text
//! cargo run --release --example serve -- --model DIR --adapters DIR --port 8000
//! ```
//! Each folder of `--adapters` that holds an adapter is a model by its name; the base model is one by the
//! name of its own folder. Control-C ends it: answers under way are finished first.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an app talks to its user")]

#[path = "serve/layers.rs"]
mod layers;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{Parser, ValueEnum};
use layers::Layers;
use openledger_core::{Error, ErrorKind, Result, file};
use openledger_http::{Limits, Listener};
use openledger_model::{ChatTemplate, Model, Network};
use openledger_serve::{
    AdapterOptions, AdapterPrecision, Adapters, Directory, Engine, EngineOptions, Generate, Sources,
};
use openledger_serve_http::{Api, Keys};
use tower::{Service, ServiceExt};

/// Serves a model and its adapters over OpenAI's API.
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the base model, as Hugging Face has it, or a GGUF file.
    #[arg(long)]
    model: PathBuf,
    /// Folder of folders of adapters, as PEFT has them.
    #[arg(long)]
    adapters: Option<PathBuf>,
    /// What the base model's matrices are kept as: as a GGUF file has them, unless told; those of a folder
    /// in `f32`.
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Threads that compute; answers do not depend on it.
    #[arg(long)]
    threads: Option<usize>,
    /// Port on this machine; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Address to listen on. On one that others reach there have to be keys, and TLS before it.
    #[arg(long, default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// Key that requests need, of 16 characters or more. Others on this machine can see it: prefer a file.
    #[arg(long)]
    api_key: Option<String>,
    /// File of keys, one a line: `TENANT KEY [ADAPTER,...]`.
    #[arg(long)]
    api_key_file: Option<PathBuf>,
    /// File with the key of administrators.
    #[arg(long)]
    admin_key_file: Option<PathBuf>,
    /// Answers that are written at a time.
    #[arg(long, default_value_t = 32)]
    running: usize,
    /// Memory for keys and values, in MiB.
    #[arg(long, default_value_t = 1024)]
    cache_mib: usize,
    /// Keys and values in eight bits: room for nearly four times the tokens.
    #[arg(long)]
    cache_in_eight_bits: bool,
    /// Tokens of an answer that are guessed at a time, from what was written before.
    #[arg(long, default_value_t = 0)]
    draft: usize,
    /// Collector of OpenTelemetry that requests are traced to, such as `http://127.0.0.1:4318/v1/traces`.
    #[cfg(feature = "otel")]
    #[arg(long)]
    traces: Option<String>,
    #[command(flatten)]
    layers: Layers,
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

/// The largest file of keys read: 1 MiB.
const MAX_KEYS: u64 = 1 << 20;
/// How long answers under way are waited for at the end.
const DRAIN: Duration = Duration::from_secs(60);

/// Arenas of the C library's allocator: threads that read requests and adapters come and go.
const ARENAS: u8 = 2;

fn main() {
    openledger_kernels::limit_arenas(ARENAS);
    if let Err(error) = run(&Options::parse()) {
        openledger_examples::exit(&error);
    }
}

fn run(options: &Options) -> Result<()> {
    if let Some(threads) = options.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|e| Error::invalid("cannot start threads").with_source(e.to_string()))?;
    }
    let model = Arc::new(open(options)?);
    let engine_options = EngineOptions::default()
        .with_max_running(options.running)
        .with_cache_bytes(options.cache_mib.saturating_mul(1 << 20))
        .with_cache_in_eight_bits(options.cache_in_eight_bits)
        .with_draft_tokens(options.draft);
    let engine = Engine::start(Arc::clone(&model), engine_options)?;
    let first = engine.clone();
    let folder = std::fs::canonicalize(&options.model).unwrap_or_else(|_| options.model.clone());
    // A file may be a link to one that is called by its hash.
    let is_file = folder.is_file();
    let name = if is_file { options.model.file_stem() } else { folder.file_name() };
    let name = name.map_or_else(|| "model".into(), |name| name.to_string_lossy());
    let adapters = adapters(options, &model)?;
    let layers = &options.layers;
    let stack = layers.around(engine.clone())?;
    let mut api = Api::new(stack, model, &*name).with_keys(keys(options)?);
    // Embeddings go past the layers: nobody would pay for them.
    api = match layers.takes_money() {
        true => api.with_engine_metrics(engine),
        false => api.with_engine(engine),
    };
    if layers.finds_rows() {
        api = api.with_ground();
    }
    if layers.signs_receipts() {
        api = api.with_receipts();
    }
    #[cfg(feature = "otel")]
    if let Some(collector) = &options.traces {
        api = api.with_traces(openledger_serve_http::Traces::otlp(collector)?);
    }
    match ChatTemplate::open(&options.model) {
        Ok(template) => api = api.with_template(template),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            eprintln!("the model has no chat template: only /v1/completions answers");
        }
        Err(e) => return Err(e),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|e| Error::new(ErrorKind::Unavailable, "no threads to serve").with_source(e))?;
    runtime.block_on(async {
        warm_up(first).await?;
        let api = api.with_adapters(adapters, options.adapters.as_deref()).await?;
        serve(api, SocketAddr::new(options.host, options.port)).await
    })
}

/// Lets the engine write one token: weights are read and packed as they are first multiplied, which nobody
/// who asks should wait for.
async fn warm_up(mut engine: Engine) -> Result<()> {
    let request = Generate::new(vec![0]).with_max_tokens(1).with_ignore_eos(true);
    engine.ready().await?.call(request).await?.collect_all().await?;
    Ok(())
}

/// Adapters of the folder, kept as exactly as the base is.
fn adapters(options: &Options, model: &Arc<Model>) -> Result<Adapters> {
    let precision = AdapterPrecision::beside(model.network());
    let mut sources = Sources::new();
    if let Some(folder) = &options.adapters {
        sources = sources.with_default(Directory::open(folder)?);
    }
    let options = AdapterOptions::default().with_sources(sources).with_precision(precision);
    Ok(Adapters::with_options(Arc::clone(model), options))
}

async fn serve(api: Api, address: SocketAddr) -> Result<()> {
    let listener = Listener::bind(address).await?;
    println!("listening on {}", listener.url());
    let answering = api.clone();
    let answer = move |request| {
        let api = answering.clone();
        async move { api.answer(request).await }
    };
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            eprintln!("cannot wait for Control-C: end it by its process");
            std::future::pending::<()>().await;
        }
        api.drain();
        println!("ending: answers under way are finished");
    };
    listener.serve_until(Limits::default().with_drain_time(DRAIN), answer, stop).await;
    Ok(())
}

fn open(options: &Options) -> Result<Model> {
    let rounded = |round: fn(Network) -> Network| {
        Ok(Model::open_as_stored(&options.model)?.map_network(round))
    };
    match options.dtype {
        None => Model::open_as_stored(&options.model),
        Some(Dtype::F32) => Model::open(&options.model),
        Some(Dtype::Bf16) => rounded(Network::in_bf16),
        Some(Dtype::Q8) => rounded(Network::in_q8_0),
        Some(Dtype::Q4) => rounded(Network::in_q4_0),
    }
}

fn keys(options: &Options) -> Result<Keys> {
    let read = |path: &PathBuf| {
        let text = String::from_utf8(file::read(path, MAX_KEYS)?);
        text.map_err(|_| Error::invalid(format!("`{}` is not UTF-8", path.display())))
    };
    let mut keys = Keys::default();
    if let Some(key) = &options.api_key {
        keys = keys.with_tenant("default", key, None)?;
    }
    if let Some(path) = &options.api_key_file {
        keys = keys.with_lines(&read(path)?)?;
    }
    if let Some(path) = &options.admin_key_file {
        keys = keys.with_admin(read(path)?.trim())?;
    }
    let is_closed = options.api_key.is_some() || options.api_key_file.is_some();
    if !options.host.is_loopback() && !is_closed {
        let message = format!("{} is reached by others: give `--api-key-file`", options.host);
        return Err(Error::invalid(message));
    }
    Ok(keys)
}
