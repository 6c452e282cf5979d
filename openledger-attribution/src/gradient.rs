//! Influence through the gradients of an adapter.

use std::{fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Adapter, Batch, Gradients, Model, Tape, Tokens, Trainable};
use rayon::prelude::*;

use crate::{
    Corpus, CorpusRow,
    method::{Bound, Method},
    precondition::{Blocks, Preconditioned, Preconditioner},
};

/// Rows whose gradients are held beside those already in place.
const ROWS_AT_ONCE: usize = 64;

/// Called after each row whose gradient was computed, from any thread.
pub type ProgressFn = Arc<dyn Fn() + Send + Sync>;

/// Influence through the gradient of each row's loss with respect to an adapter's matrices, the
/// mean over the row's label tokens.
///
/// Memory: rows times parameters of the adapter times 4 bytes. Time: a forward and a backward pass
/// a row, once; then one pass and `O(rows * parameters)` a query.
#[derive(Clone)]
pub struct GradientInfluence {
    model: Arc<Model>,
    adapter: Arc<Adapter>,
    preconditioner: Preconditioner,
    damping: f64,
    max_bytes: usize,
    progress: Option<ProgressFn>,
}

impl GradientInfluence {
    /// Attributes answers of `adapter` on `model`, with `DataInf`'s damping of 0.1 and at most
    /// 8 GiB of gradients.
    pub fn new(model: Arc<Model>, adapter: Arc<Adapter>, preconditioner: Preconditioner) -> Self {
        Self { model, adapter, preconditioner, damping: 0.1, max_bytes: 8 << 30, progress: None }
    }

    /// Takes the method that a receipt names.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it is not one that [`describe`](Method::describe) returns.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use openledger_attribution::{GradientInfluence, Method};
    /// use openledger_model::{Adapter, LoraConfig, testing};
    ///
    /// let model = Arc::new(testing::tiny(1)?);
    /// let config = LoraConfig::default();
    /// let files = testing::lora(&model, &config, 3)?.to_files(model.network(), &config);
    /// let adapter = Arc::new(Adapter::load(model.network(), &files)?);
    /// let method = GradientInfluence::named("datainf;damping=0.25", model, adapter)?;
    /// assert_eq!(method.describe(), "datainf;damping=0.25");
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn named(name: &str, model: Arc<Model>, adapter: Arc<Adapter>) -> Result<Self> {
        let (kind, damping) = name.split_once(";damping=").unwrap_or((name, "0.1"));
        let preconditioner = match kind {
            "gradient-dot" => Some(Preconditioner::Identity),
            "datainf" => Some(Preconditioner::DataInf),
            "block-exact" => Some(Preconditioner::BlockExact),
            _ => None,
        };
        let made = preconditioner.zip(damping.parse().ok()).map(|(preconditioner, damping)| {
            Self::new(model, adapter, preconditioner).with_damping(damping)
        });
        // One name for each method: what is not said back is another one.
        made.filter(|method| method.describe() == name).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("no gradient influence `{name}`"))
        })
    }

    /// Returns this with another damping.
    #[must_use]
    pub const fn with_damping(mut self, damping: f64) -> Self {
        self.damping = damping;
        self
    }

    /// Returns this with another limit on memory for gradients.
    #[must_use]
    pub const fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Returns this calling `progress` after each row.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressFn) -> Self {
        self.progress = Some(progress);
        self
    }

    fn gradients(&self, rows: &[CorpusRow]) -> Result<Vec<Vec<Vec<f32>>>> {
        let gradients = rows.par_iter().map(|row| {
            let gradient = self.gradient(&row.tokens).map_err(|e| {
                Error::new(e.kind(), format!("cannot differentiate row {}", row.id)).with_source(e)
            })?;
            if let Some(progress) = &self.progress {
                progress();
            }
            Ok(gradient)
        });
        gradients.collect()
    }

    /// The gradient of a sequence's mean loss, matrix by matrix.
    fn gradient(&self, tokens: &Tokens) -> Result<Vec<Vec<f32>>> {
        self.model.network().check_tokens(&tokens.tokens)?;
        let labels = tokens.labels();
        let count = labels.iter().flatten().count();
        if count == 0 {
            return Err(Error::invalid("a text without a completion has no gradient"));
        }
        let lora = self.adapter.lora();
        let batch = Batch::new([&tokens.tokens[..]]);
        let mut tape = Tape::new(self.model.network(), Some(lora), Trainable::Lora, &batch);
        let hidden = tape.run()?;
        tape.loss(&hidden, &labels, 1.0 / count as f32);
        let mut gradients = Gradients::of_lora(lora);
        tape.backward(&mut gradients);
        Ok(gradients.into_matrices())
    }
}

impl fmt::Debug for GradientInfluence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradientInfluence")
            .field("adapter", &self.adapter.id())
            .field("method", &self.describe())
            .finish_non_exhaustive()
    }
}

impl Method for GradientInfluence {
    fn describe(&self) -> String {
        let name = match self.preconditioner {
            Preconditioner::Identity => return "gradient-dot".to_owned(),
            Preconditioner::DataInf => "datainf",
            Preconditioner::BlockExact => "block-exact",
        };
        format!("{name};damping={}", self.damping)
    }

    fn bind(&self, corpus: &Corpus) -> Result<Box<dyn Bound>> {
        let bytes = corpus.rows().len().saturating_mul(self.adapter.lora().elements() * 4);
        if bytes > self.max_bytes {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("gradients of {bytes} bytes, {} allowed", self.max_bytes),
            ));
        }
        let mut blocks: Option<Blocks> = None;
        for rows in corpus.rows().chunks(ROWS_AT_ONCE) {
            let mut part = Blocks::new(self.gradients(rows)?)?;
            if let Some(blocks) = &mut blocks {
                blocks.append(&part)?;
            } else {
                part.reserve(corpus.rows().len() - rows.len());
                blocks = Some(part);
            }
        }
        let blocks = blocks.map_or_else(|| Blocks::new(Vec::new()), Ok)?;
        let prepared = Preconditioned::new(blocks, self.preconditioner, self.damping)?;
        Ok(Box::new(BoundGradients { method: self.clone(), prepared }))
    }
}

#[derive(Debug)]
struct BoundGradients {
    method: GradientInfluence,
    prepared: Preconditioned,
}

impl Bound for BoundGradients {
    fn influence(&self, output: &Tokens) -> Result<Vec<f64>> {
        self.prepared.influence(&self.method.gradient(output)?)
    }
}
