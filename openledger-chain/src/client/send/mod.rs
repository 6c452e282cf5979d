//! Sending through a node that cannot be relied on.
//!
//! ```text
//! prepare ─▶ nonce, sign ─▶ record ─▶ broadcast ─▶ look ─▶ included, deep enough
//!                              ▲          ▲          │
//!               underpriced ───┘          └─ absent ─┤
//!    nonce used by another transaction ◀─────────────┘
//! ```
//!
//! What keeps a payment from being made twice: a call is signed once, and what was signed is kept
//! until its outcome is known. All transactions ever signed for it share a nonce, so at most one of
//! them can be included. Another nonce is taken only when a block shows another transaction of the
//! account with this one; a node that merely forgot the transaction, or hides its receipt, proves
//! nothing.

mod attempt;
mod desk;
mod patience;
mod refusal;

use std::sync::Arc;

use alloy::{
    consensus::TxEnvelope,
    contract::{CallBuilder, CallDecoder},
    eips::{BlockNumberOrTag, eip2718::Decodable2718},
    network::{Ethereum, TransactionBuilder, TransactionResponse},
    primitives::keccak256,
    providers::{DynProvider, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use openledger_core::{Address, B256, Bytes, Error, ErrorKind, Result, U256};

use super::{
    EvmChain, Sent, Tx,
    error::{denied, node_error},
    keyring::SIGN,
};

pub(super) use attempt::{Attempt, Outgoing, Record, Unrecorded};
pub(super) use desk::Desk;
pub use patience::Patience;

use desk::{Account, Pending};
use refusal::Refusal;

/// What the chain says of an attempt.
enum Look {
    Included(Box<TransactionReceipt>),
    /// Included, or its nonce used, but not deep enough yet; the latest block.
    Shallow(u64),
    Absent,
    /// Another transaction used the nonce.
    Lost,
}

/// How often a call is signed anew because others use the account's nonces.
const RENEWALS: u32 = 16;

/// How many blocks before the one known at signing a reorganisation may put a transaction.
const REACH: u64 = 64;

/// Sends calls of one account.
pub(super) struct Sender<'a> {
    pub(super) provider: &'a DynProvider,
    pub(super) desk: &'a Desk,
    pub(super) from: Address,
    pub(super) chain_id: u64,
    pub(super) patience: Patience,
}

impl Sender<'_> {
    /// Sends a call and waits until it is included; returns what it returned when it was tried.
    ///
    /// `signed` is what was signed for it before, if anything was recorded.
    pub(super) async fn send(
        &self,
        what: &str,
        call: &Outgoing,
        signed: Option<Attempt>,
        record: &mut dyn Record,
    ) -> Result<(Tx, Bytes)> {
        let account = self.desk.account(self.from);
        let left = account.take_up(call.key);
        let mut known = signed.or(left);
        for _ in 0..RENEWALS {
            let (pending, turn) = match known.take() {
                Some(attempt) => (Pending::new(Arc::clone(&account), attempt), None),
                None => {
                    let tried = self.try_out(what, call).await?;
                    let turn = account.turn.lock().await;
                    let attempt = self.sign(what, call, tried, &account).await?;
                    record.record(&attempt).await?;
                    (Pending::new(Arc::clone(&account), attempt), Some(turn))
                }
            };
            if let Some(done) = self.follow(what, pending, turn, record).await? {
                return Ok(done);
            }
        }
        let message = format!("cannot {what}: others use the nonces of {}", self.from);
        Err(Error::new(ErrorKind::Conflict, message).with_retryable(true))
    }

    /// Runs the call without sending it: what it returns, and the request with gas and fees.
    async fn try_out(&self, what: &str, call: &Outgoing) -> Result<(Bytes, TransactionRequest)> {
        let output = match call.wants_output {
            true => self.provider.call(call.request.clone()).await.map_err(node_error(what))?,
            false => Bytes::new(),
        };
        let mut request = call.request.clone().with_chain_id(self.chain_id);
        if request.gas.is_none() {
            let asked = self.provider.estimate_gas(request.clone()).await;
            request.gas = Some(asked.map_err(node_error(what))?);
        }
        let fees =
            self.provider.estimate_eip1559_fees().await.map_err(node_error("ask for fees"))?;
        request.max_fee_per_gas = Some(fees.max_fee_per_gas);
        request.max_priority_fee_per_gas = Some(fees.max_priority_fee_per_gas);
        Ok((output, request))
    }

    async fn sign(
        &self,
        what: &str,
        call: &Outgoing,
        (output, mut request): (Bytes, TransactionRequest),
        account: &Account,
    ) -> Result<Attempt> {
        let since = self.latest().await?;
        let asked = self.provider.get_transaction_count(self.from).pending().await;
        let mut nonce = asked.map_err(node_error("ask for a nonce"))?;
        // A node behind a balancer may not know yet what another took.
        while account.open().flying.contains(&nonce) {
            nonce = nonce.checked_add(1).ok_or_else(|| {
                Error::corrupt(format!("the node says that the next nonce is {nonce}"))
            })?;
        }
        request.nonce = Some(nonce);
        let (hash, raw) = self.signed(what, request).await?;
        Ok(Attempt { key: call.key, nonce, since, hashes: vec![hash], raw, output })
    }

    async fn signed(&self, what: &str, request: TransactionRequest) -> Result<(B256, Bytes)> {
        let asked = self.provider.raw_request::<_, Bytes>(SIGN.into(), (request,)).await;
        let raw = asked.map_err(node_error(&format!("sign to {what}")))?;
        Ok((keccak256(&raw), raw))
    }

    /// Follows an attempt to its end: included, or nothing if its nonce went to another.
    async fn follow(
        &self,
        what: &str,
        mut pending: Pending,
        mut turn: Option<tokio::sync::MutexGuard<'_, ()>>,
        record: &mut dyn Record,
    ) -> Result<Option<(Tx, Bytes)>> {
        let fresh = turn.is_some();
        // Whether a node may hold the transaction, and whether one said that it does.
        let (mut delivered, mut accepted) = (!fresh, false);
        let (mut due, mut raises, mut looks, mut highest) = (fresh, 0, 0u32, 0);
        let mut pause = self.patience.first_pause;
        let mut last: Option<Error> = None;
        loop {
            while due {
                due = false;
                self.nudge_earlier(&pending).await;
                let sent = self.provider.send_raw_transaction(&pending.attempt().raw).await;
                let Err(error) = sent else {
                    (delivered, accepted) = (true, true);
                    break;
                };
                let refusal = Refusal::of(&error);
                match refusal {
                    Refusal::Known => (delivered, accepted) = (true, true),
                    Refusal::Nonce | Refusal::Passing => {
                        delivered |= refusal == Refusal::Passing;
                        last = Some(node_error(what)(error));
                    }
                    Refusal::Underpriced if raises < self.patience.raises => {
                        raises += 1;
                        let raised = self.raise(what, &mut pending, record).await;
                        raised.map_err(|error| unknown(what, &pending, error))?;
                        due = true;
                    }
                    Refusal::Underpriced => {
                        last = Some(node_error(what)(error).with_retryable(true));
                    }
                    Refusal::Final if delivered => {
                        return Err(unknown(what, &pending, node_error(what)(error)));
                    }
                    Refusal::Final => {
                        record.forget().await?;
                        pending.close();
                        return Err(node_error(what)(error));
                    }
                }
            }
            drop(turn.take());
            let mut absent = false;
            match self.look(pending.attempt()).await {
                Ok(Look::Included(receipt)) => {
                    let attempt = pending.close();
                    if receipt.status() {
                        return Ok(Some((Tx::from(&*receipt), attempt.output)));
                    }
                    record.forget().await?;
                    return Err(self.reverted(what, &receipt, &attempt).await);
                }
                Ok(Look::Lost) => {
                    record.forget().await?;
                    pending.close();
                    return Ok(None);
                }
                Ok(Look::Shallow(latest)) => {
                    // What is included and then gone must be sent again at once.
                    accepted = false;
                    if latest > highest {
                        (highest, looks, pause) = (latest, 0, self.patience.first_pause);
                    }
                }
                Ok(Look::Absent) => absent = true,
                Err(error) if error.is_retryable() => last = Some(error),
                Err(error) => return Err(unknown(what, &pending, error)),
            }
            looks += 1;
            if looks > self.patience.looks {
                let hash = pending.attempt().hash();
                let message = format!("cannot {what}: transaction {hash} is not included yet");
                let error = Error::new(ErrorKind::Unavailable, message);
                return Err(match last {
                    Some(last) => error.with_source(last),
                    None => error,
                });
            }
            due = absent && (!accepted || looks.is_power_of_two());
            if due && accepted && self.is_priced_out(&pending).await {
                let raised = self.raise(what, &mut pending, record).await;
                raised.map_err(|error| unknown(what, &pending, error))?;
            }
            // What a restart finds absent is sent at once.
            if fresh || looks > 1 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(self.patience.longest_pause);
            }
        }
    }

    /// Sends what was left with lower nonces: a transaction is not included before those.
    async fn nudge_earlier(&self, pending: &Pending) {
        let nonce = pending.attempt().nonce;
        let earlier: Vec<Bytes> = {
            let open = pending.account.open();
            let earlier = open.left.iter().filter(|attempt| attempt.nonce < nonce);
            earlier.map(|attempt| attempt.raw.clone()).collect()
        };
        for raw in earlier {
            // Whoever calls for it again learns what came of it.
            drop(self.provider.send_raw_transaction(&raw).await);
        }
    }

    async fn look(&self, attempt: &Attempt) -> Result<Look> {
        for &hash in attempt.hashes.iter().rev() {
            let asked = self.provider.get_transaction_receipt(hash).await;
            let Some(receipt) = asked.map_err(node_error("ask for a receipt"))? else { continue };
            let (Some(number), Some(block)) = (receipt.block_number, receipt.block_hash) else {
                return Ok(Look::Absent);
            };
            return Ok(match self.stands(number, block).await? {
                Ok(()) => Look::Included(Box::new(receipt)),
                Err(latest) => Look::Shallow(latest),
            });
        }
        let asked = self.provider.get_transaction_count(self.from).latest().await;
        if asked.map_err(node_error("ask for a nonce"))? <= attempt.nonce {
            return Ok(Look::Absent);
        }
        // Something used the nonce. Only the block that holds it says what.
        let latest = self.latest().await?;
        for number in (attempt.since.saturating_sub(REACH)..=latest).rev() {
            let asked = self.provider.get_block_by_number(number.into()).full().await;
            let Some(block) = asked.map_err(node_error("ask for a block"))? else { continue };
            let user = block.transactions.as_transactions().unwrap_or_default().iter().find(|tx| {
                tx.from() == self.from && alloy::consensus::Transaction::nonce(*tx) == attempt.nonce
            });
            let Some(user) = user else { continue };
            if attempt.hashes.contains(&user.tx_hash()) {
                return Ok(Look::Shallow(0));
            }
            return Ok(match self.stands(number, block.header.hash).await? {
                Ok(()) => Look::Lost,
                Err(latest) => Look::Shallow(latest),
            });
        }
        let message =
            format!("the node shows no transaction of {} with nonce {}", self.from, attempt.nonce);
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Whether a block is deep enough and still in the chain; if not, the latest block.
    async fn stands(&self, number: u64, hash: B256) -> Result<Result<(), u64>> {
        if self.patience.confirmations <= 1 {
            return Ok(Ok(()));
        }
        let latest = self.latest().await?;
        if latest.saturating_add(1) < number.saturating_add(self.patience.confirmations) {
            return Ok(Err(latest));
        }
        let asked = self.provider.get_block_by_number(BlockNumberOrTag::Number(number)).await;
        let block = asked.map_err(node_error("ask for a block"))?;
        Ok(match block {
            Some(block) if block.header.hash == hash => Ok(()),
            _ => Err(latest),
        })
    }

    async fn latest(&self) -> Result<u64> {
        self.provider.get_block_number().await.map_err(node_error("ask for the latest block"))
    }

    /// Whether the base fee has passed what the transaction would pay.
    async fn is_priced_out(&self, pending: &Pending) -> bool {
        let asked = self.provider.get_block(BlockNumberOrTag::Latest.into()).await;
        let base = asked.ok().flatten().and_then(|block| block.header.base_fee_per_gas);
        let offered = request_of(&pending.attempt().raw).ok().and_then(|tx| tx.max_fee_per_gas);
        matches!((base, offered), (Some(base), Some(offered)) if u128::from(base) > offered)
    }

    /// Signs the same again for a higher fee: at least an eighth more, the least that nodes take
    /// in place of what they have.
    async fn raise(
        &self,
        what: &str,
        pending: &mut Pending,
        record: &mut dyn Record,
    ) -> Result<()> {
        let mut request = request_of(&pending.attempt().raw)?.with_from(self.from);
        let market =
            self.provider.estimate_eip1559_fees().await.map_err(node_error("ask for fees"))?;
        let raised = |fee: Option<u128>, market: u128| {
            let fee = fee.unwrap_or_default();
            Some(fee.saturating_add(fee.div_ceil(8).max(1)).max(market))
        };
        request.max_fee_per_gas = raised(request.max_fee_per_gas, market.max_fee_per_gas);
        request.max_priority_fee_per_gas =
            raised(request.max_priority_fee_per_gas, market.max_priority_fee_per_gas);
        let (hash, raw) = self.signed(what, request).await?;
        let mut attempt = pending.attempt().clone();
        attempt.hashes.push(hash);
        attempt.raw = raw;
        record.record(&attempt).await?;
        pending.attempt = Some(attempt);
        Ok(())
    }

    /// Says why a transaction was reverted, as far as running it again tells.
    async fn reverted(&self, what: &str, receipt: &TransactionReceipt, attempt: &Attempt) -> Error {
        let hash = receipt.transaction_hash;
        let before = receipt.block_number.unwrap_or_default().saturating_sub(1);
        if let Ok(request) = request_of(&attempt.raw) {
            let again = self.provider.call(request.with_from(self.from)).block(before.into()).await;
            let error = again.err();
            let data = error.as_ref().and_then(|e| e.as_error_resp()?.as_revert_data());
            if let Some(data) = data {
                return denied(&format!("{what}: transaction {hash} was reverted"), &data);
            }
        }
        Error::new(ErrorKind::Denied, format!("cannot {what}: transaction {hash} was reverted"))
    }
}

/// Says that a transaction which a node may hold could not be followed, for whatever reason: it is
/// kept, and the same call again follows it.
fn unknown(what: &str, pending: &Pending, why: Error) -> Error {
    let hash = pending.attempt().hash();
    let message = format!("cannot {what}: what became of transaction {hash} is not known");
    Error::new(ErrorKind::Unavailable, message).with_source(why)
}

/// Reads what a signed transaction asks for.
fn request_of(raw: &Bytes) -> Result<TransactionRequest> {
    let envelope = TxEnvelope::decode_2718(&mut raw.as_ref())
        .map_err(|e| Error::corrupt("not a signed transaction").with_source(e))?;
    Ok(envelope.into())
}

impl EvmChain {
    /// Sends a call and waits until it is included and [deep enough](Patience::confirmations).
    /// `what` says in errors what was being done: "settle a batch".
    ///
    /// A node that breaks off, is busy or forgets is asked again. A call that failed as
    /// [retryable](Error::is_retryable), or whose future was dropped, may still be included: the
    /// same call again, on a clone of this client, follows the same transaction instead of sending
    /// a second. Over restarts of the process, [`Journal`](super::Journal) does so.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if a contract refuses, with the [`Revert`](super::Revert) as source;
    /// [`ErrorKind::Unavailable`] if the node does not answer or the transaction is not included in
    /// time. Once a node may hold the transaction, whatever keeps it from being followed is
    /// retryable and names its hash.
    pub async fn send<P: Provider, D: CallDecoder>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<Sent> {
        let call = Outgoing::new(call.as_ref(), self.chain_id, self.sender, false);
        let (tx, _) = self.outbox().send(what, &call, None, &mut Unrecorded).await?;
        Ok(Sent { value: (), tx })
    }

    /// As [`send`](Self::send), with what the call returned when it was tried before. Where others
    /// may change that in between, [`Tx::event`] is what happened.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ErrorKind::Corrupt`], naming the transaction, which was included,
    /// if what the call returned cannot be read.
    pub async fn send_for<P: Provider, D: CallDecoder + Unpin>(
        &self,
        what: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<Sent<D::CallOutput>> {
        let outgoing = Outgoing::new(call.as_ref(), self.chain_id, self.sender, true);
        let (tx, output) = self.outbox().send(what, &outgoing, None, &mut Unrecorded).await?;
        Ok(Sent { value: decoded(what, &call, output, &tx)?, tx })
    }

    pub(super) fn outbox(&self) -> Sender<'_> {
        Sender {
            provider: &self.provider,
            desk: &self.desk,
            from: self.sender,
            chain_id: self.chain_id,
            patience: self.patience,
        }
    }
}

/// Reads what a call returned whose transaction is included: whoever sends it again because of an
/// error here does it twice.
pub(super) fn decoded<P: Provider, D: CallDecoder + Unpin>(
    what: &str,
    call: &CallBuilder<P, D, Ethereum>,
    output: Bytes,
    tx: &Tx,
) -> Result<D::CallOutput> {
    call.decode_output(output).map_err(|e| {
        let hash = tx.hash;
        let message = format!("{what}: transaction {hash} is included, what it returned is unread");
        Error::corrupt(message).with_source(e)
    })
}

/// Sends a transaction that creates a contract.
pub(super) async fn create(
    provider: &DynProvider,
    what: &str,
    from: Address,
    code: Vec<u8>,
) -> Result<(Address, Tx)> {
    let request = TransactionRequest::default().with_value(U256::ZERO).with_deploy_code(code);
    let chain_id = provider.get_chain_id().await.map_err(node_error("ask for the chain id"))?;
    let (desk, patience) = (Desk::default(), Patience::default());
    let sender = Sender { provider, desk: &desk, from, chain_id, patience };
    let call = Outgoing::new(&request, chain_id, from, false);
    let (tx, _) = sender.send(what, &call, None, &mut Unrecorded).await?;
    let missing =
        || Error::new(ErrorKind::Unavailable, format!("cannot {what}: no contract came of it"));
    Ok((tx.created.ok_or_else(missing)?, tx))
}

#[cfg(test)]
mod tests {
    use alloy::rpc::json_rpc::{ErrorPayload, RpcError};
    use alloy::transports::TransportErrorKind;

    use super::*;

    #[test]
    fn nodes_say_the_same_in_many_words() {
        let says = |words: &'static str| {
            let payload = ErrorPayload { code: -32000, message: words.into(), data: None };
            Refusal::of(&RpcError::ErrorResp(payload))
        };
        // geth, reth, nethermind, besu, revm.
        for (words, refusal) in [
            ("already known", Refusal::Known),
            ("AlreadyKnown", Refusal::Known),
            ("Known transaction", Refusal::Known),
            ("nonce too low: next nonce 4, tx nonce 3", Refusal::Nonce),
            ("nonce 3 too low, expected 4", Refusal::Nonce),
            ("replacement transaction underpriced", Refusal::Underpriced),
            ("transaction underpriced: tip needed 1", Refusal::Underpriced),
            ("max fee per gas less than block base fee: address 0x", Refusal::Underpriced),
            ("gas price is less than basefee", Refusal::Underpriced),
            ("txpool is full", Refusal::Passing),
            ("insufficient funds for gas * price + value", Refusal::Final),
        ] {
            assert_eq!(says(words), refusal, "{words}");
        }
        let http = |status| Refusal::of(&TransportErrorKind::http_error(status, String::new()));
        assert_eq!(
            [429, 500, 503].map(http),
            [Refusal::Passing, Refusal::Passing, Refusal::Passing]
        );
        assert_eq!(http(401), Refusal::Final);
    }
}
