//! Providers: a transport, keys, and patience with the node.

use alloy::{
    network::EthereumWallet,
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::client::RpcClient,
    signers::local::PrivateKeySigner,
    transports::{BoxTransport, IntoBoxTransport},
};
use openledger_core::{Error, Key, Result};

use super::{
    keyring::Keyring,
    retry::{Retry, Retrying},
};
use crate::{Embedded, Genesis};

/// Makes a provider over `transport` that signs with `keys` and waits and tries again as [`Retry`]
/// does by default.
///
/// An [`Embedded`] chain is a transport.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without keys.
pub fn provider(transport: impl IntoBoxTransport, keys: &[Key]) -> Result<DynProvider> {
    provider_with(transport, keys, Retry::default())
}

/// Makes a provider over `transport` that signs with `keys` and waits and tries again as `retry`
/// says.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without keys.
pub fn provider_with(
    transport: impl IntoBoxTransport,
    keys: &[Key],
    retry: Retry,
) -> Result<DynProvider> {
    let wallet = wallet(keys)?;
    let patient = BoxTransport::new(Retrying::new(transport.into_box_transport(), retry));
    let client = RpcClient::new(Keyring::new(patient, wallet.clone()), true);
    // Nonces are asked for each time: a cached one would be lost with a transaction that the node
    // refuses to estimate.
    let builder = ProviderBuilder::default()
        .with_gas_estimation()
        .with_simple_nonce_management()
        .fetch_chain_id()
        .wallet(wallet);
    Ok(builder.connect_client(client).erased())
}

/// Makes a provider for the node at `url` that signs with `keys` and waits and tries again as
/// [`Retry`] does by default.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without keys or for a URL that is
/// not plain HTTP.
#[cfg(feature = "http")]
pub fn http_provider(url: &str, keys: &[Key]) -> Result<DynProvider> {
    http_provider_with(url, keys, Retry::default())
}

/// Makes a provider for the node at `url` that signs with `keys` and waits and tries again as
/// `retry` says.
///
/// # Errors
/// As [`http_provider`].
#[cfg(feature = "http")]
pub fn http_provider_with(url: &str, keys: &[Key], retry: Retry) -> Result<DynProvider> {
    let parsed: alloy::transports::http::reqwest::Url = url
        .parse()
        .map_err(|e| Error::invalid(format!("`{url}` is not a URL")).with_source(format!("{e}")))?;
    if parsed.scheme() != "http" {
        return Err(Error::invalid(format!("`{url}` is not plain HTTP; give http://HOST:PORT")));
    }
    provider_with(alloy::transports::http::Http::new(parsed), keys, retry)
}

/// Starts an embedded chain in which each of `keys` has a million native coins, with a provider for
/// it.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without keys.
pub fn embedded(genesis: Genesis, keys: &[Key]) -> Result<DynProvider> {
    let funded = genesis.with_funded(keys.iter().map(Key::address));
    provider(Embedded::new(&funded), keys)
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
