//! Datanets, contributions, versions, models.

use openledger_chain::{
    DatanetEntry, EvmChain, ModelEntry, Models, Price, Registry,
    abi::contribution_registry::ContributionRegistry as abi,
};
use openledger_core::{
    Address, B256, DatanetId, DatanetVersion, Key, RowId, U256,
    merkle::StandardTree,
    message::{Contribution, Nonces, Signed, Verified},
};

use crate::{World, assert_denied};

async fn datanet(world: &World) -> (EvmChain, DatanetId) {
    let owner = world.sending_as(&world.owner);
    let id = owner.create_datanet(&entry("bread")).await.unwrap().value;
    (owner, id)
}

fn entry(name: &str) -> DatanetEntry {
    DatanetEntry::new(name, B256::repeat_byte(9))
}

fn contribution(datanet: DatanetId, key: &Key, now: u64) -> Contribution {
    Contribution {
        datanet,
        root: B256::repeat_byte(0x11),
        rows: 2,
        size: 40,
        terms: B256::repeat_byte(0x22),
        contributor: key.address(),
        nonce: U256::from(1),
        deadline: now + 600,
    }
}

fn sign(world: &World, message: Contribution, key: &Key, now: u64) -> Verified<Contribution> {
    let domain = world.chain.contribution_domain();
    Signed::sign(message, domain, key).verify(&domain, now, &mut Nonces::default()).unwrap()
}

#[tokio::test]
async fn a_datanets_id_is_derived_alike_on_and_off_chain_and_cannot_be_squatted() {
    let world = World::new().await;
    let (owner, id) = datanet(&world).await;
    let domain = world.chain.datanet_domain();
    assert_eq!(id, DatanetId::derive(&domain, world.owner.address(), "bread"));
    assert_denied(owner.create_datanet(&entry("bread")).await, "DatanetExists");
    let squatter = world.sending_as(&world.payer);
    assert_ne!(squatter.create_datanet(&entry("bread")).await.unwrap().value, id);
}

#[tokio::test]
async fn a_signed_contribution_is_recorded_once_by_the_owner_alone() {
    let world = World::new().await;
    let (owner, id) = datanet(&world).await;
    let now = world.chain.now().await.unwrap();
    let message = contribution(id, &world.contributor, now);
    let signed = sign(&world, message, &world.contributor, now);
    assert_denied(world.sending_as(&world.payer).record(&signed).await, "NotOwner");
    let sent = owner.record(&signed).await.unwrap();
    assert_eq!(sent.value, message.id());
    assert_eq!(sent.tx.logs[0].topics[3], B256::from(message.id()), "the contract hashes alike");
    assert_denied(owner.record(&signed).await, "ContributionExists");
}

#[tokio::test]
async fn the_contract_refuses_what_the_contributor_did_not_sign_or_signed_too_long_ago() {
    let world = World::new().await;
    let (owner, id) = datanet(&world).await;
    let now = world.chain.now().await.unwrap();
    let message = contribution(id, &world.contributor, now);
    // What another key signed for itself, in the name of the contributor.
    let by_other = Contribution { contributor: world.payer.address(), ..message };
    let other = sign(&world, by_other, &world.payer, now);
    let contributions = abi::new(world.chain.contracts().contributions, world.chain.provider());
    let typed = abi::Contribution {
        datanet: id.into(),
        root: message.root,
        rows: message.rows,
        size: message.size,
        terms: message.terms,
        contributor: message.contributor,
        nonce: message.nonce,
        deadline: message.deadline,
    };
    let forged = contributions
        .record(typed, other.signature().as_bytes().to_vec().into())
        .from(world.owner.address())
        .call()
        .await;
    let reason =
        forged.unwrap_err().as_decoded_interface_error::<abi::ContributionRegistryErrors>();
    assert!(matches!(reason, Some(abi::ContributionRegistryErrors::SignatureInvalid(_))));

    let late = sign(&world, message, &world.contributor, now);
    world.pass(601).await;
    assert_denied(owner.record(&late).await, "ContributionExpired");
    let empty = Contribution { rows: 0, deadline: now + 6_000, ..message };
    let empty = sign(&world, empty, &world.contributor, now);
    assert_denied(owner.record(&empty).await, "ContributionEmpty");
}

#[tokio::test]
async fn the_contract_verifies_our_proofs_on_trees_of_every_shape() {
    let world = World::new().await;
    let (owner, id) = datanet(&world).await;
    for (version, leaves) in (1..).zip([1usize, 2, 3, 5, 8, 13, 100, 1000]) {
        let rows: Vec<(B256, Address)> = (0..leaves)
            .map(|row| {
                let row = openledger_core::digest("row", &(leaves as u64, row as u64));
                (row, Address::from_word(row))
            })
            .collect();
        let tree = StandardTree::new(rows.clone()).unwrap();
        let pin = DatanetVersion { datanet: id, version, root: tree.root() };
        owner.publish(&pin, leaves as u64).await.unwrap();
        for index in [0, leaves / 2, leaves - 1] {
            let (row, contributor) = rows[index];
            let proof = tree.proof(index);
            let contains = async |row: B256, who: Address, proof: &[B256]| {
                owner.contains_row(&pin, RowId::from(row), who, proof).await.unwrap()
            };
            assert!(contains(row, contributor, &proof).await, "{leaves} leaves, row {index}");
            assert!(!contains(B256::ZERO, contributor, &proof).await);
            assert!(!contains(row, Address::ZERO, &proof).await);
            let mut changed = proof.clone();
            changed.push(B256::ZERO);
            assert!(!contains(row, contributor, &changed).await);
        }
    }
    let unknown = DatanetVersion { datanet: id, version: 99, root: B256::ZERO };
    let proven = owner.contains_row(&unknown, RowId::from(B256::ZERO), Address::ZERO, &[]).await;
    assert!(!proven.unwrap(), "a version without a root contains nothing");
}

#[tokio::test]
async fn versions_are_published_by_the_owner_and_never_empty() {
    let world = World::new().await;
    let (owner, id) = datanet(&world).await;
    let pin = DatanetVersion { datanet: id, version: 1, root: B256::repeat_byte(3) };
    assert_denied(world.sending_as(&world.payer).publish(&pin, 1).await, "NotOwner");
    let empty = DatanetVersion { root: B256::ZERO, ..pin };
    assert_denied(owner.publish(&empty, 1).await, "RootEmpty");
}

#[tokio::test]
async fn a_model_names_versions_that_exist_and_is_its_owners() {
    let world = World::new().await;
    let (owner, id) = datanet(&world).await;
    let version = DatanetVersion { datanet: id, version: 1, root: B256::repeat_byte(3) };
    owner.publish(&version, 1).await.unwrap();
    let entry = ModelEntry {
        model: B256::repeat_byte(7),
        parent: B256::ZERO,
        record: B256::repeat_byte(8),
        datanets: vec![version],
        price: Price { per_thousand_in: 5.into(), per_thousand_out: 6.into() },
    };
    owner.register(&entry).await.unwrap();
    assert_denied(owner.register(&entry).await, "ModelExists");
    let elsewhere = DatanetVersion { root: B256::repeat_byte(4), ..version };
    let invented =
        ModelEntry { model: B256::repeat_byte(9), datanets: vec![elsewhere], ..entry.clone() };
    assert_denied(owner.register(&invented).await, "VersionUnknown");
    let nameless = ModelEntry { model: B256::ZERO, ..entry.clone() };
    assert_denied(owner.register(&nameless).await, "ModelEmpty");
    // Another account's registration of the same files is another registration.
    world.sending_as(&world.payer).register(&entry).await.unwrap();
}
