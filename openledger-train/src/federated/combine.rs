//! How the updates of a round become one.

use serde::{Deserialize, Serialize};

/// A rule that combines updates. All but the mean bound what a minority of liars can do.
///
/// | rule | liars it stands | cost |
/// |---|---|---|
/// | mean | none: one decides where the mean lies | n d |
/// | trimmed mean | as many as are trimmed at each end (Yin et al., 2018, section 4.2) | n log n d |
/// | median | less than half (Yin et al., 2018, section 4.1) | n log n d |
/// | geometric median | less than half of all weight (Pillutla et al., 2022) | up to 100 n d |
///
/// The price is bias where honest workers have different data: the median of skewed updates is not their
/// mean. With updates judged one by one before ([`Defence`](super::Defence)), the mean is a fair default for
/// a few workers; a robust rule is one for many.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Combine {
    /// The mean, weighed by label tokens.
    #[default]
    Mean,
    /// Coordinate by coordinate, without the `liars` smallest and the `liars` largest elements, the mean of
    /// the rest, weighed by label tokens. Of too few updates the middle ones are left.
    TrimmedMean {
        /// How many are cut off at each end.
        liars: usize,
    },
    /// Coordinate by coordinate, the middle element; the mean of the middle two. Without weights.
    Median,
    /// The point with the smallest sum of distances to the updates, weighed by label tokens: Weiszfeld's
    /// iteration, smoothed (RFA, algorithm 2 of arXiv 1912.13445), begun at the mean and ended where it
    /// moves less than a millionth of its length.
    GeometricMedian,
}

/// Most turns of Weiszfeld's iteration.
const TURNS: usize = 100;
/// Distances below this count as this, so that none is divided by zero.
const SMOOTH: f64 = 1e-6;

impl Combine {
    /// Combines updates of one length, each with its weight. The order does not change the rules, but
    /// rounding: give them in a fixed one.
    ///
    /// # Panics
    /// Without updates.
    pub fn combine(&self, updates: &[(&[f32], f64)]) -> Vec<f32> {
        let length = updates.first().expect("an update at least").0.len();
        match self {
            Self::Mean => narrow(mean(updates, |_| 1.0)),
            Self::TrimmedMean { liars } => {
                let cut = (*liars).min((updates.len() - 1) / 2);
                by_coordinate(updates, length, |column| {
                    let kept = &column[cut..column.len() - cut];
                    let whole: f64 = kept.iter().map(|(_, weight)| weight).sum();
                    kept.iter().map(|(x, weight)| f64::from(*x) * weight).sum::<f64>() / whole
                })
            }
            Self::Median => by_coordinate(updates, length, |column| {
                let [low, high] = [(column.len() - 1) / 2, column.len() / 2];
                (f64::from(column[low].0) + f64::from(column[high].0)) / 2.0
            }),
            Self::GeometricMedian => geometric_median(updates),
        }
    }
}

fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|x| x as f32).collect()
}

/// The mean, each weight multiplied by `factor` of the update's place.
fn mean(updates: &[(&[f32], f64)], factor: impl Fn(usize) -> f64) -> Vec<f64> {
    let weights: Vec<f64> =
        updates.iter().enumerate().map(|(at, (_, weight))| weight * factor(at)).collect();
    let whole: f64 = weights.iter().sum();
    let mut sum = vec![0.0; updates[0].0.len()];
    for ((update, _), weight) in updates.iter().zip(weights) {
        sum.iter_mut().zip(*update).for_each(|(sum, &x)| *sum += weight / whole * f64::from(x));
    }
    sum
}

/// Gives `middle` the elements of each coordinate, ascending, with their weights.
fn by_coordinate(
    updates: &[(&[f32], f64)],
    length: usize,
    middle: impl Fn(&[(f32, f64)]) -> f64,
) -> Vec<f32> {
    let mut column: Vec<(f32, f64)> = Vec::with_capacity(updates.len());
    let of = |at: usize| {
        column.clear();
        column.extend(updates.iter().map(|(update, weight)| (update[at], *weight)));
        // By weight where elements are equal, so that the order of updates does not matter.
        column.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        middle(&column) as f32
    };
    (0..length).map(of).collect()
}

fn geometric_median(updates: &[(&[f32], f64)]) -> Vec<f32> {
    let mut point = mean(updates, |_| 1.0);
    for _ in 0..TURNS {
        let distance = |update: &[f32]| {
            let apart = point.iter().zip(update).map(|(p, &x)| p - f64::from(x));
            apart.map(|x| x * x).sum::<f64>().sqrt()
        };
        let distances: Vec<f64> = updates.iter().map(|(update, _)| distance(update)).collect();
        let next = mean(updates, |at| 1.0 / distances[at].max(SMOOTH));
        let moved = next.iter().zip(&point).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let length = next.iter().map(|x| x * x).sum::<f64>();
        point = next;
        if moved <= length * 1e-12 {
            break;
        }
    }
    narrow(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HONEST: [[f32; 3]; 4] =
        [[1.0, 2.0, -1.0], [1.2, 1.8, -0.8], [0.8, 2.2, -1.2], [1.1, 2.1, -1.1]];

    fn combine(rule: Combine, updates: &[[f32; 3]]) -> Vec<f32> {
        let updates: Vec<(&[f32], f64)> = updates.iter().map(|update| (&update[..], 1.0)).collect();
        rule.combine(&updates)
    }

    fn apart(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
    }

    #[test]
    fn one_liar_moves_the_mean_and_hardly_the_rest() {
        let honest = combine(Combine::Mean, &HONEST);
        for lie in [[1e6, -1e6, 1e6], [-1.0, -2.0, 1.0], [f32::MAX, 0.0, f32::MIN]] {
            let mut updates = HONEST.to_vec();
            updates.insert(2, lie);
            assert!(apart(&combine(Combine::Mean, &updates), &honest) > 0.3);
            for rule in
                [Combine::TrimmedMean { liars: 1 }, Combine::Median, Combine::GeometricMedian]
            {
                let combined = combine(rule, &updates);
                assert!(apart(&combined, &honest) < 0.25, "{rule:?} {lie:?}: {combined:?}");
            }
        }
    }

    #[test]
    fn weights_are_shares_and_order_does_not_matter() {
        let updates = [(&[1.0f32, 4.0][..], 1.0), (&[3.0, 0.0], 3.0)];
        assert_eq!(Combine::Mean.combine(&updates), [2.5, 1.0]);
        for rule in [Combine::TrimmedMean { liars: 1 }, Combine::Median] {
            let mut turned = HONEST;
            turned.reverse();
            assert_eq!(combine(rule, &HONEST), combine(rule, &turned));
        }
        assert_eq!(combine(Combine::TrimmedMean { liars: 9 }, &HONEST), [1.05, 2.05, -1.05]);
        assert_eq!(combine(Combine::Median, &HONEST[..3]), HONEST[0]);
    }

    #[test]
    fn the_geometric_median_has_the_smallest_sum_of_distances() {
        let sum = |point: &[f32]| {
            HONEST
                .iter()
                .map(|update| {
                    let squares = update.iter().zip(point).map(|(a, b)| f64::from(a - b).powi(2));
                    squares.sum::<f64>().sqrt()
                })
                .sum::<f64>()
        };
        let point = combine(Combine::GeometricMedian, &HONEST);
        for (at, by) in (0..3).flat_map(|at| [(at, 0.01), (at, -0.01)]) {
            let mut moved = point.clone();
            moved[at] += by;
            assert!(sum(&moved) > sum(&point));
        }
    }
}
