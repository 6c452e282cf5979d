#![doc = include_str!("../README.md")]

mod client;
mod server;
mod wire;

pub use client::Client;
pub use openledger_http::Limits;
pub use server::Server;
