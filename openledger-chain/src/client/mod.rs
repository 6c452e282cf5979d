//! One client for every node: the role traits over any alloy provider.

mod contracts;
mod deploy;
mod dev;
mod error;
mod event;
mod journal;
mod keyring;
mod narrow;
mod provider;
mod retry;
mod revert;
mod roles;
mod send;
mod sentence;
mod tx;

use std::{fmt, sync::Arc};

use alloy::providers::{DynProvider, Provider};
use openledger_core::{Address, Amount, Error, ErrorKind, Result, message::Domain};

pub use contracts::Contracts;
pub use deploy::{DeployOptions, Deployed, DisputeTerms, GovernancePreset, Power};
pub use dev::{DevNode, NodeSnapshot};
pub use event::Event;
pub use journal::{Files, Journal, Keep, Memory};
pub use provider::{embedded, provider, provider_with};
#[cfg(feature = "http")]
pub use provider::{http_provider, http_provider_with};
pub use retry::Retry;
pub use revert::Revert;
pub use roles::{
    Access, Action, Agents, Attributions, Batch, BatchName, BatchStatus, CaseStatus, Charge,
    Choice, ContributionName, ContributionStatus, DatanetEntry, Disputes, FeeAccounts, Governance,
    Ground, Kind, ModelEntry, ModelOffer, ModelStatus, Models, Offer, Payments, Phase, Price,
    Proposal, ProposalState, Registry, Reservation, Rewards, RootStatus, SignedVote, StakeRole,
    StakeStatus, Staking, Use, Verdict,
};
pub use send::Patience;
pub use tx::{Sent, Tx, TxLog};

use error::Context;
pub(crate) use error::node_error;
use send::Desk;

/// A client of the contracts that sends as one account. Cheap to clone.
#[derive(Clone)]
pub struct EvmChain {
    provider: DynProvider,
    contracts: Contracts,
    chain_id: u64,
    sender: Address,
    patience: Patience,
    desk: Arc<Desk>,
}

impl EvmChain {
    /// Connects to contracts that are there, to send as `sender`, for which `provider` must hold
    /// the key.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the node does not answer; [`ErrorKind::NotFound`] if there is
    /// no contract at one of the addresses.
    pub async fn connect(
        provider: DynProvider,
        contracts: Contracts,
        sender: Address,
    ) -> Result<Self> {
        let chain_id = provider.get_chain_id().await.map_err(node_error("ask for the chain id"))?;
        for (name, address) in contracts.named() {
            let code = provider.get_code_at(address).await.map_err(node_error("ask for code"))?;
            if code.is_empty() {
                let message = format!("no contract `{name}` at {address} on chain {chain_id}");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        }
        let (patience, desk) = (Patience::default(), Arc::default());
        Ok(Self { provider, contracts, chain_id, sender, patience, desk })
    }

    /// Returns the same client sending as another account the provider holds the key of.
    #[must_use]
    pub fn sending_as(&self, sender: Address) -> Self {
        Self { sender, ..self.clone() }
    }

    /// Returns the same client with another patience.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Returns the account it sends as.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Returns where the contracts are.
    pub const fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// Returns the provider, for whatever this client has no method for.
    pub const fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// Returns the chain's id.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Returns the domain of which the ids of Datanets are.
    pub const fn datanet_domain(&self) -> Domain {
        self.domain(self.contracts.datanets)
    }

    /// Returns the domain for which contributions and withdrawals of consent are signed.
    pub const fn contribution_domain(&self) -> Domain {
        self.domain(self.contracts.contributions)
    }

    /// Returns the domain for which grants of access are signed.
    pub const fn grant_domain(&self) -> Domain {
        self.domain(self.contracts.grants)
    }

    /// Returns the domain for which votes that others bring to the governor are signed.
    pub const fn vote_domain(&self) -> Domain {
        self.domain(self.contracts.governor)
    }

    /// Returns the domain for which ballots that are counted off chain are signed.
    pub const fn ballot_domain(&self) -> Domain {
        self.domain(self.contracts.ballots)
    }

    /// Returns the domain for which receipts are signed.
    pub const fn receipt_domain(&self) -> Domain {
        self.domain(self.contracts.attributions)
    }

    const fn domain(&self, contract: Address) -> Domain {
        Domain { chain_id: self.chain_id, contract }
    }

    /// Returns the time of the latest block.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn now(&self) -> Result<u64> {
        let asked = self.provider.get_block(Default::default()).await;
        let block = asked.map_err(node_error("ask for the latest block"))?;
        let missing = || Error::new(ErrorKind::Unavailable, "the node has no latest block");
        Ok(block.ok_or_else(missing)?.header.timestamp)
    }

    /// Returns the OPEN an account holds.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn balance(&self, account: Address) -> Result<Amount> {
        let token = crate::abi::open_token::OpenToken::new(self.contracts.token, &self.provider);
        let asked = token.balanceOf(account).call().await;
        asked.map(Amount::new).context("ask for a balance")
    }

    /// Sends OPEN to an account.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the sender has too little; [`ErrorKind::Unavailable`].
    pub async fn transfer(&self, to: Address, amount: Amount) -> Result<Sent> {
        let token = crate::abi::open_token::OpenToken::new(self.contracts.token, &self.provider);
        self.send("transfer OPEN", token.transfer(to, amount.units())).await
    }
}

impl fmt::Debug for EvmChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmChain")
            .field("chain_id", &self.chain_id)
            .field("sender", &self.sender)
            .field("contracts", &self.contracts)
            .finish_non_exhaustive()
    }
}
