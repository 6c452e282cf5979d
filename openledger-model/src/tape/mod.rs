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
    Arithmetic, Causal, Heads, Into, LabelLoss, Mat, Weight, add_assign, awake, axpy,
    cross_entropy_each, gemm, rms_norm, swiglu,
};

pub use batch::Batch;
pub use gradients::Gradients;

use crate::{
    Buffer, Buffers, Direction, Lora, Network, Saved,
    ops::{Attention, Latent, Linear, Mixture, Ops},
    router::{Chosen, Router},
    weights::Param,
};

/// Logits computed at a time, and the fewest rows of them: for a large vocabulary all at once would not fit, and
/// the head's matrix is read once for each time.
const LOGITS: usize = 1 << 22;
const LOSS_ROWS: usize = 128;

/// What gets a gradient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each asks for other work and other memory")]
pub enum Trainable {
    /// Nothing: only the forward pass is wanted.
    Nothing,
    /// The matrices of the adapter, its magnitudes and tables.
    Lora,
    /// Every weight of the base model; an adapter is applied but stays as it is, and what `DoRA`
    /// multiplies by counts as constant.
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
    checkpointing: bool,
    buffers: Buffers,
    /// The linear layer whose result nobody reads, where a block is run again.
    unread: Option<Param>,
}

/// Activations on a [`Tape`].
#[derive(Debug)]
pub struct Rows(usize);

/// One operation done.
#[derive(Debug)]
struct Node {
    /// The result, `[rows, width]`, with a row for each token or for some of them; empty once nothing
    /// needs it any more.
    value: Buffer,
    rows: usize,
    width: usize,
    /// Whether anything trainable lies at or below this operation.
    differentiable: bool,
    step: Step,
}

/// What was done, and what its gradient needs beside the inputs.
#[derive(Debug)]
enum Step {
    /// What a block is run on again.
    Input,
    /// A whole block, of which only the result was kept.
    Block {
        x: usize,
        block: usize,
    },
    Embed {
        table: Param,
    },
    Norm {
        x: usize,
        gain: Param,
        inverse: Vec<f32>,
    },
    Project {
        x: usize,
        linear: Linear,
        lowered: Option<Buffer>,
        directed: Option<Directed>,
    },
    Attend {
        qkv: [usize; 3],
        layer: Attention,
        kept: Vec<Causal>,
    },
    AttendLatent {
        inputs: [usize; 3],
        layer: Latent,
        made: [Vec<f32>; 2],
        kept: Vec<Causal>,
    },
    /// Columns of `x` from `from` on.
    Split {
        x: usize,
        from: usize,
    },
    /// Some rows of `x`.
    Gather {
        x: usize,
        rows: Vec<usize>,
    },
    Mix {
        x: usize,
        router: Router,
        routes: Routes,
        parts: Vec<Part>,
    },
    Gate {
        gate: usize,
        up: usize,
    },
    Add {
        x: usize,
        y: usize,
    },
}

/// What `DoRA` multiplied by, and what it multiplied.
#[derive(Debug)]
struct Directed {
    direction: Direction,
    /// Empty if the magnitude is not trained.
    product: Buffer,
}

/// What a router did.
#[derive(Debug)]
struct Routes {
    /// `[tokens, experts]`.
    scores: Vec<f32>,
    chosen: Vec<Vec<Chosen>>,
}

/// What one expert returned for the tokens that were sent to it.
#[derive(Debug)]
struct Part {
    node: usize,
    /// For each of its rows the token, and the expert's place among those chosen for it.
    rows: Vec<[usize; 2]>,
}

/// A loss taken: the gradient it sends down.
#[derive(Debug)]
struct Loss {
    hidden: usize,
    dhidden: Buffer,
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
        Self {
            network,
            lora,
            trainable,
            batch,
            nodes: Vec::new(),
            losses: Vec::new(),
            checkpointing: false,
            buffers: Buffers::default(),
            unread: None,
        }
    }

    /// Returns this with results in memory that passes before it used, and that those after it will.
    #[must_use]
    pub fn with_buffers(mut self, buffers: &Buffers) -> Self {
        self.buffers = buffers.clone();
        self
    }

    /// Returns this with activation checkpointing (Chen et al., 2016) or without: only what blocks
    /// return is kept, and [`backward`](Self::backward) runs each block again, but for the last.
    ///
    /// It takes the memory of one block instead of all, and about a quarter more time. The results have
    /// the same bits. [`routes`](Self::routes) has nothing to list.
    #[must_use]
    pub const fn with_checkpointing(mut self, checkpointing: bool) -> Self {
        self.checkpointing = checkpointing;
        self
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
        let decoder = self.network.decoder();
        if !self.checkpointing {
            return awake(|| decoder.hidden(self));
        }
        let around = |tape: &mut Self, block, x: Rows| {
            // The last is gone back through before any is run again, so it costs no memory to keep.
            if block + 1 == decoder.layers() {
                return decoder.run_block(block, tape, x);
            }
            let (input, first) = (x.0, tape.nodes.len());
            let out = decoder.run_block(block, tape, x)?;
            let Node { value, rows, differentiable, .. } = tape.nodes.swap_remove(out.0);
            tape.nodes.truncate(first);
            Ok(tape.push(value, rows, differentiable, Step::Block { x: input, block }))
        };
        awake(|| decoder.run_around(self, around))
    }

    /// Returns the logits of all tokens, `[tokens, vocabulary]`.
    pub fn logits(&self, hidden: &Rows) -> Vec<f32> {
        let node = &self.nodes[hidden.0];
        let (head, rows) = (self.head(), self.batch.tokens().len());
        let mut logits = vec![0.0; rows * head.sizes()[0]];
        let x = Mat::new(&node.value, rows, node.width);
        head.multiply(Into::Set(&mut logits), x, self.network.weights().arithmetic());
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
        let each = self.loss_each(hidden, labels, &vec![scale; labels.len()]);
        LabelLoss::new(each.iter().sum(), labels.iter().flatten().count())
    }

    /// [`loss`](Self::loss) with a scale for each token; returns each token's `-ln p(label)`, zero
    /// where there is no label.
    ///
    /// # Panics
    /// As [`loss`](Self::loss), and if there is not one scale for each token.
    pub fn loss_each(&mut self, hidden: &Rows, labels: &[Option<u32>], scales: &[f32]) -> Vec<f64> {
        let head = self.network.decoder().head();
        assert_eq!(scales.len(), labels.len(), "one scale for each token");
        let node = &self.nodes[hidden.0];
        let width = node.width;
        let (weight, arithmetic) = (self.head(), self.network.weights().arithmetic());
        let [vocabulary, _] = weight.sizes();
        let own = self.lora.and_then(|lora| lora.table(Saved::Head));
        let mut dhidden =
            self.buffers.zeros(if node.differentiable { node.value.len() } else { 0 });
        let trained = self.trains_base() || (self.trains_lora() && own.is_some());
        let mut dhead = trained.then(|| vec![0.0; vocabulary * width]);
        let mut losses = vec![0.0; labels.len()];
        self.each_labelled(hidden, labels, |rows, x, logits| {
            let labels: Vec<Option<u32>> = rows.iter().map(|&row| labels[row]).collect();
            let scales: Vec<f32> = rows.iter().map(|&row| scales[row]).collect();
            let found = cross_entropy_each(logits, &labels, &scales);
            rows.iter().zip(found).for_each(|(&row, loss)| losses[row] = loss);
            let dlogits = Mat::new(logits, rows.len(), vocabulary);
            if let Some(dhead) = &mut dhead {
                gemm(Into::Add(dhead), dlogits.t(), x);
            }
            if node.differentiable {
                let mut dx = self.buffers.room(rows.len() * width);
                weight.multiply_back(Into::Set(&mut dx), dlogits, arithmetic);
                for (row, dx) in rows.iter().zip(dx.chunks_exact(width)) {
                    dhidden[row * width..(row + 1) * width].copy_from_slice(dx);
                }
            }
        });
        self.losses.push(Loss { hidden: hidden.0, dhidden, head: head.weight, dhead });
        losses
    }

    /// Returns each token's `ln p(label)`, zero where there is no label, and differentiates nothing.
    ///
    /// # Panics
    /// As [`loss`](Self::loss).
    pub fn log_probabilities(&self, hidden: &Rows, labels: &[Option<u32>]) -> Vec<f64> {
        let mut found = vec![0.0; labels.len()];
        self.each_labelled(hidden, labels, |rows, _, logits| {
            let labels: Vec<Option<u32>> = rows.iter().map(|&row| labels[row]).collect();
            let losses = cross_entropy_each(logits, &labels, &vec![0.0; rows.len()]);
            rows.iter().zip(losses).for_each(|(&row, loss)| found[row] = -loss);
        });
        found
    }

    /// Calls `take` with the labelled rows, a few at a time, their hidden states and their logits.
    fn each_labelled(
        &self,
        hidden: &Rows,
        labels: &[Option<u32>],
        mut take: impl FnMut(&[usize], Mat<'_>, &mut [f32]) + Send,
    ) {
        assert_eq!(labels.len(), self.batch.tokens().len(), "one label for each token");
        let node = &self.nodes[hidden.0];
        let width = node.width;
        let (head, arithmetic) = (self.head(), self.network.weights().arithmetic());
        let [vocabulary, _] = head.sizes();
        let labelled: Vec<usize> = (0..labels.len()).filter(|&row| labels[row].is_some()).collect();
        let mut some = |rows: &[usize]| {
            let x: Vec<f32> = rows
                .iter()
                .flat_map(|row| &node.value[row * width..(row + 1) * width])
                .copied()
                .collect();
            let x = Mat::new(&x, rows.len(), width);
            let mut logits = self.buffers.room(rows.len() * vocabulary);
            head.multiply(Into::Set(&mut logits), x, arithmetic);
            take(rows, x, &mut logits);
        };
        let at_once = LOSS_ROWS.max(LOGITS / vocabulary);
        awake(|| labelled.chunks(at_once).for_each(&mut some));
    }

    /// Returns the experts chosen, for each layer that has some, token by token.
    pub fn routes(&self) -> impl Iterator<Item = &[Vec<Chosen>]> {
        self.nodes.iter().filter_map(|node| match &node.step {
            Step::Mix { routes, .. } => Some(&routes.chosen[..]),
            _ => None,
        })
    }

    fn push(
        &mut self,
        value: impl std::convert::Into<Buffer>,
        rows: usize,
        differentiable: bool,
        step: Step,
    ) -> Rows {
        let value = value.into();
        let width = value.len() / rows.max(1);
        self.nodes.push(Node { value, rows, width, differentiable, step });
        Rows(self.nodes.len() - 1)
    }

    fn trains_base(&self) -> bool {
        self.trainable == Trainable::Base
    }

    fn trains_lora(&self) -> bool {
        self.trainable == Trainable::Lora
    }

    /// The head, `[vocabulary, width]`: the adapter's if it has its own.
    fn head(&self) -> &'a Weight {
        match self.lora.and_then(|lora| lora.table(Saved::Head)) {
            Some(table) => table.weight(),
            None => self.network.weights().matrix(self.network.decoder().head().weight),
        }
    }

    fn differentiable(&self, rows: &Rows) -> bool {
        self.nodes[rows.0].differentiable
    }

    fn mat(&self, node: usize) -> Mat<'_> {
        let node = &self.nodes[node];
        Mat::new(&node.value, node.rows, node.width)
    }

    fn rows(&self, node: usize) -> usize {
        self.nodes[node].rows
    }

    /// Attends within each sequence; returns the result and what the gradient needs.
    fn causal(&self, q: &[f32], k: &[f32], v: &[f32], heads: Heads) -> (Buffer, Vec<Causal>) {
        let mut value = self.buffers.room(self.batch.tokens().len() * heads.out_width());
        let kept = self.batch.sequences().iter().map(|rows| {
            let of = |width: usize| rows.start * width..rows.end * width;
            let out = &mut value[of(heads.out_width())];
            let [q, k] = [&q[of(heads.query_width())], &k[of(heads.key_width())]];
            Causal::forward(out, q, k, &v[of(heads.value_width())], heads)
        });
        let kept = kept.collect();
        (value, kept)
    }
}

/// Multiplies each row by `factors`, element by element.
fn scale_columns(rows: &mut [f32], factors: &[f32]) {
    for row in rows.chunks_exact_mut(factors.len().max(1)) {
        row.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
    }
}

/// Calls `turn` with the rows of each sequence and their positions.
fn each_sequence(batch: &Batch, x: &mut [f32], mut turn: impl FnMut(&mut [f32], &[u32])) {
    let width = x.len() / batch.tokens().len().max(1);
    for rows in batch.sequences() {
        turn(&mut x[rows.start * width..rows.end * width], &batch.positions()[rows.clone()]);
    }
}

impl Ops for Tape<'_> {
    type Rows = Rows;

    fn embed(&mut self, table: Param) -> Result<Rows> {
        let own = self.lora.and_then(|lora| lora.table(Saved::Embedding));
        let tokens = self.batch.tokens().iter().copied();
        let value = match own {
            Some(own) => own.rows(tokens),
            None => self.network.weights().rows(table, tokens),
        };
        let rows = self.batch.tokens().len();
        let differentiable = self.trains_base() || (self.trains_lora() && own.is_some());
        Ok(self.push(value, rows, differentiable, Step::Embed { table }))
    }

    fn norm(&mut self, x: &Rows, gain: Param, eps: f32) -> Result<Rows> {
        let input = &self.nodes[x.0].value;
        let mut value = self.buffers.room(input.len());
        let inverse = rms_norm(&mut value, input, self.network.weights().vector(gain), eps);
        let differentiable = self.differentiable(x) || self.trains_base();
        Ok(self.push(value, self.rows(x.0), differentiable, Step::Norm { x: x.0, gain, inverse }))
    }

    fn project(&mut self, x: &Rows, linear: &Linear) -> Result<Rows> {
        let (rows, weights) = (self.rows(x.0), self.network.weights());
        let [out, _] = self.network.sizes(linear.weight);
        let mut value = self.buffers.room(rows * out);
        let direction = self.lora.and_then(|lora| lora.direction(self.network, linear.weight));
        // The gradient of `DoRA`'s magnitudes reads it.
        let unread = self.unread == Some(linear.weight) && direction.is_none();
        if !unread {
            weights.multiply(linear.weight, Into::Set(&mut value), self.mat(x.0));
        }
        let pair = self.lora.and_then(|lora| lora.at(linear.weight));
        let lowered = pair.map(|pair| {
            let width = self.nodes[x.0].width;
            let mut lowered = self.buffers.room(rows * pair.rank);
            gemm(Into::Set(&mut lowered), self.mat(x.0), Mat::new(&pair.a, pair.rank, width).t());
            lowered.iter_mut().for_each(|u| *u *= pair.scale);
            let b = Mat::new(&pair.b, out, pair.rank);
            if !unread {
                gemm(Into::Add(&mut value), Mat::new(&lowered, rows, pair.rank), b.t());
            }
            lowered
        });
        let directed = direction.map(|direction| {
            let product = match self.trains_lora() {
                true => self.buffers.copy(&value),
                false => Buffer::default(),
            };
            scale_columns(&mut value, &direction.factors);
            Directed { direction, product }
        });
        if let Some(bias) = linear.bias {
            let bias = weights.vector(bias);
            value.chunks_exact_mut(bias.len()).for_each(|row| add_assign(row, bias));
        }
        let trained = lowered.is_some() && self.trains_lora();
        let differentiable = self.differentiable(x) || trained || self.trains_base();
        let step = Step::Project { x: x.0, linear: *linear, lowered, directed };
        Ok(self.push(value, rows, differentiable, step))
    }

    fn split(&mut self, x: Rows, width: usize) -> Result<[Rows; 2]> {
        let (rows, whole) = (self.rows(x.0), self.nodes[x.0].width);
        let differentiable = self.differentiable(&x);
        Ok([0..width, width..whole].map(|columns| {
            let part = self.nodes[x.0].value.chunks_exact(whole);
            let value: Vec<f32> = part.flat_map(|row| &row[columns.clone()]).copied().collect();
            let step = Step::Split { x: x.0, from: columns.start };
            self.push(value, rows, differentiable, step)
        }))
    }

    fn attend(&mut self, layer: &Attention, qkv: [Rows; 3]) -> Result<Rows> {
        let qkv = qkv.map(|rows| rows.0);
        let [q, k, v] = qkv;
        // The handles were given up, so queries and keys are turned where they lie.
        for node in [q, k] {
            let turn = |x: &mut [f32], positions: &[u32]| layer.rope.apply(x, positions);
            each_sequence(self.batch, &mut self.nodes[node].value, turn);
        }
        let part = |node: usize| &self.nodes[node].value[..];
        let (value, kept) = self.causal(part(q), part(k), part(v), layer.heads);
        let differentiable = qkv.iter().any(|&node| self.nodes[node].differentiable);
        let step = Step::Attend { qkv, layer: layer.clone(), kept };
        Ok(self.push(value, self.rows(q), differentiable, step))
    }

    fn attend_latent(&mut self, layer: &Latent, q: Rows, latent: Rows, key: Rows) -> Result<Rows> {
        let expanded = self.project(&latent, &layer.expand)?;
        let inputs = [q.0, expanded.0, key.0];
        let head = layer.heads.dim;
        let turn = |x: &mut [f32], positions: &[u32]| layer.rope.apply_to_ends(x, positions, head);
        each_sequence(self.batch, &mut self.nodes[q.0].value, turn);
        let turn = |x: &mut [f32], positions: &[u32]| layer.rope.apply(x, positions);
        each_sequence(self.batch, &mut self.nodes[key.0].value, turn);
        let part = |node: usize| &self.nodes[node].value[..];
        let made = layer.keys_and_values(part(expanded.0), part(key.0));
        let (value, kept) = self.causal(part(q.0), &made[0], &made[1], layer.heads);
        let differentiable = inputs.iter().any(|&node| self.nodes[node].differentiable);
        let step = Step::AttendLatent { inputs, layer: layer.clone(), made, kept };
        Ok(self.push(value, self.rows(q.0), differentiable, step))
    }

    fn mix(&mut self, x: &Rows, mixture: &Mixture) -> Result<Rows> {
        let (router, weights) = (&mixture.router, self.network.weights());
        let (rows, width) = (self.rows(x.0), self.nodes[x.0].width);
        let experts = mixture.experts.len();
        let mut scores = vec![0.0; rows * experts];
        // In `f32` whatever else is rounded: a near tie decides which experts run.
        let score = weights.matrix(router.weight);
        score.multiply(Into::Set(&mut scores), self.mat(x.0), Arithmetic::F32);
        let correction = router.correction.map(|correction| weights.vector(correction));
        let chosen: Vec<Vec<Chosen>> = scores
            .chunks_exact_mut(experts)
            .map(|scores| router.choose(scores, correction))
            .collect();

        let mut value = self.buffers.zeros(rows * width);
        let mut differentiable = self.differentiable(x) || self.trains_base();
        let mut parts = Vec::new();
        for (expert, sent) in Router::sent(&chosen, experts).into_iter().enumerate() {
            if sent.is_empty() {
                continue;
            }
            let tokens: Vec<usize> = sent.iter().map(|&[token, _]| token).collect();
            let input = &self.nodes[x.0].value;
            let gathered =
                tokens.iter().flat_map(|row| &input[row * width..(row + 1) * width]).copied();
            let (gathered, passed) = (gathered.collect::<Vec<f32>>(), self.differentiable(x));
            let step = Step::Gather { x: x.0, rows: tokens };
            let gathered = self.push(gathered, sent.len(), passed, step);
            let out = mixture.experts[expert].run(self, &gathered)?;
            differentiable |= self.differentiable(&out);
            let results = self.nodes[out.0].value.chunks_exact(width);
            for (&[token, place], result) in sent.iter().zip(results) {
                let weight = chosen[token][place].weight;
                axpy(&mut value[token * width..(token + 1) * width], weight, result);
            }
            parts.push(Part { node: out.0, rows: sent });
        }
        let routes = Routes { scores, chosen };
        let step = Step::Mix { x: x.0, router: *router, routes, parts };
        Ok(self.push(value, rows, differentiable, step))
    }

    fn gate(&mut self, gate: Rows, up: Rows) -> Result<Rows> {
        let mut value = self.buffers.room(self.nodes[gate.0].value.len());
        swiglu(&mut value, &self.nodes[gate.0].value, &self.nodes[up.0].value);
        let differentiable = self.differentiable(&gate) || self.differentiable(&up);
        let step = Step::Gate { gate: gate.0, up: up.0 };
        Ok(self.push(value, self.rows(gate.0), differentiable, step))
    }

    fn add(&mut self, x: Rows, y: Rows) -> Result<Rows> {
        let differentiable = self.differentiable(&x) || self.differentiable(&y);
        let rows = self.rows(x.0);
        // The gradient of a sum needs neither summand, and nobody else holds `y`.
        let mut value = std::mem::take(&mut self.nodes[y.0].value);
        add_assign(&mut value, &self.nodes[x.0].value);
        Ok(self.push(value, rows, differentiable, Step::Add { x: x.0, y: y.0 }))
    }
}
