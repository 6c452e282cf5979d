//! The embedded chain as a node.

use openledger_chain::{
    DevNode, Embedded, Genesis,
    alloy::{
        self,
        providers::{Provider, ProviderBuilder},
        rpc::{
            client::RpcClient,
            types::{EIP1186AccountProofResponse, Filter, TransactionRequest},
        },
        trie::{Nibbles, TrieAccount, proof::verify_proof},
    },
};
use openledger_core::{Address, B256, Bytes, U256, keccak256};

use crate::{World, open};

/// A client that leaves signing to the node.
fn provider(genesis: &Genesis) -> impl Provider + Clone + use<> {
    let client = RpcClient::new(Embedded::new(genesis), true);
    ProviderBuilder::default().connect_client(client)
}

#[tokio::test]
async fn a_fresh_chain_is_what_its_genesis_says() {
    let rich = Address::repeat_byte(7);
    let genesis = Genesis::default().with_chain_id(1612).with_timestamp(5_000).with_funded([rich]);
    let node = provider(&genesis);
    assert_eq!(node.get_chain_id().await.unwrap(), 1612);
    assert_eq!(node.get_balance(rich).await.unwrap(), U256::from(10).pow(U256::from(24)));
    assert_eq!(node.get_balance(Address::ZERO).await.unwrap(), U256::ZERO);
    let block = node.get_block(Default::default()).await.unwrap().unwrap();
    assert_eq!((block.header.number, block.header.timestamp), (0, 5_000));
    assert!(node.get_block_by_number(1.into()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_it_does_not_know_it_says() {
    let node = provider(&Genesis::default());
    let answer = node.raw_request::<_, serde_json::Value>("debug_nothing".into(), ()).await;
    assert_eq!(answer.unwrap_err().as_error_resp().unwrap().code, -32601);
    let answer =
        node.raw_request::<_, serde_json::Value>("eth_getBalance".into(), ("nobody",)).await;
    assert!(answer.unwrap_err().as_error_resp().unwrap().message.contains("parameter 1"));
    let garbage = node.send_raw_transaction(&[1, 2, 3]).await;
    assert!(garbage.unwrap_err().as_error_resp().is_some());
}

#[tokio::test]
async fn transactions_are_blocks_with_receipts_and_logs() {
    let world = World::new().await;
    let sent = world.chain.transfer(world.payer.address(), open(5)).await.unwrap();
    let node = world.chain.provider();
    let receipt = node.get_transaction_receipt(sent.tx.hash).await.unwrap().unwrap();
    assert_eq!((receipt.gas_used, receipt.block_number), (sent.tx.gas, Some(sent.tx.block)));
    let block = node.get_block_by_number(sent.tx.block.into()).full().await.unwrap().unwrap();
    let transaction = block.transactions.as_transactions().unwrap()[0].clone();
    assert_eq!(*transaction.inner.tx_hash(), sent.tx.hash);
    assert_eq!(node.get_transaction_by_hash(sent.tx.hash).await.unwrap().unwrap(), transaction);

    let transfers = Filter::new()
        .address(world.chain.contracts().token)
        .event("Transfer(address,address,uint256)")
        .from_block(0);
    let logs = node.get_logs(&transfers).await.unwrap();
    assert_eq!(logs.len(), 2, "the mint and this");
    assert_eq!(logs[1].transaction_hash, Some(sent.tx.hash));
    assert_eq!(node.get_logs(&transfers.from_block(sent.tx.block + 1)).await.unwrap(), []);
    assert_eq!(world.chain.balance(world.payer.address()).await.unwrap(), open(5));
}

#[tokio::test]
async fn time_passes_as_it_is_told() {
    let world = World::new().await;
    let before = world.chain.now().await.unwrap();
    world.dev.mine().await.unwrap();
    assert_eq!(world.chain.now().await.unwrap(), before + 1);
    world.pass(1_000).await;
    assert_eq!(world.chain.now().await.unwrap(), before + 1_001);
    assert!(world.dev.set_next_timestamp(before).await.is_err(), "never back");
}

#[tokio::test]
async fn a_transaction_that_cannot_pay_or_repeats_changes_nothing() {
    let world = World::new().await;
    let node = world.chain.provider();
    let block = node.get_block_number().await.unwrap();
    let much = TransactionRequest::default()
        .from(world.payer.address())
        .to(world.node.address())
        .value(U256::MAX >> 8)
        .gas_limit(21_000)
        .max_fee_per_gas(0)
        .max_priority_fee_per_gas(0);
    assert!(node.send_transaction(much).await.is_err());
    assert_eq!(node.get_block_number().await.unwrap(), block);
}

/// Contract that stores the calldata's first word in slot 0 and the caller in slot 1:
/// `sstore(0, calldataload(0)); sstore(1, caller())`.
const KEEPER: [u8; 9] = [0x5f, 0x35, 0x5f, 0x55, 0x33, 0x60, 0x01, 0x55, 0x00];

#[tokio::test]
async fn an_impersonated_contract_sends_and_pays_no_gas() {
    let node = provider(&Genesis::default());
    let dev = DevNode::new(node.clone().erased());
    let (keeper, contract) = (Address::repeat_byte(0x11), Address::repeat_byte(0x22));
    dev.set_code(keeper, KEEPER.into()).await.unwrap();
    dev.set_code(contract, KEEPER.into()).await.unwrap();
    assert_eq!(node.get_code_at(keeper).await.unwrap(), Bytes::from(KEEPER));
    let word = B256::repeat_byte(0xab);
    let request =
        TransactionRequest::default().from(contract).to(keeper).input(Bytes::from(word).into());

    let refused = node.send_transaction(request.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("no key of"), "{refused}");
    dev.impersonate(contract).await.unwrap();
    assert_eq!(node.get_accounts().await.unwrap(), [contract]);
    let pending = node.send_transaction(request.clone()).await.unwrap();
    let receipt = node.get_transaction_receipt(*pending.tx_hash()).await.unwrap().unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.from, contract);
    assert_eq!(node.get_storage_at(keeper, U256::ZERO).await.unwrap(), U256::from_be_bytes(word.0));
    let caller = node.get_storage_at(keeper, U256::ONE).await.unwrap();
    assert_eq!(caller, U256::from_be_slice(contract.as_slice()));
    assert_eq!(node.get_transaction_count(contract).await.unwrap(), 1);
    let known = node.get_transaction_by_hash(*pending.tx_hash()).await.unwrap().unwrap();
    assert_eq!(known.inner.signer(), contract);

    dev.stop_impersonating(contract).await.unwrap();
    assert!(node.send_transaction(request).await.is_err());
}

#[tokio::test]
async fn what_is_set_by_decree_is_there() {
    let node = provider(&Genesis::default());
    let dev = DevNode::new(node.clone().erased());
    let who = Address::repeat_byte(0x33);
    dev.set_storage(who, U256::from(5), B256::repeat_byte(6)).await.unwrap();
    dev.set_nonce(who, 9).await.unwrap();
    dev.set_balance(who, U256::from(77)).await.unwrap();
    assert_eq!(
        node.get_storage_at(who, U256::from(5)).await.unwrap(),
        U256::from_be_bytes([6; 32])
    );
    assert_eq!(node.get_transaction_count(who).await.unwrap(), 9);
    assert_eq!(node.get_balance(who).await.unwrap(), U256::from(77));
}

/// Checks a proof against a root, as a bridge's contract on another chain does.
fn verify(root: B256, proof: &EIP1186AccountProofResponse) {
    let account = TrieAccount {
        nonce: proof.nonce,
        balance: proof.balance,
        storage_root: proof.storage_hash,
        code_hash: proof.code_hash,
    };
    let there = account != TrieAccount::default();
    let expected = there.then(|| alloy::rlp::encode(account));
    let key = Nibbles::unpack(keccak256(proof.address));
    verify_proof(root, key, expected, &proof.account_proof).unwrap();
    for slot in &proof.storage_proof {
        let key = Nibbles::unpack(keccak256(slot.key.as_b256()));
        let expected = (!slot.value.is_zero()).then(|| alloy::rlp::encode(slot.value));
        verify_proof(proof.storage_hash, key, expected, &slot.proof).unwrap();
    }
}

#[tokio::test]
async fn proofs_hold_against_the_root_in_the_header() {
    let people = (1..60).map(Address::repeat_byte);
    let genesis = Genesis::default().with_funded(people).with_state_roots();
    let node = provider(&genesis);
    let dev = DevNode::new(node.clone().erased());
    let keeper = Address::repeat_byte(0xee);
    dev.set_code(keeper, KEEPER.into()).await.unwrap();
    for slot in 0..40u64 {
        dev.set_storage(keeper, U256::from(slot), B256::with_last_byte(1)).await.unwrap();
    }
    dev.mine().await.unwrap();
    let root = async || {
        let latest = node.get_block(Default::default()).await.unwrap().unwrap();
        latest.header.state_root
    };
    let before = root().await;
    let keys = [0u8, 39, 40].map(B256::with_last_byte).to_vec();
    let proof = node.get_proof(keeper, keys.clone()).await.unwrap();
    assert_eq!(proof.storage_proof.iter().filter(|slot| slot.value.is_zero()).count(), 1);
    verify(before, &proof);
    verify(before, &node.get_proof(Address::repeat_byte(5), vec![]).await.unwrap());
    verify(before, &node.get_proof(Address::repeat_byte(0xdd), vec![]).await.unwrap());

    dev.set_storage(keeper, U256::from(39), B256::repeat_byte(9)).await.unwrap();
    dev.mine().await.unwrap();
    assert_ne!(root().await, before);
    let changed = node.get_proof(keeper, keys.clone()).await.unwrap();
    verify(root().await, &changed);
    let old = node.get_proof(keeper, keys).block_id(1.into()).await.unwrap();
    assert_eq!(old, proof, "the past is kept");
}
