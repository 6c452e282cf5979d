#![doc = include_str!("../README.md")]

mod body;
mod limits;
mod listener;
mod patient;

pub use body::read;
pub use limits::Limits;
pub use listener::{Listener, Peer};
