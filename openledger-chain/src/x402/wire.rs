//! What goes over HTTP: JSON in base64 in a header.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use openledger_core::{Address, Amount, B256, Error, Key, Result, U256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use alloy::sol_types::{Eip712Domain, SolStruct};

/// The header in which a service says what a request costs.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// The header in which a client pays.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// The header in which a service says what became of a payment.
pub const PAYMENT_RESPONSE: &str = "payment-response";

/// The version of the protocol.
const VERSION: u8 = 2;
/// The scheme spoken here.
pub(super) const SCHEME: &str = "exact";
/// Bytes of a header that are read; a payment takes about a thousand.
const HEADER_LIMIT: usize = 16 << 10;

/// "This costs so much": the answer to a request without a payment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// The version of the protocol: 2.
    pub x402_version: u8,
    /// Why the request was not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is paid for.
    pub resource: Resource,
    /// The ways to pay.
    pub accepts: Vec<Requirements>,
}

/// What is paid for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these fields")]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its URL.
    pub url: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The media type of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

/// One way to pay.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these fields")]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// The scheme: `exact`.
    pub scheme: String,
    /// The chain by CAIP-2: `eip155:1612`.
    pub network: String,
    /// How much, in units of the token.
    #[serde(with = "decimal")]
    pub amount: Amount,
    /// The token.
    pub asset: Address,
    /// Who gets it.
    pub pay_to: Address,
    /// Seconds a payment may take.
    pub max_timeout_seconds: u64,
    /// What the scheme needs to know of the token.
    pub extra: Extra,
}

/// The token's EIP-712 domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these fields")]
#[serde(rename_all = "camelCase")]
pub struct Extra {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How the token is transferred; `eip3009` here, also when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_transfer_method: Option<String>,
}

/// A client's payment for one request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// The version of the protocol: 2.
    pub x402_version: u8,
    /// What is paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The way to pay that the client chose.
    pub accepted: Requirements,
    /// The signed transfer.
    pub payload: Authorization,
}

/// A signed EIP-3009 transfer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these fields")]
pub struct Authorization {
    /// The signature.
    pub signature: openledger_core::message::Signature,
    /// What is signed.
    pub authorization: Transfer,
}

/// The transfer a client signs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "EIP-3009 has these fields")]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// Who pays.
    pub from: Address,
    /// Who gets it.
    pub to: Address,
    /// How much.
    #[serde(with = "decimal")]
    pub value: Amount,
    /// It counts after this second (Unix time).
    #[serde(with = "seconds")]
    pub valid_after: u64,
    /// It counts before this second.
    #[serde(with = "seconds")]
    pub valid_before: u64,
    /// Random; a payer's authorization with it counts once.
    pub nonce: B256,
}

/// What became of a payment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// Whether it was made.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The transaction's hash, empty without one.
    pub transaction: String,
    /// The chain by CAIP-2.
    pub network: String,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Address>,
}

alloy::sol! {
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

impl PaymentRequired {
    /// Asks for one of `accepts`.
    pub fn new(resource: Resource, accepts: Vec<Requirements>) -> Self {
        Self { x402_version: VERSION, error: None, resource, accepts }
    }

    /// Returns this with the reason why a request was not served.
    #[must_use]
    pub fn with_error(self, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..self }
    }

    /// Reads the value of a header.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is not such a message.
    pub fn parse(header: &str) -> Result<Self> {
        parse(header, PAYMENT_REQUIRED)
    }

    /// Returns the value of the header.
    pub fn to_header(&self) -> String {
        to_header(self)
    }
}

impl Payment {
    /// Pays: signs the transfer that `accepted` asks for. `nonce` is random and never used before by
    /// this payer; the payment counts from `now` on.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the network is no EVM chain.
    pub fn sign(accepted: Requirements, now: u64, nonce: B256, payer: &Key) -> Result<Self> {
        let authorization = Transfer {
            from: payer.address(),
            to: accepted.pay_to,
            value: accepted.amount,
            // Clocks differ; the reference client allows the same ten minutes.
            valid_after: now.saturating_sub(600),
            valid_before: now.saturating_add(accepted.max_timeout_seconds),
            nonce,
        };
        let signature = payer.sign(authorization.digest(&accepted)?);
        let payload = Authorization { signature, authorization };
        Ok(Self { x402_version: VERSION, resource: None, accepted, payload })
    }

    /// Reads the value of a header.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is not such a message or
    /// another version.
    pub fn parse(header: &str) -> Result<Self> {
        let payment: Self = parse(header, PAYMENT_SIGNATURE)?;
        if payment.x402_version != VERSION {
            let version = payment.x402_version;
            return Err(Error::invalid(format!(
                "x402 version {version}; this service speaks {VERSION}"
            )));
        }
        Ok(payment)
    }

    /// Returns the value of the header.
    pub fn to_header(&self) -> String {
        to_header(self)
    }
}

impl Transfer {
    /// Returns the digest to sign, for the token that `requirements` names.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the network is no EVM chain.
    pub fn digest(&self, requirements: &Requirements) -> Result<B256> {
        let domain = Eip712Domain::new(
            Some(Cow::Owned(requirements.extra.name.clone())),
            Some(Cow::Owned(requirements.extra.version.clone())),
            Some(U256::from(requirements.chain_id()?)),
            Some(requirements.asset),
            None,
        );
        let typed = TransferWithAuthorization {
            from: self.from,
            to: self.to,
            value: self.value.units(),
            validAfter: U256::from(self.valid_after),
            validBefore: U256::from(self.valid_before),
            nonce: self.nonce,
        };
        Ok(typed.eip712_signing_hash(&domain))
    }
}

impl Requirements {
    /// Returns the chain's id.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the network is no EVM chain.
    pub fn chain_id(&self) -> Result<u64> {
        let number = self.network.strip_prefix("eip155:").and_then(|id| id.parse().ok());
        number.ok_or_else(|| {
            Error::invalid(format!("network `{}` is not of the form eip155:NUMBER", self.network))
        })
    }
}

impl Settlement {
    pub(super) fn paid(transaction: B256, requirements: &Requirements, payer: Address) -> Self {
        Self {
            success: true,
            error_reason: None,
            transaction: transaction.to_string(),
            network: requirements.network.clone(),
            payer: Some(payer),
        }
    }

    pub(super) fn refused(reason: &str, requirements: &Requirements) -> Self {
        Self {
            success: false,
            error_reason: Some(reason.to_owned()),
            transaction: String::new(),
            network: requirements.network.clone(),
            payer: None,
        }
    }

    /// Reads the value of a header.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is not such a message.
    pub fn parse(header: &str) -> Result<Self> {
        parse(header, PAYMENT_RESPONSE)
    }

    /// Returns the value of the header.
    pub fn to_header(&self) -> String {
        to_header(self)
    }
}

fn parse<T: DeserializeOwned>(header: &str, name: &str) -> Result<T> {
    if header.len() > HEADER_LIMIT {
        let length = header.len();
        return Err(Error::invalid(format!("{name} of {length} bytes, at most {HEADER_LIMIT}")));
    }
    let json = BASE64_STANDARD
        .decode(header.trim())
        .map_err(|e| Error::invalid(format!("{name} is not base64")).with_source(e))?;
    serde_json::from_slice(&json).map_err(|e| {
        Error::invalid(format!("{name} is not the JSON of x402 version 2")).with_source(e)
    })
}

fn to_header(message: &impl Serialize) -> String {
    let json = serde_json::to_vec(message).expect("maps with string keys are JSON");
    BASE64_STANDARD.encode(json)
}

/// As much of a client's words as an error needs.
fn quoted(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}

/// Amounts as decimal strings of units.
mod decimal {
    use openledger_core::{Amount, U256};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(amount: &Amount, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&amount.units())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Amount, D::Error> {
        let text = String::deserialize(from)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let units = digits.then(|| U256::from_str_radix(&text, 10).ok()).flatten();
        units
            .map(Amount::new)
            .ok_or_else(|| D::Error::custom(format!("`{}` is no amount", super::quoted(&text))))
    }
}

/// Seconds as decimal strings.
mod seconds {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || D::Error::custom(format!("`{}` is no Unix time", super::quoted(&text)));
        text.parse().map_err(|_| wrong())
    }
}
