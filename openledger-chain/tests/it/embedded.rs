//! The embedded chain as a node.

use openledger_chain::{
    Embedded, Genesis,
    alloy::{
        providers::{Provider, ProviderBuilder},
        rpc::{
            client::RpcClient,
            types::{Filter, TransactionRequest},
        },
    },
};
use openledger_core::{Address, U256};

use crate::{World, open};

fn provider(genesis: &Genesis) -> impl Provider + use<> {
    ProviderBuilder::new().connect_client(RpcClient::new(Embedded::new(genesis), true))
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
