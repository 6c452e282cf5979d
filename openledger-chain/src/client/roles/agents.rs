//! Programs that act for somebody.

use async_trait::async_trait;
use openledger_core::{Address, B256, Result, U256};

use crate::{
    EvmChain, Sent,
    abi::agent_registry::{AgentRegistry, AgentRegistry::AgentRegistered},
};

/// Agents: nodes, validators and other programs, and their
/// [ERC-8004](https://eips.ethereum.org/EIPS/eip-8004) identities where a chain has them.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Registers the sender's agent called `name`; `card` is the digest of its description. Returns its
    /// id.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the name is empty or the sender
    /// has an agent of that name;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn register_agent(&self, name: &str, card: B256) -> Result<Sent<B256>>;

    /// Links the sender's agent to an identity token the sender holds.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the agent is not the sender's
    /// or not in service, the chain has no registry of identities, or the token is another's;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn link_identity(&self, agent: B256, token: U256) -> Result<Sent>;

    /// Takes the sender's agent out of service for good.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the agent is not the sender's
    /// or not in service; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn retire_agent(&self, agent: B256) -> Result<Sent>;

    /// Returns the agent's owner while it is in service.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn active_agent(&self, agent: B256) -> Result<Option<Address>>;
}

/// `Status.Active` of the contract.
const ACTIVE: u8 = 1;

#[async_trait]
impl Agents for EvmChain {
    async fn register_agent(&self, name: &str, card: B256) -> Result<Sent<B256>> {
        let agents = AgentRegistry::new(self.contracts.agents, &self.provider);
        let call = agents.register(name.to_owned(), card);
        let sent = self.send("register an agent", call).await?;
        sent.told(self.contracts.agents, |event: AgentRegistered| Ok(event.agent))
    }

    async fn link_identity(&self, agent: B256, token: U256) -> Result<Sent> {
        let agents = AgentRegistry::new(self.contracts.agents, &self.provider);
        self.send("link an identity", agents.link(agent, token)).await
    }

    async fn retire_agent(&self, agent: B256) -> Result<Sent> {
        let agents = AgentRegistry::new(self.contracts.agents, &self.provider);
        self.send("retire an agent", agents.retire(agent)).await
    }

    async fn active_agent(&self, agent: B256) -> Result<Option<Address>> {
        let agents = AgentRegistry::new(self.contracts.agents, &self.provider);
        let entry = self.ask("ask for an agent", agents.agents(agent)).await?;
        Ok((entry.status == ACTIVE).then_some(entry.owner))
    }
}
