//! Votes that cost nothing, and a forged count of them that costs a bond.

use std::collections::BTreeMap;

use openledger_chain::{
    abi::{
        ballot_box::BallotBox as BoxContract, governance_open::GovernanceOpen,
        inference_escrow::InferenceEscrow, open_token::OpenToken,
    },
    alloy::{primitives::Uint, providers::Provider, sol_types::SolCall},
    ballots::{Ballot, BallotBox, CountedBallot, Fault, Support, Tally, Totals},
};
use openledger_core::{Address, Amount, B256, Bytes, Key, U256, keccak256};

use crate::{
    People,
    common::{DAY, Result, Stage, open, refused},
};

pub(super) async fn vote(stage: &Stage, people: &People) -> Result<()> {
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
