#![doc = include_str!("../README.md")]

mod adapter;
mod buffers;
mod chat;
mod config;
mod decoder;
mod families;
pub mod gguf;
mod json;
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
mod tokens;
mod weights;

pub use adapter::{
    Adapter, AdapterFiles, Combine, Composed, Direction, Election, Lora, LoraConfig, Pair, Part,
    Patterns, Saved, Selection, Start, StoredAdapter, Table, Targets,
};
pub use buffers::{Buffer, Buffers};
pub use chat::{Chat, ChatTemplate, Message, Rendered};
pub use config::{RopeConfig, RopeScaling};
pub use decoder::Decoder;
pub use families::LlamaConfig;
pub use json::Json;
pub use model::{Model, ModelFiles};
pub use network::Network;
pub use ops::{Attention, Gated, Latent, Linear, Mixture, Ops};
pub use router::{Chosen, Groups, Router, Scoring};
pub use tape::{Batch, Gradients, Tape, Trainable};
pub use template::Template;
pub use tokenizer::{DataTokenizer, TextStream, Tokenizer};
pub use tokens::Tokens;
pub use weights::{NamedTensor, Param, Weights};
