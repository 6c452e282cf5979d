//! What payers have locked, hold and owe: all that is known here. It never waits.
//!
//! ```text
//! ├─────────── lock, as the chain told it last ───────────┤
//! │ owed: charged, not settled │ held │       free        │
//!                              │      ◀── reserve
//!                              │      ──▶ dropped
//!                              ◀── charge
//! ◀── settled, and the lock is read anew
//! ```

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openledger_chain::{Charge, Reservation};
use openledger_core::{Address, Amount};

use crate::{
    EscrowOptions, Standing,
    hold::Held,
    payer::{Ask, Lock, NotHeld, Payer, Reading, minus, plus},
};

/// The books of one node. Clones share them.
#[derive(Clone)]
pub(crate) struct Books(Arc<Inner>);

struct Inner {
    options: EscrowOptions,
    payers: Mutex<Payers>,
}

/// All payers of whom anything is known.
pub(crate) struct Payers {
    by_address: HashMap<Address, Payer>,
    sweep_at: usize,
    /// The number of the last reading that was asked for.
    readings: u64,
}

/// Fewer payers than this are never swept.
const FEW: usize = 64;

impl Books {
    pub(crate) fn new(options: EscrowOptions) -> Self {
        let payers = Payers { by_address: HashMap::new(), sweep_at: FEW, readings: 0 };
        Self(Arc::new(Inner { options, payers: Mutex::new(payers) }))
    }

    pub(crate) fn options(&self) -> &EscrowOptions {
        &self.0.options
    }

    /// Holds what is asked if the lock covers it. `has_read` says that the lock was read for this.
    pub(crate) fn hold(&self, ask: Ask, has_read: bool) -> Result<Held, NotHeld> {
        let mut payers = self.open();
        let payer = payers.find(ask.payer).ok_or(NotHeld::Unknown)?;
        payer.hold(ask, self.options(), has_read)?;
        Ok(Held::new(self.clone(), ask))
    }

    /// Takes `amount` off what a payer holds; of that the payer owes `charged` from now on.
    pub(crate) fn release(&self, payer: Address, amount: Amount, charged: Amount) {
        // Whoever holds something is not forgotten.
        if let Some(payer) = self.open().find(payer) {
            payer.held = minus(payer.held, amount);
            payer.owed = plus(payer.owed, charged);
        }
    }

    /// Adds to what payers owe.
    pub(crate) fn owe(&self, charges: &[Charge]) {
        let mut payers = self.open();
        for charge in charges {
            let payer = payers.find_or_add(charge.payer, self.options());
            payer.owed = plus(payer.owed, charge.amount);
        }
    }

    /// Returns the reading under way for a payer, or the one that `begin` makes of its number.
    pub(crate) fn reading(&self, payer: Address, begin: impl FnOnce(u64) -> Reading) -> Reading {
        let mut payers = self.open();
        payers.readings += 1;
        let number = payers.readings;
        let payer = payers.find_or_add(payer, self.options());
        payer.under_way().unwrap_or_else(|| {
            let reading = begin(number);
            payer.reading = reading.downgrade().map(|weak| (number, weak));
            reading
        })
    }

    /// Takes down what a reading told, if it told something and nothing was settled since it began.
    pub(crate) fn land(&self, payer: Address, number: u64, at: u64, told: Option<Reservation>) {
        let mut payers = self.open();
        let Some(payer) = payers.find(payer) else { return };
        if payer.reading.take_if(|(current, _)| *current == number).is_some() {
            payer.lock = told.map(|reserved| Lock { reserved, at }).or(payer.lock);
        }
    }

    pub(crate) fn standing(&self, payer: Address) -> Standing {
        self.open().find(payer).map(|payer| payer.standing()).unwrap_or_default()
    }

    pub(crate) fn payers(&self) -> usize {
        self.open().by_address.len()
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Payers> {
        self.0.payers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").field("payers", &self.payers()).finish_non_exhaustive()
    }
}

impl Payers {
    pub(crate) fn find(&mut self, address: Address) -> Option<&mut Payer> {
        self.by_address.get_mut(&address)
    }

    /// Returns a payer, who may be new: then those are forgotten first of whom nothing has to be known.
    fn find_or_add(&mut self, address: Address, options: &EscrowOptions) -> &mut Payer {
        if self.by_address.len() >= self.sweep_at && !self.by_address.contains_key(&address) {
            self.by_address.retain(|_, payer| !payer.is_forgettable(options));
            self.sweep_at = FEW.max(2 * self.by_address.len());
        }
        self.by_address.entry(address).or_default()
    }
}
