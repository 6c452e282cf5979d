//! Keys beside the node: signs what a node without keys cannot.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use alloy::{
    eips::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder},
    primitives::{Bytes, TxKind},
    rpc::{
        json_rpc::{
            ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload,
            SerializedRequest,
        },
        types::TransactionRequest,
    },
    transports::{BoxTransport, TransportError, TransportFut},
};
use serde_json::value::to_raw_value;
use tower::Service;

/// The method that this answers itself, as nodes with keys of their own do (anvil, Clef, Web3Signer):
/// to whoever sends, both look the same.
pub(super) const SIGN: &str = "eth_signTransaction";

/// A transport that signs transactions and hands everything else on.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    inner: BoxTransport,
    wallet: Arc<EthereumWallet>,
}

impl Keyring {
    pub(super) fn new(inner: BoxTransport, wallet: EthereumWallet) -> Self {
        Self { inner, wallet: Arc::new(wallet) }
    }
}

impl Service<RequestPacket> for Keyring {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, packet: RequestPacket) -> TransportFut<'static> {
        match packet {
            RequestPacket::Single(request) if request.method() == SIGN => {
                let wallet = Arc::clone(&self.wallet);
                Box::pin(async move {
                    let payload = match sign(&wallet, &request).await {
                        Ok(raw) => to_raw_value(&raw)
                            .map(ResponsePayload::Success)
                            .map_err(TransportError::ser_err)?,
                        Err(why) => ResponsePayload::Failure(ErrorPayload {
                            code: -32000,
                            message: why.into(),
                            data: None,
                        }),
                    };
                    let (meta, _) = request.decompose();
                    Ok(ResponsePacket::Single(Response { id: meta.id, payload }))
                })
            }
            packet => self.inner.call(packet),
        }
    }
}

async fn sign(wallet: &EthereumWallet, request: &SerializedRequest) -> Result<Bytes, String> {
    let params = request.params().map_or("[]", |params| params.get());
    let (mut transaction,): (TransactionRequest,) =
        serde_json::from_str(params).map_err(|e| e.to_string())?;
    // JSON has no word for it: what goes to nobody creates a contract.
    transaction.to.get_or_insert(TxKind::Create);
    let signed = transaction.build(wallet).await.map_err(|e| e.to_string())?;
    Ok(signed.encoded_2718().into())
}
