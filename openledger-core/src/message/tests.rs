use super::*;
use crate::{Amount, DatanetId, RowId, share::WHOLE};

const NOW: u64 = 1_800_000_000;

fn key(byte: u8) -> Key {
    Key::from_bytes(B256::repeat_byte(byte)).unwrap()
}

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(0xcc) }
}

fn contribution(key: &Key) -> Contribution {
    Contribution {
        datanet: DatanetId::from(B256::repeat_byte(1)),
        root: B256::repeat_byte(2),
        rows: 3,
        size: 400,
        terms: B256::repeat_byte(5),
        contributor: key.address(),
        nonce: U256::from(6),
        deadline: NOW + 60,
    }
}

#[test]
fn a_signed_message_verifies_once() {
    let key = key(7);
    let signed = Signed::sign(contribution(&key), domain(), &key);
    let mut nonces = Nonces::default();
    let verified = signed.verify(&domain(), NOW, &mut nonces).unwrap();
    assert_eq!(verified.message(), &contribution(&key));
    assert_eq!(
        signed.verify(&domain(), NOW, &mut nonces),
        Err(SignatureError::Replayed { nonce: U256::from(6) })
    );
}

#[test]
fn another_chain_or_contract_is_refused_even_with_the_domain_rewritten() {
    let key = key(7);
    let signed = Signed::sign(contribution(&key), domain(), &key);
    for other in [
        Domain { chain_id: 1, ..domain() },
        Domain { contract: Address::repeat_byte(0xcd), ..domain() },
    ] {
        assert!(matches!(
            signed.verify_reusable(&other, NOW),
            Err(SignatureError::WrongDomain { .. })
        ));
        let moved = Signed::from_parts(contribution(&key), other, *signed.signature());
        assert!(matches!(
            moved.verify_reusable(&other, NOW),
            Err(SignatureError::WrongSigner { .. } | SignatureError::Malformed)
        ));
    }
}

#[test]
fn the_deadline_is_the_last_second() {
    let key = key(7);
    let signed = Signed::sign(contribution(&key), domain(), &key);
    assert!(signed.verify_reusable(&domain(), NOW + 60).is_ok());
    assert_eq!(
        signed.verify_reusable(&domain(), NOW + 61),
        Err(SignatureError::Expired { deadline: NOW + 60, now: NOW + 61 })
    );
}

#[test]
fn another_key_and_a_changed_message_are_refused() {
    let [owner, thief] = [key(7), key(8)];
    let forged = Signed::sign(contribution(&owner), domain(), &thief);
    assert_eq!(
        forged.verify_reusable(&domain(), NOW),
        Err(SignatureError::WrongSigner { expected: owner.address(), found: thief.address() })
    );
    let genuine = Signed::sign(contribution(&owner), domain(), &owner);
    let changed = Contribution { rows: 4, ..contribution(&owner) };
    let moved = Signed::from_parts(changed, domain(), *genuine.signature());
    assert!(moved.verify_reusable(&domain(), NOW).is_err());
}

#[test]
fn the_high_s_twin_of_a_signature_is_refused() {
    // The order of secp256k1 (SEC 2, section 2.4.1).
    let order: U256 =
        "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let key = key(7);
    let signed = Signed::sign(contribution(&key), domain(), &key);
    let mut twin = *signed.signature().as_bytes();
    let s = U256::from_be_slice(&twin[32..64]);
    twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    twin[64] = 27 + 28 - twin[64];
    let twin = Signed::from_parts(contribution(&key), domain(), Signature::from_bytes(twin));
    assert_eq!(twin.verify_reusable(&domain(), NOW), Err(SignatureError::HighS));
}

#[test]
fn a_failed_check_spends_no_nonce() {
    let [owner, thief] = [key(7), key(8)];
    let mut nonces = Nonces::default();
    let forged = Signed::sign(contribution(&owner), domain(), &thief);
    assert!(forged.verify(&domain(), NOW, &mut nonces).is_err());
    let genuine = Signed::sign(contribution(&owner), domain(), &owner);
    assert!(genuine.verify(&domain(), NOW, &mut nonces).is_ok());
}

#[test]
fn malformed_bytes_are_an_error() {
    for v in [0, 1, 26, 29, 255] {
        let mut bytes = [1; 65];
        bytes[64] = v;
        let recovered = Signature::from_bytes(bytes).recover(B256::ZERO);
        assert_eq!(recovered, Err(SignatureError::Malformed), "v = {v}");
    }
    assert!(Signature::from_bytes([0; 65]).recover(B256::ZERO).is_err());
    assert!("0x12".parse::<Signature>().is_err());
}

#[test]
fn type_strings_are_those_of_the_contracts() {
    use alloy_sol_types::SolStruct;
    assert_eq!(
        typed::Contribution::eip712_encode_type(),
        "Contribution(bytes32 datanet,bytes32 root,uint64 rows,uint64 size,bytes32 terms,\
         address contributor,uint256 nonce,uint64 deadline)"
    );
    assert_eq!(
        typed::Receipt::eip712_encode_type(),
        "Receipt(bytes32 model,bytes32 adapter,DatanetVersion[] datanets,string method,\
         bytes32 prompt,bytes32 output,uint64 tokensIn,uint64 tokensOut,uint256 fee,\
         RowShare[] shares,address payer,address node,uint256 nonce,uint64 deadline)\
         DatanetVersion(bytes32 datanet,uint64 version,bytes32 root)\
         RowShare(bytes32 row,bytes32 datanet,address contributor,uint64 weight)"
    );
}

#[test]
fn every_field_of_every_message_changes_its_hash() {
    let grant = Grant {
        datanet: DatanetId::from(B256::repeat_byte(1)),
        version: 2,
        scope: Scope::Train,
        purpose: B256::repeat_byte(3),
        grantee: Address::repeat_byte(4),
        not_before: 5,
        not_after: 6,
        owner: Address::repeat_byte(7),
        nonce: U256::from(8),
        deadline: 9,
    };
    let changed = [
        Grant { datanet: DatanetId::from(B256::ZERO), ..grant },
        Grant { version: 0, ..grant },
        Grant { scope: Scope::Read, ..grant },
        Grant { purpose: B256::ZERO, ..grant },
        Grant { grantee: Address::ZERO, ..grant },
        Grant { not_before: 0, ..grant },
        Grant { not_after: 0, ..grant },
        Grant { owner: Address::ZERO, ..grant },
        Grant { nonce: U256::ZERO, ..grant },
        Grant { deadline: 0, ..grant },
    ];
    let hashes: BTreeSet<B256> = changed.iter().chain([&grant]).map(Message::struct_hash).collect();
    assert_eq!(hashes.len(), changed.len() + 1);
}

#[test]
fn every_field_of_feedback_and_of_updates_changes_their_hashes() {
    let feedback = Feedback {
        adapter: B256::repeat_byte(1),
        prompt: B256::repeat_byte(2),
        output: B256::repeat_byte(3),
        value: -4,
        validator: Address::repeat_byte(5),
        nonce: U256::from(6),
        deadline: 7,
    };
    let changed = [
        Feedback { adapter: B256::ZERO, ..feedback },
        Feedback { prompt: B256::ZERO, ..feedback },
        Feedback { output: B256::ZERO, ..feedback },
        Feedback { value: 4, ..feedback },
        Feedback { validator: Address::ZERO, ..feedback },
        Feedback { nonce: U256::ZERO, ..feedback },
        Feedback { deadline: 0, ..feedback },
    ];
    let hashes: BTreeSet<B256> =
        changed.iter().chain([&feedback]).map(Message::struct_hash).collect();
    assert_eq!(hashes.len(), changed.len() + 1);

    let update = LocalUpdate {
        run: B256::repeat_byte(1),
        round: 2,
        start: B256::repeat_byte(3),
        update: B256::repeat_byte(4),
        steps: 5,
        labels: 6,
        worker: Address::repeat_byte(7),
        nonce: U256::from(8),
        deadline: 9,
    };
    let changed = [
        LocalUpdate { run: B256::ZERO, ..update },
        LocalUpdate { round: 0, ..update },
        LocalUpdate { start: B256::ZERO, ..update },
        LocalUpdate { update: B256::ZERO, ..update },
        LocalUpdate { steps: 0, ..update },
        LocalUpdate { labels: 0, ..update },
        LocalUpdate { worker: Address::ZERO, ..update },
        LocalUpdate { nonce: U256::ZERO, ..update },
        LocalUpdate { deadline: 0, ..update },
    ];
    let hashes: BTreeSet<B256> =
        changed.iter().chain([&update]).map(Message::struct_hash).collect();
    assert_eq!(hashes.len(), changed.len() + 1);
    assert_eq!(crate::decode::<LocalUpdate>(&crate::encode(&update)).unwrap(), update);
}

fn share(row: u8, weight: u64) -> RowShare {
    RowShare {
        row: RowId::from(B256::repeat_byte(row)),
        datanet: DatanetId::from(B256::repeat_byte(row % 2)),
        contributor: Address::repeat_byte(row / 2),
        weight,
    }
}

#[test]
fn shares_are_sorted_unique_positive_and_whole() {
    let shares = Shares::new(vec![share(3, WHOLE - 5), share(1, 5)]).unwrap();
    assert_eq!(shares.rows()[0], share(1, 5));
    assert!(Shares::new(vec![share(1, WHOLE), share(1, 0)]).is_err());
    assert!(Shares::new(vec![share(1, WHOLE / 2), share(1, WHOLE / 2)]).is_err());
    assert!(Shares::new(vec![share(1, WHOLE - 1)]).is_err());
    assert!(Shares::new(vec![]).is_err());
    let unsorted = crate::encode(&vec![share(3, WHOLE - 5), share(1, 5)]);
    assert!(crate::decode::<Shares>(&unsorted).is_err());
    assert_eq!(crate::decode::<Shares>(&crate::encode(&shares)).unwrap(), shares);
}

#[test]
fn shares_add_up_by_contributor_and_by_datanet() {
    let shares = Shares::new(vec![share(2, 10), share(3, 20), share(5, WHOLE - 30)]).unwrap();
    let by_contributor = shares.by_contributor();
    assert_eq!(by_contributor[&Address::repeat_byte(1)], 30);
    assert_eq!(by_contributor[&Address::repeat_byte(2)], WHOLE - 30);
    assert_eq!(shares.by_datanet()[&DatanetId::from(B256::repeat_byte(1))], WHOLE - 10);
}

#[test]
fn a_receipt_round_trips_through_json_and_bytes() {
    let receipt = Receipt {
        model: crate::ModelId::from(B256::repeat_byte(1)),
        adapter: crate::AdapterId::from(B256::repeat_byte(2)),
        datanets: vec![DatanetVersion {
            datanet: DatanetId::from(B256::repeat_byte(3)),
            version: 1,
            root: B256::repeat_byte(4),
        }],
        method: "datainf".to_owned(),
        prompt: Receipt::text_hash("why?"),
        output: Receipt::text_hash("because"),
        tokens_in: 3,
        tokens_out: 4,
        fee: Amount::OPEN,
        shares: Shares::new(vec![share(1, WHOLE)]).unwrap(),
        payer: Address::repeat_byte(8),
        node: Address::repeat_byte(9),
        nonce: U256::from(10),
        deadline: 11,
    };
    let json = serde_json::to_string(&receipt).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt);
    assert_eq!(crate::decode::<Receipt>(&crate::encode(&receipt)).unwrap(), receipt);
    let paid_less = Receipt { fee: Amount::ZERO, ..receipt.clone() };
    assert_ne!(paid_less.id(), receipt.id());
}
