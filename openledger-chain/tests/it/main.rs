//! Contracts on the embedded chain, through the public client.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod ballots;
mod bridge;
mod da;
mod disputes;
mod durable;
mod embedded;
mod faults;
mod governance;
mod grants;
mod index;
mod invariants;
mod registry;
mod rewards;
mod server;
mod settlement;
mod stage;
mod staking;
mod town;
mod words;
mod x402;

use openledger_chain::{DeployOptions, Deployed, DevNode, EvmChain, Genesis, embedded};
use openledger_core::{Address, Amount, B256, Error, Key};

/// A chain with all contracts and five people.
struct World {
    /// Sends as the admin, who deployed all, holds all OPEN and is the guardian.
    chain: EvmChain,
    dev: DevNode,
    admin: Key,
    node: Key,
    payer: Key,
    owner: Key,
    contributor: Key,
    stakers: Address,
}

/// Before a root pays or a withdrawal is paid.
const DELAY: u64 = 3_600;
/// Before a batch is final.
const WINDOW: u64 = 1_800;

impl World {
    async fn new() -> Self {
        let [admin, node, payer, owner, contributor] =
            [1, 2, 3, 4, 5].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap());
        let keys = [&admin, &node, &payer, &owner, &contributor].map(Key::clone);
        let provider = embedded(Genesis::default(), &keys).unwrap();
        let stakers = Address::repeat_byte(0x57);
        let options = DeployOptions::new(admin.address())
            .with_staking_pool(stakers)
            .with_nodes([node.address()])
            .with_delays(DELAY, DELAY, WINDOW);
        let Deployed { chain, .. } = EvmChain::deploy(provider.clone(), options).await.unwrap();
        Self { chain, dev: DevNode::new(provider), admin, node, payer, owner, contributor, stakers }
    }

    fn sending_as(&self, key: &Key) -> EvmChain {
        self.chain.sending_as(key.address())
    }

    async fn pass(&self, seconds: u64) {
        pass(&self.chain, &self.dev, seconds).await;
    }
}

/// Makes a block `seconds` after the last, which is at least one.
async fn pass(chain: &EvmChain, dev: &DevNode, seconds: u64) {
    let now = chain.now().await.unwrap();
    dev.set_next_timestamp(now + seconds.max(1)).await.unwrap();
    dev.mine().await.unwrap();
}

/// Asserts that a contract refused, and for which reason.
#[track_caller]
fn assert_denied<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    let error = result.expect_err(reason);
    assert_eq!(error.kind(), openledger_core::ErrorKind::Denied, "{error:?}");
    let named = openledger_chain::Revert::of(&error).is_some_and(|revert| revert.name() == reason);
    assert!(named || error.report().contains(reason), "{}", error.report());
}

fn open(amount: u64) -> Amount {
    Amount::new(Amount::OPEN.units() * openledger_core::U256::from(amount))
}
