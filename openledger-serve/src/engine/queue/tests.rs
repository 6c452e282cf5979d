use openledger_core::AdapterId;
use proptest::prelude::*;

use super::*;
use crate::{AdapterPrecision, lease::Form};

fn flow(tenant: &str, adapter: u8) -> Flow {
    let adapter = (adapter > 0).then(|| Numbers {
        id: AdapterId::from(openledger_core::B256::repeat_byte(adapter)),
        form: Form::Pairs(AdapterPrecision::F32),
    });
    Flow { tenant: Some(tenant.into()), adapter }
}

fn queue<T>(max_skips: usize) -> Queue<T> {
    Queue::new(BTreeMap::new(), max_skips)
}

/// Serves a queue in which everybody always has more, one request at a time; returns what each got.
fn serve_backlogged(queue: &mut Queue<usize>, flows: &[Flow], costs: &[u64]) -> Vec<u64> {
    let mut got = vec![0; flows.len()];
    for (arrival, (index, flow)) in
        (0..).zip(flows.iter().enumerate().cycle().take(2 * flows.len()))
    {
        queue.push(flow, arrival, costs[index], index);
    }
    for arrival in 0..400 {
        let index = queue.pop(|_| true).unwrap();
        got[index] += costs[index];
        queue.push(&flows[index], 1000 + arrival, costs[index], index);
    }
    got
}

proptest! {
    /// The bound of the paper, theorem 4.4: two tenants that always wait differ by no more than what
    /// one request of each costs.
    #[test]
    fn tenants_get_the_same_whatever_they_ask(
        costs in proptest::collection::vec(1..500u64, 2..6),
    ) {
        let flows: Vec<Flow> = (0..costs.len()).map(|n| flow(&format!("{n}"), 0)).collect();
        let got = serve_backlogged(&mut queue(8), &flows, &costs);
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        prop_assert!(most - least <= 2 * costs.iter().max().unwrap(), "{got:?} of {costs:?}");
    }

    /// A tenant gets no more by asking for more adapters, and its adapters share what it gets.
    #[test]
    fn adapters_share_what_their_tenant_gets(adapters in 1..6u8) {
        let mut flows: Vec<Flow> = (1..=adapters).map(|n| flow("many", n)).collect();
        flows.push(flow("one", 1));
        let got = serve_backlogged(&mut queue(8), &flows, &vec![10; flows.len()]);
        let (one, many) = got.split_last().unwrap();
        prop_assert!(many.iter().sum::<u64>().abs_diff(*one) <= 20, "{got:?}");
        prop_assert!(many.iter().max().unwrap() - many.iter().min().unwrap() <= 20, "{got:?}");
    }

    /// Whatever comes and goes: nothing is lost, nothing comes out twice, a flow keeps its order, and who
    /// comes out is the first in turn that fits, of those before whoever was passed over often enough.
    #[test]
    fn requests_come_out_once_and_in_the_order_of_their_flow(
        turns in proptest::collection::vec((0..4u8, 0..3u8, 0..3u8, 0..20usize), 1..150),
    ) {
        let mut queue = queue(3);
        let mut waiting: Vec<(Flow, u64, usize)> = Vec::new();
        for (arrival, (what, tenant, adapter, size)) in (0..).zip(turns) {
            match what {
                0 | 1 => {
                    let flow = flow(&format!("{tenant}"), adapter);
                    queue.push(&flow, arrival, size as u64, (arrival, size));
                    waiting.push((flow, arrival, size));
                }
                2 => {
                    let turns: Vec<(Flow, usize)> = queue.in_turn().take(3 + 1).collect();
                    let mut may: Vec<(u64, usize, bool)> = Vec::new();
                    for (flow, place) in turns {
                        let waiting = queue.at(&flow, place).unwrap();
                        may.push((waiting.item.0, waiting.item.1, waiting.skipped >= 3));
                    }
                    let last = may.iter().position(|&(_, _, often)| often);
                    may.truncate(last.map_or(may.len(), |last| last + 1));
                    let expected = may.into_iter().find(|&(_, other, _)| other <= size);
                    let popped = queue.pop(|&mut (_, other)| other <= size);
                    prop_assert_eq!(
                        popped.map(|(arrival, _)| arrival),
                        expected.map(|(arrival, _, _)| arrival)
                    );
                    if let Some((arrival, _)) = popped {
                        let place = waiting.iter().position(|&(_, other, _)| other == arrival);
                        let (flow, _, _) = waiting.remove(place.unwrap());
                        let earlier = waiting.iter().filter(|(other, before, _)| {
                            *other == flow && *before < arrival
                        });
                        prop_assert!(earlier.into_iter().all(|&(_, _, other)| other > size));
                    }
                }
                _ => {
                    let gone = |&(_, other): &(u64, usize)| other == size;
                    let removed = queue.remove(gone).len();
                    let before = waiting.len();
                    waiting.retain(|&(_, _, other)| other != size);
                    prop_assert_eq!(removed, before - waiting.len());
                }
            }
            prop_assert_eq!(queue.len(), waiting.len());
        }
        while queue.pop(|_| true).is_some() {
            waiting.pop();
        }
        prop_assert!(waiting.is_empty() && queue.flows().next().is_none());
    }

    /// Small requests keep coming; a large one in front that does not fit beside them is passed over
    /// as often as allowed, then waits alone until there is room.
    #[test]
    fn nobody_is_passed_over_for_ever(max_skips in 0..10usize, small in 1..4usize) {
        let mut queue = queue(max_skips);
        let (capacity, large) = (8, 8);
        let flow = flow("a", 0);
        queue.push(&flow, 0, 0, small);
        queue.push(&flow, 1, 0, large);
        let mut running = vec![queue.pop(|_| true).unwrap()];
        let mut passed = 0;
        for arrival in 2..200 {
            queue.push(&flow, arrival, 0, small);
            while let Some(size) =
                queue.pop(|&mut size| running.iter().sum::<usize>() + size <= capacity)
            {
                if size == large {
                    prop_assert!(passed <= max_skips);
                    return Ok(());
                }
                passed += 1;
                running.push(size);
            }
            // The oldest ends: without the bound, there would always be another in its place.
            running.remove(0);
        }
        prop_assert!(false, "passed over {} times", passed);
    }
}

#[test]
fn weights_give_more() {
    let weights = BTreeMap::from([("heavy".into(), 3)]);
    let flows = [flow("heavy", 0), flow("light", 0)];
    let got = serve_backlogged(&mut Queue::new(weights, 8), &flows, &[10, 10]);
    assert!(got[0].abs_diff(3 * got[1]) <= 60, "{got:?}");
}

#[test]
fn the_heaviest_weight_still_pays() {
    let mut queue: Queue<()> =
        Queue::new(BTreeMap::from([("heavy".into(), u32::MAX), ("free".into(), u32::MAX)]), 8);
    let [heavy, free] = [flow("heavy", 0), flow("free", 0)];
    (0..10).for_each(|_| queue.charge(&heavy, 1));
    queue.charge(&free, 0);
    let served = |flow: &Flow| queue.tenants.served(&flow.tenant);
    assert_eq!((served(&heavy), served(&free)), (10, 0));
}

#[test]
fn what_is_written_counts_too() {
    let mut queue = queue(8);
    let [writer, reader] = [flow("writer", 0), flow("reader", 0)];
    for arrival in 0..10 {
        queue.push(&writer, arrival, 1, "writer");
        queue.push(&reader, arrival, 1, "reader");
    }
    let mut order = Vec::new();
    while let Some(who) = queue.pop(|_| true) {
        order.push(who);
        if who == "writer" {
            queue.charge(&writer, 4);
        }
    }
    let early = order[..12].iter().filter(|&&who| who == "reader").count();
    assert_eq!(early, 10, "{order:?}");
}

#[test]
fn the_last_of_the_most_served_makes_way() {
    let mut queue: Queue<()> = queue(8);
    let [rich, poor] = [flow("rich", 0), flow("poor", 0)];
    queue.charge(&rich, 10);
    queue.charge(&poor, 5);
    let running = [(&rich, 1), (&poor, 9), (&rich, 4), (&rich, 2)];
    assert_eq!(queue.victim(running), Some(2));
    assert_eq!(queue.victim([]), None);
}
