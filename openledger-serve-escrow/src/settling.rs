//! Charges on their way to the chain.

use std::collections::BTreeMap;

use openledger_chain::Charge;
use openledger_core::{Address, Amount, Error, ErrorKind, Result};

use crate::{
    books::Books,
    payer::{minus, plus},
};

/// Charges on their way to the chain. Dropped, they are owed as before.
pub(crate) struct Settling {
    books: Books,
    sums: BTreeMap<Address, Amount>,
    is_done: bool,
}

impl Settling {
    /// Sets apart what is owed, so that nothing is settled twice at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for a payer who owes less, settlements under way taken off.
    pub(crate) fn begin(books: &Books, charges: &[Charge]) -> Result<Self> {
        let mut sums = BTreeMap::new();
        for charge in charges {
            let sum: &mut Amount = sums.entry(charge.payer).or_default();
            *sum = plus(*sum, charge.amount);
        }
        let mut payers = books.open();
        for (&address, &charged) in &sums {
            let owed = payers.find(address).map(|payer| minus(payer.owed, payer.settling));
            let owed = owed.unwrap_or_default();
            if charged > owed {
                let message = format!(
                    "{address} owes {owed} units here and is charged {charged}: add by `owe` what \
                     receipts from before a restart say"
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        for (&address, &charged) in &sums {
            if let Some(payer) = payers.find(address) {
                payer.settling = plus(payer.settling, charged);
            }
        }
        drop(payers);
        Ok(Self { books: books.clone(), sums, is_done: false })
    }

    /// Takes the charges off what is owed.
    pub(crate) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        let mut payers = self.books.open();
        for (&address, &charged) in &self.sums {
            let Some(payer) = payers.find(address) else { continue };
            payer.settling = minus(payer.settling, charged);
            if self.is_done {
                payer.settled(charged);
            }
        }
    }
}
