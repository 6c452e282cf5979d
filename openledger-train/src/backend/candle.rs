//! Training with candle's autograd and optimiser.

use std::sync::Arc;

use candle_core::{Device, Tensor, backprop::GradStore};
use candle_nn::{Optimizer, ParamsAdamW};
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{
    Batch, Lora, LoraConfig, Network, Tokens,
    reference::{Adapter, Reference},
};

use super::{Backend, Run, Step, clip_factor, count_labels};
use crate::{Optimiser, Rule};

/// The reference backend: slower, on any device of candle's, and written by other people, so that
/// what both agree on is right.
#[derive(Clone, Debug)]
pub struct Candle {
    device: Device,
}

impl Candle {
    /// Trains on `device`.
    pub const fn new(device: Device) -> Self {
        Self { device }
    }
}

impl Default for Candle {
    fn default() -> Self {
        Self::new(Device::Cpu)
    }
}

impl Backend for Candle {
    fn start(
        &self,
        network: Arc<Network>,
        lora: &LoraConfig,
        optimiser: Optimiser,
        start: &[u8],
    ) -> Result<Box<dyn Run>> {
        let Optimiser { rule: Rule::AdamW(optimiser), b_ratio: 1.0 } = optimiser else {
            let message = format!("candle has AdamW with one step size, not {optimiser:?}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let matrices = Lora::from_safetensors(&network, lora, start)?;
        let adapter = Adapter::new(&matrices, &network, &self.device)?;
        let params = ParamsAdamW {
            lr: 0.0,
            beta1: optimiser.beta1,
            beta2: optimiser.beta2,
            eps: optimiser.eps,
            weight_decay: optimiser.weight_decay,
        };
        let optimiser = candle_nn::AdamW::new(adapter.vars(), params).map_err(failed)?;
        let (config, device) = (lora.clone(), self.device.clone());
        Ok(Box::new(CandleRun { network, config, lora: matrices, adapter, optimiser, device }))
    }
}

#[derive(Debug)]
struct CandleRun {
    network: Arc<Network>,
    config: LoraConfig,
    /// The shapes; the values are in `adapter`.
    lora: Lora,
    adapter: Adapter,
    optimiser: candle_nn::AdamW,
    device: Device,
}

impl Run for CandleRun {
    fn step(&mut self, rows: &[&Tokens], rate: f64, clip: Option<f64>) -> Result<Step> {
        let labels = count_labels(rows)?;
        rows.iter().try_for_each(|row| self.network.check_tokens(&row.tokens))?;
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let wanted: Vec<Option<u32>> = rows.iter().flat_map(|row| row.labels()).collect();
        let mut ops = Reference::new(&self.network, &self.adapter, &batch, self.device.clone());
        let hidden = ops.run()?;
        let sum = ops.loss(&hidden, &wanted)?;
        let mean = (sum / labels as f64).map_err(failed)?;
        let mut gradients = mean.backward().map_err(failed)?;
        let norm = self.norm(&gradients)?;
        let loss: f32 = mean.to_scalar().map_err(failed)?;
        let step = Step::new(f64::from(loss), labels, norm).check()?;
        let factor = clip_factor(norm, clip);
        if factor < 1.0 {
            for var in self.adapter.vars() {
                let gradient =
                    gradient(&gradients, &var)?.affine(f64::from(factor), 0.0).map_err(failed)?;
                gradients.insert(&var, gradient);
            }
        }
        self.optimiser.set_learning_rate(rate);
        self.optimiser.step(&gradients).map_err(failed)?;
        Ok(step)
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        let mut lora = self.lora.clone();
        for ((_, part), var) in lora.parts_mut().zip(self.adapter.vars()) {
            let var: Vec<f32> = var.flatten_all().and_then(|var| var.to_vec1()).map_err(failed)?;
            part.copy_from_slice(&var);
        }
        Ok(lora.to_files(&self.network, &self.config).weights.into())
    }
}

impl CandleRun {
    fn norm(&self, gradients: &GradStore) -> Result<f64> {
        let mut sum = 0.0;
        for var in self.adapter.vars() {
            let square =
                gradient(gradients, &var)?.sqr().and_then(|g| g.sum_all()?.to_scalar::<f32>());
            sum += f64::from(square.map_err(failed)?);
        }
        Ok(sum.sqrt())
    }
}

fn gradient<'a>(gradients: &'a GradStore, var: &Tensor) -> Result<&'a Tensor> {
    gradients.get(var).ok_or_else(|| Error::invalid("candle found no gradient for a matrix"))
}

fn failed(error: candle_core::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "candle cannot run a step")
        .with_source(error)
        .with_retryable(false)
}
