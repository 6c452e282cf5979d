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
//!  7. hana proposes all for the platform, and nobody but her votes
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

mod common;

use std::collections::BTreeMap;

use common::{DAY, Result, Stage, key, open, refused};
use openledger_chain::{
    Action, DeployOptions, Governance, ModelEntry, Models, Payments, Price, Proposal,
    ProposalState, SignedVote,
    abi::{
        ballot_box::BallotBox as BoxContract, fee_policy::FeePolicy,
        governance_open::GovernanceOpen, inference_escrow::InferenceEscrow,
        model_proposals::ModelProposals, open_governor::OpenGovernor, open_token::OpenToken,
    },
    alloy::{primitives::Uint, providers::Provider, sol_types::SolCall},
    ballots::{Ballot, BallotBox, CountedBallot, Fault, Support, Tally, Totals},
    settlement::FeeSplit,
};
use openledger_core::{Address, Amount, B256, Bytes, Key, U256, keccak256};

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
    off_chain(&stage, &people).await?;
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
    let proposal = Proposal::call(stage.chain.contracts().fees, call, "Contributors get 55 %");
    let id = stage.by(hana).propose(&proposal).await?.value;
    stage.say("hana proposes 55 % of each fee for contributors, 5 % for the platform");
    let early = stage.by(hana).vote(id, Support::For).await;
    refused(early, "GovernorUnexpectedProposalState");
    stage.pass(DAY + 1).await?;
    stage.by(hana).vote(id, Support::For).await?;
    stage.by(hugo).vote(id, Support::Against).await?;
    let again = refused(stage.by(hugo).vote(id, Support::For).await, "GovernorAlreadyCastVote");
    stage.say("a day later hana votes for it with 30,000 GOPEN, hugo against with 20,000");
    stage.say(format!("hugo does not vote twice: {again}"));

    let nonce = stage.chain.vote_nonce(hedi.address()).await?;
    let vote = SignedVote::sign(id, Support::For, nonce, &stage.chain.vote_domain(), hedi);
    stage.by(&people.rita).relay_vote(&vote).await?;
    refused(stage.by(&people.rita).relay_vote(&vote).await, "GovernorInvalidSignature");
    stage.say("hedi signs her 10,000 for it, and rita brings the signature and pays the gas");

    stage.pass(7 * DAY).await?;
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

async fn stopped(stage: &Stage, people: &People) -> Result<()> {
    let [hana, hugo, _] = &people.holders;
    let at = *stage.chain.contracts();
    let split = FeePolicy::Split { platform: 9_999, model: 1, stakers: 0, contributors: 0 };
    let call = FeePolicy::setSplitCall { split_: split };
    let greedy = Proposal::call(at.fees, call, "All to the platform");
    let id = stage.by(hana).propose(&greedy).await?.value;
    stage.pass(DAY + 1).await?;
    stage.by(hana).vote(id, Support::For).await?;
    stage.say("hana proposes all for the platform, and nobody but her votes");
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

async fn off_chain(stage: &Stage, people: &People) -> Result<()> {
    let People { admin, holders: [hana, ..], voters, rita, mallory, .. } = people;
    let at = *stage.chain.contracts();
    let (provider, domain) = (stage.chain.provider(), stage.chain.ballot_domain());
    let ballot_box = BoxContract::new(at.ballots, provider);
    let call = InferenceEscrow::setWithdrawalDelayCall { delay: Uint::from(2 * DAY) };
    let targets = vec![at.escrow];
    let calls = vec![Bytes::from(call.abi_encode())];
    let (values, why) = (vec![U256::ZERO], keccak256("Two days to take money out"));
    let propose = ballot_box.open(targets.clone(), values.clone(), calls.clone(), why);
    let id = stage.by(hana).send_for("open a vote", propose).await?.value;
    stage.say("hana opens a vote off chain: withdrawals from escrow are to take two days");

    stage.pass(DAY + 1).await?;
    let sent = sent_by(stage, voters).await?;
    let mut ballots = BallotBox::new(domain, id);
    for (n, voter) in voters.iter().enumerate() {
        let support = match n {
            0..7 => Support::For,
            7..11 => Support::Against,
            _ => Support::Abstain,
        };
        let ballot = Ballot { proposal: id, voter: voter.address(), support, reason: B256::ZERO };
        ballots.add(ballot.sign(&domain, voter)?)?;
    }
    assert_eq!(sent_by(stage, voters).await?, sent);
    stage.say("twelve voters sign ballots; none of them sends a transaction or pays anything");

    stage.pass(7 * DAY).await?;
    let snapshot = ballot_box.proposal(id).call().await?.snapshot;
    let votes = GovernanceOpen::new(at.votes, provider);
    let mut weights: BTreeMap<Address, U256> = BTreeMap::new();
    for voter in voters.iter().map(Key::address) {
        weights.insert(voter, votes.getPastVotes(voter, snapshot.to()).call().await?);
    }
    let honest = ballots.count(&weights)?;
    let expected = Totals {
        for_votes: open(35_000).units(),
        against: open(20_000).units(),
        abstain: open(5_000).units(),
    };
    assert_eq!(honest.totals(), expected);
    assert_eq!(honest.faults(&domain, id, &weights), []);
    stage.say("counted: 35,000 for, 20,000 against, 5,000 abstain");

    let forged = forge(&honest)?;
    let tally = submit(stage, mallory, id, &forged).await?;
    stage.say("mallory submits a count in which one ballot is turned, 1,000 OPEN down");
    let published = Tally::parse(&forged.body())?;
    let faults = published.faults(&domain, id, &weights);
    let [Fault::Ballot(place)] = faults[..] else { return Err(format!("{faults:?}").into()) };
    let bad = published.ballots()[place];
    let witness = BoxContract::Witness { leaf: leaf(&bad), proof: published.proof(place) };
    let signature = Bytes::copy_from_slice(bad.signature.as_bytes());
    let treasury = stage.chain.balance(admin.address()).await?;
    let show = ballot_box.challengeBallot(tally, witness, signature);
    stage.by(rita).send("show a bad ballot", show).await?;
    let lost = [mallory, rita].map(|who| stage.chain.balance(who.address()));
    let [mallorys, ritas] = lost;
    assert_eq!((mallorys.await?, ritas.await?), (Amount::ZERO, open(1_500)));
    let more = stage.chain.balance(admin.address()).await?.checked_sub(treasury);
    assert_eq!(more, Some(open(500)));
    stage.say("rita reads what was published, finds that ballot, and shows it to the chain");
    stage.say("mallory's 1,000 OPEN are gone: 500 to rita, 500 to the treasury");

    let tally = submit(stage, rita, id, &honest).await?;
    stage.say("rita submits the true count, 1,000 OPEN down");
    let first = honest.ballots()[0];
    let witness = BoxContract::Witness { leaf: leaf(&first), proof: honest.proof(0) };
    let signature = Bytes::copy_from_slice(first.signature.as_bytes());
    let show = ballot_box.challengeBallot(tally, witness, signature);
    let right = stage.by(hana).send("show a good ballot", show).await;
    stage.say(format!("no ballot in it is wrong: {}", refused(right, "NoFault")));
    stage.pass(3 * DAY).await?;
    let queue = ballot_box.queue(targets.clone(), values.clone(), calls.clone(), why);
    stage.chain.send("queue", queue).await?;
    stage.pass(7 * DAY).await?;
    let execute = ballot_box.execute(targets, values, calls, why);
    stage.chain.send("execute", execute).await?;
    stage.chain.send("return the bond", ballot_box.withdrawBond(tally)).await?;
    let escrow = InferenceEscrow::new(at.escrow, provider);
    assert_eq!(escrow.withdrawalDelay().call().await?, Uint::from(2 * DAY));
    assert_eq!(stage.chain.balance(rita.address()).await?, open(1_500));
    stage.say("three days without a challenge and a week in the timelock later it is done,");
    stage.say("and rita has her bond back");
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

/// The same count with one ballot against turned into one for, and sums that fit.
fn forge(honest: &Tally) -> Result<Tally> {
    let mut ballots = honest.ballots().to_vec();
    let against = ballots.iter_mut().find(|ballot| ballot.support == Support::Against as u8);
    against.ok_or("nobody is against")?.support = Support::For as u8;
    let mut totals = Totals::default();
    for ballot in &mut ballots {
        let side = match ballot.support {
            0 => &mut totals.against,
            1 => &mut totals.for_votes,
            _ => &mut totals.abstain,
        };
        *side += ballot.weight;
        ballot.so_far = totals;
    }
    Ok(Tally::new(ballots, totals)?)
}

/// Submits a count under a bond; returns its number.
async fn submit(stage: &Stage, who: &Key, id: U256, tally: &Tally) -> Result<u64> {
    let at = stage.chain.contracts();
    let token = OpenToken::new(at.token, stage.chain.provider());
    let bond = open(1_000).units();
    stage.by(who).send("allow a bond", token.approve(at.ballots, bond)).await?;
    let claim = BoxContract::Claim {
        root: tally.root(),
        body: keccak256(tally.body()),
        count: u32::try_from(tally.ballots().len())?,
        totals: BoxContract::Totals {
            forVotes: tally.totals().for_votes,
            againstVotes: tally.totals().against,
            abstainVotes: tally.totals().abstain,
        },
    };
    let ballot_box = BoxContract::new(at.ballots, stage.chain.provider());
    Ok(stage.by(who).send_for("submit a count", ballot_box.submit(id, claim)).await?.value)
}

/// A ballot as the contract takes it.
fn leaf(ballot: &CountedBallot) -> BoxContract::Leaf {
    BoxContract::Leaf {
        index: U256::from(ballot.index),
        voter: ballot.voter,
        support: ballot.support,
        weight: ballot.weight,
        signatureHash: ballot.signature_hash(),
        reason: ballot.reason,
        forSoFar: ballot.so_far.for_votes,
        againstSoFar: ballot.so_far.against,
        abstainSoFar: ballot.so_far.abstain,
    }
}

/// How many transactions each of them has sent.
async fn sent_by(stage: &Stage, people: &[Key]) -> Result<Vec<u64>> {
    let mut sent = Vec::new();
    for who in people {
        sent.push(stage.chain.provider().get_transaction_count(who.address()).await?);
    }
    Ok(sent)
}
