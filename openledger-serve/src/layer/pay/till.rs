//! Who takes the money.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use openledger_core::{Amount, Error, ErrorKind, Result};

use crate::Generate;

/// Takes money for answers: an escrow on a chain, prepaid accounts, a payment sent along.
///
/// # Contract
/// - What is held can be relied on: it stays free for nobody else until it is charged or dropped.
/// - A hold is charged at most once, and dropping one that was not charged gives everything back.
/// - A request that cannot pay is refused by [`PaymentRequired`], and nothing is held.
/// - Dropping the future of `reserve` leaves nothing held.
#[async_trait]
pub trait Till: fmt::Debug + Send + Sync {
    /// Holds `amount` of what pays for `request`: its [`payment`](Generate::payment) or what its
    /// [`tenant`](Generate::tenant) has.
    ///
    /// # Errors
    /// [`PaymentRequired`]; [`ErrorKind::Unavailable`] if whoever keeps the money does not answer.
    async fn reserve(&self, request: &Generate, amount: Amount) -> Result<Box<dyn Hold>>;
}

/// Money held for one answer. Dropping it gives everything back.
pub trait Hold: fmt::Debug + Send {
    /// Takes `amount`, at most what is held, and gives the rest back.
    ///
    /// It is called from destructors, too: it does not block and cannot fail. Where taking money needs
    /// a network, it is queued here, durably if the process may end before, and done elsewhere.
    fn charge(self: Box<Self>, amount: Amount);
}

/// A request that has to pay, or to pay more: what a [`Till`] refuses with. In HTTP it is status 402.
///
/// # Examples
/// ```
/// use openledger_core::{Amount, ErrorKind};
/// use openledger_serve::PaymentRequired;
///
/// let error = PaymentRequired::new(Amount::from(12)).into_error("no payment sent along");
/// assert_eq!(error.kind(), ErrorKind::Denied);
/// assert_eq!(PaymentRequired::of(&error).unwrap().amount, Amount::from(12));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PaymentRequired {
    /// How much has to be held for the request.
    pub amount: Amount,
    /// How to pay it, in the words of whoever takes the money: in HTTP the header `payment-required`,
    /// for which x402 has its own.
    pub terms: Option<Arc<str>>,
}

impl PaymentRequired {
    /// Asks for `amount`.
    pub const fn new(amount: Amount) -> Self {
        Self { amount, terms: None }
    }

    /// Returns this saying how to pay.
    #[must_use]
    pub fn with_terms(self, terms: impl Into<Arc<str>>) -> Self {
        Self { terms: Some(terms.into()), ..self }
    }

    /// Makes an error of it, saying what is wrong with the payment.
    #[cold]
    pub fn into_error(self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Denied, message).with_source(self)
    }

    /// Finds it in an error.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl fmt::Display for PaymentRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} units have to be held for the request", self.amount)
    }
}

impl std::error::Error for PaymentRequired {}
