#![doc = include_str!("../README.md")]

mod adapter;
mod config;
mod decoder;
mod families;
pub mod gguf;
mod model;
mod network;
mod ops;
mod random;
pub mod reference;
mod router;
pub mod tape;
mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tokenizer;
mod weights;

pub use adapter::{Adapter, AdapterFiles, Lora, LoraConfig, Pair, Targets};
pub use config::{RopeConfig, RopeScaling};
pub use decoder::Decoder;
pub use families::LlamaConfig;
pub use model::{Model, ModelFiles};
pub use network::Network;
pub use ops::{Attention, Gated, Latent, Linear, Mixture, Ops};
pub use router::{Chosen, Groups, Router, Scoring};
pub use tape::{Batch, Gradients, Tape, Trainable};
pub use template::{Template, Tokens};
pub use tokenizer::{TextStream, Tokenizer};
pub use weights::{NamedTensor, Param, Weights};
