//! Laws of the core, by behaviour.

mod codec;
mod merkle;
mod retrieve;
mod share;
mod store;
