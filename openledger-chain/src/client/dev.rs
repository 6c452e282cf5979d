//! What development nodes can do and real ones cannot.

use std::borrow::Cow;

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256},
    providers::{DynProvider, Provider},
    rpc::json_rpc::{RpcRecv, RpcSend},
};
use openledger_core::Result;
use serde::de::IgnoredAny;

use super::error::node_error;

/// The time, the state and the past of a development node: the embedded chain or anvil.
#[derive(Clone, Debug)]
pub struct DevNode {
    provider: DynProvider,
}

/// What a development node was, see [`DevNode::snapshot`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeSnapshot(U64);

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
        self.tell("anvil_setBlockTimestampInterval", (1u64,)).await
    }

    /// Sets the time of the next block.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_next_timestamp(&self, timestamp: u64) -> Result<()> {
        self.tell("evm_setNextBlockTimestamp", (timestamp,)).await
    }

    /// Adds to the time of the next block.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn increase_time(&self, seconds: u64) -> Result<()> {
        self.tell("evm_increaseTime", (seconds,)).await
    }

    /// Makes an empty block.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn mine(&self) -> Result<()> {
        self.tell("evm_mine", ()).await
    }

    /// Makes empty blocks, `interval` seconds apart.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn mine_many(&self, blocks: u64, interval: u64) -> Result<()> {
        self.tell("anvil_mine", (U64::from(blocks), U64::from(interval))).await
    }

    /// Sets an account's native coins, in wei: 10^18 are a coin.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_balance(&self, account: Address, balance: U256) -> Result<()> {
        self.tell("anvil_setBalance", (account, balance)).await
    }

    /// Sets how many transactions an account sent.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_nonce(&self, account: Address, nonce: u64) -> Result<()> {
        self.tell("anvil_setNonce", (account, U64::from(nonce))).await
    }

    /// Puts a contract's code at an address, as a chain's predeploys are.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_code(&self, account: Address, code: Bytes) -> Result<()> {
        self.tell("anvil_setCode", (account, code)).await
    }

    /// Sets a slot of a contract's storage.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn set_storage(&self, account: Address, slot: U256, value: B256) -> Result<()> {
        self.tell("anvil_setStorageAt", (account, slot, value)).await
    }

    /// Lets the node send for an account without its key, contracts too.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn impersonate(&self, account: Address) -> Result<()> {
        self.tell("anvil_impersonateAccount", (account,)).await
    }

    /// Ends [`impersonate`](Self::impersonate).
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn stop_impersonating(&self, account: Address) -> Result<()> {
        self.tell("anvil_stopImpersonatingAccount", (account,)).await
    }

    /// Remembers everything as it is.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block).
    pub async fn snapshot(&self) -> Result<NodeSnapshot> {
        self.ask("evm_snapshot", ()).await.map(NodeSnapshot)
    }

    /// Goes back to a snapshot, which with all later ones is forgotten.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) if it was forgotten before.
    pub async fn revert(&self, snapshot: NodeSnapshot) -> Result<()> {
        let NodeSnapshot(id) = snapshot;
        match self.ask("evm_revert", (id,)).await? {
            true => Ok(()),
            false => Err(openledger_core::Error::new(
                openledger_core::ErrorKind::NotFound,
                format!("no snapshot {id}"),
            )),
        }
    }

    /// Puts as many empty blocks in the place of the last `depth`, whose transactions are gone.
    ///
    /// # Errors
    /// As [`tick_by_block`](Self::tick_by_block), or if the node does not remember so much.
    pub async fn reorg(&self, depth: u64) -> Result<()> {
        self.tell("anvil_reorg", (depth, [(); 0])).await
    }

    /// Drops the last `depth` blocks.
    ///
    /// # Errors
    /// As [`reorg`](Self::reorg).
    pub async fn roll_back(&self, depth: u64) -> Result<()> {
        self.tell("anvil_rollback", (depth,)).await
    }

    async fn tell<P: RpcSend>(&self, method: &'static str, params: P) -> Result<()> {
        self.ask::<P, Option<IgnoredAny>>(method, params).await.map(drop)
    }

    async fn ask<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R> {
        let asked = self.provider.raw_request::<P, R>(Cow::Borrowed(method), params);
        asked.await.map_err(node_error(&format!("call {method}")))
    }
}
