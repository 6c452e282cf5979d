#![doc = include_str!("../README.md")]

mod hub;
mod web;

pub use hub::HubAdapters;
pub use web::WebAdapters;
