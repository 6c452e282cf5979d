//! What all events together tell, and the questions it answers.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, Amount, B256, DatanetId, DatanetVersion, Error, ErrorKind, Result, U256,
};

use super::{
    Agent, Balloted, Batch, Contributed, Count, Counts, Datanet, Granted, Leaving, Lock, Model,
    Node, Pool, Position, Proposed, ProposedModel, Request, Root, Slash, Vault, Version, Vote,
    graph::Graph, line::Line, money::Money, stake::Stakes, votes::Votes, wrong,
};
use crate::{BatchName, Contracts, ContributionName, StakeRole};

/// What the contracts' events tell, at one block.
///
/// Amounts are in the smallest unit, times in Unix seconds. Questions are answered from memory;
/// lists are in the order of their keys. What no event tells is not here: whether a batch is final
/// (its window runs from a block's time), what a stake grew to, whether a proposal succeeded, what
/// a claim is still worth; the client's roles ask the contracts for those.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub struct Index {
    pub(super) graph: Graph,
    pub(super) money: Money,
    pub(super) stakes: Stakes,
    pub(super) votes: Votes,
    pub(super) events: u64,
}

const LOW: B256 = B256::ZERO;
const HIGH: B256 = B256::repeat_byte(0xff);
const FIRST: Address = Address::ZERO;
const LAST: Address = Address::repeat_byte(0xff);

/// # The attribution graph
impl Index {
    /// Returns a Datanet.
    pub fn datanet(&self, id: DatanetId) -> Option<&Datanet> {
        self.graph.datanets.at(&id)
    }

    /// Returns all Datanets.
    pub fn datanets(&self) -> impl Iterator<Item = (DatanetId, &Datanet)> {
        self.graph.datanets.iter().map(|(id, datanet)| (*id, datanet))
    }

    /// Returns the versions of a Datanet.
    pub fn versions(&self, id: DatanetId) -> impl Iterator<Item = (DatanetVersion, Version)> {
        self.graph.versions.range((id, 0)..=(id, u64::MAX)).map(|((datanet, number), version)| {
            let (datanet, version_number, root) = (*datanet, *number, version.root);
            (DatanetVersion { datanet, version: version_number, root }, *version)
        })
    }

    /// Returns whether the owner of a Datanet approved a contributor, which counts where the
    /// Datanet is private.
    pub fn is_approved(&self, datanet: DatanetId, contributor: Address) -> bool {
        self.graph.approved.at(&(datanet, contributor)).copied().unwrap_or_default()
    }

    /// Returns a contribution.
    pub fn contribution(&self, name: &ContributionName) -> Option<&Contributed> {
        self.graph.contributions.at(&(name.datanet, name.contributor, name.root))
    }

    /// Returns what was contributed to a Datanet. Anybody can contribute to a name that is no
    /// Datanet yet, so the Datanet may be unknown.
    pub fn contributions(
        &self,
        datanet: DatanetId,
    ) -> impl Iterator<Item = (ContributionName, &Contributed)> {
        let keys = (datanet, FIRST, LOW)..=(datanet, LAST, HIGH);
        self.graph.contributions.range(keys).map(|(&(datanet, contributor, root), found)| {
            (ContributionName { datanet, contributor, root }, found)
        })
    }

    /// Returns how an account's contributions fared.
    pub fn contributor(&self, account: Address) -> Counts {
        self.graph.contributors.at(&account).copied().unwrap_or_default()
    }

    /// Returns how the contributions to a Datanet fared.
    pub fn fared(&self, datanet: DatanetId) -> Counts {
        self.graph.fared.at(&datanet).copied().unwrap_or_default()
    }

    /// Returns the registration of a model by an owner.
    pub fn model(&self, owner: Address, model: B256) -> Option<&Model> {
        self.graph.models.at(&(model, owner))
    }

    /// Returns all registrations of a model: anybody can register the same files.
    pub fn registrations(&self, model: B256) -> impl Iterator<Item = (Address, &Model)> {
        let keys = (model, FIRST)..=(model, LAST);
        self.graph.models.range(keys).map(|((_, owner), model)| (*owner, model))
    }

    /// Returns the models trained on a Datanet, by their owners' word: model, owner, the latest
    /// version used.
    pub fn trained_on(&self, datanet: DatanetId) -> impl Iterator<Item = (B256, Address, u64)> {
        let keys = (datanet, LOW, FIRST)..=(datanet, HIGH, LAST);
        self.graph
            .trained
            .range(keys)
            .map(|((_, model, owner), version)| (*model, *owner, *version))
    }

    /// Returns a batch of receipts.
    pub fn batch(&self, name: BatchName) -> Option<&Batch> {
        self.graph.batches.at(&(name.node, name.root))
    }

    /// Returns the batches of a node.
    pub fn batches(&self, node: Address) -> impl Iterator<Item = (BatchName, &Batch)> {
        let keys = (node, LOW)..=(node, HIGH);
        self.graph
            .batches
            .range(keys)
            .map(|(&(node, root), batch)| (BatchName { node, root }, batch))
    }

    /// Returns a node.
    pub fn node(&self, node: Address) -> Option<Node> {
        self.graph.nodes.at(&node).copied()
    }

    /// Returns a grant by the hash of its statement.
    pub fn grant(&self, grant: B256) -> Option<&Granted> {
        self.graph.grants.at(&grant)
    }

    /// Returns all grants.
    pub fn grants(&self) -> impl Iterator<Item = (B256, &Granted)> {
        self.graph.grants.iter().map(|(id, grant)| (*id, grant))
    }

    /// Returns the requests for access to a Datanet: who, for what purpose, what came of it.
    pub fn requests(&self, id: DatanetId) -> impl Iterator<Item = (Address, B256, Request)> {
        let keys = (id, FIRST, LOW)..=(id, LAST, HIGH);
        self.graph
            .requests
            .range(keys)
            .map(|((_, who, purpose), request)| (*who, *purpose, *request))
    }

    /// Returns an agent.
    pub fn agent(&self, id: B256) -> Option<&Agent> {
        self.graph.agents.at(&id)
    }

    /// Returns all agents.
    pub fn agents(&self) -> impl Iterator<Item = (B256, &Agent)> {
        self.graph.agents.iter().map(|(id, agent)| (*id, agent))
    }
}

/// # Money
impl Index {
    /// Returns all OPEN there is.
    pub const fn supply(&self) -> Amount {
        self.money.supply
    }

    /// Returns the OPEN an account holds.
    pub fn balance(&self, account: Address) -> Amount {
        self.money.balances.at(&account).copied().unwrap_or_default()
    }

    /// Returns everybody who holds OPEN.
    pub fn holders(&self) -> impl Iterator<Item = (Address, Amount)> {
        self.money.balances.iter().map(|(account, amount)| (*account, *amount))
    }

    /// Returns what a payer has in escrow and not locked.
    pub fn deposited(&self, payer: Address) -> Amount {
        self.money.free.at(&payer).copied().unwrap_or_default()
    }

    /// Returns what is locked for a payee by a payer, or by its till if they are the same.
    pub fn lock(&self, payer: Address, payee: Address) -> Lock {
        self.money.locks.at(&(payer, payee)).copied().unwrap_or_default()
    }

    /// Returns the locks of a payer, by payee.
    pub fn locks(&self, payer: Address) -> impl Iterator<Item = (Address, Lock)> {
        let keys = (payer, FIRST)..=(payer, LAST);
        self.money.locks.range(keys).map(|((_, payee), lock)| (*payee, *lock))
    }

    /// Returns what a payer announced to take out of escrow.
    pub fn leaving(&self, payer: Address) -> Option<Leaving> {
        self.money.leaving.at(&payer).copied()
    }

    /// Returns what the settlement of a batch brought, or nothing if it is not settled.
    pub fn settled(&self, batch: BatchName) -> Option<Amount> {
        self.money.settled.at(&(batch.node, batch.root)).copied()
    }

    /// Returns everything that was put in for rewards.
    pub const fn funded(&self) -> Amount {
        self.money.funded
    }

    /// Returns everything that was paid as rewards.
    pub const fn paid(&self) -> Amount {
        self.money.paid
    }

    /// Returns what an account earned and was paid, to itself or its claimer.
    pub fn claimed(&self, account: Address) -> Amount {
        self.money.claimed.at(&account).copied().unwrap_or_default()
    }

    /// Returns who gets an account's rewards in its place.
    pub fn claimer(&self, account: Address) -> Option<Address> {
        self.money.claimers.at(&account).copied()
    }

    /// Returns a root of claims.
    pub fn root(&self, index: u64) -> Option<Root> {
        self.money.roots.at(&index).copied()
    }

    /// Returns all roots of claims.
    pub fn roots(&self) -> impl Iterator<Item = (u64, Root)> {
        self.money.roots.iter().map(|(index, root)| (*index, *root))
    }
}

/// # Stake
impl Index {
    /// Returns the stake behind an operator.
    pub fn vault(&self, role: StakeRole, operator: Address) -> Vault {
        self.stakes.vaults.at(&(role as u8, operator)).copied().unwrap_or_default()
    }

    /// Returns the stake of a role, as the contract wrote it down last: growth since then is not in
    /// it.
    pub fn pool(&self, role: StakeRole) -> Pool {
        self.stakes.pools.at(&(role as u8)).copied().unwrap_or_default()
    }

    /// Returns one owner's part of a vault.
    pub fn position(&self, role: StakeRole, operator: Address, owner: Address) -> Position {
        self.stakes.positions.at(&(role as u8, operator, owner)).copied().unwrap_or_default()
    }

    /// Returns everybody's part of a vault.
    pub fn positions(
        &self,
        role: StakeRole,
        operator: Address,
    ) -> impl Iterator<Item = (Address, Position)> {
        let keys = (role as u8, operator, FIRST)..=(role as u8, operator, LAST);
        self.stakes.positions.range(keys).map(|((_, _, owner), position)| (*owner, *position))
    }

    /// Returns a slash.
    pub fn slash(&self, id: u64) -> Option<Slash> {
        self.stakes.slashes.at(&id).copied()
    }
}

/// # Votes
impl Index {
    /// Returns a proposal in the governor.
    pub fn proposal(&self, id: U256) -> Option<&Proposed> {
        self.votes.proposals.at(&id)
    }

    /// Returns all proposals in the governor.
    pub fn proposals(&self) -> impl Iterator<Item = (U256, &Proposed)> {
        self.votes.proposals.iter().map(|(id, proposal)| (*id, proposal))
    }

    /// Returns the votes on a proposal in the governor.
    pub fn votes(&self, id: U256) -> impl Iterator<Item = (Address, Vote)> {
        let keys = (id, FIRST)..=(id, LAST);
        self.votes.votes.range(keys).map(|((_, voter), vote)| (*voter, *vote))
    }

    /// Returns how a proposal in the governor stands.
    pub fn count(&self, id: U256) -> Option<Count> {
        self.proposal(id).map(|proposal| proposal.count)
    }

    /// Returns a proposal whose ballots are counted off chain.
    pub fn balloted(&self, id: U256) -> Option<&Balloted> {
        self.votes.balloted.at(&id)
    }

    /// Returns a proposal for a model.
    pub fn model_proposal(&self, id: B256) -> Option<&ProposedModel> {
        self.votes.models.at(&id)
    }

    /// Returns how many events of these contracts there were.
    pub const fn events(&self) -> u64 {
        self.events
    }
}

impl Index {
    /// Takes in a block's logs, all of them or none.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] naming the block and the log, if it cannot follow what came before.
    pub(super) fn with(&self, contracts: &Contracts, block: u64, lines: &[Line]) -> Result<Self> {
        let mut next = self.clone();
        for line in lines {
            next.apply(contracts, block, line).map_err(|e| {
                let message = format!("log {} of block {block} contradicts the others", line.index);
                Error::new(ErrorKind::Corrupt, message).with_source(e)
            })?;
        }
        Ok(next)
    }

    fn apply(&mut self, contracts: &Contracts, block: u64, line: &Line) -> Result<()> {
        let Self { graph, money, stakes, votes, events } = self;
        wrong::count(events, "the events")?;
        let at = line.address;
        if at == contracts.token {
            line.read()?.map_or(Ok(()), |event| money.token(&event))
        } else if at == contracts.escrow {
            line.read()?.map_or(Ok(()), |event| money.escrow(&event))
        } else if at == contracts.distributor {
            line.read()?.map_or(Ok(()), |event| money.distributor(&event))
        } else if at == contracts.datanets {
            line.read()?.map_or(Ok(()), |event| graph.datanet(&event))
        } else if at == contracts.contributions {
            line.read()?.map_or(Ok(()), |event| graph.contribution(&event, block))
        } else if at == contracts.models {
            line.read()?.map_or(Ok(()), |event| graph.model(&event, block))
        } else if at == contracts.attributions {
            line.read()?.map_or(Ok(()), |event| graph.log(&event, block))
        } else if at == contracts.grants {
            line.read()?.map_or(Ok(()), |event| graph.grant(&event))
        } else if at == contracts.agents {
            line.read()?.map_or(Ok(()), |event| graph.agent(&event))
        } else if at == contracts.staking {
            line.read()?.map_or(Ok(()), |event| stakes.apply(&event))
        } else if at == contracts.governor {
            line.read()?.map_or(Ok(()), |event| votes.governor(&event))
        } else if at == contracts.ballots {
            line.read()?.map_or(Ok(()), |event| votes.ballots(&event))
        } else if at == contracts.model_proposals {
            line.read()?.map_or(Ok(()), |event| votes.for_model(&event))
        } else {
            Ok(())
        }
    }
}

/// Returns the contracts whose events [`Index`] takes in.
pub(super) fn sources(contracts: &Contracts) -> Vec<Address> {
    let Contracts {
        token,
        escrow,
        distributor,
        datanets,
        contributions,
        models,
        attributions,
        grants,
        agents,
        staking,
        governor,
        ballots,
        model_proposals,
        ..
    } = *contracts;
    vec![
        token,
        escrow,
        distributor,
        datanets,
        contributions,
        models,
        attributions,
        grants,
        agents,
        staking,
        governor,
        ballots,
        model_proposals,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_is_full_is_an_error() {
        let full = Index { events: u64::MAX, ..Index::default() };
        let line = Line { index: 3, address: Address::ZERO, topics: vec![], data: vec![] };
        let error = full.with(&Contracts::default(), 7, &[line]).err();
        let report = error.as_ref().map(Error::report).unwrap_or_default();
        assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::Corrupt));
        assert!(report.starts_with("log 3 of block 7 contradicts the others"), "{report}");
        assert!(report.contains("the events: 18446744073709551615 and one more"), "{report}");
    }
}
