//! The story of the quickstart, one module a chapter.
//!
//! ```text
//! people ─▶ collect ─▶ learn ─▶ answer ─▶ settle ─▶ verify ─▶ report
//! ```

mod answer;
mod collect;
mod data;
mod learn;
mod people;
mod report;
mod settle;
mod verify;

use std::{path::PathBuf, sync::Arc, time::Instant};

use clap::{Parser, ValueEnum};
use openledger_attribution::Preconditioner;
use openledger_chain::{DeployOptions, Deployed, DevNode, EvmChain, Tx, embedded, http_provider};
use openledger_core::{Amount, Error, Result, Store, U256, file};
use openledger_model::{Model, Template};
use serde::Serialize;

pub use report::{
    AdapterReport, ClaimReport, DatanetReport, InferenceReport, Report, SettlementReport,
};

use people::People;

/// Runs the whole line from a row to a payout.
#[derive(Clone, Debug, Parser)]
#[command(name = "quickstart", about)]
#[expect(clippy::exhaustive_structs, reason = "made by clap and by tests of this package")]
pub struct Options {
    /// Folder of a base model: config.json, model.safetensors, tokenizer.json.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/base"))]
    pub model: PathBuf,
    /// A Datanet and the file its rows come from: .jsonl, .json, .csv, .txt or .md. Repeatable;
    /// without it, three Datanets of our own.
    #[arg(long, value_name = "NAME=FILE", value_parser = data::parse_argument)]
    pub data: Vec<(String, PathBuf)>,
    /// Rows to take from each file of `--data`; ten of those after them are held out.
    #[arg(long, default_value_t = 800)]
    pub rows: usize,
    /// Passes over the rows in training; without it 6, and 20 over the Datanets of our own, which
    /// are small.
    #[arg(long)]
    pub epochs: Option<usize>,
    /// The rank of the adapters.
    #[arg(long, default_value_t = 16)]
    pub rank: usize,
    /// The largest step of training.
    #[arg(long, default_value_t = 3e-3)]
    pub rate: f64,
    /// The longest row in tokens; longer ones are cut.
    #[arg(long, default_value_t = 256)]
    pub max_tokens: usize,
    /// How influence is computed.
    #[arg(long, value_enum, default_value_t = MethodName::BlockExact)]
    pub method: MethodName,
    /// Write the result as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Use the development node at this URL instead of the embedded chain.
    #[arg(long)]
    pub rpc: Option<String>,
    /// Write gas and logs of every transaction as JSON.
    #[arg(long)]
    pub chain_log: Option<PathBuf>,
    /// Keep rows, adapters and receipts in this folder instead of memory.
    #[arg(long)]
    pub store: Option<PathBuf>,
}

impl Options {
    fn passes(&self) -> usize {
        self.epochs.unwrap_or(if self.data.is_empty() { 20 } else { 6 })
    }
}

/// The methods to choose from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "made by clap")]
pub enum MethodName {
    /// The closed form of Kwon et al.
    Datainf,
    /// The exact inverse of each block.
    BlockExact,
    /// The dot product of gradients.
    GradientDot,
}

impl From<MethodName> for Preconditioner {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Datainf => Self::DataInf,
            MethodName::BlockExact => Self::BlockExact,
            MethodName::GradientDot => Self::Identity,
        }
    }
}

/// What every chapter works with.
struct World {
    people: People,
    chain: EvmChain,
    dev: DevNode,
    store: Store,
    model: Arc<Model>,
    template: Template,
    journal: Journal,
}

/// Every transaction with what it was for.
#[derive(Debug, Default)]
struct Journal(Vec<Entry>);

#[derive(Debug, Serialize)]
struct Entry {
    step: String,
    gas: u64,
    logs: Vec<openledger_chain::TxLog>,
}

impl Journal {
    fn add(&mut self, step: impl Into<String>, tx: &Tx) -> String {
        self.0.push(Entry { step: step.into(), gas: tx.gas, logs: tx.logs.clone() });
        tx.hash.to_string()
    }
}

/// How long a root of claims waits before it pays, in seconds.
const ACTIVATION_DELAY: u64 = 24 * 60 * 60;
/// Seconds in which a batch of receipts can be disputed before it is settled.
const CHALLENGE_WINDOW: u64 = 24 * 60 * 60;

/// Tells the story and returns what came of it.
///
/// # Errors
/// Whatever stops a chapter: files that cannot be read, a model that cannot be used, a node that
/// does not answer. Checks that do not hold are in the report, not errors.
pub async fn run(options: &Options) -> Result<Report> {
    let begun = Instant::now();
    let sources = data::sources(options)?;
    let model = Arc::new(Model::open(&options.model)?);
    let people = People::new(&sources)?;
    let store = match &options.store {
        Some(folder) => Store::local(folder).await?,
        None => Store::memory(),
    };

    heading("A chain");
    let mut journal = Journal::default();
    let (chain, dev) = open_chain(options, &people, &mut journal).await?;
    let gas: u64 = journal.0.iter().map(|entry| entry.gas).sum();
    println!(
        "  {}: {} contracts deployed with {gas} gas in all, power handed to governance",
        options.rpc.as_deref().unwrap_or("an EVM in this process"),
        chain.contracts().named().count(),
    );
    let template = Template::default();
    let mut world = World { people, chain, dev, store, model, template, journal };

    heading("People contribute rows to Datanets");
    let datanets = collect::collect(&mut world, &sources).await?;

    heading("A model learns from them");
    let trained = learn::learn(&mut world, &datanets, options).await?;

    heading("It answers, and each answer is traced back to rows and people");
    let answers = answer::answer(&mut world, &datanets, &trained, options).await?;

    heading("The answers are paid for, and the people behind them are paid");
    let settled = settle::settle(&mut world, &answers).await?;

    heading("Anybody can check it");
    let story = verify::Story {
        datanets: &datanets,
        trained: &trained,
        answers: &answers,
        settled: &settled,
    };
    let checks = verify::verify(&mut world, &story).await?;

    let report = report::report(&story, checks, begun.elapsed().as_secs_f64());
    if let Some(path) = &options.chain_log {
        let json = serde_json::to_vec_pretty(&world.journal.0).map_err(not_json)?;
        file::write(path, &json)?;
    }
    if let Some(path) = &options.json {
        file::write(path, &serde_json::to_vec_pretty(&report).map_err(not_json)?)?;
        println!("\nwritten to `{}`", path.display());
    }
    report::print(&report);
    Ok(report)
}

async fn open_chain(
    options: &Options,
    people: &People,
    journal: &mut Journal,
) -> Result<(EvmChain, DevNode)> {
    let keys = people.keys();
    let provider = match &options.rpc {
        Some(url) => http_provider(url, &keys)?,
        None => embedded(openledger_chain::Genesis::default(), &keys)?,
    };
    let dev = DevNode::new(provider.clone());
    dev.tick_by_block().await?;
    if options.rpc.is_some() {
        let coins = U256::from(10).pow(U256::from(24));
        for key in &keys {
            dev.set_balance(key.address(), coins).await?;
        }
    }
    let deploy = DeployOptions::new(people.admin.address())
        .with_treasury(people.treasury.address())
        .with_staking_pool(people.stakers.address())
        .with_nodes([people.node.address()])
        .with_delays(ACTIVATION_DELAY, ACTIVATION_DELAY, CHALLENGE_WINDOW);
    let Deployed { chain, txs, .. } = EvmChain::deploy(provider, deploy).await?;
    for tx in &txs {
        journal.add("deploy", tx);
    }
    let user = Amount::new(Amount::OPEN.units() * U256::from(1_000));
    let treasury = chain.sending_as(people.treasury.address());
    let sent = treasury.transfer(people.user.address(), user).await?;
    journal.add("give the user OPEN", &sent.tx);
    Ok((chain, dev))
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn not_json(error: serde_json::Error) -> Error {
    Error::invalid("the result is not JSON").with_source(error)
}
