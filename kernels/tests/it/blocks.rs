//! Norm, rotary embedding, activation and loss.

use candle_core::D;
use openledger_kernels::{
    Pairs, Rope, cross_entropy, rms_norm, rms_norm_backward, rms_norm_gain_backward, swiglu,
    swiglu_backward,
};

use crate::{assert_close, numbers, tensor, values, var};

#[test]
fn rms_norm_and_its_gradients_equal_candles() {
    for (rows, width) in [(1, 7), (5, 64), (9, 172)] {
        let [x, gain, dy] =
            [(rows * width, 1), (width, 2), (rows * width, 3)].map(|(n, s)| numbers(n, s));
        let mut y = vec![0.0; x.len()];
        let inverse = rms_norm(&mut y, &x, &gain, 1e-5);
        let mut dx = vec![0.0; x.len()];
        rms_norm_backward(&mut dx, &dy, &x, &gain, &inverse);
        let mut dgain = vec![0.0; width];
        rms_norm_gain_backward(&mut dgain, &dy, &x, &inverse);

        let (vx, vgain) = (var(&x, &[rows, width]), var(&gain, &[width]));
        let mean = vx.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
        let normed = vx.broadcast_div(&(mean + 1e-5).unwrap().sqrt().unwrap()).unwrap();
        let vy = normed.broadcast_mul(&vgain).unwrap();
        let loss = (&vy * tensor(&dy, &[rows, width])).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        assert_close(&y, &values(&vy), 1e-6);
        assert_close(&dx, &values(grads.get(&vx).unwrap()), 1e-5);
        assert_close(&dgain, &values(grads.get(&vgain).unwrap()), 1e-5);
    }
}

#[test]
fn swiglu_and_its_gradients_equal_candles() {
    let len = 40_001;
    let [gate, up, dy] = [1, 2, 3].map(|seed| numbers(len, seed));
    let gate: Vec<f32> = gate.iter().map(|g| g * 12.0).collect();
    let mut y = vec![0.0; len];
    swiglu(&mut y, &gate, &up);
    let (mut dgate, mut dup) = (vec![0.0; len], vec![0.0; len]);
    swiglu_backward(&mut dgate, &mut dup, &dy, &gate, &up);

    let (vgate, vup) = (var(&gate, &[len]), var(&up, &[len]));
    let vy = (vgate.silu().unwrap() * vup.as_tensor()).unwrap();
    let grads = (&vy * tensor(&dy, &[len])).unwrap().sum_all().unwrap().backward().unwrap();
    assert_close(&y, &values(&vy), 1e-6);
    assert_close(&dgate, &values(grads.get(&vgate).unwrap()), 1e-6);
    assert_close(&dup, &values(grads.get(&vup).unwrap()), 1e-6);
}

#[test]
fn cross_entropy_and_its_gradient_equal_candles() {
    let (rows, vocabulary) = (6, 131);
    let logits: Vec<f32> = numbers(rows * vocabulary, 4).iter().map(|x| x * 20.0).collect();
    let labels = [Some(0u32), Some(130), Some(7), Some(8), Some(64), Some(2)];
    let mut gradient = logits.clone();
    let loss = cross_entropy(&mut gradient, &labels, 1.0 / 6.0);

    let vlogits = var(&logits, &[rows, vocabulary]);
    let targets: Vec<u32> = labels.iter().map(|label| label.unwrap()).collect();
    let targets = candle_core::Tensor::new(targets, &candle_core::Device::Cpu).unwrap();
    let vloss = candle_nn::loss::cross_entropy(&vlogits, &targets).unwrap();
    let grads = vloss.backward().unwrap();
    assert_eq!(loss.labels, 6);
    assert_close(&[(loss.sum / 6.0) as f32], &[vloss.to_scalar().unwrap()], 1e-6);
    assert_close(&gradient, &values(grads.get(&vlogits).unwrap()), 1e-6);
}

#[test]
fn rows_without_a_label_add_nothing() {
    let logits = numbers(30, 5);
    let (mut all, mut some) = (logits.clone(), logits.clone());
    let one = cross_entropy(&mut all[10..20], &[Some(3)], 0.5);
    let labelled = cross_entropy(&mut some, &[None, Some(3), None], 0.5);
    assert_eq!(labelled, one);
    assert_eq!(some[10..20], all[10..20]);
    assert!(some[..10].iter().chain(&some[20..]).all(|&gradient| gradient == 0.0));
}

#[test]
fn rotary_embedding_equals_candles_and_turns_back() {
    let (rows, heads, dim) = (11, 3, 16);
    let frequencies: Vec<f32> =
        (0..dim / 2).map(|i| 10_000f32.powf(-(2.0 * i as f32) / dim as f32)).collect();
    let rope = Rope::new(frequencies.clone());
    let positions: Vec<u32> = (0..rows as u32).map(|row| row + 20).collect();
    let x = numbers(rows * heads * dim, 6);
    let mut turned = x.clone();
    rope.apply(&mut turned, &positions);

    let angles = positions.iter().flat_map(|p| frequencies.iter().map(move |f| *p as f32 * f));
    let angles = tensor(&angles.collect::<Vec<_>>(), &[rows, dim / 2]);
    let by_head = tensor(&x, &[1, rows, heads, dim]).transpose(1, 2).unwrap().contiguous().unwrap();
    let theirs =
        candle_nn::rotary_emb::rope_slow(&by_head, &angles.cos().unwrap(), &angles.sin().unwrap());
    assert_close(&turned, &values(&theirs.unwrap().transpose(1, 2).unwrap()), 1e-6);

    rope.apply_backward(&mut turned, &positions);
    assert_close(&turned, &x, 1e-6);
}

#[test]
fn neighbours_at_the_ends_of_heads_turn_as_halves_do() {
    let (rows, dim, head) = (9, 8, 14);
    let frequencies: Vec<f32> = (0..dim / 2).map(|i| 1.0 / (1.0 + i as f32)).collect();
    let positions: Vec<u32> = (3..3 + rows as u32).collect();
    let x = numbers(rows * 2 * head, 7);
    // The same elements, those of a pair half a head apart.
    let halves: Vec<f32> = x
        .chunks_exact(head)
        .flat_map(|head| [0, 1].map(|side| head[6 + side..].iter().step_by(2)))
        .flatten()
        .copied()
        .collect();
    let mut expected = halves.clone();
    Rope::new(frequencies.clone()).with_scale(1.5).apply(&mut expected, &positions);

    let rope = Rope::new(frequencies).with_scale(1.5).with_pairs(Pairs::Neighbours);
    let mut turned = x.clone();
    rope.apply_to_ends(&mut turned, &positions, head);
    for (index, (turned, x)) in turned.chunks_exact(head).zip(x.chunks_exact(head)).enumerate() {
        assert_eq!(turned[..6], x[..6], "the beginning stays");
        let expected = &expected[index * dim..(index + 1) * dim];
        let ours = [0, 1].map(|side| turned[6 + side..].iter().step_by(2)).into_iter().flatten();
        assert_eq!(ours.copied().collect::<Vec<_>>(), expected);
    }
    rope.apply_to_ends_backward(&mut turned, &positions, head);
    let twice_scaled = x.iter().enumerate().map(|(i, x)| if i % head < 6 { *x } else { x * 2.25 });
    assert_close(&turned, &twice_scaled.collect::<Vec<_>>(), 1e-6);
}

#[test]
fn a_longer_sequence_turns_more_slowly_under_dynamic_scaling() {
    let frequencies = |theta: f64| -> Vec<f32> {
        (0..4).map(|i| (1.0 / theta.powf(f64::from(2 * i) / 8.0)) as f32).collect()
    };
    let dynamic = Rope::new(frequencies(100.0)).with_stretch(100.0, 4.0, 6);
    for length in [1, 6, 7, 40, 7, 6] {
        let positions: Vec<u32> = (0..length).collect();
        let mut ours = numbers(length as usize * 16, 8);
        let mut theirs = ours.clone();
        dynamic.apply(&mut ours, &positions);
        let longer = (4.0 * f64::from(length.max(6)) / 6.0 - 3.0).powf(8.0 / 6.0);
        Rope::new(frequencies(100.0 * longer)).apply(&mut theirs, &positions);
        assert_close(&ours, &theirs, 1e-5);
    }
}
