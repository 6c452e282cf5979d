//! Attention and its gradients, with grouped heads, across block borders.

use candle_core::{D, Tensor, Var};
use openledger_kernels::{
    Causal, Heads, NewRows, PAGE, PageLayout, Paged, attend_pages, write_pages,
};

use crate::{assert_close, numbers, tensor, values, var};

fn candle(q: &Var, k: &Var, v: &Var, rows: usize, heads: Heads) -> Tensor {
    let Heads { query, key_value, dim, value_dim, window, .. } = heads;
    let split = |x: &Var, n: usize, dim: usize| {
        x.reshape((rows, n, dim)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
    };
    let spread = |x: &Var, dim: usize| {
        let shape = (key_value, query / key_value, rows, dim);
        let x = split(x, key_value, dim).unsqueeze(1).unwrap().expand(shape).unwrap();
        x.reshape((query, rows, dim)).unwrap().contiguous().unwrap()
    };
    let (q, k, v) = (split(q, query, dim), spread(k, dim), spread(v, value_dim));
    let scores = (q.matmul(&k.t().unwrap()).unwrap() * f64::from(heads.scale)).unwrap();
    let hidden = |row: usize, key: usize| key > row || row - key >= window.unwrap_or(rows);
    let mask: Vec<f32> = (0..rows * rows)
        .map(|at| if hidden(at / rows, at % rows) { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    let scores = scores.broadcast_add(&tensor(&mask, &[rows, rows])).unwrap();
    let weights = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
    let out = weights.matmul(&v).unwrap().transpose(0, 1).unwrap();
    out.reshape((rows, query * value_dim)).unwrap()
}

fn shapes() -> [Heads; 6] {
    let grouped = Heads::new(6, 2, 5);
    [
        Heads::new(1, 1, 8),
        Heads::new(4, 4, 16),
        grouped,
        grouped.with_window(Some(1)),
        grouped.with_window(Some(40)),
        grouped.with_value_dim(3).with_scale(0.7).with_window(Some(100)),
    ]
}

#[test]
fn attention_and_its_gradients_equal_candles() {
    for heads in shapes() {
        for rows in [1, 17, 64, 65, 150] {
            let widths = [heads.query_width(), heads.key_width(), heads.value_width()];
            let [q, k, v] = [0, 1, 2].map(|i| numbers(rows * widths[i], 1 + i as u64));
            let dout = numbers(rows * heads.out_width(), 4);
            let mut out = vec![0.0; dout.len()];
            let kept = Causal::forward(&mut out, &q, &k, &v, heads);
            let [mut dq, mut dk, mut dv] = widths.map(|width| vec![0.0; rows * width]);
            kept.backward([&mut dq, &mut dk, &mut dv], &dout, &out, [&q, &k, &v], heads);

            let [vq, vk, vv] = [(&q, 0), (&k, 1), (&v, 2)].map(|(x, i)| var(x, &[rows, widths[i]]));
            let vout = candle(&vq, &vk, &vv, rows, heads);
            let dout = tensor(&dout, &[rows, heads.out_width()]);
            let grads = (&vout * dout).unwrap().sum_all().unwrap().backward().unwrap();
            assert_close(&out, &values(&vout), 2e-6);
            assert_close(&dv, &values(grads.get(&vv).unwrap()), 1e-5);
            // One row that sees one key has the weight 1 whatever its score is.
            if rows > 1 && heads.window != Some(1) {
                assert_close(&dq, &values(grads.get(&vq).unwrap()), 1e-5);
                assert_close(&dk, &values(grads.get(&vk).unwrap()), 1e-5);
            }
        }
    }
}

/// Pages of a layer, in which what was never written is no number.
fn pages(k: &[f32], v: &[f32], heads: Heads, layout: PageLayout) -> Vec<Vec<f32>> {
    let rows = k.chunks_exact(heads.key_width()).zip(v.chunks_exact(heads.value_width()));
    let mut pages = Vec::new();
    for (row, (key, value)) in rows.enumerate() {
        if row % PAGE == 0 {
            pages.push(vec![f32::NAN; layout.len()]);
        }
        layout.write(&mut pages[row / PAGE], row % PAGE, key, value);
    }
    pages
}

#[test]
fn rows_written_together_lie_as_rows_written_one_by_one() {
    let heads = Heads::new(6, 3, 40).with_value_dim(12);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for layout in [PageLayout::new(&heads), PageLayout::new(&heads).in_eight_bits()] {
        let rows = 53;
        let [k, v] = [(heads.key_width(), 1), (heads.value_width(), 2)]
            .map(|(width, seed)| numbers(rows * width, seed));
        let expected = pages(&k, &v, heads, layout);
        // Rows 0..5 and 5..16 of the first page, and the rest at once.
        let mut written = vec![vec![f32::NAN; layout.len()]; expected.len()];
        for (first, last) in [(0, 5), (5, 16), (16, 53)] {
            let mut new = Vec::new();
            for (index, page) in written.iter_mut().enumerate() {
                let (from, to) = (first.max(index * PAGE), last.min((index + 1) * PAGE));
                if from < to {
                    let keys = &k[from * heads.key_width()..to * heads.key_width()];
                    let values = &v[from * heads.value_width()..to * heads.value_width()];
                    new.push(NewRows { page, slot: from % PAGE, keys, values });
                }
            }
            pool.install(|| write_pages(new, layout));
        }
        let bits = |pages: &[Vec<f32>]| -> Vec<u32> {
            pages.iter().flatten().map(|x| x.to_bits()).collect()
        };
        assert_eq!(bits(&written), bits(&expected), "{layout:?}");
    }
}

#[test]
fn pages_give_the_bits_of_rows_that_lie_together() {
    let long = Heads::new(4, 2, 48).with_value_dim(40);
    for heads in shapes().into_iter().chain([long]) {
        for rows in [1, 15, 16, 17, 130] {
            let widths = [heads.query_width(), heads.key_width(), heads.value_width()];
            let [q, k, v] = [0, 1, 2].map(|i| numbers(rows * widths[i], 11 + i as u64));
            let mut expected = vec![0.0; rows * heads.out_width()];
            Causal::forward(&mut expected, &q, &k, &v, heads);
            for new in [1, 2, 13, 50, 130] {
                let new = rows.min(new);
                let pages = pages(&k, &v, heads, PageLayout::new(&heads));
                let pages: Vec<&[f32]> = pages.iter().map(Vec::as_slice).collect();
                let q = &q[(rows - new) * heads.query_width()..];
                let sequence = Paged { q, pages, seen: rows };
                let mut out = vec![0.0; new * heads.out_width()];
                attend_pages(&mut out, &[sequence], heads, PageLayout::new(&heads));
                let expected = &expected[(rows - new) * heads.out_width()..];
                assert_eq!(out, expected, "{heads:?}: {new} of {rows}");
            }
        }
    }
}

#[test]
fn sequences_beside_each_other_give_what_each_gives_alone() {
    let heads = Heads::new(4, 2, 48).with_value_dim(40);
    let layout = PageLayout::new(&heads);
    let widths = [heads.query_width(), heads.key_width(), heads.value_width()];
    let memory: Vec<(Vec<f32>, Vec<Vec<f32>>, usize)> = [(1, 40), (90, 200), (1, 1), (20, 300)]
        .into_iter()
        .map(|(new, seen): (usize, usize)| {
            let seed = seen as u64;
            let [q, k, v] = [new * widths[0], seen * widths[1], seen * widths[2]]
                .map(|len| numbers(len, seed + len as u64));
            (q, pages(&k, &v, heads, layout), seen)
        })
        .collect();
    let sequences: Vec<Paged<'_>> = memory
        .iter()
        .map(|(q, pages, seen)| Paged {
            q,
            pages: pages.iter().map(Vec::as_slice).collect(),
            seen: *seen,
        })
        .collect();
    let rows: usize = sequences.iter().map(|s| s.q.len() / widths[0]).sum();
    let alone: Vec<f32> = sequences
        .iter()
        .flat_map(|sequence| {
            let mut out = vec![0.0; sequence.q.len() / widths[0] * heads.out_width()];
            attend_pages(&mut out, std::slice::from_ref(sequence), heads, layout);
            out
        })
        .collect();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = vec![0.0; rows * heads.out_width()];
        pool.install(|| attend_pages(&mut out, &sequences, heads, layout));
        assert_eq!(out, alone, "on {threads} threads");
    }
}

/// Rounds each head's part of a row as pages in eight bits do.
fn rounded(rows: &[f32], dim: usize) -> Vec<f32> {
    let round = |part: &[f32]| -> Vec<f32> {
        let scale = part.iter().fold(0f32, |most, x| most.max(x.abs())) / 127.0;
        let code = |x: &f32| (x / scale).round_ties_even() as i8;
        part.iter().map(|x| if scale > 0.0 { f32::from(code(x)) * scale } else { 0.0 }).collect()
    };
    rows.chunks_exact(dim).flat_map(round).collect()
}

#[test]
fn pages_in_eight_bits_give_the_bits_of_rounded_rows() {
    for heads in shapes() {
        let layout = PageLayout::new(&heads).in_eight_bits();
        for (new, rows) in [(1, 1), (1, 37), (20, 37), (37, 37)] {
            let widths = [heads.query_width(), heads.key_width(), heads.value_width()];
            let [q, mut k, v] = [0, 1, 2].map(|i| numbers(rows * widths[i], 21 + i as u64));
            k[..heads.dim].fill(0.0);
            let mut expected = vec![0.0; rows * heads.out_width()];
            let (round_k, round_v) = (rounded(&k, heads.dim), rounded(&v, heads.value_dim));
            Causal::forward(&mut expected, &q, &round_k, &round_v, heads);
            let pages = pages(&k, &v, heads, layout);
            let pages: Vec<&[f32]> = pages.iter().map(Vec::as_slice).collect();
            let q = &q[(rows - new) * heads.query_width()..];
            let mut out = vec![0.0; new * heads.out_width()];
            attend_pages(&mut out, &[Paged { q, pages, seen: rows }], heads, layout);
            let expected = &expected[(rows - new) * heads.out_width()..];
            assert_eq!(out, expected, "{heads:?}: {new} of {rows}");
        }
    }
}

#[test]
fn pages_in_eight_bits_keep_what_is_no_number() {
    let heads = Heads::new(1, 1, 8);
    let layout = PageLayout::new(&heads).in_eight_bits();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut k = numbers(16, 3);
        let v = numbers(16, 4);
        k[3] = bad;
        let pages = pages(&k, &v, heads, layout);
        let pages: Vec<&[f32]> = pages.iter().map(Vec::as_slice).collect();
        let mut out = [0.0; 8];
        attend_pages(&mut out, &[Paged { q: &v[..8], pages, seen: 2 }], heads, layout);
        assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
    }
}
