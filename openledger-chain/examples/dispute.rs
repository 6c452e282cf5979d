//! Two disputes about who an answer came from: one challenge that is right, and one that is not.
//!
//! ```sh
//! cargo run --release --example dispute
//! ```
//!
//! Validators with stake commit to a verdict and reveal it; whoever is wrong loses a bond, to the
//! other side and to the validators who saw it right. What it says is asserted.
//!
//! ```text
//! # A wrong batch
//!
//!  1. alice reserves 10 OPEN for the node, for fifteen days
//!  2. the node logs a receipt that gives all credit to itself
//!  3. chen computes the shares again: every row was carol's
//!  4. chen disputes it, and puts 100 OPEN down
//!  5. the node cannot settle meanwhile: batch not final
//!  6. the node puts its own 100 OPEN down
//!  7. vera and victor (3,000 and 2,000 OPEN staked) agree with chen, vito (1,000) does not
//!  8. the batch is rejected, for ever
//!  9. of the node's 100 OPEN 50 are chen's, 30 vera's, 20 victor's
//! 10. vito gets nothing: nothing to claim
//! 11. the node has ten penalty points
//! 12. the reservation expires: alice has all her 20 OPEN, nobody was paid
//!
//! # A wrong challenge
//!
//! 13. the node logs a receipt that is right
//! 14. mallory disputes it; both put 100 OPEN down
//! 15. one dispute about one thing at a time: already open
//! 16. all validators dismiss it
//! 17. of mallory's 100 OPEN 50 are the node's, the rest the validators', by stake:
//! 18. 25 + 16.666666666666666666 + 8.333333333333333334 = 50 OPEN, to the unit
//! 19. the batch is final, the node settles it: alice pays 1 OPEN to those who earned it
//! ```
#![expect(clippy::print_stdout, reason = "a story is printed")]

mod common;

use common::{DAY, Result, Stage, key, open, receipt, refused};
use openledger_chain::{
    Attributions, Batch, BatchName, Charge, Choice, DeployOptions, Disputes, Payments, Phase,
    StakeRole, Staking, Verdict,
};
use openledger_core::{Amount, B256, Key, ReceiptId, keccak256, merkle::StandardTree};

struct People {
    admin: Key,
    node: Key,
    alice: Key,
    carol: Key,
    chen: Key,
    mallory: Key,
    validators: [Key; 3],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let people = People {
        admin: key("admin")?,
        node: key("node")?,
        alice: key("alice")?,
        carol: key("carol")?,
        chen: key("chen")?,
        mallory: key("mallory")?,
        validators: [key("vera")?, key("victor")?, key("vito")?],
    };
    let stage = set(&people).await?;
    println!("# A wrong batch\n");
    wrong_batch(&stage, &people).await?;
    println!("\n# A wrong challenge\n");
    wrong_challenge(&stage, &people).await
}

async fn set(people: &People) -> Result<Stage> {
    let People { admin, node, alice, carol, chen, mallory, validators: [vera, victor, vito] } =
        people;
    let options =
        DeployOptions::new(admin.address()).with_nodes([node.address()]).with_delays(DAY, DAY, DAY);
    let everybody = [admin, node, alice, carol, chen, mallory, vera, victor, vito];
    let stage = Stage::set(&everybody, options).await?;
    for (who, amount) in [(node, 200), (alice, 20), (chen, 100), (mallory, 100)] {
        stage.chain.transfer(who.address(), open(amount)).await?;
    }
    for (validator, amount) in [(vera, 3_000), (victor, 2_000), (vito, 1_000)] {
        let own = validator.address();
        stage.chain.transfer(own, open(amount)).await?;
        stage.by(validator).stake(StakeRole::Validator, own, open(amount)).await?;
    }
    stage.by(alice).deposit(open(20)).await?;
    Ok(stage)
}

async fn wrong_batch(stage: &Stage, people: &People) -> Result<()> {
    let People { node, alice, carol, chen, validators: [vera, victor, vito], .. } = people;
    let expires = stage.chain.now().await? + 15 * DAY;
    stage.by(alice).authorize(node.address(), open(10), expires).await?;
    stage.say("alice reserves 10 OPEN for the node, for fifteen days");

    let paid = (alice.address(), open(1));
    let honest = receipt(&stage.chain, (node, 1), paid, &[(carol.address(), 100)])?;
    let forged = receipt(&stage.chain, (node, 1), paid, &[(node.address(), 100)])?;
    assert_ne!(honest.id(), forged.id(), "the shares are part of what is signed");
    let (batch, proof) = log(stage, node, forged.id()).await?;
    stage.say("the node logs a receipt that gives all credit to itself");
    stage.say("chen computes the shares again: every row was carol's");

    let evidence = keccak256(B256::from(honest.id()));
    let case = stage.by(chen).dispute_receipt(batch, forged.id(), &proof, evidence).await?.value;
    assert_eq!(stage.chain.balance(chen.address()).await?, Amount::ZERO);
    stage.say("chen disputes it, and puts 100 OPEN down");
    let settled = stage.by(node).settle(batch.root, &charges(alice, 1)).await;
    stage.say(format!("the node cannot settle meanwhile: {}", refused(settled, "BatchNotFinal")));
    stage.by(node).defend(case).await?;
    stage.say("the node puts its own 100 OPEN down");

    judge(stage, case, &[(vera, true), (victor, true), (vito, false)]).await?;
    let ended = stage.chain.case(case).await?;
    assert_eq!((ended.phase, ended.verdict), (Phase::Closed, Verdict::Upheld));
    assert!(stage.chain.batch(batch).await?.rejected);
    stage.say(
        "vera and victor (3,000 and 2,000 OPEN staked) agree with chen, vito (1,000) does not",
    );
    stage.say("the batch is rejected, for ever");

    let paid = stage.chain.withdraw_credit(chen.address()).await?.value;
    assert_eq!(paid, open(150));
    let parts = [part(stage, case, vera).await?, part(stage, case, victor).await?];
    assert_eq!(parts, [open(30), open(20)]);
    assert_eq!(stage.chain.balance(node.address()).await?, open(100));
    stage.say("of the node's 100 OPEN 50 are chen's, 30 vera's, 20 victor's");
    let lost = stage.chain.claim_part(case, vito.address()).await;
    stage.say(format!("vito gets nothing: {}", refused(lost, "NothingToClaim")));
    let penalty = stage.chain.stake_of(StakeRole::Agent, node.address()).await?.penalty;
    assert_eq!(penalty, 10);
    stage.say("the node has ten penalty points");

    let settled = stage.by(node).settle(batch.root, &charges(alice, 1)).await;
    refused(settled, "BatchNotFinal");
    stage.pass(7 * DAY).await?;
    stage.chain.release(alice.address(), node.address()).await?;
    assert_eq!(stage.chain.deposited(alice.address()).await?, open(20));
    assert_eq!(stage.chain.balance(stage.chain.contracts().distributor).await?, Amount::ZERO);
    stage.say("the reservation expires: alice has all her 20 OPEN, nobody was paid");
    Ok(())
}

async fn wrong_challenge(stage: &Stage, people: &People) -> Result<()> {
    let People { node, alice, carol, mallory, validators: [vera, victor, vito], .. } = people;
    let expires = stage.chain.now().await? + 60 * DAY;
    stage.by(alice).authorize(node.address(), open(10), expires).await?;
    let paid = (alice.address(), open(1));
    let honest = receipt(&stage.chain, (node, 2), paid, &[(carol.address(), 100)])?;
    let (batch, proof) = log(stage, node, honest.id()).await?;
    stage.say("the node logs a receipt that is right");
    let nonsense = keccak256("it was me");
    let case = stage.by(mallory).dispute_receipt(batch, honest.id(), &proof, nonsense).await?.value;
    stage.by(node).defend(case).await?;
    stage.say("mallory disputes it; both put 100 OPEN down");

    let twice = stage.by(mallory).dispute_receipt(batch, honest.id(), &proof, nonsense).await;
    stage.say(format!("one dispute about one thing at a time: {}", refused(twice, "AlreadyOpen")));
    judge(stage, case, &[(vera, false), (victor, false), (vito, false)]).await?;
    let ended = stage.chain.case(case).await?;
    assert_eq!((ended.phase, ended.verdict), (Phase::Closed, Verdict::Dismissed));
    stage.say("all validators dismiss it");

    assert_eq!(stage.chain.withdraw_credit(node.address()).await?.value, open(150));
    let mut parts = Vec::new();
    for validator in [vera, victor, vito] {
        parts.push(part(stage, case, validator).await?);
    }
    assert_eq!(parts.iter().copied().sum::<Amount>(), open(50));
    assert_eq!(parts[0], open(25));
    assert_eq!(stage.chain.balance(mallory.address()).await?, Amount::ZERO);
    let [first, second, third] = [0, 1, 2].map(|index: usize| parts[index].to_open());
    stage.say("of mallory's 100 OPEN 50 are the node's, the rest the validators', by stake:");
    stage.say(format!("{first} + {second} + {third} = 50 OPEN, to the unit"));

    let settled = stage.by(node).settle(batch.root, &charges(alice, 1)).await?;
    assert_eq!(settled.value, open(1));
    assert_eq!(stage.chain.balance(stage.chain.contracts().distributor).await?, open(1));
    stage.say("the batch is final, the node settles it: alice pays 1 OPEN to those who earned it");
    Ok(())
}

/// Logs a batch of two receipts, one of them in dispute soon; returns its name and proof.
async fn log(stage: &Stage, node: &Key, receipt: ReceiptId) -> Result<(BatchName, Vec<B256>)> {
    let leaves = vec![(receipt.into(),), (keccak256(receipt.to_string()),)];
    let tree = StandardTree::new(leaves)?;
    let (model, body) = (keccak256("model"), keccak256("published receipts"));
    let batch = Batch { epoch: 0, model, root: tree.root(), body, receipts: 2 };
    Ok((stage.by(node).log_batch(&batch).await?.value, tree.proof(0)))
}

/// Takes a case through its windows to its end. Votes are hidden until all are in.
async fn judge(stage: &Stage, case: u64, votes: &[(&Key, bool)]) -> Result<()> {
    let salt = |voter: &Key| keccak256(voter.to_bytes());
    stage.pass(2 * DAY).await?;
    for (voter, upheld) in votes {
        let choice = Choice { upheld: *upheld, salt: salt(voter) };
        stage.by(voter).commit(case, &choice).await?;
    }
    stage.pass(2 * DAY).await?;
    for (voter, upheld) in votes {
        let other = Choice { upheld: !upheld, salt: salt(voter) };
        let changed = stage.chain.reveal(case, voter.address(), &other).await;
        refused(changed, "CommitmentUnmatched");
        let choice = Choice { upheld: *upheld, salt: salt(voter) };
        stage.chain.reveal(case, voter.address(), &choice).await?;
    }
    stage.pass(2 * DAY).await?;
    stage.chain.tally(case).await?;
    refused(stage.chain.finalise(case).await, "WrongPhase");
    stage.pass(2 * DAY).await?;
    stage.chain.finalise(case).await?;
    Ok(())
}

/// Pays a validator its part of the lost bond, and returns it.
async fn part(stage: &Stage, case: u64, validator: &Key) -> Result<Amount> {
    let before = stage.chain.balance(validator.address()).await?;
    let part = stage.chain.claim_part(case, validator.address()).await?.value;
    assert_eq!(stage.chain.withdraw_credit(validator.address()).await?.value, part);
    let after = stage.chain.balance(validator.address()).await?;
    assert_eq!(before.checked_add(part), Some(after));
    Ok(part)
}

fn charges(payer: &Key, amount: u64) -> [Charge; 1] {
    [Charge { payer: payer.address(), amount: open(amount) }]
}
