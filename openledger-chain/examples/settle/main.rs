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

#[path = "../common/mod.rs"]
mod common;
mod node;

use std::{env, fs, path::Path, process::Command};

use common::{DAY, HOUR, Result, Stage, key, open, refused};
use openledger_chain::{
    Contracts, DeployOptions, Embedded, EvmChain, Genesis, Payments, Rewards,
    abi::reward_distributor::RewardDistributor,
    alloy::{
        providers::{DynProvider, Provider},
        sol_types::SolStruct,
    },
    da::{Availability, Certificate, Local},
    provider,
    settlement::Published,
};
use openledger_core::{Address, Amount, Bytes, Key, Store, U256, message::Domain};

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
        [folder, life] => node::live(folder.as_ref(), life.parse()?, &people).await,
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
    let domain = Domain { chain_id: stage.chain.chain_id(), contract: contracts.distributor };
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
