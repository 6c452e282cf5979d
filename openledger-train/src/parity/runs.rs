//! Cases of runs over several batches: `cases/train/llama`, `cases/train/llama-mini`.

use std::sync::Arc;

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::Nf4;
use openledger_model::{Lora, LoraConfig, Network, Tokens, Weights};
use serde_json::Value;

use super::{
    Case, Check, LOGITS, LOSS, Start, check_curve, check_gradients, difference, forward, gradients,
    tensors::Tensors, worst,
};
use crate::{
    AdamW, AdamW8bit, Backend, Native, Optimiser, Pair, Plan, Preference, Schedule,
    preference::{Objective, log_probabilities},
};

/// Batches of a case, taken in turn.
const BATCHES: usize = 4;
/// The largest difference of logits after a run.
const TRAINED: f64 = 1e-4;
/// The largest difference of a step size, in parts of the largest: the reference has nine digits.
const SCHEDULE: f64 = 1e-8;
/// The largest difference of an answer's log probability, a sum over its tokens.
const SUM: f64 = 1e-4;
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
    let stored = "grads_step1_dora_bnz.safetensors";
    if case.has(stored) {
        let lora = dora(case, &config.clone().with_dora(true))?;
        let rows: Vec<&Tokens> = batches[0].iter().collect();
        let (_, ours) = gradients(&case.network, &lora, &rows)?;
        let name = stored.trim_end_matches(".safetensors");
        checks.push(check_gradients(name, &case.network, &lora, &ours, &case.tensors(stored)?)?);
    }
    for run in RUNS {
        if case.value(&[run.name]).is_ok() {
            checks.extend(run.check(case, &config, &batches)?);
        }
    }
    checks.extend(four_bits(case)?);
    checks.extend(quantised(case, &config, &batches)?);
    checks.extend(masked(case, &config, &ids, &batches)?);
    checks.extend(schedules(case)?);
    checks.extend(preference(case, &config, &ids)?);
    // A case may keep no logits, for its size.
    if case.has("logits.safetensors") {
        let logits = case.tensors("logits.safetensors")?;
        checks.extend(outputs(case, &config, &logits, &rows)?);
        checks.extend(packed(case, &config, &ids, &logits)?);
        checks.extend(ropes(case, &logits, &rows)?);
    }
    Ok(checks)
}

/// Runs that the case holds and nothing here is like.
pub(super) fn missing(case: &Case<'_>) -> Vec<String> {
    let stored = case.reference.as_object().into_iter().flatten();
    let curves =
        stored.filter(|(_, value)| value["loss"].is_array() && value["grad_norm"].is_array());
    let known = |name: &str| name == QUANTISED || RUNS.iter().any(|run| run.name == name);
    curves.filter(|(name, _)| !known(name)).map(|(name, _)| name.clone()).collect()
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
    b_ratio: f64,
    eight_bit: bool,
    kind: Kind,
}

/// What is trained.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lora,
    Dora,
    Pissa,
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
    b_ratio: 1.0,
    eight_bit: false,
    kind: Kind::Lora,
};

const RUNS: [Curve; 8] = [
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
    Curve { name: "loraplus_ratio16_lr2e-4", rate: 2e-4, decay: 0.0, b_ratio: 16.0, ..PLAIN },
    Curve { name: "adamw8bit_bnb", eight_bit: true, ..PLAIN },
    Curve { name: "dora", start: Start::Nonzero, kind: Kind::Dora, ..PLAIN },
    Curve { name: "pissa", kind: Kind::Pissa, ..PLAIN },
];

impl Curve {
    fn check(
        &self,
        case: &Case<'_>,
        config: &LoraConfig,
        batches: &[Vec<Tokens>],
    ) -> Result<Vec<Check>> {
        self.check_on(Arc::clone(&case.network), case, config, batches)
    }

    fn check_on(
        &self,
        network: Arc<Network>,
        case: &Case<'_>,
        config: &LoraConfig,
        batches: &[Vec<Tokens>],
    ) -> Result<Vec<Check>> {
        let config = config.clone().with_rank_stabilised(self.rank_stabilised);
        let losses = case.numbers(&[self.name, "loss"])?;
        let norms = case.numbers(&[self.name, "grad_norm"])?;
        let plan = Plan::default().with_rate(self.rate, self.warmup, self.schedule);
        let adamw = AdamW::default().with_weight_decay(self.decay);
        let optimiser: Optimiser = match self.eight_bit {
            true => AdamW8bit::default().with_adamw(adamw).with_min_size(256).into(),
            false => adamw.into(),
        };
        let optimiser = optimiser.with_b_ratio(self.b_ratio);
        let (network, config, start) = match self.kind {
            Kind::Lora => (network, config.clone(), case.start(&config, self.start)?),
            Kind::Dora => {
                let config = config.with_dora(true);
                let start = dora(case, &config)?.to_files(&network, &config);
                (network, config, start.weights.into())
            }
            Kind::Pissa => {
                let (base, start) = Lora::pissa(&network, &config)?;
                let start = start.to_files(&base, &config);
                (Arc::new(base), config, start.weights.into())
            }
        };
        let mut run = Native.start(network, &config, optimiser, &start)?;
        let rate = |step| plan.rate(step, losses.len());
        let curve = (&losses[..], &norms[..]);
        let checks = check_curve(self.name, &mut *run, batches, curve, rate, self.clip)?;
        Ok(checks.into())
    }
}

/// A matrix rounded to four bits: codes, scales in eight bits, and what they stand for, to the bit.
fn four_bits(case: &Case<'_>) -> Result<Vec<Check>> {
    const FILE: &str = "nf4_down_proj0.safetensors";
    if !case.has(FILE) {
        return Ok(Vec::new());
    }
    let stored = case.tensors(FILE)?;
    let rounded = Nf4::new(stored.numbers("weight")?);
    let mut read = vec![0.0; rounded.len()];
    rounded.read(0, &mut read);
    let differ = |ours: &[u8], theirs: &[u8]| {
        let count = ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).count();
        (count + ours.len().abs_diff(theirs.len())) as f64
    };
    let packed = differ(rounded.packed(), stored.bytes("packed")?);
    let scales = differ(rounded.scales().0.codes(), stored.bytes("absmax_u8")?);
    let numbers = difference(&read, stored.numbers("dequant_double")?)?;
    Ok(vec![
        Check::new("nf4 codes that differ", packed, 0.0),
        Check::new("nf4 scales that differ", scales, 0.0),
        Check::new("nf4 numbers", numbers, 0.0),
    ])
}

/// The run over a base in four bits.
const QUANTISED: &str = "qlora_nf4_dq";

/// Training over a base in four bits.
fn quantised(case: &Case<'_>, config: &LoraConfig, batches: &[Vec<Tokens>]) -> Result<Vec<Check>> {
    if case.value(&[QUANTISED]).is_err() {
        return Ok(Vec::new());
    }
    let network = Arc::new(Network::clone(&case.network).in_nf4());
    let curve = Curve { name: QUANTISED, ..PLAIN };
    curve.check_on(network, case, config, batches)
}

/// The matrices of the nonzero start, and magnitudes: the lengths of the rows of the base alone.
fn dora(case: &Case<'_>, config: &LoraConfig) -> Result<Lora> {
    let plain = case.lora(&config.clone().with_dora(false), Start::Nonzero)?;
    let mut lora = Lora::init(&case.network, config, 0)?;
    for ((_, pair), (_, plain)) in lora.pairs_mut().zip(plain.pairs()) {
        pair.a.clone_from(&plain.a);
        pair.b.clone_from(&plain.b);
    }
    Ok(lora)
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

/// What losses of preference are, and the gradient of one of them.
fn preference(case: &Case<'_>, config: &LoraConfig, ids: &Tensors) -> Result<Vec<Check>> {
    if case.value(&["preference"]).is_err() {
        return Ok(Vec::new());
    }
    let prompt = case.size(&["preference", "prompt_len"])?;
    let beta = case.number(&["preference", "beta"])?;
    let answers = |name: &str| -> Result<Vec<Tokens>> {
        let rows = ids.tokens(name)?;
        Ok(rows.iter().map(|row| Tokens::new(&row[..prompt], &row[prompt..])).collect())
    };
    let (chosen, rejected) = (answers("dpo_chosen")?, answers("dpo_rejected")?);
    let lora = case.lora(config, Start::Nonzero)?;
    let mut checks = Vec::new();
    for (name, lora, answers) in [
        ("policy_chosen", Some(&lora), &chosen),
        ("policy_rejected", Some(&lora), &rejected),
        ("ref_chosen", None, &chosen),
        ("ref_rejected", None, &rejected),
    ] {
        let answers: Vec<&Tokens> = answers.iter().collect();
        let ours = log_probabilities(&case.network, lora, &answers)?;
        let theirs = case.numbers(&["preference", name])?;
        let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
        checks.push(Check::new(name, worst(apart), SUM));
    }
    let pairs: Vec<Pair> = chosen
        .into_iter()
        .zip(rejected)
        .map(|(chosen, rejected)| Pair { chosen, rejected })
        .collect();
    let pairs: Vec<&Pair> = pairs.iter().collect();
    for (name, objective) in [
        ("dpo_loss", Preference::Dpo { beta }),
        ("ipo_loss", Preference::Ipo { beta }),
        ("orpo_loss", Preference::Orpo { beta }),
        ("simpo_loss_beta2_gamma0_5", Preference::Simpo { beta: 2.0, gamma: 0.5 }),
    ] {
        let slope = objective.gradients(&case.network, &lora, &pairs)?;
        let (loss, ours) = (slope.loss, slope.gradients);
        let theirs = case.number(&["preference", name])?;
        checks.push(Check::new(name, (loss - theirs).abs(), LOSS));
        if name == "dpo_loss" {
            let norm = case.number(&["preference", "dpo_grad_norm"])?;
            let apart = (ours.norm() - norm).abs() / norm;
            checks.push(Check::new("dpo gradient norm", apart, super::GRADIENT));
            let theirs = case.tensors("grads_dpo_bnz.safetensors")?;
            let name = "dpo gradients";
            checks.push(check_gradients(name, &case.network, &lora, &ours, &theirs)?);
        }
    }
    Ok(checks)
}

/// Step sizes, step by step.
fn schedules(case: &Case<'_>) -> Result<Vec<Check>> {
    if !case.has("schedules.json") {
        return Ok(Vec::new());
    }
    let stored: Value = serde_json::from_slice(&case.read("schedules.json")?)
        .map_err(|e| Error::corrupt("`schedules.json` is not JSON").with_source(e))?;
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let (rate, total) =
        (number(&stored["base_lr"]), stored["total"].as_u64().unwrap_or(0) as usize);
    let warmup = stored["warmup"].as_u64().unwrap_or(0) as usize;
    let schedules = stored["schedules"].as_object().into_iter().flatten();
    let checks = schedules.map(|(name, stored)| {
        let options = &stored["kwargs"];
        let schedule = match &name[..] {
            "linear" => Schedule::Linear,
            "cosine" => Schedule::Cosine,
            "constant" | "constant_with_warmup" => Schedule::Constant,
            "polynomial" => Schedule::Polynomial { power: 1.0, least: 1e-7 },
            "inverse_sqrt" => Schedule::InverseSqrt,
            "cosine_with_restarts" => {
                let cycles = options["num_cycles"].as_u64().unwrap_or(1);
                Schedule::CosineRestarts { cycles: cycles as usize }
            }
            "cosine_with_min_lr" => Schedule::CosineTo { least: number(&options["min_lr"]) },
            "warmup_stable_decay" => {
                let decay = options["num_decay_steps"].as_u64().unwrap_or(0);
                Schedule::StableDecay { decay: decay as usize }
            }
            other => {
                let message = format!("the schedule `{other}`");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let warmup = if name == "constant" { 0 } else { warmup };
        let plan = Plan::default().with_rate(rate, warmup, schedule);
        let theirs = stored["lr"].as_array().into_iter().flatten();
        let apart = theirs
            .enumerate()
            .map(|(step, theirs)| (plan.rate(step, total) - number(theirs)).abs() / rate);
        Ok(Check::new(format!("schedule {name}"), worst(apart), SCHEDULE))
    });
    checks.collect()
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
    let weights = Weights::from_safetensors(case.read("model.safetensors")?)?;
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
