//! What the example apps share.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "apps talk to their user")]

mod check;
mod measure;
mod progress;
pub mod quickstart;

use openledger_core::Error;

pub use check::Checker;
pub use measure::{Process, cpu_seconds, peak_mb};
pub use progress::bar;

/// The README's code sample, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Prints an error on one line of standard error and ends the process.
pub fn exit(error: &Error) -> ! {
    eprintln!("error: {}", error.report());
    std::process::exit(1);
}
