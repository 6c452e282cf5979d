//! What can be known before a run: whether it fits, what its rows look like, whether it learns.

mod footprint;

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Lora, LoraConfig, Network, Tokens};

use crate::{NativeRun, Optimiser, Rows, Rule, Run, TrainingConfig};
use footprint::Footprint;

/// Rows looked at.
const LOOKED_AT: usize = 100;
/// Bytes of a number.
const F32: u64 = 4;

/// What was found before a run. `Display` says it to a person.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Preflight {
    /// What the first rows look like.
    pub rows: RowsSeen,
    /// What the run will need.
    pub memory: Memory,
    /// Matrices of the adapter, each of which was seen to get a gradient.
    pub matrices: usize,
    /// The loss of one row, before anything is learned.
    pub loss: f64,
}

/// What the first rows look like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RowsSeen {
    /// Rows looked at.
    pub rows: usize,
    /// Their tokens.
    pub tokens: usize,
    /// How many of the tokens are learned.
    pub labels: usize,
    /// Rows of which no token is learned.
    pub silent: usize,
    /// Rows as long as rows may be: most of them were cut.
    pub full: usize,
    /// Tokens of the longest.
    pub longest: usize,
}

/// Bytes that a run needs, beside the program itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Memory {
    /// The base model, with linear layers packed once more as products read them.
    pub weights: u64,
    /// The adapter and its gradient.
    pub adapter: u64,
    /// What the optimiser keeps.
    pub optimiser: u64,
    /// What one pass keeps and needs on its way back, for as many rows of the longest length as are
    /// computed at a time.
    pub activations: u64,
}

impl Memory {
    /// Estimates the memory of a run with rows of at most `longest` tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the target the model does not have.
    pub fn estimate(network: &Network, config: &TrainingConfig, longest: usize) -> Result<Self> {
        let weights = network.weights();
        let linears = network.decoder().linears();
        let multiplied = linears.iter().chain([network.decoder().head()]);
        let packed: usize = multiplied
            .map(|linear| weights.matrix(linear.weight).packed_bytes(weights.arithmetic()))
            .sum();
        let sites = config.lora.sites(network)?;
        let rank = config.lora.rank;
        let matrices = sites.iter().flat_map(|&site| network.sizes(site)).map(|n| n * rank);
        let (mut adapter, mut optimiser) = (0, 0);
        for matrix in matrices {
            adapter += 2 * F32 * matrix as u64;
            optimiser += kept(&config.optimiser, matrix);
        }
        let footprint = Footprint::of(network, &config.lora)?;
        let plan = &config.plan;
        let rows = config.micro_batch.unwrap_or(plan.batch).min(plan.batch);
        let tokens = (rows * config.objective.answers() * longest) as u64;
        // On the way back a few rows of gradients beside what is kept, and some rows of logits.
        let logits = 2 * 128 * network.decoder().vocabulary() as u64;
        let blocks = network.decoder().layers().max(1);
        let kept = match config.checkpointing {
            // What each block returns, and everything of one of them.
            true => {
                blocks * network.sizes(network.decoder().head().weight)[1] + footprint.kept / blocks
            }
            false => footprint.kept,
        };
        let each = (kept + 4 * footprint.widest) as u64;
        Ok(Self {
            weights: (weights.bytes() + packed) as u64,
            adapter,
            optimiser,
            activations: F32 * (tokens * each + logits),
        })
    }

    /// Returns the sum.
    pub const fn total(&self) -> u64 {
        self.weights + self.adapter + self.optimiser + self.activations
    }

    /// Checks that it is within `limit`.
    fn check(&self, config: &TrainingConfig, longest: usize, limit: u64) -> Result<()> {
        if self.total() <= limit {
            return Ok(());
        }
        let rest = self.total() - self.activations;
        let rows = config.micro_batch.unwrap_or(config.plan.batch);
        let one = self.activations / rows.max(1) as u64;
        let advice = match limit.checked_sub(rest).map(|left| left / one.max(1)) {
            Some(fit @ 1..) => format!("set `micro_batch` to {fit}"),
            _ if rest < limit => {
                format!("set `micro_batch` to 1 and lower `data.max_tokens` from {longest}")
            }
            _ if self.weights < limit => "lower `lora.rank` or take another optimiser".to_owned(),
            _ => "take a smaller base model".to_owned(),
        };
        let message = format!("the run needs {self}; {} are allowed: {advice}", Bytes(limit));
        Err(Error::new(ErrorKind::Limit, message))
    }
}

/// Looks at the first rows, estimates memory, and takes one step forward and back that shows that
/// every matrix of the adapter gets a gradient. Nothing is learned.
///
/// # Errors
/// [`ErrorKind::Limit`] if the run needs more than `limit` bytes, naming what to lower;
/// [`ErrorKind::Invalid`] if no row has a token to learn, a token is unknown, or a matrix gets no
/// gradient; those of the rows.
pub fn preflight(
    network: &Arc<Network>,
    rows: &(impl Rows + ?Sized),
    config: &TrainingConfig,
    limit: Option<u64>,
) -> Result<Preflight> {
    let (mut seen, mut first) = (RowsSeen::default(), None);
    for index in 0..rows.count().min(LOOKED_AT) {
        let row = rows.row(index)?;
        let labels = row.labels().iter().flatten().count();
        seen.rows += 1;
        seen.tokens += row.tokens.len();
        seen.labels += labels;
        seen.silent += usize::from(labels == 0);
        seen.full += usize::from(row.tokens.len() >= config.data.max_tokens);
        seen.longest = seen.longest.max(row.tokens.len());
        if labels > 0 {
            first.get_or_insert(row);
        }
    }
    let row = first.ok_or_else(|| {
        let looked = seen.rows;
        Error::invalid(format!(
            "no token of the first {looked} rows is to be learned: raise `data.max_tokens` or look at the data"
        ))
    })?;
    // Rows behind those looked at may be as long as rows may be.
    let longest = if rows.count() > seen.rows { config.data.max_tokens } else { seen.longest };
    let memory = Memory::estimate(network, config, longest)?;
    if let Some(limit) = limit {
        memory.check(config, longest, limit)?;
    }
    let (loss, matrices) = prove(network, &config.lora, &row, config.seed)?;
    Ok(Preflight { rows: seen, memory, matrices, loss })
}

/// Takes two steps on one row: `A` gets a gradient once `B` is no longer zero.
fn prove(
    network: &Arc<Network>,
    lora: &LoraConfig,
    row: &Tokens,
    seed: u64,
) -> Result<(f64, usize)> {
    let start = Lora::init(network, lora, seed)?;
    let matrices = 2 * start.pairs().len();
    let files = start.to_files(network, lora);
    let mut run =
        NativeRun::start(Arc::clone(network), lora, Optimiser::default(), &files.weights)?;
    let first = run.step(&[row], 1e-4, None)?;
    let moved = Lora::from_safetensors(network, lora, &run.snapshot()?)?;
    for ((site, before), (_, after)) in start.pairs().zip(moved.pairs()) {
        let name = network.weights().name(site);
        // No token of the row may be sent to an expert.
        if before.b == after.b && !name.contains(".experts.") {
            return Err(Error::invalid(format!("the adapter's `B` at `{name}` gets no gradient")));
        }
    }
    run.step(&[row], 1e-4, None)?;
    let last = Lora::from_safetensors(network, lora, &run.snapshot()?)?;
    for ((site, before), (_, after)) in moved.pairs().zip(last.pairs()) {
        let name = network.weights().name(site);
        if before.a == after.a && !name.contains(".experts.") {
            return Err(Error::invalid(format!("the adapter's `A` at `{name}` gets no gradient")));
        }
    }
    Ok((first.loss, matrices))
}

/// Bytes that an optimiser keeps of a tensor of so many elements.
fn kept(optimiser: &Optimiser, elements: usize) -> u64 {
    let whole = |means| means * F32 * elements as u64;
    match optimiser.rule {
        Rule::AdamW8bit(rule) if elements >= rule.min_size => {
            // A code for each element, a scale for each 256.
            2 * (elements as u64 + F32 * elements.div_ceil(256) as u64)
        }
        Rule::AdamW(_) | Rule::AdamW8bit(_) => whole(2),
        Rule::Lion(_) | Rule::Sgd(_) => whole(1),
    }
}

/// Bytes as a person reads them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MB", self.0 as f64 / 1e6)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [total, weights, adapter, optimiser, activations] =
            [self.total(), self.weights, self.adapter, self.optimiser, self.activations].map(Bytes);
        write!(
            f,
            "{total} (weights {weights}, adapter {adapter}, optimiser {optimiser}, \
             activations {activations})"
        )
    }
}

impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowsSeen { rows, tokens, labels, silent, full, longest } = self.rows;
        writeln!(
            f,
            "rows      {rows} looked at: {tokens} tokens, {labels} of them learned, the longest row has {longest}"
        )?;
        if full + silent > 0 {
            writeln!(
                f,
                "          {full} as long as rows may be, {silent} without a token to learn"
            )?;
        }
        writeln!(f, "memory    {}", self.memory)?;
        write!(
            f,
            "gradient  reaches all {} matrices; loss {:.3} before training",
            self.matrices, self.loss
        )
    }
}
