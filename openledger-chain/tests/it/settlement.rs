//! From receipts to claims.

use openledger_chain::{
    FeeAccounts, Price,
    da::{Availability, Certificate, Local, Scheme},
    settlement::{Before, Claim, ClaimLeaf, Distributor, EpochBuilder, FeeSplit, Published},
};
use openledger_core::{
    Address, Amount, B256, DatanetId, ErrorKind, Key, Receipt, Result, RowId, RowShare, Shares,
    Store, U256, encode,
    merkle::{Leaf, StandardTree, verify},
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
    let before = Before::new(before.iter().copied()).unwrap();
    EpochBuilder::new(FeeSplit::default(), accounts(), before)
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
    assert_eq!(settled.claim(Address::ZERO).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_receipt_counts_once() {
    let mut epoch = builder(&[]);
    let one = receipt(1, 100, &[(1, 1)]);
    epoch.add(&one, OWNER).unwrap();
    assert_eq!(epoch.add(&one, OWNER).unwrap_err().kind(), ErrorKind::Conflict);
    epoch.add(&receipt(2, 100, &[(1, 1)]), OWNER).unwrap();
    assert_eq!(epoch.batch().unwrap().values().len(), 2);

    let before = Before::default().with_settled(epoch.receipts());
    let mut next = EpochBuilder::new(FeeSplit::default(), accounts(), before);
    assert_eq!(next.add(&one, OWNER).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(next.charges().count(), 0);
    next.add(&receipt(3, 100, &[(1, 1)]), OWNER).unwrap();
    assert_eq!(next.receipts().len(), 1, "only its own");
}

#[test]
fn a_refused_receipt_changes_nothing() {
    let all = Claim { account: Address::repeat_byte(1), cumulative: Amount::new(U256::MAX) };
    let mut epoch = builder(&[all]);
    let error = epoch.add(&receipt(1, 1, &[(2, 1)]), OWNER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!((epoch.receipts().len(), epoch.charges().count()), (0, 0));
    let settled = epoch.build(&distributor(), Amount::new(U256::MAX)).unwrap();
    assert_eq!(settled.claims(), [all]);
}

#[test]
fn earlier_claims_name_an_account_once_and_are_not_below_what_it_was_paid() {
    let claim =
        |byte, units: u64| Claim { account: Address::repeat_byte(byte), cumulative: units.into() };
    let twice = Before::new([claim(1, 5), claim(2, 6), claim(1, 7)]).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Invalid);
    assert!(twice.to_string().contains(&Address::repeat_byte(1).to_string()), "{twice}");
    let largest = Claim { cumulative: Amount::new(U256::MAX), ..claim(1, 0) };
    let large = Before::new([largest, claim(2, 1)]).unwrap_err();
    assert_eq!(large.kind(), ErrorKind::Invalid);
    assert!(large.to_string().contains("2^256"), "{large}");

    let before = Before::new([claim(1, 5), claim(2, 6)]).unwrap();
    before.check_paid([claim(1, 5), claim(2, 0), claim(3, 0)]).unwrap();
    for paid in [claim(2, 7), claim(3, 1)] {
        let error = before.check_paid([claim(1, 5), paid]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&paid.account.to_string()), "{error}");
    }
}

#[test]
fn the_account_without_funds_is_named() {
    let claims: Vec<Claim> = (1..=3)
        .map(|byte| Claim { account: Address::repeat_byte(byte), cumulative: 10.into() })
        .collect();
    for (funded, unpaid) in [(0, 1), (9, 1), (10, 2), (19, 2), (20, 3), (29, 3)] {
        let error = builder(&claims).build(&distributor(), funded.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        let account = Address::repeat_byte(unpaid).to_string();
        assert!(error.to_string().contains(&account), "{funded}: {error}");
    }
    assert!(builder(&claims).build(&distributor(), 30.into()).is_ok());
}

#[test]
fn an_epoch_without_claims_has_no_root() {
    assert_eq!(
        builder(&[]).build(&distributor(), 1.into()).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(builder(&[]).batch().unwrap_err().kind(), ErrorKind::Invalid);
}

/// An epoch on a data layer in memory.
async fn published(claims: u64) -> (Availability, Published) {
    let claims: Vec<Claim> = (1..=claims)
        .map(|n| Claim {
            account: Address::left_padding_from(&n.to_be_bytes()),
            cumulative: n.into(),
        })
        .collect();
    let da = Availability::new(Local::new(Store::memory()));
    let settlement = builder(&claims).build(&distributor(), Amount::OPEN).unwrap();
    let published = settlement.publish(&da).await.unwrap();
    (da, published)
}

#[tokio::test]
async fn whoever_knows_root_and_certificate_can_claim() {
    let (da, published) = published(1_000).await;
    let root = published.settlement().root();
    let loaded = Published::load(&da, published.certificate(), root).await.unwrap();
    let (ours, theirs) = (published.settlement(), loaded.settlement());
    assert_eq!(theirs.claims(), ours.claims());
    assert_eq!((theirs.total(), theirs.distributor()), (ours.total(), ours.distributor()));
    for claim in ours.claims() {
        let (same, proof) = theirs.claim(claim.account).unwrap();
        assert_eq!(same, *claim);
        assert!(verify(root, same.leaf(&distributor()).hash(), &proof));
    }
    let account = ours.claims()[41].account;
    for (paid, due) in [(0, 42), (40, 2), (42, 0), (43, 0)] {
        assert_eq!(theirs.claimable(account, paid.into()), due.into());
    }
    assert_eq!(theirs.claimable(Address::repeat_byte(0xee), Amount::ZERO), Amount::ZERO);
}

#[tokio::test]
async fn claims_in_several_parts_are_one_tree() {
    let (da, published) = published(250_001).await;
    let root = published.settlement().root();
    let loaded = Published::load(&da, published.certificate(), root).await.unwrap();
    assert_eq!(loaded.settlement().claims(), published.settlement().claims());
}

#[tokio::test]
async fn published_claims_of_another_root_do_not_load() {
    let (da, published) = published(3).await;
    let other = B256::repeat_byte(9);
    let error = Published::load(&da, published.certificate(), other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// What a publisher may write, honest or not.
async fn load_parts(format: &str, parts: &[&[(Address, u64)]]) -> Result<Published> {
    let da = Availability::new(Local::new(Store::memory()));
    let mut certificates = Vec::new();
    let mut claims = Vec::new();
    for part in parts {
        let part: Vec<(Address, Amount)> =
            part.iter().map(|&(account, units)| (account, units.into())).collect();
        claims.extend(part.clone());
        certificates.push(da.put(encode(&part)).await?.encode());
    }
    let Distributor { chain_id, contract, token } = distributor();
    let leaf = |(account, cumulative): (Address, Amount)| {
        Claim { account, cumulative }.leaf(&distributor())
    };
    let tree = StandardTree::<ClaimLeaf>::new(claims.into_iter().map(leaf).collect())?;
    let manifest = (format.to_owned(), chain_id, contract, token, tree.root(), certificates);
    let certificate = da.put(encode(&manifest)).await?;
    Published::load(&da, &certificate, tree.root()).await
}

#[tokio::test]
async fn only_claims_in_their_one_form_load() {
    let [a, b] = [1, 2].map(Address::repeat_byte);
    let format = "openledger.claims.1";
    let honest = load_parts(format, &[&[(a, 1)], &[(b, 2)]]).await.unwrap();
    assert_eq!(honest.settlement().total(), 3.into());
    for parts in [
        &[&[(b, 1), (a, 2)][..]][..],
        &[&[(a, 1), (a, 2)]],
        &[&[(a, 1)], &[(a, 2)]],
        &[&[(a, 0), (b, 2)]],
    ] {
        assert_eq!(load_parts(format, parts).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let error = load_parts("openledger.claims.2", &[&[(a, 1)]]).await.unwrap_err();
    assert!(error.to_string().contains("openledger.claims.2"), "{error}");
}

#[tokio::test]
async fn a_manifest_of_anything_is_an_error() {
    let da = Availability::new(Local::new(Store::memory()));
    for bytes in [&b""[..], b"{}", &[0; 100], &[0xff; 100]] {
        let certificate = da.put(bytes.to_vec()).await.unwrap();
        let error = Published::load(&da, &certificate, B256::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    }
    let foreign = Certificate::new(Scheme::EIGEN_DA, B256::ZERO, vec![2]).unwrap();
    let foreign = Published::load(&da, &foreign, B256::ZERO).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Invalid, "{foreign:?}");
}

#[test]
fn openzeppelins_json_is_written_claim_by_claim() {
    let claim = |byte| Claim { account: Address::repeat_byte(byte), cumulative: 7.into() };
    let settlement = builder(&[claim(1), claim(2)]).build(&distributor(), 14.into()).unwrap();
    let mut written = Vec::new();
    settlement.dump_to(&mut written).unwrap();
    assert_eq!(written, settlement.dump().into_bytes());
    let loaded = StandardTree::<ClaimLeaf>::load(&settlement.dump()).unwrap();
    assert_eq!(loaded.root(), settlement.root());
    let full = settlement.dump_to(&mut [0_u8; 10][..]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Unavailable);
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
    let error = FeeSplit::default().fee(&dear, 2, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn parts_that_are_not_a_whole_are_refused() {
    let short = FeeSplit::new(1000, 2000, 2000, 4999).unwrap_err();
    assert_eq!(short.kind(), ErrorKind::Invalid);
    let all = FeeSplit::new(10_000, 0, 0, 0).unwrap_err();
    assert_eq!(all.kind(), ErrorKind::Invalid, "then no fee could be computed");
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
