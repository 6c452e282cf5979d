#![doc = include_str!("../README.md")]

mod cache;
mod client;
mod download;
mod hub;
mod options;
mod progress;
mod repo;
mod token;
mod wanted;
mod web;

pub use hub::Hub;
pub use options::HubOptions;
pub use progress::Progress;
pub use repo::Repo;
pub use token::Token;
pub use wanted::Wanted;
pub use web::{Web, WebFile};
