#![doc = include_str!("../README.md")]

mod client;
mod server;
mod wire;

pub use client::Client;
pub use server::{Limits, Server};
