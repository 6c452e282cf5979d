//! `cargo xtask`: the checks that need more than cargo.
//!
//! ```text
//! cargo xtask rules   which crate may depend on what
//! cargo xtask peers   the same results as the outside world: solc, OpenZeppelin, a real node
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to its user")]

mod peers;
mod rules;
mod shell;

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
}

fn main() {
    let outcome = match Task::parse() {
        Task::Rules => rules::check(),
        Task::Peers { only } => peers::check(only.as_deref()),
    };
    if let Err(error) = outcome {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
