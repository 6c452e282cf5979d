//! Proposals and votes: on chain, by ballots counted off chain, and for models.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, Amount, B256, Result, U256};

use super::{
    map::Map,
    wrong::{add, known, wrong},
};
use crate::{
    abi::{
        ballot_box::BallotBox::BallotBoxEvents as Ballots,
        model_proposals::ModelProposals::ModelProposalsEvents as ForModels,
        open_governor::OpenGovernor::OpenGovernorEvents as Governor,
    },
    ballots::Support,
};

/// Votes counted.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Count {
    /// Against.
    pub against: Amount,
    /// For.
    pub in_favour: Amount,
    /// For the quorum only.
    pub abstain: Amount,
}

/// A proposal in the governor.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Proposed {
    /// Who proposed it.
    pub proposer: Address,
    /// The contracts it calls.
    pub targets: Vec<Address>,
    /// Why.
    pub description: String,
    /// When votes are weighed.
    pub snapshot: u64,
    /// The last second to vote, late quorum counted in.
    pub deadline: u64,
    /// Votes so far.
    pub count: Count,
    /// What came of it. That it was defeated, or succeeded, is a function of time and quorum and
    /// no event: [`Governance::state`](crate::Governance::state) asks.
    pub outcome: Outcome,
}

/// What came of a proposal.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing yet, or it was not carried.
    Open,
    /// It was canceled.
    Canceled,
    /// It waits in the timelock.
    Queued,
    /// It was executed. Of proposals whose ballots are counted off chain the timelock executes, not
    /// their ballot box: those stay queued here.
    Executed,
}

/// A vote on chain.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Vote {
    /// How.
    pub support: Support,
    /// With how many votes.
    pub weight: Amount,
}

/// A proposal whose ballots are counted off chain. Ballots are no events, but those that were put
/// on top of a tally.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Balloted {
    /// Who proposed it.
    pub proposer: Address,
    /// Digest of the reasons.
    pub description: B256,
    /// When votes are weighed.
    pub snapshot: u64,
    /// When tallies begin.
    pub deadline: u64,
    /// The tally that stands: its number and what it claims; nothing before one is brought and
    /// after one lost.
    pub tally: Option<(u64, Count)>,
    /// What came of it.
    pub outcome: Outcome,
}

/// A proposal for a model.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ProposedModel {
    /// Who proposed it.
    pub proposer: Address,
    /// Digest of its description.
    pub metadata: B256,
    /// Where that is published.
    pub da: B256,
    /// What the proposer put down.
    pub stake: Amount,
    /// When the next step is due.
    pub due_at: u64,
    /// How far it came.
    pub stage: Stage,
}

/// How far a proposal for a model came.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// It waits for a decision.
    Proposed,
    /// It is to be built.
    Approved,
    /// It was refused.
    Rejected,
    /// This is the model.
    Deployed(B256),
    /// It was not built in time.
    Lapsed,
}

/// All proposals.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Votes {
    pub(super) proposals: Map<U256, Proposed>,
    pub(super) votes: Map<(U256, Address), Vote>,
    pub(super) balloted: Map<U256, Balloted>,
    pub(super) models: Map<B256, ProposedModel>,
}

impl Votes {
    pub(super) fn governor(&mut self, event: &Governor) -> Result<()> {
        match event {
            Governor::ProposalCreated(e) => {
                let proposed = Proposed {
                    proposer: e.proposer,
                    targets: e.targets.clone(),
                    description: e.description.clone(),
                    snapshot: seconds(e.voteStart),
                    deadline: seconds(e.voteEnd),
                    count: Count::default(),
                    outcome: Outcome::Open,
                };
                if self.proposals.has(&e.proposalId) {
                    return Err(wrong(format!("proposal {} made twice", e.proposalId)));
                }
                self.proposals.put(e.proposalId, proposed);
            }
            Governor::ProposalExtended(e) => {
                let proposal = self.proposal(e.proposalId)?;
                proposal.deadline = proposal.deadline.max(e.extendedDeadline);
            }
            Governor::VoteCast(e) => self.vote(e.proposalId, e.voter, e.support, e.weight)?,
            Governor::VoteCastWithParams(e) => {
                self.vote(e.proposalId, e.voter, e.support, e.weight)?;
            }
            Governor::ProposalQueued(e) => {
                self.proposal(e.proposalId)?.outcome = Outcome::Queued;
            }
            Governor::ProposalExecuted(e) => {
                self.proposal(e.proposalId)?.outcome = Outcome::Executed;
            }
            Governor::ProposalCanceled(e) => {
                self.proposal(e.proposalId)?.outcome = Outcome::Canceled;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn ballots(&mut self, event: &Ballots) -> Result<()> {
        match event {
            Ballots::ProposalOpened(e) => {
                if self.balloted.has(&e.id) {
                    return Err(wrong(format!("proposal {} opened twice", e.id)));
                }
                let balloted = Balloted {
                    proposer: e.proposer,
                    description: e.descriptionHash,
                    snapshot: e.snapshot.to(),
                    deadline: e.deadline.to(),
                    tally: None,
                    outcome: Outcome::Open,
                };
                self.balloted.put(e.id, balloted);
            }
            Ballots::TallySubmitted(e) => {
                let totals = &e.claim.totals;
                let count = count(totals.againstVotes, totals.forVotes, totals.abstainVotes);
                self.balloted(e.id)?.tally = Some((e.tally, count));
            }
            Ballots::TallyLost(e) => {
                let proposal = self.balloted(e.id)?;
                if proposal.tally.is_some_and(|(tally, _)| tally == e.tally) {
                    proposal.tally = None;
                }
            }
            Ballots::ProposalQueued(e) => {
                let count = count(e.totals.againstVotes, e.totals.forVotes, e.totals.abstainVotes);
                let proposal = self.balloted(e.id)?;
                proposal.tally = proposal.tally.map(|(tally, _)| (tally, count));
                proposal.outcome = Outcome::Queued;
            }
            Ballots::ProposalCanceled(e) => self.balloted(e.id)?.outcome = Outcome::Canceled,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn for_model(&mut self, event: &ForModels) -> Result<()> {
        match event {
            ForModels::ModelProposed(e) => {
                if self.models.has(&e.id) {
                    return Err(wrong(format!("model proposal {} made twice", e.id)));
                }
                let proposed = ProposedModel {
                    proposer: e.proposer,
                    metadata: e.metadata,
                    da: e.da,
                    stake: Amount::new(U256::from(e.stake)),
                    due_at: e.dueAt.to(),
                    stage: Stage::Proposed,
                };
                self.models.put(e.id, proposed);
            }
            ForModels::ModelApproved(e) => {
                let proposal = self.for_id(e.id)?;
                (proposal.stage, proposal.due_at) = (Stage::Approved, e.dueAt.to());
            }
            ForModels::ModelRejected(e) => self.for_id(e.id)?.stage = Stage::Rejected,
            ForModels::ModelDeployed(e) => self.for_id(e.id)?.stage = Stage::Deployed(e.model),
            ForModels::ProposalLapsed(e) => self.for_id(e.id)?.stage = Stage::Lapsed,
            _ => {}
        }
        Ok(())
    }

    fn vote(&mut self, id: U256, voter: Address, support: u8, weight: U256) -> Result<()> {
        if self.votes.has(&(id, voter)) {
            return Err(wrong(format!("{voter} voted twice on proposal {id}")));
        }
        let count = &mut self.proposal(id)?.count;
        let (support, sum) = match support {
            0 => (Support::Against, &mut count.against),
            1 => (Support::For, &mut count.in_favour),
            2 => (Support::Abstain, &mut count.abstain),
            other => return Err(wrong(format!("a vote of kind {other}"))),
        };
        add(sum, weight, "the votes")?;
        self.votes.put((id, voter), Vote { support, weight: Amount::new(weight) });
        Ok(())
    }

    fn proposal(&mut self, id: U256) -> Result<&mut Proposed> {
        known(self.proposals.at_mut(&id), "proposal", id)
    }

    fn balloted(&mut self, id: U256) -> Result<&mut Balloted> {
        known(self.balloted.at_mut(&id), "proposal", id)
    }

    fn for_id(&mut self, id: B256) -> Result<&mut ProposedModel> {
        known(self.models.at_mut(&id), "model proposal", id)
    }
}

fn count(against: U256, in_favour: U256, abstain: U256) -> Count {
    let [against, in_favour, abstain] = [against, in_favour, abstain].map(Amount::new);
    Count { against, in_favour, abstain }
}

/// A proposer can name no time past 2^48, so nothing is cut here.
fn seconds(time: U256) -> u64 {
    time.saturating_to()
}
