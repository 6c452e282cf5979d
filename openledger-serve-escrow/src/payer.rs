//! What one payer has locked, holds and owes.

use std::sync::Arc;

use futures::future::{BoxFuture, Shared, WeakShared};
use openledger_chain::Reservation;
use openledger_core::{Address, Amount, Error, Result, U256};

use crate::{EscrowOptions, refusal::Short};

type Asking = BoxFuture<'static, Result<(), Arc<Error>>>;

/// A question to the chain that any number of requests wait for. It ends when the last of them leaves.
pub(crate) type Reading = Shared<Asking>;

/// What is known of a payer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// The lock as the chain told it last; `None` if a settlement changed it since, or nobody asked lately.
    pub lock: Option<Reservation>,
    /// What answers under way hold.
    pub held: Amount,
    /// What was charged and is not settled.
    pub owed: Amount,
}

/// What one payer has locked, holds and owes.
#[derive(Default)]
pub(crate) struct Payer {
    pub(crate) lock: Option<Lock>,
    /// What is under way, and its number. Of a reading that is not here any more nothing is believed.
    pub(crate) reading: Option<(u64, WeakShared<Asking>)>,
    pub(crate) held: Amount,
    pub(crate) owed: Amount,
    /// The part of what is owed that settlements under way take.
    pub(crate) settling: Amount,
}

/// What the chain told.
#[derive(Clone, Copy)]
pub(crate) struct Lock {
    pub(crate) reserved: Reservation,
    /// When it was asked for.
    pub(crate) at: u64,
}

/// What has to be held, for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) payer: Address,
    pub(crate) amount: Amount,
}

/// Why nothing is held.
pub(crate) enum NotHeld {
    /// The lock is not known, or not well enough: read it.
    Unknown,
    /// A settlement under way hides how much is left.
    Settling,
    Short(Box<Short>),
}

impl Payer {
    /// Holds what is asked if the lock covers it. `has_read` says that the lock was read for this.
    pub(crate) fn hold(
        &mut self,
        ask: Ask,
        options: &EscrowOptions,
        has_read: bool,
    ) -> Result<(), NotHeld> {
        let Lock { reserved, at } = self.lock.ok_or(NotHeld::Unknown)?;
        let now = options.now();
        let least = now.saturating_add(options.outlast);
        let lasts = reserved.expires_at >= least;
        let taken = plus(self.owed, self.held);
        let is_enough = lasts && minus(reserved.amount, taken) >= ask.amount;
        let believed = if is_enough { options.believed } else { options.refused };
        if !has_read && now >= at.saturating_add(believed) {
            return Err(NotHeld::Unknown);
        }
        if is_enough {
            self.held = plus(self.held, ask.amount);
            return Ok(());
        }
        if lasts && minus(reserved.amount, minus(taken, self.settling)) >= ask.amount {
            return Err(NotHeld::Settling);
        }
        Err(NotHeld::Short(Box::new(Short { ask, lock: reserved, taken, now, least })))
    }

    /// Takes `charged`, which was being settled, off what is owed. What was read of the lock may be from
    /// before: it is forgotten, and so is what is being read.
    pub(crate) fn settled(&mut self, charged: Amount) {
        self.owed = minus(self.owed, charged);
        (self.lock, self.reading) = (None, None);
    }

    pub(crate) fn under_way(&self) -> Option<Reading> {
        self.reading.as_ref()?.1.upgrade()
    }

    pub(crate) fn standing(&self) -> Standing {
        let lock = self.lock.map(|lock| lock.reserved);
        Standing { lock, held: self.held, owed: self.owed }
    }

    /// Whether nothing is lost with this but what the chain tells again.
    pub(crate) fn is_forgettable(&self, options: &EscrowOptions) -> bool {
        let is_believed = self.lock.is_some_and(|lock| {
            // Nothing is never enough.
            let seconds = match lock.reserved.amount {
                Amount::ZERO => options.refused,
                _ => options.believed.max(options.refused),
            };
            options.now() < lock.at.saturating_add(seconds)
        });
        let is_clear = [self.held, self.owed, self.settling] == [Amount::ZERO; 3];
        is_clear && !is_believed && self.under_way().is_none()
    }
}

/// Stops at 2^256: whoever owes that much has nothing free.
pub(crate) fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::new(U256::MAX))
}

/// Stops at zero: what is owed can be more than is locked, after a restart or when a lock has ended.
pub(crate) fn minus(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).unwrap_or_default()
}
