//! A deployment as it would really be: the deployer, the treasury, the guardian, the node and the voters
//! are different people.

use std::time::Duration;

use openledger_chain::{
    DeployOptions, Deployed, DevNode, Embedded, EvmChain, Genesis, Governance, GovernancePreset,
    Patience, Proposal, Retry,
    alloy::{sol_types::SolCall, transports::IntoBoxTransport},
    ballots::Support,
    provider_with,
};
use openledger_core::{Address, B256, Key, Result, U256};

use crate::open;

pub(crate) const HOUR: u64 = 3_600;
pub(crate) const DAY: u64 = 24 * HOUR;

/// The people's keys, in the order of the fields of [`Town`].
pub(crate) fn keys() -> [Key; 8] {
    std::array::from_fn(|n| {
        Key::from_bytes(B256::repeat_byte(0x61 + u8::try_from(n).unwrap())).unwrap()
    })
}

/// Coins for everybody.
pub(crate) fn genesis() -> Genesis {
    Genesis::default().with_funded(keys().iter().map(Key::address))
}

/// People, and the contracts they share. The voters have 300,000, 200,000 and 100,000 GOPEN.
pub(crate) struct Town {
    /// Sends as the treasury, which holds all OPEN.
    pub(crate) chain: EvmChain,
    pub(crate) dev: DevNode,
    pub(crate) deployer: Key,
    pub(crate) treasury: Key,
    pub(crate) guardian: Key,
    pub(crate) node: Key,
    pub(crate) voters: [Key; 3],
    pub(crate) stranger: Key,
    pub(crate) preset: GovernancePreset,
}

impl Town {
    pub(crate) async fn new() -> Self {
        Self::under(GovernancePreset::current()).await
    }

    pub(crate) async fn under(preset: GovernancePreset) -> Self {
        Self::over(Embedded::new(&genesis()), preset).await
    }

    /// On a chain behind `transport`, which began with [`genesis`].
    pub(crate) async fn over(transport: impl IntoBoxTransport, preset: GovernancePreset) -> Self {
        let keys = keys();
        // A few tries without a pause, so that no test waits.
        let retry = Retry::default().with_tries(3).with_pauses(Duration::ZERO, Duration::ZERO);
        let provider = provider_with(transport, &keys, retry).unwrap();
        let [deployer, treasury, guardian, node, one, two, three, stranger] = keys;
        let options = DeployOptions::new(deployer.address())
            .with_treasury(treasury.address())
            .with_staking_pool(Address::repeat_byte(0x57))
            .with_guardian(guardian.address())
            .with_nodes([node.address()])
            .with_governance(preset);
        let Deployed { chain, .. } = EvmChain::deploy(provider.clone(), options).await.unwrap();
        let patience =
            Patience::default().with_looks(6).with_pauses(Duration::ZERO, Duration::ZERO);
        let chain = chain.sending_as(treasury.address()).with_patience(patience);
        let (dev, voters) = (DevNode::new(provider), [one, two, three]);
        let town =
            Self { chain, dev, deployer, treasury, guardian, node, voters, stranger, preset };
        for (voter, amount) in town.voters.iter().zip([300_000, 200_000, 100_000]) {
            town.by(voter).lock_votes(open(amount), voter.address()).await.unwrap();
        }
        town
    }

    /// The client of somebody.
    pub(crate) fn by(&self, key: &Key) -> EvmChain {
        self.chain.sending_as(key.address())
    }

    pub(crate) async fn now(&self) -> u64 {
        self.chain.now().await.unwrap()
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        crate::pass(&self.chain, &self.dev, seconds).await;
    }

    /// Lets time pass up to a moment; the next transaction comes a second later.
    pub(crate) async fn reach(&self, time: u64) {
        self.dev.set_next_timestamp(time).await.unwrap();
        self.dev.mine().await.unwrap();
    }

    /// Proposes, and waits until votes count.
    pub(crate) async fn proposed(&self, proposal: &Proposal) -> U256 {
        let id = self.by(&self.voters[0]).propose(proposal).await.unwrap().value;
        self.pass(self.preset.voting_delay + 1).await;
        id
    }

    /// Has the first voter decide on something alone and everything that follows happen, up to the
    /// execution.
    pub(crate) async fn decree(&self, proposal: &Proposal) -> Result<()> {
        self.queued(proposal).await;
        self.pass(self.preset.timelock + 1).await;
        self.by(&self.stranger).execute(proposal).await.map(drop)
    }

    /// As [`decree`](Self::decree), up to the timelock.
    pub(crate) async fn queued(&self, proposal: &Proposal) -> U256 {
        let id = self.proposed(proposal).await;
        self.by(&self.voters[0]).vote(id, Support::For).await.unwrap();
        self.pass(self.preset.voting_period + self.preset.extension).await;
        self.by(&self.stranger).queue(proposal).await.unwrap();
        id
    }

    /// Decides on a call of a contract.
    pub(crate) async fn rule(
        &self,
        target: Address,
        call: impl SolCall,
        description: &str,
    ) -> Result<()> {
        self.decree(&Proposal::call(target, &call, description)).await
    }
}
