use proptest::prelude::*;

use super::*;
use crate::gemm::tests::numbers;

fn stored(numbers: &[f32], sizes: [usize; 2]) -> [Storage; 4] {
    [Precision::F32, Precision::Bf16, Precision::F16, Precision::Nf4]
        .map(|precision| Storage::new(numbers.to_vec(), sizes, precision))
}

/// Products as [`Arithmetic`] says, written out.
fn slow(a: Mat<'_>, b: Mat<'_>, arithmetic: Arithmetic) -> Vec<f32> {
    let mut out = vec![0.0; a.rows() * b.cols()];
    let round = |x: f32| bf16::from_f32(x).to_f32();
    for (i, row) in out.chunks_exact_mut(b.cols().max(1)).enumerate() {
        for (j, sum) in row.iter_mut().enumerate() {
            for p in 0..a.cols() {
                let (x, y) = (a.get(i, p), b.get(p, j));
                *sum = match arithmetic {
                    Arithmetic::F32 => x.mul_add(y, *sum),
                    Arithmetic::Bf16 => round(x).mul_add(round(y), *sum),
                };
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_those_of_the_numbers_stored(
        rows in 1..30usize, out in 1..80usize, width in 1..700usize, seed in any::<u64>(),
    ) {
        let (w, x, dy) = (numbers(out * width, seed), numbers(rows * width, seed ^ 1), numbers(rows * out, seed ^ 2));
        for storage in stored(&w, [out, width]) {
            let read = storage.to_vec();
            let weight = Weight::new(storage, [out, width]);
            for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
                let (x, dy, w) = (Mat::new(&x, rows, width), Mat::new(&dy, rows, out), Mat::new(&read, out, width));
                let mut y = vec![0.0; rows * out];
                weight.multiply(Into::Set(&mut y), x, arithmetic);
                prop_assert_eq!(&y, &slow(x, w.t(), arithmetic), "{:?} {:?}", weight.storage(), arithmetic);
                let mut dx = vec![0.0; rows * width];
                weight.multiply_back(Into::Set(&mut dx), dy, arithmetic);
                prop_assert_eq!(&dx, &slow(dy, w, arithmetic), "{:?} {:?}", weight.storage(), arithmetic);
            }
        }
    }
}

#[test]
fn what_was_changed_is_multiplied_by() {
    let mut weight = Weight::new(stored(&[1.0, 2.0], [1, 2])[1].clone(), [1, 2]);
    let product = |weight: &Weight| {
        let mut y = [0.0];
        weight.multiply(Into::Set(&mut y), Mat::new(&[1.0, 1.0], 1, 2), Arithmetic::Bf16);
        y[0]
    };
    assert_eq!(product(&weight), 3.0);
    weight.to_mut()[0] = 5.0;
    assert_eq!(product(&weight), 7.0);
}
