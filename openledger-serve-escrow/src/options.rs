//! Who pays, and how far what was read of the chain is believed.

use std::{fmt, sync::Arc, time::SystemTime};

use openledger_core::Address;
use openledger_serve::Generate;

/// Who pays for a request.
type Payer = dyn Fn(&Generate) -> Option<Address> + Send + Sync;

const DAY: u64 = 24 * 3_600;

/// Who pays, and how far what was read of the chain is believed.
#[derive(Clone)]
#[non_exhaustive]
pub struct EscrowOptions {
    /// Seconds that a lock must last when an answer begins: until its batch is logged, through the challenge
    /// window, and until the batch is settled, with a dispute if one is feared. A lock that has
    /// ended is its payer's, whatever was answered for it.
    pub outlast: u64,
    /// Seconds for which a lock that is enough is not read again. A live lock is never shortened, and what
    /// is settled through the [`Escrow`](crate::Escrow) is known: what can change is a settlement made
    /// elsewhere, and the chain itself by a reorganisation.
    pub believed: u64,
    /// Seconds for which a lock that is not enough is not read again: for so long a payer who locks more is
    /// still refused, and for so long one who has too little costs one question to the chain.
    pub refused: u64,
    pub(crate) contract: Option<(u64, Address)>,
    payer: Arc<Payer>,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for EscrowOptions {
    /// Three days, one each to log the batch, for the challenge window as contracts are deployed by default,
    /// and to settle. What is enough is believed for 5 seconds, what is not for one. The tenant pays, whose
    /// name is the payer's address; the clock is the system's.
    fn default() -> Self {
        Self {
            outlast: 3 * DAY,
            believed: 5,
            refused: 1,
            contract: None,
            payer: Arc::new(|request| request.tenant.as_deref()?.parse().ok()),
            clock: Arc::new(|| SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())),
        }
    }
}

impl EscrowOptions {
    /// Returns this with another time that a lock must last, in seconds.
    #[must_use]
    pub fn with_outlast(self, seconds: u64) -> Self {
        Self { outlast: seconds, ..self }
    }

    /// Returns this believing what was read for other times, in seconds: locks that are enough, and those
    /// that are not.
    #[must_use]
    pub fn with_believed(self, enough: u64, not_enough: u64) -> Self {
        Self { believed: enough, refused: not_enough, ..self }
    }

    /// Returns this with the escrow's place, which those who are refused are told.
    /// [`Escrow::on`](crate::Escrow::on) knows it.
    #[must_use]
    pub fn with_contract(self, chain_id: u64, escrow: Address) -> Self {
        Self { contract: Some((chain_id, escrow)), ..self }
    }

    /// Returns this with somebody else paying: an address that is known to have asked for it, not one
    /// that a request only claims. Without one the request is refused.
    #[must_use]
    pub fn with_payer(
        self,
        payer: impl Fn(&Generate) -> Option<Address> + Send + Sync + 'static,
    ) -> Self {
        Self { payer: Arc::new(payer), ..self }
    }

    /// Returns this with another clock than the system's: Unix time in seconds, as blocks have it.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    pub(crate) fn payer(&self, request: &Generate) -> Option<Address> {
        (self.payer)(request)
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }
}

impl fmt::Debug for EscrowOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outlast, believed, refused, contract, payer: _, clock: _ } = self;
        f.debug_struct("EscrowOptions")
            .field("outlast", outlast)
            .field("believed", believed)
            .field("refused", refused)
            .field("contract", contract)
            .finish_non_exhaustive()
    }
}
