use proptest::prelude::*;

use super::*;
use crate::gemm::tests::numbers;

/// What the module says, written out in integers and `f32`.
fn slow(weight: &Quantised, x: &[f32], start: Vec<f32>) -> Vec<f32> {
    let (out, width) = (weight.out, weight.width);
    let mut w = vec![0.0; out * width];
    weight.read(0, &mut w);
    let mut y = start;
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(out)) {
        for (row, y) in w.chunks_exact(width).zip(y) {
            let lane = (row.as_ptr() as usize - w.as_ptr() as usize) / (4 * width);
            for (block, (x, w)) in x.chunks(BLOCK).zip(row.chunks(BLOCK)).enumerate() {
                let largest = x.iter().fold(0f32, |most, x| most.max(x.abs()));
                let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
                let at = (lane / LANES * width.div_ceil(BLOCK) + block) * LANES + lane % LANES;
                let scale = f16::from_bits(weight.scales[at]).to_f32();
                let code = |w: f32| if scale == 0.0 { 0 } else { (w / scale).round() as i64 };
                let round = |x: f32| (x * inverse).round_ties_even() as i64;
                let sum: i64 = x.iter().zip(w).map(|(x, w)| round(*x) * code(*w)).sum();
                *y = (sum as f32).mul_add(scale * (largest / 127.0), *y);
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_specification(
        rows in 1..20usize, out in 1..70usize, width in 1..200usize, add in any::<bool>(), seed in any::<u64>(),
    ) {
        let (w, x) = (numbers(out * width, seed), numbers(rows * width, seed ^ 1));
        let before = if add { numbers(rows * out, seed ^ 2) } else { vec![0.0; rows * out] };
        for bits in [Bits::Eight, Bits::Four] {
            let weight = Quantised::new(&w, [out, width], bits);
            let expected = slow(&weight, &x, before.clone());
            for isa in Isa::available() {
                let mut y = before.clone();
                let into = if add { Into::Add(&mut y) } else { Into::Set(&mut y) };
                weight.multiply_on(isa, into, Mat::new(&x, rows, width));
                prop_assert_eq!(&y, &expected, "{:?} {:?} {}x{}x{}", isa, bits, rows, out, width);
            }
        }
    }

    #[test]
    fn blocks_of_a_file_keep_their_codes_and_scales(
        out in 1..40usize, blocks in 1..4usize, rows in 1..4usize,
        bytes in proptest::collection::vec(any::<u8>(), 40 * 4 * 34), seed in any::<u64>(),
    ) {
        let width = blocks * BLOCK;
        for (bits, size) in [(Bits::Eight, 34), (Bits::Four, 18)] {
            let mut file = bytes[..out * blocks * size].to_vec();
            let mut expected = Vec::new();
            for (n, block) in file.chunks_exact_mut(size).enumerate() {
                let scale = f16::from_f32(0.01 * (1 + n % 7) as f32);
                block[..2].copy_from_slice(&scale.to_le_bytes());
                let four = |code: u8| f32::from(code) - 8.0;
                let codes: Vec<f32> = match bits {
                    Bits::Eight => block[2..].iter().map(|&code| f32::from(code as i8)).collect(),
                    Bits::Four => {
                        let low = block[2..].iter().map(|code| four(code % 16));
                        low.chain(block[2..].iter().map(|code| four(code / 16))).collect()
                    }
                };
                expected.extend(codes.iter().map(|code| code * scale.to_f32()));
            }
            let weight = Quantised::from_blocks(&file, [out, width], bits);
            let mut read = vec![0.0; out * width];
            weight.read(0, &mut read);
            prop_assert_eq!(&read, &expected);
            let x = numbers(rows * width, seed);
            let expected = slow(&weight, &x, vec![0.0; rows * out]);
            for isa in Isa::available() {
                let mut y = vec![0.0; rows * out];
                weight.multiply_on(isa, Into::Set(&mut y), Mat::new(&x, rows, width));
                prop_assert_eq!(&y, &expected, "{:?} {:?}", isa, bits);
            }
        }
    }

    #[test]
    fn elements_are_rounded_by_half_a_step_at_most(
        out in 1..40usize, width in 1..100usize, size in 1e-3..1e3f32, seed in any::<u64>(),
    ) {
        let w: Vec<f32> = numbers(out * width, seed).iter().map(|x| x * size).collect();
        for (bits, steps) in [(Bits::Eight, 127.0), (Bits::Four, 8.0)] {
            let mut read = vec![0.0; w.len()];
            Quantised::new(&w, [out, width], bits).read(0, &mut read);
            for (w, read) in w.chunks(width).zip(read.chunks(width)) {
                for (w, read) in w.chunks(BLOCK).zip(read.chunks(BLOCK)) {
                    let largest = w.iter().fold(0f32, |most, x| most.max(x.abs()));
                    // Of four bits the largest has eight steps on its own side and seven on the other.
                    let bound = largest / steps * if bits == Bits::Four { 1.01 } else { 0.5 } + largest * 6e-4;
                    for (w, read) in w.iter().zip(read) {
                        prop_assert!((w - read).abs() <= bound, "{w} became {read}, largest {largest}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let weight = Quantised::new(&[1.0; 64], [2, 32], Bits::Eight);
    for wrong in [f32::NAN, f32::INFINITY] {
        let mut x = [1.0; 32];
        x[7] = wrong;
        let mut y = [0.0; 2];
        weight.multiply(Into::Set(&mut y), Mat::new(&x, 1, 32));
        assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (rows, out, width) = (20, 1600, 96);
    let (w, x) = (numbers(out * width, 1), numbers(rows * width, 2));
    let weight = Quantised::new(&w, [out, width], Bits::Four);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut y = vec![0.0; rows * out];
        pool.install(|| weight.multiply(Into::Set(&mut y), Mat::new(&x, rows, width)));
        y
    };
    assert_eq!(run(1), run(3));
}
