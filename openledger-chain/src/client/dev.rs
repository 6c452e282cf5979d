//! What development nodes can do and real ones cannot.

use std::borrow::Cow;

use alloy::{
    primitives::{Address, U256},
    providers::{DynProvider, Provider},
};
use openledger_core::Result;

use super::error::node_error;

/// The time and the native coins of a development node: the embedded chain or anvil.
#[derive(Clone, Debug)]
pub struct DevNode {
    provider: DynProvider,
}

impl DevNode {
    /// Speaks through `provider`.
    pub const fn new(provider: DynProvider) -> Self {
        Self { provider }
    }

    /// Puts every block a second after the last, whatever the clock says.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if the node is no
    /// development node; likewise below.
    pub async fn tick_by_block(&self) -> Result<()> {
        self.ask("anvil_setBlockTimestampInterval", (1u64,)).await
    }

    /// Sets the time of the next block.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_next_timestamp(&self, timestamp: u64) -> Result<()> {
        self.ask("evm_setNextBlockTimestamp", (timestamp,)).await
    }

    /// Makes an empty block.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn mine(&self) -> Result<()> {
        self.ask("evm_mine", ()).await
    }

    /// Gives an account native coins.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_balance(&self, account: Address, balance: U256) -> Result<()> {
        self.ask("anvil_setBalance", (account, balance)).await
    }

    async fn ask<P: alloy::rpc::json_rpc::RpcSend>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<()> {
        let asked =
            self.provider.raw_request::<P, serde_json::Value>(Cow::Borrowed(method), params);
        asked.await.map(drop).map_err(node_error(&format!("call {method}")))
    }
}
