//! A fee is divided to the unit, the same on chain and off, and a change waits for the next epoch.

use openledger_chain::{Payments, abi::fee_policy::FeePolicy, settlement::FeeSplit};
use openledger_core::{Amount, U256};
use proptest::prelude::*;

use super::{explore, set};
use crate::stage::{amount, units};

const DAY: u64 = 24 * 3_600;

/// Four parts that make a whole, of which the platform's is not all.
fn split() -> impl Strategy<Value = [u16; 4]> {
    [0..=10_000_u16, 0..=10_000, 0..=10_000].prop_filter_map(
        "not all the platform's",
        |mut cuts| {
            cuts.sort_unstable();
            let [a, b, c] = cuts;
            (a < 10_000).then_some([a, b - a, c - b, 10_000 - c])
        },
    )
}

#[test]
fn parts_of_a_fee_are_the_fee_to_the_unit_on_chain_and_off() {
    let stage = set(async |_| {});
    let case = (split(), prop_oneof![0..100_000_u128, any::<u128>()]);
    explore(&stage, (24, 1..=3), case, async |stage, cases| {
        let policy = FeePolicy::new(stage.chain.contracts().fees, stage.chain.provider());
        for (parts, fee) in cases {
            let before = stage.chain.fee_split().await.unwrap();
            let [platform, model, stakers, contributors] = parts;
            let split_ = FeePolicy::Split { platform, model, stakers, contributors };
            stage.govern(stage.chain.contracts().fees, FeePolicy::setSplitCall { split_ }).await;
            let after = stage.chain.fee_split().await.unwrap();
            assert_eq!(after, before, "not within an epoch");
            stage.pass(DAY - stage.now().await % DAY).await;
            let (split, accounts) = stage.chain.fee_split().await.unwrap();
            assert_eq!((<[u16; 4]>::from(split), accounts), (parts, before.1));

            let off = split.divide(amount(fee));
            let off = [off.platform, off.model, off.stakers, off.contributors];
            let epoch = policy.epoch().call().await.unwrap();
            let on = policy.divide(epoch, U256::from(fee)).call().await.unwrap();
            let on = [on.platform, on.model, on.stakers, on.contributors].map(Amount::new);
            assert_eq!(on, off);
            assert_eq!(units(off.into_iter().sum()), fee, "nothing is lost or made");
            for (part, bps) in off.into_iter().zip(parts) {
                let exact = U256::from(fee) * U256::from(bps);
                let have = part.units() * U256::from(10_000);
                assert!(have.abs_diff(exact) < U256::from(10_000), "within a unit of its part");
            }
            let then = policy.divide(epoch - 1, U256::from(fee)).call().await.unwrap();
            let old = before.0.divide(amount(fee));
            assert_eq!(Amount::new(then.platform), old.platform, "past epochs keep their split");
        }
    });
}

#[test]
fn a_split_that_is_not_a_whole_is_refused_on_chain_and_off() {
    let stage = set(async |_| {});
    let broken = (split(), 0..4_usize, 1..100_u16).prop_map(|(mut parts, which, more)| {
        parts[which] += more;
        parts
    });
    explore(&stage, (32, 1..=1), broken, async |stage, case| {
        let [platform, model, stakers, contributors] = case[0];
        assert!(FeeSplit::new(platform, model, stakers, contributors).is_err());
        let split_ = FeePolicy::Split { platform, model, stakers, contributors };
        let (at, call) = (stage.chain.contracts(), FeePolicy::setSplitCall { split_ });
        let refused = stage.act(at.timelock, at.fees, call).await.unwrap_err();
        assert_eq!(refused.name(), "SplitNotWhole");
    });
}
