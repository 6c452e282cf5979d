//! Cases of runs over several batches: `cases/train/llama`, `cases/train/llama-mini`.

use std::sync::Arc;

use openledger_core::{Error, Result};
use openledger_model::{Lora, LoraConfig, Network, Tokens, Weights};
use serde_json::Value;

use super::{
    Case, Check, LOGITS, LOSS, Start, check_curve, check_gradients, difference, forward, gradients,
    tensors::Tensors,
};
use crate::{AdamW, Backend, Native, Plan, Schedule};

/// Batches of a case, taken in turn.
const BATCHES: usize = 4;
/// The largest difference of logits after a run.
const TRAINED: f64 = 1e-4;
/// The largest difference of merged weights.
const MERGED: f64 = 1e-6;

pub(super) fn compare(case: &Case<'_>) -> Result<Vec<Check>> {
    let ids = case.tensors("ids.safetensors")?;
    let rows = ids.tokens("batches")?;
    let (config, batches) = (config(case)?, batches(&ids)?);
    let mut checks = Vec::new();
    for (start, stored) in [
        (Start::Zero, "grads_step1_b0.safetensors"),
        (Start::Zero, "grads_step1_b0_layers0_7.safetensors"),
        (Start::Nonzero, "grads_step1_bnz.safetensors"),
    ] {
        if case.has(stored) {
            checks.push(first_step(case, &config, start, stored, &batches[0])?);
        }
    }
    for run in RUNS {
        if case.value(&[run.name]).is_ok() {
            checks.extend(run.check(case, &config, &batches)?);
        }
    }
    checks.extend(masked(case, &config, &ids, &batches)?);
    // A case may keep no logits, for its size.
    if case.has("logits.safetensors") {
        let logits = case.tensors("logits.safetensors")?;
        checks.extend(outputs(case, &config, &logits, &rows)?);
        checks.extend(packed(case, &config, &ids, &logits)?);
        checks.extend(ropes(case, &logits, &rows)?);
    }
    Ok(checks)
}

/// The adapter's configuration.
pub(super) fn config(case: &Case<'_>) -> Result<LoraConfig> {
    let rank = case.size(&["r"])?;
    Ok(LoraConfig::default().with_rank(rank, case.number(&["alpha"])?))
}

/// The rows of each step.
pub(super) fn batches(ids: &Tensors) -> Result<Vec<Vec<Tokens>>> {
    let rows = ids.tokens("batches")?;
    let size = rows.len().div_ceil(BATCHES).max(1);
    let tokens = |rows: &[Vec<u32>]| rows.iter().map(|row| Tokens::new(&[], row)).collect();
    match rows.is_empty() {
        true => Err(Error::invalid("`ids.safetensors` has no batches")),
        false => Ok(rows.chunks(size).map(tokens).collect()),
    }
}

/// Logits of the base model and of a trained adapter, and a weight with it merged in.
fn outputs(
    case: &Case<'_>,
    config: &LoraConfig,
    logits: &Tensors,
    rows: &[Vec<u32>],
) -> Result<Vec<Check>> {
    let theirs = logits.numbers("base_logits_batch0")?;
    let width = rows.first().map_or(1, Vec::len) * case.network.decoder().vocabulary();
    let rows = &rows[..rows.len().min(theirs.len() / width)];
    let base = forward(&case.network, None, rows)?;
    let mut checks = vec![Check::new("logits", difference(&base.logits, theirs)?, LOGITS)];
    let trained = case.read("adapter_after20_b0.safetensors")?;
    let trained = Lora::from_safetensors(&case.network, config, &trained)?;
    let after = forward(&case.network, Some(&trained), rows)?;
    let apart = difference(&after.logits, logits.numbers("trained_logits_batch0")?)?;
    checks.push(Check::new("trained logits", apart, TRAINED));
    checks.extend(merged(case, &trained, logits)?);
    Ok(checks)
}

/// A run of the reference, and what is different in it.
struct Curve {
    name: &'static str,
    start: Start,
    rank_stabilised: bool,
    rate: f64,
    decay: f64,
    clip: Option<f64>,
    warmup: usize,
    schedule: Schedule,
}

const PLAIN: Curve = Curve {
    name: "main_b0",
    start: Start::Zero,
    rank_stabilised: false,
    rate: 1e-3,
    decay: 0.01,
    clip: None,
    warmup: 0,
    schedule: Schedule::Constant,
};

const RUNS: [Curve; 4] = [
    PLAIN,
    Curve { name: "bnz", start: Start::Nonzero, ..PLAIN },
    Curve { name: "rslora", rank_stabilised: true, ..PLAIN },
    Curve {
        name: "clip0.5_cosine_warmup3_wd0.1_lr2e-3",
        rate: 2e-3,
        decay: 0.1,
        clip: Some(0.5),
        warmup: 3,
        schedule: Schedule::Cosine,
        ..PLAIN
    },
];

impl Curve {
    fn check(
        &self,
        case: &Case<'_>,
        config: &LoraConfig,
        batches: &[Vec<Tokens>],
    ) -> Result<Vec<Check>> {
        let config = config.clone().with_rank_stabilised(self.rank_stabilised);
        let losses = case.numbers(&[self.name, "loss"])?;
        let norms = case.numbers(&[self.name, "grad_norm"])?;
        let plan = Plan::default().with_rate(self.rate, self.warmup, self.schedule);
        let optimiser = AdamW::default().with_weight_decay(self.decay);
        let start = case.start(&config, self.start)?;
        let mut run = Native.start(Arc::clone(&case.network), &config, optimiser, &start)?;
        let rate = |step| plan.rate(step, losses.len());
        let curve = (&losses[..], &norms[..]);
        let checks = check_curve(self.name, &mut *run, batches, curve, rate, self.clip)?;
        Ok(checks.into())
    }
}

/// The gradients of the first step.
fn first_step(
    case: &Case<'_>,
    config: &LoraConfig,
    start: Start,
    stored: &str,
    batch: &[Tokens],
) -> Result<Check> {
    let lora = case.lora(config, start)?;
    let (_, ours) = gradients(&case.network, &lora, &batch.iter().collect::<Vec<_>>())?;
    let name = stored.trim_end_matches(".safetensors");
    check_gradients(name, &case.network, &lora, &ours, &case.tensors(stored)?)
}

/// Loss masks and padding; and the same as one batch when its rows come one by one.
fn masked(
    case: &Case<'_>,
    config: &LoraConfig,
    ids: &Tensors,
    batches: &[Vec<Tokens>],
) -> Result<Vec<Check>> {
    if case.value(&["masked"]).is_err() {
        return Ok(Vec::new());
    }
    let labels = ids.integers("masked_labels")?;
    let seen = ids.integers("masked_attention_mask")?;
    // What is padded is not there, and what has no label is given.
    let rows: Vec<Tokens> = batches[0]
        .iter()
        .zip(labels)
        .zip(seen)
        .map(|((row, labels), seen)| {
            let len = seen.iter().filter(|&&seen| seen == 1).count();
            let given = labels.iter().take_while(|&&label| label < 0).count();
            Tokens::new(&row.tokens[..given], &row.tokens[given..len])
        })
        .collect();
    let lora = case.lora(config, Start::Nonzero)?;
    let (loss, ours) = gradients(&case.network, &lora, &rows.iter().collect::<Vec<_>>())?;
    let norm = case.number(&["masked", "grad_norm"])?;
    let theirs = case.tensors("grads_masked_bnz.safetensors")?;
    let mut checks = vec![
        Check::new("masked loss", (loss - case.number(&["masked", "loss"])?).abs(), LOSS),
        Check::new("masked gradient norm", (ours.norm() - norm).abs() / norm, super::GRADIENT),
        check_gradients("masked gradients", &case.network, &lora, &ours, &theirs)?,
    ];

    // Accumulated over rows, each counted by its label tokens.
    let count = |row: &Tokens| row.labels().iter().flatten().count() as f64;
    let all: f64 = rows.iter().map(count).sum();
    let mut sum = openledger_model::Gradients::of_lora(&lora);
    let mut total = 0.0;
    for row in &rows {
        let (loss, one) = gradients(&case.network, &lora, &[row])?;
        total += loss * count(row) / all;
        sum.add_scaled((count(row) / all) as f32, &one);
    }
    let path = ["masked", "accum_token_mean"];
    let loss = case.number(&[path[0], path[1], "loss"])?;
    let norm = case.number(&[path[0], path[1], "grad_norm"])?;
    checks.push(Check::new("accumulated loss", (total - loss).abs(), LOSS));
    let apart = (sum.norm() - norm).abs() / norm;
    checks.push(Check::new("accumulated gradient norm", apart, super::GRADIENT));
    Ok(checks)
}

/// Two documents in one row must be as each alone.
fn packed(
    case: &Case<'_>,
    config: &LoraConfig,
    ids: &Tensors,
    logits: &Tensors,
) -> Result<Option<Check>> {
    let Some(theirs) = logits.get("packed_logits") else { return Ok(None) };
    let lora = case.lora(config, Start::Nonzero)?;
    let tokens = &ids.tokens("packed_ids")?[0];
    let positions = &ids.tokens("packed_position_ids")?[0];
    let mut documents: Vec<Vec<u32>> = Vec::new();
    for (&token, &position) in tokens.iter().zip(positions) {
        match documents.last_mut() {
            Some(document) if position > 0 => document.push(token),
            _ => documents.push(vec![token]),
        }
    }
    let pass = forward(&case.network, Some(&lora), &documents)?;
    Ok(Some(Check::new("packed logits", difference(&pass.logits, theirs)?, LOGITS)))
}

/// The same weights under other rotary scalings.
fn ropes(case: &Case<'_>, logits: &Tensors, rows: &[Vec<u32>]) -> Result<Vec<Check>> {
    let Some(variants) = case.value(&["rope_variants"]).ok().and_then(Value::as_object) else {
        return Ok(Vec::new());
    };
    let weights = Weights::from_safetensors(&case.read("model.safetensors")?)?;
    let mut config: Value = serde_json::from_slice(&case.config).unwrap_or_default();
    let mut checks = Vec::new();
    for (name, parameters) in variants {
        config["max_position_embeddings"] = parameters["max_position_embeddings"].clone();
        config["rope_parameters"] = parameters.clone();
        let network = Network::new(config.to_string().as_bytes(), weights.clone())?;
        let pass = forward(&network, None, &rows[..1])?;
        let theirs = logits.numbers(&format!("rope_{name}_logits"))?;
        let apart = difference(&pass.logits, theirs)?;
        checks.push(Check::new(format!("rope {name} logits"), apart, LOGITS));
    }
    Ok(checks)
}

/// A weight with the adapter in it.
fn merged(case: &Case<'_>, lora: &Lora, logits: &Tensors) -> Result<Option<Check>> {
    let Some(theirs) = logits.get("merged.layers.0.q_proj") else { return Ok(None) };
    let weights = case.network.weights();
    let name = "model.layers.0.self_attn.q_proj.weight";
    let site = lora.pairs().find(|(site, _)| weights.name(*site) == name);
    let Some((site, _)) = site else { return Ok(None) };
    let merged = lora.merged(&case.network, site);
    Ok(Some(Check::new("merged q_proj", difference(&merged, theirs)?, MERGED)))
}
