//! The mesh: adapters that lock or mint, and a gateway that believes attestors.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{
    primitives::Signature,
    providers::{DynProvider, Provider},
    sol_types::SolValue,
};
use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, Bytes, Error, ErrorKind, Result, U256};

use super::{
    Attest, Attestation, Bridge, Deposit, Dispatch, MeshEnd, Side, Step, Withdrawal,
    WithdrawalStatus,
    abi::{
        attested_gateway::AttestedGateway::{
            self, Attestation as Signed, AttestedGatewayInstance, Message, MessageDelivered,
        },
        mesh_home::MeshHome,
    },
    attestor::interop,
    side::{Context, event_of},
};
use crate::{Tx, client::node_error};

/// The way between a mesh's home and one of its other chains.
///
/// The home is L1 of [`Bridge`]. Proving is collecting attestations, which costs nothing and waits
/// for nobody but the attestors; they are kept in the process, and collected again after a restart.
#[derive(Clone, Debug)]
pub struct MeshBridge {
    home: End,
    remote: End,
    attestors: Vec<Arc<dyn Attest>>,
    proven: Arc<Mutex<HashMap<B256, Vec<Attestation>>>>,
}

/// A chain with its contracts.
#[derive(Clone, Debug)]
struct End {
    side: Side,
    gateway: Address,
    adapter: Address,
    token: Address,
}

impl MeshBridge {
    /// Connects to two ends that are linked with each other.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if they are not linked; [`ErrorKind::Unavailable`] if a node does not
    /// answer or the contracts are not there.
    pub async fn connect(
        home: (Side, MeshEnd),
        remote: (Side, MeshEnd),
        attestors: Vec<Arc<dyn Attest>>,
    ) -> Result<Self> {
        let home = End::connect(home.0, home.1).await?;
        let remote = End::connect(remote.0, remote.1).await?;
        home.check_linked(&remote).await?;
        remote.check_linked(&home).await?;
        Ok(Self { home, remote, attestors, proven: Arc::default() })
    }

    /// Whether an attestation is its attestor's; what a contract says is left to the gateway.
    async fn is_signed(&self, at: &End, id: B256, given: &Attestation) -> Result<bool> {
        let signature = Signature::try_from(given.signature.as_ref()).ok();
        let signer =
            signature.and_then(|signature| signature.recover_address_from_prehash(&id).ok());
        if signer == Some(given.attestor) {
            return Ok(true);
        }
        let code = at.side.provider().get_code_at(given.attestor).await;
        Ok(!code.map_err(node_error("ask for an attestor's code"))?.is_empty())
    }

    /// Asks the attestors until there are as many as the destination wants.
    async fn collect(&self, source: &End, destination: &End, id: B256) -> Result<Vec<Attestation>> {
        let gateway = destination.gateway();
        let threshold = gateway.threshold().call().await.context("ask for the threshold")?;
        let threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
        let mut given: Vec<Attestation> = Vec::new();
        let mut refusal = None;
        for attestor in &self.attestors {
            if given.len() == threshold {
                break;
            }
            let attestation = match attestor.attest(source.side.chain_id(), id).await {
                Ok(attestation) => attestation,
                Err(e) => {
                    refusal = Some(e);
                    continue;
                }
            };
            // One that was removed would spoil the others' word.
            let counts = gateway.isAttestor(attestation.attestor).call().await;
            let counts = counts.context("ask who attests")?;
            if !self.is_signed(destination, id, &attestation).await? {
                let message = format!("{} did not sign {id}", attestation.attestor);
                refusal = Some(Error::new(ErrorKind::Denied, message));
                continue;
            }
            if counts && given.iter().all(|other| other.attestor != attestation.attestor) {
                given.push(attestation);
            }
        }
        if given.len() < threshold {
            let count = given.len();
            let message = format!("message {id}: {count} of {threshold} attestations");
            let error = Error::new(ErrorKind::Unavailable, message);
            return Err(match refusal {
                Some(e) => error.with_source(e),
                None => error,
            });
        }
        given.sort_by_key(|attestation| attestation.attestor);
        Ok(given)
    }
}

#[async_trait]
impl Bridge for MeshBridge {
    async fn deposit(&self, to: Address, amount: Amount) -> Result<Step<Deposit>> {
        let End { side, adapter, token, .. } = &self.home;
        let mut txs = Vec::from_iter(side.allow(*token, *adapter, amount).await?);
        let (dispatch, tx) = self.home.send(&self.remote, to, amount).await?;
        txs.push(tx);
        let Dispatch { id, block, .. } = dispatch;
        Ok(Step { value: Deposit { id, block, message: encode(&dispatch) }, txs })
    }

    async fn land(&self, deposit: &Deposit) -> Result<Step> {
        if self.remote.delivered(deposit.id).await? {
            return Ok(Step { value: (), txs: Vec::new() });
        }
        let message = decode(deposit.id, &deposit.message)?;
        let attestations = self.collect(&self.home, &self.remote, deposit.id).await?;
        let tx = self.remote.deliver(deposit.id, message, attestations).await?;
        Ok(Step { value: (), txs: vec![tx] })
    }

    async fn withdraw(&self, to: Address, amount: Amount) -> Result<Step<Withdrawal>> {
        let (dispatch, tx) = self.remote.send(&self.home, to, amount).await?;
        let Dispatch { id, block, .. } = dispatch;
        let withdrawal = Withdrawal { id, block, message: encode(&dispatch) };
        Ok(Step { value: withdrawal, txs: vec![tx] })
    }

    async fn prove(&self, withdrawal: &Withdrawal) -> Result<Step> {
        let attestations = self.collect(&self.remote, &self.home, withdrawal.id).await?;
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.insert(withdrawal.id, attestations);
        Ok(Step { value: (), txs: Vec::new() })
    }

    async fn finalise(&self, withdrawal: &Withdrawal) -> Result<Step> {
        let Withdrawal { id, message, .. } = withdrawal;
        let message = decode(*id, message)?;
        let attestations = {
            let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
            proven.get(id).cloned()
        };
        let unproven = || Error::new(ErrorKind::Denied, format!("withdrawal {id} is not proven"));
        let tx = self.home.deliver(*id, message, attestations.ok_or_else(unproven)?).await?;
        Ok(Step { value: (), txs: vec![tx] })
    }

    async fn status(&self, withdrawal: &Withdrawal) -> Result<WithdrawalStatus> {
        if self.home.delivered(withdrawal.id).await? {
            return Ok(WithdrawalStatus::Finalised);
        }
        let kept = {
            let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
            proven.contains_key(&withdrawal.id)
        };
        if kept {
            return Ok(WithdrawalStatus::Finalisable);
        }
        match self.collect(&self.remote, &self.home, withdrawal.id).await {
            Ok(_) => Ok(WithdrawalStatus::Provable),
            Err(e) if e.kind() == ErrorKind::Unavailable => Ok(WithdrawalStatus::Initiated),
            Err(e) => Err(e),
        }
    }
}

impl End {
    async fn connect(side: Side, end: MeshEnd) -> Result<Self> {
        let MeshEnd { gateway, adapter } = end;
        let contract = MeshHome::new(adapter, side.provider());
        let named = contract.GATEWAY().call().await.context("ask an adapter for its gateway")?;
        if named != gateway {
            return Err(Error::invalid(format!("adapter {adapter} has gateway {named}")));
        }
        let token = contract.token().call().await.context("ask an adapter for its token")?;
        Ok(Self { side, gateway, adapter, token })
    }

    /// Both kinds of adapter have what is asked of them here; the home's bindings serve for both.
    async fn check_linked(&self, other: &Self) -> Result<()> {
        let chain = other.side.chain_id();
        let contract = MeshHome::new(self.adapter, self.side.provider());
        let link = contract.getLink(chain_reference(chain)).call().await;
        let link = link.context("ask an adapter for its link")?;
        if link.counterpart != interop(chain, other.adapter) {
            let message = format!("adapter {} is not linked with {}", self.adapter, other.adapter);
            return Err(Error::invalid(message));
        }
        let peer = self.gateway().peers(U256::from(chain)).call().await;
        if peer.context("ask a gateway for its peer")? != other.gateway {
            let message = format!("gateway {} does not know {}", self.gateway, other.gateway);
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    fn gateway(&self) -> AttestedGatewayInstance<&DynProvider> {
        AttestedGateway::new(self.gateway, self.side.provider())
    }

    async fn send(&self, to: &Self, account: Address, amount: Amount) -> Result<(Dispatch, Tx)> {
        let chain = to.side.chain_id();
        let adapter = MeshHome::new(self.adapter, self.side.provider());
        let call = adapter.crosschainTransfer(interop(chain, account), amount.units());
        let tx = self.side.send("send tokens to another chain", call).await?;
        let dispatch =
            Dispatch::read(self.side.chain_id(), self.gateway, tx.block, &tx.logs, None)?;
        Ok((dispatch, tx))
    }

    async fn delivered(&self, id: B256) -> Result<bool> {
        self.gateway().delivered(id).call().await.context("ask whether a message is delivered")
    }

    /// Delivers `message`, which must be the one called `id` here.
    async fn deliver(
        &self,
        id: B256,
        message: Message,
        attestations: Vec<Attestation>,
    ) -> Result<Tx> {
        let signed = attestations
            .into_iter()
            .map(|Attestation { attestor, signature }| Signed { attestor, signature });
        let gateway = self.gateway();
        let call = gateway.deliver(message, signed.collect());
        let tx = self.side.send("deliver a message", call).await?;
        let _: MessageDelivered = event_of(&tx.logs, self.gateway, id)?;
        Ok(tx)
    }
}

/// A chain as ERC-7930 writes it: an account without its address.
fn chain_reference(chain: u64) -> Bytes {
    let account = interop(chain, Address::ZERO);
    let mut bytes = account[..account.len() - 21].to_vec();
    bytes.push(0);
    bytes.into()
}

fn encode(dispatch: &Dispatch) -> Bytes {
    let message = Message {
        sourceChain: U256::from(dispatch.source_chain),
        sourceGateway: dispatch.source_gateway,
        nonce: dispatch.nonce,
        sender: dispatch.sender,
        recipient: dispatch.recipient,
        payload: dispatch.payload.clone(),
    };
    message.abi_encode_params().into()
}

fn decode(id: B256, message: &Bytes) -> Result<Message> {
    Message::abi_decode_params(message)
        .map_err(|e| Error::corrupt(format!("{id} is no message")).with_source(e))
}
