//! Errors and events of every artifact, as values and as sentences.

use std::collections::{BTreeMap, BTreeSet};

use openledger_chain::{
    Event, Revert, TxLog,
    alloy::{
        dyn_abi::{DynSolType, DynSolValue, JsonAbiExt, Specifier},
        json_abi::JsonAbi,
        primitives::{I256, Selector, keccak256},
        sol_types::{Panic, Revert as Words, SolError},
    },
};
use openledger_core::{Address, B256, Error, ErrorKind, U256};

/// Every contract with what its artifact says.
fn contracts() -> Vec<(String, JsonAbi)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/artifacts");
    let mut all: Vec<(String, JsonAbi)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file()) // folders hold what others wrote
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut artifact: serde_json::Value = serde_json::from_str(&text).unwrap();
            let abi = serde_json::from_value(artifact["abi"].take()).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), abi)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 8);
    all
}

/// Makes a value of a type; no two calls make the same bits.
fn value(ty: &DynSolType, state: &mut u64) -> DynSolValue {
    *state += 1;
    let word = keccak256(state.to_be_bytes());
    let number = U256::from_be_bytes(word.0);
    let mut some = |ty: &DynSolType| value(ty, state);
    match ty {
        DynSolType::Bool => DynSolValue::Bool(word[0] & 1 == 1),
        DynSolType::Address => DynSolValue::Address(Address::from_slice(&word[12..])),
        DynSolType::Uint(bits) => DynSolValue::Uint(number >> (256 - bits), *bits),
        DynSolType::Int(bits) => DynSolValue::Int(I256::from_raw(number >> (257 - bits)), *bits),
        DynSolType::FixedBytes(size) => {
            let mut bytes = B256::ZERO;
            bytes[..*size].copy_from_slice(&word[..*size]);
            DynSolValue::FixedBytes(bytes, *size)
        }
        DynSolType::Bytes => DynSolValue::Bytes(word.to_vec()),
        DynSolType::String => DynSolValue::String(format!("{word}, \"{{(x: 1\\")),
        DynSolType::Array(inner) => DynSolValue::Array(vec![some(inner), some(inner)]),
        DynSolType::FixedArray(inner, size) => {
            DynSolValue::FixedArray((0..*size).map(|_| some(inner)).collect())
        }
        DynSolType::Tuple(inner) => DynSolValue::Tuple(inner.iter().map(some).collect()),
        other => panic!("no value of {other:?}"),
    }
}

#[test]
fn every_error_of_every_contract_decodes_to_its_own_name() {
    let (mut state, mut tried) = (0, 0);
    for (contract, abi) in contracts() {
        for error in abi.errors() {
            let values: Vec<_> = error
                .inputs
                .iter()
                .map(|input| value(&input.resolve().unwrap(), &mut state))
                .collect();
            let data = error.abi_encode_input(&values).unwrap();
            let own = Revert::decode_as(&contract, &data);
            assert_eq!(own.name(), error.name, "{contract} says {own:?}");
            assert!(format!("{own:?}").starts_with(&contract), "{own:?} is not {contract}'s");
            let any = Revert::decode(&data);
            assert_eq!(any.name(), error.name, "{contract} read as {any:?}");
            assert!(Revert::readings(&data).contains(&own));
            let said = own.to_string();
            let has_values = !error.inputs.is_empty();
            assert_eq!(said.contains(": "), has_values, "{said}");
            for input in error.inputs.iter().filter(|input| input.ty == "address") {
                let at = error.inputs.iter().position(|other| other == input).unwrap();
                let DynSolValue::Address(address) = values[at] else { unreachable!() };
                let address = format!("{address:?}").to_lowercase();
                assert!(said.to_lowercase().contains(&address), "{said} lacks {address}");
            }
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn every_event_of_every_contract_decodes_to_its_own_name() {
    let (mut state, mut tried) = (0, 0);
    for (contract, abi) in contracts() {
        for event in abi.events() {
            let mut topics = vec![event.selector()];
            let mut rest = Vec::new();
            for input in &event.inputs {
                let value = value(&input.resolve().unwrap(), &mut state);
                match input.indexed {
                    true => topics.push(value.as_word().unwrap_or_else(|| keccak256(b"hashed"))),
                    false => rest.push(value),
                }
            }
            let data = DynSolValue::Tuple(rest).abi_encode_params().into();
            let address = Address::repeat_byte(9);
            let log: TxLog = serde_json::from_value(serde_json::json!({
                "address": address, "topics": topics, "data": openledger_core::Bytes::clone(&data),
            }))
            .unwrap();
            let own =
                Event::decode_as(&contract, &log).unwrap_or_else(|| panic!("{contract} {event:?}"));
            assert_eq!(own.name(), event.name);
            assert!(format!("{own:?}").starts_with(&contract));
            assert_eq!(Event::decode(&log).unwrap().name(), event.name);
            assert!(Event::readings(&log).contains(&own));
            assert!(!own.to_string().contains('\n'));
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

/// Two errors with the same four bytes and different values could be taken for one another.
#[test]
fn contracts_share_selectors_only_for_the_same_error() {
    let mut signatures: BTreeMap<Selector, BTreeSet<String>> = BTreeMap::new();
    let mut owners: BTreeMap<Selector, usize> = BTreeMap::new();
    for (_, abi) in contracts() {
        for error in abi.errors() {
            signatures.entry(error.selector()).or_default().insert(error.signature());
            *owners.entry(error.selector()).or_default() += 1;
        }
    }
    for (selector, same) in signatures {
        assert_eq!(same.len(), 1, "{selector} is {same:?}: read these with `Revert::decode_as`");
    }
    assert!(owners.values().any(|owners| *owners > 1), "contracts do share errors");
}

#[test]
fn reasons_of_solidity_itself_are_read() {
    let said = Revert::decode(&Words::from("not today".to_owned()).abi_encode());
    assert_eq!((said.to_string(), said.name()), ("not today".into(), "Error".into()));
    let panic = Revert::decode(&Panic::from(0x11).abi_encode());
    assert!(panic.to_string().contains("overflow"), "{panic}");
    assert_eq!(Revert::decode(&[]).to_string(), "reverted without a reason");
    assert_eq!(Revert::decode(&[1, 2, 3, 4]).to_string(), "reverted with 0x01020304");
    let deep = Error::new(ErrorKind::Denied, "cannot settle")
        .with_source(Error::invalid("in between").with_source(panic.clone()));
    assert_eq!(Revert::of(&deep), Some(&panic));
    assert_eq!(Revert::of(&Error::invalid("nothing below")), None);
}
