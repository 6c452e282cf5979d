//! Cases of one pass and a short run: `cases/train/arch`.

use std::sync::Arc;

use openledger_core::{Error, Result};
use openledger_kernels::argmax;
use openledger_model::{Lora, LoraConfig, Tokens};

use super::{
    Case, Check, LOGITS, Pass, check_curve, check_gradients, difference, forward, gradients,
    tensors::Tensors,
};
use crate::{AdamW, Backend, Native};

/// The largest difference of a loss of one pass.
const ONE_LOSS: f64 = 5e-6;
/// The largest difference of an expert's weight.
const ROUTE: f64 = 1e-5;

pub(super) fn compare(case: &Case<'_>) -> Result<Vec<Check>> {
    let reference = case.tensors("reference.safetensors")?;
    let sequences = reference.tokens("input_ids")?;
    let pass = forward(&case.network, None, &sequences)?;
    let mut checks =
        vec![Check::new("logits", difference(&pass.logits, reference.numbers("logits")?)?, LOGITS)];
    for (index, hidden) in pass.hidden.iter().enumerate() {
        let name = format!("hidden.{index}");
        if let Some(theirs) = reference.get(&name) {
            checks.push(Check::new(name, difference(hidden, theirs)?, LOGITS));
        }
    }
    checks.extend(routing(case, &reference, &pass)?);
    checks.push(greedy(case, &reference)?);
    checks.extend(adapter(case, &reference, &sequences)?);
    Ok(checks)
}

/// Experts chosen, and their weights, layer by layer.
fn routing(case: &Case<'_>, reference: &Tensors, pass: &Pass) -> Result<Vec<Check>> {
    let dense = case.network.decoder().layers() - pass.routes.len();
    let mut checks = Vec::new();
    for (index, tokens) in pass.routes.iter().enumerate() {
        let gate = format!("router.model.layers.{}.mlp.gate", dense + index);
        let theirs = reference.tokens(&format!("{gate}.indices_sorted"))?;
        let ours: Vec<Vec<u32>> = tokens
            .iter()
            .map(|chosen| chosen.iter().map(|&(expert, _)| expert as u32).collect())
            .collect();
        let apart = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
        let apart = apart + ours.len().abs_diff(theirs.len());
        checks.push(Check::new(format!("{gate} experts"), apart as f64, 0.0));
        let weights: Vec<f32> = tokens.iter().flatten().map(|&(_, weight)| weight).collect();
        let theirs = reference.numbers(&format!("{gate}.weights"))?;
        checks.push(Check::new(format!("{gate} weights"), difference(&weights, theirs)?, ROUTE));
    }
    Ok(checks)
}

/// One pass over a greedy text shows every choice: each must be the token that follows.
fn greedy(case: &Case<'_>, reference: &Tensors) -> Result<Check> {
    let texts = reference.tokens("greedy")?;
    let prompt = 16;
    let pass = forward(&case.network, None, &texts)?;
    let mut logits = pass.logits.chunks_exact(case.network.decoder().vocabulary());
    let mut apart = Vec::new();
    for text in &texts {
        let chosen: Vec<Option<usize>> = logits.by_ref().take(text.len()).map(argmax).collect();
        let pairs = text.iter().skip(prompt).zip(chosen.iter().skip(prompt - 1));
        let differs = |(token, chosen): (&u32, &Option<usize>)| *chosen != Some(*token as usize);
        apart.extend(pairs.map(differs).map(|differs| f64::from(u8::from(differs))));
    }
    // How many differ; but nothing compared is no success.
    let count = if apart.is_empty() { f64::INFINITY } else { apart.iter().sum() };
    Ok(Check::new("greedy", count, 0.0))
}

/// The adapter's configuration.
pub(super) fn config(case: &Case<'_>) -> Result<LoraConfig> {
    let rank = case.size(&["lora", "r"])?;
    let config = LoraConfig::default().with_rank(rank, case.number(&["lora", "alpha"])?);
    let targets = case.value(&["lora", "targets"])?;
    match (targets.as_str(), targets.as_array()) {
        (Some(pattern), _) => Ok(config.with_pattern(pattern)),
        (None, Some(names)) => {
            Ok(config.with_targets(names.iter().filter_map(|name| name.as_str())))
        }
        _ => Err(Error::corrupt("`lora.targets` of `reference.json` names no layers")),
    }
}

fn adapter(case: &Case<'_>, reference: &Tensors, sequences: &[Vec<u32>]) -> Result<Vec<Check>> {
    let config = config(case)?;
    let start = case.read("adapter_bnz.safetensors")?;
    let lora = Lora::from_safetensors(&case.network, &config, &start)?;
    let pass = forward(&case.network, Some(&lora), sequences)?;
    let apart = difference(&pass.logits, reference.numbers("adapter_logits")?)?;
    let mut checks = vec![Check::new("adapter logits", apart, LOGITS)];

    let rows: Vec<Tokens> = sequences.iter().map(|row| Tokens::new(&[], row)).collect();
    let losses = case.numbers(&["train", "loss"])?;
    let norms = case.numbers(&["train", "grad_norm"])?;
    let (loss, ours) = gradients(&case.network, &lora, &rows.iter().collect::<Vec<_>>())?;
    let first = losses.first().copied().unwrap_or(f64::NAN);
    checks.push(Check::new("loss", (loss - first).abs(), ONE_LOSS));
    let theirs = case.tensors("grads_step1.safetensors")?;
    checks.push(check_gradients("gradients", &case.network, &lora, &ours, &theirs)?);
    let rate = case.number(&["lora", "lr"])?;
    let decay = case.number(&["lora", "weight_decay"])?;
    let optimiser = AdamW::default().with_weight_decay(decay);
    let mut run = Native.start(Arc::clone(&case.network), &config, optimiser.into(), &start)?;
    let curve = (&losses[..], &norms[..]);
    checks.extend(check_curve("training", &mut *run, &[rows], curve, |_| rate, None)?);
    Ok(checks)
}
