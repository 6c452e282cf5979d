//! `DeepSeek` V2 and V3, which llama.cpp calls `deepseek2` both.
//!
//! Experts lie stacked in one tensor. The matrix that expands the latent vectors is one tensor in
//! older files; in newer ones it is two, one of them transposed, and attention calls itself one of a
//! single key head.

use openledger_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value as Json, json};

use super::{Gguf, keys::Keys};
use crate::NamedTensor;

/// A family, and what its configuration has beside what all have.
pub(super) struct Own {
    pub(super) family: &'static str,
    pub(super) fields: Map<String, Json>,
}

/// The parts of an expert: in GGUF files, and in checkpoints.
const EXPERT: [(&str, &str); 3] =
    [("ffn_gate_exps", "gate_proj"), ("ffn_up_exps", "up_proj"), ("ffn_down_exps", "down_proj")];

/// The two parts of the expanding matrix.
const EXPAND: [&str; 2] = ["attn_k_b", "attn_v_b"];

pub(super) fn config(keys: &Keys<'_, '_>) -> Result<Own> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    let (key, value) = head(keys)?;
    let turning = keys.count("rope.dimension_count")?;
    let own = key.checked_sub(turning).ok_or_else(|| {
        Error::corrupt(format!("keys of {key} elements, of which {turning} turn"))
    })?;
    set("qk_nope_head_dim", json!(own));
    set("qk_rope_head_dim", json!(turning));
    set("v_head_dim", json!(value));
    set("kv_lora_rank", json!(keys.count("attention.kv_lora_rank")?));
    set("q_lora_rank", json!(keys.some_count("attention.q_lora_rank")?.filter(|&rank| rank > 0)));
    set("first_k_dense_replace", json!(keys.some_count("leading_dense_block_count")?.unwrap_or(0)));
    set("n_routed_experts", json!(keys.count("expert_count")?));
    set("num_experts_per_tok", json!(keys.count("expert_used_count")?));
    set("moe_intermediate_size", json!(keys.count("expert_feed_forward_length")?));
    set("n_shared_experts", json!(keys.some_count("expert_shared_count")?.unwrap_or(0)));
    if let Some(scale) = keys.some_number("expert_weights_scale")?.filter(|&scale| scale != 0.0) {
        set("routed_scaling_factor", json!(scale));
    }
    let groups = keys.some_count("expert_group_count")?.filter(|&groups| groups > 0);
    if let Some(groups) = groups {
        set("n_group", json!(groups));
        set("topk_group", json!(keys.count("expert_group_used_count")?));
    }
    let normalised = keys.flag("expert_weights_norm")?.unwrap_or(false);
    // `llama_expert_gating_func_type`; older files, all of V2, do not say.
    let family = match keys.some_count("expert_gating_func")? {
        None | Some(0 | 1) if !normalised => {
            let method = if groups.is_some() { "group_limited_greedy" } else { "greedy" };
            set("topk_method", json!(method));
            "deepseek_v2"
        }
        Some(2) => {
            set("norm_topk_prob", json!(normalised));
            "deepseek_v3"
        }
        other => {
            let message = format!(
                "`expert_gating_func` {other:?} with `expert_weights_norm` {normalised}; \
                 known: 1 without, 2"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok(Own { family, fields })
}

/// The elements of a key and of a value of one head.
fn head(keys: &Keys<'_, '_>) -> Result<(u64, u64)> {
    let of = |which: &str| match keys.some_count(&format!("attention.{which}_length_mla"))? {
        Some(length) => Ok(length),
        None => keys.count(&format!("attention.{which}_length")),
    };
    Ok((of("key")?, of("value")?))
}

/// Takes tensors apart or together, or returns none for a name that is not of that kind.
pub(super) fn tensors(file: &Gguf<'_>, name: &str) -> Result<Option<Vec<NamedTensor>>> {
    let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'))
    else {
        return Ok(None);
    };
    let Some(part) = part.strip_suffix(".weight") else { return Ok(None) };
    if let Some((_, theirs)) = EXPERT.iter().find(|(ours, _)| *ours == part) {
        return experts(file, name, &format!("model.layers.{layer}.mlp.experts"), theirs).map(Some);
    }
    match EXPAND.iter().position(|expand| *expand == part) {
        Some(0) => expand(file, layer).map(|tensor| Some(vec![tensor])),
        // Comes with the other.
        Some(_) => Ok(Some(Vec::new())),
        None => Ok(None),
    }
}

/// Returns what the tensors of all experts are stacked as, for the name of one in a checkpoint.
pub(super) fn stack(name: &str) -> Option<String> {
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once(".mlp.experts.")?;
    let part = rest.split_once('.')?.1.strip_suffix(".weight")?;
    let (ours, _) = EXPERT.iter().find(|(_, theirs)| *theirs == part)?;
    Some(format!("blk.{layer}.{ours}.weight"))
}

fn experts(file: &Gguf<'_>, name: &str, to: &str, part: &str) -> Result<Vec<NamedTensor>> {
    let (shape, data) = cube(file, name)?;
    let [_, out, width] = shape;
    let tensor = |(expert, data): (usize, &[f32])| NamedTensor {
        name: format!("{to}.{expert}.{part}.weight"),
        shape: vec![out, width],
        data: data.to_vec(),
    };
    Ok(data.chunks_exact(out * width).enumerate().map(tensor).collect())
}

/// Puts the expanding matrix of a layer together: for each head the rows of keys, which are stored
/// as columns, and the rows of values.
fn expand(file: &Gguf<'_>, layer: &str) -> Result<NamedTensor> {
    let [keys, values] = EXPAND.map(|part| cube(file, &format!("blk.{layer}.{part}.weight")));
    let (([heads, latent, own], keys), ([value_heads, value, value_latent], values)) =
        (keys?, values?);
    if (heads, latent) != (value_heads, value_latent) {
        let message = format!("`{}` and `{}` of layer {layer} do not fit", EXPAND[0], EXPAND[1]);
        return Err(Error::corrupt(message));
    }
    let mut data = Vec::with_capacity(keys.len() + values.len());
    for (key, value) in keys.chunks_exact(latent * own).zip(values.chunks_exact(value * latent)) {
        data.extend(
            (0..own).flat_map(|row| (0..latent).map(move |column| key[column * own + row])),
        );
        data.extend_from_slice(value);
    }
    Ok(NamedTensor {
        name: format!("model.layers.{layer}.self_attn.kv_b_proj.weight"),
        shape: vec![heads * (own + value), latent],
        data,
    })
}

fn cube(file: &Gguf<'_>, name: &str) -> Result<([usize; 3], Vec<f32>)> {
    let tensor = file.tensor(name).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the file lacks the tensor `{name}`"))
    })?;
    let shape = tensor.shape().try_into().map_err(|_| {
        let shape = tensor.shape();
        Error::corrupt(format!("the tensor `{name}` is {shape:?}, not of three dimensions"))
    })?;
    Ok((shape, tensor.to_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tensors of a file, as `[name, sizes with rows first, elements]`.
    fn file(tensors: &[(&str, [usize; 3], Vec<f32>)]) -> Vec<u8> {
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((tensors.len() as u64).to_le_bytes());
        head.extend(0u64.to_le_bytes());
        let mut data = Vec::new();
        for (name, shape, elements) in tensors {
            super::super::entries::text(&mut head, name);
            head.extend(3u32.to_le_bytes());
            head.extend(shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
            head.extend(0u32.to_le_bytes());
            head.extend((data.len() as u64).to_le_bytes());
            data.extend(elements.iter().flat_map(|x| x.to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
        head.resize(head.len().next_multiple_of(32), 0);
        [head, data].concat()
    }

    #[test]
    fn the_expanding_matrix_is_put_together_head_by_head() {
        // Two heads; keys of 2 elements, values of 1, latent vectors of 3. Element: 100 h + 10 row +
        // column of the whole matrix, whose rows of keys come first.
        let at = |head: usize, row: usize, column: usize| (100 * head + 10 * row + column) as f32;
        let (mut keys, mut values, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for head in 0..2 {
            for column in 0..3 {
                keys.extend((0..2).map(|row| at(head, row, column)));
            }
            values.extend((0..3).map(|column| at(head, 2, column)));
            whole.extend((0..3).flat_map(|row| (0..3).map(move |column| at(head, row, column))));
        }
        let bytes = file(&[
            ("blk.4.attn_k_b.weight", [2, 3, 2], keys),
            ("blk.4.attn_v_b.weight", [2, 1, 3], values.clone()),
        ]);
        let parsed = Gguf::parse(&bytes).unwrap();
        let made = tensors(&parsed, "blk.4.attn_k_b.weight").unwrap().unwrap();
        assert_eq!(made[0].name, "model.layers.4.self_attn.kv_b_proj.weight");
        assert_eq!((made[0].shape.as_slice(), &made[0].data), (&[6, 3][..], &whole));
        assert!(tensors(&parsed, "blk.4.attn_v_b.weight").unwrap().unwrap().is_empty());
        let alone = file(&[("blk.4.attn_v_b.weight", [2, 1, 3], values)]);
        let error = expand(&Gguf::parse(&alone).unwrap(), "4").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
