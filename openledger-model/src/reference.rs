//! Runs a decoder on candle tensors, with candle's autograd: the second way to compute everything
//! the [`Tape`](crate::Tape) does, and the way onto devices that candle knows.
//!
//! Every operation is one candle differentiates. The fused ones of candle-nn (`rms_norm`, `rope`,
//! `softmax_last_dim`, `sdpa`) cut the gradient without an error, so none of them is used.

use std::collections::BTreeMap;

use candle_core::{D, Device, Tensor, Var};
use openledger_core::{Error, ErrorKind, Result};

use crate::{
    Batch, Lora, Network,
    ops::{Attention, Linear, Ops},
    weights::Param,
};

/// One pass of a decoder over a [`Batch`], on candle.
#[derive(Debug)]
pub struct Reference<'a> {
    network: &'a Network,
    adapter: &'a Adapter,
    batch: &'a Batch,
    device: Device,
}

/// An adapter's matrices as candle variables.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    pairs: BTreeMap<Param, (Var, Var, f64)>,
}

impl Adapter {
    /// Copies `lora` to `device`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the device fails.
    pub fn new(lora: &Lora, network: &Network, device: &Device) -> Result<Self> {
        let var = |data: &[f32], shape: [usize; 2]| {
            Var::from_slice(data, &shape[..], device).map_err(device_error)
        };
        let pairs = lora
            .pairs()
            .map(|(site, pair)| {
                let shape = network.sizes(site);
                let a = var(&pair.a, [pair.rank, shape[1]])?;
                let b = var(&pair.b, [shape[0], pair.rank])?;
                Ok((site, (a, b, f64::from(pair.scale))))
            })
            .collect::<Result<_>>()?;
        Ok(Self { pairs })
    }

    /// Lists the variables, layer by layer, `A` before `B`: the order of
    /// [`Gradients`](crate::Gradients).
    pub fn vars(&self) -> Vec<Var> {
        self.pairs.values().flat_map(|(a, b, _)| [a.clone(), b.clone()]).collect()
    }
}

impl<'a> Reference<'a> {
    /// Prepares a pass over `batch` with `adapter`, which may be empty.
    pub const fn new(
        network: &'a Network,
        adapter: &'a Adapter,
        batch: &'a Batch,
        device: Device,
    ) -> Self {
        Self { network, adapter, batch, device }
    }

    /// Runs the decoder; returns the hidden states before the head.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the device fails.
    pub fn run(&mut self) -> Result<Tensor> {
        self.network.decoder().hidden(self)
    }

    /// Returns the logits, `[tokens, vocabulary]`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the device fails.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let weight = self.tensor(self.network.decoder().head().weight)?;
        weight.t().and_then(|weight| hidden.matmul(&weight)).map_err(device_error)
    }

    /// Returns the sum of the labelled tokens' cross-entropies, a scalar to call `backward` on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the device fails.
    pub fn loss(&self, hidden: &Tensor, labels: &[Option<u32>]) -> Result<Tensor> {
        let (rows, targets): (Vec<u32>, Vec<u32>) =
            (0..).zip(labels).filter_map(|(row, label)| label.map(|label| (row, label))).unzip();
        let count = rows.len() as f64;
        let compute = || {
            let rows = Tensor::new(rows, &self.device)?;
            let targets = Tensor::new(targets, &self.device)?;
            hidden.index_select(&rows, 0).map(|hidden| (hidden, targets))
        };
        let (hidden, targets) = compute().map_err(device_error)?;
        let logits = self.logits(&hidden)?;
        let mean = candle_nn::loss::cross_entropy(&logits, &targets);
        mean.and_then(|mean| mean * count).map_err(device_error)
    }

    fn tensor(&self, param: Param) -> Result<Tensor> {
        Tensor::from_slice(
            self.network.weights().data(param),
            self.network.weights().shape(param),
            &self.device,
        )
        .map_err(device_error)
    }

    fn rotate(&self, x: &Tensor, layer: &Attention) -> candle_core::Result<Tensor> {
        // Turning a pair (1, 0) shows the cosine and sine of each position.
        let (rows, half) = (self.batch.tokens().len(), layer.heads.dim / 2);
        let mut turned: Vec<f32> = (0..rows)
            .flat_map(|_| (0..2 * half).map(|i| if i < half { 1.0 } else { 0.0 }))
            .collect();
        layer.rope.apply(&mut turned, self.batch.positions());
        let table = Tensor::from_vec(turned, (rows, 1, 2 * half), &self.device)?;
        let (cos, sin) = (table.narrow(2, 0, half)?, table.narrow(2, half, half)?);
        let (first, second) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let turned = [
            (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?,
            (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?,
        ];
        Tensor::cat(&turned, 2)
    }

    fn attention(&self, layer: &Attention, qkv: &[Tensor; 3]) -> candle_core::Result<Tensor> {
        let heads = layer.heads;
        let by_head =
            |x: &Tensor, count: usize| x.reshape((self.batch.tokens().len(), count, heads.dim));
        let q = self.rotate(&by_head(&qkv[0], heads.query)?, layer)?;
        let k = self.rotate(&by_head(&qkv[1], heads.key_value)?, layer)?;
        let v = by_head(&qkv[2], heads.key_value)?;
        let shared = heads.query / heads.key_value;
        let outputs: Vec<Tensor> = self
            .batch
            .sequences()
            .iter()
            .map(|rows| {
                let len = rows.len();
                let part = |x: &Tensor| x.narrow(0, rows.start, len)?.transpose(0, 1)?.contiguous();
                let spread = |x: &Tensor| -> candle_core::Result<Tensor> {
                    let shape = (heads.key_value, shared, len, heads.dim);
                    part(x)?.unsqueeze(1)?.expand(shape)?.reshape((heads.query, len, heads.dim))
                };
                let mask: Vec<f32> = (0..len * len)
                    .map(|at| if at % len > at / len { f32::NEG_INFINITY } else { 0.0 })
                    .collect();
                let mask = Tensor::from_vec(mask, (len, len), &self.device)?;
                let scores = (part(&q)?.matmul(&spread(&k)?.t()?)? / (heads.dim as f64).sqrt())?;
                let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
                let out = weights.matmul(&spread(&v)?)?.transpose(0, 1)?;
                out.reshape((len, heads.query * heads.dim))
            })
            .collect::<candle_core::Result<_>>()?;
        Tensor::cat(&outputs, 0)
    }
}

impl Ops for Reference<'_> {
    type Rows = Tensor;

    fn embed(&mut self, table: Param) -> Result<Tensor> {
        let table = self.tensor(table)?;
        Tensor::new(self.batch.tokens(), &self.device)
            .and_then(|tokens| table.index_select(&tokens, 0))
            .map_err(device_error)
    }

    fn norm(&mut self, x: &Tensor, gain: Param, eps: f32) -> Result<Tensor> {
        let gain = self.tensor(gain)?;
        let compute = || {
            let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
            x.broadcast_div(&(mean + f64::from(eps))?.sqrt()?)?.broadcast_mul(&gain)
        };
        compute().map_err(device_error)
    }

    fn project(&mut self, x: &Tensor, linear: &Linear) -> Result<Tensor> {
        let weight = self.tensor(linear.weight)?;
        let bias = linear.bias.map(|bias| self.tensor(bias)).transpose()?;
        let compute = || {
            let mut y = x.matmul(&weight.t()?)?;
            if let Some(bias) = bias {
                y = y.broadcast_add(&bias)?;
            }
            if let Some((a, b, scale)) = self.adapter.pairs.get(&linear.weight) {
                y = (y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * *scale)?)?;
            }
            Ok(y)
        };
        compute().map_err(device_error)
    }

    fn attend(&mut self, layer: &Attention, qkv: [Tensor; 3]) -> Result<Tensor> {
        self.attention(layer, &qkv).map_err(device_error)
    }

    fn gate(&mut self, gate: Tensor, up: Tensor) -> Result<Tensor> {
        gate.silu().and_then(|gate| gate * up).map_err(device_error)
    }

    fn add(&mut self, x: Tensor, y: Tensor) -> Result<Tensor> {
        (x + y).map_err(device_error)
    }
}

fn device_error(error: candle_core::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "candle cannot run an operation")
        .with_source(error)
        .with_retryable(false)
}
