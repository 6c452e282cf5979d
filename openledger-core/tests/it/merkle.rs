//! Trees as OpenZeppelin makes them, and proofs that prove only what they should.

use openledger_core::{
    Address, B256, ErrorKind, U256,
    merkle::{Leaf, StandardTree, verify},
};
use proptest::prelude::*;

type Claim = (Address, U256);

/// Dumps written by `@openzeppelin/merkle-tree` 1.0.8; `data/make_merkle.mjs` makes them again.
const OPENZEPPELIN: [&str; 4] = [
    include_str!("../data/merkle_1.json"),
    include_str!("../data/merkle_2.json"),
    include_str!("../data/merkle_5_same.json"),
    include_str!("../data/merkle_11.json"),
];

#[test]
fn dumps_of_openzeppelin_load_and_dump_to_the_same_bytes() {
    for json in OPENZEPPELIN {
        let json = json.trim_end();
        assert_eq!(StandardTree::<Claim>::load(json).unwrap().dump(), json);
    }
}

#[test]
fn a_changed_dump_does_not_load() {
    for (from, to) in [
        ("standard-v1", "simple-v1"),
        ("\"uint256\"", "\"uint128\""),
        ("\"treeIndex\":1", "\"treeIndex\":2"),
        ("\"tree\":[\"0x", "\"tree\":[\"0xff"),
    ] {
        let changed = OPENZEPPELIN[1].replacen(from, to, 1);
        assert_ne!(changed, OPENZEPPELIN[1]);
        assert!(StandardTree::<Claim>::load(&changed).is_err(), "{from} -> {to}");
    }
    for json in ["", "{}", "[]", "null", r#"{"format":"standard-v1"}"#] {
        assert!(StandardTree::<Claim>::load(json).is_err());
    }
}

#[test]
fn a_tree_of_another_kind_is_named_and_what_failed_is_the_reason() {
    let report = |json: &str| {
        let error = StandardTree::<(B256,)>::load(json).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        error.report()
    };
    let leaves = report(OPENZEPPELIN[1]);
    let named = r#"leaves of ["address", "uint256"], not ["bytes32"]: a leaf of 2 values"#;
    assert!(leaves.starts_with(named), "{leaves}");
    let format = report(r#"{"format":"simple-v1","tree":[],"values":[]}"#);
    let named = "tree format `simple-v1`, not `standard-v1`: missing field `leafEncoding`";
    assert!(format.starts_with(named), "{format}");
    let value = OPENZEPPELIN[1].replace("\"value\":[\"0x", "\"value\":[\"1x");
    let value = StandardTree::<Claim>::load(&value).unwrap_err().report();
    assert!(value.starts_with("not the JSON of a Merkle tree: \"1x"), "{value}");
    assert!(value.contains("is not a address"), "{value}");
}

#[test]
fn a_tree_needs_a_leaf() {
    assert!(StandardTree::<Claim>::new(vec![]).is_err());
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let claim = (any::<[u8; 20]>(), any::<[u8; 32]>())
        .prop_map(|(account, amount)| (Address::from(account), U256::from_be_bytes(amount)));
    prop::collection::vec(claim, 1..40)
}

proptest! {
    #[test]
    fn every_proof_verifies_and_every_flipped_bit_fails(
        claims in claims(), pick in any::<prop::sample::Index>(), bit in 0..256usize
    ) {
        let tree = StandardTree::new(claims.clone()).unwrap();
        let index = pick.index(claims.len());
        let (leaf, proof) = (claims[index].hash(), tree.proof(index));
        prop_assert!(verify(tree.root(), leaf, &proof));
        let flip = |hash: B256| {
            let mut bytes = hash.0;
            bytes[bit / 8] ^= 1 << (bit % 8);
            B256::from(bytes)
        };
        prop_assert!(!verify(flip(tree.root()), leaf, &proof));
        prop_assert!(!verify(tree.root(), flip(leaf), &proof));
        for place in 0..proof.len() {
            let mut changed = proof.clone();
            changed[place] = flip(changed[place]);
            prop_assert!(!verify(tree.root(), leaf, &changed));
        }
    }

    #[test]
    fn the_order_of_the_values_does_not_change_the_root(
        orders in claims().prop_flat_map(|claims| (Just(claims.clone()), Just(claims).prop_shuffle()))
    ) {
        let (one, other) = (StandardTree::new(orders.0).unwrap(), StandardTree::new(orders.1).unwrap());
        prop_assert_eq!(one.root(), other.root());
    }

    #[test]
    fn dumps_load(claims in claims()) {
        let tree = StandardTree::new(claims).unwrap();
        prop_assert_eq!(StandardTree::load(&tree.dump()).unwrap(), tree);
    }

    #[test]
    fn foreign_text_never_panics(json in "\\PC{0,200}") {
        let _ = StandardTree::<Claim>::load(&json);
    }
}

#[test]
fn an_inner_node_is_not_a_leaf() {
    let claims: Vec<Claim> = (0..4).map(|n| (Address::repeat_byte(n), U256::from(n))).collect();
    let tree = StandardTree::new(claims.clone()).unwrap();
    let proof = tree.proof(0);
    let mut pair = [claims[0].hash(), proof[0]];
    pair.sort();
    let forged = openledger_core::keccak256(openledger_core::keccak256(pair.concat()));
    assert!(!verify(tree.root(), forged, &proof[1..]), "leaves are hashed twice, nodes once");
}
