//! Puts the contracts on a chain and hands the power over them to governance.

mod numbers;
mod options;
mod powers;

use alloy::{
    primitives::Uint,
    providers::{DynProvider, Provider},
    sol_types::{SolCall, SolConstructor},
};
use openledger_core::{Address, Bytes, Error, ErrorKind, Result};

pub use options::{DeployOptions, DisputeTerms, GovernancePreset};
pub use powers::Power;

use numbers::Numbers;

use super::{Contracts, EvmChain, Tx, error::node_error, roles::to_u128, send::create};
use crate::abi::{
    access_grants::AccessGrants,
    agent_registry::AgentRegistry,
    attribution_log::AttributionLog,
    ballot_box::{BallotBox, BallotBox::BallotRules},
    contribution_registry::ContributionRegistry,
    datanet_registry::DatanetRegistry,
    dispute::{Dispute, Dispute::Terms},
    fee_policy::FeePolicy,
    governance_open::GovernanceOpen,
    inference_escrow::InferenceEscrow,
    model_proposals::{ModelProposals, ModelProposals::ModelTerms},
    model_registry::ModelRegistry,
    open_governor::{OpenGovernor, OpenGovernor::Preset},
    open_timelock::OpenTimelock,
    open_token::OpenToken,
    registry_proxy::RegistryProxy,
    reward_distributor::RewardDistributor,
    roles::Roles,
    staking::Staking,
    wrapped_open::WrappedOpen,
};

/// A deployment: a client that sends as the deployer, and the transactions that made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deployed {
    /// The client.
    pub chain: EvmChain,
    /// The transactions, in order.
    pub txs: Vec<Tx>,
}

const DAY: u64 = 24 * 3_600;

impl EvmChain {
    /// Deploys all contracts and gives all power over them to governance, beside what the options
    /// give the guardian and the nodes.
    ///
    /// The deployer keeps nothing of its own; the chain is asked whether that is so. Where the options
    /// name it as guardian or node, as [`DeployOptions::new`] does, it has those powers.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] before anything is sent, if a number of the options is more than a
    /// contract holds; [`ErrorKind::Unavailable`] if the node does not take a transaction;
    /// [`ErrorKind::Denied`] if another transaction of the deployer's comes between, or the deployer
    /// has a power that the options do not give it.
    pub async fn deploy(provider: DynProvider, options: DeployOptions) -> Result<Deployed> {
        let numbers = Numbers::of(&options)?;
        let mut script = Script { provider, from: options.deployer, numbers, txs: Vec::new() };
        let contracts = script.contracts(&options).await?;
        let chain = Self::connect(script.provider, contracts, options.deployer).await?;
        let mut txs = script.txs;
        txs.extend(chain.give_powers(&options, numbers).await?);
        let kept = chain.powers_of(options.deployer).await?;
        if let Some(power) = kept.into_iter().find(|&power| !options.gives(power)) {
            let message = format!("the deployer kept the power of {power:?}");
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Ok(Deployed { chain, txs })
    }
}

/// Transactions that create contracts.
struct Script {
    provider: DynProvider,
    from: Address,
    numbers: Numbers,
    txs: Vec<Tx>,
}

impl Script {
    async fn contracts(&mut self, options: &DeployOptions) -> Result<Contracts> {
        let mut at = Contracts::default();
        let (treasury, deployer) = (options.treasury, options.deployer);
        at.token = self.put(&OpenToken::BYTECODE, OpenToken::constructorCall { treasury }).await?;
        at.wrapped = self.put(&WrappedOpen::BYTECODE, WrappedOpen::constructorCall {}).await?;
        at.votes = self.put(&GovernanceOpen::BYTECODE, GovernanceOpen::constructorCall {}).await?;
        at.roles = self.put(&Roles::BYTECODE, Roles::constructorCall { admin: deployer }).await?;
        self.governance(options, &mut at).await?;
        self.registries(&mut at).await?;
        self.money(options, &mut at).await?;
        Ok(at)
    }

    /// The timelock names the governor and the ballot box as its only proposers before they exist, so
    /// that nobody was ever its master; their addresses follow from the deployer's nonce.
    async fn governance(&mut self, options: &DeployOptions, at: &mut Contracts) -> Result<()> {
        let GovernancePreset { threshold, quorum_bps, timelock, .. } = options.governance;
        let asked = self.provider.get_transaction_count(self.from).await;
        let nonce = asked.map_err(node_error("ask for the deployer's nonce"))?;
        let [governor, ballots] = [1, 2].map(|later| self.from.create(nonce + later));
        let call = OpenTimelock::constructorCall {
            minDelay: alloy::primitives::U256::from(timelock),
            proposers: vec![governor, ballots],
            executors: vec![Address::ZERO], // anybody
            admin: Address::ZERO,
        };
        at.timelock = self.put(&OpenTimelock::BYTECODE, call).await?;

        let preset = Preset {
            proposalThreshold: threshold.units(),
            votingDelay: Uint::from(self.numbers.voting_delay),
            votingPeriod: self.numbers.voting_period,
            extension: self.numbers.extension,
            quorumBps: quorum_bps,
        };
        let call = OpenGovernor::constructorCall {
            votes: at.votes,
            timelock: at.timelock,
            guardian: options.guardian,
            preset,
        };
        at.governor = self.put(&OpenGovernor::BYTECODE, call).await?;

        let rules = BallotRules {
            threshold: threshold.units(),
            bond: to_u128(options::open(1_000))?,
            demandBond: to_u128(options::open(10))?,
            votingDelay: self.numbers.voting_delay,
            votingPeriod: Uint::from(self.numbers.voting_period),
            submissionWindow: Uint::from(3 * DAY),
            challengeWindow: Uint::from(3 * DAY),
            answerWindow: Uint::from(DAY),
            quorumBps: quorum_bps,
            maxReplacements: 3,
        };
        let call = BallotBox::constructorCall {
            authority: at.roles,
            timelock: at.timelock,
            votes: at.votes,
            token: at.token,
            treasury: options.treasury,
            rules_: rules,
        };
        at.ballots = self.put(&BallotBox::BYTECODE, call).await?;
        if (at.governor, at.ballots) != (governor, ballots) {
            let message = "another transaction of the deployer's came between; deploy again";
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Ok(())
    }

    async fn registries(&mut self, at: &mut Contracts) -> Result<()> {
        let authority = at.roles;
        let code = self.put_plain(&DatanetRegistry::BYTECODE).await?;
        let start = DatanetRegistry::initializeCall { authority };
        at.datanets = self.proxy(code, start).await?;

        let datanets = at.datanets;
        let call = ContributionRegistry::constructorCall { datanets };
        let code = self.put(&ContributionRegistry::BYTECODE, call).await?;
        let start = ContributionRegistry::initializeCall { authority };
        at.contributions = self.proxy(code, start).await?;

        let call = AccessGrants::constructorCall { datanets };
        let code = self.put(&AccessGrants::BYTECODE, call).await?;
        at.grants = self.proxy(code, AccessGrants::initializeCall { authority }).await?;

        let call = ModelRegistry::constructorCall { datanets };
        let code = self.put(&ModelRegistry::BYTECODE, call).await?;
        at.models = self.proxy(code, ModelRegistry::initializeCall { authority }).await?;

        let code = self.put_plain(&AgentRegistry::BYTECODE).await?;
        at.agents = self.proxy(code, AgentRegistry::initializeCall { authority }).await?;
        Ok(())
    }

    async fn money(&mut self, options: &DeployOptions, at: &mut Contracts) -> Result<()> {
        let (authority, token, treasury) = (at.roles, at.token, options.treasury);
        let call = AttributionLog::constructorCall { authority };
        at.attributions = self.put(&AttributionLog::BYTECODE, call).await?;
        let staking_pool = options.staking_pool;
        let call = FeePolicy::constructorCall {
            authority,
            treasury_: treasury,
            stakingPool_: staking_pool,
        };
        at.fees = self.put(&FeePolicy::BYTECODE, call).await?;
        let delay = self.numbers.activation_delay;
        let call = RewardDistributor::constructorCall { authority, token, delay };
        at.distributor = self.put(&RewardDistributor::BYTECODE, call).await?;
        let call = InferenceEscrow::constructorCall {
            token,
            log: at.attributions,
            distributor: at.distributor,
            withdrawalDelay_: self.numbers.withdrawal_delay,
            authority,
        };
        at.escrow = self.put(&InferenceEscrow::BYTECODE, call).await?;
        let call = Staking::constructorCall { token, authority, insurance: treasury };
        at.staking = self.put(&Staking::BYTECODE, call).await?;

        let terms = &options.disputes;
        let [defence, commit, reveal, appeal, ruling] = self.numbers.windows;
        let initial = Terms {
            bond: self.numbers.bond,
            defence,
            commit,
            reveal,
            appeal,
            ruling,
            quorumBps: terms.quorum_bps,
            slashBps: terms.slash_bps,
            penalty: terms.penalty,
        };
        let call = Dispute::constructorCall {
            token,
            authority,
            staking: at.staking,
            receipts: at.attributions,
            contributions: at.contributions,
            initial,
        };
        at.disputes = self.put(&Dispute::BYTECODE, call).await?;
        let call = ModelProposals::constructorCall {
            authority,
            token,
            models: at.models,
            treasury,
            terms_: ModelTerms {
                minStake: to_u128(options::open(1_000))?,
                forfeitBps: 1_000,
                decisionPeriod: Uint::from(60 * DAY),
                deploymentPeriod: Uint::from(90 * DAY),
            },
        };
        at.model_proposals = self.put(&ModelProposals::BYTECODE, call).await?;
        Ok(())
    }

    /// Creates a contract.
    async fn put(&mut self, bytecode: &Bytes, call: impl SolConstructor) -> Result<Address> {
        self.put_plain(&[&bytecode[..], &call.abi_encode()].concat()).await
    }

    /// Creates a contract whose constructor takes nothing.
    async fn put_plain(&mut self, code: &[u8]) -> Result<Address> {
        let code = code.to_vec();
        let (address, tx) = create(&self.provider, "deploy a contract", self.from, code).await?;
        self.txs.push(tx);
        Ok(address)
    }

    /// Creates a proxy in front of `implementation`, initialised in the same transaction.
    async fn proxy(&mut self, implementation: Address, start: impl SolCall) -> Result<Address> {
        let initialisation = start.abi_encode().into();
        let call = RegistryProxy::constructorCall { implementation, initialisation };
        self.put(&RegistryProxy::BYTECODE, call).await
    }
}
