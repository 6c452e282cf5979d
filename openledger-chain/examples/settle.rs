//! An epoch from receipts to money in people's hands, by a node that is killed at every write.
//!
//! ```sh
//! cargo run --release --example settle
//! ```
//!
//! The node is a process of its own, which lives just long enough to write one page of its
//! journal. It writes one before it sends a transaction and one after, so three of its lives end
//! with a transaction on the chain whose outcome nobody wrote down. The next one opens chain and
//! journal where the last left them; when the epoch is done, everything was done once. What it
//! says is asserted.
//!
//! ```text
//! # Money put down
//!
//!  1. alice puts 10 OPEN into escrow and reserves 5 for the node
//!  2. bob puts 10 OPEN into escrow and reserves 5 for the node
//!
//! # The epoch
//!
//! life 1 of the node ends before it writes `epoch 7/log`
//! life 2 of the node ends before it writes `epoch 7/log`
//! life 3 of the node ends before it writes `epoch 7/settle`
//! life 4 of the node ends before it writes `epoch 7/settle`
//! life 5 of the node ends before it writes `epoch 7/publish claims`
//! life 6 of the node ends before it writes `epoch 7/submit`
//! life 7 of the node ends before it writes `epoch 7/submit`
//! life 8 of the node does the rest
//!
//! # Money paid out
//!
//!  1. the node sent three transactions: log, settle, submit; each of them once
//!  2. alice paid 1 OPEN and 3 units, bob 2 OPEN; the rest is still theirs
//!  3. 5 claims are published; whoever reads them has the proofs
//!  4. dave's claim, a day too soon: root pending
//!  5. carol signs that her money goes to her cold wallet; bob brings the signature
//!  6. it counts once: invalid account nonce
//!  7. bob claims for everybody, which costs him gas and brings him nothing:
//!  8. 0.125 OPEN to carol's cold wallet
//!  9. 1.375000000000000001 OPEN to dave
//! 10. 0.600000000000000001 OPEN to olga, the model's owner
//! 11. 0.600000000000000001 OPEN to the stakers' pool
//! 12. 0.3 OPEN to the treasury
//! 13. that is all that was paid, to the unit: the distributor is empty
//! ```
#![expect(clippy::print_stdout, reason = "a story is printed")]

mod common;

use std::{
    env, fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use common::{DAY, HOUR, Result, Stage, key, open, receipt, refused};
use openledger_chain::{
    Attributions, BatchName, Contracts, DeployOptions, Embedded, EvmChain, Files, Genesis, Journal,
    Keep, Payments, Rewards,
    abi::{
        attribution_log::AttributionLog, inference_escrow::InferenceEscrow,
        reward_distributor::RewardDistributor,
    },
    alloy::{
        primitives::Uint,
        providers::{DynProvider, Provider},
        sol_types::SolStruct,
    },
    da::{Availability, Certificate, Local},
    provider,
    settlement::{Before, Distributor, EpochBuilder, Published, Settlement},
};
use openledger_core::{
    Address, Amount, B256, Bytes, Key, Receipt, Store, U256, encode, keccak256, message::Verified,
};

struct People {
    admin: Key,
    node: Key,
    alice: Key,
    bob: Key,
    carol: Key,
    dave: Key,
    /// Owns the model.
    olga: Key,
}

/// Gets the stakers' part.
const STAKERS: Address = Address::repeat_byte(0x57);
/// Where carol keeps what she earns; it signs nothing.
const COLD: Address = Address::repeat_byte(0xc0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let people = People {
        admin: key("admin")?,
        node: key("node")?,
        alice: key("alice")?,
        bob: key("bob")?,
        carol: key("carol")?,
        dave: key("dave")?,
        olga: key("olga")?,
    };
    let words: Vec<String> = env::args().skip(1).collect();
    match &words[..] {
        [] => story(&people).await,
        [folder, life] => one_life(folder.as_ref(), life.parse()?, &people).await,
        _ => Err("it takes no arguments".into()),
    }
}

async fn story(people: &People) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    println!("# Money put down\n");
    put_down(at, people).await?;
    println!("\n# The epoch\n");
    let program = env::current_exe()?;
    let mut lives = 1u32;
    while let status = Command::new(&program).arg(at).arg(lives.to_string()).status()?
        && !status.success()
    {
        // An error ends the process with 1; being killed is something else.
        assert_ne!(status.code(), Some(1), "life {lives} failed");
        lives += 1;
    }
    assert_eq!(lives, 8, "two writes a transaction, one a publication");
    println!("life {lives} of the node does the rest");
    println!("\n# Money paid out\n");
    paid_out(at, people).await
}

/// Alice and bob put OPEN into escrow, on a chain that is kept in a folder.
async fn put_down(folder: &Path, people: &People) -> Result<()> {
    let People { admin, node, alice, bob, .. } = people;
    let options = DeployOptions::new(admin.address())
        .with_staking_pool(STAKERS)
        .with_nodes([node.address()])
        .with_delays(DAY, DAY, DAY);
    let chain = EvmChain::deploy(reopen(folder, people)?, options).await?.chain;
    let contracts = serde_json::to_vec(chain.contracts())?;
    fs::write(folder.join("contracts.json"), contracts)?;
    let stage = Stage::of(chain);
    let expires = stage.chain.now().await? + 30 * DAY;
    for (who, name) in [(alice, "alice"), (bob, "bob")] {
        stage.chain.transfer(who.address(), open(10)).await?;
        stage.by(who).deposit(open(10)).await?;
        stage.by(who).authorize(node.address(), open(5), expires).await?;
        let reserved = stage.chain.reserved(who.address(), node.address()).await?;
        assert_eq!(reserved.amount, open(5));
        stage.say(format!("{name} puts 10 OPEN into escrow and reserves 5 for the node"));
    }
    Ok(())
}

/// The node's process: does the epoch, or as much of it as it lives to do.
async fn one_life(folder: &Path, life: u32, people: &People) -> Result<()> {
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

async fn paid_out(folder: &Path, people: &People) -> Result<()> {
    let People { admin, node, alice, bob, carol, dave, olga } = people;
    let stage = Stage::of(connect(folder, people).await?);
    let contracts = *stage.chain.contracts();
    let provider = stage.chain.provider();
    assert_eq!(provider.get_transaction_count(node.address()).await?, 3);
    stage.say("the node sent three transactions: log, settle, submit; each of them once");
    let left = [alice, bob].map(|who| stage.chain.reserved(who.address(), node.address()));
    let [alices, bobs] = left;
    assert_eq!(alices.await?.amount.to_open(), "3.999999999999999997");
    assert_eq!(bobs.await?.amount, open(3));
    stage.say("alice paid 1 OPEN and 3 units, bob 2 OPEN; the rest is still theirs");

    let rewards = RewardDistributor::new(contracts.distributor, provider);
    let submitted = rewards.RootSubmitted_filter().from_block(0).query().await?;
    let [(root, _)] = &submitted[..] else { return Err("not one root".into()) };
    let da = data_layer(folder).await?;
    let certificate = Certificate::local(root.body);
    let published = Published::load(&da, &certificate, root.root).await?;
    let claims = published.settlement();
    stage.say(format!(
        "{} claims are published; whoever reads them has the proofs",
        claims.claims().len()
    ));

    let (claim, proof) = claims.claim(dave.address())?;
    let early = refused(stage.by(bob).claim(0, &claim, &proof).await, "RootPending");
    stage.say(format!("dave's claim, a day too soon: {early}"));
    stage.pass(DAY).await?;

    let deadline = stage.chain.now().await? + HOUR;
    let (account, nonce) = (carol.address(), U256::ZERO);
    let wish = typed::SetClaimer { account, claimer: COLD, nonce, deadline };
    let domain = openledger_core::message::Domain {
        chain_id: stage.chain.chain_id(),
        contract: contracts.distributor,
    };
    let signature = carol.sign(wish.eip712_signing_hash(&domain.to_eip712()));
    let signature = Bytes::copy_from_slice(signature.as_bytes());
    let call = rewards.setClaimerBySig(account, COLD, nonce, deadline, signature);
    stage.by(bob).send("name a claimer", call.clone()).await?;
    let again = refused(stage.by(bob).send("again", call).await, "InvalidAccountNonce");
    stage.say("carol signs that her money goes to her cold wallet; bob brings the signature");
    stage.say(format!("it counts once: {again}"));

    let before = stage.chain.balance(admin.address()).await?;
    for claim in claims.claims() {
        let (claim, proof) = claims.claim(claim.account)?;
        let paid = stage.by(bob).claim(0, &claim, &proof).await?.value;
        assert_eq!(paid, claim.cumulative);
        refused(stage.by(bob).claim(0, &claim, &proof).await, "NothingToClaim");
    }
    stage.say("bob claims for everybody, which costs him gas and brings him nothing:");
    for (who, account, earned) in [
        ("carol's cold wallet", COLD, "0.125"),
        ("dave", dave.address(), "1.375000000000000001"),
        ("olga, the model's owner", olga.address(), "0.600000000000000001"),
        ("the stakers' pool", STAKERS, "0.600000000000000001"),
    ] {
        assert_eq!(stage.chain.balance(account).await?.to_open(), earned);
        stage.say(format!("{earned} OPEN to {who}"));
    }
    let platform = stage.chain.balance(admin.address()).await?.checked_sub(before);
    assert_eq!(platform.ok_or("the treasury lost money")?.to_open(), "0.3");
    stage.say("0.3 OPEN to the treasury");
    for account in [carol.address(), bob.address()] {
        assert_eq!(stage.chain.balance(account).await?, Amount::ZERO);
    }
    assert_eq!(stage.chain.balance(contracts.distributor).await?, Amount::ZERO);
    stage.say("that is all that was paid, to the unit: the distributor is empty");
    Ok(())
}

/// What is signed (EIP-712).
mod typed {
    openledger_chain::alloy::sol! {
        struct SetClaimer {
            address account;
            address claimer;
            uint256 nonce;
            uint64 deadline;
        }
    }
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

/// Opens the chain in a folder.
fn reopen(folder: &Path, people: &People) -> Result<DynProvider> {
    let People { admin, node, alice, bob, carol, dave, olga } = people;
    let keys = [admin, node, alice, bob, carol, dave, olga].map(Key::clone);
    let genesis = Genesis::default().with_funded(keys.iter().map(Key::address));
    Ok(provider(Embedded::open(folder.join("chain.wal"), &genesis)?, &keys)?)
}

async fn connect(folder: &Path, people: &People) -> Result<EvmChain> {
    let contracts: Contracts = serde_json::from_slice(&fs::read(folder.join("contracts.json"))?)?;
    Ok(EvmChain::connect(reopen(folder, people)?, contracts, people.admin.address()).await?)
}

async fn data_layer(folder: &Path) -> Result<Availability> {
    Ok(Availability::new(Local::new(Store::local(folder.join("da")).await?)))
}
