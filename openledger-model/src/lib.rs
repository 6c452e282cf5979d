#![doc = include_str!("../README.md")]

mod adapter;
mod config;
mod decoder;
mod llama;
mod model;
mod network;
mod ops;
mod random;
pub mod reference;
pub mod tape;
mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tokenizer;
mod weights;

pub use adapter::{Adapter, AdapterFiles, Lora, LoraConfig, Pair};
pub use config::LlamaConfig;
pub use decoder::Decoder;
pub use llama::Llama;
pub use model::{Model, ModelFiles};
pub use network::Network;
pub use ops::{Attention, Linear, Ops};
pub use tape::{Batch, Gradients, Tape, Trainable};
pub use template::{Template, Tokens};
pub use tokenizer::{TextStream, Tokenizer};
pub use weights::{NamedTensor, Param, Weights};
