//! `cargo xtask`: the checks that need more than cargo.
//!
//! ```text
//! cargo xtask rules   which crate may depend on what
//! cargo xtask peers   the same results as the outside world: solc, OpenZeppelin, a real node
//! cargo xtask llama   what serving costs beside llama.cpp
//! cargo xtask soak    200 rude clients, while adapters change under them
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to its user")]

mod client;
mod llama;
mod peers;
mod random;
mod rules;
mod server;
mod shell;
mod soak;

use clap::Parser;

/// The checks that need more than cargo.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Checks which crate depends on what.
    Rules,
    /// Compares with the outside world; installs what it needs through npm, into target/peers.
    Peers {
        /// Only the check of this name.
        only: Option<String>,
    },
    /// Serves a model and its adapters beside llama.cpp, built from source, and prints what both cost.
    Llama(llama::Options),
    /// Lets rude clients ask for minutes while adapters are replaced, cut short and deleted.
    Soak(soak::Options),
}

fn main() {
    let outcome = match Task::parse() {
        Task::Rules => rules::check(),
        Task::Peers { only } => peers::check(only.as_deref()),
        Task::Llama(options) => llama::measure(&options),
        Task::Soak(options) => soak::run(&options),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
