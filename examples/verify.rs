//! Checks what the quickstart published, as somebody else would: every receipt's signature, and its
//! shares computed again from the rows.
//!
//! ```text
//! cargo run --release --example quickstart -- --store out/store --json out/result.json
//! cargo run --release --example verify -- --store out/store out/result.json
//! ```
#![expect(clippy::print_stdout, reason = "an app talks to its user")]

use std::{path::PathBuf, sync::Arc};

use clap::Parser;
use openledger_core::{
    Address, Error, Receipt, Result, Store, file,
    message::{Domain, Signed},
};
use openledger_examples::Checker;
use openledger_model::{Model, Tokens};
use serde::Deserialize;

/// Checks every receipt of a result of the quickstart.
#[derive(Debug, Parser)]
#[command(name = "verify", about)]
struct Options {
    /// What the quickstart wrote with `--json`.
    result: PathBuf,
    /// What the quickstart wrote with `--store`.
    #[arg(long)]
    store: PathBuf,
    /// Folder of the base model.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/base"))]
    model: PathBuf,
    /// Only the first answers.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    first: usize,
    /// The contract receipts are signed for; without it, the one of the first receipt.
    #[arg(long)]
    contract: Option<Address>,
}

/// The part of a result that is checked.
#[derive(Deserialize)]
struct Published {
    inferences: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    prompt: String,
    tokens: Vec<u32>,
    prompt_tokens: usize,
    receipt: Signed<Receipt>,
}

/// The largest result read: 1 GiB.
const MAX_RESULT: u64 = 1 << 30;

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread needs nothing the system can refuse");
    if let Err(error) = runtime.block_on(run(&options)) {
        openledger_examples::exit(&error);
    }
}

async fn run(options: &Options) -> Result<()> {
    let bytes = file::read(&options.result, MAX_RESULT)?;
    let published: Published = serde_json::from_slice(&bytes).map_err(|e| {
        let message = format!("`{}` is not a result of the quickstart", options.result.display());
        Error::corrupt(message).with_source(e)
    })?;
    let model = Arc::new(Model::open(&options.model)?);
    let mut checker = Checker::new(Store::local(&options.store).await?, model);
    let mut domain: Option<Domain> = None;
    for (number, answer) in (1..).zip(published.inferences.iter().take(options.first)) {
        let expected = domain.get_or_insert_with(|| {
            let Domain { chain_id, contract } = answer.receipt.domain();
            Domain { chain_id, contract: options.contract.unwrap_or(contract) }
        });
        let named = |e: Error| Error::new(e.kind(), format!("receipt {number}")).with_source(e);
        let receipt = answer.receipt.unverified();
        let verified = answer.receipt.verify_reusable(expected, receipt.deadline);
        let verified = verified.map_err(|e| named(e.into()))?;
        if Receipt::text_hash(&answer.prompt) != receipt.prompt {
            return Err(named(Error::corrupt("the receipt is for another prompt")));
        }
        let tokens = Tokens::from_parts(answer.tokens.clone(), answer.prompt_tokens);
        checker.check(verified.message(), &tokens).await.map_err(named)?;
        println!(
            "receipt {number}: signed by {}, {} shares recomputed, the same bytes",
            receipt.node,
            receipt.shares.rows().len()
        );
    }
    Ok(())
}
