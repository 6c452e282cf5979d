//! Runs a decoder on candle tensors, with candle's autograd: the second way to compute everything
//! the [`Tape`](crate::Tape) does, and the way onto devices that candle knows.
//!
//! Every operation is one candle differentiates. The fused ones of candle-nn (`rms_norm`, `rope`,
//! `softmax_last_dim`, `sdpa`) cut the gradient without an error, so none of them is used.

use std::collections::BTreeMap;

use candle_core::{D, Device, Tensor, Var};
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Heads, Pairs, Rope};

use crate::{
    Batch, Lora, Network, Saved,
    ops::{Attention, Latent, Linear, Mixture, Ops},
    router::{Chosen, Router, Scoring},
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
    pairs: BTreeMap<Param, Pair>,
    tables: BTreeMap<Saved, Var>,
}

/// `A`, `B`, the magnitude if there is one, and the scale.
#[derive(Clone, Debug)]
struct Pair {
    a: Var,
    b: Var,
    magnitude: Option<Var>,
    scale: f64,
}

impl Adapter {
    /// Copies `lora` to `device`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the device fails.
    pub fn new(lora: &Lora, network: &Network, device: &Device) -> Result<Self> {
        let var = |data: &[f32], shape: &[usize]| {
            Var::from_slice(data, shape, device).map_err(device_error)
        };
        let pairs = lora
            .pairs()
            .map(|(site, pair)| {
                let shape = network.sizes(site);
                let magnitude = pair.magnitude.as_ref();
                let vars = Pair {
                    a: var(&pair.a, &[pair.rank, shape[1]])?,
                    b: var(&pair.b, &[shape[0], pair.rank])?,
                    magnitude: magnitude.map(|m| var(m, &[shape[0]])).transpose()?,
                    scale: f64::from(pair.scale),
                };
                Ok((site, vars))
            })
            .collect::<Result<_>>()?;
        let vocabulary = network.decoder().vocabulary();
        let tables = lora.tables().map(|(saved, table)| {
            let shape = [vocabulary, table.data().len() / vocabulary];
            Ok((saved, var(table.data(), &shape)?))
        });
        Ok(Self { pairs, tables: tables.collect::<Result<_>>()? })
    }

    /// Lists the variables in the order of [`Lora::parts`].
    pub fn vars(&self) -> Vec<Var> {
        let of = |pair: &Pair| {
            [Some(&pair.a), Some(&pair.b), pair.magnitude.as_ref()].map(Option::<&Var>::cloned)
        };
        let pairs = self.pairs.values().flat_map(of).flatten();
        pairs.chain(self.tables.values().cloned()).collect()
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
        let weight = self.table(Saved::Head, self.network.decoder().head().weight)?;
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

    /// The adapter's own table, or the base model's.
    fn table(&self, saved: Saved, param: Param) -> Result<Tensor> {
        match self.adapter.tables.get(&saved) {
            Some(own) => Ok(own.as_tensor().clone()),
            None => self.tensor(param),
        }
    }

    fn tensor(&self, param: Param) -> Result<Tensor> {
        Tensor::from_slice(
            &self.network.weights().data(param),
            self.network.weights().shape(param),
            &self.device,
        )
        .map_err(device_error)
    }

    /// Turns `x`, `[tokens, heads, width of the rotation]`.
    fn rotate(&self, x: &Tensor, rope: &Rope) -> candle_core::Result<Tensor> {
        let (rows, heads, width) = x.dims3()?;
        let half = width / 2;
        // Turning a pair (1, 0) shows the cosine and sine of each position. In which order pairs lie
        // shows in where the ones stay.
        let unit = |at: usize| match rope.pairs() {
            Pairs::Halves => at < half,
            Pairs::Neighbours => at.is_multiple_of(2),
        };
        let ones = (0..rows * width).map(|at| f32::from(u8::from(unit(at % width))));
        let mut turned: Vec<f32> = ones.collect();
        for rows in self.batch.sequences() {
            let part = &mut turned[rows.start * width..rows.end * width];
            rope.apply(part, &self.batch.positions()[rows.clone()]);
        }
        let table = Tensor::from_vec(turned, (rows, 1, width), &self.device)?;
        // The two elements of each pair, and how to put them together again.
        let pair = |x: &Tensor, heads: usize| match rope.pairs() {
            Pairs::Halves => x.reshape((rows, heads, 2, half))?.transpose(2, 3),
            Pairs::Neighbours => x.reshape((rows, heads, half, 2)),
        };
        let element = |x: &Tensor, at: usize| x.narrow(3, at, 1);
        let (table, x) = (pair(&table, 1)?, pair(x, heads)?);
        let (cos, sin) = (element(&table, 0)?, element(&table, 1)?);
        let (first, second) = (element(&x, 0)?, element(&x, 1)?);
        let turned = [
            (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?,
            (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?,
        ];
        let turned = Tensor::cat(&turned, 3)?;
        match rope.pairs() {
            Pairs::Halves => turned.transpose(2, 3)?.contiguous()?.reshape((rows, heads, width)),
            Pairs::Neighbours => turned.reshape((rows, heads, width)),
        }
    }

    /// Attends, given queries, keys and values as `[tokens, heads, elements]`, turned already.
    fn attention(&self, heads: Heads, [q, k, v]: [&Tensor; 3]) -> candle_core::Result<Tensor> {
        let shared = heads.query / heads.key_value;
        let outputs: Vec<Tensor> = self
            .batch
            .sequences()
            .iter()
            .map(|rows| {
                let len = rows.len();
                let part = |x: &Tensor| x.narrow(0, rows.start, len)?.transpose(0, 1)?.contiguous();
                let spread = |x: &Tensor| -> candle_core::Result<Tensor> {
                    let dim = x.dim(2)?;
                    let shape = (heads.key_value, shared, len, dim);
                    part(x)?.unsqueeze(1)?.expand(shape)?.reshape((heads.query, len, dim))
                };
                let hidden =
                    |row: usize, key: usize| key > row || row - key >= heads.window.unwrap_or(len);
                let mask: Vec<f32> = (0..len * len)
                    .map(|at| if hidden(at / len, at % len) { f32::NEG_INFINITY } else { 0.0 })
                    .collect();
                let mask = Tensor::from_vec(mask, (len, len), &self.device)?;
                let scores = (part(q)?.matmul(&spread(k)?.t()?)? * f64::from(heads.scale))?;
                let weights = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
                let out = weights.matmul(&spread(v)?)?.transpose(0, 1)?;
                out.reshape((len, heads.out_width()))
            })
            .collect::<candle_core::Result<_>>()?;
        Tensor::cat(&outputs, 0)
    }

    /// `x` as `[tokens, heads, elements]`.
    fn by_head(&self, x: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        x.reshape((self.batch.tokens().len(), heads, x.dim(1)? / heads))
    }

    /// A token's experts get their weights from scores that the gradient goes through; which they are
    /// is decided on numbers.
    fn routed(&self, x: &Tensor, router: &Router) -> Result<(Vec<Vec<Chosen>>, Tensor)> {
        let weight = self.tensor(router.weight)?;
        let weights = self.network.weights();
        let correction = router.correction.map(|correction| weights.vector(correction));
        let products = x.matmul(&weight.t().map_err(device_error)?).map_err(device_error)?;
        let mut rows: Vec<Vec<f32>> = products.to_vec2().map_err(device_error)?;
        let chosen: Vec<Vec<Chosen>> =
            rows.iter_mut().map(|row| router.choose(row, correction)).collect();
        let compute = || {
            let scores = match router.scoring {
                Scoring::Softmax => candle_nn::ops::softmax(&products, D::Minus1)?,
                Scoring::Sigmoid => candle_nn::ops::sigmoid(&products)?,
            };
            let places: Vec<u32> =
                chosen.iter().flatten().map(|chosen| chosen.expert as u32).collect();
            let places = Tensor::from_vec(places, (chosen.len(), router.top), &self.device)?;
            let picked = scores.gather(&places, 1)?;
            let picked = match router.normalise {
                true => picked.broadcast_div(&(picked.sum_keepdim(1)? + 1e-20)?)?,
                false => picked,
            };
            picked * f64::from(router.factor)
        };
        let weights = compute().map_err(device_error)?;
        Ok((chosen, weights))
    }
}

impl Ops for Reference<'_> {
    type Rows = Tensor;

    fn embed(&mut self, table: Param) -> Result<Tensor> {
        let table = self.table(Saved::Embedding, table)?;
        Tensor::new(self.batch.tokens(), &self.device)
            .and_then(|tokens| table.index_select(&tokens, 0))
            .map_err(device_error)
    }

    fn norm(&mut self, x: &Tensor, gain: Param, eps: f32) -> Result<Tensor> {
        let gain = self.tensor(gain)?;
        let compute = || {
            let (rows, width) = x.dims2()?;
            let parts = x.reshape((rows, width / gain.dim(0)?, gain.dim(0)?))?;
            let mean = parts.sqr()?.mean_keepdim(D::Minus1)?;
            let normed = parts.broadcast_div(&(mean + f64::from(eps))?.sqrt()?)?;
            normed.broadcast_mul(&gain)?.reshape((rows, width))
        };
        compute().map_err(device_error)
    }

    fn project(&mut self, x: &Tensor, linear: &Linear) -> Result<Tensor> {
        let weight = self.tensor(linear.weight)?;
        let bias = linear.bias.map(|bias| self.tensor(bias)).transpose()?;
        let compute = || {
            let mut y = x.matmul(&weight.t()?)?;
            if let Some(Pair { a, b, magnitude, scale }) = self.adapter.pairs.get(&linear.weight) {
                y = (y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * *scale)?)?;
                if let Some(magnitude) = magnitude {
                    let whole = (&weight + (b.matmul(a.as_tensor())? * *scale)?)?;
                    let norm = whole.sqr()?.sum(1)?.sqrt()?.detach();
                    y = y.broadcast_mul(&magnitude.div(&norm)?)?;
                }
            }
            match bias {
                Some(bias) => y.broadcast_add(&bias),
                None => Ok(y),
            }
        };
        compute().map_err(device_error)
    }

    fn attend(&mut self, layer: &Attention, qkv: [Tensor; 3]) -> Result<Tensor> {
        let heads = layer.heads;
        let compute = || {
            let q = self.rotate(&self.by_head(&qkv[0], heads.query)?, &layer.rope)?;
            let k = self.rotate(&self.by_head(&qkv[1], heads.key_value)?, &layer.rope)?;
            let v = self.by_head(&qkv[2], heads.key_value)?;
            self.attention(heads, [&q, &k, &v])
        };
        compute().map_err(device_error)
    }

    fn attend_latent(
        &mut self,
        layer: &Latent,
        q: Tensor,
        latent: Tensor,
        key: Tensor,
    ) -> Result<Tensor> {
        let expanded = self.project(&latent, &layer.expand)?;
        let (heads, own, turning) = (layer.heads, layer.own(), layer.rope.width());
        let compute = || {
            let q = self.by_head(&q, heads.query)?;
            let q_turned = self.rotate(&q.narrow(2, own, turning)?.contiguous()?, &layer.rope)?;
            let q = Tensor::cat(&[q.narrow(2, 0, own)?, q_turned], 2)?;
            let key = self.rotate(&self.by_head(&key, 1)?, &layer.rope)?;
            let key = key.expand((key.dim(0)?, heads.query, turning))?;
            let expanded = self.by_head(&expanded, heads.query)?;
            let k = Tensor::cat(&[expanded.narrow(2, 0, own)?, key], 2)?;
            let v = expanded.narrow(2, own, heads.value_dim)?;
            self.attention(heads, [&q, &k, &v])
        };
        compute().map_err(device_error)
    }

    fn split(&mut self, x: Tensor, width: usize) -> Result<[Tensor; 2]> {
        let compute = || {
            let rest = x.dim(1)? - width;
            Ok([x.narrow(1, 0, width)?.contiguous()?, x.narrow(1, width, rest)?.contiguous()?])
        };
        compute().map_err(device_error)
    }

    fn mix(&mut self, x: &Tensor, mixture: &Mixture) -> Result<Tensor> {
        let (chosen, weights) = self.routed(x, &mixture.router)?;
        let mut sum = x.zeros_like().map_err(device_error)?;
        for (expert, sent) in Router::sent(&chosen, mixture.experts.len()).into_iter().enumerate() {
            if sent.is_empty() {
                continue;
            }
            let top = mixture.router.top;
            let rows: Vec<u32> = sent.iter().map(|&[token, _]| token as u32).collect();
            let places: Vec<u32> =
                sent.iter().map(|&[token, place]| (token * top + place) as u32).collect();
            let gather = || {
                let rows = Tensor::new(rows, &self.device)?;
                let weight = weights.flatten_all()?;
                let weight = weight.index_select(&Tensor::new(places, &self.device)?, 0)?;
                Ok((x.index_select(&rows, 0)?, weight.unsqueeze(1)?, rows))
            };
            let (gathered, weight, rows) = gather().map_err(device_error)?;
            let result = mixture.experts[expert].run(self, &gathered)?;
            let add = || sum.index_add(&rows, &result.broadcast_mul(&weight)?, 0);
            sum = add().map_err(device_error)?;
        }
        Ok(sum)
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
