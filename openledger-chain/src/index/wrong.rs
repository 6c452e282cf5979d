//! Events that cannot have happened after the others.

use std::fmt::Display;

use openledger_core::{Amount, Error, Result, U256};

/// Makes the error of an event that contradicts what came before.
#[cold]
pub(super) fn wrong(what: impl Into<String>) -> Error {
    Error::corrupt(what)
}

/// Returns what an event speaks of.
pub(super) fn known<T>(thing: Option<T>, what: &str, name: impl Display) -> Result<T> {
    thing.ok_or_else(|| wrong(format!("no {what} {name}")))
}

/// Adds an amount.
pub(super) fn add(amount: &mut Amount, more: U256, what: &str) -> Result<()> {
    let sum = amount.checked_add(Amount::new(more));
    *amount = sum.ok_or_else(|| wrong(format!("{what}: {amount} and {more} more")))?;
    Ok(())
}

/// Counts one more.
pub(super) fn count(number: &mut u64, what: &str) -> Result<()> {
    let more = number.checked_add(1);
    *number = more.ok_or_else(|| wrong(format!("{what}: {number} and one more")))?;
    Ok(())
}

/// Takes an amount away.
pub(super) fn take(amount: &mut Amount, less: U256, what: &str) -> Result<()> {
    let rest = amount.checked_sub(Amount::new(less));
    *amount = rest.ok_or_else(|| wrong(format!("{what}: {less} from {amount}")))?;
    Ok(())
}
