//! Attention and its gradients, with grouped heads, across block borders.

use candle_core::{D, Tensor, Var};
use openledger_kernels::{Causal, Heads, attend_one};

use crate::{assert_close, numbers, tensor, values, var};

fn candle(q: &Var, k: &Var, v: &Var, rows: usize, heads: Heads) -> Tensor {
    let Heads { query, key_value, dim } = heads;
    let split = |x: &Var, n: usize| x.reshape((rows, n, dim)).unwrap().transpose(0, 1).unwrap();
    let spread = |x: Tensor| {
        let shape = (key_value, query / key_value, rows, dim);
        x.unsqueeze(1).unwrap().expand(shape).unwrap().reshape((query, rows, dim)).unwrap()
    };
    let q = split(q, query).contiguous().unwrap();
    let [k, v] = [k, v].map(|x| spread(split(x, key_value)).contiguous().unwrap());
    let scores = (q.matmul(&k.t().unwrap()).unwrap() / (dim as f64).sqrt()).unwrap();
    let mask: Vec<f32> = (0..rows * rows)
        .map(|at| if at % rows > at / rows { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    let scores = scores.broadcast_add(&tensor(&mask, &[rows, rows])).unwrap();
    let weights = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
    weights.matmul(&v).unwrap().transpose(0, 1).unwrap().reshape((rows, query * dim)).unwrap()
}

const SHAPES: [Heads; 3] = [
    Heads { query: 1, key_value: 1, dim: 8 },
    Heads { query: 4, key_value: 4, dim: 16 },
    Heads { query: 6, key_value: 2, dim: 5 },
];

#[test]
fn attention_and_its_gradients_equal_candles() {
    for heads in SHAPES {
        for rows in [1, 17, 64, 65, 150] {
            let (wide, narrow) =
                (rows * heads.query * heads.dim, rows * heads.key_value * heads.dim);
            let [q, dout] = [1, 2].map(|seed| numbers(wide, seed));
            let [k, v] = [3, 4].map(|seed| numbers(narrow, seed));
            let mut out = vec![0.0; wide];
            let kept = Causal::forward(&mut out, &q, &k, &v, heads);
            let (mut dq, mut dk, mut dv) = (vec![0.0; wide], vec![0.0; narrow], vec![0.0; narrow]);
            kept.backward([&mut dq, &mut dk, &mut dv], &dout, &out, [&q, &k, &v], heads);

            let vq = var(&q, &[rows, heads.query * heads.dim]);
            let [vk, vv] = [&k, &v].map(|x| var(x, &[rows, heads.key_value * heads.dim]));
            let vout = candle(&vq, &vk, &vv, rows, heads);
            let loss = (&vout * tensor(&dout, &[rows, heads.query * heads.dim]))
                .unwrap()
                .sum_all()
                .unwrap();
            let grads = loss.backward().unwrap();
            assert_close(&out, &values(&vout), 2e-6);
            assert_close(&dv, &values(grads.get(&vv).unwrap()), 1e-5);
            if rows > 1 {
                assert_close(&dq, &values(grads.get(&vq).unwrap()), 1e-5);
                assert_close(&dk, &values(grads.get(&vk).unwrap()), 1e-5);
            }
        }
    }
}

#[test]
fn one_row_over_the_cache_has_the_bits_of_the_whole_sequence() {
    for heads in SHAPES {
        let rows = 70;
        let q = numbers(rows * heads.query * heads.dim, 1);
        let [k, v] = [3, 4].map(|seed| numbers(rows * heads.key_value * heads.dim, seed));
        let mut all = vec![0.0; q.len()];
        Causal::forward(&mut all, &q, &k, &v, heads);
        let mut scores = Vec::new();
        for row in [0, 1, 31, 64, 69] {
            let width = heads.query * heads.dim;
            let seen = (row + 1) * heads.key_value * heads.dim;
            let mut one = vec![0.0; width];
            let q = &q[row * width..(row + 1) * width];
            attend_one(&mut one, q, &k[..seen], &v[..seen], heads, &mut scores);
            assert_eq!(one, all[row * width..(row + 1) * width], "row {row} of {heads:?}");
        }
    }
}
