//! From a row to a payout, in one process: people contribute rows, a model learns from them, its
//! answers are traced back to rows and people, and the people are paid on an EVM with proofs
//! anyone can check.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --model DIR --data NAME=FILE --data NAME=FILE --json FILE
//! ```

use clap::Parser;
use openledger_examples::quickstart::{Options, run};

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread needs nothing the system can refuse");
    match runtime.block_on(run(&options)) {
        Ok(report) if report.checks.values().all(|&holds| holds) => {}
        Ok(_) => std::process::exit(1),
        Err(error) => openledger_examples::exit(&error),
    }
}
