//! What a request that cannot pay is told.

use openledger_chain::Reservation;
use openledger_core::{Address, Amount, Error};
use openledger_serve::PaymentRequired;

use crate::payer::{Ask, minus, plus};

/// A lock that does not cover a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short {
    pub(crate) ask: Ask,
    pub(crate) lock: Reservation,
    /// What is owed and held of the lock.
    pub(crate) taken: Amount,
    pub(crate) now: u64,
    /// Until when the lock has to last at least.
    pub(crate) least: u64,
}

/// Seconds beyond the least that payers are asked to lock for.
const SLACK: u64 = 24 * 3_600;

/// Where money has to be, for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) node: Address,
    /// Chain and contract.
    pub(crate) escrow: Option<(u64, Address)>,
}

impl Short {
    pub(crate) fn into_error(self, place: Place) -> Error {
        let Self { ask: Ask { payer, amount }, lock, taken, now, least } = self;
        let node = place.node;
        // One that has ended returns to its payer before another begins.
        let is_live = lock.amount > Amount::ZERO && lock.expires_at >= now;
        let locked = if is_live { lock.amount } else { Amount::ZERO };
        let more = minus(plus(amount, taken), locked);
        // A live lock is not shortened, and the least is too little a second later.
        let until = least.saturating_add(SLACK).max(lock.expires_at);
        let has = match is_live {
            true => format!("{} units free until {}", minus(locked, taken), lock.expires_at),
            false => "nothing".to_owned(),
        };
        let message = format!(
            "{payer} has {has} in the escrow for {node}, {amount} are needed until {least}: \
             authorize {node} for {more} more until {until}"
        );
        refuse(place, amount, more, until, message)
    }
}

/// Refuses a request that names nobody who pays.
pub(crate) fn no_payer(place: Place, amount: Amount, least: u64) -> Error {
    let message = "nobody is named who pays: the tenant has to be an address, `0x` and 40 digits";
    refuse(place, amount, amount, least.saturating_add(SLACK), message.to_owned())
}

/// Refuses a request that the node itself would pay for.
pub(crate) fn own_lock(place: Place, amount: Amount, least: u64) -> Error {
    let message = format!(
        "{} is the node itself, whose lock is what others paid it: let another account pay",
        place.node
    );
    refuse(place, amount, amount, least.saturating_add(SLACK), message)
}

/// The terms are the arguments of the escrow's `authorize`, as JSON.
fn refuse(place: Place, amount: Amount, more: Amount, until: u64, message: String) -> Error {
    let escrow = place.escrow.map_or_else(String::new, |(chain_id, escrow)| {
        format!(r#""chainId":{chain_id},"escrow":"{escrow}","#)
    });
    let node = place.node;
    let terms = format!(
        r#"{{"scheme":"openledger-escrow",{escrow}"node":"{node}","amount":"{more}","until":{until}}}"#
    );
    PaymentRequired::new(amount).with_terms(terms).into_error(message)
}
