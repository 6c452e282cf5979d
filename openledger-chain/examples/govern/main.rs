//! How decisions are made: a vote on chain, a guardian who stops one, votes that cost nothing,
//! a forged count that costs a bond, and models that are proposed with a stake.
//!
//! ```sh
//! cargo run --release --example govern
//! ```
//!
//! Months pass in it. What it says is asserted.
//!
//! ```text
//! # A vote on chain
//!
//!  1. hana proposes 55 % of each fee for contributors, 5 % for the platform
//!  2. a day later hana votes for it with 30,000 GOPEN, hugo against with 20,000
//!  3. hugo does not vote twice: governor already cast vote
//!  4. hedi signs her 10,000 for it, and rita brings the signature and pays the gas
//!  5. it wins 40,000 to 20,000, waits a week in the timelock, and is executed
//!  6. today's fees are divided as before; the new split counts from midnight
//!
//! # A vote that is stopped
//!
//!  7. hana proposes 9,999 of 10,000 parts for the platform, and nobody but her votes
//!  8. hugo cannot stop it; the guardian can, and does
//!
//! # Votes without gas
//!
//!  9. hana opens a vote off chain: withdrawals from escrow are to take two days
//! 10. twelve voters sign ballots; none of them sends a transaction or pays anything
//! 11. counted: 35,000 for, 20,000 against, 5,000 abstain
//! 12. mallory submits a count in which one ballot is turned, 1,000 OPEN down
//! 13. rita reads what was published, finds that ballot, and shows it to the chain
//! 14. mallory's 1,000 OPEN are gone: 500 to rita, 500 to the treasury
//! 15. rita submits the true count, 1,000 OPEN down
//! 16. no ballot in it is wrong: no fault
//! 17. three days without a challenge and a week in the timelock later it is done,
//! 18. and rita has her bond back
//!
//! # Models with a stake
//!
//! 19. olga proposes a model for bicycles and one for everything, 1,000 OPEN behind each
//! 20. governance wants the first only; a tenth of the other's stake is lost
//! 21. olga registers the model she promised, and has that stake back whole
//! ```
#![expect(clippy::print_stdout, reason = "a story is printed")]

#[path = "../common/mod.rs"]
mod common;
mod off_chain;

use common::{DAY, Result, Stage, key, open, refused};
use openledger_chain::{
    Action, DeployOptions, Governance, ModelEntry, Models, Payments, Price, Proposal,
    ProposalState, SignedVote,
    abi::{
        fee_policy::FeePolicy, model_proposals::ModelProposals, open_governor::OpenGovernor,
        open_token::OpenToken,
    },
    alloy::sol_types::SolCall,
    ballots::Support,
    settlement::FeeSplit,
};
use openledger_core::{Amount, B256, Key, U256, keccak256};

struct People {
    admin: Key,
    /// 30,000, 20,000 and 10,000 GOPEN.
    holders: [Key; 3],
    /// 5,000 GOPEN each.
    voters: Vec<Key>,
    rita: Key,
    mallory: Key,
    olga: Key,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let voters = (0..12).map(|n| key(&format!("voter {n}")));
    let people = People {
        admin: key("admin")?,
        holders: [key("hana")?, key("hugo")?, key("hedi")?],
        voters: voters.collect::<Result<_>>()?,
        rita: key("rita")?,
        mallory: key("mallory")?,
        olga: key("olga")?,
    };
    let stage = set(&people).await?;
    println!("# A vote on chain\n");
    on_chain(&stage, &people).await?;
    println!("\n# A vote that is stopped\n");
    stopped(&stage, &people).await?;
    println!("\n# Votes without gas\n");
    off_chain::vote(&stage, &people).await?;
    println!("\n# Models with a stake\n");
    models(&stage, &people).await
}

async fn set(people: &People) -> Result<Stage> {
    let People { admin, holders, voters, rita, mallory, olga } = people;
    let others = [admin, rita, mallory, olga];
    let everybody: Vec<&Key> = others.into_iter().chain(holders).chain(voters).collect();
    let stage = Stage::set(&everybody, DeployOptions::new(admin.address())).await?;
    let amounts = [30_000, 20_000, 10_000].into_iter().chain(voters.iter().map(|_| 5_000));
    for (holder, amount) in holders.iter().chain(voters).zip(amounts) {
        stage.by(holder).lock_votes(open(amount), holder.address()).await?;
    }
    for who in [rita, mallory] {
        stage.chain.transfer(who.address(), open(1_000)).await?;
    }
    stage.chain.transfer(olga.address(), open(2_000)).await?;
    Ok(stage)
}

async fn on_chain(stage: &Stage, people: &People) -> Result<()> {
    let [hana, hugo, hedi] = &people.holders;
    let split =
        FeePolicy::Split { platform: 500, model: 2_000, stakers: 2_000, contributors: 5_500 };
    let call = FeePolicy::setSplitCall { split_: split };
    let proposal = Proposal::call(stage.chain.contracts().fees, &call, "Contributors get 55 %");
    let id = stage.by(hana).propose(&proposal).await?.value;
    stage.say("hana proposes 55 % of each fee for contributors, 5 % for the platform");
    let early = stage.by(hana).vote(id, Support::For).await;
    refused(early, "GovernorUnexpectedProposalState");
    stage.pass(DAY + 1).await?;
    stage.by(hana).vote(id, Support::For).await?;
    stage.by(hugo).vote(id, Support::Against).await?;
    assert_eq!(totals(stage, id).await?, [20_000, 30_000, 0].map(open));
    let again = refused(stage.by(hugo).vote(id, Support::For).await, "GovernorAlreadyCastVote");
    stage.say("a day later hana votes for it with 30,000 GOPEN, hugo against with 20,000");
    stage.say(format!("hugo does not vote twice: {again}"));

    let nonce = stage.chain.vote_nonce(hedi.address()).await?;
    let vote = SignedVote::sign(id, Support::For, nonce, &stage.chain.vote_domain(), hedi);
    stage.by(&people.rita).relay_vote(&vote).await?;
    refused(stage.by(&people.rita).relay_vote(&vote).await, "GovernorInvalidSignature");
    stage.say("hedi signs her 10,000 for it, and rita brings the signature and pays the gas");

    stage.pass(7 * DAY).await?;
    assert_eq!(totals(stage, id).await?, [20_000, 40_000, 0].map(open));
    assert_eq!(stage.chain.state(id).await?, ProposalState::Succeeded);
    stage.chain.queue(&proposal).await?;
    refused(stage.chain.execute(&proposal).await, "TimelockUnexpectedOperationState");
    stage.pass(7 * DAY).await?;
    stage.chain.execute(&proposal).await?;
    assert_eq!(stage.chain.state(id).await?, ProposalState::Executed);
    stage.say("it wins 40,000 to 20,000, waits a week in the timelock, and is executed");

    let (now, _) = stage.chain.fee_split().await?;
    assert_eq!(now, FeeSplit::default());
    let left = DAY - stage.chain.now().await? % DAY;
    stage.pass(left).await?;
    let (later, _) = stage.chain.fee_split().await?;
    assert_eq!(later, FeeSplit::new(500, 2_000, 2_000, 5_500)?);
    stage.say("today's fees are divided as before; the new split counts from midnight");
    Ok(())
}

/// The votes against a proposal, for it, and for neither, as the governor counts them.
async fn totals(stage: &Stage, id: U256) -> Result<[Amount; 3]> {
    let at = stage.chain.contracts();
    let governor = OpenGovernor::new(at.governor, stage.chain.provider());
    let votes = governor.proposalVotes(id).call().await?;
    Ok([votes.againstVotes, votes.forVotes, votes.abstainVotes].map(Amount::new))
}

async fn stopped(stage: &Stage, people: &People) -> Result<()> {
    let [hana, hugo, _] = &people.holders;
    let at = *stage.chain.contracts();
    let split = FeePolicy::Split { platform: 9_999, model: 1, stakers: 0, contributors: 0 };
    let call = FeePolicy::setSplitCall { split_: split };
    let greedy = Proposal::call(at.fees, &call, "9,999 of 10,000 parts to the platform");
    let id = stage.by(hana).propose(&greedy).await?.value;
    stage.pass(DAY + 1).await?;
    stage.by(hana).vote(id, Support::For).await?;
    assert_eq!(totals(stage, id).await?, [0, 30_000, 0].map(open));
    stage.say("hana proposes 9,999 of 10,000 parts for the platform, and nobody but her votes");
    let governor = OpenGovernor::new(at.governor, stage.chain.provider());
    let Action { target, value, call } = greedy.actions[0].clone();
    let cancel = governor.cancel(vec![target], vec![value], vec![call], greedy.description_hash());
    let by_hugo = stage.by(hugo).send("cancel", cancel.clone()).await;
    refused(by_hugo, "GovernorUnableToCancel");
    stage.by(&people.admin).send("cancel", cancel).await?;
    assert_eq!(stage.chain.state(id).await?, ProposalState::Canceled);
    stage.say("hugo cannot stop it; the guardian can, and does");
    Ok(())
}

async fn models(stage: &Stage, people: &People) -> Result<()> {
    let People { olga, holders, .. } = people;
    let at = *stage.chain.contracts();
    let provider = stage.chain.provider();
    let (token, models) =
        (OpenToken::new(at.token, provider), ModelProposals::new(at.model_proposals, provider));
    let by_olga = stage.by(olga);
    let stake = open(1_000).units();
    by_olga.send("allow a stake", token.approve(at.model_proposals, stake + stake)).await?;
    let mut ids = Vec::new();
    for plan in ["a model for bicycles", "a model for everything"] {
        let propose = models.propose(keccak256(plan), B256::ZERO, stake.to());
        ids.push(by_olga.send_for("propose a model", propose).await?.value);
    }
    assert_eq!(stage.chain.balance(olga.address()).await?, Amount::ZERO);
    stage.say("olga proposes a model for bicycles and one for everything, 1,000 OPEN behind each");

    let decision =
        |call: Vec<u8>| Action { target: at.model_proposals, value: U256::ZERO, call: call.into() };
    let approve = ModelProposals::approveCall { id: ids[0] }.abi_encode();
    let reject = ModelProposals::rejectCall { id: ids[1] }.abi_encode();
    let actions = vec![decision(approve), decision(reject)];
    let proposal = Proposal { actions, description: "Bicycles, not everything".to_owned() };
    stage.decide(&holders.each_ref(), &proposal).await?;
    assert_eq!(stage.chain.balance(olga.address()).await?, open(900));
    stage.say("governance wants the first only; a tenth of the other's stake is lost");

    let [model, record] = ["model", "training record"].map(keccak256);
    // Bindings have a `deploy` of their own, so the contract's goes by its call.
    let deploy = ModelProposals::deployCall { id: ids[0], model };
    let early = by_olga.send("deploy", models.call_builder(&deploy)).await;
    refused(early, "ModelUnknown");
    let (datanets, price) = (vec![], Price::default());
    let entry = ModelEntry { model, parent: B256::ZERO, record, datanets, price };
    by_olga.register(&entry).await?;
    by_olga.send("deploy", models.call_builder(&deploy)).await?;
    assert_eq!(stage.chain.balance(olga.address()).await?, open(1_900));
    stage.say("olga registers the model she promised, and has that stake back whole");
    Ok(())
}
