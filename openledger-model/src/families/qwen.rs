//! Qwen2 (Yang et al., 2024), with biases of queries, keys and values, and Qwen3 (2025), which
//! normalises queries and keys instead.

use openledger_core::Result;

use super::{
    dense::Dense,
    llama::{Defaults, LlamaConfig},
};
use crate::config::Fields;

pub(super) fn read_2(fields: &Fields) -> Result<Dense> {
    let mut llama = LlamaConfig::read_with(fields, &defaults(None))?;
    // Not an option of this family.
    llama.attention_bias = true;
    let dense = Dense { output_bias: false, ..Dense::llama(llama) };
    windowed(dense, fields)
}

pub(super) fn read_3(fields: &Fields) -> Result<Dense> {
    let llama = LlamaConfig::read_with(fields, &defaults(Some(128)))?;
    windowed(Dense { head_norms: true, ..Dense::llama(llama) }, fields)
}

const fn defaults(head_dim: Option<usize>) -> Defaults {
    Defaults { key_value_heads: Some(32), head_dim, max_positions: 32_768, attention_bias: false }
}

/// The upper layers slide, if any do.
fn windowed(dense: Dense, fields: &Fields) -> Result<Dense> {
    let window = match fields.flag_or("use_sliding_window", false)? {
        true => Some(fields.size_or("sliding_window", 4096)?),
        false => None,
    };
    let first = fields.count_or("max_window_layers", 28)?;
    dense.with_window(fields, window, |layer| layer >= first)
}
