//! Training, by behaviour.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests may panic and print"
)]

mod backends;
mod data;
mod export;
mod federated;
mod judged;
mod kill;
mod log;
mod loop_;
mod parity;
mod parquet;
mod preference;
mod preflight;
mod session;
