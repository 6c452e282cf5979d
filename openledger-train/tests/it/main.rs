//! Training, by behaviour.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests may panic and print"
)]

mod backends;
mod federated;
mod loop_;
mod parity;
mod preference;
