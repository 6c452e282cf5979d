//! The ballot box on chain: polls, tallies under a bond, and what brings a wrong one down.

use std::collections::BTreeMap;

use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, Bytes, Error, ErrorKind, Result, U256, keccak256};

use super::{CountedBallot, Fault, SignedBallot, Tally, Totals};
use crate::{
    EvmChain, Proposal, Sent,
    abi::{
        ballot_box::BallotBox as Contract, governance_open::GovernanceOpen, open_token::OpenToken,
    },
};

/// Votes off chain, as the chain sees them.
///
/// # Contract
/// - A tally that nobody shows a fault of decides; a fault costs its submitter the bond.
/// - What [`Tally::faults`] finds of a tally, [`challenge`](Self::challenge) brings it down with.
/// - Calls that need a bond allow the box to take it first.
#[async_trait]
pub trait Ballots: Send + Sync {
    /// Opens a poll on what the timelock shall do; returns its id, which ballots name.
    async fn open_poll(&self, proposal: &Proposal) -> Result<Sent<U256>>;

    /// Returns where a poll stands.
    async fn poll(&self, id: U256) -> Result<Poll>;

    /// Returns the votes that accounts had at a poll's snapshot, once that is past.
    async fn weights(&self, id: U256, voters: &[Address]) -> Result<BTreeMap<Address, U256>>;

    /// Submits a tally under the sender's bond; returns its number.
    async fn submit_tally(&self, id: U256, tally: &Tally) -> Result<Sent<u64>>;

    /// Returns what was submitted under a number.
    async fn tally(&self, number: u64) -> Result<Submitted>;

    /// Shows a fault of a tally, and earns half its bond; demands a leaf that is [missing](Fault::Missing),
    /// which brings the tally down with [`foreclose`](Self::foreclose) unless somebody shows it.
    async fn challenge(&self, number: u64, tally: &Tally, fault: Fault) -> Result<Sent>;

    /// Shows the leaf at `place`, which somebody demanded.
    async fn answer(&self, number: u64, tally: &Tally, place: usize) -> Result<Sent>;

    /// Brings down a tally that did not show the leaf with `index` in time.
    async fn foreclose(&self, number: u64, index: u64) -> Result<Sent>;

    /// Puts a ballot that a tally left out on top of it.
    async fn include(&self, number: u64, tally: &Tally, ballot: &SignedBallot) -> Result<Sent>;

    /// Gives the bond of a tally back to its submitter, once nothing can befall it; anybody may.
    async fn withdraw_bond(&self, number: u64) -> Result<Sent>;

    /// Puts what was won into the timelock; anybody may.
    async fn queue_poll(&self, proposal: &Proposal) -> Result<Sent>;

    /// Executes what has waited long enough; anybody may.
    async fn execute_poll(&self, proposal: &Proposal) -> Result<Sent>;

    /// Takes a poll back that was not executed, as the guardian.
    async fn cancel_poll(&self, id: U256) -> Result<Sent>;
}

/// A poll.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Poll {
    /// Where it stands.
    pub state: PollState,
    /// Whoever has votes at this time (Unix) can use them.
    pub snapshot: u64,
    /// Tallies are taken after this.
    pub deadline: u64,
    /// The tally that decides unless something befalls it.
    pub tally: Option<u64>,
}

/// Where a poll stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
pub enum PollState {
    /// Its snapshot is ahead.
    Pending,
    /// Ballots are signed.
    Voting,
    /// A tally is awaited, or can still be challenged.
    Tallying,
    /// It lost, too few voted, or nobody counted.
    Defeated,
    /// It won and is not queued.
    Succeeded,
    /// It waits in the timelock.
    Queued,
    /// It was done.
    Executed,
    /// It was taken back.
    Canceled,
}

/// A tally as it was submitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Submitted {
    /// The poll.
    pub poll: U256,
    /// Who put down the bond.
    pub submitter: Address,
    /// The root of the ballots.
    pub root: B256,
    /// How many ballots it claims.
    pub count: u64,
    /// The sums it claims.
    pub claimed: Totals,
    /// What was put on top of them.
    pub included: Totals,
    /// The end of its window (Unix time): of challenges, demands, replacements and inclusions. An
    /// answer to a demand moves it, and it stays unsettled while a demand is open.
    pub settles_at: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a tally.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
pub enum Fate {
    /// Nothing yet.
    Standing,
    /// A fault was shown, or a leaf was not.
    Lost,
    /// It stood, and its bond was given back.
    Paid,
}

#[async_trait]
impl Ballots for EvmChain {
    async fn open_poll(&self, proposal: &Proposal) -> Result<Sent<U256>> {
        let (targets, values, calls) = proposal.lists();
        let contract = self.ballots();
        let call = contract.open(targets, values, calls, proposal.description_hash());
        self.send_for("open a poll", call).await
    }

    async fn poll(&self, id: U256) -> Result<Poll> {
        let what = "ask for a poll";
        let state = match self.ask(what, self.ballots().state(id)).await? {
            0 => return Err(Error::new(ErrorKind::NotFound, format!("no poll {id}"))),
            1 => PollState::Pending,
            2 => PollState::Voting,
            3 => PollState::Tallying,
            4 => PollState::Defeated,
            5 => PollState::Succeeded,
            6 => PollState::Queued,
            7 => PollState::Executed,
            8 => PollState::Canceled,
            other => {
                let message = format!("the ballot box knows a state {other}, this client does not");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let entry = self.ask(what, self.ballots().proposal(id)).await?;
        Ok(Poll {
            state,
            snapshot: entry.snapshot.to(),
            deadline: entry.deadline.to(),
            tally: (entry.tally != 0).then_some(entry.tally),
        })
    }

    async fn weights(&self, id: U256, voters: &[Address]) -> Result<BTreeMap<Address, U256>> {
        let snapshot = U256::from(self.poll(id).await?.snapshot);
        let votes = GovernanceOpen::new(self.contracts().votes, self.provider());
        let mut weights = BTreeMap::new();
        for &voter in voters {
            let call = votes.getPastVotes(voter, snapshot);
            weights.insert(voter, self.ask("ask for past votes", call).await?);
        }
        Ok(weights)
    }

    async fn submit_tally(&self, id: U256, tally: &Tally) -> Result<Sent<u64>> {
        let rules = self.ask("ask for a poll", self.ballots().proposal(id)).await?.rules;
        self.allow_for_ballots(rules.bond).await?;
        let count = u32::try_from(tally.count())
            .map_err(|_| Error::invalid(format!("{} ballots, past 2^32", tally.count())))?;
        let body = keccak256(tally.body());
        let claim =
            Contract::Claim { root: tally.root(), body, count, totals: typed(tally.totals()) };
        let sent = self.send("submit a tally", self.ballots().submit(id, claim)).await?;
        sent.told(self.contracts().ballots, |event: Contract::TallySubmitted| Ok(event.tally))
    }

    async fn tally(&self, number: u64) -> Result<Submitted> {
        let entry = self.ask("ask for a tally", self.ballots().tallyOf(number)).await?;
        let fate = match entry.status {
            0 => return Err(Error::new(ErrorKind::NotFound, format!("no tally {number}"))),
            1 => Fate::Standing,
            2 => Fate::Lost,
            3 => Fate::Paid,
            other => {
                let message =
                    format!("the ballot box knows a tally's status {other}, this client does not");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let totals = |totals: Contract::Totals| Totals {
            for_votes: totals.forVotes,
            against: totals.againstVotes,
            abstain: totals.abstainVotes,
        };
        Ok(Submitted {
            poll: entry.proposal,
            submitter: entry.submitter,
            root: entry.root,
            count: entry.count.into(),
            claimed: totals(entry.claimed),
            included: totals(entry.included),
            settles_at: entry.settlesAt.to(),
            fate,
        })
    }

    async fn challenge(&self, number: u64, tally: &Tally, fault: Fault) -> Result<Sent> {
        let what = "challenge a tally";
        let contract = self.ballots();
        match fault {
            Fault::Ballot(place) => {
                let signature = signature(ballot(tally, place)?);
                let call = contract.challengeBallot(number, witness(tally, place)?, signature);
                self.send(what, call).await
            }
            Fault::Order(before, after) => {
                let (before, after) = (witness(tally, before)?, witness(tally, after)?);
                self.send(what, contract.challengeOrder(number, before, after)).await
            }
            Fault::Ends(place) => {
                let call = contract.challengeEnds(number, witness(tally, place)?);
                self.send(what, call).await
            }
            Fault::Missing(index) => {
                let poll = self.tally(number).await?.poll;
                let asked = self.ask("ask for a poll", contract.proposal(poll)).await?;
                self.allow_for_ballots(asked.rules.demandBond).await?;
                self.send("demand a leaf", contract.demand(number, U256::from(index))).await
            }
        }
    }

    async fn answer(&self, number: u64, tally: &Tally, place: usize) -> Result<Sent> {
        let (witness, signature) = (witness(tally, place)?, signature(ballot(tally, place)?));
        self.send("show a leaf", self.ballots().answer(number, witness, signature)).await
    }

    async fn foreclose(&self, number: u64, index: u64) -> Result<Sent> {
        let contract = self.ballots();
        let call = contract.foreclose(number, U256::from(index));
        self.send("bring down a silent tally", call).await
    }

    async fn include(&self, number: u64, tally: &Tally, signed: &SignedBallot) -> Result<Sent> {
        let said = signed.ballot();
        let after = tally.ballots().partition_point(|counted| counted.voter < said.voter);
        let places = [after.checked_sub(1), (after < tally.ballots().len()).then_some(after)];
        let neighbours = places.into_iter().flatten().map(|place| witness(tally, place));
        let ballot = Contract::Ballot {
            voter: said.voter,
            support: said.support as u8,
            reason: said.reason,
        };
        let signature = Bytes::copy_from_slice(signed.signature().as_bytes());
        let neighbours = neighbours.collect::<Result<_>>()?;
        let contract = self.ballots();
        let call = contract.include(number, ballot, signature, neighbours);
        self.send("include a ballot", call).await
    }

    async fn withdraw_bond(&self, number: u64) -> Result<Sent> {
        self.send("give a bond back", self.ballots().withdrawBond(number)).await
    }

    async fn queue_poll(&self, proposal: &Proposal) -> Result<Sent> {
        let (targets, values, calls) = proposal.lists();
        let contract = self.ballots();
        let call = contract.queue(targets, values, calls, proposal.description_hash());
        self.send("queue a poll", call).await
    }

    async fn execute_poll(&self, proposal: &Proposal) -> Result<Sent> {
        let (targets, values, calls) = proposal.lists();
        let contract = self.ballots();
        let call = contract.execute(targets, values, calls, proposal.description_hash());
        self.send("execute a poll", call).await
    }

    async fn cancel_poll(&self, id: U256) -> Result<Sent> {
        self.send("cancel a poll", self.ballots().cancel(id)).await
    }
}

impl EvmChain {
    fn ballots(&self) -> Contract::BallotBoxInstance<&alloy::providers::DynProvider> {
        Contract::new(self.contracts().ballots, self.provider())
    }

    async fn allow_for_ballots(&self, bond: u128) -> Result<Sent> {
        let token = OpenToken::new(self.contracts().token, self.provider());
        let amount = Amount::new(U256::from(bond));
        let call = token.approve(self.contracts().ballots, amount.units());
        self.send("allow the ballot box to take a bond", call).await
    }
}

fn ballot(tally: &Tally, place: usize) -> Result<&CountedBallot> {
    tally.ballots().get(place).ok_or_else(|| {
        let count = tally.ballots().len();
        Error::invalid(format!("no ballot at place {place} of {count}"))
    })
}

fn witness(tally: &Tally, place: usize) -> Result<Contract::Witness> {
    let counted = ballot(tally, place)?;
    let leaf = Contract::Leaf {
        index: U256::from(counted.index),
        voter: counted.voter,
        support: counted.support,
        weight: counted.weight,
        signatureHash: counted.signature_hash(),
        reason: counted.reason,
        forSoFar: counted.so_far.for_votes,
        againstSoFar: counted.so_far.against,
        abstainSoFar: counted.so_far.abstain,
    };
    Ok(Contract::Witness { leaf, proof: tally.proof(place) })
}

fn signature(counted: &CountedBallot) -> Bytes {
    Bytes::copy_from_slice(counted.signature.as_bytes())
}

const fn typed(totals: Totals) -> Contract::Totals {
    Contract::Totals {
        forVotes: totals.for_votes,
        againstVotes: totals.against,
        abstainVotes: totals.abstain,
    }
}
