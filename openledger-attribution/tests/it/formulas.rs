//! The formulas against golden numbers, against each other, and on data with known labels.

use std::path::PathBuf;

use openledger_attribution::{Blocks, Preconditioned, Preconditioner};
use proptest::prelude::*;

type Gradient = Vec<Vec<f32>>;

fn influence(rows: &[Gradient], query: &Gradient, preconditioner: Preconditioner) -> Vec<f64> {
    let blocks = Blocks::new(rows.to_vec()).unwrap();
    Preconditioned::new(blocks, preconditioner, 0.1).unwrap().influence(query).unwrap()
}

#[track_caller]
fn assert_close(ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(expected) {
        assert!(
            (ours - expected).abs() <= tolerance * expected.abs().max(1.0),
            "{ours} {expected}"
        );
    }
}

/// The numbers of the specification, computed in `f64` by hand.
#[test]
fn the_golden_vector_is_reproduced() {
    let rows = [
        vec![vec![1.0, 0.0], vec![2.0, -1.0, 0.0]],
        vec![vec![0.0, 2.0], vec![1.0, 0.0, 1.0]],
        vec![vec![1.0, 1.0], vec![0.0, 1.0, -1.0]],
    ];
    let query = vec![vec![1.0, 2.0], vec![1.0, 0.0, -1.0]];
    let datainf = [-17.0146532385822, -14.0549643726066, -17.6369066667156];
    assert_close(&influence(&rows, &query, Preconditioner::DataInf), &datainf, 1e-12);
    let exact = [-2.6168137720835, -1.1504732038714, -3.5582641956376];
    assert_close(&influence(&rows, &query, Preconditioner::BlockExact), &exact, 1e-12);
    assert_close(&influence(&rows, &query, Preconditioner::Identity), &[-3.0, -4.0, -4.0], 0.0);
}

fn gradients(rows: usize, size: usize) -> impl Strategy<Value = Vec<Gradient>> {
    let block = prop::collection::vec(-1f32..1.0, size);
    prop::collection::vec(block.prop_map(|block| vec![block]), rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `d x d` and Woodbury's `n x n` are the same inverse: compared through a block and the same
    /// block with zeros appended, which changes the space but, with the damping scaled, not the
    /// result.
    #[test]
    fn both_ways_to_the_exact_inverse_agree(
        rows in gradients(6, 4), query in prop::collection::vec(-1f32..1.0, 4)
    ) {
        let direct = influence(&rows, &vec![query.clone()], Preconditioner::BlockExact);
        let pad = |block: &[f32]| vec![[block, &[0.0; 8]].concat()];
        let padded: Vec<Gradient> = rows.iter().map(|row| pad(&row[0])).collect();
        // Three times the size makes lambda a third, so three times the damping keeps it.
        let blocks = Blocks::new(padded).unwrap();
        let prepared = Preconditioned::new(blocks, Preconditioner::BlockExact, 0.3).unwrap();
        let woodbury = prepared.influence(&pad(&query)).unwrap();
        for (direct, woodbury) in direct.iter().zip(&woodbury) {
            prop_assert!((direct - woodbury).abs() < 1e-7 * direct.abs().max(1.0), "{direct} {woodbury}");
        }
    }

    /// With one row, mean and inverse commute: `DataInf` is exact.
    #[test]
    fn datainf_is_exact_for_one_row(
        rows in gradients(1, 5).prop_filter("some gradient", |rows| rows[0][0].iter().any(|g| g.abs() > 0.01)),
        query in prop::collection::vec(-1f32..1.0, 5),
    ) {
        let query = vec![query];
        let datainf = influence(&rows, &query, Preconditioner::DataInf);
        let exact = influence(&rows, &query, Preconditioner::BlockExact);
        prop_assert!((datainf[0] - exact[0]).abs() < 1e-7 * exact[0].abs().max(1.0));
    }
}

#[test]
fn a_block_without_gradients_says_nothing_and_bad_input_is_refused() {
    let rows = [vec![vec![0.0, 0.0], vec![1.0]], vec![vec![0.0, 0.0], vec![2.0]]];
    let with = influence(&rows, &vec![vec![5.0, 5.0], vec![1.0]], Preconditioner::BlockExact);
    let alone: Vec<Gradient> = rows.iter().map(|row| vec![row[1].clone()]).collect();
    assert_eq!(with, influence(&alone, &vec![vec![1.0]], Preconditioner::BlockExact));
    assert!(Blocks::new(Vec::new()).is_err());
    assert!(Blocks::new(vec![vec![vec![1.0]], vec![vec![1.0, 2.0]]]).is_err());
    let blocks = || Blocks::new(vec![vec![vec![1.0f32]]]).unwrap();
    for damping in [0.0, -1.0, f64::NAN] {
        assert!(Preconditioned::new(blocks(), Preconditioner::DataInf, damping).is_err());
    }
    let nan = Blocks::new(vec![vec![vec![f32::NAN]]]).unwrap();
    assert!(Preconditioned::new(nan, Preconditioner::DataInf, 0.1).is_err());
    let prepared = Preconditioned::new(blocks(), Preconditioner::DataInf, 0.1).unwrap();
    assert!(prepared.influence(&[vec![1.0, 2.0]]).is_err());
}

/// 800 handwritten digits of which a fifth have the wrong label: how well does influence on the
/// validation loss find them? Other libraries' scores on the same gradients: dot product 0.637,
/// `DataInf` 0.648, block exact 0.912 (area under the ROC curve).
#[test]
fn mislabelled_digits_are_found_as_well_as_by_the_reference() {
    let path = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/cases/attribution/digits_lora.npz"
    ));
    if !path.exists() {
        println!("skipped: `{}` is not there", path.display());
        return;
    }
    let archive = std::cell::RefCell::new(npyz::npz::NpzArchive::open(path).unwrap());
    let read = |name: &str| -> Vec<Vec<f32>> {
        let mut archive = archive.borrow_mut();
        let array = archive.by_name(name).unwrap().unwrap();
        let width: u64 = array.shape()[1..].iter().product();
        let values: Vec<f32> = array.into_vec().unwrap();
        values.chunks_exact(width as usize).map(<[f32]>::to_vec).collect()
    };
    let gradients = |split: &str| -> Vec<Gradient> {
        let blocks = ["A1", "B1", "A2", "B2"].map(|block| read(&format!("{split}_{block}")));
        (0..blocks[0].len())
            .map(|row| blocks.iter().map(|block| block[row].clone()).collect())
            .collect()
    };
    let (train, validation) = (gradients("train"), gradients("val"));
    let noise: Vec<bool> =
        archive.borrow_mut().by_name("noise").unwrap().unwrap().into_vec().unwrap();
    let count = validation.len() as f32;
    let mean: Gradient = (0..4)
        .map(|block| {
            let size = validation[0][block].len();
            (0..size)
                .map(|i| validation.iter().map(|row| row[block][i]).sum::<f32>() / count)
                .collect()
        })
        .collect();
    for (preconditioner, expected) in [
        (Preconditioner::Identity, 0.637),
        (Preconditioner::DataInf, 0.648),
        (Preconditioner::BlockExact, 0.912),
    ] {
        let influence = influence(&train, &mean, preconditioner);
        let area = area_under_curve(&influence, &noise);
        assert!((area - expected).abs() < 2e-3, "{preconditioner:?}: {area}, expected {expected}");
    }
}

/// The probability that a wrong label has the larger influence on the loss than a right one.
fn area_under_curve(influence: &[f64], wrong: &[bool]) -> f64 {
    let (mut above, mut pairs) = (0.0, 0.0);
    for (bad, _) in influence.iter().zip(wrong).filter(|(_, wrong)| **wrong) {
        for (good, _) in influence.iter().zip(wrong).filter(|(_, wrong)| !**wrong) {
            pairs += 1.0;
            above += if bad > good {
                1.0
            } else if bad == good {
                0.5
            } else {
                0.0
            };
        }
    }
    above / pairs
}
