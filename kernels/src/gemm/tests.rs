use proptest::prelude::*;

use super::*;

/// Reproducible numbers of mixed sign and size.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// The specification, written out.
fn slow(mut c: Vec<f32>, a: Mat<'_>, b: Mat<'_>) -> Vec<f32> {
    for i in 0..a.rows {
        for j in 0..b.cols {
            for p in 0..a.cols {
                let sum = &mut c[i * b.cols + j];
                *sum = a.data[a.at(i, p)].mul_add(b.data[b.at(p, j)], *sum);
            }
        }
    }
    c
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_specification(
        m in 1..40usize, n in 1..80usize, k in prop_oneof![9 => 1..600usize, 1 => Just(0)],
        a_by_columns in any::<bool>(), b_by_columns in any::<bool>(), add in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (a, b) = (numbers(m * k, seed), numbers(k * n, seed ^ 1));
        let a = if a_by_columns { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
        let b = if b_by_columns { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
        let before = numbers(m * n, seed ^ 2);
        let start = if add { before.clone() } else { vec![0.0; m * n] };
        let expected = slow(start, a, b);
        for isa in Isa::available() {
            let mut c = before.clone();
            let out = if add { Into::Add(&mut c) } else { Into::Set(&mut c) };
            gemm_on::<f32>(isa, out, a, b.into(), n);
            prop_assert_eq!(bits(&c), bits(&expected), "{:?} {}x{}x{}", isa, m, n, k);
        }
        let mut c = before.clone();
        let out = if add { Into::Add(&mut c) } else { Into::Set(&mut c) };
        gemm_packed(out, a, &Packed::new(b));
        prop_assert_eq!(bits(&c), bits(&expected), "packed {}x{}x{}", m, n, k);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pairs_give_the_bits_of_numbers_rounded_before(
        m in 1..40usize, n in 1..80usize, k in 1..1200usize, add in any::<bool>(), seed in any::<u64>(),
    ) {
        let round = |x: Vec<f32>| -> Vec<f32> {
            x.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect()
        };
        let (exact, b) = (numbers(m * k, seed), numbers(k * n, seed ^ 1));
        let a = round(exact.clone());
        let rounded = round(b.clone());
        let before = if add { numbers(m * n, seed ^ 2) } else { vec![0.0; m * n] };
        let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, n, k).t());
        let expected = slow(before.clone(), a, Mat::new(&rounded, n, k).t());
        fn out(c: &mut [f32], add: bool) -> Into<'_> {
            if add { Into::Add(c) } else { Into::Set(c) }
        }
        for isa in Isa::available().into_iter().filter(|isa| isa.dots_pairs()) {
            let mut c = before.clone();
            gemm_on::<Pair>(isa, out(&mut c, add), Mat::new(&exact, m, k), b.into(), n);
            prop_assert_eq!(&c, &expected, "{:?} {}x{}x{}", isa, m, n, k);
        }
        let mut c = before.clone();
        gemm_packed(out(&mut c, add), a, &Packed::new_bf16(b));
        prop_assert_eq!(&c, &expected, "both rounded {}x{}x{}", m, n, k);
        let exact = Mat::new(&exact, m, k);
        let mut c = before.clone();
        gemm_packed(out(&mut c, add), exact, &Packed::new_rounded(b));
        prop_assert_eq!(&c, &expected, "both rounded by the product {}x{}x{}", m, n, k);
        let expected = slow(before.clone(), exact, Mat::new(&rounded, n, k).t());
        for isa in Isa::available() {
            let mut c = before.clone();
            gemm_on::<Stored>(isa, out(&mut c, add), exact, b.into(), n);
            prop_assert_eq!(&c, &expected, "stored {:?} {}x{}x{}", isa, m, n, k);
        }
        let mut c = before.clone();
        gemm_packed(out(&mut c, add), exact, &Packed::new_bf16(b));
        prop_assert_eq!(&c, &expected, "packed in halves {}x{}x{}", m, n, k);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_right_hand_matrix_read_where_it_lies_gives_the_same_bits(
        m in 1..=32usize, eights in 1..12usize, k in 1..300usize,
        turned in any::<bool>(), add in any::<bool>(), seed in any::<u64>(),
    ) {
        let n = 8 * eights;
        let (a, b) = (numbers(m * k, seed), numbers(k * n, seed ^ 1));
        // Rows of the left side by side, as the gradient of an adapter's matrix has them.
        let (a, b) = (Mat::new(&a, k, m).t(), Mat::new(&b, k, n));
        prop_assert!(thin::suits(a, b));
        let [left, right] = if turned { [b.t(), a.t()] } else { [a, b] };
        let before = numbers(m * n, seed ^ 2);
        let expected = slow(if add { before.clone() } else { vec![0.0; m * n] }, left, right);
        for isa in Isa::available() {
            let mut c = before.clone();
            let out = if add { Into::Add(&mut c) } else { Into::Set(&mut c) };
            match turned {
                true => thin::multiply_transposed(isa, out, left, right, right.cols),
                false => thin::multiply(isa, out, left, right, right.cols),
            }
            prop_assert_eq!(bits(&c), bits(&expected), "{:?} {}x{}x{}", isa, m, n, k);
        }
    }
}

#[test]
fn the_number_of_threads_and_the_other_rows_change_nothing() {
    let (m, n, k) = (150, 300, 333);
    let (a, b) = (numbers(m * k, 1), numbers(n * k, 2));
    let b = Mat::new(&b, n, k).t();
    let run = |threads: usize, rows: std::ops::Range<usize>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut c = vec![0.0; rows.len() * n];
        let a = Mat::new(&a[rows.start * k..rows.end * k], rows.len(), k);
        pool.install(|| gemm(Into::Set(&mut c), a, b));
        bits(&c)
    };
    let all = run(1, 0..m);
    assert_eq!(run(2, 0..m), all);
    assert_eq!(run(5, 0..m), all);
    assert_eq!(run(2, 77..78), all[77 * n..78 * n]);
}

#[test]
fn the_number_of_threads_changes_nothing_where_rows_are_few() {
    let (m, n, k) = (16, 520, 700);
    let (a, b) = (numbers(m * k, 1), numbers(n * k, 2));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut c = numbers(m * n, 3);
        pool.install(|| gemm(Into::Add(&mut c), Mat::new(&a, m, k), Mat::new(&b, k, n)));
        bits(&c)
    };
    let all = run(1);
    assert_eq!(run(2), all);
    assert_eq!(run(5), all);
    let expected = slow(numbers(m * n, 3), Mat::new(&a, m, k), Mat::new(&b, k, n));
    assert_eq!(all, bits(&expected));
}

#[test]
fn what_has_no_rows_or_columns_is_left_alone() {
    for [m, n, k] in [[0, 16, 8], [8, 0, 8], [16, 0, 3], [0, 0, 0], [8, 8, 0]] {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let mut c = numbers(m * n, 3);
        let before = c.clone();
        gemm(Into::Add(&mut c), Mat::new(&a, m, k), Mat::new(&b, k, n));
        assert_eq!(c, before, "{m} x {n} x {k}");
        gemm(Into::Set(&mut c), Mat::new(&a, m, k), Mat::new(&b, k, n));
        assert!(c.iter().all(|x| *x == 0.0), "{m} x {n} x {k}");
    }
}

#[test]
fn a_block_of_a_wider_matrix_leaves_the_rest_alone() {
    let (a, b) = (numbers(6, 1), numbers(15, 2));
    let mut wide = [9.0; 2 * 8];
    gemm_strided(Into::Set(&mut wide[1..]), Mat::new(&a, 2, 3), Mat::new(&b, 3, 5), 8);
    let expected = slow(vec![0.0; 10], Mat::new(&a, 2, 3), Mat::new(&b, 3, 5));
    assert_eq!([&wide[1..6], &wide[9..14]].concat(), expected);
    assert_eq!([&wide[..1], &wide[6..9], &wide[14..]].concat(), [9.0; 6]);
}

#[test]
#[should_panic(expected = "inner dimensions")]
fn sizes_that_do_not_match_are_a_bug() {
    gemm(Into::Set(&mut [0.0; 4]), Mat::new(&[0.0; 4], 2, 2), Mat::new(&[0.0; 6], 3, 2));
}
