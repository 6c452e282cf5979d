//! Rows the coordinator keeps to itself, to try updates on.

use std::{fmt, sync::Arc};

use openledger_core::{Error, Result};
use openledger_model::{Batch, Lora, LoraConfig, Network, Tape, Tokens, Trainable};

/// Measures matrices. Implement this to judge by something else than [`HeldOutRows`].
///
/// # Contract
/// - The same matrices have the same loss, on every machine.
/// - Smaller is better.
pub trait HeldOut: fmt::Debug + Send + Sync {
    /// Returns the loss with the matrices in `weights`, an `adapter_model.safetensors`.
    ///
    /// # Errors
    /// Those of reading `weights`.
    fn loss(&self, weights: &[u8]) -> Result<f64>;
}

/// The mean cross-entropy of rows that no worker has.
#[derive(Debug)]
pub struct HeldOutRows {
    network: Arc<Network>,
    config: LoraConfig,
    rows: Vec<Tokens>,
}

/// Rows computed at a time.
const AT_ONCE: usize = 16;

impl HeldOutRows {
    /// Takes the rows.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for tokens the model does not know, and if
    /// no token is to be said.
    pub fn new(network: Arc<Network>, config: LoraConfig, rows: Vec<Tokens>) -> Result<Self> {
        rows.iter().try_for_each(|row| network.check_tokens(&row.tokens))?;
        if rows.iter().all(|row| row.labels().iter().flatten().count() == 0) {
            return Err(Error::invalid("no token of the held-out rows is to be said"));
        }
        Ok(Self { network, config, rows })
    }
}

impl HeldOut for HeldOutRows {
    fn loss(&self, weights: &[u8]) -> Result<f64> {
        let lora = Lora::from_safetensors(&self.network, &self.config, weights)?;
        let (mut sum, mut count) = (0.0, 0);
        for rows in self.rows.chunks(AT_ONCE) {
            let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
            let labels: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
            let mut tape = Tape::new(&self.network, Some(&lora), Trainable::Nothing, &batch);
            let hidden = tape.run()?;
            sum -= tape.log_probabilities(&hidden, &labels).iter().sum::<f64>();
            count += labels.iter().flatten().count();
        }
        Ok(sum / count as f64)
    }
}
