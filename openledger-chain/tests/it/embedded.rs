//! The embedded chain as a node.

use openledger_chain::{
    DevNode, Embedded, Genesis,
    alloy::{
        self,
        providers::{Provider, ProviderBuilder},
        rpc::{
            client::RpcClient,
            types::{
                EIP1186AccountProofResponse, Filter, Log, TransactionRequest,
                state::{AccountOverride, StateOverride},
            },
        },
        trie::{Nibbles, TrieAccount, proof::verify_proof},
    },
};
use openledger_core::{Address, B256, Bytes, ErrorKind, U256, keccak256};

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
    let garbage = garbage.unwrap_err();
    assert_eq!(garbage.as_error_resp().unwrap().code, -32000, "{garbage}");
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
    let back = world.dev.set_next_timestamp(before).await.unwrap_err().report();
    assert!(back.contains(&format!("timestamp {before} is not after")), "{back}");
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
    let refused = node.send_transaction(much).await.unwrap_err().to_string();
    assert!(refused.contains("lack of funds"), "{refused}");
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
    let refused = node.send_transaction(request).await.unwrap_err();
    assert!(refused.to_string().contains("no key of"), "{refused}");
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

/// Contract that logs the calldata's first word as the topic: `log1(0, 0, calldataload(0))`.
const SPEAKER: [u8; 7] = [0x5f, 0x35, 0x5f, 0x5f, 0xa1, 0x00, 0x00];

/// A node that sends for anybody, with [`SPEAKER`] at an address.
async fn speaking() -> (impl Provider + Clone, DevNode, Embedded, Address) {
    let chain = Embedded::new(&Genesis::default());
    let node = ProviderBuilder::default().connect_client(RpcClient::new(chain.clone(), true));
    let dev = DevNode::new(node.clone().erased());
    let speaker = Address::repeat_byte(0x50);
    dev.set_code(speaker, SPEAKER.into()).await.unwrap();
    chain.impersonate([Address::ZERO]);
    (node, dev, chain, speaker)
}

async fn speak(node: &impl Provider, speaker: Address, word: u8) -> B256 {
    let request = TransactionRequest::default()
        .from(Address::ZERO)
        .to(speaker)
        .input(Bytes::from(B256::repeat_byte(word)).into());
    *node.send_transaction(request).await.unwrap().tx_hash()
}

fn words(logs: &[Log]) -> Vec<(u8, bool)> {
    logs.iter().map(|log| (log.topics()[0][0], log.removed)).collect()
}

#[tokio::test]
async fn a_reorganisation_takes_transactions_and_tells_who_follows() {
    let (node, dev, _, speaker) = speaking().await;
    let filter = node.new_filter(&Filter::new().address(speaker)).await.unwrap();
    let blocks = node.new_block_filter().await.unwrap();
    let changes = async || node.get_filter_changes::<Log>(filter).await.unwrap();
    speak(&node, speaker, 1).await;
    let gone = speak(&node, speaker, 2).await;
    let before = node.get_block(2.into()).await.unwrap().unwrap().header.hash;
    assert_eq!(words(&changes().await), [(1, false), (2, false)]);
    assert_eq!(changes().await, []);
    assert_eq!(node.get_filter_changes::<B256>(blocks).await.unwrap().len(), 2);

    dev.reorg(1).await.unwrap();
    assert_eq!(node.get_block_number().await.unwrap(), 2, "as high as before");
    assert_eq!(node.get_transaction_receipt(gone).await.unwrap(), None);
    assert!(node.get_block_by_hash(before).await.unwrap().is_none());
    assert_ne!(node.get_block(2.into()).await.unwrap().unwrap().header.hash, before);
    assert_eq!(node.get_transaction_count(Address::ZERO).await.unwrap(), 1);
    assert_eq!(words(&changes().await), [(2, true)]);
    assert_eq!(node.get_filter_changes::<B256>(blocks).await.unwrap().len(), 1);
    assert_eq!(speak(&node, speaker, 2).await, gone, "and can be sent again");
    assert_eq!(words(&changes().await), [(2, false)]);

    dev.roll_back(2).await.unwrap();
    assert_eq!(node.get_block_number().await.unwrap(), 1);
    let refused = dev.roll_back(2).await.unwrap_err().report();
    assert!(refused.contains("cannot go back 2 blocks"), "the first block stays: {refused}");
    assert!(node.uninstall_filter(filter).await.unwrap());
    let gone = node.get_filter_changes::<Log>(filter).await.unwrap_err().to_string();
    assert!(gone.contains("there is no filter"), "{gone}");
}

#[tokio::test]
async fn a_snapshot_is_restored_as_often_as_one_likes_in_both_directions() {
    let (node, dev, chain, speaker) = speaking().await;
    let early = chain.snapshot().unwrap();
    let first = speak(&node, speaker, 1).await;
    let late = chain.snapshot().unwrap();
    let known = async || node.get_transaction_receipt(first).await.unwrap().is_some();
    for _ in 0..2 {
        chain.restore(early).unwrap();
        assert!(!known().await);
        chain.restore(late).unwrap();
        assert!(known().await);
    }
    let other = Embedded::new(&Genesis::default().with_chain_id(2));
    other.snapshot().unwrap();
    assert_eq!(other.restore(early).unwrap_err().kind(), ErrorKind::NotFound);

    let taken = dev.snapshot().await.unwrap();
    speak(&node, speaker, 2).await;
    dev.revert(taken).await.unwrap();
    assert_eq!(node.get_block_number().await.unwrap(), 1);
    assert_eq!(dev.revert(taken).await.unwrap_err().kind(), ErrorKind::NotFound, "once");
}

#[tokio::test]
async fn the_past_answers_as_far_as_it_is_kept() {
    let (node, dev, _, speaker) = speaking().await;
    let rich = Address::repeat_byte(0x77);
    for balance in 1..=3u64 {
        dev.set_balance(rich, U256::from(balance)).await.unwrap();
        dev.mine().await.unwrap();
    }
    let balance = async |block: u64| node.get_balance(rich).block_id(block.into()).await;
    assert_eq!(balance(0).await.unwrap(), U256::ZERO);
    assert_eq!(balance(2).await.unwrap(), U256::from(2));
    let call = TransactionRequest::default().to(speaker);
    assert!(node.call(call.clone()).block(1.into()).await.is_ok());
    assert!(balance(4).await.unwrap_err().to_string().contains("no block"));
    dev.mine_many(300, 7).await.unwrap();
    let [last, before] = [303u64, 302].map(|number| node.get_block(number.into()));
    let [last, before] = [last.await, before.await].map(|block| block.unwrap().unwrap().header);
    assert_eq!(last.timestamp - before.timestamp, 7);
    let error = balance(2).await.unwrap_err().to_string();
    assert!(error.contains("the state of block 2 is gone; 48 is the oldest"), "{error}");
    assert!(node.get_block(2.into()).await.unwrap().is_some(), "blocks are kept for good");
}

#[tokio::test]
async fn logs_are_found_by_place_address_and_topic() {
    let (node, dev, _, speaker) = speaking().await;
    for word in 1..=4 {
        speak(&node, speaker, word).await;
        dev.mine().await.unwrap();
    }
    let all = Filter::new().from_block(0);
    let found = async |filter: &Filter| words(&node.get_logs(filter).await.unwrap());
    assert_eq!(found(&all).await.len(), 4);
    assert_eq!(found(&all.clone().address(Address::ZERO)).await, []);
    let third = all.clone().event_signature(B256::repeat_byte(3));
    assert_eq!(found(&third).await, [(3, false)]);
    assert_eq!(found(&all.clone().from_block(3).to_block(5)).await, [(2, false), (3, false)]);
    assert_eq!(found(&Filter::new()).await, [], "the latest block alone, which is empty");
    let hash = node.get_block(1.into()).await.unwrap().unwrap().header.hash;
    assert_eq!(found(&Filter::new().at_block_hash(hash)).await, [(1, false)]);
    let nowhere = Filter::new().at_block_hash(B256::ZERO);
    let unknown = node.get_logs(&nowhere).await.unwrap_err().to_string();
    assert!(unknown.contains("there is no block"), "{unknown}");
}

#[tokio::test]
async fn a_block_is_told_in_every_form_wallets_ask() {
    let (node, _, _, speaker) = speaking().await;
    let hash = speak(&node, speaker, 1).await;
    let block = node.get_block(1.into()).full().await.unwrap().unwrap();
    let transactions = block.transactions.as_transactions().unwrap();
    let roots = (block.header.transactions_root, block.header.receipts_root);
    assert!(roots.0 != alloy::trie::EMPTY_ROOT_HASH && roots.1 != alloy::trie::EMPTY_ROOT_HASH);
    assert_eq!(block.header.hash, block.header.inner.hash_slow());
    let receipts = node.get_block_receipts(1.into()).await.unwrap().unwrap();
    assert_eq!(receipts[0].transaction_hash, hash);
    assert_eq!(receipts[0].inner.logs_bloom(), &block.header.logs_bloom);
    assert_eq!(node.get_block_transaction_count_by_number(1.into()).await.unwrap(), Some(1));
    let by_hash = node.get_block_transaction_count_by_hash(block.header.hash).await.unwrap();
    assert_eq!(by_hash, Some(1));
    let at = node.get_transaction_by_block_number_and_index(1.into(), 0).await.unwrap();
    assert_eq!(at.as_ref(), transactions.first());
    let none = node.get_transaction_by_block_hash_and_index(block.header.hash, 1).await.unwrap();
    assert_eq!(none, None);
    let fees = node.get_fee_history(2, 1.into(), &[50.0]).await.unwrap();
    assert_eq!(
        (fees.oldest_block, fees.base_fee_per_gas.len(), fees.gas_used_ratio[0]),
        (0, 3, 0.0)
    );
    assert!(fees.gas_used_ratio[1] > 0.0);
    assert!(node.get_client_version().await.unwrap().starts_with("openledger-chain/"));
    assert_eq!(node.get_max_priority_fee_per_gas().await.unwrap(), 0);
}

#[tokio::test]
async fn a_call_may_suppose_another_state_and_tells_what_it_touched() {
    let (node, dev, _, _) = speaking().await;
    let keeper = Address::repeat_byte(0x4b);
    // `return(0, mstore(0, sload(0)) 32)`
    let teller = Bytes::from_static(&[0x5f, 0x54, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    let call = TransactionRequest::default().to(keeper);
    let slot = (B256::ZERO, B256::repeat_byte(5));
    let supposed = AccountOverride::default().with_code(teller.clone()).with_state_diff([slot]);
    let overrides = StateOverride::from_iter([(keeper, supposed)]);
    let answer = node.call(call.clone()).overrides(overrides).await.unwrap();
    assert_eq!(answer, Bytes::from(slot.1));
    assert_eq!(node.call(call.clone()).await.unwrap(), Bytes::new(), "supposing changes nothing");

    dev.set_code(keeper, teller).await.unwrap();
    let touched = node.create_access_list(&call).await.unwrap();
    assert_eq!(touched.access_list.0.len(), 1);
    assert_eq!(touched.access_list.0[0].storage_keys, [B256::ZERO]);
    assert_eq!(touched.error, None);
    assert!(node.estimate_gas(call).await.unwrap() > 21_000);
    let plain = TransactionRequest::default().to(Address::repeat_byte(1));
    assert_eq!(node.estimate_gas(plain).await.unwrap(), 21_000);
}
