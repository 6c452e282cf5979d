//! GGUF, the one-file format of llama.cpp: metadata, tokenizer and tensors, often quantised.
//!
//! ```text
//! bytes ──▶ Gguf ──┬─▶ config()    ─▶ config.json      Model::open does all of it
//!                  ├─▶ tokenizer() ─▶ tokenizer.json
//!                  └─▶ weights()   ─▶ Weights
//! config.json, Tokenizer, Weights ──▶ GgufWriter ──▶ bytes
//! config.json, Lora ──▶ write_adapter ──▶ bytes ──▶ Gguf::adapter ──▶ Lora
//! ```

mod adapter;
mod blocks;
mod config;
mod cursor;
mod deepseek;
mod entries;
mod ggml_type;
mod keys;
mod llama3;
mod load;
mod metadata;
mod names;
mod permute;
mod pre_tokenizer;
mod read;
mod stored;
mod tables;
mod value;
mod vocabulary;
mod write;

pub use adapter::write_adapter;
pub use ggml_type::GgmlType;
pub use read::{Gguf, GgufTensor};
pub use value::{List, Value};
pub use write::GgufWriter;
