//! One client for every node: the role traits over any alloy provider.

mod deploy;
mod dev;
mod error;
mod roles;

use std::{fmt, time::Duration};

use alloy::{
    contract::{CallBuilder, CallDecoder},
    network::{Ethereum, EthereumWallet, TransactionBuilder},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{client::RpcClient, types::TransactionReceipt},
    signers::local::PrivateKeySigner,
    transports::IntoBoxTransport,
};
use openledger_core::{
    Address, Amount, B256, Bytes, Error, ErrorKind, Key, Result, U256, message::Domain,
};
use serde::{Deserialize, Serialize};

pub use deploy::{DeployOptions, Deployed};
pub use dev::{DevNode, NodeSnapshot};
pub use roles::{
    Attributions, Charge, FeeAccounts, ModelEntry, Payments, Price, Registry, Rewards, RootStatus,
};

use crate::Embedded;
use error::{Context, node_error};

/// Where the contracts are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Contracts {
    /// OPEN.
    pub token: Address,
    /// Roles and their members.
    pub roles: Address,
    /// Datanets, contributions, versions.
    pub datanets: Address,
    /// Models and adapters.
    pub models: Address,
    /// Batches of receipts.
    pub attributions: Address,
    /// The division of fees.
    pub fees: Address,
    /// Cumulative claims.
    pub distributor: Address,
    /// Payment for inferences.
    pub escrow: Address,
}

/// A client of the contracts that sends as one account. Cheap to clone.
#[derive(Clone)]
pub struct EvmChain {
    provider: DynProvider,
    contracts: Contracts,
    chain_id: u64,
    sender: Address,
}

/// What came of a transaction that was included and did not revert.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sent<T = ()> {
    /// What the contract returned or the caller asked for.
    pub value: T,
    /// The transaction.
    pub tx: Tx,
}

/// An included transaction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tx {
    /// Its hash.
    pub hash: B256,
    /// The block that holds it.
    pub block: u64,
    /// The gas it used.
    pub gas: u64,
    /// What contracts logged.
    pub logs: Vec<TxLog>,
    /// The contract it created.
    pub created: Option<Address>,
}

/// A line a contract logged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TxLog {
    /// The contract.
    pub address: Address,
    /// The event and its indexed parameters.
    pub topics: Vec<B256>,
    /// The other parameters, ABI-encoded.
    pub data: Bytes,
}

/// How long an included transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

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
        Ok(Self { provider, contracts, chain_id, sender })
    }

    /// Returns the same client sending as another account the provider holds the key of.
    #[must_use]
    pub fn sending_as(&self, sender: Address) -> Self {
        Self { sender, ..self.clone() }
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

    /// Returns the domain for which contributions to Datanets are signed.
    pub const fn datanet_domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, contract: self.contracts.datanets }
    }

    /// Returns the domain for which receipts are signed.
    pub const fn receipt_domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, contract: self.contracts.attributions }
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

    /// Sends a call and waits until it is included.
    async fn send<P: Provider, D: CallDecoder>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<Sent> {
        let pending = call.from(self.sender).send().await.context(what)?;
        let tx = included(&self.provider, what, *pending.tx_hash()).await?;
        Ok(Sent { value: (), tx })
    }

    /// Runs a call without sending it, then sends it: for the value it returns.
    async fn send_for<P: Provider, D: CallDecoder + Unpin>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<Sent<D::CallOutput>> {
        let call = call.from(self.sender);
        let value = call.call().await.context(what)?;
        let pending = call.send().await.context(what)?;
        let tx = included(&self.provider, what, *pending.tx_hash()).await?;
        Ok(Sent { value, tx })
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

impl Contracts {
    fn named(&self) -> [(&'static str, Address); 8] {
        [
            ("OpenToken", self.token),
            ("Roles", self.roles),
            ("DatanetRegistry", self.datanets),
            ("ModelRegistry", self.models),
            ("AttributionLog", self.attributions),
            ("FeePolicy", self.fees),
            ("RewardDistributor", self.distributor),
            ("InferenceEscrow", self.escrow),
        ]
    }
}

impl<T> Sent<T> {
    fn map<U>(self, value: impl FnOnce(T) -> U) -> Sent<U> {
        Sent { value: value(self.value), tx: self.tx }
    }
}

/// Makes a provider over `transport` that signs with `keys`.
///
/// An [`Embedded`] chain is a transport.
///
/// # Errors
/// [`ErrorKind::Invalid`] without keys.
pub fn provider(transport: impl IntoBoxTransport, keys: &[Key]) -> Result<DynProvider> {
    let client = RpcClient::new(transport, true);
    let wallet = wallet(keys)?;
    // Nonces are asked for each time: a cached one would be lost with a transaction that the node
    // refuses to estimate.
    let builder = ProviderBuilder::default()
        .with_gas_estimation()
        .with_simple_nonce_management()
        .fetch_chain_id()
        .wallet(wallet);
    Ok(builder.connect_client(client).erased())
}

/// Makes a provider for the node at `url` that signs with `keys`.
///
/// # Errors
/// [`ErrorKind::Invalid`] without keys or for a URL that is not plain HTTP.
#[cfg(feature = "http")]
pub fn http_provider(url: &str, keys: &[Key]) -> Result<DynProvider> {
    let parsed: alloy::transports::http::reqwest::Url = url
        .parse()
        .map_err(|e| Error::invalid(format!("`{url}` is not a URL")).with_source(format!("{e}")))?;
    if parsed.scheme() != "http" {
        return Err(Error::invalid(format!("`{url}` is not plain HTTP; give http://HOST:PORT")));
    }
    provider(alloy::transports::http::Http::new(parsed), keys)
}

fn wallet(keys: &[Key]) -> Result<EthereumWallet> {
    let mut signers = keys.iter().map(|key| {
        PrivateKeySigner::from_bytes(&key.to_bytes())
            .map_err(|e| Error::invalid("not a secret key").with_source(e.to_string()))
    });
    let first = signers.next().ok_or_else(|| Error::invalid("a wallet needs a key"))??;
    let mut wallet = EthereumWallet::from(first);
    for signer in signers {
        wallet.register_signer(signer?);
    }
    Ok(wallet)
}

/// Waits for a transaction's receipt.
async fn included(provider: &DynProvider, what: &str, hash: B256) -> Result<Tx> {
    let mut pause = Duration::from_millis(2);
    let mut waited = Duration::ZERO;
    loop {
        let asked = provider.get_transaction_receipt(hash).await;
        if let Some(receipt) = asked.map_err(node_error("ask for a receipt"))? {
            return tx(what, &receipt);
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

fn tx(what: &str, receipt: &TransactionReceipt) -> Result<Tx> {
    let hash = receipt.transaction_hash;
    if !receipt.status() {
        let message = format!("cannot {what}: transaction {hash} was reverted");
        return Err(Error::new(ErrorKind::Denied, message));
    }
    let logs = receipt.inner.logs().iter().map(|log| TxLog {
        address: log.address(),
        topics: log.topics().to_vec(),
        data: log.inner.data.data.clone(),
    });
    Ok(Tx {
        hash,
        block: receipt.block_number.unwrap_or_default(),
        gas: receipt.gas_used,
        logs: logs.collect(),
        created: receipt.contract_address,
    })
}

/// Starts an embedded chain in which each of `keys` has native coins, with a provider for it.
///
/// # Errors
/// [`ErrorKind::Invalid`] without keys.
pub fn embedded(genesis: crate::Genesis, keys: &[Key]) -> Result<DynProvider> {
    let funded = genesis.with_funded(keys.iter().map(Key::address));
    provider(Embedded::new(&funded), keys)
}

/// Sends a transaction that creates a contract.
async fn create(
    provider: &DynProvider,
    what: &str,
    from: Address,
    code: Vec<u8>,
) -> Result<(Address, Tx)> {
    let request = alloy::rpc::types::TransactionRequest::default()
        .with_from(from)
        .with_value(U256::ZERO)
        .with_deploy_code(code);
    let pending = provider.send_transaction(request).await.map_err(node_error(what))?;
    let tx = included(provider, what, *pending.tx_hash()).await?;
    let missing =
        || Error::new(ErrorKind::Unavailable, format!("cannot {what}: no contract came of it"));
    Ok((tx.created.ok_or_else(missing)?, tx))
}
