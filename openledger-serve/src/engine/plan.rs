//! How many tokens of each running sequence go into a step.

use openledger_kernels::PAGE;

use super::queue::Flow;

/// What a running sequence could add to a step.
#[derive(Clone, Debug)]
pub(super) struct Want<'a> {
    pub(super) flow: &'a Flow,
    pub(super) arrival: u64,
    /// Tokens that are not computed yet.
    pub(super) pending: usize,
}

/// Divides a step of about `budget` tokens.
///
/// Whoever has one token left to compute gets it: these are the answers under way. Prompts share the
/// rest, at least a page of it, equally between flows, so that the first tokens of prompts that came
/// together come together; within a flow the first gets all it wants, because its end serves nobody
/// later than sharing would.
pub(super) fn plan(wants: &[Want<'_>], budget: usize) -> Vec<usize> {
    let mut tokens: Vec<usize> = wants.iter().map(|want| want.pending.min(1)).collect();
    let writing = wants.iter().filter(|want| want.pending == 1).count();
    let budget = budget.saturating_sub(writing).max(budget.min(PAGE));

    let mut reading: Vec<usize> =
        (0..wants.len()).filter(|&index| wants[index].pending > 1).collect();
    reading.sort_by_key(|&index| wants[index].arrival);
    let mut flows: Vec<(&Flow, Vec<usize>)> = Vec::new();
    for index in reading {
        tokens[index] = 0;
        match flows.iter_mut().find(|(flow, _)| *flow == wants[index].flow) {
            Some((_, members)) => members.push(index),
            None => flows.push((wants[index].flow, vec![index])),
        }
    }
    let totals: Vec<usize> = flows
        .iter()
        .map(|(_, members)| members.iter().map(|&index| wants[index].pending).sum())
        .collect();
    for ((_, members), mut share) in flows.iter().zip(divide(budget, &totals)) {
        for &index in members {
            tokens[index] = wants[index].pending.min(share);
            share -= tokens[index];
        }
    }
    tokens
}

/// Divides `budget` so that nobody gets more than it wants, and nobody more than another that would
/// want more; what does not divide goes to the first.
fn divide(budget: usize, wants: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|&index| wants[index]);
    let (mut left, mut parts) = (budget, vec![0; wants.len()]);
    for (done, &index) in order.iter().enumerate() {
        parts[index] = wants[index].min(left / (wants.len() - done));
        left -= parts[index];
    }
    for (part, &want) in parts.iter_mut().zip(wants) {
        if left > 0 && *part < want {
            *part += 1;
            left -= 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_left_that_anybody_wants_and_nobody_gets_more_than_others(
            budget in 0..300usize,
            wants in proptest::collection::vec(0..100usize, 0..12),
        ) {
            let parts = divide(budget, &wants);
            prop_assert_eq!(parts.iter().sum::<usize>(), budget.min(wants.iter().sum()));
            let most = parts.iter().max().copied().unwrap_or_default();
            for (&part, &want) in parts.iter().zip(&wants) {
                prop_assert!(part <= want);
                prop_assert!(part == want || part + 1 >= most, "{:?} of {:?}", parts, wants);
            }
        }

        #[test]
        fn answers_under_way_always_go_on_and_prompts_never_stop(
            budget in 1..100usize,
            pending in proptest::collection::vec((0..4u8, 1..60usize), 1..20),
        ) {
            let flows: Vec<Flow> = (0..4)
                .map(|n| Flow { tenant: Some(format!("{n}").into()), adapter: None })
                .collect();
            let wants: Vec<Want<'_>> = pending
                .iter()
                .zip(0..)
                .map(|(&(flow, pending), arrival)| {
                    Want { flow: &flows[usize::from(flow)], arrival, pending }
                })
                .collect();
            let tokens = plan(&wants, budget);
            let of = |reading: bool| {
                wants.iter().zip(&tokens).filter(move |(want, _)| (want.pending > 1) == reading)
            };
            prop_assert!(of(false).all(|(_, &tokens)| tokens == 1));
            let wanted: usize = of(true).map(|(want, _)| want.pending).sum();
            let read: usize = of(true).map(|(_, &tokens)| tokens).sum();
            let room = budget.saturating_sub(of(false).count()).max(budget.min(PAGE));
            prop_assert_eq!(read, room.min(wanted));
        }
    }

    #[test]
    fn flows_share_and_within_a_flow_the_first_goes_first() {
        let flows =
            [Some("a"), None].map(|tenant| Flow { tenant: tenant.map(Into::into), adapter: None });
        let want = |flow: usize, arrival, pending| Want { flow: &flows[flow], arrival, pending };
        let wants = [want(0, 3, 50), want(0, 1, 30), want(1, 2, 100), want(1, 0, 1)];
        assert_eq!(plan(&wants, 101), [20, 30, 50, 1]);
        assert_eq!(plan(&wants, 41), [0, 20, 20, 1]);
    }

    /// Prompts of different adapters that come together: however long they are, none of the same
    /// length waits for another, and none of twice the length much more than twice as long.
    #[test]
    fn first_tokens_of_prompts_that_came_together_come_together() {
        let flows: Vec<Flow> =
            (0..8).map(|n| Flow { tenant: Some(format!("{n}").into()), adapter: None }).collect();
        let mut pending: Vec<usize> = (0..8).map(|n| 500 + 70 * n).collect();
        let mut done = vec![0; 8];
        for step in 1.. {
            let wants: Vec<Want<'_>> = (flows.iter().zip(&pending).zip(0..))
                .map(|((flow, &pending), arrival)| Want { flow, arrival, pending })
                .collect();
            let tokens = plan(&wants, 256);
            for index in 0..8 {
                pending[index] -= tokens[index];
                if pending[index] == 0 && done[index] == 0 {
                    done[index] = step;
                }
            }
            if done.iter().all(|&step| step > 0) {
                break;
            }
        }
        assert!(done[7] <= 2 * done[0], "{done:?}");
    }
}
