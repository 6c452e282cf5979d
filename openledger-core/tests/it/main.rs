//! Laws of the core, by behaviour.

mod codec;
mod merkle;
mod share;
mod store;
