//! Votes on chain.

use alloy::sol_types::SolStruct;
use async_trait::async_trait;
use openledger_core::{
    Address, Amount, B256, Bytes, Error, ErrorKind, Key, Result, U256, keccak256,
    message::{Domain, Signature},
};

use super::signature;
use crate::{
    EvmChain, Sent,
    abi::{
        governance_open::GovernanceOpen,
        open_governor::{OpenGovernor, OpenGovernor::ProposalCreated},
    },
    ballots::Support,
};

/// Governance: holders of GOPEN decide what the timelock does.
///
/// # Contract
/// - Votes are those an account had, or was delegated, at the proposal's snapshot.
/// - What is decided waits in the timelock before anybody can execute it.
#[async_trait]
pub trait Governance: Send + Sync {
    /// Wraps the sender's native coins into GOPEN and gives the votes of all its GOPEN to `to`. A unit
    /// of `amount` is the coin's smallest (wei): 10^18 of them are a coin and become a GOPEN.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the contract refuses; [`ErrorKind::Unavailable`], also if the
    /// sender has too few coins.
    async fn lock_votes(&self, amount: Amount, to: Address) -> Result<Vec<Sent>>;

    /// Proposes that the timelock makes `actions`; returns the proposal's id.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the sender has too few votes, or the same was proposed before;
    /// [`ErrorKind::Unavailable`].
    async fn propose(&self, proposal: &Proposal) -> Result<Sent<U256>>;

    /// Votes as the sender.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the proposal is not voted on now, or the sender has voted;
    /// [`ErrorKind::Unavailable`].
    async fn vote(&self, proposal: U256, support: Support) -> Result<Sent>;

    /// Brings a vote somebody signed; the voter pays nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the signature is not the voter's or for another nonce, the proposal
    /// is not voted on now, or the voter has voted; [`ErrorKind::Unavailable`].
    async fn relay_vote(&self, vote: &SignedVote) -> Result<Sent>;

    /// Puts a proposal that won into the timelock; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the proposal has not won or is queued; [`ErrorKind::Unavailable`].
    async fn queue(&self, proposal: &Proposal) -> Result<Sent>;

    /// Executes what has waited long enough; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the proposal is not queued or waits still, or one of its calls
    /// fails; [`ErrorKind::Unavailable`].
    async fn execute(&self, proposal: &Proposal) -> Result<Sent>;

    /// Returns where a proposal stands.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if there is no such proposal; [`ErrorKind::Unsupported`] for a state
    /// this client does not know; [`ErrorKind::Unavailable`].
    async fn state(&self, proposal: U256) -> Result<ProposalState>;

    /// Returns a voter's next nonce for signed votes.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn vote_nonce(&self, voter: Address) -> Result<U256>;
}

/// What to do if a vote is won.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Proposal {
    /// The calls the timelock makes, in order, all or none.
    pub actions: Vec<Action>,
    /// What it is for.
    pub description: String,
}

/// A call the timelock makes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Action {
    /// The contract called.
    pub target: Address,
    /// Native coins sent along, in wei: 10^18 are a coin.
    pub value: U256,
    /// The call, ABI-encoded.
    pub call: Bytes,
}

impl Proposal {
    /// Proposes one call of a contract.
    pub fn call(target: Address, call: &impl alloy::sol_types::SolCall, description: &str) -> Self {
        let action = Action { target, value: U256::ZERO, call: call.abi_encode().into() };
        Self { actions: vec![action], description: description.to_owned() }
    }

    /// Returns the keccak-256 of the description, which names the proposal together with its actions.
    pub fn description_hash(&self) -> B256 {
        keccak256(&self.description)
    }

    /// Returns targets, values and calls as contracts take them.
    pub(crate) fn lists(&self) -> (Vec<Address>, Vec<U256>, Vec<Bytes>) {
        let targets = self.actions.iter().map(|action| action.target).collect();
        let values = self.actions.iter().map(|action| action.value).collect();
        let calls = self.actions.iter().map(|action| action.call.clone()).collect();
        (targets, values, calls)
    }
}

/// A vote that its voter signed for somebody else to bring (EIP-712, OpenZeppelin's `Ballot`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SignedVote {
    /// The proposal.
    pub proposal: U256,
    /// How.
    pub support: Support,
    /// Who votes.
    pub voter: Address,
    /// The signature.
    pub signature: Signature,
}

mod typed {
    alloy::sol! {
        struct Ballot {
            uint256 proposalId;
            uint8 support;
            address voter;
            uint256 nonce;
        }
    }
}

impl SignedVote {
    /// Signs with the voter's key; `domain` is the governor's, `nonce` the voter's next.
    pub fn sign(proposal: U256, support: Support, nonce: U256, domain: &Domain, key: &Key) -> Self {
        let voter = key.address();
        let ballot = typed::Ballot { proposalId: proposal, support: support as u8, voter, nonce };
        let digest = ballot.eip712_signing_hash(&domain.to_eip712());
        Self { proposal, support, voter, signature: key.sign(digest) }
    }
}

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbered in OpenZeppelin's Governor")]
#[repr(u8)]
pub enum ProposalState {
    /// Its snapshot is ahead.
    Pending = 0,
    /// It is voted on.
    Active = 1,
    /// It was taken back.
    Canceled = 2,
    /// It lost, or too few voted.
    Defeated = 3,
    /// It won and is not queued.
    Succeeded = 4,
    /// It waits in the timelock.
    Queued = 5,
    /// It was queued and not executed in time.
    Expired = 6,
    /// It was done.
    Executed = 7,
}

#[async_trait]
impl Governance for EvmChain {
    async fn lock_votes(&self, amount: Amount, to: Address) -> Result<Vec<Sent>> {
        let votes = GovernanceOpen::new(self.contracts.votes, &self.provider);
        let wrapped = self.send("wrap coins", votes.deposit().value(amount.units())).await?;
        let delegated = self.send("delegate votes", votes.delegate(to)).await?;
        Ok(vec![wrapped, delegated])
    }

    async fn propose(&self, proposal: &Proposal) -> Result<Sent<U256>> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        let (targets, values, calls) = proposal.lists();
        let call = governor.propose(targets, values, calls, proposal.description.clone());
        let sent = self.send("propose", call).await?;
        sent.told(self.contracts.governor, |event: ProposalCreated| Ok(event.proposalId))
    }

    async fn vote(&self, proposal: U256, support: Support) -> Result<Sent> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        self.send("vote", governor.castVote(proposal, support as u8)).await
    }

    async fn relay_vote(&self, vote: &SignedVote) -> Result<Sent> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        let SignedVote { proposal, support, voter, signature: signed } = vote;
        let call = governor.castVoteBySig(*proposal, *support as u8, *voter, signature(signed));
        self.send("bring a vote", call).await
    }

    async fn queue(&self, proposal: &Proposal) -> Result<Sent> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        let (targets, values, calls) = proposal.lists();
        let call = governor.queue(targets, values, calls, proposal.description_hash());
        self.send("queue a proposal", call).await
    }

    async fn execute(&self, proposal: &Proposal) -> Result<Sent> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        let (targets, values, calls) = proposal.lists();
        let call = governor.execute(targets, values, calls, proposal.description_hash());
        self.send("execute a proposal", call).await
    }

    async fn state(&self, proposal: U256) -> Result<ProposalState> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        Ok(match self.ask("ask for a proposal", governor.state(proposal)).await? {
            0 => ProposalState::Pending,
            1 => ProposalState::Active,
            2 => ProposalState::Canceled,
            3 => ProposalState::Defeated,
            4 => ProposalState::Succeeded,
            5 => ProposalState::Queued,
            6 => ProposalState::Expired,
            7 => ProposalState::Executed,
            other => {
                let message = format!("the governor knows a state {other}, this client does not");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        })
    }

    async fn vote_nonce(&self, voter: Address) -> Result<U256> {
        let governor = OpenGovernor::new(self.contracts.governor, &self.provider);
        self.ask("ask for a nonce", governor.nonces(voter)).await
    }
}
