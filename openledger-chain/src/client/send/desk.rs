//! What is open, so that nothing is signed twice and no nonce is taken twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openledger_core::{Address, B256};

use super::attempt::Attempt;

/// What is open, by account: shared by all clones of a client.
#[derive(Debug, Default)]
pub(in crate::client) struct Desk(Mutex<HashMap<Address, Arc<Account>>>);

#[derive(Debug, Default)]
pub(super) struct Account {
    /// Held from the choice of a nonce until the node has seen the transaction.
    pub(super) turn: tokio::sync::Mutex<()>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    /// Nonces that somebody waits for.
    pub(super) flying: Vec<u64>,
    /// What was left without an outcome: the caller was told so, or went away.
    pub(super) left: Vec<Attempt>,
}

impl Desk {
    pub(super) fn account(&self, address: Address) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(accounts.entry(address).or_default())
    }
}

impl Account {
    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what was left of the same call.
    pub(super) fn take_up(&self, key: B256) -> Option<Attempt> {
        let mut open = self.open();
        let place = open.left.iter().position(|attempt| attempt.key == key)?;
        Some(open.left.remove(place))
    }
}

/// An attempt somebody waits for; left on the desk when dropped without an outcome.
pub(super) struct Pending {
    pub(super) account: Arc<Account>,
    pub(super) attempt: Option<Attempt>,
}

impl Pending {
    pub(super) fn new(account: Arc<Account>, attempt: Attempt) -> Self {
        account.open().flying.push(attempt.nonce);
        Self { account, attempt: Some(attempt) }
    }

    pub(super) fn attempt(&self) -> &Attempt {
        self.attempt.as_ref().expect("it is taken only by `close`, which consumes this")
    }

    /// Forgets it: its outcome is known.
    pub(super) fn close(mut self) -> Attempt {
        let attempt = self.attempt().clone();
        self.release();
        attempt
    }

    fn release(&mut self) -> Option<Attempt> {
        let attempt = self.attempt.take()?;
        let mut open = self.account.open();
        if let Some(place) = open.flying.iter().position(|nonce| *nonce == attempt.nonce) {
            open.flying.swap_remove(place);
        }
        Some(attempt)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(attempt) = self.release() {
            self.account.open().left.push(attempt);
        }
    }
}
