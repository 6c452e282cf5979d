//! Attestors: each looks at the chain a message comes from and signs what it saw.

use std::{collections::BTreeMap, fmt};

use alloy::{
    primitives::B256,
    providers::{DynProvider, Provider},
    rpc::types::{Filter, Log},
    sol_types::{Eip712Domain, SolEvent, SolStruct},
};
use async_trait::async_trait;
use openledger_core::{Address, Bytes, Error, ErrorKind, Key, Result, U256, message::Domain};
use serde::{Deserialize, Serialize};

use super::{
    abi::attested_gateway::AttestedGateway::{MessageNumbered, MessageSent},
    side::{event, line},
};
use crate::{TxLog, client::node_error};

alloy::sol! {
    /// What attestors sign, as the contract has it.
    #[derive(Debug, PartialEq)]
    struct Message {
        uint256 sourceChain;
        address sourceGateway;
        uint256 nonce;
        address sender;
        address recipient;
        bytes payload;
    }
}

/// Says that a message was sent. Implement this to reach an attestor; [`Attestor`] is one itself.
///
/// # Contract
/// - It answers only for messages that are final on their chain: a signature cannot be taken back.
/// - A message not seen or not final yet is [`ErrorKind::Unavailable`], retryable.
#[async_trait]
pub trait Attest: fmt::Debug + Send + Sync {
    /// Attests the message `id` that was sent from `chain`.
    async fn attest(&self, chain: u64, id: B256) -> Result<Attestation>;
}

/// An attestor's word that a message was sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Attestation {
    /// Who says so.
    pub attestor: Address,
    /// Its signature of the message's id.
    pub signature: Bytes,
}

/// A message that left a chain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Dispatch {
    /// Its name: the EIP-712 digest for the gateway that delivers it.
    pub id: B256,
    /// The chain it left.
    pub source_chain: u64,
    /// The gateway it left by.
    pub source_gateway: Address,
    /// The chain it goes to.
    pub destination_chain: u64,
    /// Its number at the source.
    pub nonce: U256,
    /// Who sent it.
    pub sender: Address,
    /// The contract it is for.
    pub recipient: Address,
    /// What it says.
    pub payload: Bytes,
    /// The block it left in.
    pub block: u64,
}

impl Dispatch {
    /// Reads the message with this id from what a gateway logged in one transaction.
    pub(super) fn read(
        chain: u64,
        gateway: Address,
        block: u64,
        logs: &[TxLog],
        id: Option<B256>,
    ) -> Result<Self> {
        let of_id = |log: &&TxLog| id.is_none_or(|id| log.topics.get(1) == Some(&id));
        let logs: Vec<TxLog> = logs.iter().filter(of_id).cloned().collect();
        let numbered: MessageNumbered = event(&logs, gateway)?;
        let sent: MessageSent = event(&logs, gateway)?;
        let (sender_chain, sender) = parse_interop(&sent.sender)?;
        let (destination_chain, recipient) = parse_interop(&sent.recipient)?;
        let destination = u64::try_from(numbered.destinationChain).unwrap_or(u64::MAX);
        if (sender_chain, destination_chain) != (chain, destination) {
            return Err(Error::corrupt(format!("message {} names other chains", numbered.sendId)));
        }
        Ok(Self {
            id: numbered.sendId,
            source_chain: chain,
            source_gateway: gateway,
            destination_chain,
            nonce: numbered.nonce,
            sender,
            recipient,
            payload: sent.payload,
            block,
        })
    }

    /// Returns the name this message has for a gateway that delivers it.
    pub fn id_for(&self, destination_gateway: Address) -> B256 {
        let domain = Domain { chain_id: self.destination_chain, contract: destination_gateway };
        let domain: Eip712Domain = domain.to_eip712();
        let message = Message {
            sourceChain: U256::from(self.source_chain),
            sourceGateway: self.source_gateway,
            nonce: self.nonce,
            sender: self.sender,
            recipient: self.recipient,
            payload: self.payload.clone(),
        };
        message.eip712_signing_hash(&domain)
    }
}

/// A chain that an attestor watches.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "all of it must be said")]
pub struct Route {
    /// A node the attestor trusts, best its own.
    pub provider: DynProvider,
    /// The chain's gateway.
    pub gateway: Address,
    /// Blocks on top of a message's before it counts as final.
    pub confirmations: u64,
}

/// An attestor with its key in the process.
///
/// It signs a message only if the gateway it knows logged it, deep enough, for a gateway it knows,
/// and if its id is what it computes itself: never 32 bytes that somebody gives it.
#[derive(Clone, Debug)]
pub struct Attestor {
    key: Key,
    routes: BTreeMap<u64, Route>,
}

impl Attestor {
    /// Signs with `key` for the chains in `routes`, by their ids.
    pub const fn new(key: Key, routes: BTreeMap<u64, Route>) -> Self {
        Self { key, routes }
    }

    /// Returns the account that signs.
    pub const fn address(&self) -> Address {
        self.key.address()
    }

    /// Attests all messages that left `chain` since block `from` and are final, and returns the
    /// block from which to go on.
    ///
    /// Anybody can send a message to a chain without route, or to what is no account: it is passed
    /// over, so that it holds up no other. [`attest`](Attest::attest) says what is wrong with it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the node does not answer; [`ErrorKind::NotFound`] if there is no
    /// route to `chain`.
    pub async fn watch(
        &self,
        chain: u64,
        from: u64,
    ) -> Result<(Vec<(Dispatch, Attestation)>, u64)> {
        let route = self.route(chain)?;
        let Some(last) = route.last_final().await?.filter(|last| *last >= from) else {
            return Ok((Vec::new(), from));
        };
        let filter = Filter::new().from_block(from).to_block(last);
        let seen = route.messages(chain, filter).await?;
        let attested = seen.into_iter().filter_map(|dispatch| {
            let dispatch = dispatch.ok()?;
            let attestation = self.sign(&dispatch).ok()?;
            Some((dispatch, attestation))
        });
        Ok((attested.collect(), last + 1))
    }

    fn sign(&self, dispatch: &Dispatch) -> Result<Attestation> {
        let gateway = self.route(dispatch.destination_chain)?.gateway;
        if dispatch.id_for(gateway) != dispatch.id {
            let message = format!("message {} is not for gateway {gateway}", dispatch.id);
            return Err(Error::corrupt(message));
        }
        let signature = Bytes::copy_from_slice(self.key.sign(dispatch.id).as_bytes());
        Ok(Attestation { attestor: self.address(), signature })
    }

    fn route(&self, chain: u64) -> Result<&Route> {
        let unknown = || Error::new(ErrorKind::NotFound, format!("no route to chain {chain}"));
        self.routes.get(&chain).ok_or_else(unknown)
    }
}

#[async_trait]
impl Attest for Attestor {
    async fn attest(&self, chain: u64, id: B256) -> Result<Attestation> {
        let route = self.route(chain)?;
        let filter = Filter::new().from_block(0).topic1(id);
        let seen = route.messages(chain, filter).await?.into_iter().next();
        let unseen = || {
            Error::new(
                ErrorKind::Unavailable,
                format!("message {id} was not seen on chain {chain}"),
            )
        };
        let dispatch = seen.ok_or_else(unseen)??;
        if route.last_final().await?.is_none_or(|last| last < dispatch.block) {
            let message = format!("message {id} is not final on chain {chain} yet");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.sign(&dispatch)
    }
}

impl Route {
    /// The last block that counts as final, if there is one.
    async fn last_final(&self) -> Result<Option<u64>> {
        let latest = self.provider.get_block_number().await;
        let latest = latest.map_err(node_error("ask for the latest block"))?;
        Ok(latest.checked_sub(self.confirmations))
    }

    /// The messages whose logs pass a filter, in order, each for itself: senders are strangers.
    async fn messages(&self, chain: u64, filter: Filter) -> Result<Vec<Result<Dispatch>>> {
        let filter = filter.address(self.gateway);
        let logs = self.provider.get_logs(&filter).await;
        let mut logs: Vec<Log> = logs.map_err(node_error("ask a gateway for messages"))?;
        logs.retain(|log| !log.removed);
        let lines: Vec<TxLog> = logs.iter().map(line).collect();
        let numbered =
            logs.iter().filter(|log| log.topic0() == Some(&MessageNumbered::SIGNATURE_HASH));
        numbered
            .map(|log| {
                let id = log.topics().get(1).copied();
                let pending = || Error::new(ErrorKind::Unavailable, "a message is not in a block");
                let block = log.block_number.ok_or_else(pending)?;
                Ok(Dispatch::read(chain, self.gateway, block, &lines, id))
            })
            .collect()
    }
}

/// Writes an account of an EVM chain as ERC-7930 does: version 1, chain type 0, the chain's id
/// without leading zeros, the address.
pub(super) fn interop(chain: u64, account: Address) -> Bytes {
    let id = chain.to_be_bytes();
    let id = &id[id.iter().position(|byte| *byte != 0).unwrap_or(id.len() - 1)..];
    let length = u8::try_from(id.len()).expect("eight bytes at most");
    let mut bytes = vec![0, 1, 0, 0, length];
    bytes.extend_from_slice(id);
    bytes.push(20);
    bytes.extend_from_slice(account.as_slice());
    bytes.into()
}

/// Reads what [`interop`] writes.
fn parse_interop(bytes: &Bytes) -> Result<(u64, Address)> {
    let wrong = || Error::corrupt(format!("{bytes} is no account of an EVM chain"));
    let rest = bytes.strip_prefix(&[0, 1, 0, 0]).ok_or_else(wrong)?;
    let (&length, rest) = rest.split_first().ok_or_else(wrong)?;
    let (id, rest) = rest.split_at_checked(usize::from(length)).ok_or_else(wrong)?;
    let account = rest.strip_prefix(&[20]).filter(|rest| rest.len() == 20).ok_or_else(wrong)?;
    if id.is_empty() || id.len() > 8 {
        return Err(wrong());
    }
    let chain = id.iter().fold(0, |chain: u64, byte| chain << 8 | u64::from(*byte));
    Ok((chain, Address::from_slice(account)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_reads_back_as_it_was_written() {
        let account = Address::repeat_byte(0xab);
        for chain in [0, 1, 255, 256, 1612, u64::MAX] {
            assert_eq!(parse_interop(&interop(chain, account)).unwrap(), (chain, account));
        }
        // The example of ERC-7930: vitalik.eth on chain 1.
        let written = interop(1, "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045".parse().unwrap());
        assert_eq!(written.to_string(), "0x00010000010114d8da6bf26964af9d7eed9e03e53415d37aa96045");
    }

    #[test]
    fn what_is_no_account_is_refused() {
        let good = interop(1612, Address::repeat_byte(1));
        for end in 0..good.len() {
            assert!(parse_interop(&good.slice(..end)).is_err(), "{end} bytes");
        }
        assert!(parse_interop(&[good.as_ref(), &[0]].concat().into()).is_err());
    }
}
