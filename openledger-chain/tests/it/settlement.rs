//! From receipts to claims.

use openledger_chain::{
    FeeAccounts, Price,
    settlement::{Claim, Distributor, EpochBuilder, FeeSplit},
};
use openledger_core::{
    Address, Amount, B256, DatanetId, ErrorKind, Key, Receipt, RowId, RowShare, Shares, U256,
    message::{Domain, Nonces, Signed, Verified},
    share::{WHOLE, split},
};
use proptest::prelude::*;

const OWNER: Address = Address::repeat_byte(0x0e);

fn accounts() -> FeeAccounts {
    FeeAccounts { treasury: Address::repeat_byte(0x7e), staking_pool: Address::repeat_byte(0x57) }
}

fn distributor() -> Distributor {
    Distributor { chain_id: 1, contract: Address::repeat_byte(1), token: Address::repeat_byte(2) }
}

fn receipt(nonce: u64, fee: u64, weights: &[(u8, u64)]) -> Verified<Receipt> {
    let node = Key::from_bytes(B256::repeat_byte(6)).unwrap();
    let parts = split(WHOLE.into(), &weights.iter().map(|w| w.1).collect::<Vec<_>>()).unwrap();
    let shares =
        weights.iter().zip(&parts).zip(1u8..).filter(|((_, part), _)| **part > Amount::ZERO).map(
            |((weight, part), row)| RowShare {
                row: RowId::from(B256::repeat_byte(row)),
                datanet: DatanetId::from(B256::ZERO),
                contributor: Address::repeat_byte(weight.0),
                weight: part.units().to(),
            },
        );
    let receipt = Receipt {
        model: B256::ZERO.into(),
        adapter: B256::ZERO.into(),
        datanets: vec![],
        method: "test".to_owned(),
        prompt: B256::ZERO,
        output: B256::ZERO,
        tokens_in: 1,
        tokens_out: 1,
        fee: fee.into(),
        shares: Shares::new(shares.collect()).unwrap(),
        payer: Address::repeat_byte(0xaa),
        node: node.address(),
        nonce: U256::from(nonce),
        deadline: 10,
    };
    let domain = Domain { chain_id: 1, contract: Address::ZERO };
    Signed::sign(receipt, domain, &node).verify(&domain, 1, &mut Nonces::default()).unwrap()
}

fn builder(before: &[Claim]) -> EpochBuilder {
    EpochBuilder::new(FeeSplit::default(), accounts(), before.iter().copied())
}

#[test]
fn a_fee_of_one_open_is_divided_as_the_worked_example_says() {
    let mut epoch = builder(&[]);
    let one = 1_000_000_000_000_000_000;
    epoch.add(&receipt(1, one, &[(1, 25), (2, 75)]), OWNER).unwrap();
    assert_eq!(epoch.charges().collect::<Vec<_>>(), [(Address::repeat_byte(0xaa), Amount::OPEN)]);
    let settled = epoch.build(&distributor(), Amount::OPEN).unwrap();
    let earned = |account| settled.claim(account).unwrap().0.cumulative.to_open();
    assert_eq!(earned(Address::repeat_byte(1)), "0.125");
    assert_eq!(earned(Address::repeat_byte(2)), "0.375");
    assert_eq!(earned(accounts().treasury), "0.1");
    assert_eq!((earned(OWNER), earned(accounts().staking_pool)), ("0.2".into(), "0.2".into()));
    assert_eq!(settled.total(), Amount::OPEN);
    assert!(settled.claim(Address::ZERO).is_err());
}

#[test]
fn a_receipt_counts_once() {
    let mut epoch = builder(&[]);
    let one = receipt(1, 100, &[(1, 1)]);
    epoch.add(&one, OWNER).unwrap();
    assert_eq!(epoch.add(&one, OWNER).unwrap_err().kind(), ErrorKind::Conflict);
    epoch.add(&receipt(2, 100, &[(1, 1)]), OWNER).unwrap();
}

#[test]
fn claims_pass_neither_the_funds_nor_fall_behind_what_was_earned_before() {
    let before = Claim { account: Address::repeat_byte(1), cumulative: 70.into() };
    let mut epoch = builder(&[before]);
    epoch.add(&receipt(1, 100, &[(1, 1)]), OWNER).unwrap();
    let error = epoch.clone().build(&distributor(), 169.into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let settled = epoch.build(&distributor(), 170.into()).unwrap();
    assert_eq!(settled.claim(before.account).unwrap().0.cumulative, 120.into());
}

#[test]
fn the_fee_makes_the_platforms_part_its_basis_points() {
    let price = Price { per_thousand_in: 9_000.into(), per_thousand_out: 18_000.into() };
    let fee = FeeSplit::default().fee(&price, 1_000, 500).unwrap();
    assert_eq!(fee, 20_000.into());
    assert_eq!(FeeSplit::default().divide(fee).platform, 2_000.into());
    assert_eq!(FeeSplit::default().fee(&price, 0, 0).unwrap(), Amount::ZERO);
    assert_eq!(FeeSplit::default().fee(&price, 1, 0).unwrap(), 10.into(), "rounded up");
    let dear = Price { per_thousand_in: Amount::new(U256::MAX), ..price };
    assert!(FeeSplit::default().fee(&dear, 2, 0).is_err());
}

#[test]
fn parts_that_are_not_a_whole_are_refused() {
    assert!(FeeSplit::new(1000, 2000, 2000, 4999).is_err());
    assert!(FeeSplit::new(10_000, 0, 0, 0).is_err(), "then no fee could be computed");
    assert!(FeeSplit::new(0, 0, 0, 10_000).is_ok());
}

/// A nonce, a fee, and the weights of contributors.
type Numbered = (u64, (u64, Vec<(u8, u64)>));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_payers_owe_is_what_accounts_earn_whatever_the_order(
        receipts in prop::collection::vec(
            (1..1_000_000_000u64, prop::collection::vec((1..6u8, 1..1000u64), 1..6)), 1..8
        ).prop_flat_map(|receipts| {
            let numbered: Vec<_> = (1u64..).zip(receipts).collect();
            (Just(numbered.clone()), Just(numbered).prop_shuffle())
        })
    ) {
        let settle = |receipts: &[Numbered]| {
            let mut epoch = builder(&[]);
            for (nonce, (fee, weights)) in receipts {
                epoch.add(&receipt(*nonce, *fee, weights), OWNER).unwrap();
            }
            let charged: Amount = epoch.charges().map(|(_, amount)| amount).sum();
            let parts = *epoch.parts();
            let settled = epoch.build(&distributor(), charged).unwrap();
            (settled.root(), settled.total(), charged, parts)
        };
        let (root, total, charged, parts) = settle(&receipts.0);
        prop_assert_eq!(total, charged);
        prop_assert_eq!([parts.platform, parts.model, parts.stakers, parts.contributors].into_iter().sum::<Amount>(), charged);
        prop_assert_eq!(settle(&receipts.1), (root, total, charged, parts));
    }
}
