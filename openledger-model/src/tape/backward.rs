//! The gradient of each operation, from the last to the first.

use openledger_kernels::{
    Into, Mat, add_assign, gemm, rms_norm_backward, rms_norm_gain_backward, swiglu_backward,
};

use super::{Gradients, Step, Tape, Trainable};
use crate::Linear;

/// The gradients of the nodes reached so far.
struct Pending(Vec<Option<Vec<f32>>>);

impl Pending {
    fn add(&mut self, node: usize, gradient: Vec<f32>) {
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
        let mut pending = Pending(vec![None; self.nodes.len()]);
        for loss in std::mem::take(&mut self.losses) {
            if let Some(dhead) = loss.dhead {
                add_assign(&mut gradients.of(loss.head)[0], &dhead);
            }
            if self.nodes[loss.hidden].differentiable {
                pending.add(loss.hidden, loss.dhidden);
            }
        }
        for node in (0..self.nodes.len()).rev() {
            if let Some(gradient) = pending.0[node].take() {
                self.step_back(node, gradient, &mut pending, gradients);
            }
            // Inputs come before their users, so nothing below needs this value any more.
            self.nodes[node].value = Vec::new();
        }
    }

    fn step_back(
        &self,
        node: usize,
        dy: Vec<f32>,
        pending: &mut Pending,
        gradients: &mut Gradients,
    ) {
        let wanted = |node: usize| self.nodes[node].differentiable;
        let value = |node: usize| &self.nodes[node].value[..];
        match &self.nodes[node].step {
            Step::Embed { table } => {
                let width = self.nodes[node].width;
                let table = &mut gradients.of(*table)[0];
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
                    let mut dx = vec![0.0; dy.len()];
                    rms_norm_backward(
                        &mut dx,
                        &dy,
                        value(*x),
                        self.network.weights().data(*gain),
                        inverse,
                    );
                    pending.add(*x, dx);
                }
            }
            Step::Project { x, linear, lowered } => {
                let dx = self.project_back(*x, linear, lowered.as_deref(), &dy, gradients);
                if let Some(dx) = dx {
                    pending.add(*x, dx);
                }
            }
            Step::Attend { qkv, layer, kept } => {
                let [q, k, v] = *qkv;
                let [mut dq, mut dk, mut dv] = qkv.map(|node| vec![0.0; value(node).len()]);
                let [wide, narrow] = [self.nodes[q].width, self.nodes[k].width];
                for (rows, kept) in self.batch.sequences().iter().zip(kept) {
                    let (w, n) = (
                        rows.start * wide..rows.end * wide,
                        rows.start * narrow..rows.end * narrow,
                    );
                    kept.backward(
                        [&mut dq[w.clone()], &mut dk[n.clone()], &mut dv[n.clone()]],
                        &dy[w.clone()],
                        &value(node)[w.clone()],
                        [&value(q)[w], &value(k)[n.clone()], &value(v)[n]],
                        layer.heads,
                    );
                }
                layer.rope.apply_backward(&mut dq, self.batch.positions());
                layer.rope.apply_backward(&mut dk, self.batch.positions());
                for (node, gradient) in [(q, dq), (k, dk), (v, dv)] {
                    if wanted(node) {
                        pending.add(node, gradient);
                    }
                }
            }
            Step::Gate { gate, up } => {
                let (mut dgate, mut dup) = (vec![0.0; dy.len()], vec![0.0; dy.len()]);
                swiglu_backward(&mut dgate, &mut dup, &dy, value(*gate), value(*up));
                for (node, gradient) in [(*gate, dgate), (*up, dup)] {
                    if wanted(node) {
                        pending.add(node, gradient);
                    }
                }
            }
            Step::Add { x, y } => {
                if wanted(*y) {
                    pending.add(*y, dy.clone());
                }
                if wanted(*x) {
                    pending.add(*x, dy);
                }
            }
        }
    }

    /// Adds a linear layer's gradients; returns that of its input, if it is wanted.
    fn project_back(
        &self,
        x: usize,
        linear: &Linear,
        lowered: Option<&[f32]>,
        dy: &[f32],
        gradients: &mut Gradients,
    ) -> Option<Vec<f32>> {
        let tokens = self.batch.tokens().len();
        let [out, width] = [dy.len() / tokens, self.nodes[x].width];
        let dy = Mat::new(dy, tokens, out);
        let weight = Mat::new(self.network.weights().data(linear.weight), out, width);
        if self.trains_base() {
            gemm(Into::Add(&mut gradients.of(linear.weight)[0]), dy.t(), self.mat(x));
            if let Some(bias) = linear.bias {
                let ones = vec![1.0; tokens];
                let sum = Mat::new(&ones, 1, tokens);
                gemm(Into::Add(&mut gradients.of(bias)[0]), sum, dy);
            }
        }
        let mut dx = self.nodes[x].differentiable.then(|| {
            let mut dx = vec![0.0; tokens * width];
            gemm(Into::Set(&mut dx), dy, weight);
            dx
        });
        if let (Some(lowered), Some(pair)) = (lowered, self.lora.and_then(|l| l.at(linear.weight)))
        {
            let rank = pair.rank;
            let mut dlowered = vec![0.0; tokens * rank];
            gemm(Into::Set(&mut dlowered), dy, Mat::new(&pair.b, out, rank));
            dlowered.iter_mut().for_each(|d| *d *= pair.scale);
            let dlowered = Mat::new(&dlowered, tokens, rank);
            if self.trainable == Trainable::Lora
                && let [da, db] = gradients.of(linear.weight)
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
