//! Stake earns, and can be lost: a contributor and her delegator, a year of growth, poisoned data,
//! and a slash that reaches what is already on its way out.
//!
//! ```sh
//! cargo run --release --example stake_and_slash
//! ```
//!
//! What it says is asserted.
//!
//! ```text
//! # A year
//!
//!  1. governance sets 20 % a year for contributors; 1,000 OPEN are put aside to pay it
//!  2. cora stakes 1,000 OPEN on her own good behaviour
//!  3. dee delegates 500 OPEN to her
//!  4. after quarter 1 cora's stake is 1051.271109710 OPEN; 1,000 * exp(0.2 * t) = 1051.271109710
//!  5. after quarter 2 cora's stake is 1105.170932094 OPEN; 1,000 * exp(0.2 * t) = 1105.170932094
//!  6. after quarter 3 cora's stake is 1161.834257465 OPEN; 1,000 * exp(0.2 * t) = 1161.834257465
//!  7. after quarter 4 cora's stake is 1221.402773652 OPEN; 1,000 * exp(0.2 * t) = 1221.402773652
//!
//! # The way out
//!
//!  8. dee takes half of her 610.701 OPEN out of work
//!  9. 305.350 OPEN wait 28 days in the queue; sooner is refused
//!
//! # Poisoned data
//!
//! 10. cora contributes 12 rows to a Datanet, whose owner accepts them
//! 11. they are made to do harm: the owner disputes them, 100 OPEN down
//! 12. both validators agree: the rows are thrown out, cora has ten penalty points
//!
//! # The slash
//!
//! 13. a slash of 10 % waits two days: slash too early
//! 14. the guardian could stop it now, and nothing would be lost; cora could not
//! 15. two days later anybody may execute it, and dee does: 153.514 OPEN of what works,
//! 16. and 30.535 OPEN of what waits in the queue
//! 17. the insurance has 184.049 OPEN more, exactly their sum
//! 18. 28 days after she asked, dee gets 274.815 OPEN: once
//! ```
#![expect(clippy::print_stdout, reason = "a story is printed")]

mod common;

use common::{DAY, Result, Stage, key, open, refused};
use openledger_chain::{
    Choice, ContributionName, ContributionStatus, DatanetEntry, DeployOptions, Disputes,
    Governance, Ground, Offer, Proposal, Registry, StakeRole, Staking, Verdict,
    abi::staking::Staking as StakingContract,
};
use openledger_core::{Amount, Key, U256, keccak256};

const ROLE: StakeRole = StakeRole::Contributor;
/// A fifth a year.
const RATE: f64 = 0.2;
const YEAR: u64 = 365 * DAY;

struct People {
    admin: Key,
    holder: Key,
    cora: Key,
    dee: Key,
    owner: Key,
    validators: [Key; 2],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let people = People {
        admin: key("admin")?,
        holder: key("holder")?,
        cora: key("cora")?,
        dee: key("dee")?,
        owner: key("owner")?,
        validators: [key("vera")?, key("victor")?],
    };
    let stage = set(&people).await?;
    println!("# A year\n");
    year(&stage, &people).await?;
    println!("\n# The way out\n");
    let exit = leave(&stage, &people).await?;
    println!("\n# Poisoned data\n");
    poison(&stage, &people).await?;
    println!("\n# The slash\n");
    slash(&stage, &people, exit).await
}

async fn set(people: &People) -> Result<Stage> {
    let People { admin, holder, cora, dee, owner, validators: [vera, victor] } = people;
    let everybody = [admin, holder, cora, dee, owner, vera, victor];
    let stage = Stage::set(&everybody, DeployOptions::new(admin.address())).await?;
    for who in &everybody[1..] {
        stage.chain.transfer(who.address(), open(2_000)).await?;
    }
    for validator in [vera, victor] {
        let own = validator.address();
        stage.by(validator).stake(StakeRole::Validator, own, open(2_000)).await?;
    }
    stage.by(holder).lock_votes(open(20_000), holder.address()).await?;
    Ok(stage)
}

async fn year(stage: &Stage, people: &People) -> Result<()> {
    let People { holder, cora, dee, .. } = people;
    let rate = u64::try_from(open(1).units() / U256::from(5))?;
    let call = StakingContract::setRateCall { role: ROLE as u8, rate };
    let staking = stage.chain.contracts().staking;
    stage.decide(&[holder], &Proposal::call(staking, &call, "Contributors earn 20 %")).await?;
    stage.chain.fund_growth(ROLE, open(1_000)).await?;
    stage.say("governance sets 20 % a year for contributors; 1,000 OPEN are put aside to pay it");

    stage.by(cora).stake(ROLE, cora.address(), open(1_000)).await?;
    let began = stage.chain.now().await?;
    stage.say("cora stakes 1,000 OPEN on her own good behaviour");
    stage.by(dee).stake(ROLE, cora.address(), open(500)).await?;
    stage.say("dee delegates 500 OPEN to her");

    for quarter in 1..=4 {
        stage.pass(YEAR / 4).await?;
        let (_, worth) = stage.by(cora).position(ROLE, cora.address(), cora.address()).await?;
        let passed = (stage.chain.now().await? - began) as f64 / YEAR as f64;
        let formula = 1_000.0 * (RATE * passed).exp();
        let worth: f64 = worth.to_open().parse()?;
        assert!((worth / formula - 1.0).abs() < 1e-12, "{worth} is not {formula}");
        stage.say(format!(
            "after quarter {quarter} cora's stake is {worth:.9} OPEN; 1,000 * exp(0.2 * t) = {formula:.9}"
        ));
    }
    Ok(())
}

/// Dee takes half of her stake back; returns the number of the exit.
async fn leave(stage: &Stage, people: &People) -> Result<u64> {
    let People { cora, dee, .. } = people;
    let (shares, worth) = stage.chain.position(ROLE, cora.address(), dee.address()).await?;
    let exit = stage.by(dee).unbond(ROLE, cora.address(), shares / U256::from(2)).await?.value;
    let queued = stage.chain.stake_of(ROLE, cora.address()).await?.queued;
    let half = worth.units() / U256::from(2);
    // What grew in the second between the question and the exit.
    assert!(queued.units() >= half && queued.units() - half < U256::from(10u64.pow(13)));
    stage.say(format!("dee takes half of her {} OPEN out of work", round(worth)));
    let early = stage.by(dee).withdraw_stake(ROLE, cora.address(), exit).await;
    refused(early, "CooldownRunning");
    stage.say(format!("{} OPEN wait 28 days in the queue; sooner is refused", round(queued)));
    Ok(exit)
}

/// Cora contributes data made to do harm, and two validators see it.
async fn poison(stage: &Stage, people: &People) -> Result<()> {
    let People { cora, owner, validators, .. } = people;
    let entry = DatanetEntry::new("bicycles", keccak256("All about bicycles"));
    let datanet = stage.by(owner).create_datanet(&entry).await?.value;
    let [root, da] = ["rows", "their bodies"].map(keccak256);
    stage.by(cora).contribute(&Offer { datanet, root, rows: 12, da }).await?;
    let name = ContributionName { datanet, contributor: cora.address(), root };
    stage.by(owner).decide(&name, true).await?;
    stage.say("cora contributes 12 rows to a Datanet, whose owner accepts them");

    let evidence = keccak256("three rows teach the model to praise one brand");
    let adversarial = Ground::Adversarial;
    let case = stage.by(owner).dispute_contribution(&name, adversarial, evidence).await?.value;
    stage.say("they are made to do harm: the owner disputes them, 100 OPEN down");
    let choice = |validator: &Key| Choice { upheld: true, salt: keccak256(validator.to_bytes()) };
    stage.pass(2 * DAY).await?;
    for validator in validators {
        stage.by(validator).commit(case, &choice(validator)).await?;
    }
    stage.pass(2 * DAY).await?;
    for validator in validators {
        stage.chain.reveal(case, validator.address(), &choice(validator)).await?;
    }
    stage.pass(2 * DAY).await?;
    stage.chain.tally(case).await?;
    stage.pass(2 * DAY).await?;
    stage.chain.finalise(case).await?;
    assert_eq!(stage.chain.case(case).await?.verdict, Verdict::Upheld);
    assert_eq!(stage.chain.contribution(&name).await?, ContributionStatus::Revoked);
    let stake = stage.chain.stake_of(ROLE, cora.address()).await?;
    assert_eq!((stake.penalty, stake.pending_slashes), (10, 1));
    stage.say("both validators agree: the rows are thrown out, cora has ten penalty points");
    Ok(())
}

async fn slash(stage: &Stage, people: &People, exit: u64) -> Result<()> {
    let People { admin, cora, dee, .. } = people;
    let contract = stage.chain.contracts().staking;
    let early = refused(stage.chain.execute_slash(0).await, "SlashTooEarly");
    stage.say(format!("a slash of 10 % waits two days: {early}"));

    let undone = stage.dev.snapshot().await?;
    let before = stage.chain.stake_of(ROLE, cora.address()).await?;
    stage.by(admin).veto_slash(0).await?;
    let after = stage.chain.stake_of(ROLE, cora.address()).await?;
    assert_eq!((after.queued, after.pending_slashes), (before.queued, 0));
    assert!(after.active >= before.active);
    refused(stage.by(cora).veto_slash(0).await, "AccessManagedUnauthorized");
    stage.dev.revert(undone).await?;
    stage.say("the guardian could stop it now, and nothing would be lost; cora could not");

    stage.pass(2 * DAY).await?;
    let queued = stage.chain.stake_of(ROLE, cora.address()).await?.queued;
    let insured = stage.chain.balance(admin.address()).await?;
    let executed = stage.by(dee).execute_slash(0).await?;
    let taken = executed.tx.event::<StakingContract::SlashExecuted>(contract);
    let taken = taken.ok_or("no event of a slash")?;
    let (active, from_queue) = (Amount::new(taken.fromActive), Amount::new(taken.fromQueue));
    let stake = stage.chain.stake_of(ROLE, cora.address()).await?;
    assert_eq!(from_queue.units(), queued.units() / U256::from(10));
    assert_eq!(queued.checked_sub(from_queue), Some(stake.queued));
    // A tenth of what worked: nine times it is left, but for the rounding of two divisions.
    let left = active.units() * U256::from(9);
    assert!(stake.active.units().abs_diff(left) < U256::from(10));
    stage.say(format!(
        "two days later anybody may execute it, and dee does: {} OPEN of what works,",
        round(active)
    ));
    stage.say(format!("and {} OPEN of what waits in the queue", round(from_queue)));
    let paid = stage.chain.balance(admin.address()).await?.checked_sub(insured);
    assert_eq!(paid, active.checked_add(from_queue));
    let paid = paid.ok_or("the insurance lost money")?;
    stage.say(format!("the insurance has {} OPEN more, exactly their sum", round(paid)));

    stage.pass(18 * DAY).await?;
    let had = stage.chain.balance(dee.address()).await?;
    let out = stage.by(dee).withdraw_stake(ROLE, cora.address(), exit).await?.value;
    assert_eq!(out, stake.queued);
    assert_eq!(had.checked_add(out), Some(stage.chain.balance(dee.address()).await?));
    refused(stage.by(dee).withdraw_stake(ROLE, cora.address(), exit).await, "ExitDone");
    stage.say(format!("28 days after she asked, dee gets {} OPEN: once", round(out)));
    Ok(())
}

/// An amount in OPEN with three decimals, rounded down.
fn round(amount: Amount) -> String {
    let text = amount.to_open();
    match text.split_once('.') {
        Some((whole, rest)) => format!("{whole}.{:0<3}", &rest[..rest.len().min(3)]),
        None => text,
    }
}
