//! One of a bridge's two chains, and who acts there.

use std::{fmt, time::Duration};

use alloy::{
    contract::{CallBuilder, CallDecoder, Error as ContractError},
    network::{Ethereum, TransactionBuilder},
    providers::{DynProvider, Provider},
    rpc::types::{Log, TransactionReceipt, TransactionRequest},
    sol_types::SolEvent,
};
use openledger_core::{Address, Amount, B256, Error, ErrorKind, Result, U256};

use super::abi::erc20::Erc20;
use crate::{Revert, Tx, TxLog, client::node_error};

/// A chain, and the account that sends there; cheap to clone.
#[derive(Clone)]
pub struct Side {
    provider: DynProvider,
    sender: Address,
    chain_id: u64,
}

/// Gas above the estimate. A node estimates in the latest block's second; a second later, a token
/// with votes writes new checkpoints where it changed old ones: of the supply, and of two delegates.
const CHECKPOINTS_GAS: u64 = 3 * 22_300;
/// How long an included transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

impl Side {
    /// Sends as `sender`, for which `provider` must hold the key.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the node does not answer.
    pub async fn connect(provider: DynProvider, sender: Address) -> Result<Self> {
        let chain_id = provider.get_chain_id().await.map_err(node_error("ask for the chain id"))?;
        Ok(Self { provider, sender, chain_id })
    }

    /// Returns the same chain with another account, of which the provider holds the key.
    #[must_use]
    pub fn sending_as(&self, sender: Address) -> Self {
        Self { sender, ..self.clone() }
    }

    /// Returns the provider.
    pub const fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// Returns the account that sends.
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Returns the chain's id.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Returns the number and the time of the latest block.
    pub(super) async fn latest(&self) -> Result<(u64, u64)> {
        let asked = self.provider.get_block(Default::default()).await;
        let block = asked.map_err(node_error("ask for the latest block"))?;
        let missing = || Error::new(ErrorKind::Unavailable, "the node has no latest block");
        let header = block.ok_or_else(missing)?.header;
        Ok((header.number, header.timestamp))
    }

    /// Lets `spender` take `amount` of the sender's tokens, if it may not already.
    pub(super) async fn allow(
        &self,
        token: Address,
        spender: Address,
        amount: Amount,
    ) -> Result<Option<Tx>> {
        let token = Erc20::new(token, &self.provider);
        let allowed = token.allowance(self.sender, spender).call().await;
        if allowed.context("ask for an allowance")? >= amount.units() {
            return Ok(None);
        }
        let call = token.approve(spender, amount.units());
        self.send("allow the bridge to take tokens", call).await.map(Some)
    }

    /// Sends a call and waits until it is included.
    pub(super) async fn send<P: Provider + Clone, D: CallDecoder + Clone>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<Tx> {
        self.send_asking(what, call, 0).await
    }

    /// Sends a call with gas for what it passes on, whatever part of that the estimate used, and
    /// waits until it is included.
    pub(super) async fn send_asking<P: Provider + Clone, D: CallDecoder + Clone>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
        asked: u64,
    ) -> Result<Tx> {
        let call = call.from(self.sender);
        let used = call.clone().estimate_gas().await.context(what)?;
        let gas = used.saturating_add(asked).saturating_add(CHECKPOINTS_GAS);
        let pending = call.gas(gas).send().await.context(what)?;
        self.included(what, *pending.tx_hash()).await
    }

    /// Sends a transaction that creates a contract.
    pub(super) async fn create(
        &self,
        name: &str,
        code: &[u8],
        arguments: &[u8],
    ) -> Result<(Address, Tx)> {
        let what = format!("deploy {name}");
        let request = TransactionRequest::default()
            .with_from(self.sender)
            .with_value(U256::ZERO)
            .with_deploy_code([code, arguments].concat());
        let sent = self.provider.send_transaction(request).await.map_err(node_error(&what))?;
        let tx = self.included(&what, *sent.tx_hash()).await?;
        let missing =
            || Error::new(ErrorKind::Unavailable, format!("cannot {what}: no contract came of it"));
        Ok((tx.created.ok_or_else(missing)?, tx))
    }

    async fn included(&self, what: &str, hash: B256) -> Result<Tx> {
        let receipt = self.receipt(what, hash).await?;
        match receipt.status() {
            true => Ok(Tx::from(&receipt)),
            false => {
                let message = format!("cannot {what}: transaction {hash} was reverted");
                Err(Error::new(ErrorKind::Denied, message))
            }
        }
    }

    /// Waits for a transaction's receipt.
    pub(super) async fn receipt(&self, what: &str, hash: B256) -> Result<TransactionReceipt> {
        let mut pause = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        loop {
            let asked = self.provider.get_transaction_receipt(hash).await;
            if let Some(receipt) = asked.map_err(node_error("ask for a receipt"))? {
                return Ok(receipt);
            }
            if waited >= PATIENCE {
                let message = format!("cannot {what}: transaction {hash} is not included yet");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side")
            .field("chain_id", &self.chain_id)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// A log line without its place.
pub(super) fn line(log: &Log) -> TxLog {
    TxLog {
        address: log.address(),
        topics: log.topics().to_vec(),
        data: log.inner.data.data.clone(),
    }
}

/// Finds the first event of a kind that `contract` logged.
pub(super) fn event<E: SolEvent>(logs: &[TxLog], contract: Address) -> Result<E> {
    let of_kind =
        |log: &&TxLog| log.address == contract && log.topics.first() == Some(&E::SIGNATURE_HASH);
    let missing = || Error::corrupt(format!("contract {contract} did not log {}", E::SIGNATURE));
    let log = logs.iter().find(of_kind).ok_or_else(missing)?;
    E::decode_raw_log(log.topics.iter().copied(), &log.data).map_err(|e| {
        Error::corrupt(format!("contract {contract} logged a {} that is none", E::SIGNATURE))
            .with_source(e)
    })
}

/// Finds the first event of a kind that `contract` logged about `id`, which is the event's first
/// indexed field.
pub(super) fn event_of<E: SolEvent>(logs: &[TxLog], contract: Address, id: B256) -> Result<E> {
    let of_id = |log: &&TxLog| log.topics.get(1) == Some(&id);
    let logs: Vec<TxLog> = logs.iter().filter(of_id).cloned().collect();
    event(&logs, contract)
        .map_err(|e| Error::corrupt(format!("nothing was logged about {id}")).with_source(e))
}

/// Says what was being done when a call failed.
pub(super) trait Context<T> {
    fn context(self, what: &str) -> Result<T>;
}

impl<T> Context<T> for Result<T, ContractError> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|e| match (e.as_revert_data(), e) {
            (Some(data), _) => {
                let revert = Revert::decode(&data);
                Error::new(ErrorKind::Denied, format!("cannot {what}")).with_source(revert)
            }
            (None, ContractError::TransportError(e)) => node_error(what)(e),
            (None, e) => {
                Error::new(ErrorKind::Unavailable, format!("cannot {what}")).with_source(e)
            }
        })
    }
}
