//! Splits lose nothing and favour nobody.

use std::collections::BTreeMap;

use openledger_core::{
    Amount, U256,
    share::{split, split_keyed},
};
use proptest::prelude::*;

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        any::<u64>().prop_map(Amount::from),
        any::<u128>().prop_map(|units| Amount::new(U256::from(units))),
        any::<[u8; 32]>().prop_map(|bytes| Amount::new(U256::from_be_bytes(bytes))),
    ]
}

fn weights() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![0..5u64, any::<u64>()], 1..20)
        .prop_filter("some weight", |weights| weights.iter().any(|&weight| weight > 0))
}

/// Largest remainder by long division, one bit of the amount at a time.
fn slow(amount: Amount, weights: &[u64]) -> Vec<U256> {
    let total: u128 = weights.iter().map(|&w| u128::from(w)).sum();
    let mut parts: Vec<(usize, U256, u128)> = weights
        .iter()
        .enumerate()
        .map(|(index, &weight)| {
            let (mut quotient, mut rest) = (U256::ZERO, 0u128);
            for bit in (0..256).rev() {
                let add = if amount.units().bit(bit) { u128::from(weight) } else { 0 };
                // rest < total <= 20 * 2^64, so neither line overflows.
                rest = 2 * rest + add;
                quotient = quotient.wrapping_add(quotient) + U256::from(rest / total);
                rest %= total;
            }
            (index, quotient, rest)
        })
        .collect();
    let floor: U256 = parts.iter().map(|part| part.1).sum();
    let mut left: u64 = (amount.units() - floor).to();
    parts.sort_by_key(|&(index, _, rest)| (std::cmp::Reverse(rest), index));
    for part in &mut parts {
        if left > 0 {
            part.1 += U256::from(1);
            left -= 1;
        }
    }
    parts.sort_by_key(|part| part.0);
    parts.into_iter().map(|part| part.1).collect()
}

proptest! {
    #[test]
    fn parts_sum_to_the_amount_and_differ_from_the_exact_by_less_than_one(
        amount in amount(), weights in weights()
    ) {
        let parts = split(amount, &weights).unwrap();
        prop_assert_eq!(parts.iter().copied().sum::<Amount>(), amount);
        let parts: Vec<U256> = parts.into_iter().map(Amount::units).collect();
        prop_assert_eq!(parts, slow(amount, &weights));
    }

    #[test]
    fn the_order_of_the_parties_does_not_matter(
        amount in amount(),
        parties in prop::collection::vec((0..8u8, 0..1000u64), 1..12)
            .prop_filter("some weight", |p| p.iter().any(|&(_, weight)| weight > 0))
            .prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
    ) {
        let (parties, shuffled) = parties;
        let parts = split_keyed(amount, parties.clone()).unwrap();
        prop_assert_eq!(&split_keyed(amount, shuffled).unwrap(), &parts);
        prop_assert_eq!(parts.values().copied().sum::<Amount>(), amount);
        let merged: BTreeMap<u8, u64> = parties.iter().fold(BTreeMap::new(), |mut sums, &(k, w)| {
            *sums.entry(k).or_default() += w;
            sums
        });
        prop_assert!(parts.iter().all(|(k, part)| merged[k] > 0 || *part == Amount::ZERO));
    }
}

#[test]
fn nobody_to_pay_is_an_error() {
    assert!(split(Amount::OPEN, &[]).is_err());
    assert!(split(Amount::OPEN, &[0, 0]).is_err());
}

#[test]
fn the_worked_example_of_the_fee_rule() {
    // 1 OPEN: 10 % platform, 20 % model, 20 % stakers, 50 % contributors; 25 % influence pays 0.125.
    let parts = split(Amount::OPEN, &[1000, 2000, 2000, 5000]).unwrap();
    assert_eq!(parts.map_open(), ["0.1", "0.2", "0.2", "0.5"]);
    assert_eq!(split(parts[3], &[25, 75]).unwrap().map_open(), ["0.125", "0.375"]);
}

trait MapOpen {
    fn map_open(&self) -> Vec<String>;
}

impl MapOpen for Vec<Amount> {
    fn map_open(&self) -> Vec<String> {
        self.iter().map(|amount| amount.to_open()).collect()
    }
}
