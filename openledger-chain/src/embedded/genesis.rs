//! How an embedded chain begins.

use alloy::primitives::Keccak256;
use openledger_core::{Address, B256, U256};

/// How an embedded chain begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Genesis {
    /// The chain's id.
    pub chain_id: u64,
    /// Unix time of the first block.
    pub timestamp: u64,
    /// Accounts and their native coins, in wei: 10^18 are a coin.
    pub balances: Vec<(Address, U256)>,
    /// Whether headers carry the root of the state; without, it is zero.
    pub state_roots: bool,
}

impl Default for Genesis {
    /// Chain 31337, the id development nodes have: nothing signed here counts on a real network.
    fn default() -> Self {
        Self { chain_id: 31337, timestamp: 1_800_000_000, balances: Vec::new(), state_roots: false }
    }
}

impl Genesis {
    /// Returns this with another chain id.
    #[must_use]
    pub const fn with_chain_id(mut self, chain_id: u64) -> Self {
        self.chain_id = chain_id;
        self
    }

    /// Returns this with another time of the first block.
    #[must_use]
    pub const fn with_timestamp(mut self, timestamp: u64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Returns this with a million native coins (10^24 wei) for each of `accounts`.
    #[must_use]
    pub fn with_funded(mut self, accounts: impl IntoIterator<Item = Address>) -> Self {
        let million = U256::from(10).pow(U256::from(24));
        self.balances.extend(accounts.into_iter().map(|account| (account, million)));
        self
    }

    /// Returns this with the root of the state in every header, so that a proof of `eth_getProof`
    /// can be checked against a block.
    ///
    /// It costs time in proportion to the number of accounts in every block; a root is computed
    /// on demand otherwise.
    #[must_use]
    pub const fn with_state_roots(mut self) -> Self {
        self.state_roots = true;
        self
    }

    /// Returns what names this genesis in a log of a chain that began with it.
    pub(super) fn hash(&self) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(b"openledger genesis 1");
        hasher.update(self.chain_id.to_be_bytes());
        hasher.update(self.timestamp.to_be_bytes());
        hasher.update([u8::from(self.state_roots)]);
        for (account, balance) in &self.balances {
            hasher.update(account);
            hasher.update(balance.to_be_bytes::<32>());
        }
        hasher.finalize()
    }
}
