//! The node's process: does the epoch, or as much of it as it lives to do.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use openledger_chain::{
    Attributions, BatchName, EvmChain, Files, Journal, Keep, Payments,
    abi::{
        attribution_log::AttributionLog, inference_escrow::InferenceEscrow,
        reward_distributor::RewardDistributor,
    },
    alloy::primitives::Uint,
    da::{Availability, Certificate},
    settlement::{Before, Distributor, EpochBuilder, Settlement},
};
use openledger_core::{
    Address, Amount, B256, Bytes, Receipt, encode, keccak256, message::Verified,
};

use crate::{
    People,
    common::{Result, Stage, open, receipt},
    connect, data_layer,
};

/// Lives until it has written a page of the journal, or has nothing left to do.
pub(super) async fn live(folder: &Path, life: u32, people: &People) -> Result<()> {
    let node = connect(folder, people).await?.sending_as(people.node.address());
    let files = Files::open(folder.join("journal"))?;
    let keep = Mortal { files, written: AtomicU32::new(0), life };
    let da = data_layer(folder).await?;
    let mut journal = Journal::new(&node, keep, "epoch 7");
    settle_epoch(&node, &mut journal, &da, people).await
}

async fn settle_epoch(
    node: &EvmChain,
    journal: &mut Journal,
    da: &Availability,
    people: &People,
) -> Result<()> {
    let contracts = *node.contracts();
    let (split, accounts) = node.fee_split().await?;
    let mut epoch = EpochBuilder::new(split, accounts, Before::default());
    let receipts = receipts(node, people)?;
    for receipt in &receipts {
        epoch.add(receipt, people.olga.address())?;
    }
    let bodies: Vec<Receipt> = receipts.iter().map(|receipt| receipt.message().clone()).collect();
    let publish = async || {
        let certificate = da.put(encode(&bodies)).await?;
        Ok(Bytes::copy_from_slice(certificate.hash().as_slice()))
    };
    let body = B256::from_slice(&journal.note("publish receipts", publish).await?);

    let root = epoch.batch()?.root();
    let log = AttributionLog::new(contracts.attributions, node.provider());
    let count = Uint::from(receipts.len());
    journal.step("log", log.log(7, keccak256("model"), root, body, count)).await?;
    let batch = node.batch(BatchName { node: node.sender(), root }).await?;
    let left = batch.final_at.saturating_sub(node.now().await?);
    if left > 0 {
        Stage::of(node.clone()).pass(left).await?;
    }

    let charge = |(payer, amount): (Address, Amount)| InferenceEscrow::Charge {
        payer,
        amount: amount.units(),
    };
    let escrow = InferenceEscrow::new(contracts.escrow, node.provider());
    journal.step("settle", escrow.settle(root, epoch.charges().map(charge).collect())).await?;

    let rewards = RewardDistributor::new(contracts.distributor, node.provider());
    let funded = Amount::new(rewards.funded().call().await?);
    let place = Distributor {
        chain_id: node.chain_id(),
        contract: contracts.distributor,
        token: contracts.token,
    };
    let claims: Settlement = epoch.build(&place, funded)?;
    let (root, total) = (claims.root(), claims.total().units().to());
    let publish = async || Ok(claims.publish(da).await?.certificate().encode().into());
    let certificate = journal.note("publish claims", publish).await?;
    let body = Certificate::decode(&certificate)?.hash();
    journal.step("submit", rewards.submitRoot(root, body, total)).await?;
    Ok(())
}

/// Three answers: carol's rows weigh a quarter and dave's the rest; three units that no split
/// divides; all of it dave's.
fn receipts(chain: &EvmChain, people: &People) -> Result<[Verified<Receipt>; 3]> {
    let People { node, alice, bob, carol, dave, .. } = people;
    let both = [(carol.address(), 25), (dave.address(), 75)];
    let from_alice = |amount| (alice.address(), amount);
    Ok([
        receipt(chain, (node, 1), from_alice(open(1)), &both)?,
        receipt(chain, (node, 2), from_alice(Amount::from(3)), &both)?,
        receipt(chain, (node, 3), (bob.address(), open(2)), &[(dave.address(), 100)])?,
    ])
}

/// A journal whose owner lives to write one page, and is killed at the second.
#[derive(Debug)]
struct Mortal {
    files: Files,
    written: AtomicU32,
    life: u32,
}

#[async_trait]
impl Keep for Mortal {
    async fn load(&self, name: &str) -> openledger_core::Result<Option<Bytes>> {
        self.files.load(name).await
    }

    async fn save(&self, name: &str, bytes: Bytes) -> openledger_core::Result<()> {
        if self.written.fetch_add(1, Ordering::Relaxed) == 1 {
            println!("life {} of the node ends before it writes `{name}`", self.life);
            std::process::abort();
        }
        self.files.save(name, bytes).await
    }
}
