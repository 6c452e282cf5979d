//! Verifying and settling payments.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{
    primitives::{FixedBytes, Log, U256},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
};
use openledger_core::{Address, Amount, B256, Error, ErrorKind, Result};

use super::wire::{Extra, Payment, Requirements, SCHEME, Settlement, Transfer};
use crate::{
    EvmChain,
    abi::{inference_escrow::InferenceEscrow, open_token::OpenToken},
};

/// Verifies payments to one node's till and settles them. Cheap to clone; clones share what is under way.
///
/// What is under way is known to this process. A service of several processes needs one of them to
/// settle, or a balancer that sends all requests of a payment to the same: a payment brought to two at
/// once pays once and may buy an answer of each. A process that dies between the transfer and the answer
/// leaves the transfer in the till and the client without the answer.
#[derive(Clone, Debug)]
pub struct Facilitator {
    chain: EvmChain,
    till: Address,
    token: Extra,
    /// Authorizations being settled: the same payment cannot buy two answers.
    under_way: Arc<Mutex<BTreeSet<(Address, B256)>>>,
}

/// Why a payment does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The payer has too little.
    InsufficientFunds,
    /// It counts only later.
    NotYetValid,
    /// It counts no more, or would not for long enough to be settled.
    Expired,
    /// It is over another amount.
    WrongAmount,
    /// The payer's key did not make the signature.
    WrongSignature,
    /// It is to somebody else.
    WrongRecipient,
    /// It is on another chain.
    WrongNetwork,
    /// It is in another token, or described otherwise than asked.
    WrongRequirements,
    /// It is by another scheme.
    WrongScheme,
    /// It was used before.
    Used,
}

/// Seconds a payment must still count when it is verified: a block or two.
const MARGIN: u64 = 6;

/// Blocks in which somebody else may have sent a payment since it was verified.
const REACH: u64 = 1_000;

impl Facilitator {
    /// Serves the till of `payee`; `chain` sends, and pays for gas.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    pub async fn new(chain: EvmChain, payee: Address) -> Result<Self> {
        let escrow = InferenceEscrow::new(chain.contracts().escrow, chain.provider());
        let till = chain.ask("ask for the till", escrow.till(payee)).await?;
        let token = OpenToken::new(chain.contracts().token, chain.provider());
        let domain = chain.ask("ask for the token's domain", token.eip712Domain()).await?;
        let token =
            Extra { name: domain.name, version: domain.version, asset_transfer_method: None };
        Ok(Self { chain, till, token, under_way: Arc::default() })
    }

    /// Returns where payments go.
    pub const fn till(&self) -> Address {
        self.till
    }

    /// Returns what to ask of a client for a request that costs `amount`.
    pub fn requirements(&self, amount: Amount, max_timeout_seconds: u64) -> Requirements {
        Requirements {
            scheme: SCHEME.to_owned(),
            network: format!("eip155:{}", self.chain.chain_id()),
            amount,
            asset: self.chain.contracts().token,
            pay_to: self.till,
            max_timeout_seconds,
            extra: self.token.clone(),
        }
    }

    /// Checks that `payment` is what `asked` asks for and could be settled now; changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] with a [`Refusal`] as its source; [`ErrorKind::Unavailable`] if the node
    /// does not answer.
    pub async fn verify(&self, payment: &Payment, asked: &Requirements) -> Result<()> {
        let now = self.chain.now().await?;
        let transfer = &payment.payload.authorization;
        matches(payment, asked)?;
        if transfer.valid_after >= now {
            return Err(Refusal::NotYetValid.into());
        }
        if transfer.valid_before <= now.saturating_add(MARGIN) {
            return Err(Refusal::Expired.into());
        }
        let signer = payment.payload.signature.recover(transfer.digest(asked)?);
        if signer != Ok(transfer.from) {
            return Err(Refusal::WrongSignature.into());
        }
        if self.is_used(transfer).await? {
            return Err(Refusal::Used.into());
        }
        if self.chain.balance(transfer.from).await? < transfer.value {
            return Err(Refusal::InsufficientFunds.into());
        }
        Ok(())
    }

    /// Verifies and reserves a payment, so that no other request is served for it.
    pub(super) async fn reserve(
        &self,
        payment: Payment,
        asked: &Requirements,
    ) -> Result<Reserved<'_>> {
        let key = (payment.payload.authorization.from, payment.payload.authorization.nonce);
        if !self.under_way().insert(key) {
            return Err(Refusal::Used.into());
        }
        // From here on a drop gives it free.
        let reserved = Reserved { facilitator: self, payment };
        self.verify(&reserved.payment, asked).await?;
        Ok(reserved)
    }

    /// Verifies a payment and makes its transfer; each payment is settled once.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn settle(&self, payment: Payment, asked: &Requirements) -> Result<Settlement> {
        self.reserve(payment, asked).await?.settle().await
    }

    async fn is_used(&self, transfer: &Transfer) -> Result<bool> {
        let token = OpenToken::new(self.chain.contracts().token, self.chain.provider());
        let call = token.authorizationState(transfer.from, transfer.nonce);
        self.chain.ask("ask whether a payment was used", call).await
    }

    /// Finds the transfer of an authorization that somebody else put on chain.
    async fn find(&self, transfer: &Transfer) -> Result<Option<B256>> {
        let latest = self.chain.provider().get_block_number().await;
        let latest = latest.map_err(crate::client::node_error("look for a payment"))?;
        let used = Filter::new()
            .address(self.chain.contracts().token)
            .event_signature(OpenToken::AuthorizationUsed::SIGNATURE_HASH)
            .topic1(transfer.from)
            .topic2(transfer.nonce)
            .from_block(latest.saturating_sub(REACH));
        let logs = self.chain.provider().get_logs(&used).await;
        let logs = logs.map_err(crate::client::node_error("look for a payment"))?;
        let Some(hash) = logs.first().and_then(|log| log.transaction_hash) else {
            return Ok(None);
        };
        let receipt = self.chain.provider().get_transaction_receipt(hash).await;
        let receipt = receipt.map_err(crate::client::node_error("look for a payment"))?;
        let paid = receipt.is_some_and(|receipt| {
            let logs: Vec<_> = receipt.inner.logs().iter().map(|log| &log.inner).collect();
            is_paid(&logs, self.chain.contracts().token, transfer)
        });
        Ok(paid.then_some(hash))
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, BTreeSet<(Address, B256)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A verified payment that no other request can use.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    facilitator: &'a Facilitator,
    payment: Payment,
}

impl Reserved<'_> {
    /// Makes the transfer.
    pub(super) async fn settle(self) -> Result<Settlement> {
        let Self { facilitator: Facilitator { chain, .. }, payment } = &self;
        let transfer = &payment.payload.authorization;
        let bytes = payment.payload.signature.as_bytes();
        let token = OpenToken::new(chain.contracts().token, chain.provider());
        let call = token.transferWithAuthorization(
            transfer.from,
            transfer.to,
            transfer.value.units(),
            U256::from(transfer.valid_after),
            U256::from(transfer.valid_before),
            transfer.nonce,
            bytes[64],
            FixedBytes::from_slice(&bytes[..32]),
            FixedBytes::from_slice(&bytes[32..64]),
        );
        let paid = |hash| Settlement::paid(hash, &payment.accepted, transfer.from);
        match chain.send("settle an x402 payment", call).await {
            Ok(sent) => Ok(paid(sent.tx.hash)),
            // It was unused when it was verified: if it is used now, somebody else sent it, which only
            // spared us the gas.
            Err(error) => match self.facilitator.find(transfer).await {
                Ok(Some(hash)) => Ok(paid(hash)),
                _ => Err(error),
            },
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let transfer = &self.payment.payload.authorization;
        self.facilitator.under_way().remove(&(transfer.from, transfer.nonce));
    }
}

/// Whether a transaction's logs show that an authorization paid what it says.
///
/// A transaction can use many authorizations, of other amounts and to other people, under any nonces;
/// the transfer of each is the log right after that of its use.
fn is_paid(logs: &[&Log], token: Address, transfer: &Transfer) -> bool {
    logs.windows(2).any(|pair| {
        let ours = pair.iter().all(|log| log.address == token);
        let used = OpenToken::AuthorizationUsed::decode_log(pair[0]);
        let moved = OpenToken::Transfer::decode_log(pair[1]);
        let (true, Ok(used), Ok(moved)) = (ours, used, moved) else { return false };
        (used.authorizer, used.nonce) == (transfer.from, transfer.nonce)
            && (moved.from, moved.to, moved.value)
                == (transfer.from, transfer.to, transfer.value.units())
    })
}

/// Whether a payment is over what was asked.
fn matches(payment: &Payment, asked: &Requirements) -> Result<(), Refusal> {
    let (accepted, transfer) = (&payment.accepted, &payment.payload.authorization);
    let method = accepted.extra.asset_transfer_method.as_deref();
    if accepted.scheme != asked.scheme || method.is_some_and(|method| method != "eip3009") {
        return Err(Refusal::WrongScheme);
    }
    if accepted.network != asked.network {
        return Err(Refusal::WrongNetwork);
    }
    if accepted.asset != asked.asset || accepted.extra.name != asked.extra.name {
        return Err(Refusal::WrongRequirements);
    }
    if transfer.to != asked.pay_to {
        return Err(Refusal::WrongRecipient);
    }
    if transfer.value != asked.amount {
        return Err(Refusal::WrongAmount);
    }
    Ok(())
}

impl Refusal {
    /// Returns the protocol's code for it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "insufficient_funds",
            Self::NotYetValid => "invalid_exact_evm_payload_authorization_valid_after",
            Self::Expired => "invalid_exact_evm_payload_authorization_valid_before",
            Self::WrongAmount => "invalid_exact_evm_payload_authorization_value_mismatch",
            Self::WrongSignature => "invalid_exact_evm_payload_signature",
            Self::WrongRecipient => "invalid_exact_evm_payload_recipient_mismatch",
            Self::WrongNetwork => "invalid_network",
            Self::WrongRequirements => "invalid_payment_requirements",
            Self::WrongScheme => "unsupported_scheme",
            Self::Used => "invalid_transaction_state",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InsufficientFunds => "the payer has too little",
            Self::NotYetValid => "the authorization counts only later",
            Self::Expired => "the authorization has expired or is about to",
            Self::WrongAmount => "the authorization is over another amount",
            Self::WrongSignature => "the payer did not sign this",
            Self::WrongRecipient => "the authorization pays somebody else",
            Self::WrongNetwork => "the payment is on another chain",
            Self::WrongRequirements => "the payment is in another token",
            Self::WrongScheme => "only `exact` with EIP-3009 is taken",
            Self::Used => "the authorization was used before",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(ErrorKind::Denied, "payment refused").with_source(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Address = Address::repeat_byte(1);
    const TILL: Address = Address::repeat_byte(2);
    const PAYER: Address = Address::repeat_byte(3);

    fn transfer(nonce: u8) -> Transfer {
        Transfer {
            from: PAYER,
            to: TILL,
            value: Amount::from(5),
            valid_after: 0,
            valid_before: 9,
            nonce: B256::repeat_byte(nonce),
        }
    }

    /// The logs of an authorization with this nonce that moves `value` to `to`.
    fn used(token: Address, nonce: u8, to: Address, value: u64) -> [Log; 2] {
        let used =
            OpenToken::AuthorizationUsed { authorizer: PAYER, nonce: B256::repeat_byte(nonce) };
        let moved = OpenToken::Transfer { from: PAYER, to, value: U256::from(value) };
        [
            Log { address: token, data: used.encode_log_data() },
            Log { address: token, data: moved.encode_log_data() },
        ]
    }

    #[test]
    fn of_many_authorizations_in_one_transaction_only_the_one_that_paid_is_paid() {
        let elsewhere = Address::repeat_byte(4);
        let logs = [
            used(TOKEN, 1, PAYER, 0),
            used(TOKEN, 2, TILL, 5),
            used(TOKEN, 3, TILL, 4),
            used(TOKEN, 4, elsewhere, 5),
            used(elsewhere, 5, TILL, 5),
        ];
        let logs: Vec<&Log> = logs.iter().flatten().collect();
        let paid = |nonce| is_paid(&logs, TOKEN, &transfer(nonce));
        assert_eq!([1, 2, 3, 4, 5, 6].map(paid), [false, true, false, false, false, false]);
    }
}
