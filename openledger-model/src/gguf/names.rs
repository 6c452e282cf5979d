//! What tensors are called in GGUF files and in Hugging Face checkpoints.
//!
//! Source: `gguf-py/gguf/constants.py` and `tensor_mapping.py` of llama.cpp.

/// Parts of the whole model.
const WHOLE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Parts of a block, after `blk.N.` and `model.layers.N.`.
const BLOCK: [(&str, &str); 21] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_q_a", "self_attn.q_a_proj"),
    ("attn_q_a_norm", "self_attn.q_a_layernorm"),
    ("attn_q_b", "self_attn.q_b_proj"),
    ("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"),
    ("attn_kv_a_norm", "self_attn.kv_a_layernorm"),
    ("attn_kv_b", "self_attn.kv_b_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_shexp", "mlp.shared_experts.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_experts.up_proj"),
    ("ffn_down_shexp", "mlp.shared_experts.down_proj"),
];

/// The correction of routing scores, whose name is put together differently.
const CORRECTION: (&str, &str) = ("exp_probs_b.bias", "mlp.gate.e_score_correction_bias");

/// Returns the name in a Hugging Face checkpoint.
pub(super) fn hugging_face(name: &str) -> Option<String> {
    if let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        if part == CORRECTION.0 {
            return Some(format!("model.layers.{layer}.{}", CORRECTION.1));
        }
        let (part, end) = part.rsplit_once('.')?;
        let (_, theirs) = BLOCK.iter().find(|(ours, _)| *ours == part)?;
        return Some(format!("model.layers.{layer}.{theirs}.{end}"));
    }
    let (part, end) = name.rsplit_once('.')?;
    let (_, theirs) = WHOLE.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("{theirs}.{end}"))
}

/// Returns the name in a GGUF file.
pub(super) fn ggml(name: &str) -> Option<String> {
    if let Some((layer, part)) =
        name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'))
    {
        if part == CORRECTION.1 {
            return Some(format!("blk.{layer}.{}", CORRECTION.0));
        }
        let (part, end) = part.rsplit_once('.')?;
        let (ours, _) = BLOCK.iter().find(|(_, theirs)| *theirs == part)?;
        return Some(format!("blk.{layer}.{ours}.{end}"));
    }
    let (part, end) = name.rsplit_once('.')?;
    let (ours, _) = WHOLE.iter().find(|(_, theirs)| *theirs == part)?;
    Some(format!("{ours}.{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (ours, theirs) in [
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("output.weight", "lm_head.weight"),
            ("blk.11.attn_q.bias", "model.layers.11.self_attn.q_proj.bias"),
            ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"),
            ("blk.3.exp_probs_b.bias", "model.layers.3.mlp.gate.e_score_correction_bias"),
        ] {
            assert_eq!(hugging_face(ours).as_deref(), Some(theirs));
            assert_eq!(ggml(theirs).as_deref(), Some(ours));
        }
        for unknown in ["", "output", "blk.1.attn_qkv.weight", "blk.1", "model.layers.0.x.weight"] {
            assert_eq!(hugging_face(unknown), None);
            assert_eq!(ggml(unknown), None);
        }
    }
}
