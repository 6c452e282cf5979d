//! Rows into steps of equal work.

use std::collections::BTreeSet;

/// Groups rows of `lengths` tokens so that no group has more than `limit` tokens, in as few groups as
/// is quickly found: longest first, each into the group it fills best (best-fit decreasing; at most
/// 11/9 of the fewest groups and one, Johnson, 1973).
///
/// A row of more than `limit` tokens is a group of its own. The same lengths give the same groups,
/// ties going to smaller numbers. Costs n log n.
///
/// Packing here never joins rows: a batch lays sequences one behind the other, each with positions and
/// attention of its own, and is never padded. So nothing leaks from one row to the next, and what
/// packing saves is not padding but steps of uneven size.
///
/// # Examples
/// ```
/// use openledger_train::pack;
///
/// assert_eq!(pack(&[3, 6, 4, 7], 10), [vec![3, 0], vec![1, 2]]);
/// ```
pub fn pack(lengths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| (usize::MAX - lengths[row], row));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // What is left in a group, and which.
    let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
    for row in order {
        let length = lengths[row];
        let best = open.range((length, 0)..).next().copied();
        let (left, group) = match best {
            Some(best) => {
                open.remove(&best);
                best
            }
            None => {
                groups.push(Vec::new());
                (limit, groups.len() - 1)
            }
        };
        groups[group].push(row);
        if let Some(left) = left.checked_sub(length).filter(|&left| left > 0) {
            open.insert((left, group));
        }
    }
    groups
}

/// Returns which part of `limit` tokens a group fills in the mean.
pub fn filled(groups: &[Vec<usize>], lengths: &[usize], limit: usize) -> f64 {
    let tokens: usize = groups.iter().flatten().map(|&row| lengths[row]).sum();
    tokens as f64 / (groups.len() * limit).max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_is_in_one_group_and_no_group_is_too_large(
            lengths in prop::collection::vec(0usize..50, 0..200), limit in 1usize..60,
        ) {
            let groups = pack(&lengths, limit);
            let mut rows = groups.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            let sum = |group: &Vec<usize>| group.iter().map(|&row| lengths[row]).sum::<usize>();
            for group in &groups {
                prop_assert!(sum(group) <= limit || group.iter().filter(|&&row| lengths[row] > 0).count() == 1);
            }
            // Of two groups that are not full, no two fit together.
            let half = groups.iter().filter(|group| 2 * sum(group) <= limit && sum(group) > 0).count();
            prop_assert!(half <= 1, "{} groups at most half full", half);
            prop_assert_eq!(&groups, &pack(&lengths, limit));
        }
    }

    #[test]
    fn steps_of_mixed_rows_are_nearly_full() {
        let lengths: Vec<usize> = (0..1000).map(|row| 20 + row * 7919 % 400).collect();
        let groups = pack(&lengths, 2048);
        assert!(filled(&groups, &lengths, 2048) > 0.99);
    }
}
