//! Mistral (Jiang et al., 2023): a Llama whose rows see a window of those before.

use openledger_core::Result;

use super::{
    dense::Dense,
    llama::{Defaults, LlamaConfig},
};
use crate::config::Fields;

/// The window that transformers' `MistralConfig` has where the file does not mention one.
const WINDOW: usize = 4096;

pub(super) fn read(fields: &Fields) -> Result<Dense> {
    let defaults = Defaults {
        key_value_heads: Some(8),
        head_dim: None,
        max_positions: 131_072,
        attention_bias: false,
    };
    let llama = LlamaConfig::read_with(fields, &defaults)?;
    let window = match fields.mentions("sliding_window") {
        true => fields.some_size("sliding_window")?,
        false => Some(WINDOW),
    };
    Dense::llama(llama).with_window(fields, window, |_| true)
}
