//! The OP Stack's standard bridge.

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Uint, address},
    providers::Provider,
    sol_types::{SolCall, SolValue},
};
use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, Bytes, Error, ErrorKind, Result, U256, keccak256};
use serde::{Deserialize, Serialize};

use super::{
    Bridge, Deposit, Side, Step, Withdrawal, WithdrawalStatus,
    abi::{
        l1_bridge::L1StandardBridge,
        l1_messenger::L1CrossDomainMessenger::{
            RelayedMessage, SentMessage, SentMessageExtension1,
        },
        l2_bridge::L2StandardBridge,
        l2_messenger::L2CrossDomainMessenger::{
            self, RelayedMessage as RelayedToL2, relayMessageCall,
        },
        l2_output_oracle::L2OutputOracle::{self, L2OutputOracleInstance},
        message_passer::L2ToL1MessagePasser::MessagePassed,
        optimism_portal::{
            OptimismPortal::{self, OptimismPortalInstance, WithdrawalFinalized},
            Types::{OutputRootProof, WithdrawalTransaction},
        },
    },
    side::{Context, event, event_of},
};
use crate::{alloy::providers::DynProvider, client::node_error};

/// The messenger of L2, where every OP Stack chain has it.
pub(super) const L2_MESSENGER: Address = address!("4200000000000000000000000000000000000007");
/// The standard bridge of L2.
pub(super) const L2_BRIDGE: Address = address!("4200000000000000000000000000000000000010");
/// The log of what leaves L2.
pub(super) const MESSAGE_PASSER: Address = address!("4200000000000000000000000000000000000016");
/// Who the portal and the messengers take for somebody who estimates gas: a message that fails
/// then reverts.
const ESTIMATION: Address = address!("0000000000000000000000000000000000000001");
/// Gas for the last call on the other chain: minting for an account that delegates its votes takes
/// about half of it.
const MIN_GAS: u32 = 200_000;
/// Gas that portal and messengers keep back, above what the message asks for.
const RESERVED_GAS: u64 = 200_000;

/// Where an OP Stack chain's contracts are on L1, and the token on both.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "all of it must be said")]
pub struct OpContracts {
    /// `OptimismPortal`.
    pub portal: Address,
    /// `L1StandardBridge`.
    pub bridge: Address,
    /// The token on L1.
    pub l1_token: Address,
    /// The token on L2: an `IOptimismMintableERC20` whose remote token is `l1_token`.
    pub l2_token: Address,
}

/// The standard bridge of an OP Stack chain whose outputs an `L2OutputOracle` holds.
///
/// A withdrawal leaves by `bridgeERC20To`: `withdrawTo` does the same, but refuses on chains that
/// pay for gas with a token of their own, as OpenLedger's does.
#[derive(Clone, Debug)]
pub struct OpBridge {
    l1: Side,
    l2: Side,
    contracts: OpContracts,
    oracle: Address,
    messenger: Address,
}

impl OpBridge {
    /// Connects to a chain's contracts.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if a node does not answer or the contracts are not there.
    pub async fn connect(l1: Side, l2: Side, contracts: OpContracts) -> Result<Self> {
        let portal = OptimismPortal::new(contracts.portal, l1.provider());
        let oracle = portal.l2Oracle().call().await.context("ask the portal for its oracle")?;
        let bridge = L1StandardBridge::new(contracts.bridge, l1.provider());
        let messenger =
            bridge.messenger().call().await.context("ask the bridge for its messenger")?;
        Ok(Self { l1, l2, contracts, oracle, messenger })
    }

    fn portal(&self) -> OptimismPortalInstance<&DynProvider> {
        OptimismPortal::new(self.contracts.portal, self.l1.provider())
    }

    fn oracle(&self) -> L2OutputOracleInstance<&DynProvider> {
        L2OutputOracle::new(self.oracle, self.l1.provider())
    }

    /// The first output that covers a block of L2: its number, and that of the block it is of.
    async fn output_after(&self, block: u64) -> Result<Option<(U256, u64)>> {
        let oracle = self.oracle();
        let latest = oracle.latestBlockNumber().call().await.context("ask for the last output")?;
        if latest < U256::from(block) {
            return Ok(None);
        }
        let index = oracle.getL2OutputIndexAfter(U256::from(block)).call().await;
        let index = index.context("ask which output covers a block")?;
        let output = oracle.getL2Output(index).call().await.context("ask for an output")?;
        Ok(Some((index, u64::try_from(output.l2BlockNumber).unwrap_or(u64::MAX))))
    }

    /// The elements of the output of a block of L2, and the proof that a withdrawal is in it.
    async fn proof(&self, id: B256, block: u64) -> Result<(OutputRootProof, Vec<Bytes>)> {
        let number = BlockNumberOrTag::Number(block);
        let header = self.l2.provider().get_block_by_number(number).await;
        let header = header.map_err(node_error("ask for a block of L2"))?;
        let unknown = || Error::new(ErrorKind::Unavailable, format!("L2 has no block {block} yet"));
        let header = header.ok_or_else(unknown)?.header;
        // The slot of `sentMessages[id]`, a mapping in the contract's first slot.
        let slot = keccak256((id, U256::ZERO).abi_encode());
        let asked =
            self.l2.provider().get_proof(MESSAGE_PASSER, vec![slot]).block_id(number.into());
        let proof = asked.await.map_err(node_error("ask L2 for a proof"))?;
        let storage_hash = proof.storage_hash;
        let sent = proof.storage_proof.into_iter().find(|entry| entry.value == U256::from(1));
        let never = || {
            let message = format!("no withdrawal {id} was made on L2 up to block {block}");
            Error::new(ErrorKind::Denied, message)
        };
        let elements = OutputRootProof {
            version: B256::ZERO,
            stateRoot: header.state_root,
            messagePasserStorageRoot: storage_hash,
            latestBlockhash: header.hash,
        };
        Ok((elements, sent.ok_or_else(never)?.proof))
    }
}

#[async_trait]
impl Bridge for OpBridge {
    async fn deposit(&self, to: Address, amount: Amount) -> Result<Step<Deposit>> {
        let OpContracts { bridge, l1_token, l2_token, .. } = self.contracts;
        let mut txs = Vec::from_iter(self.l1.allow(l1_token, bridge, amount).await?);
        let contract = L1StandardBridge::new(bridge, self.l1.provider());
        let units = amount.units();
        let call = contract.depositERC20To(l1_token, l2_token, to, units, MIN_GAS, Bytes::new());
        let tx = self.l1.send("deposit tokens", call).await?;
        let sent: SentMessage = event(&tx.logs, self.messenger)?;
        let value: SentMessageExtension1 = event(&tx.logs, self.messenger)?;
        let message = relayMessageCall {
            _nonce: sent.messageNonce,
            _sender: sent.sender,
            _target: sent.target,
            _value: value.value,
            _minGasLimit: sent.gasLimit,
            _message: sent.message,
        };
        let message = Bytes::from(message.abi_encode());
        let deposit = Deposit { id: keccak256(&message), block: tx.block, message };
        txs.push(tx);
        Ok(Step { value: deposit, txs })
    }

    /// The chain itself lands a deposit; one whose message failed there is sent again.
    async fn land(&self, deposit: &Deposit) -> Result<Step> {
        let id = deposit.id;
        let again = relay(deposit)?;
        let messenger = L2CrossDomainMessenger::new(L2_MESSENGER, self.l2.provider());
        let landed = messenger.successfulMessages(id).call().await.context("ask for a message")?;
        if landed {
            return Ok(Step { value: (), txs: Vec::new() });
        }
        let failed = messenger.failedMessages(id).call().await.context("ask for a message")?;
        if !failed {
            let message = format!("deposit {id} has not reached L2 yet");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let what = "relay a failed deposit";
        let call = messenger.call_builder(&again);
        // A message that fails once more does not revert, but for who estimates.
        call.clone().from(ESTIMATION).call().await.context(what)?;
        let tx = self.l2.send_asking(what, call, reserved(again._minGasLimit)).await?;
        let _: RelayedToL2 = event_of(&tx.logs, L2_MESSENGER, id)?;
        Ok(Step { value: (), txs: vec![tx] })
    }

    async fn withdraw(&self, to: Address, amount: Amount) -> Result<Step<Withdrawal>> {
        let OpContracts { l1_token, l2_token, .. } = self.contracts;
        let bridge = L2StandardBridge::new(L2_BRIDGE, self.l2.provider());
        let call =
            bridge.bridgeERC20To(l2_token, l1_token, to, amount.units(), MIN_GAS, Bytes::new());
        let tx = self.l2.send("withdraw tokens", call).await?;
        let passed: MessagePassed = event(&tx.logs, MESSAGE_PASSER)?;
        let message = WithdrawalTransaction {
            nonce: passed.nonce,
            sender: passed.sender,
            target: passed.target,
            value: passed.value,
            gasLimit: passed.gasLimit,
            data: passed.data,
        };
        let message = Bytes::from(message.abi_encode_params());
        let withdrawal = Withdrawal { id: passed.withdrawalHash, block: tx.block, message };
        Ok(Step { value: withdrawal, txs: vec![tx] })
    }

    async fn prove(&self, withdrawal: &Withdrawal) -> Result<Step> {
        let transaction = transaction(withdrawal)?;
        match self.status(withdrawal).await? {
            WithdrawalStatus::Initiated => {
                let Withdrawal { id, block, .. } = withdrawal;
                let message =
                    format!("withdrawal {id}: no output of L2's block {block} is proposed yet");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            WithdrawalStatus::Provable => {}
            _ => return Ok(Step { value: (), txs: Vec::new() }),
        }
        let missing = || Error::new(ErrorKind::Conflict, "an output of L2 was deleted just now");
        let (index, block) = self.output_after(withdrawal.block).await?.ok_or_else(missing)?;
        let (output, proof) = self.proof(withdrawal.id, block).await?;
        let portal = self.portal();
        let call = portal.proveWithdrawalTransaction(transaction, index, output, proof);
        let tx = self.l1.send("prove a withdrawal", call).await?;
        Ok(Step { value: (), txs: vec![tx] })
    }

    async fn finalise(&self, withdrawal: &Withdrawal) -> Result<Step> {
        let transaction = transaction(withdrawal)?;
        let what = "finalise a withdrawal";
        let asked = reserved(transaction.gasLimit);
        // What the messenger relays is called by its own name there, the hash of the call.
        let relayed = keccak256(&transaction.data);
        let portal = self.portal();
        let call = portal.finalizeWithdrawalTransaction(transaction);
        // The portal finalises a message that fails, and then it can only be relayed again. So it
        // is tried as the account for which a failure reverts.
        call.clone().from(ESTIMATION).call().await.context(what)?;
        let tx = self.l1.send_asking(what, call, asked).await?;
        let _: WithdrawalFinalized = event_of(&tx.logs, self.contracts.portal, withdrawal.id)?;
        let _: RelayedMessage = event_of(&tx.logs, self.messenger, relayed)?;
        Ok(Step { value: (), txs: vec![tx] })
    }

    async fn status(&self, withdrawal: &Withdrawal) -> Result<WithdrawalStatus> {
        let portal = self.portal();
        let id = withdrawal.id;
        let finalised = portal.finalizedWithdrawals(id).call().await;
        if finalised.context("ask whether a withdrawal is finalised")? {
            return Ok(WithdrawalStatus::Finalised);
        }
        let proven = portal.provenWithdrawals(id).call().await.context("ask for a proof's time")?;
        let latest = self.oracle().latestBlockNumber().call().await;
        let provable = latest.context("ask for the last output")? >= U256::from(withdrawal.block);
        let unproven = match provable {
            true => WithdrawalStatus::Provable,
            false => WithdrawalStatus::Initiated,
        };
        if proven.timestamp == 0 {
            return Ok(unproven);
        }
        // An output that was challenged is deleted, and what was proven by it must be proven anew.
        let output = self.oracle().getL2Output(U256::from(proven.l2OutputIndex)).call().await;
        let output = match output {
            Err(e) if e.as_revert_data().is_some() => return Ok(unproven),
            output => output.context("ask for an output")?,
        };
        if output.outputRoot != proven.outputRoot {
            return Ok(unproven);
        }
        let period = self.oracle().finalizationPeriodSeconds().call().await;
        let period = period.context("ask for the challenge period")?;
        let since: Uint<128, 2> = Uint::from(proven.timestamp.max(output.timestamp));
        let until = U256::from(since).saturating_add(period);
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        Ok(match self.l1.latest().await?.1 > until {
            true => WithdrawalStatus::Finalisable,
            false => WithdrawalStatus::Proven { until },
        })
    }
}

/// Gas that a message asks for, and what portal and messengers keep back.
fn reserved(asked: U256) -> u64 {
    u64::try_from(asked).unwrap_or(u64::MAX).saturating_add(RESERVED_GAS)
}

/// The message of a deposit, which must be the one it is named for.
fn relay(deposit: &Deposit) -> Result<relayMessageCall> {
    let Deposit { id, message, .. } = deposit;
    if keccak256(message) != *id {
        return Err(Error::corrupt(format!("deposit {id} was changed")));
    }
    relayMessageCall::abi_decode(message)
        .map_err(|e| Error::corrupt(format!("deposit {id} is no message")).with_source(e))
}

/// The message of a withdrawal, which must be the one it is named for.
fn transaction(withdrawal: &Withdrawal) -> Result<WithdrawalTransaction> {
    let Withdrawal { id, message, .. } = withdrawal;
    if keccak256(message) != *id {
        return Err(Error::corrupt(format!("withdrawal {id} was changed")));
    }
    WithdrawalTransaction::abi_decode_params(message)
        .map_err(|e| Error::corrupt(format!("withdrawal {id} is no message")).with_source(e))
}
