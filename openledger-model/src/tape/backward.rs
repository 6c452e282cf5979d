//! The gradient of each operation, from the last to the first.

use openledger_kernels::{
    Arithmetic, Causal, Heads, Into, Mat, add_assign, awake, dot, gemm, rms_norm_backward,
    rms_norm_gain_backward, swiglu_backward,
};

use super::{
    Buffer, Directed, Gradients, Node, Part, Routes, Step, Tape, each_sequence, scale_columns,
};
use crate::{Linear, Router, Saved};

/// The gradients of the nodes reached so far.
struct Pending(Vec<Option<Buffer>>);

impl Pending {
    fn of(nodes: usize) -> Self {
        Self(std::iter::repeat_with(|| None).take(nodes).collect())
    }

    fn add(&mut self, node: usize, gradient: impl std::convert::Into<Buffer>) {
        let gradient = gradient.into();
        match &mut self.0[node] {
            Some(sum) => add_assign(sum, &gradient),
            empty => *empty = Some(gradient),
        }
    }
}

impl Tape<'_> {
    /// Adds the gradient of all losses taken to `gradients`.
    ///
    /// # Panics
    /// If `gradients` has the shape of something else than is trained.
    pub fn backward(mut self, gradients: &mut Gradients) {
        let mut pending = Pending::of(self.nodes.len());
        for loss in std::mem::take(&mut self.losses) {
            if let Some(dhead) = loss.dhead {
                let head = match self.trains_base() {
                    true => &mut gradients.of(loss.head)[0],
                    false => gradients.of_table(Saved::Head),
                };
                add_assign(head, &dhead);
            }
            if self.nodes[loss.hidden].differentiable {
                pending.add(loss.hidden, loss.dhidden);
            }
        }
        awake(|| self.walk_back(&mut pending, gradients, 0));
    }

    /// Goes back through all nodes from `first` on.
    fn walk_back(&mut self, pending: &mut Pending, gradients: &mut Gradients, first: usize) {
        for node in (first..self.nodes.len()).rev() {
            if let Some(gradient) = pending.0[node].take() {
                self.step_back(node, gradient, pending, gradients);
            }
            // Inputs come before their users, so nothing below needs this value any more.
            self.nodes[node].value = Buffer::default();
        }
    }

    /// Runs a block again and goes back through it; returns the gradient of its input, if it is
    /// wanted.
    fn block_back(
        &self,
        block: usize,
        x: usize,
        dy: Buffer,
        gradients: &mut Gradients,
    ) -> Option<Buffer> {
        let Self { network, lora, trainable, batch, .. } = *self;
        let mut again = Tape::new(network, lora, trainable, batch).with_buffers(&self.buffers);
        again.unread = network.decoder().last_linear(block);
        let Node { value, rows, differentiable, .. } = &self.nodes[x];
        let input = again.push(self.buffers.copy(value), *rows, *differentiable, Step::Input);
        let out = network
            .decoder()
            .run_block(block, &mut again, input)
            .expect("what ran once on this tape runs again");
        let mut pending = Pending::of(again.nodes.len());
        pending.add(out.0, dy);
        again.walk_back(&mut pending, gradients, 1);
        pending.0[0].take()
    }

    fn step_back(&self, node: usize, dy: Buffer, pending: &mut Pending, gradients: &mut Gradients) {
        let wanted = |node: usize| self.nodes[node].differentiable;
        let value = |node: usize| &self.nodes[node].value[..];
        match &self.nodes[node].step {
            Step::Input => {}
            Step::Block { x, block } => {
                if let Some(dx) = self.block_back(*block, *x, dy, gradients) {
                    pending.add(*x, dx);
                }
            }
            Step::Embed { table } => {
                let width = self.nodes[node].width;
                let table = match self.trains_base() {
                    true => &mut gradients.of(*table)[0],
                    false => gradients.of_table(Saved::Embedding),
                };
                for (&token, dy) in self.batch.tokens().iter().zip(dy.chunks_exact(width)) {
                    add_assign(
                        &mut table[token as usize * width..(token as usize + 1) * width],
                        dy,
                    );
                }
            }
            Step::Norm { x, gain, inverse } => {
                if self.trains_base() {
                    rms_norm_gain_backward(&mut gradients.of(*gain)[0], &dy, value(*x), inverse);
                }
                if wanted(*x) {
                    let mut dx = self.buffers.zeros(dy.len());
                    rms_norm_backward(
                        &mut dx,
                        &dy,
                        value(*x),
                        self.network.weights().vector(*gain),
                        inverse,
                    );
                    pending.add(*x, dx);
                }
            }
            Step::Project { x, linear, lowered, directed } => {
                let kept = (lowered.as_deref(), directed.as_ref());
                let dx = self.project_back(*x, linear, kept, dy, gradients);
                if let Some(dx) = dx {
                    pending.add(*x, dx);
                }
            }
            Step::Attend { qkv, layer, kept } => {
                let inputs = qkv.map(value);
                let [mut dq, mut dk, dv] =
                    self.causal_back(inputs, value(node), &dy, kept, layer.heads);
                for x in [&mut dq, &mut dk] {
                    let turn = |x: &mut [f32], positions: &[u32]| {
                        layer.rope.apply_backward(x, positions);
                    };
                    each_sequence(self.batch, x, turn);
                }
                self.pass_down(qkv, [dq, dk, dv], pending);
            }
            Step::AttendLatent { inputs, layer, made: [keys, values], kept } => {
                let qkv = [value(inputs[0]), &keys[..], &values[..]];
                let [mut dq, dk, dv] = self.causal_back(qkv, value(node), &dy, kept, layer.heads);
                let [dexpanded, mut dkey] = layer.keys_and_values_backward(&dk, &dv);
                let head = layer.heads.dim;
                each_sequence(self.batch, &mut dq, |x, positions| {
                    layer.rope.apply_to_ends_backward(x, positions, head);
                });
                each_sequence(self.batch, &mut dkey, |x, positions| {
                    layer.rope.apply_backward(x, positions);
                });
                self.pass_down(inputs, [dq, dexpanded.into(), dkey.into()], pending);
            }
            Step::Split { x, from } => {
                let (width, whole) = (self.nodes[node].width, self.nodes[*x].width);
                let mut dx = self.buffers.zeros(self.rows(*x) * whole);
                for (dx, dy) in dx.chunks_exact_mut(whole).zip(dy.chunks_exact(width)) {
                    dx[*from..from + width].copy_from_slice(dy);
                }
                self.pass_down(&[*x], [dx], pending);
            }
            Step::Gather { x, rows } => {
                let width = self.nodes[node].width;
                let mut dx = self.buffers.zeros(self.rows(*x) * width);
                for (row, dy) in rows.iter().zip(dy.chunks_exact(width)) {
                    add_assign(&mut dx[row * width..(row + 1) * width], dy);
                }
                self.pass_down(&[*x], [dx], pending);
            }
            Step::Mix { x, router, routes, parts } => {
                self.mix_back(*x, router, routes, parts, &dy, pending, gradients);
            }
            Step::Gate { gate, up } => {
                let [mut dgate, mut dup] = [(); 2].map(|()| self.buffers.room(dy.len()));
                swiglu_backward(&mut dgate, &mut dup, &dy, value(*gate), value(*up));
                self.pass_down(&[*gate, *up], [dgate, dup], pending);
            }
            Step::Add { x, y } => {
                if wanted(*y) {
                    pending.add(*y, self.buffers.copy(&dy));
                }
                if wanted(*x) {
                    pending.add(*x, dy);
                }
            }
        }
    }

    /// Hands gradients to those nodes that want one.
    fn pass_down<const N: usize>(
        &self,
        nodes: &[usize; N],
        gradients: [impl std::convert::Into<Buffer>; N],
        pending: &mut Pending,
    ) {
        for (&node, gradient) in nodes.iter().zip(gradients) {
            if self.nodes[node].differentiable {
                pending.add(node, gradient);
            }
        }
    }

    /// The gradients of attention with respect to queries, keys and values, as they were turned.
    fn causal_back(
        &self,
        [q, k, v]: [&[f32]; 3],
        out: &[f32],
        dy: &[f32],
        kept: &[Causal],
        heads: Heads,
    ) -> [Buffer; 3] {
        let [mut dq, mut dk, mut dv] = [q, k, v].map(|x| self.buffers.zeros(x.len()));
        for (rows, kept) in self.batch.sequences().iter().zip(kept) {
            let of = |width: usize| rows.start * width..rows.end * width;
            let [of_q, of_k] = [of(heads.query_width()), of(heads.key_width())];
            let [of_v, of_out] = [of(heads.value_width()), of(heads.out_width())];
            kept.backward(
                [&mut dq[of_q.clone()], &mut dk[of_k.clone()], &mut dv[of_v.clone()]],
                &dy[of_out.clone()],
                &out[of_out],
                [&q[of_q], &k[of_k], &v[of_v]],
                heads,
            );
        }
        [dq, dk, dv]
    }

    /// Adds the gradients of experts' results and of what the router said of them.
    #[expect(clippy::too_many_arguments, reason = "the fields of one step, and where sums go")]
    fn mix_back(
        &self,
        x: usize,
        router: &Router,
        routes: &Routes,
        parts: &[Part],
        dy: &[f32],
        pending: &mut Pending,
        gradients: &mut Gradients,
    ) {
        let width = self.nodes[x].width;
        let mut dweights: Vec<Vec<f32>> =
            routes.chosen.iter().map(|chosen| vec![0.0; chosen.len()]).collect();
        for part in parts {
            let results = self.nodes[part.node].value.chunks_exact(width);
            let mut dresults = Vec::with_capacity(part.rows.len() * width);
            for (&[token, place], result) in part.rows.iter().zip(results) {
                let dy = &dy[token * width..(token + 1) * width];
                dweights[token][place] = dot(dy, result);
                let weight = routes.chosen[token][place].weight;
                dresults.extend(dy.iter().map(|dy| weight * dy));
            }
            self.pass_down(&[part.node], [dresults], pending);
        }
        if !self.trains_base() && !self.nodes[x].differentiable {
            return;
        }
        let experts = self.network.weights().shape(router.weight)[0];
        let dproducts: Vec<f32> = routes
            .scores
            .chunks_exact(experts)
            .zip(&routes.chosen)
            .zip(&dweights)
            .flat_map(|((scores, chosen), dweights)| router.backward(scores, chosen, dweights))
            .collect();
        let dproducts = Mat::new(&dproducts, self.rows(x), experts);
        if self.trains_base() {
            gemm(Into::Add(&mut gradients.of(router.weight)[0]), dproducts.t(), self.mat(x));
        }
        if self.nodes[x].differentiable {
            let mut dx = self.buffers.room(self.rows(x) * width);
            let weight = self.network.weights().matrix(router.weight);
            weight.multiply_back(Into::Set(&mut dx), dproducts, Arithmetic::F32);
            pending.add(x, dx);
        }
    }

    /// Adds a linear layer's gradients; returns that of its input, if it is wanted.
    fn project_back(
        &self,
        x: usize,
        linear: &Linear,
        (lowered, directed): (Option<&[f32]>, Option<&Directed>),
        mut dy: Buffer,
        gradients: &mut Gradients,
    ) -> Option<Buffer> {
        let tokens = self.rows(x);
        let [out, width] = [dy.len() / tokens, self.nodes[x].width];
        if let (true, Some(bias)) = (self.trains_base(), linear.bias) {
            let ones = vec![1.0; tokens];
            let sum = Mat::new(&ones, 1, tokens);
            gemm(Into::Add(&mut gradients.of(bias)[0]), sum, Mat::new(&dy, tokens, out));
        }
        if let Some(Directed { direction, product }) = directed {
            if self.trains_lora()
                && let [.., dmagnitude] = gradients.of(linear.weight)
            {
                for (dy, product) in dy.chunks_exact(out).zip(product.chunks_exact(out)) {
                    let terms = dy.iter().zip(product).zip(&direction.inverse);
                    for (sum, ((dy, product), inverse)) in dmagnitude.iter_mut().zip(terms) {
                        *sum += dy * product * inverse;
                    }
                }
            }
            scale_columns(&mut dy, &direction.factors);
        }
        let dy = Mat::new(&dy, tokens, out);
        if self.trains_base() {
            gemm(Into::Add(&mut gradients.of(linear.weight)[0]), dy.t(), self.mat(x));
        }
        let mut dx = self.nodes[x].differentiable.then(|| {
            let mut dx = self.buffers.room(tokens * width);
            self.network.weights().multiply_back(linear.weight, Into::Set(&mut dx), dy);
            dx
        });
        if let (Some(lowered), Some(pair)) = (lowered, self.lora.and_then(|l| l.at(linear.weight)))
        {
            let rank = pair.rank;
            let mut dlowered = self.buffers.room(tokens * rank);
            gemm(Into::Set(&mut dlowered), dy, Mat::new(&pair.b, out, rank));
            dlowered.iter_mut().for_each(|d| *d *= pair.scale);
            let dlowered = Mat::new(&dlowered, tokens, rank);
            if self.trains_lora()
                && let [da, db, ..] = gradients.of(linear.weight)
            {
                gemm(Into::Add(da), dlowered.t(), self.mat(x));
                gemm(Into::Add(db), dy.t(), Mat::new(lowered, tokens, rank));
            }
            if let Some(dx) = &mut dx {
                gemm(Into::Add(dx), dlowered, Mat::new(&pair.a, rank, width));
            }
        }
        dx
    }
}
