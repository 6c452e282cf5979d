//! Runs a decoder and remembers what its gradient needs.
//!
//! Forward and backward passes are written out for each operation, on our own kernels: nothing is
//! cut from the gradient without a word, frozen weights get none, and the result has the same bits
//! on every machine. Rows that lead to nothing trainable are not differentiated at all.

mod backward;
mod batch;
mod gradients;

use openledger_core::Result;
use openledger_kernels::{
    Causal, Into, LabelLoss, Mat, add_assign, cross_entropy, gemm, gemm_packed, rms_norm, swiglu,
};

pub use batch::Batch;
pub use gradients::Gradients;

use crate::{
    Lora, Network,
    ops::{Attention, Linear, Ops},
    weights::Param,
};

/// Rows of logits computed at a time: for a large vocabulary all at once would not fit.
const LOSS_ROWS: usize = 128;

/// What gets a gradient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each asks for other work and other memory")]
pub enum Trainable {
    /// Nothing: only the forward pass is wanted.
    Nothing,
    /// The matrices of the adapter.
    Lora,
    /// Every weight of the base model; an adapter is applied but stays as it is.
    Base,
}

/// One pass of a decoder over a [`Batch`].
///
/// # Examples
/// ```
/// # use openledger_core::Result;
/// use openledger_model::{Batch, Gradients, Lora, Network, Tape, Tokens, Trainable};
///
/// /// The gradient of one row's loss with respect to an adapter.
/// fn gradient(network: &Network, lora: &Lora, row: &Tokens) -> Result<Gradients> {
///     let batch = Batch::new([&row.tokens[..]]);
///     let mut tape = Tape::new(network, Some(lora), Trainable::Lora, &batch);
///     let hidden = tape.run()?;
///     tape.loss(&hidden, &row.labels(), 1.0);
///     let mut gradients = Gradients::of_lora(lora);
///     tape.backward(&mut gradients);
///     Ok(gradients)
/// }
/// ```
#[derive(Debug)]
pub struct Tape<'a> {
    network: &'a Network,
    lora: Option<&'a Lora>,
    trainable: Trainable,
    batch: &'a Batch,
    nodes: Vec<Node>,
    losses: Vec<Loss>,
}

/// Activations on a [`Tape`].
#[derive(Debug)]
pub struct Rows(usize);

/// One operation done.
#[derive(Debug)]
struct Node {
    /// The result, `[tokens, width]`; empty once nothing needs it any more.
    value: Vec<f32>,
    width: usize,
    /// Whether anything trainable lies at or below this operation.
    differentiable: bool,
    step: Step,
}

/// What was done, and what its gradient needs beside the inputs.
#[derive(Debug)]
enum Step {
    Embed { table: Param },
    Norm { x: usize, gain: Param, inverse: Vec<f32> },
    Project { x: usize, linear: Linear, lowered: Option<Vec<f32>> },
    Attend { qkv: [usize; 3], layer: Attention, kept: Vec<Causal> },
    Gate { gate: usize, up: usize },
    Add { x: usize, y: usize },
}

/// A loss taken: the gradient it sends down.
#[derive(Debug)]
struct Loss {
    hidden: usize,
    dhidden: Vec<f32>,
    head: Param,
    dhead: Option<Vec<f32>>,
}

impl<'a> Tape<'a> {
    /// Prepares a pass over `batch`, with the adapter `lora` if there is one.
    pub fn new(
        network: &'a Network,
        lora: Option<&'a Lora>,
        trainable: Trainable,
        batch: &'a Batch,
    ) -> Self {
        Self { network, lora, trainable, batch, nodes: Vec::new(), losses: Vec::new() }
    }

    /// Returns the elements, `[tokens, width]`.
    pub fn value(&self, rows: &Rows) -> &[f32] {
        &self.nodes[rows.0].value
    }

    /// Runs the decoder; returns the hidden states before the head.
    ///
    /// # Errors
    /// None: the signature is that of [`Decoder::hidden`](crate::Decoder::hidden).
    pub fn run(&mut self) -> Result<Rows> {
        self.network.decoder().hidden(self)
    }

    /// Returns the logits of all tokens, `[tokens, vocabulary]`.
    pub fn logits(&self, hidden: &Rows) -> Vec<f32> {
        let node = &self.nodes[hidden.0];
        let packed = self.network.weights().packed(self.network.decoder().head().weight);
        let mut logits = vec![0.0; self.batch.tokens().len() * packed.cols()];
        let x = Mat::new(&node.value, self.batch.tokens().len(), node.width);
        gemm_packed(Into::Set(&mut logits), x, packed);
        logits
    }

    /// Takes the cross-entropy of the labelled tokens' next-token distributions.
    ///
    /// `labels` has one entry for each token of the batch. What [`backward`](Self::backward) will
    /// differentiate is `scale` times the sum. Logits are computed for labelled tokens only, a few
    /// rows at a time.
    ///
    /// # Panics
    /// If there is not one label for each token, or a label is outside the vocabulary.
    pub fn loss(&mut self, hidden: &Rows, labels: &[Option<u32>], scale: f32) -> LabelLoss {
        let head = self.network.decoder().head();
        assert_eq!(labels.len(), self.batch.tokens().len(), "one label for each token");
        let node = &self.nodes[hidden.0];
        let width = node.width;
        let weight = self.network.weights().packed(head.weight);
        let table = Mat::new(self.network.weights().data(head.weight), weight.cols(), width);
        let labelled: Vec<usize> = (0..labels.len()).filter(|&row| labels[row].is_some()).collect();
        let mut dhidden = vec![0.0; if node.differentiable { node.value.len() } else { 0 }];
        let mut dhead = (self.trainable == Trainable::Base)
            .then(|| vec![0.0; self.network.weights().data(head.weight).len()]);
        let mut total = LabelLoss::default();
        for rows in labelled.chunks(LOSS_ROWS) {
            let x: Vec<f32> = rows
                .iter()
                .flat_map(|row| &node.value[row * width..(row + 1) * width])
                .copied()
                .collect();
            let x = Mat::new(&x, rows.len(), width);
            let mut logits = vec![0.0; rows.len() * weight.cols()];
            gemm_packed(Into::Set(&mut logits), x, weight);
            let labels: Vec<Option<u32>> = rows.iter().map(|&row| labels[row]).collect();
            let loss = cross_entropy(&mut logits, &labels, scale);
            total.sum += loss.sum;
            total.labels += loss.labels;
            let dlogits = Mat::new(&logits, rows.len(), weight.cols());
            if let Some(dhead) = &mut dhead {
                gemm(Into::Add(dhead), dlogits.t(), x);
            }
            if node.differentiable {
                let mut dx = vec![0.0; rows.len() * width];
                gemm(Into::Set(&mut dx), dlogits, table);
                for (row, dx) in rows.iter().zip(dx.chunks_exact(width)) {
                    dhidden[row * width..(row + 1) * width].copy_from_slice(dx);
                }
            }
        }
        self.losses.push(Loss { hidden: hidden.0, dhidden, head: head.weight, dhead });
        total
    }

    fn push(&mut self, value: Vec<f32>, differentiable: bool, step: Step) -> Rows {
        let width = value.len() / self.batch.tokens().len().max(1);
        self.nodes.push(Node { value, width, differentiable, step });
        Rows(self.nodes.len() - 1)
    }

    fn trains_base(&self) -> bool {
        self.trainable == Trainable::Base
    }

    fn differentiable(&self, rows: &Rows) -> bool {
        self.nodes[rows.0].differentiable
    }

    fn mat(&self, node: usize) -> Mat<'_> {
        let node = &self.nodes[node];
        Mat::new(&node.value, self.batch.tokens().len(), node.width)
    }
}

impl Ops for Tape<'_> {
    type Rows = Rows;

    fn embed(&mut self, table: Param) -> Result<Rows> {
        let width = self.network.weights().shape(table)[1];
        let data = self.network.weights().data(table);
        let row = |&token: &u32| &data[token as usize * width..(token as usize + 1) * width];
        let value = self.batch.tokens().iter().flat_map(row).copied().collect();
        Ok(self.push(value, self.trains_base(), Step::Embed { table }))
    }

    fn norm(&mut self, x: &Rows, gain: Param, eps: f32) -> Result<Rows> {
        let input = &self.nodes[x.0].value;
        let mut value = vec![0.0; input.len()];
        let inverse = rms_norm(&mut value, input, self.network.weights().data(gain), eps);
        let differentiable = self.differentiable(x) || self.trains_base();
        Ok(self.push(value, differentiable, Step::Norm { x: x.0, gain, inverse }))
    }

    fn project(&mut self, x: &Rows, linear: &Linear) -> Result<Rows> {
        let weight = self.network.weights().packed(linear.weight);
        let tokens = self.batch.tokens().len();
        let mut value = vec![0.0; tokens * weight.cols()];
        gemm_packed(Into::Set(&mut value), self.mat(x.0), weight);
        if let Some(bias) = linear.bias {
            let bias = self.network.weights().data(bias);
            value.chunks_exact_mut(bias.len()).for_each(|row| add_assign(row, bias));
        }
        let pair = self.lora.and_then(|lora| lora.at(linear.weight));
        let lowered = pair.map(|pair| {
            let width = self.nodes[x.0].width;
            let mut lowered = vec![0.0; tokens * pair.rank];
            gemm(Into::Set(&mut lowered), self.mat(x.0), Mat::new(&pair.a, pair.rank, width).t());
            lowered.iter_mut().for_each(|u| *u *= pair.scale);
            let b = Mat::new(&pair.b, weight.cols(), pair.rank);
            gemm(Into::Add(&mut value), Mat::new(&lowered, tokens, pair.rank), b.t());
            lowered
        });
        let trained = lowered.is_some() && self.trainable == Trainable::Lora;
        let differentiable = self.differentiable(x) || trained || self.trains_base();
        Ok(self.push(value, differentiable, Step::Project { x: x.0, linear: *linear, lowered }))
    }

    fn attend(&mut self, layer: &Attention, qkv: [Rows; 3]) -> Result<Rows> {
        let qkv = qkv.map(|rows| rows.0);
        let [q, k, v] = qkv;
        // The handles were given up, so queries and keys are turned where they lie.
        layer.rope.apply(&mut self.nodes[q].value, self.batch.positions());
        layer.rope.apply(&mut self.nodes[k].value, self.batch.positions());
        let mut value = vec![0.0; self.nodes[q].value.len()];
        let mut kept = Vec::with_capacity(self.batch.sequences().len());
        for rows in self.batch.sequences() {
            let part = |node: usize| self.nodes[node].rows(rows);
            let out = &mut value[rows.start * self.nodes[q].width..rows.end * self.nodes[q].width];
            kept.push(Causal::forward(out, part(q), part(k), part(v), layer.heads));
        }
        let differentiable = qkv.iter().any(|&node| self.nodes[node].differentiable);
        Ok(self.push(value, differentiable, Step::Attend { qkv, layer: layer.clone(), kept }))
    }

    fn gate(&mut self, gate: Rows, up: Rows) -> Result<Rows> {
        let mut value = vec![0.0; self.nodes[gate.0].value.len()];
        swiglu(&mut value, &self.nodes[gate.0].value, &self.nodes[up.0].value);
        let differentiable = self.differentiable(&gate) || self.differentiable(&up);
        Ok(self.push(value, differentiable, Step::Gate { gate: gate.0, up: up.0 }))
    }

    fn add(&mut self, x: Rows, y: Rows) -> Result<Rows> {
        // The gradient of a sum needs neither summand, and nobody else holds `y`.
        let mut value = std::mem::take(&mut self.nodes[y.0].value);
        add_assign(&mut value, &self.nodes[x.0].value);
        let differentiable = self.differentiable(&x) || self.differentiable(&y);
        Ok(self.push(value, differentiable, Step::Add { x: x.0, y: y.0 }))
    }
}

impl Node {
    fn rows(&self, rows: &std::ops::Range<usize>) -> &[f32] {
        &self.value[rows.start * self.width..rows.end * self.width]
    }
}
